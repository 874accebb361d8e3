"""The middle of the roads of a class map: single pixels, block by block, and the lines that they form.

Thinning looks at a pixel's neighbours, twice for each pixel that a road loses on either side; so what it leaves in the middle of a block does not depend on
what lies farther off than that. Blocks are read with so much around them that roads up to `WIDEST_PX` wide come out as if the map had been thinned whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.morphology import remove_small_holes, skeletonize

from errors import UnsupportedRasterError
from inference.vectors.chains import chains
from inference.vectors.class_map import ClassMap

BLOCK_PX = 2048
AROUND_PX = 128
WIDEST_PX = AROUND_PX // 2
HOLES_PX = 50
"""Holes in a road up to so many pixels are closed first: each would become a ring of two roads."""
MOST_PIXELS = 6_000_000
"""Of all middle lines together: each takes about 200 bytes while the network is made."""


@dataclass(frozen=True)
class Skeleton:
    """One row a pixel, in reading order."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    half_m: NDArray[np.float32]
    """From its middle to the middle of the nearest pixel that is no road, metres."""
    confidence: NDArray[np.float32]
    """0..1."""
    value: NDArray[np.uint8]
    """Class value."""

    def __len__(self) -> int:
        return len(self.row)


def skeleton_of(
    class_map: ClassMap, wanted: Sequence[int], *, block_px: int = BLOCK_PX, progress: Callable[[float], None] = lambda share: None
) -> Skeleton:
    """The middle pixels of what has one of these classes.

    Args:
        class_map: The map.
        wanted: Class values; taken together.
        block_px: Side of the blocks.
        progress: Told the share done; may raise to stop.

    Raises:
        UnsupportedRasterError: there are too many.
        UnreadableRasterError: the map cannot be decoded.
    """
    grid = class_map.grid
    corners = [(row, column) for row in range(0, grid.height, block_px) for column in range(0, grid.width, block_px)]
    parts, count = [], 0
    for done, (row, column) in enumerate(corners):
        progress(done / len(corners))
        part = _block(class_map, wanted, column, row, min(block_px, grid.width - column), min(block_px, grid.height - row))
        parts.append(part)
        count += len(part)
        if count > MOST_PIXELS:
            raise UnsupportedRasterError(
                f"{class_map.path.name} shows too many roads for one network (more than {MOST_PIXELS:,} pixels of middle lines).",
                "Cut the map into parts first, and make a network of each.",
            )
    whole = Skeleton(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Skeleton)))
    order = np.lexsort((whole.column, whole.row))
    return Skeleton(*(getattr(whole, f.name)[order] for f in fields(Skeleton)))


def lines_of(skeleton: Skeleton, width: int) -> list[NDArray[np.int64]]:
    """Lines from end to end, from junction to junction, or around: rows of the skeleton in their order.

    Args:
        skeleton: The pixels. Those that touch by a side or a corner hang together; by a corner only where no third one joins them by sides.
        width: Columns of the raster.
    """
    if not len(skeleton):
        return []
    stride = width + 2
    number = skeleton.row * stride + skeleton.column + 1
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


def _block(class_map: ClassMap, wanted: Sequence[int], column: int, row: int, width: int, height: int) -> Skeleton:
    grid = class_map.grid
    left, top = max(column - AROUND_PX, 0), max(row - AROUND_PX, 0)
    right, bottom = min(column + width + AROUND_PX, grid.width), min(row + height + AROUND_PX, grid.height)
    strip = class_map.window(wanted, left, top, right - left, bottom - top)
    # beyond the raster there is no road: a row and a column of nothing say so
    mask = np.pad(remove_small_holes(strip.values > 0, max_size=HOLES_PX), 1)
    inner = np.s_[row - top + 1 : row - top + 1 + height, column - left + 1 : column - left + 1 + width]
    if not mask[inner].any():
        nothing = np.zeros(0, np.int64)
        return Skeleton(nothing, nothing, np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.uint8))
    rows, columns = np.nonzero(skeletonize(mask)[inner])
    half = distance_transform_edt(mask, sampling=grid.pixel_size_m[::-1])[inner]
    here = (rows + row - top, columns + column - left)
    sure = np.zeros(len(rows), np.float32) if strip.confidence is None else strip.confidence[here]
    return Skeleton(rows + row, columns + column, half[rows, columns].astype(np.float32), sure, strip.values[here])
