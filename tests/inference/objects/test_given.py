"""Outlines, upright boxes and rotated boxes."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from shapely.affinity import rotate

from imagery.grid import Grid
from inference.objects.detect import detect_raster
from inference.objects.given import angles, given_as
from inference.objects.merge import Merger
from tests.inference.makers import UTM, write_raster
from tests.inference.objects.finders import CAR, BrightSquares, object_card
from tests.inference.objects.test_merge import ONE, seen

GRID = Grid(200, 200, UTM, CRS.from_epsg(32611))


def bar(turned: float, x: float = 60, y: float = 60, length: float = 40, width: float = 12) -> shapely.Polygon:
    """A rectangle in pixels whose long side points so many degrees clockwise from up, row numbers growing downwards."""
    return rotate(shapely.box(x - width / 2, y - length / 2, x + width / 2, y + length / 2), turned, origin=(x, y))


@pytest.mark.parametrize("turned", [0, 30, 89, 90, 135, 179])
def test_the_angle_is_that_of_the_long_side_clockwise_from_north(turned):
    [rectangle] = given_as("rotated", GRID)(np.array([bar(turned)], object))
    assert rectangle.area == pytest.approx(40 * 12, rel=1e-6)
    assert angles(np.array([rectangle], object), GRID) == pytest.approx(turned, abs=0.01)


def test_right_angles_and_the_angle_are_those_of_the_ground_where_degrees_are_not_square():
    lonlat = Grid(200, 200, Affine(2e-6, 0, 10, 0, -1e-6, 60.0001), CRS.from_epsg(4326))  # at 60 degrees north: square pixels
    [rectangle] = given_as("rotated", lonlat)(np.array([bar(30)], object))
    assert angles(np.array([rectangle], object), lonlat) == pytest.approx(30, abs=0.2)
    assert rectangle.area == pytest.approx(40 * 12, rel=0.01)


def test_overlap_is_that_of_the_shapes_given_out():
    """Two parallel bars on the diagonal: their outlines lie apart, and so do their rotated boxes; their upright boxes overlap."""
    both = [bar(45, 50, 50), bar(45, 64, 64)]
    for shape, left in (("outline", 2), ("rotated", 2), ("upright", 1)):
        merger = Merger(0.1, boxes=False, given=given_as(shape, GRID))
        found = seen([(0, 0, 1, 1)] * 2, [0.9, 0.8], [ONE] * 2)
        found.shapes[:] = both
        merger.add(found)
        assert len(merger.settle()) == left, shape


def test_what_the_box_reaches_is_not_settled_before_its_row_is():
    merger = Merger(0.1, boxes=False, given=given_as("rotated", GRID))
    found = seen([(0, 0, 1, 1)], [0.6], [ONE])
    found.shapes[:] = [shapely.Polygon([(0, 0), (40, 20), (36, 20), (0, 4)])]  # its smallest box ends below it
    reach = shapely.bounds(merger.given(found.shapes))[0, 3]
    assert reach > 20.5
    merger.add(found)
    assert len(merger.settle(20.2)) == 0 and len(merger.settle(reach)) == 1


@pytest.mark.parametrize("window", [64, 512])
def test_rotated_boxes_over_a_raster_are_whole_whatever_the_windows(tmp_path, window):
    bars = [bar(30), bar(120, 140, 60), bar(45, 100, 140, length=90)]
    values = np.full((3, 200, 200), 20, np.uint8)
    values[0] = rasterize(bars, (200, 200), fill=20, default_value=240)
    scene = write_raster(tmp_path / "scene.tif", values)
    counts = detect_raster(BrightSquares(True), object_card(), str(scene), tmp_path / "out.gpkg", window_px=window, overlap_px=window // 3, shape="rotated")
    assert counts[CAR.value] == 3
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert sorted(found["angle"]) == pytest.approx([30, 45, 120], abs=3)
    assert (shapely.get_num_coordinates(found.geometry.to_numpy()) == 5).all()
    assert sorted(found["area_m2"] * 4) == pytest.approx([480, 480, 1080], rel=0.15)


def test_upright_boxes_of_outlines_have_no_angle(tmp_path):
    values = np.full((3, 100, 100), 20, np.uint8)
    values[0] = rasterize([bar(30, 50, 50)], (100, 100), fill=20, default_value=240)
    scene = write_raster(tmp_path / "scene.tif", values)
    detect_raster(BrightSquares(True), object_card(), str(scene), tmp_path / "out.gpkg", shape="upright")
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert "angle" not in found and found.geometry.iloc[0].equals(shapely.box(*found.total_bounds))
