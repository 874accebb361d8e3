"""Which areas are too small or too thin to stay, and what they become a part of. Pure: areas and borders in, areas and borders out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference.vectors.borders import Areas, Borders, Finished, Ids, summed
from tiles.roads.chains import joined

SLIVER_PX = 1.0
"""An area no wider than this on average, most of whose border is with other classes, is a sliver: what is left between two classes that should meet."""


def tidied(found: Finished, *, smallest_m2: float = 0.0, holes_m2: float = 0.0, slivers: bool = False) -> tuple[Areas, Borders]:
    """Fill small holes and do away with small areas and slivers; what is left of one class and touches becomes one.

    Each is given to the neighbour with the longest common border, a small area also to what is not wanted.

    Args:
        found: Whole groups.
        smallest_m2: Areas below are given away.
        holes_m2: Holes below are filled, unless another group lies in them.
        slivers: Whether slivers are given away.

    Returns:
        Areas, `first` being the first pixel of all that went into one, and the borders between them. What is not wanted is among them (value 0).
    """
    areas, borders = found.areas, found.borders
    to = np.arange(len(areas))
    if holes_m2 > 0:
        holes = _holes(found) & (areas.area_m2 < holes_m2)
        to = _given_away(borders, to, holes, to_nothing=np.zeros(len(areas), np.bool_))
    nothing = (areas.value == 0) & (to == np.arange(len(areas)))
    doomed = (areas.value > 0) & (areas.area_m2 < smallest_m2)
    doomed |= _slivers(areas, borders, nothing) if slivers else False
    while doomed.any():
        to = _given_away(borders, to, doomed, to_nothing=nothing)
        doomed &= to == np.arange(len(areas))
    same = areas.value[to[borders.sides]]
    alike = borders[same[:, 0] == same[:, 1]]
    name = joined(len(areas), [(np.arange(len(areas)), to), (to[alike.sides[:, 0]], to[alike.sides[:, 1]])])
    value = np.empty(int(name.max(initial=-1)) + 1, np.uint8)
    value[name[to]] = areas.value[to]
    sides = name[borders.sides]
    apart = sides[:, 0] != sides[:, 1]
    return replace(summed(areas, name), value=value), replace(borders, sides=sides)[apart]


def _holes(found: Finished) -> NDArray[np.bool_]:
    """Areas of nothing that one group surrounds, with nothing else in them."""
    areas, borders = found.areas, found.borders
    around = np.bincount(borders.sides.ravel(), np.repeat(borders.length, 2), len(areas))
    lowest, highest = np.full(len(areas), len(areas)), np.full(len(areas), -1)
    for side, other in ((0, 1), (1, 0)):
        group = found.groups[borders.sides[:, other]]
        np.minimum.at(lowest, borders.sides[:, side], group)
        np.maximum.at(highest, borders.sides[:, side], group)
    return (areas.value == 0) & found.whole & (around == areas.border) & (lowest == highest)


def _slivers(areas: Areas, borders: Borders, nothing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    between = borders[~nothing[borders.sides].any(axis=1)]
    shared = np.bincount(between.sides.ravel(), np.repeat(between.length, 2), len(areas))
    return (areas.value > 0) & (2 * areas.pixels <= SLIVER_PX * areas.border) & (2 * shared > areas.border)


def _given_away(borders: Borders, to: Ids, leaving: NDArray[np.bool_], *, to_nothing: NDArray[np.bool_]) -> Ids:
    """Where each area goes now: those that leave to the neighbour, of those that stay, with the longest common border, where there is one.

    Args:
        borders: Between all areas.
        to: Where each went before.
        leaving: Areas that are given away.
        to_nothing: Areas that count as one neighbour.
    """
    sides = to[borders.sides]
    nothing = np.flatnonzero(to_nothing)[:1]
    if len(nothing):
        sides[to_nothing[sides]] = nothing[0]
    one, other = np.concatenate([sides, sides[:, ::-1]]).T
    length = np.tile(borders.length, 2)
    able = leaving[one] & ~leaving[other] & (one != other)
    pairs, of = np.unique(one[able] * len(to) + other[able], return_inverse=True)
    lengths = np.bincount(of, length[able], len(pairs))
    best = np.lexsort((-pairs, lengths))  # by length; of equally long ones the first stays
    to = to.copy()
    to[pairs[best] // len(to)] = pairs[best] % len(to)
    return to[to]
