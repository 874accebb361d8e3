"""How right a road network is: by length, and by the ways that lead through it. Pure, on a plane in metres.

* Completeness and correctness: Wiedemann, Heipke, Mayer and Jamet 1998, "Empirical evaluation of automatically extracted road axes".
* APLS, the average path length similarity: Van Etten, Lindenbaum and Bacastow 2018, "SpaceNet: a remote sensing dataset and challenge series".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

NEAR_M = 3.0
SNAP_M = 4.0
"""APLS: a place of one network is on the other when it is no farther from it."""
EVERY_M = 50.0
"""APLS: between junctions, places are put on the roads so far apart."""
SAME_M = 0.01
"""Places no farther apart are one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LengthScores:
    """Of a network against a reference; None where there is nothing to compare."""

    completeness: float | None
    """Share of the reference's length that has a found road near."""
    correctness: float | None
    """Share of the found length that has a road of the reference near."""
    reference_m: float
    found_m: float

    @property
    def quality(self) -> float | None:
        """What is right, of all that is in either."""
        if not self.completeness or not self.correctness:
            return None if self.completeness is None or self.correctness is None else 0.0
        return self.completeness * self.correctness / (self.completeness - self.completeness * self.correctness + self.correctness)


def length_scores(
    found: Sequence[shapely.Geometry],
    reference: Sequence[shapely.Geometry],
    *,
    near_m: float = NEAR_M,
    ignore: shapely.Geometry | None = None,
) -> LengthScores:
    """Completeness and correctness of lines.

    Args:
        found: Lines, metres.
        reference: Lines on the same plane.
        near_m: What counts as near.
        ignore: An area in which nothing is scored.
    """
    mine, true = (shapely.union_all(np.array(list(lines), object)) for lines in (found, reference))
    around = [lines.buffer(near_m) for lines in (mine, true)]
    if ignore is not None:
        mine, true = mine.difference(ignore), true.difference(ignore)
    completeness = true.intersection(around[0]).length / true.length if true.length else None
    correctness = mine.intersection(around[1]).length / mine.length if mine.length else None
    return LengthScores(completeness, correctness, float(true.length), float(mine.length))


def apls(found: Sequence[shapely.LineString], reference: Sequence[shapely.LineString], *, snap_m: float = SNAP_M) -> float | None:
    """Average path length similarity, 0..1: are ways through one network as long as through the other? The harmonic mean of both directions.

    Args:
        found: Lines that meet at their ends, metres.
        reference: Likewise.
        snap_m: How far a place of one network may be from the other.

    Returns:
        None where the reference has no way between two places.
    """
    one = _one_way(reference, found, snap_m)
    if one is None:
        return None
    other = _one_way(found, reference, snap_m)
    return 0.0 if not one or not other else 2 * one * other / (one + other)


def _one_way(truth: Sequence[shapely.LineString], proposal: Sequence[shapely.LineString], snap_m: float) -> float | None:
    """Mean over all pairs of places of the truth between which a way leads: 1 less the relative difference in length, at least 0."""
    places = _places(truth)
    if len(places) < 2:
        return None
    wanted = _ways(truth, places, SAME_M)
    pairs = np.isfinite(wanted) & (wanted > 0)
    if not pairs.any():
        return None
    there = _ways(proposal, places, snap_m)
    unlike = np.ones(wanted.shape)
    led = pairs & np.isfinite(there)
    unlike[led] = np.minimum(1.0, np.abs(wanted[led] - there[led]) / wanted[led])
    return float(1 - unlike[pairs].mean())


def _places(lines: Sequence[shapely.LineString]) -> Floats:
    """(n, 2) ends of lines, and points along them."""
    found = [shapely.get_coordinates([shapely.get_point(line, 0), shapely.get_point(line, -1)]) for line in lines]
    found += [
        shapely.get_coordinates(shapely.line_interpolate_point(line, np.arange(EVERY_M, line.length - EVERY_M / 2, EVERY_M)))
        for line in lines
    ]
    return np.unique(np.concatenate(found).round(3), axis=0) if found else np.zeros((0, 2))


def _ways(lines: Sequence[shapely.LineString], places: Floats, snap_m: float) -> Floats:
    """(n, n) length of the shortest way along the lines between places, each moved to the nearest point of a line; infinite where there is none."""
    nowhere = np.full((len(places), len(places)), np.inf)
    if not len(lines):
        return nowhere
    shapes = np.array(list(lines), object)
    (which, line), _ = shapely.STRtree(shapes).query_nearest(
        shapely.points(places), max_distance=snap_m, return_distance=True, all_matches=False
    )
    if not len(which):
        return nowhere
    along = shapely.line_locate_point(shapes[line], shapely.points(places[which]))
    starts, ends = (shapely.get_coordinates(shapely.get_point(shapes, at)) for at in (0, -1))
    nodes = _same(np.concatenate([starts, ends]))
    count = int(nodes.max()) + 1
    total = count + len(which)
    # each line becomes the steps between its ends and the places on it, in their order
    owner = np.concatenate([np.arange(len(shapes)), line, np.arange(len(shapes))])
    at = np.concatenate([np.zeros(len(shapes)), along, shapely.length(shapes)])
    node = np.concatenate([nodes[: len(shapes)], count + np.arange(len(which)), nodes[len(shapes) :]])
    rank = np.concatenate([np.zeros(len(shapes)), np.ones(len(which)), np.full(len(shapes), 2)])
    order = np.lexsort((rank, at, owner))
    here, there = order[:-1], order[1:]
    same = owner[here] == owner[there]
    steps = np.maximum(at[there] - at[here], 1e-9)[same]
    graph = _shortest_links(node[here][same], node[there][same], steps, total)
    ways = dijkstra(graph, directed=False, indices=count + np.arange(len(which)))[:, count:]
    out = nowhere
    out[np.ix_(which, which)] = ways
    return out


def _shortest_links(one: NDArray, other: NDArray, length: Floats, count: int) -> coo_array:
    """A graph; of several links between two nodes the shortest counts."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((length, high, low))
    low, high, length = low[order], high[order], length[order]
    first = np.ones(len(low), np.bool_)
    first[1:] = (np.diff(low) != 0) | (np.diff(high) != 0)
    return coo_array((length[first], (low[first], high[first])), (count, count)).tocsr()


def _same(points: Floats) -> NDArray[np.int64]:
    """Numbers from 0, alike for points that are the same but for rounding."""
    tree = cKDTree(points)
    nearest = np.array([min(near) for near in tree.query_ball_point(points, SAME_M)])
    return np.asarray(np.unique(nearest, return_inverse=True)[1], np.int64)
