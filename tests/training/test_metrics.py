import numpy as np
import pytest

from training.metrics import confusion, iou, mean, scores

TRUTH = np.array([[0, 0, 1, 1], [1, 1, 255, 255]])
ANSWER = np.array([[0, 1, 1, 1], [0, 2, 1, 2]])


def test_confusion_counts_pixels_and_leaves_ignored_out():
    matrix = confusion(TRUTH, ANSWER, 3)
    assert matrix.tolist() == [[1, 1, 0], [1, 2, 1], [0, 0, 0]]


def test_scores_by_hand():
    (score,) = scores(confusion(TRUTH, ANSWER, 3), ["road", "other"], "here")
    assert (score.class_name, score.on, score.pixels) == ("road", "here", 4)
    assert score.iou == pytest.approx(2 / 5)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 4)


def test_a_class_without_truth_has_no_score():
    assert iou(confusion(TRUTH, ANSWER, 3), 2) is None


def test_mean_leaves_the_unknown_out():
    assert mean([0.5, None, 1.0]) == 0.75
    assert mean([None]) is None
