"""Scores of objects with known answers."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from errors import LabelFileError
from inference.objects.accuracy import average_precision, object_accuracy


def table(boxes, classes=None, confidence=None, crs="EPSG:32611", **columns) -> gpd.GeoDataFrame:
    data = dict(columns)
    if classes is not None:
        data["Classname"] = classes
    if confidence is not None:
        data["Confidence"] = confidence
    return gpd.GeoDataFrame(data, geometry=[shapely.box(*b) for b in boxes], crs=crs)


def box(x, y=0.0, size=10.0):
    return (500_000 + x, 3_700_000 + y, 500_000 + x + size, 3_700_000 + y + size)


def test_precision_recall_and_f1_of_each_class_and_of_all():
    there = table([box(0), box(20), box(40), box(0, 50)], ["Car", "Car", "Car", "Roof"])
    found = table([box(1), box(22), box(100), box(0, 50), box(20, 50)], ["Car", "Car", "Car", "Roof", "Roof"], [0.9, 0.8, 0.7, 0.6, 0.9])
    scores = object_accuracy(found, there)
    car, roof = scores.classes
    assert (car.found, car.there, car.right) == (3, 3, 2) and car.precision == car.recall == car.f1 == pytest.approx(2 / 3)
    assert (roof.precision, roof.recall, roof.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert car.average_precision == pytest.approx(2 / 3) and roof.average_precision == 0.5  # the surest roof is none
    assert (scores.total.found, scores.total.right, scores.total.recall) == (5, 3, 0.75)
    assert scores.total.average_precision == pytest.approx((2 / 3 + 0.5) / 2)


def test_how_much_overlap_counts_as_found():
    there, found = table([box(0)], ["Car"]), table([box(4)], ["Car"])  # 60 / 140
    assert object_accuracy(found, there).total.right == 0
    assert object_accuracy(found, there, min_iou=0.4).total.right == 1


def test_a_true_object_counts_once_and_goes_to_the_surest():
    there = table([box(0)], ["Car"])
    found = table([box(0), box(1)], ["Car"] * 2, [0.5, 0.9])
    assert object_accuracy(found, there).total.right == 1
    assert object_accuracy(found, there).total.average_precision == 1.0  # the surer one is right; the other comes later


def test_a_found_object_takes_the_next_best_when_its_best_is_taken():
    there = table([box(0), box(3)], ["Car"] * 2)
    found = table([box(1), box(1.4)], ["Car"] * 2, [0.9, 0.8])
    assert object_accuracy(found, there, min_iou=0.5).total.right == 2


def test_average_precision_is_the_area_below_the_monotone_curve():
    right = np.array([True, False, True, True, False])  # precision 1, 1/2, 2/3, 3/4, 3/5; of five that are there
    assert average_precision(right, np.array([0.9, 0.8, 0.7, 0.6, 0.5]), 5) == pytest.approx((1 + 0.75 + 0.75) / 5)
    assert average_precision(right[:0], np.zeros(0), 5) == 0 and average_precision(right[:0], np.zeros(0), 0) is None


def test_other_coordinates_class_values_and_no_class_at_all():
    there = table([box(0), box(20)], Classvalue=[1.0, 2.0])
    found = table([box(0), box(20)], Classvalue=[1, 2]).to_crs("EPSG:4326")
    assert [c.class_name for c in object_accuracy(found, there).classes] == ["1", "2"]
    assert object_accuracy(found, there).total.right == 2
    one = object_accuracy(found, table([box(0), box(20)]))  # the truth says no class: all are one
    assert one.total.right == 2 and len(one.classes) == 1


def test_nothing_found_and_nothing_there():
    nothing, there = table([], []), table([box(0)], ["Car"])
    missed = object_accuracy(nothing, there).total
    assert (missed.precision, missed.recall, missed.average_precision) == (None, 0.0, 0.0)
    made_up = object_accuracy(there, nothing).total
    assert (made_up.precision, made_up.recall, made_up.average_precision) == (0.0, None, None)


def test_a_named_field_that_is_not_there_is_told():
    there = table([box(0)], ["Car"])
    with pytest.raises(LabelFileError, match="Classname"):
        object_accuracy(there, there, true_class="kind")
