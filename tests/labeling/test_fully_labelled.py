"""Sparse labels: inside fully labelled areas what is not drawn is background, outside them nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from shapely.geometry import LineString, box

from errors import EmptyTileSetError, NoLabelsError
from imagery.raster import inspect_raster
from labeling.burn import burn, shapes_on, unlabelled
from labeling.export import estimate_tiles, export_tiles
from labeling.fully_labelled import fully_labelled
from tests.labeling.export.test_make import PAVED, SMALL, UNCERTAIN, UNPAVED, X0, Y0, mosaic, run, table, write_scene
from tiles.reader import read_tile
from tiles.validate import validate_tile_set
from workspace.classes import FULLY_LABELLED_VALUE, starter_schema

AREA = FULLY_LABELLED_VALUE
"""The scene: 640 x 192 pixels of 1 m, ten by three tiles."""


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif")


def pixels(left, top, right, bottom):
    """A box by columns and rows of the scene."""
    return box(X0 + left, Y0 - bottom, X0 + right, Y0 - top)


def sparse():
    """An area of 100 x 64 pixels with a square, half in it; uncertain in it; another square far away, outside all areas."""
    return table(
        (AREA, pixels(0, 0, 100, 64)),
        (PAVED, pixels(90, 10, 110, 30)),
        (UNCERTAIN, pixels(10, 40, 30, 50)),
        (PAVED, pixels(600, 10, 620, 30)),
    )


def expected():
    """(192, 640) the whole scene as it should be."""
    label = np.full((192, 640), 255, dtype=np.uint8)
    label[:64, :100] = 0
    label[40:50, 10:30] = 255
    label[10:30, 90:110] = PAVED
    label[10:30, 600:620] = PAVED
    return label


@pytest.mark.parametrize("metadata_format", ["Classified_Tiles", "RCNN_Masks", "Panoptic_Segmentation"])
def test_outside_the_areas_only_what_is_drawn_counts(scene, tmp_path, metadata_format):
    made = run(scene, sparse(), tmp_path, SMALL.model_copy(update={"metadata_format": metadata_format}))
    label = mosaic(made)
    there = label != 99
    assert np.array_equal(label[there], expected()[there])
    assert {(tile.column, tile.row) for tile in made.record.tiles} == {(0, 0), (64, 0), (576, 0)}
    assert {tile.column: tile.pixels for tile in made.record.tiles} == {
        0: {0: 64 * 64 - 200},
        64: {0: 36 * 64 - 200, PAVED: 400},
        576: {PAVED: 400},
    }
    assert validate_tile_set(made.folder) == []


def test_other_readers_find_background_and_the_mask_says_why(scene, tmp_path):
    made = run(scene, sparse(), tmp_path)
    first = made.record.tiles[0]
    second = next(tile for tile in made.record.tiles if tile.column == 64)
    with rasterio.open(made.folder / second.label) as file:
        assert set(np.unique(file.read(1))) == {0, PAVED}
    with rasterio.open(made.folder / second.ignore) as file:
        mask = file.read(1)
    assert set(mask[:, :36].ravel()) == {0}
    assert set(mask[30:, 36:].ravel()) == {3}
    assert set(mask[10:30, 36:46].ravel()) == {0}
    with rasterio.open(made.folder / first.ignore) as file:
        mask = file.read(1)
    assert set(mask[40:50, 10:30].ravel()) == {1}
    assert (mask != 0).sum() == 200


def test_pixels_without_imagery_stay_what_they_are(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", nodata=0, empty=(slice(0, 8), slice(0, 640)))
    made = run(scene, sparse(), tmp_path)
    for tile in made.record.tiles:
        with rasterio.open(made.folder / tile.ignore) as file:
            assert set(file.read(1)[:8].ravel()) == {2}
        assert not read_tile(made, tile).valid[:8].any()


def test_the_record_says_so_even_where_no_pixel_lies_outside(scene, tmp_path):
    drawn = (PAVED, pixels(90, 10, 110, 30)), (PAVED, pixels(600, 10, 620, 30))
    whole = run(scene, table((AREA, pixels(0, 0, 640, 192)), *drawn), tmp_path / "whole")
    assert whole.record.fully_labelled and all(tile.ignore is None for tile in whole.record.tiles)
    assert not run(scene, table(*drawn), tmp_path / "drawn").record.fully_labelled


def test_without_such_an_area_everything_else_is_background(scene, tmp_path):
    made = run(scene, sparse().iloc[1:], tmp_path)
    assert set(np.unique(mosaic(made))) == {0, PAVED, 99}
    assert all(tile.ignore is None for tile in made.record.tiles)


def test_an_area_on_another_picture_speaks_for_all_of_them(scene, tmp_path):
    far = table((AREA, pixels(2000, 0, 2100, 64)), (PAVED, pixels(0, 0, 20, 20)), (PAVED, pixels(600, 0, 620, 20)))
    label = mosaic(run(scene, far, tmp_path))
    assert set(np.unique(label)) == {PAVED, 255, 99}
    assert (label == PAVED).sum() == 800


def test_areas_lie_below_everything_and_may_overlap(scene, tmp_path):
    labels = table(
        (PAVED, pixels(0, 0, 20, 20)),
        (UNCERTAIN, pixels(0, 20, 20, 40)),
        (UNPAVED, pixels(600, 0, 620, 20)),
        (AREA, pixels(0, 0, 40, 64)),
        (AREA, pixels(20, 0, 64, 64)),
    )
    label = mosaic(run(scene, labels, tmp_path))
    assert set(label[:20, :20].ravel()) == {PAVED}
    assert set(label[20:40, :20].ravel()) == {255}
    assert set(label[40:64, :64].ravel()) == {0}


def test_a_tile_that_is_background_through_and_through_is_cut(scene, tmp_path):
    """A tenth of a tile is enough, less is not."""
    labels = table(
        (PAVED, pixels(0, 0, 20, 20)),
        (PAVED, pixels(600, 0, 620, 20)),
        (AREA, pixels(256, 0, 320, 64)),
        (AREA, pixels(390, 0, 395, 64)),
    )
    made = run(scene, labels, tmp_path)
    assert [tile.column for tile in made.record.tiles] == [0, 256, 576]
    assert made.record.tiles[1].pixels == {0: 64 * 64}
    estimate = estimate_tiles([inspect_raster(scene.source)], labels, starter_schema(), SMALL)
    assert (estimate.tiles, estimate.learnable) == (3, True)
    every = export_tiles([scene], labels, starter_schema(), SMALL.model_copy(update={"tiles": "all"}), tmp_path / "all")
    assert [tile.column for tile in every.record.tiles] == [0, 256, 384, 576]


def test_boxes_are_cut_only_where_all_of_them_are_known(scene, tmp_path):
    """A reader of boxes takes whatever has none for background; areas themselves are no objects."""
    voc = SMALL.model_copy(update={"metadata_format": "PASCAL_VOC_rectangles"})
    labels = table(
        (AREA, pixels(0, 0, 128, 64)),
        (AREA, pixels(512, 0, 640, 64)),
        (PAVED, pixels(5, 5, 20, 20)),
        (PAVED, pixels(300, 5, 320, 20)),
        (PAVED, pixels(600, 5, 620, 20)),
    )
    made = run(scene, labels, tmp_path, voc)
    assert [tile.column for tile in made.record.tiles] == [0, 64, 512, 576]
    assert [tile.objects for tile in made.record.tiles] == [{PAVED: 1}, {}, {}, {PAVED: 1}]
    assert validate_tile_set(made.folder) == []
    small = table((AREA, pixels(0, 0, 10, 10)), (PAVED, pixels(5, 5, 20, 20)), (PAVED, pixels(600, 5, 620, 20)))
    with pytest.raises(EmptyTileSetError, match="mostly in a fully labelled area"):
        export_tiles([scene], small, starter_schema(), voc, tmp_path / "none")


def test_tiles_around_objects_and_images_only_do_not_ask_for_areas(scene, tmp_path):
    around = run(scene, sparse(), tmp_path, SMALL.model_copy(update={"metadata_format": "Labeled_Tiles"}))
    assert [tile.objects for tile in around.record.tiles] == [{PAVED: 1}, {PAVED: 1}]
    only_images = SMALL.model_copy(update={"metadata_format": "Export_Tiles", "tiles": "all"})
    images = export_tiles([scene], sparse(), starter_schema(), only_images, tmp_path / "images")
    assert len(images.record.tiles) == 30


def test_areas_alone_are_nothing_to_learn(scene, tmp_path):
    with pytest.raises(NoLabelsError, match="nothing is drawn"):
        run(scene, table((AREA, pixels(0, 0, 100, 64))), tmp_path)
    with pytest.raises(NoLabelsError, match="The only label is 'Uncertain'"):
        run(scene, table((AREA, pixels(0, 0, 100, 64)), (UNCERTAIN, pixels(0, 0, 10, 10))), tmp_path)


def test_a_tile_is_the_whole_scene_cut_at_its_window(scene, tmp_path):
    """Overlapping tiles, areas and lines at an angle: every pixel as in one burn of the whole scene."""
    slanted = shapely.Polygon([(X0 + 30, Y0 - 5), (X0 + 290, Y0 - 60), (X0 + 200, Y0 - 180), (X0 + 10, Y0 - 120)])
    labels = table(
        (AREA, slanted),
        (PAVED, LineString([(X0 + 5, Y0 - 100), (X0 + 350, Y0 - 40)])),
        (UNPAVED, LineString([(X0 + 560, Y0 - 100), (X0 + 630, Y0 - 40)])),
    )
    grid = inspect_raster(scene.source).grid
    shapes = shapes_on(grid, labels, starter_schema(), 2.0)
    whole = burn(shapes, grid)
    whole[unlabelled(shapes, grid, whole)] = 255
    made = run(scene, labels, tmp_path, SMALL.model_copy(update={"stride": 32}))
    for tile in made.record.tiles:
        rows, columns = min(64, 192 - tile.row), min(64, 640 - tile.column)
        there = whole[tile.row : tile.row + rows, tile.column : tile.column + columns]
        assert np.array_equal(read_tile(made, tile).label[:rows, :columns], there)


def test_shares_of_boxes():
    areas = np.array([box(0, 0, 10, 10), box(5, 0, 15, 10), LineString([(50, 50), (60, 60)])])
    boxes = np.array([box(0, 0, 10, 10), box(10, 0, 20, 10), box(30, 0, 40, 10)])
    assert fully_labelled(areas).shares(boxes).tolist() == [1.0, 0.5, 0.0]
    assert fully_labelled(areas[:0]).shares(boxes).tolist() == [0.0, 0.0, 0.0]
