import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from imagery.grid import Grid
from imagery.read import open_raster
from imagery.stretch import Stretch, identity_stretch
from labeling.prompt.chips import CHIP_PX, Picture, Pyramid, chip_key, read_chip
from tests.imagery.rasters import AT, rgb, write_raster

UTM = CRS.from_epsg(26911)
LARGE = Pyramid(Grid(10_000, 7_000, AT, UTM))


def picture(path: Path, bands=(1, 2, 3), stretch=identity_stretch(3), transform=AT, crs=UTM) -> Picture:
    with open_raster(path) as dataset:
        return Picture(str(path), "x", Grid(dataset.width, dataset.height, transform, crs), bands, stretch)


def read(one: Picture, chip):
    with open_raster(one.source) as dataset:
        return read_chip(dataset, one, chip)


def test_every_place_has_a_chip_with_room_around_it():
    level = LARGE.level(0)
    for x, y in itertools.product(range(0, 10_000, 333), range(0, 7_000, 333)):
        chip = LARGE.chip_at(level, x, y)
        assert (chip.width, chip.height) == (CHIP_PX, CHIP_PX)
        for place, start, end in ((x, chip.column, level.width), (y, chip.row, level.height)):
            assert place - start >= 192 or start == 0
            assert start + CHIP_PX - place >= 192 or start + CHIP_PX == end


def test_levels_follow_the_view():
    assert LARGE.level_for(0.5).number == 0
    assert LARGE.level_for(2.1).number == 2
    assert LARGE.level_for(0.12).number == -2
    assert LARGE.level_for(0.0001).number == -2
    assert LARGE.level_for(1e5).number == LARGE.coarsest == 4
    coarse = LARGE.level(4)
    assert (coarse.width, coarse.height) == (625, 438)
    assert LARGE.level_for(0.5, (3000, 10)).number == 2


def test_a_small_thing_in_a_large_scene_is_enlarged():
    chip = LARGE.chip_at(LARGE.level_for(0.13), 4 * 5000, 4 * 3000)
    assert chip.window.width == pytest.approx(256)


def test_neighbours_share_a_part_and_end_with_the_raster():
    level = LARGE.level(0)
    corner = LARGE.chip_at(level, 0, 0)
    assert LARGE.beside(corner, "left") is None and LARGE.beside(corner, "top") is None
    right = LARGE.beside(corner, "right")
    assert (right.column, right.row) == (640, 0)
    last = LARGE.chip_at(level, 9_999, 6_999)
    assert (last.column, last.row) == (10_000 - CHIP_PX, 7_000 - CHIP_PX)
    assert LARGE.beside(last, "right") is None
    assert len(LARGE.neighbours(LARGE.chip_at(level, 5000, 3000))) == 4


def test_a_tiny_raster_is_one_chip_at_every_level():
    tiny = Pyramid(Grid(5, 3, AT, UTM))
    for number in (-2, 0, 5):
        level = tiny.level(number)
        chip = tiny.chip_at(level, 1, 1)
        assert (chip.column, chip.row, chip.width, chip.height) == (0, 0, level.width, level.height)
        assert tiny.neighbours(chip) == []
    assert tiny.level(-2).width == 20


def test_pixels_of_a_chip_are_square_on_the_ground():
    high_north = Pyramid(Grid(1000, 1000, Affine(1e-5, 0, 10, 0, -1e-5, 60), CRS.from_epsg(4326)))
    level = high_north.level(0)
    assert level.width / level.height == pytest.approx(0.5, abs=0.01)


def test_pixels_are_those_of_the_raster(tmp_path):
    one = picture(write_raster(tmp_path / "a.tif", rgb()))
    pyramid = Pyramid(one.grid)
    pixels, valid = read(one, pyramid.chip_at(pyramid.level(0), 10, 10))
    assert np.array_equal(pixels, np.moveaxis(rgb(), 0, -1))
    assert valid.all()
    larger, _ = read(one, pyramid.chip_at(pyramid.level(-1), 10, 10))
    assert larger.shape == (80, 120, 3)
    assert abs(int(larger[40, 60, 0]) - 120) <= 4


def test_sixteen_bits_go_through_the_stretch_of_the_project(tmp_path):
    values = np.full((4, 30, 30), 1000, np.uint16)
    values[3, :, 15:] = 3000
    one = picture(write_raster(tmp_path / "a.tif", values), (4, 1, 1), Stretch(low=(1000, 0, 0), high=(3000, 2000, 2000)))
    pyramid = Pyramid(one.grid)
    pixels, _ = read(one, pyramid.chip_at(pyramid.level(0), 0, 0))
    assert pixels[0, 0].tolist() == [0, 128, 128]
    assert pixels[0, 20].tolist() == [255, 128, 128]


def test_grey_and_colour_tables(tmp_path):
    grey = picture(write_raster(tmp_path / "g.tif", rgb()[:1]), (1,), identity_stretch(1))
    pyramid = Pyramid(grey.grid)
    pixels, _ = read(grey, pyramid.chip_at(pyramid.level(0), 0, 0))
    assert pixels[3, 10].tolist() == [40, 40, 40]
    table = {0: (0, 0, 0, 255), 1: (10, 200, 30, 255)}
    values = np.ones((1, 20, 20), np.uint8)
    colours = picture(write_raster(tmp_path / "p.tif", values, colormap=table), (1,), None)
    pixels, _ = read(colours, Pyramid(colours.grid).chip_at(Pyramid(colours.grid).level(0), 0, 0))
    assert pixels[5, 5].tolist() == [10, 200, 30]


@pytest.mark.parametrize("level", [-1, 0, 1])
def test_missing_imagery_is_black_and_not_valid(tmp_path, level):
    values = rgb(64, 64)
    values[:, :, 32:] = 255
    one = picture(write_raster(tmp_path / "a.tif", values, nodata=255))
    pyramid = Pyramid(one.grid)
    chip = pyramid.chip_at(pyramid.level(level), 0, 0)
    pixels, valid = read(one, chip)
    half = chip.width // 2
    assert valid[:, : half - 1].all() and not valid[:, half + 1 :].any()
    assert not pixels[:, half + 1 :].any()
    assert pixels[:, half - 1, 2].min() > 190


def test_the_key_follows_all_that_decides_the_pixels(tmp_path):
    one = picture(write_raster(tmp_path / "a.tif", rgb(2000, 2000)))
    pyramid = Pyramid(one.grid)
    chip = pyramid.chip_at(pyramid.level(0), 0, 0)
    keys = {
        chip_key(one, chip, "m"),
        chip_key(one, chip, "n"),
        chip_key(one, pyramid.chip_at(pyramid.level(0), 1500, 0), "m"),
        chip_key(one, pyramid.chip_at(pyramid.level(1), 0, 0), "m"),
        chip_key(replace(one, bands=(1, 1, 1)), chip, "m"),
        chip_key(replace(one, stretch=Stretch(low=(1, 0, 0), high=(255, 255, 255))), chip, "m"),
        chip_key(replace(one, identity="y"), chip, "m"),
    }
    assert len(keys) == 7
    assert chip_key(replace(one, source="/elsewhere/a.tif"), chip, "m") in keys
