from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
import rasterio

from errors import ImageryError, ProjectDamagedError, SourceNotAllowedError, UnreadableRasterError
from imagery.library import (
    Raster,
    add_copy,
    add_reference,
    add_references,
    get_raster,
    list_rasters,
    name_bands,
    raster_source,
    remove_raster,
    set_display,
)
from imagery.read import open_raster
from tests.imagery.rasters import rgb, write_raster
from workspace.project import create_project
from workspace.settings import Settings


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "server").mkdir()
    return Settings(tmp_path / "data", (tmp_path / "server",), False, 10**9, "cpu")


@pytest.fixture
def project(settings):
    return create_project(settings.projects_folder, "Test")


def test_what_gdal_keeps_beside_a_raster_comes_along_and_goes_with_it(project, tmp_path):
    upload = write_raster(tmp_path / "up.tif", rgb(), crs=None)
    with rasterio.open(upload, "r+") as dataset:
        dataset.build_overviews([2])
    (tmp_path / "up.tif.aux.xml").write_text('<PAMDataset><SRS>EPSG:32611</SRS><GeoTransform>500000, 1, 0, 4000000, 0, -1</GeoTransform></PAMDataset>')
    raster = add_copy(project, upload, "here.tif")
    with open_raster(raster_source(project, raster)) as dataset:
        assert dataset.crs.to_epsg() == 32611
    remove_raster(project, raster.id)
    assert list((project.folder / "imagery").iterdir()) == []


def test_references_stay_where_they_are_and_are_added_once(project, settings):
    path = write_raster(settings.imagery_roots[0] / "a.tif", rgb())
    raster = add_reference(project, path, settings)
    assert (raster.kind, raster.name, raster.bands) == ("reference", "a.tif", (1, 2, 3))
    assert raster_source(project, raster) == str(path)
    assert add_reference(project, path, settings) == raster
    assert list_rasters(project) == [raster] == [get_raster(project, raster.id)]
    remove_raster(project, raster.id)
    assert path.exists()
    with pytest.raises(UnreadableRasterError, match="not in the project"):
        get_raster(project, raster.id)


def test_many_are_added_and_bad_ones_are_explained(project, settings):
    root = settings.imagery_roots[0]
    paths = [write_raster(root / "a.tif", rgb()), root / "gone.tif", "/etc/hostname", write_raster(root / "b.tif", rgb(), crs=None)]
    good, gone, outside, unplaced = add_references(project, paths, settings)
    assert isinstance(good, Raster)
    assert isinstance(gone, UnreadableRasterError)
    assert isinstance(outside, SourceNotAllowedError)
    assert isinstance(unplaced, ImageryError)
    assert unplaced.remedy
    assert len(list_rasters(project)) == 1


def test_a_typed_crs_makes_a_copy_that_knows_it(project, settings):
    path = write_raster(settings.imagery_roots[0] / "a.tif", rgb(), crs=None)
    raster = add_reference(project, path, settings, "26911")
    assert (raster.kind, raster.info.crs) == ("copy", "EPSG:26911")
    with open_raster(raster_source(project, raster)) as dataset:
        assert dataset.crs.to_epsg() == 26911
        np.testing.assert_array_equal(dataset.read(), rgb())
    assert [p.name for p in (project.folder / "imagery").iterdir()] == ["a.tif"]


def test_copies_are_moved_in_under_a_safe_name_and_deleted_with_the_entry(project, tmp_path):
    upload = write_raster(tmp_path / "x.tif", rgb())
    raster = add_copy(project, upload, "../../My röad (1).TIF")
    assert raster.source == "imagery/My_road_1.tif"
    assert not upload.exists()
    again = add_copy(project, write_raster(tmp_path / "y.tif", rgb()), "My röad (1).tif")
    assert again.source == "imagery/My_road_1-2.tif"
    remove_raster(project, raster.id)
    assert [p.name for p in (project.folder / "imagery").iterdir()] == ["My_road_1-2.tif"]


def test_a_refused_upload_changes_nothing(project, tmp_path):
    upload = tmp_path / "x.tif"
    upload.write_text("no picture")
    with pytest.raises(ImageryError):
        add_copy(project, upload, "x.tif")
    assert upload.exists()
    assert list_rasters(project) == []


def test_display_is_stored_and_changes_the_version(project, settings):
    path = write_raster(settings.imagery_roots[0] / "a.tif", rgb())
    before = add_reference(project, path, settings)
    after = set_display(project, before.id, (3, 2, 1), (2, 98))
    assert get_raster(project, before.id) == after
    assert after.bands == (3, 2, 1)
    assert after.version != before.version
    with pytest.raises(ValueError, match="Bands"):
        set_display(project, before.id, (1, 2), None)
    with pytest.raises(ValueError, match="Bands"):
        set_display(project, before.id, (9,), None)


def test_two_tabs_at_once_lose_nothing(project, tmp_path):
    source = write_raster(tmp_path / "x.tif", rgb())
    uploads = [shutil.copyfile(source, tmp_path / f"{i}.tif") for i in range(4)]
    threads = [threading.Thread(target=add_copy, args=(project, upload, "same.tif")) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rasters = list_rasters(project)
    assert len({raster.id for raster in rasters}) == len({raster.source for raster in rasters}) == 4


def test_a_damaged_list_is_said(project):
    project.imagery_file.write_text("{")
    with pytest.raises(ProjectDamagedError, match="imagery list"):
        list_rasters(project)


def test_bands_are_named_by_a_person_and_shown_in_their_colours(project, settings, tmp_path):
    values = np.concatenate([rgb()[::-1], rgb()[:1]]).astype(np.uint16) * 10
    raster = add_reference(project, write_raster(tmp_path / "server" / "a.tif", values), settings)
    assert raster.info.band_names == ("band_1", "band_2", "band_3", "band_4")
    named = name_bands(project, raster.id, ["Blue", "Green", "Red", "Near Infrared"])
    assert get_raster(project, raster.id) == named
    assert named.info.band_names == ("blue", "green", "red", "near_infrared")
    assert named.bands == (3, 2, 1) and named.stretch.high == raster.stretch.high[::-1]
    assert named.version != raster.version
    assert name_bands(project, raster.id, None) == raster
    chosen = set_display(project, raster.id, (4,), None)
    assert name_bands(project, raster.id, ["blue", "green", "red", "nir"]).bands == chosen.bands  # what a person chose to see stays


@pytest.mark.parametrize("names", [["red", "green"], ["red", "red", "blue"], ["red", " ", "blue"]])
def test_names_of_bands_are_distinct_and_for_all(project, settings, tmp_path, names):
    raster = add_reference(project, write_raster(tmp_path / "server" / "a.tif", rgb()), settings)
    with pytest.raises(ValueError, match="no distinct names"):
        name_bands(project, raster.id, names)


def test_ranges_are_known_where_the_stretch_is_made_of_them(project, settings, tmp_path):
    eight = add_reference(project, write_raster(tmp_path / "server" / "a.tif", rgb()), settings)
    assert eight.known_ranges == (None,) * 3  # shown as it is
    deep = add_reference(project, write_raster(tmp_path / "server" / "b.tif", np.concatenate([rgb(), rgb()]).astype(np.uint16)), settings)
    low, high = deep.known_ranges[1]
    assert (low, high) == (deep.stretch.low[1], deep.stretch.high[1])
    assert deep.known_ranges[3:] == (None,) * 3
    assert set_display(project, deep.id, (1, 2, 3), (0, 100)).known_ranges == (None,) * 6
