import numpy as np
import pytest

from training.scenes.scores import accuracy, accuracy_ranges, chosen, class_scores, mix_ups, with_ranges

TRUTH = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
SAID = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]], np.float32)


def test_precision_recall_and_accuracy():
    found = chosen(SAID, several=False)
    one, other = class_scores(TRUTH, found, ["A", "B", "C"], "held-out tiles")
    assert (one.class_name, one.precision, one.recall, one.tiles) == ("A", 1.0, 0.5, 2)
    assert (other.precision, other.recall, other.tiles) == (pytest.approx(2 / 3), 1.0, 2)
    assert one.f1 == pytest.approx(2 / 3)
    assert accuracy(TRUTH, found) == 0.75
    assert mix_ups(TRUTH, found).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_where_a_tile_may_have_several_each_class_is_for_itself():
    found = chosen(np.array([[0.6, 0.7, 0.1], [0.2, 0.3, 0.4]], np.float32), several=True)
    assert found.tolist() == [[True, True, False], [False, False, False]]
    assert accuracy(np.array([[1, 1, 0], [0, 0, 1]], bool), found) == 0.5


def test_a_class_that_is_never_found_scores_nothing():
    (score,) = class_scores(np.array([[1, 0]], bool), np.array([[0, 1]], bool), ["A", "B"], "x")
    assert (score.precision, score.recall) == (None, 0.0) and score.f1 == 0.0


def test_how_far_f1_and_accuracy_could_be_off_by_chance_on_the_same_draws():
    truth = np.tile(np.eye(2, dtype=bool), (12, 1))
    after, before = truth.copy(), truth.copy()
    after[:4] = ~truth[:4]
    before[:16] = ~truth[:16]
    blocks = np.arange(24) // 2  # each square shows both
    scores = class_scores(truth, after, ["A", "B"], "x")
    one, other = with_ranges(scores, ["A", "B"], blocks, truth, after, before, ["A"])
    assert one.blocks == 12
    assert one.likely_range[0] < one.f1 < one.likely_range[1]
    assert one.likely_gain_range[0] > 0
    assert other.likely_gain_range is None
    found = accuracy_ranges(blocks, truth, after, before)
    low, high = found["accuracy_range"]
    assert low < accuracy(truth, after) < high
    assert found["accuracy_gain_range"][0] > 0
    assert set(accuracy_ranges(blocks, truth, after, None)) == {"accuracy_range"}
    assert accuracy_ranges(blocks % 7, truth, after, before) == {}
