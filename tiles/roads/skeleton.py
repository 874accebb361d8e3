"""The middle of what is long and thin in a mask: single pixels, and the lines that they form. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.morphology import remove_small_holes, skeletonize

from tiles.roads.chains import chains

EDGE_PX = 0.25
"""From half the distance between the middles of the pixels beside a road to its own half width: on average of even and odd widths."""
HOLES_PX = 50
"""Holes in a road up to so many pixels are closed first: each would become a ring of two roads."""


def middle_of(mask: NDArray[np.bool_], pixel_size_m: tuple[float, float]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Thin a mask.

    Args:
        mask: (rows, columns); there is no road beyond it.
        pixel_size_m: Across and down.

    Returns:
        (rows, columns) the pixels in the middle, and how far it is to the middle of the nearest pixel that is no road, metres.
    """
    road = np.pad(remove_small_holes(mask, max_size=HOLES_PX), 1)  # a row and a column of nothing say where it ends
    inner = np.s_[1:-1, 1:-1]
    return skeletonize(road)[inner], np.asarray(distance_transform_edt(road, sampling=pixel_size_m[::-1])[inner])


def lines_of(row: NDArray[np.int64], column: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    """Lines from end to end, from junction to junction, or around.

    Args:
        row: Of the pixels in the middle, in reading order. Those that touch by a side or a corner hang together; by a corner only where no third one
            joins them by sides.
        column: Likewise.
        width: Columns of the raster.

    Returns:
        Of each line the numbers of its pixels, in their order along it.
    """
    if not len(row):
        return []
    stride = width + 2
    number = row * stride + column + 1
    links = []
    for step, beside in ((1, ()), (stride, ()), (stride + 1, (1, stride)), (stride - 1, (-1, stride))):
        here, there = _neighbours(number, step)
        around = np.zeros(len(here), np.bool_)
        for other in beside:
            around |= _rows_of(number[here] + other, number)[1]
        links.append(np.column_stack([here, there])[~around])
    pairs = np.concatenate(links)
    places, of = chains(pairs, len(number))
    return np.split(places, np.flatnonzero(np.diff(of)) + 1) if len(places) else []


def _neighbours(number: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows whose numbers differ by `step`."""
    at, found = _rows_of(number + step, number)
    return np.flatnonzero(found), at[found]


def _rows_of(wanted: NDArray[np.int64], number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where numbers are among the ascending ones, and whether they are."""
    at = np.minimum(np.searchsorted(number, wanted), len(number) - 1)
    return at, number[at] == wanted
