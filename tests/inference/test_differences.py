from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine

from inference.differences import best, changed_cells, find_differences, read_differences, squares_of
from tests.inference.makers import UTM, write_raster

PIXEL_M2 = 0.25 / 0.9996**2


def comparison(folder, raster, change, before=80, after=60, transform=UTM):
    """The rasters of a comparison that places are found from; confidences are one number, or arrays."""
    (folder / raster).mkdir(parents=True)
    layers = {"change": change, "before_confidence": np.zeros_like(change) + before, "after_confidence": np.zeros_like(change) + after}
    for name, values in layers.items():
        write_raster(folder / raster / f"{name}.tif", np.asarray(values, np.uint8)[None], nodata=255, transform=transform)


def test_cells_hold_the_ground_of_each_kind_of_change(tmp_path):
    change = np.zeros((40, 60), np.uint8)
    change[0:5, 0:4], change[25:30, 30:36], change[35:, 50:], change[:, 58:] = 1, 2, 3, 255
    comparison(tmp_path, "one", change)
    cells = changed_cells(tmp_path / "one", 20)
    assert cells.shape == (2, 3, 5)
    assert cells[0, 0, :4] == pytest.approx(np.array([20, 0, 0, 400]) * PIXEL_M2, rel=1e-3)
    assert cells[1, 1, :3] == pytest.approx(np.array([0, 30, 0]) * PIXEL_M2, rel=1e-3)
    assert cells[1, 2, :4] == pytest.approx(np.array([0, 0, 40, 360]) * PIXEL_M2, rel=1e-3)
    assert cells[0, 0, 4] == pytest.approx(20 * 0.6 * PIXEL_M2, rel=1e-3)  # the less sure of the two counts


def test_a_square_is_laid_where_it_fits_and_none_over_another():
    cells = np.zeros((6, 6))
    cells[1:3, 1:3] = 5  # between the squares of a fixed raster of squares
    cells[4, 4] = 7
    found = best(squares_of(cells[..., None])[..., 0], 10)
    assert found[0] == (1, 1)
    assert all(max(abs(a - c), abs(b - d)) >= 2 for i, (a, b) in enumerate(found) for c, d in found[:i])
    assert squares_of(cells[..., None])[found[1]] == [7]


def test_ten_places_of_two_pictures_the_most_changed_ground_first(tmp_path):
    random = np.random.default_rng(0)
    change = (random.random((320, 400)) < random.random((8, 10)).repeat(40, axis=0).repeat(40, axis=1) ** 4).astype(np.uint8)
    comparison(tmp_path, "one", change)
    comparison(tmp_path, "two", change[:160] * 2, transform=UTM @ Affine.translation(500, 0))
    find_differences(tmp_path, {"one": 40, "two": 40})
    found = read_differences(tmp_path)
    assert len(found.by_area) == len(found.by_confidence) == 10
    areas = [place.changed_m2 for place in found.by_area]
    assert areas == sorted(areas, reverse=True) and {place.raster for place in found.by_area} == {"one", "two"}
    shapes = [shapely.Polygon(place.corners) for place in found.by_area]
    assert all(shapely.area(shapely.intersection(a, b)) < a.area * 0.02 for i, a in enumerate(shapes) for b in shapes[:i])
    for place in found.by_area:
        column, row, width, height = place.window
        source = change if place.raster == "one" else change[:160]
        assert place.changed_m2 == pytest.approx((source[row : row + height, column : column + width] > 0).sum() * PIXEL_M2, rel=1e-3)
        assert (place.gained_m2 == 0) is (place.raster == "two")


def test_where_both_are_sure_counts_more_when_asked_for(tmp_path):
    change = np.zeros((40, 200), np.uint8)
    change[:, :40], change[:20, 120:160] = 1, 1
    sure = np.full((40, 200), 30)
    sure[:, 100:] = 90
    comparison(tmp_path, "one", change, before=95, after=sure)
    find_differences(tmp_path, {"one": 40})
    found = read_differences(tmp_path)
    assert [found.place("by_area.0").window[0], found.place("by_confidence.0").window[0]] == [0, 120]
    assert found.place("by_area.7") is found.place("by_area.x") is found.place("nonsense") is None


def test_the_same_ground_on_two_pictures_is_one_place(tmp_path):
    change = np.zeros((80, 80), np.uint8)
    change[20:60, 20:60] = 1
    comparison(tmp_path, "one", change)
    comparison(tmp_path, "two", change)
    find_differences(tmp_path, {"one": 40, "two": 40})
    assert len(read_differences(tmp_path).by_area) == 1


def test_maps_that_agree_differ_nowhere(tmp_path):
    comparison(tmp_path, "one", np.zeros((30, 30), np.uint8))
    find_differences(tmp_path, {"one": 64})  # one square is the whole picture
    assert read_differences(tmp_path).by_area == ()
    assert read_differences(tmp_path / "elsewhere") is None
