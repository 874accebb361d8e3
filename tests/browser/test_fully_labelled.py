"""The tool that says where everything is labelled, through real clicks, and what becomes of it in tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from imagery.library import list_rasters, raster_source
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_set import current_labels, sizes
from tests.browser.label_page import LabelPage
from tests.browser.test_label_tools import metres_per_pixel
from tiles.reader import read_tile
from workspace.project import Project

pytestmark = pytest.mark.browser


def test_areas_are_drawn_chosen_by_their_edge_and_exported(labels: LabelPage, project: Project, tmp_path: Path):
    scale = metres_per_pixel(labels)
    labels.press("r")
    labels.drag((320, 220), (380, 260))  # an object
    labels.has(1)
    labels.press("i")
    expect(labels.page.locator(".tt-hint")).to_contain_text("what is not drawn inside is background")
    labels.drag((300, 150), (500, 300))  # a box around it ...
    labels.has(2)
    labels.click((520, 320), (640, 320), (640, 420), (520, 420), (520, 320))  # ... and one by its corners
    labels.has(3)
    stored = current_labels(project.journal_file)
    assert stored["class_value"].tolist() == [2, 0, 0]
    assert stored.geometry.geom_type.tolist() == ["Polygon"] * 3
    assert sizes(stored).iloc[1] == pytest.approx(200 * 150 * scale**2, rel=0.05)
    assert sizes(stored).iloc[2] == pytest.approx(120 * 100 * scale**2, rel=0.05)

    chosen = labels.page.locator(".tt-chosen")
    labels.press("v")
    labels.click((350, 240))  # what lies in it is not in its shade
    expect(chosen).to_contain_text("Unpaved road")
    labels.click((450, 250))  # nor does the plain ground choose it
    expect(chosen).to_be_hidden()
    labels.click((400, 150))
    expect(chosen).to_contain_text("Fully labelled area")
    labels.press("1", "Delete")  # it has no class to be given
    labels.has(2)
    labels.press("Control+z")
    labels.has(3)
    assert sorted(current_labels(project.journal_file)["class_value"]) == [0, 0, 2]

    row = labels.page.locator(".tt-list-class", has_text="Fully labelled area")
    expect(row.locator(".tt-count")).to_have_text("2")
    row.click()
    expect(labels.page.locator(".tt-list-title")).to_have_text("2 of 3 labels")
    row.click()

    labels.press("x")  # a cut goes through labels, not through the area around them
    labels.click((310, 230), (350, 230), (350, 250), (310, 250), (310, 230))
    labels.revision(6)
    after = current_labels(project.journal_file)
    assert sizes(after)[after["class_value"] == 0].tolist() == pytest.approx(sizes(stored)[stored["class_value"] == 0].tolist())
    assert sizes(after)[after["class_value"] == 2].sum() < sizes(stored).iloc[0]

    labels.press("?")
    expect(labels.page.locator(".tt-key", has_text="Fully labelled area").locator("kbd")).to_have_text("I")
    labels.press("Escape")

    [raster] = list_rasters(project)
    images = [ImageSource(name=raster.name, source=raster_source(project, raster))]
    made = export_tiles(images, after, project.classes(), ExportSettings(tile_size=32, stride=32, validation_share=0.5), tmp_path / "tiles")
    background = sum(int((read_tile(made, tile).label == 0).sum()) for tile in made.record.tiles)
    areas = sizes(stored).iloc[1:].sum() - sizes(after)[after["class_value"] == 2].sum()
    assert background == pytest.approx(areas, rel=0.05)
