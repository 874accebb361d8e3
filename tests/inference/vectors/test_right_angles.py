from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from shapely import affinity

from inference.vectors.right_angles import corner_degrees, squared
from tests.inference.vectors.test_outlines import shapes_of

L_SHAPE = shapely.Polygon([(0, 0), (40, 0), (40, 15), (18, 15), (18, 34), (0, 34)])


def as_pixels(polygon: shapely.Polygon, side: int = 100) -> np.ndarray:
    """Its outline along pixels."""
    return shapes_of(rasterize([polygon], (side, side), dtype="uint8"))[0]


@pytest.mark.parametrize("degrees", [0, 7, 20, 33, 45, 61, 80])
def test_a_turned_building_gets_its_six_corners_back(degrees):
    true = affinity.translate(affinity.rotate(L_SHAPE, degrees), 30, 30)
    made = squared(as_pixels(true))
    assert made.regular.tolist() == [True]
    assert len(made.shapes[0].exterior.coords) - 1 == 6
    assert corner_degrees(made.shapes).max() < 0.01
    assert made.agreement[0] > 0.93
    assert made.shapes[0].intersection(true).area / made.shapes[0].union(true).area > 0.95


@pytest.mark.parametrize("degrees", [0, 12, 45])
def test_a_ragged_mask_still_gets_few_corners(degrees):
    random = np.random.default_rng(2)
    true = affinity.translate(affinity.rotate(L_SHAPE, degrees), 30, 30)
    mask = rasterize([true], (100, 100), dtype="uint8")
    rim = rasterize([true.boundary.buffer(1)], (100, 100), dtype="uint8").astype(bool)
    mask[rim & (random.random(mask.shape) < 0.08)] ^= 1
    shapes, _ = shapes_of(mask, smallest_m2=20, holes_m2=20)
    made = squared(shapes)
    assert made.regular.all() and made.agreement.min() >= 0.9
    assert shapely.get_num_coordinates(made.shapes).max() - 1 <= 8
    assert corner_degrees(made.shapes).max() < 2


def test_what_has_no_right_angles_keeps_its_outline_and_says_so():
    triangle = shapely.Polygon([(10, 10), (80, 20), (30, 85)])
    made = squared(as_pixels(triangle))
    assert made.regular.tolist() == [False]
    assert made.agreement[0] > 0.97
    assert made.shapes[0].is_valid and len(made.shapes[0].exterior.coords) < 20


def test_a_courtyard_has_right_angles_in_the_direction_of_its_house():
    house = affinity.rotate(shapely.box(20, 20, 80, 80).difference(shapely.box(38, 38, 60, 62)), 25)
    made = squared(as_pixels(house))
    assert made.regular.all()
    assert len(made.shapes[0].interiors) == 1
    assert corner_degrees(made.shapes).max() < 0.01
    assert made.agreement[0] > 0.95


def test_angles_are_right_on_the_ground_where_pixels_are_not_square():
    # a square of 30 m turned by 30 degrees, in pixels of 0.5 x 1 m
    true = affinity.translate(affinity.rotate(shapely.box(0, 0, 30, 30), 30), 10, 10)
    made = squared(as_pixels(affinity.scale(true, 2, 1, origin=(0, 0)), 110), (0.5, 1.0))
    ground = np.array([affinity.scale(made.shapes[0], 0.5, 1, origin=(0, 0))], object)
    assert made.regular.all()
    assert corner_degrees(ground).max() < 0.01
    assert ground[0].intersection(true).area / ground[0].union(true).area > 0.93


def test_many_at_once_are_what_each_is_alone():
    random = np.random.default_rng(0)
    outlines = []
    for _ in range(12):
        box = shapely.box(0, 0, *random.uniform(15, 40, 2))
        outlines.append(as_pixels(affinity.translate(affinity.rotate(box, random.uniform(0, 90)), 40, 40))[0])
    outlines.append(as_pixels(shapely.Point(50, 50).buffer(20))[0])
    outlines.append(as_pixels(shapely.box(3, 3, 4, 4))[0])
    together = squared(np.array(outlines, object))
    for i, outline in enumerate(outlines):
        alone = squared(np.array([outline], object))
        assert alone.shapes[0].equals(together.shapes[i])
    assert shapely.is_valid(together.shapes).all()
    assert together.regular[:12].all() and not together.regular[12]


def test_nothing_gives_nothing():
    assert len(squared(np.zeros(0, object)).shapes) == 0
