from __future__ import annotations

import numpy as np
import pytest
import shapely

from tiles.roads.chains import chains


def listed(links: list[tuple[int, int]]) -> list[list[int]]:
    places, of = chains(np.array(links, np.int64).reshape(-1, 2), 1 + max((max(link) for link in links), default=0))
    found = [places[of == number].tolist() for number in range(int(of.max(initial=-1)) + 1)]
    return sorted(min(one, one[::-1]) for one in found)


def test_a_path_comes_in_its_order_whatever_the_order_of_its_links():
    assert listed([(3, 2), (0, 1), (4, 3), (1, 2)]) == [[0, 1, 2, 3, 4]]


def test_chains_end_where_they_branch():
    assert listed([(0, 1), (1, 2), (1, 3), (3, 4)]) == [[0, 1], [1, 2], [1, 3, 4]]


def test_a_ring_begins_and_ends_at_one_place():
    (ring,) = listed([(0, 1), (1, 2), (2, 3), (3, 0)])
    assert ring[0] == ring[-1] == 0 and sorted(ring[1:]) == [0, 1, 2, 3]


def test_a_ring_at_a_branching_begins_there():
    assert sorted(map(len, listed([(0, 1), (1, 2), (2, 3), (3, 1)]))) == [2, 4]


def test_nothing_is_no_chain():
    assert listed([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_chains_are_those_of_geos(seed):
    random = np.random.default_rng(seed)
    points = np.unique(random.integers(0, 12, (60, 2)), axis=0)
    pairs = np.unique(np.sort(random.integers(0, len(points), (45, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    places, of = chains(pairs[random.permutation(len(pairs))], len(points))
    made = shapely.linestrings(points[places].astype(float), indices=of)
    merged = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(shapely.linestrings(points[pairs].astype(float)))))
    assert len(made) == len(merged)
    assert shapely.length(made).sum() == pytest.approx(shapely.length(merged).sum())
    assert sorted(shapely.length(made).round(6)) == sorted(shapely.length(merged).round(6))
