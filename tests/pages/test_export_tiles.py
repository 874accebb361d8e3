"""The Tiles page from nothing to a tile set, as a person uses it."""

from __future__ import annotations

import time
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy, list_rasters, raster_source
from labeling.export.job import export_jobs
from labeling.journal import Label, Operation, open_journal
from tests.labeling.test_class_raster import write_classes
from tests.tiles.conftest import write_tile_set
from tiles.bring_in import bring_in_jobs, start_bring_in
from tiles.tile_set import list_tile_sets, open_tile_set
from ui import export_estimate, frame
from workspace.files import write_json
from workspace.jobs import job_status
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "export_tiles.py"
ORIGIN = (500_000.0, 4_000_000.0)
LON, LAT = -117.0, 36.1443


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    monkeypatch.setattr(export_estimate, "PATIENCE_S", 60.0)
    frame.settings.cache_clear()
    yield create_project(tmp_path / "projects", "One")
    frame.settings.cache_clear()


def add_scene(project: Project, tmp_path: Path) -> None:
    """2048 x 320 pixels of 1 m."""
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 2048, "height": 320, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, ORIGIN[0], 0, -1, ORIGIN[1])) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, 320, 2048)).astype(np.uint8))
    add_copy(project, path, "scene.tif")


def add_lines(project: Project, *shifts_m: float, lat: float = LAT, value: int = 2) -> None:
    """Unpaved lines 80 m long, `shifts_m` east of the scene's edge, 100 m below its upper edge."""
    for shift in shifts_m:
        west = LON + (shift + 5) / 89_900
        geometry = {"type": "LineString", "coordinates": [[west, lat - 0.0009], [west + 80 / 89_900, lat - 0.0009]]}
        open_journal(project.journal_file).append(
            [Operation(uuid.uuid4().hex, "upsert", uuid.uuid4().hex, Label(geometry, value, "drawn", ""))]
        )


def open_page(project: Project) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    page.run()
    assert not page.exception, page.exception
    return page


def text_of(elements) -> str:
    return "\n".join(e.value for e in elements)


