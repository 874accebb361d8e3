"""The Label page around the map: what it shows, refuses and stores. The map itself is tested in tests/browser."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from streamlit.testing.v1 import AppTest

from errors import LabelError
from imagery.library import add_copy
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import current_labels
from ui import frame
from ui.class_editor import moved, unused_colour, with_class, with_new_class, without_class
from workspace.classes import starter_schema
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "draw_labels.py"
LON, LAT = -117.0, 36.1443
INSIDE = {"type": "LineString", "coordinates": [[LON + 0.0002, LAT - 0.0005], [LON + 0.0008, LAT - 0.0005]]}
OUTSIDE = {"type": "Point", "coordinates": [10.0, 50.0]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    yield create_project(tmp_path / "projects", "One")
    frame.settings.cache_clear()


@pytest.fixture
def scene(project: Project, tmp_path: Path) -> Project:
    """The project with an image of 128 pixels of 1 m."""
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 128, "height": 128, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, 128, 128)).astype(np.uint8))
    add_copy(project, path, "scene.tif")
    return project


def add(project: Project, geometry: dict, class_value: int = 2) -> None:
    operation = Operation(uuid.uuid4().hex, "upsert", uuid.uuid4().hex, Label(geometry, class_value))
    open_journal(project.journal_file).append([operation])


def open_page(project: Project) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    page.run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(str(element.value) for kind in (page.markdown, page.caption, page.info, page.warning, page.error) for element in kind)


def test_without_imagery_the_page_says_where_to_go(project: Project):
    page = open_page(project)
    assert "no imagery" in page.info[0].value
    assert not page.warning


def test_labels_outside_all_imagery_are_pointed_out(scene: Project):
    add(scene, INSIDE)
    add(scene, OUTSIDE)
    assert "1 label lies outside all imagery" in open_page(scene).warning[0].value


def test_labels_of_a_removed_class_are_pointed_out(scene: Project):
    add(scene, INSIDE, 1)
    scene.save_classes(without_class(scene.classes(), 1, 0))
    page = open_page(scene)
    assert "a class that was removed" in page.warning[0].value


def test_a_class_in_use_is_not_removed(scene: Project):
    add(scene, INSIDE, 2)
    page = open_page(scene)
    page.button(key=f"classes:{scene.id}:remove").click().run()
    assert "1 label uses it" in page.error[0].value
    assert scene.classes().by_value(2).name == "Unpaved road"


def test_a_class_is_renamed_and_stays_renamed(scene: Project):
    page = open_page(scene)
    page.text_input[0].set_value("Fire road")
    next(b for b in page.button if b.label == "Save").click().run()
    assert not page.exception
    assert scene.classes().by_value(2).name == "Fire road"


def moved_north(line: dict, steps: int) -> dict:
    return line | {"coordinates": [[x, y + steps * 1e-5] for x, y in line["coordinates"]]}


def upload(page: AppTest, name: str, content: bytes) -> AppTest:
    page.button(key="import_open").click().run()
    page.file_uploader(key="import_file").upload(name, content).run()
    return page


def test_a_file_is_imported_with_its_values_mapped(scene: Project):
    features = [
        {"type": "Feature", "properties": {"surface": surface, "width_m": width}, "geometry": moved_north(INSIDE, i)}
        for i, (surface, width) in enumerate((("dirt", 7.5), ("unpaved", None), ("dirt", 7.5), ("nonsense", 3)))
    ]
    page = upload(open_page(scene), "roads.geojson", json.dumps({"type": "FeatureCollection", "features": features}).encode())
    page.selectbox(key="import_field").set_value("surface").run()
    page.selectbox(key="import_value:surface:0").set_value(1)
    page.button(key="import").click().run()
    assert not page.error
    assert "3 labels read, 1 left out" in page.success[0].value
    assert "outside" not in page.success[0].value
    assert not page.file_uploader  # the dialog has closed
    labels = current_labels(scene.journal_file)
    assert labels["class_value"].tolist() == [1, 2, 1]
    assert set(labels["origin"]) == {"imported"}
    assert labels["width_m"].fillna(0).tolist() == [7.5, 0.0, 7.5]


def test_the_field_whose_values_look_like_classes_is_proposed(scene: Project):
    features = [
        {"type": "Feature", "properties": {"id": i, "surface": surface}, "geometry": INSIDE}
        for i, surface in enumerate(("paved", "unpaved"), 50)
    ]
    page = upload(open_page(scene), "roads.geojson", json.dumps({"type": "FeatureCollection", "features": features}).encode())
    assert page.selectbox(key="import_field").value == "surface"
    page.button(key="import").click().run()
    assert current_labels(scene.journal_file)["class_value"].tolist() == [1, 2]


def test_a_bad_file_is_explained_and_nothing_stored(scene: Project):
    page = upload(open_page(scene), "roads.geojson", b'{"type": "FeatureCollection", "features": [')
    assert "damaged" in page.error[0].value
    assert not page.exception
    assert current_labels(scene.journal_file).empty


def test_an_import_says_which_labels_lie_outside_the_imagery_and_can_be_taken_back(scene: Project):
    features = [{"type": "Feature", "properties": {"surface": "dirt"}, "geometry": shape} for shape in (INSIDE, OUTSIDE)]
    page = upload(open_page(scene), "roads.geojson", json.dumps({"type": "FeatureCollection", "features": features}).encode())
    page.button(key="import").click().run()
    assert "1 of them lies outside all imagery" in page.success[0].value
    page.button(key="import_undo").click().run()
    assert not page.success
    command = page.session_state["map_command"]
    assert command["kind"] == "delete"
    assert sorted(command["object_ids"]) == sorted(current_labels(scene.journal_file)["object_id"])


def test_new_classes_get_a_free_value_and_colour():
    schema = with_new_class(starter_schema(), "Trail", unused_colour(starter_schema()))
    trail = schema.by_name("trail")
    assert trail is not None
    assert trail.value == 3
    assert trail.colour not in {c.colour for c in starter_schema().classes}


@pytest.mark.parametrize("name", ["", "   ", "paved ROAD", "x" * 61])
def test_a_name_that_is_empty_taken_or_too_long_is_refused(name: str):
    for attempt in (lambda: with_new_class(starter_schema(), name, "#123456"), lambda: with_class(starter_schema(), 2, name=name)):
        with pytest.raises(LabelError) as refused:
            attempt()
        assert refused.value.remedy


def test_classes_are_reordered_and_the_last_one_stays():
    schema = moved(starter_schema(), 0, 1)
    assert [c.value for c in schema.classes] == [1, 2, 255]
    for value in (1, 2):
        schema = without_class(schema, value, 0)
    with pytest.raises(LabelError, match="only class"):
        without_class(schema, 255, 0)
