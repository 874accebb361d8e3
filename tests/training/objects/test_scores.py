import math

import numpy as np
import pytest

from training.objects.scores import Objects, class_scores, evaluate, with_ranges


def objects(*boxes, labels=None, scores=None, masks=None):
    labels = [1] * len(boxes) if labels is None else labels
    scores = [1.0] * len(boxes) if scores is None else scores
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(scores, np.float32),
        None if masks is None else np.array(masks, bool),
    )


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 40, 60, 60)


def test_all_found_and_nothing_else_is_one():
    found = evaluate([objects(A, B), objects()], [objects(B, A, scores=[0.9, 0.6]), objects()], 1)
    assert found.average_precision == pytest.approx(np.ones((10, 1)))
    assert found.counts.tolist() == [[[2, 2, 2]], [[0, 0, 0]]]


def test_precision_falls_where_something_wrong_is_surer():
    found = evaluate([objects(A, B)], [objects(A, C, B, scores=[0.9, 0.8, 0.7])], 1)
    # precision 1 up to half of the objects (51 of 101 points), 2/3 beyond
    assert found.average_precision[0, 0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    (score,) = class_scores(found, ["House"], "held-out tiles")
    assert (score.objects, score.recall, score.precision) == (2, 1.0, pytest.approx(2 / 3))
    assert score.measured == ("AP50", pytest.approx((51 + 50 * 2 / 3) / 101))


def test_half_an_overlap_is_enough_for_ap50_alone():
    found = evaluate([objects(A)], [objects((0, 0, 10, 6))], 1)  # IoU 0.6
    assert found.average_precision[:, 0] == pytest.approx(np.array([1, 1, 1] + [0] * 7))
    assert class_scores(found, ["House"], "x")[0].average_precision == pytest.approx(0.3)


def test_another_class_at_the_place_is_no_match():
    found = evaluate([objects(A, labels=[2])], [objects(A, labels=[1])], 2)
    assert math.isnan(found.average_precision[0, 0])
    assert found.average_precision[0, 1] == 0
    assert [s.class_name for s in class_scores(found, ["House", "Tree"], "x")] == ["Tree"]


def test_what_is_unsure_is_not_said():
    found = evaluate([objects(A, B)], [objects(A, B, scores=[0.9, 0.3])], 1)
    assert found.average_precision[0, 0] == pytest.approx(1)
    assert found.counts[0, 0].tolist() == [2, 1, 1]


def test_nothing_found_is_zero():
    found = evaluate([objects(A)], [objects()], 1)
    assert found.average_precision[:, 0].tolist() == [0] * 10


def test_outlines_are_compared_where_there_are_some():
    left, right = np.zeros((2, 16, 16), bool)
    left[:10, :5] = True
    right[:10, 5:10] = True
    apart = evaluate([objects(A, masks=[left])], [objects(A, masks=[right])], 1)
    same = evaluate([objects(A, masks=[left])], [objects(A, masks=[left])], 1)
    assert (apart.average_precision[0, 0], same.average_precision[0, 0]) == (0, pytest.approx(1))


def test_how_far_the_ap_could_be_off_by_chance_on_the_same_draws():
    truth = [objects(A, B) for _ in range(16)]
    better = [objects(A, B, scores=[0.9, 0.8]) if i % 8 else objects() for i in range(16)]
    worse = [objects(A, scores=[0.7]) if i % 8 else objects() for i in range(16)]
    after, before = (evaluate(truth, found, 1) for found in (better, worse))
    scores = class_scores(after, ["House"], "x")
    tiles = np.arange(16) // 2  # two tiles in each square of ground: eight squares
    (score,) = with_ranges(scores, ["House"], tiles, after, before, ["House"])
    assert score.blocks == 8
    assert score.likely_range[0] < score.ap50 < score.likely_range[1]
    assert score.likely_gain_range[0] > 0
    (unknown,) = with_ranges(scores, ["House"], tiles, after, before, [])
    assert (unknown.likely_range, unknown.likely_gain_range) == (score.likely_range, None)
    (few,) = with_ranges(scores, ["House"], np.arange(16) % 7, after, None, [])
    assert (few.blocks, few.likely_range, few.likely_gain_range) == (7, None, None)


def test_the_likely_range_is_about_the_very_ap():
    """Blocks that are all alike draw the same number each time: the one that pycocotools says."""
    tile, said = objects(A, B, C), objects(A, (70, 70, 90, 90), B, scores=[0.9, 0.8, 0.7])
    found = evaluate([tile] * 8, [said] * 8, 1)
    (score,) = with_ranges(class_scores(found, ["House"], "x"), ["House"], np.arange(8), found, None, [])
    assert score.likely_range == (pytest.approx(score.ap50), pytest.approx(score.ap50))