def click(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception, page.exception
    return page


def wait(project: Project) -> str:
    end = time.monotonic() + 90
    while not job_status(export_jobs(project)[0]).ended and time.monotonic() < end:
        time.sleep(0.1)
    return job_status(export_jobs(project)[0]).state


def test_without_imagery_or_labels_it_says_where_to_go(project, tmp_path):
    page = open_page(project)
    assert "no imagery" in text_of(page.info)
    assert "export" not in [button.key for button in page.button]
    add_scene(project, tmp_path)
    page = open_page(project)
    assert "Nothing is labelled yet" in text_of(page.info)
    assert page.button(key="export").disabled
    page.selectbox(key="metadata_format").set_value("Export_Tiles").run()
    assert "Terratune itself cannot train on it" in text_of(page.caption)
    assert "Nothing is labelled yet" not in text_of(page.info), "images alone need no labels"
    click(page, "export")
    assert wait(project) == "done"
    assert len(open_tile_set(list_tile_sets(project.tiles_folder)[0]).record.tiles) > 2


def test_export_look_and_delete(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    page = open_page(project)
    assert "**1 image**, **2 labels**: 2 Unpaved road" in text_of(page.markdown)
    assert "About **6 tiles**" in text_of(page.caption)
    page.number_input(key="buffer_m").set_value(3.0).run()
    click(page, "export")
    assert wait(project) == "done"
    tile_set = open_tile_set(list_tile_sets(project.tiles_folder)[0])
    assert tile_set.record.settings["buffer_m"] == 3.0
    assert len(tile_set.record.tiles) == 6
    assert tile_set.train
    assert tile_set.validation

    page = open_page(project)
    assert page.number_input(key="buffer_m").value == 3.0, "the last choice is on disk"
    assert f"Training: {len(tile_set.train)} tile" in text_of(page.markdown)
    table = page.dataframe[0].value
    assert table["Class"].tolist() == ["Unpaved road", "Paved road"]
    assert table["Training pixels"][0] == tile_set.record.class_pixels("train")[2]
    page.session_state["view"] = "Places"
    page.run()
    assert not page.exception
    assert not page.error
    sides = page.selectbox(key="place:tiles").options
    assert sides[0] == "Everything"
    assert ": validation, " in sides[1], "what is tested on comes first"
    click(page, "delete")
    assert list_tile_sets(project.tiles_folder) == []
    assert "will be shown here" in text_of(page.info)


def test_two_exports_lie_beside_each_other(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    for _ in range(2):
        click(open_page(project), "export")
        assert wait(project) == "done"
    assert {p.name for p in list_tile_sets(project.tiles_folder)} == {"tiles", "tiles-2"}


def test_labels_in_one_place_only(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0)
    click(open_page(project), "export")
    assert wait(project) == "failed"
    page = open_page(project)
    assert "one place" in text_of(page.error)
    assert "Label something at least" in text_of(page.error)
    click(page, "dismiss")
    assert not page.error
    assert export_jobs(project) == []


def test_labels_outside_the_imagery(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, lat=40.0)
    page = open_page(project)
    assert "there would be no tile" in text_of(page.warning)
    click(page, "export")
    assert wait(project) == "failed"
    assert "No label touches the imagery" in text_of(open_page(project).error)


def test_a_job_cut_off_is_told(project, tmp_path):
    import os
    import signal

    from workspace.files import read_json

    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    click(open_page(project), "export")
    folder = export_jobs(project)[0]
    os.kill(read_json(folder / "process.json")["pid"], signal.SIGKILL)
    time.sleep(2.2)
    left = project.tiles_folder / ".tiles.0123abcd.part"
    left.mkdir()
    page = open_page(project)
    assert "cut off" in text_of(page.warning)
    assert list_tile_sets(project.tiles_folder) == []
    click(page, "dismiss")
    assert export_jobs(project) == []
    assert not left.exists(), "what nobody wants to go on with"


def test_a_damaged_tile_set_does_not_take_the_page_with_it(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    (project.tiles_folder / "bad").mkdir()
    (project.tiles_folder / "bad" / "terratune.json").write_text("{}")
    page = open_page(project)
    assert "is damaged" in text_of(page.error)
    assert page.button(key="export")
    assert page.button(key="delete")


def test_labels_that_are_all_uncertain(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900, value=255)
    page = open_page(project)
    assert "Every label is of a class that is never learnt (Uncertain), so there would be no tile" in text_of(page.warning)
    page.radio(key="tiles").set_value("all").run()
    assert "nothing to learn" in text_of(page.warning)
    click(page, "export")
    assert wait(project) == "done"
    page = open_page(project)
    assert "No tile shows a class" in text_of(page.warning)


def test_a_tile_around_each_object(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    page = open_page(project)
    page.selectbox(key="tile_size").set_value(64).run()
    page.selectbox(key="metadata_format").set_value("Labeled_Tiles").run()
    assert "About **2 tiles**" in text_of(page.caption)
    page.radio(key="crop_mode").set_value("bounding_box").run()
    page.checkbox(key="blacken_around_feature").set_value(True).run()
    click(page, "export")
    assert wait(project) == "done"
    record = open_tile_set(list_tile_sets(project.tiles_folder)[0]).record
    assert (record.settings["crop_mode"], record.settings["blacken_around_feature"]) == ("bounding_box", True)
    page = open_page(project)
    assert "Does each tile show what is named below it?" in text_of(page.caption)
    page.session_state["view"] = "Places"
    page.run()
    assert not page.exception
    assert not page.error


def test_boxes_of_objects(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    page = open_page(project)
    page.selectbox(key="metadata_format").set_value("PASCAL_VOC_rectangles").run()
    assert "cannot train on it" not in text_of(page.caption)
    page.slider(key="min_polygon_overlap_ratio").set_value(0.25).run()
    click(page, "export")
    assert wait(project) == "done"
    tile_set = open_tile_set(list_tile_sets(project.tiles_folder)[0])
    assert tile_set.record.metadata_format == "PASCAL_VOC_rectangles"
    assert tile_set.record.settings["min_polygon_overlap_ratio"] == 0.25
    page = open_page(project)
    assert page.selectbox(key="metadata_format").value == "PASCAL_VOC_rectangles", "the last choice is on disk"
    assert "Made for other programs" not in text_of(page.info)
    assert "Does each object have its own box?" in text_of(page.caption)
    assert page.dataframe[0].value["Training objects"].tolist() == [tile_set.record.class_objects("train")[2], 0]


@pytest.fixture
def exported(project, tmp_path) -> Project:
    """Twelve tiles around three lines and an uncertain one."""
    add_scene(project, tmp_path)
    add_lines(project, 0, 1000, 1900)
    add_lines(project, 1000, lat=LAT - 0.0003, value=255)
    click(open_page(project), "export")
    assert wait(project) == "done"
    return project


def test_pages_of_tiles_one_of_them_large(exported):
    record = open_tile_set(list_tile_sets(exported.tiles_folder)[0]).record
    assert len(record.tiles) > 8
    page = open_page(exported)
    assert f"1 to 8 of {len(record.tiles)} tiles" in text_of(page.caption)
    click(page, "open_0")
    shown = next(m.value for m in page.markdown if m.value.startswith("Tile: "))
    assert "Image: **scene" in shown
    assert "256 x 256 pixels, 256 x 256 m" in shown
    pixels = {row["Class"]: row["Pixels"] for row in page.dataframe[-1].value.to_dict("records")}
    tile = next(t for t in record.tiles if t.name in shown)
    assert pixels["Unpaved road"] == tile.pixels[2]
    assert sum(pixels.values()) == 256 * 256
    assert not page.error


def test_tiles_are_chosen_by_side_and_by_what_is_ignored(exported):
    record = open_tile_set(list_tile_sets(exported.tiles_folder)[0]).record
    page = open_page(exported)
    page.selectbox(key="tiles_side:tiles").set_value("validation").run()
    assert f"of {len(record.in_split('validation'))} tiles (chosen from {len(record.tiles)})" in text_of(page.caption)
    page.selectbox(key="tiles_side:tiles").set_value("*")
    page.selectbox(key="tiles_order:tiles").set_value("ignored").run()
    click(page, "open_0")
    assert "Not learnt from: **" in text_of(page.markdown), "the most uncertain tile comes first"
    page.selectbox(key="tiles_show:tiles").set_value(1).run()
    assert "No tile is like that" in text_of(page.info)


def test_settings_that_cannot_be_are_refused_in_words(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    page = open_page(project)
    page.number_input(key="stride_y").set_value(512).run()
    assert "The step (512) is larger than the tile height (256)" in text_of(page.warning)
    assert page.button(key="export").disabled
    assert not page.error


def test_an_export_that_was_stopped_goes_on(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    click(open_page(project), "export")
    assert wait(project) == "done"
    folder = export_jobs(project)[0]
    write_json(folder / "status.json", {"state": "cancelled"})
    page = open_page(project)
    assert "The export was stopped" in text_of(page.info)
    click(page, "resume")
    assert wait(project) == "done"


def test_a_note_of_another_version_does_not_take_the_form_with_it(project, tmp_path):
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    folder = project.tiles_folder / ".exports" / "1-a"
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", {"something": "else"})
    assert open_page(project).number_input(key="buffer_m").value == 2.0


def test_tiles_made_elsewhere_in_a_project_without_imagery(project, tmp_path, monkeypatch):
    roots = tmp_path / "server"
    tile_set = write_tile_set(roots / "Other roads")
    (tile_set.folder / "terratune.json").unlink()
    monkeypatch.setenv("TERRATUNE_IMAGERY_ROOTS", str(roots))
    frame.settings.cache_clear()
    page = open_page(project)
    assert "no imagery" in text_of(page.info)
    page.selectbox(key="bring_in_folder").set_value(str(tile_set.folder.resolve())).run()
    click(page, "bring_in_start")
    (folder,) = bring_in_jobs(project.tiles_folder)
    end = time.monotonic() + 90
    while not job_status(folder).ended and time.monotonic() < end:
        time.sleep(0.1)
    page = open_page(project)
    assert [p.name for p in list_tile_sets(project.tiles_folder)] == ["other-roads"]
    assert "made by another program" in text_of(page.caption)
    assert not page.error


def test_an_archive_that_cannot_be_brought_in_is_told(project, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    folder = start_bring_in(project.tiles_folder, "Notes.zip", upload=path)
    end = time.monotonic() + 90
    while not job_status(folder).ended and time.monotonic() < end:
        time.sleep(0.1)
    page = open_page(project)
    assert "no training tiles" in text_of(page.error)
    click(page, f"bring_in_dismiss:{folder.name}")
    assert not page.error


def test_more_is_asked_only_where_it_means_something(project, tmp_path):
    add_scene(project, tmp_path)
    add_scene(project, tmp_path)
    add_lines(project, 0, 1900)
    page = open_page(project)

    def asked() -> set[str]:
        return {w.key for kind in (page.number_input, page.radio, page.selectbox) for w in kind}

    assert not asked() & {"jpeg_quality", "second_resampling", "crop_mode"}
    page.radio(key="image_format").set_value("JPEG").run()
    assert "jpeg_quality" in asked()
    both = text_of(page.caption)
    assert "About **12 tiles**" in both
    page.radio(key="second_raster").set_value(raster_source(project, list_rasters(project)[1])).run()
    assert "second_resampling" in asked()
    assert "About **6 tiles**" in text_of(page.caption), "the second image is not cut by itself"
    assert not page.error


def test_a_map_of_classes_as_labels(project, tmp_path):
    add_scene(project, tmp_path)
    values = np.zeros((320, 2048))
    values[40:90, 100:220], values[100:300, 1700:2000] = 2, 7
    add_copy(project, write_classes(tmp_path / "classes.tif", values, colours={7: (10, 20, 30)}), "classes.tif")
    page = open_page(project)
    assert "Nothing is labelled yet" in text_of(page.info)
    page.selectbox(key=f"labels_from:{project.id}:1").set_value(0).run()
    assert not page.exception
    assert "Nothing is labelled yet" not in text_of(page.info)
    assert "At most **" in text_of(page.caption)
    click(page, "export")
    assert wait(project) == "done", (export_jobs(project)[0] / "log.txt").read_text()
    made = open_tile_set(list_tile_sets(project.tiles_folder)[0])
    assert {tile.raster for tile in made.record.tiles} == {"scene.tif"}, "what the labels are made of is not cut"
    assert [(c.value, c.name, c.colour) for c in made.record.classes] == [(2, "Unpaved road", "#ff9f1c"), (7, "7", "#0a141e")]
    for tile in made.record.tiles:
        here = np.zeros((256, 256))
        cut = values[tile.row : tile.row + 256, tile.column : tile.column + 256]
        here[: cut.shape[0], : cut.shape[1]] = cut
        assert np.array_equal(rasterio.open(made.folder / tile.label).read(1), here)
