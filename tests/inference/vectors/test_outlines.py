from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from inference.vectors.borders import BorderTracer, Finished
from inference.vectors.outlines import outlines
from inference.vectors.tidy import tidied


def traced(values: np.ndarray, rows: int) -> list[Finished]:
    tracer = BorderTracer(values.shape[1])
    found = [tracer.add(values[row : row + rows], np.ones(len(values[row : row + rows]))) for row in range(0, len(values), rows)]
    found.append(tracer.close())
    assert tracer.pending == 0
    return found


def shapes_of(values: np.ndarray, rows: int = 1000, smooth_px: float = 0.0, **tidy) -> tuple[np.ndarray, np.ndarray]:
    """Polygons and their class values."""
    shapes, of = [np.zeros(0, object)], [np.zeros(0, np.uint8)]
    for found in traced(values, rows):
        areas, borders = tidied(found, **tidy)
        made, area = outlines(areas, borders, values.shape[1], smooth_px)
        shapes.append(made)
        of.append(areas.value[area])
    return np.concatenate(shapes), np.concatenate(of)


def burnt(shapes: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return rasterize(zip(shapes, values.tolist(), strict=True), shape, dtype="uint8") if len(shapes) else np.zeros(shape, np.uint8)


def random_maps() -> list[np.ndarray]:
    random = np.random.default_rng(4)
    maps = [random.integers(0, classes, (rows, columns)).astype(np.uint8) for rows, columns, classes in ((1, 1, 2), (1, 9, 3), (13, 1, 3), (17, 23, 2), (24, 19, 4))]
    smooth = gaussian_filter(random.random((90, 70)), 2)
    return [*maps, np.digitize(smooth, np.quantile(smooth, [0.5, 0.8, 0.9])).astype(np.uint8), np.ones((5, 6), np.uint8), np.zeros((4, 4), np.uint8)]


@pytest.mark.parametrize("number", range(len(random_maps())))
@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_burning_the_polygons_gives_the_map_back_pixel_for_pixel(number, rows):
    values = random_maps()[number]
    shapes, of = shapes_of(values, rows)
    assert shapely.is_valid(shapes).all()
    np.testing.assert_array_equal(burnt(shapes, of, values.shape), values)
    whole, _ = shapes_of(values)
    assert sorted(shapely.to_wkb(shapely.normalize(shapes))) == sorted(shapely.to_wkb(shapely.normalize(whole)))  # nothing is cut where strips meet


def test_neighbours_keep_one_border_when_they_are_smoothed():
    values = random_maps()[5]
    shapes, _ = shapes_of(values, rows=16, smooth_px=1.5)
    rough, _ = shapes_of(values)
    assert shapely.is_valid(shapes).all()
    assert shapely.get_num_coordinates(shapes).sum() < 0.7 * shapely.get_num_coordinates(rough).sum()
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes, predicate="overlaps")
    assert shapely.area(shapely.intersection(shapes[one], shapes[other])).sum() == pytest.approx(0)
    # no gaps: classes 1 to 3 touch, and what their union encloses is what the union of the rough ones does, but for its own rim
    assert shapely.coverage_is_valid(shapes)


def test_an_area_over_many_strips_is_one_polygon_with_the_sums_of_all_its_pixels():
    values = np.zeros((30, 9), np.uint8)
    values[2:28, 3:6] = 1
    values[10:12, 4] = 0  # a hole over a strip's end
    found = [f for f in traced(values, 3) if len(f.borders)]
    assert len(found) == 1
    areas = found[0].areas[found[0].areas.value == 1]
    assert areas.pixels.tolist() == [26 * 3 - 2] == areas.area_m2.tolist()
    shapes, _ = shapes_of(values, 3)
    assert [len(shape.interiors) for shape in shapes] == [1]
    assert shapely.get_num_coordinates(shapes).tolist() == [10]


def test_memory_is_given_free_once_an_area_is_complete():
    tracer = BorderTracer(50)
    values = np.zeros((6, 50), np.uint8)
    values[1:4, ::2] = 1
    handed = 0
    for _ in range(40):
        handed += int((tracer.add(values, np.ones(6)).areas.value == 1).sum())
        assert tracer.pending == 0
    assert handed == 40 * 25


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_small_areas_go_to_the_neighbour_with_the_longest_border(rows):
    values = np.zeros((12, 20), np.uint8)
    values[1:11, 1:10] = 1
    values[1:11, 10:19] = 2
    values[4:6, 9] = 3  # within 1, at the border to 2: three sides of five are with 1
    values[3, 4] = 3
    values[0, 0] = 3  # alone, but for a corner
    shapes, of = shapes_of(values, rows, smallest_m2=4)
    assert dict(zip(of.tolist(), shapely.area(shapes).tolist(), strict=True)) == {1: 90, 2: 90}


def test_what_is_left_of_one_class_on_both_sides_of_a_sliver_is_one_polygon():
    values = np.ones((10, 11), np.uint8)
    values[:, 5] = 2
    shapes, of = shapes_of(values, slivers=True)
    assert of.tolist() == [1] and shapely.area(shapes).tolist() == [110]
    shapes, of = shapes_of(values, slivers=False)
    assert sorted(of.tolist()) == [1, 1, 2]


def test_a_thin_road_in_the_open_is_no_sliver():
    values = np.zeros((10, 11), np.uint8)
    values[:, 5] = 2
    assert len(shapes_of(values, slivers=True)[0]) == 1


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_holes_are_filled_up_to_a_size_unless_something_lies_in_them(rows):
    values = np.zeros((20, 30), np.uint8)
    values[1:19, 1:29] = 1
    values[3:5, 3:5] = 0  # 4 pixels
    values[7:12, 3:8] = 0  # 25 pixels
    values[6:11, 15:20] = 0
    values[8, 17] = 2  # an island: 24 pixels of hole around it
    shapes, of = shapes_of(values, rows, holes_m2=10)
    filled = shapes[of == 1][0]
    assert filled.area == 18 * 28 - 25 - 25 and len(filled.interiors) == 2
    shapes, of = shapes_of(values, rows, holes_m2=100)
    assert shapes[of == 1][0].area == 18 * 28 - 25
    assert (of == 2).sum() == 1


def test_an_open_bay_is_no_hole():
    values = np.ones((6, 6), np.uint8)
    values[0:3, 2] = 0
    assert shapely.area(shapes_of(values, holes_m2=50)[0]).sum() == 33
