"""How much is labelled, in known numbers."""

from __future__ import annotations

import pytest
from shapely.geometry import LineString, Point, Polygon, box

from labeling.coverage import coverage, fully_labelled_share
from labeling.label_set import label_set, sizes
from workspace.classes import FULLY_LABELLED_VALUE

LEFT, RIGHT = box(10.0, 50.0, 10.01, 50.01), box(10.02, 50.0, 10.03, 50.01)
IMAGES = {"left": LEFT, "right": RIGHT}


def labels(*shapes):
    about = {"origin": "drawn", "note": "", "created": "", "changed": ""}
    return label_set({"object_id": str(i), "class_value": value, "geometry": shape, **about} for i, (value, shape) in enumerate(shapes))


def test_each_class_on_each_image_cut_at_its_edge():
    house, line = box(10.001, 50.001, 10.002, 50.002), LineString([(10.005, 50.005), (10.015, 50.005)])
    table = labels((1, house), (1, box(10.008, 50.0, 10.022, 50.01)), (2, line), (2, Point(10.025, 50.005)), (1, Point(0, 0)))
    found = coverage(table, IMAGES)
    assert list(found) == ["left", "right"]
    left, right = found["left"].classes, found["right"].classes
    whole = sizes(labels((1, LEFT))).iloc[0]
    assert found["left"].area_m2 == pytest.approx(whole)
    assert left[1].objects == 2 and left[1].length_m == 0
    assert left[1].area_m2 == pytest.approx(0.21 * whole, rel=1e-3)
    assert (left[2].objects, left[2].area_m2) == (1, 0)
    assert left[2].length_m == pytest.approx(sizes(labels((2, LineString([(10.005, 50.005), (10.01, 50.005)])))).iloc[0])
    assert right[1].area_m2 == pytest.approx(0.2 * whole, rel=1e-3)
    assert (right[2].objects, right[2].area_m2, right[2].length_m) == (1, 0, 0)


def test_overlapping_areas_count_once_and_are_no_objects():
    low, high = box(10.0, 49.0, 10.01, 50.005), box(10.0, 50.0025, 10.01, 50.0075)
    table = labels((FULLY_LABELLED_VALUE, low), (FULLY_LABELLED_VALUE, high), (3, high))
    found = coverage(table, IMAGES)
    assert found["left"].share == pytest.approx(0.75, rel=1e-3)
    assert list(found["left"].classes) == [3]
    assert (found["right"].share, found["right"].classes) == (0.0, {})
    assert fully_labelled_share(table, IMAGES) == pytest.approx(0.375, rel=1e-3)


def test_holes_and_whole_images():
    holed = Polygon(LEFT.exterior.coords, [box(10.0, 50.0, 10.005, 50.01).buffer(-1e-6).exterior.coords])
    assert coverage(labels((FULLY_LABELLED_VALUE, holed)), IMAGES)["left"].share == pytest.approx(0.5, rel=1e-2)
    assert coverage(labels((FULLY_LABELLED_VALUE, LEFT.buffer(1))), IMAGES)["left"].share == 1.0


def test_nothing_labelled():
    assert coverage(labels(), IMAGES)["left"].classes == {}
    assert fully_labelled_share(labels((1, LEFT)), IMAGES) is None
    assert fully_labelled_share(labels((FULLY_LABELLED_VALUE, LEFT)), {}) == 0.0
