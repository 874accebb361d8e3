"""The Classes dialog on the Label page, without a browser."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import current_labels
from ui import frame
from workspace.classes import starter_schema
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "draw_labels.py"
POINT = {"type": "Point", "coordinates": [-116.9995, 36.1438]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with an image, two labels of class 2 and one of class 1."""
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    made = create_project(tmp_path / "projects", "One")
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": 1, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (1, 128, 128)).astype(np.uint8))
    add_copy(made, path, "scene.tif")
    labels = [Label(POINT, 2, "sam", "a note", 3.0, "doubtful"), Label(POINT, 2), Label(POINT, 1)]
    open_journal(made.journal_file).append(Operation(uuid.uuid4().hex, "upsert", f"label{i}", one) for i, one in enumerate(labels))
    yield made
    frame.settings.cache_clear()


def opened(project: Project, value: int | None = None) -> AppTest:
    """The page with the dialog open at a class."""
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    page.run()
    press(page, project, "open")
    if value is not None:
        press(page, project, f"choose:{value}")
    assert not page.exception, page.exception
    return page


def press(page: AppTest, project: Project, what: str) -> None:
    page.button(key=f"classes:{project.id}:{what}").click().run()


def save(page: AppTest, label: str = "Save") -> None:
    next(one for one in page.button if one.label == label).click().run()
    assert not page.exception, page.exception


def values(project: Project) -> list[int]:
    return current_labels(project.journal_file)["class_value"].tolist()


def test_a_class_is_renamed_and_described_and_its_labels_stay(project: Project):
    page = opened(project)
    page.text_input[0].set_value("Fire road")
    page.text_area[0].set_value("Graded, no tar")
    save(page)
    changed = project.classes().by_value(2)
    assert (changed.name, changed.description) == ("Fire road", "Graded, no tar")
    assert values(project) == [2, 2, 1]


def test_a_changed_value_moves_its_labels_and_says_so(project: Project):
    page = opened(project)
    page.number_input[0].set_value(7)
    save(page)
    assert "has the value 7 now; 2 labels went with it" in page.success[0].value
    assert [c.value for c in project.classes().classes] == [7, 1, 255]
    moved = current_labels(project.journal_file).iloc[0]
    assert (moved["class_value"], moved["origin"], moved["note"], moved["width_m"], moved["review"]) == (7, "sam", "a note", 3.0, "doubtful")
    press(page, project, "undo")
    assert project.classes() == starter_schema() and values(project) == [2, 2, 1]


@pytest.mark.parametrize("value", [1, 255])
def test_a_value_that_is_taken_is_refused(project: Project, value: int):
    page = opened(project)
    page.number_input[0].set_value(value)
    save(page)
    assert page.error and project.classes() == starter_schema() and values(project) == [2, 2, 1]


def test_removing_a_class_asks_what_becomes_of_its_labels(project: Project):
    page = opened(project)
    press(page, project, "remove")
    assert "2 labels are of the class 'Unpaved road'" in page.warning[0].value
    assert project.classes() == starter_schema()
    press(page, project, "keep")
    assert not page.warning and project.classes() == starter_schema()
    press(page, project, "remove")
    page.selectbox(key=f"classes:{project.id}:target").set_value(1)
    press(page, project, "remove_now")
    assert "2 labels were given the class 'Paved road'" in page.success[0].value
    assert [c.value for c in project.classes().classes] == [1, 255] and values(project) == [1, 1, 1]


def test_removing_a_class_may_delete_its_labels_and_be_taken_back(project: Project):
    page = opened(project, 1)
    press(page, project, "remove")
    page.selectbox(key=f"classes:{project.id}:target").set_value(-1)
    press(page, project, "remove_now")
    assert values(project) == [2, 2]
    press(page, project, "undo")
    assert sorted(values(project)) == [1, 2, 2] and project.classes() == starter_schema()


def test_an_unused_class_goes_at_once_and_a_new_one_comes(project: Project):
    page = opened(project, 255)
    press(page, project, "remove")
    assert [c.value for c in project.classes().classes] == [2, 1]
    press(page, project, "new")
    page.text_input[0].set_value("Trail")
    save(page, "Add")
    assert (project.classes().classes[-1].name, project.classes().classes[-1].value) == ("Trail", 3)


def test_classes_change_places(project: Project):
    page = opened(project, 1)
    press(page, project, "up")
    assert [c.value for c in project.classes().classes] == [1, 2, 255]


def test_a_list_is_taken_in(project: Project):
    page = opened(project)
    page.file_uploader(key=f"classes:{project.id}:list").upload("a.csv", b"name,value,colour\nTrail,9,#010203\n").run()
    press(page, project, "take_in")
    assert "1 class was taken in" in page.success[0].value
    assert project.classes().by_value(9).colour == "#010203"
