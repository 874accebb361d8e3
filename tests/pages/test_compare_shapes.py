"""Shapes of a map on the Compare page, as a person makes them."""

from __future__ import annotations

import pytest

from inference.vectors.asked import read_asked, read_made
from inference.vectors.run import make
from tests.inference.makers import PAVED, UNPAVED
from tests.pages.test_preview_results import add_models, add_scene, open_page, press_predict, words
from ui import frame
from ui.comparison.shapes import likely_classes
from workspace.classes import ClassDef
from workspace.jobs import run_job
from workspace.project import create_project

HOUSE = ClassDef(value=5, name="Building", colour="#e71d36")


@pytest.fixture
def comparison(tmp_path, monkeypatch):
    """A project, and its comparison in which the new map is an unpaved road everywhere."""
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    project = create_project(tmp_path / "projects", "One")
    add_scene(project, tmp_path)
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    monkeypatch.setattr("ui.comparison.shapes.start_job", lambda job, module: run_job(job, make))
    [job] = project.predictions_folder.iterdir()
    yield project, job
    frame.settings.cache_clear()


def key(job, name: str) -> str:
    return f"preview_results:shapes_{name}:{job.name}"


def test_areas_are_made_shown_and_taken_away(comparison, monkeypatch):
    project, job = comparison
    on_map: list[dict] = []
    monkeypatch.setattr("ui.comparison.shape_layer.maps.add_shapes", lambda m, found, name, **look: on_map.append(found))
    page = open_page(project)
    assert page.multiselect(key=key(job, "classes") + ":polygons").value == [1, 2]
    page.button(key=key(job, "make")).click().run()
    assert not page.exception, page.exception
    [made] = (job / "shapes").iterdir()
    assert read_made(made).count == 1 and read_asked(made).side == "after"
    assert "**Areas** of the new map" in words(page) and ": 1 area" in words(page)
    assert "polygons.gpkg" in words(page) and "polygons.zip" in words(page) and "polygons.geojson" in words(page)
    [shown] = [box for box in page.checkbox if box.label == "Show on the map"]
    assert shown.value
    [area] = on_map.pop()["features"]
    assert area["properties"]["text"].startswith("Unpaved road, 1,281 m², ") and area["properties"]["style"]["fillColor"] == UNPAVED.colour
    on_map.clear()
    shown.uncheck().run()
    assert not on_map
    assert not page.exception and not next(box for box in page.checkbox if box.label == "Show on the map").value
    page.button(key=f"{key(job, 'delete')}:{made.name}").click().run()
    assert not list((job / "shapes").glob("[!.]*"))


def test_settings_of_the_kind_are_those_asked_for(comparison):
    project, job = comparison
    page = open_page(project)
    page.button_group(key=key(job, "kind")).set_value("roads").run()
    assert page.multiselect(key=key(job, "classes") + ":roads").value == [1, 2]
    page.number_input(key="preview_results:shapes:roads:gap_m").set_value(7.5)
    page.radio(key=key(job, "side")).set_value("before").run()
    page.button(key=key(job, "make")).click().run()
    assert not page.exception, page.exception
    [made] = (job / "shapes").iterdir()
    asked = read_asked(made)
    assert (asked.shapes.kind, asked.shapes.gap_m, asked.side) == ("roads", 7.5, "before")
    assert "**Roads** of the old map" in words(page)


def test_classes_that_are_called_so_are_meant_at_first():
    assert likely_classes("roads", [PAVED, UNPAVED, HOUSE]) == [1, 2]
    assert likely_classes("buildings", [PAVED, UNPAVED, HOUSE]) == [5]
    assert likely_classes("buildings", [PAVED, UNPAVED]) == [1]
    assert likely_classes("polygons", [PAVED, HOUSE]) == [1, 5]
