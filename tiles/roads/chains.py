"""Links between places to chains of places: from an end or a branching to the next, or around. Pure, and for all chains at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ids = NDArray[np.int64]


def chains(links: Ids, count: int) -> tuple[Ids, Ids]:
    """Put links in order.

    Each link is walked in both directions; how far each step is from the beginning of its chain is found by pointer jumping (Wyllie 1979).

    Args:
        links: (n, 2) places, each pair once.
        count: How many places there are.

    Returns:
        The places of all chains, one chain after the other, and of each the number of its chain. A ring begins and ends with the same place.
    """
    size = len(links)
    tail, head = np.concatenate([links, links[:, ::-1]]).T
    stop = _stops(links, count)[tail]
    step = np.arange(2 * size)
    twin = (step + size) % max(2 * size, 1)
    # of the two steps that leave a place where nothing branches, one goes on and the other goes back
    leaving = np.argsort(tail, kind="stable")
    first = np.searchsorted(tail[leaving], tail)
    one, other = leaving[first], leaving[np.minimum(first + 1, 2 * size - 1)]
    before = np.where(stop, step, twin[np.where(one == step, other, one)])
    passed = np.where(stop, 0, 1)
    while True:
        further = before[before]
        if (further == before).all():
            break
        passed += passed[before]
        before = further
    last = np.empty(2 * size, np.int64)
    ends = np.flatnonzero(stop[twin])
    last[before[ends]] = ends
    kept = np.flatnonzero(before < twin[last[before]])  # each chain is there in both directions
    kept = kept[np.lexsort((passed[kept], before[kept]))]
    begins = stop[kept]
    of = np.cumsum(begins) - 1
    places = np.insert(head[kept], np.flatnonzero(begins), tail[kept[begins]])
    return places, np.insert(of, np.flatnonzero(begins), of[begins])


def joined(count: int, pairs: Sequence[tuple[Ids, Ids]]) -> Ids:
    """(count,) numbers from 0, alike where pairs lead from one to the other."""
    one, other = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    links = coo_array((np.ones(len(one), np.bool_), (one, other)), (count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _stops(links: Ids, count: int) -> NDArray[np.bool_]:
    """Places at which chains begin and end: ends, branchings, and one place of each ring."""
    stop = np.bincount(links.ravel(), minlength=count) != 2
    graph = coo_array((np.ones(len(links), np.bool_), (links[:, 0], links[:, 1])), (count, count))
    parts, part = connected_components(graph, directed=False)
    open_parts = np.zeros(parts, np.bool_)
    open_parts[part[stop]] = True
    rings = np.flatnonzero(~open_parts)
    lowest = np.full(parts, count)
    np.minimum.at(lowest, part, np.arange(count))
    stop[lowest[rings]] = True
    return stop
