import numpy as np

from tiles.certainty import LEAST_BLOCKS, Found, ap_intervals, blocks_of, class_counts, f1, intervals
from tiles.tile_set import TileRecord


def blocks(count: int, correct: np.ndarray | int) -> np.ndarray:
    """Blocks of 100 true and 100 predicted pixels, of which so many are both."""
    return np.column_stack([np.full(count, 100), np.full(count, 100), np.broadcast_to(correct, count)]).astype(np.int64)


def test_blocks_that_are_all_alike_leave_no_doubt():
    found = intervals(blocks(20, 50), blocks(20, 80))
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
        found = intervals(drawn, drawn, seed=trial)
        assert found is not None
        held += found.after.low <= truth <= found.after.high
        assert found.gain == (0.0, 0.0)  # the same model twice, on the same draws
    assert 0.88 <= held / 200 <= 0.99


def test_a_difference_is_judged_on_the_same_draws():
    """Places differ much, but the second model is a little better everywhere: the difference is certain, the single scores are not."""
    first = np.random.default_rng(2).integers(10, 90, 30)
    found = intervals(blocks(30, first), blocks(30, first + 5))
    assert found is not None
    assert found.gain.low > 0 and found.before.high > found.after.low


def test_too_few_blocks_with_the_class_tell_nothing():
    empty = np.zeros((50, 3), dtype=np.int64)
    few = np.concatenate([blocks(LEAST_BLOCKS - 1, 50), empty])
    assert intervals(few, few) is None
    enough = np.concatenate([blocks(LEAST_BLOCKS, 50), empty])
    assert intervals(enough, enough) is not None


def a_tile(name: str, x: float, y: float, crs: str = "EPSG:32611") -> TileRecord:
    return TileRecord(
        name=name, raster="a", column=0, row=0, crs=crs, transform=(0.5, 0, x, 0, -0.5, y), place="p", split="validation", pixels={}, image="", label=""
    )  # fmt: skip


def test_overlapping_tiles_of_one_square_of_ground_are_one_block():
    tiles = [a_tile("1", 0, 64), a_tile("2", 16, 64), a_tile("3", 32, 64), a_tile("4", 16, 50), a_tile("5", 0, 64, crs="EPSG:32612")]
    assert blocks_of(tiles, (64, 64)).tolist() == [0, 0, 1, 2, 3]


def test_tiles_that_lie_nowhere_are_blocks_of_their_own():
    assert blocks_of([a_tile(str(i), 0, 0, crs="") for i in range(3)], (64, 64)).tolist() == [0, 1, 2]


def test_counts_of_a_class_come_from_confusion_matrices():
    matrix = np.array([[[5, 1], [2, 7]]])
    assert class_counts(matrix, 1).tolist() == [[9, 8, 7]]  # true, predicted, correct


def test_another_score_is_drawn_in_the_same_way():
    found = intervals(blocks(20, 50), blocks(20, 80), score=f1)
    assert found is not None
    assert (found.before, found.after) == ((0.5, 0.5), (0.8, 0.8))


def objects(count, right, sure=0.9):
    """One object in each of so many blocks, the first ones found, the others missed; a wrong finding in each."""
    block = np.concatenate([np.arange(right), np.arange(count)])
    return Found(block, np.concatenate([np.full(right, sure), np.full(count, 0.5)]), np.arange(len(block)) < right)


def test_average_precision_is_drawn_by_blocks_too():
    there = np.ones(30, np.int64)
    found = ap_intervals(there, objects(30, 10), objects(30, 25))
    assert found is not None
    assert found.before.low < 1 / 3 < found.before.high
    assert found.after.low < 25 / 30 < found.after.high < 1
    assert found.gain.low > 0
    same = ap_intervals(there, objects(30, 10), objects(30, 10))
    assert same is not None
    assert same.gain == (0, 0)


def test_average_precision_of_blocks_that_are_alike_leaves_no_doubt():
    there = np.full(10, 2)
    everything = Found(np.repeat(np.arange(10), 2), np.linspace(0.9, 0.5, 20), np.ones(20, bool))
    nothing = Found(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))
    found = ap_intervals(there, nothing, everything)
    assert found is not None
    assert (found.before, found.after, found.gain) == ((0, 0), (1, 1), (1, 1))
    assert ap_intervals(there[: LEAST_BLOCKS - 1], nothing, everything) is None
