"""The two sides never come closer than the gap, and every class is on both where it can be."""

import numpy as np
import pytest
import shapely

from errors import SplitError
from tiles.split import require_two_sides, split_by_place


def grid_of_tiles(columns, rows, side=128.0, stride=64.0, origin=(0.0, 0.0)):
    return np.array(
        [
            shapely.box(origin[0] + c * stride, origin[1] + r * stride, origin[0] + c * stride + side, origin[1] + r * stride + side)
            for r in range(rows)
            for c in range(columns)
        ]
    )


def distance_between_sides(outlines, splits):
    splits = np.array(splits)
    a, b = outlines[splits == "train"], outlines[splits == "validation"]
    return min(shapely.distance(one, b).min() for one in a)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_one_big_scene_is_cut_into_blocks_with_a_gap_wider_than_a_tile(seed):
    outlines = grid_of_tiles(30, 24)
    pixels = np.ones((len(outlines), 2), dtype=np.int64)
    splits, places = split_by_place(outlines, pixels, 0.2, seed, 181.0)
    assert distance_between_sides(outlines, splits) > 181.0
    used = [s for s in splits if s != "gap"]
    assert 0.1 < used.count("validation") / len(used) < 0.35
    assert splits.count("gap") < 0.6 * len(splits)
    assert len(set(places)) > 1


def test_images_far_apart_stay_whole_and_none_is_lost():
    towns = [grid_of_tiles(3, 2, origin=(10_000.0 * k, 0.0)) for k in range(6)]
    outlines = np.concatenate(towns)
    splits, places = split_by_place(outlines, np.ones((36, 1), dtype=np.int64), 0.2, 0, 181.0)
    assert "gap" not in splits
    for town in range(6):
        mine = slice(6 * town, 6 * town + 6)
        assert len(set(splits[mine])) == 1
        assert len(set(places[mine])) == 1
    assert len(set(places)) == 6


def test_images_closer_than_the_gap_stay_together():
    pair = np.concatenate([grid_of_tiles(1, 1), grid_of_tiles(1, 1, origin=(200.0, 0.0))])
    far = grid_of_tiles(1, 1, origin=(5000.0, 0.0))
    splits, places = split_by_place(np.concatenate([pair, far]), np.ones((3, 1), dtype=np.int64), 0.3, 0, 181.0)
    assert splits[0] == splits[1] != splits[2]
    assert places[0] == places[1]


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_on_both_sides(seed):
    outlines = np.concatenate([grid_of_tiles(1, 1, origin=(1000.0 * k, 0.0)) for k in range(20)])
    pixels = np.zeros((20, 2), dtype=np.int64)
    pixels[:, 0] = 100
    pixels[[3, 11], 1] = 5
    splits = np.array(split_by_place(outlines, pixels, 0.2, seed, 181.0)[0])
    assert set(splits[[3, 11]]) == {"train", "validation"}


def test_a_class_of_one_place_only_goes_to_training():
    outlines = np.concatenate([grid_of_tiles(1, 1, origin=(1000.0 * k, 0.0)) for k in range(12)])
    pixels = np.zeros((12, 2), dtype=np.int64)
    pixels[:, 0] = 100
    pixels[7, 1] = 5
    assert split_by_place(outlines, pixels, 0.2, 0, 181.0)[0][7] == "train"


def test_the_seed_decides():
    outlines = np.concatenate([grid_of_tiles(1, 1, origin=(1000.0 * k, 0.0)) for k in range(30)])
    pixels = np.ones((30, 1), dtype=np.int64)
    first, again, other = (split_by_place(outlines, pixels, 0.2, seed, 181.0)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_small_scene_falls_back_to_smaller_blocks():
    """Ten tiles in a row, twenty tiles in all: only single tiles at the ends can be kept apart."""
    outlines = grid_of_tiles(10, 2)
    splits, _ = split_by_place(outlines, np.ones((20, 1), dtype=np.int64), 0.2, 0, 181.0)
    assert {"train", "validation"} <= set(splits)
    assert distance_between_sides(outlines, splits) > 181.0


def test_one_place_only_is_refused_with_what_to_do():
    with pytest.raises(SplitError) as caught:
        split_by_place(grid_of_tiles(3, 3), np.ones((9, 1), dtype=np.int64), 0.2, 0, 181.0)
    assert "one place" in caught.value.fact
    assert "181 m" in caught.value.remedy


def test_many_tiles_are_split_in_seconds():
    outlines = grid_of_tiles(120, 100)
    splits, _ = split_by_place(outlines, np.ones((12_000, 3), dtype=np.int64), 0.2, 0, 181.0)
    assert splits.count("gap") < 0.35 * len(splits)


@pytest.mark.parametrize(("columns", "rows"), [(3, 3), (4, 4), (6, 1), (8, 1), (10, 2), (12, 12), (40, 30)])
def test_whether_two_sides_are_possible_is_known_without_the_best_way(columns, rows):
    outlines = grid_of_tiles(columns, rows)
    try:
        split_by_place(outlines, np.ones((len(outlines), 1), dtype=np.int64), 0.2, 0, 181.0)
    except SplitError as refused:
        with pytest.raises(SplitError) as caught:
            require_two_sides(outlines, 0.2, 0, 181.0)
        assert str(caught.value) == str(refused)
    else:
        require_two_sides(outlines, 0.2, 0, 181.0)
