"""The middle of the roads of a class map: single pixels, block by block.

Thinning looks at a pixel's neighbours, twice for each pixel that a road loses on either side; so what it leaves in the middle of a block does not depend on
what lies farther off than that. Blocks are read with so much around them that roads up to `WIDEST_PX` wide come out as if the map had been thinned whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from errors import UnsupportedRasterError
from inference.vectors.class_map import ClassMap
from tiles.roads.skeleton import middle_of

BLOCK_PX = 2048
AROUND_PX = 128
WIDEST_PX = AROUND_PX // 2
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


def _block(class_map: ClassMap, wanted: Sequence[int], column: int, row: int, width: int, height: int) -> Skeleton:
    grid = class_map.grid
    left, top = max(column - AROUND_PX, 0), max(row - AROUND_PX, 0)
    right, bottom = min(column + width + AROUND_PX, grid.width), min(row + height + AROUND_PX, grid.height)
    strip = class_map.window(wanted, left, top, right - left, bottom - top)
    inner = np.s_[row - top : row - top + height, column - left : column - left + width]
    if not strip.values[inner].any():
        nothing = np.zeros(0, np.int64)
        return Skeleton(nothing, nothing, np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.uint8))
    middle, half = (part[inner] for part in middle_of(strip.values > 0, grid.pixel_size_m))
    rows, columns = np.nonzero(middle)
    here = (rows + row - top, columns + column - left)
    sure = np.zeros(len(rows), np.float32) if strip.confidence is None else strip.confidence[here]
    return Skeleton(rows + row, columns + column, half[rows, columns].astype(np.float32), sure, strip.values[here])
