import numpy as np

from inference.certainty import LEAST_BLOCKS, iou_intervals


def blocks(count: int, correct: np.ndarray | int) -> np.ndarray:
    """Blocks of 100 true and 100 predicted pixels, of which so many are both."""
    return np.column_stack([np.full(count, 100), np.full(count, 100), np.broadcast_to(correct, count)]).astype(np.int64)


def test_blocks_that_are_all_alike_leave_no_doubt():
    found = iou_intervals(blocks(20, 50), blocks(20, 80))
    assert found is not None
    assert found.before == (1 / 3, 1 / 3) and found.after == (2 / 3, 2 / 3)
    assert found.gain == (1 / 3, 1 / 3)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Blocks drawn from a known population: 95 % intervals of the IoU of 25 blocks hold the population's in most of 200 trials."""
    rng = np.random.default_rng(1)
    population = blocks(10_000, rng.integers(20, 100, 10_000))
    true, predicted, correct = population.sum(axis=0)
    truth = correct / (true + predicted - correct)
    held = 0
    for trial in range(200):
        drawn = population[rng.integers(0, len(population), 25)]
        found = iou_intervals(drawn, drawn, seed=trial)
        assert found is not None
        held += found.after.low <= truth <= found.after.high
        assert found.gain == (0.0, 0.0)  # the same model twice, on the same draws
    assert 0.88 <= held / 200 <= 0.99


def test_a_difference_is_judged_on_the_same_draws():
    """Places differ much, but the second model is a little better everywhere: the difference is certain, the single scores are not."""
    first = np.random.default_rng(2).integers(10, 90, 30)
    found = iou_intervals(blocks(30, first), blocks(30, first + 5))
    assert found is not None
    assert found.gain.low > 0 and found.before.high > found.after.low


def test_too_few_blocks_with_the_class_tell_nothing():
    empty = np.zeros((50, 3), dtype=np.int64)
    few = np.concatenate([blocks(LEAST_BLOCKS - 1, 50), empty])
    assert iou_intervals(few, few) is None
    enough = np.concatenate([blocks(LEAST_BLOCKS, 50), empty])
    assert iou_intervals(enough, enough) is not None
