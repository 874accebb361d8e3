import numpy as np
import pytest

from inference.scores import confusion, scores_from, translation, values_of
from workspace.classes import ClassDef

A = ClassDef(value=1, name="Paved road", colour="#4361ee")
B = ClassDef(value=7, name="Unpaved road", colour="#ff9f1c")


def test_scores_of_a_map_counted_by_hand():
    truth = np.array([[1, 1, 1, 1, 0, 0, 255, 7]], np.uint8)
    predicted = np.array([[1, 1, 1, 0, 1, 0, 1, 255]], np.uint8)
    scores = scores_from(confusion(truth, predicted, values_of((A, B))), (A, B))
    paved = scores.of(1)
    assert (paved.iou, paved.precision, paved.recall) == (pytest.approx(3 / 5), pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert (paved.truth_pixels, paved.predicted_pixels, paved.correct_pixels) == (4, 4, 3)
    assert scores.pixels == 6  # 255 on either side is left out
    assert scores.accuracy == pytest.approx(4 / 6)
    assert (scores.of(7).iou, scores.of(7).recall) == (None, None)
    assert scores.mean_iou == pytest.approx(3 / 5)


def test_nothing_to_score_gives_no_numbers_instead_of_a_division_by_zero():
    scores = scores_from(np.zeros((2, 2), np.int64), (A,))
    assert scores.mean_iou is None and scores.accuracy is None and scores.of(1).precision is None


def test_classes_of_two_models_are_matched_by_name_not_by_value():
    table = translation((ClassDef(value=2, name="PAVED road", colour="#000000"), ClassDef(value=9, name="Canal", colour="#000000")), (A, B), unknown=255)
    assert (table[0], table[2], table[9]) == (0, 1, 255)
