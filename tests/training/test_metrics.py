import numpy as np
import pytest

from training.metrics import confusion, iou, mean, scores, with_ranges

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


def test_ranges_are_of_the_blocks_and_too_few_of_them_have_none():
    """Twenty tiles, two in each block; the new model finds 60 or 80 of 100 pixels, the base model 40 everywhere."""
    after = np.array([[[900, 0], [40 - 20 * (i % 4 < 2), 60 + 20 * (i % 4 < 2)]] for i in range(20)])
    before = np.array([[[900, 0], [60, 40]]] * 20)
    found = scores(after.sum(axis=0), ["track"], "held-out tiles")
    (one,) = with_ranges(found, ["track"], np.arange(20) // 2, after, before)
    assert one.blocks == 10 and one.iou == 0.7
    assert 0.6 < one.likely_range[0] < 0.7 < one.likely_range[1] < 0.8
    assert one.likely_gain_range == (pytest.approx(one.likely_range[0] - 0.4), pytest.approx(one.likely_range[1] - 0.4))
    (few,) = with_ranges(found, ["track"], np.arange(20) // 4, after, None)
    assert (few.blocks, few.likely_range, few.likely_gain_range) == (5, None, None)
