"""Sliding windows over an image, and how to blend what overlaps. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def tile_windows(width: int, height: int, tile_size: int, stride: int) -> list[tuple[int, int]]:
    """Upper left corners (column, row), row by row, of square windows that cover every pixel of an image.

    Windows start at every `stride` pixels; the last column and row are shifted inwards so that they end at the edge. An image
    smaller than a tile gets one window at 0 that reaches over the edge: the caller pads it.

    Args:
        width: Columns of the image.
        height: Rows of the image.
        tile_size: Side of a window, pixels.
        stride: Step from one window to the next, pixels; 1..tile_size.
    """
    columns, rows = starts(width, tile_size, stride), starts(height, tile_size, stride)
    return [(column, row) for row in rows for column in columns]


def starts(length: int, tile_size: int, stride: int) -> list[int]:
    """Where windows start along one side of an image, ascending; see `tile_windows`."""
    if min(length, tile_size) < 1 or not 1 <= stride <= tile_size:
        raise ValueError(f"No windows of {tile_size} at stride {stride} over {length} pixels.")
    last = max(length - tile_size, 0)
    found = list(range(0, last + 1, stride))
    return found if found[-1] == last else [*found, last]


@dataclass(frozen=True)
class Windows:
    """Evenly spread windows along one side of an image."""

    length: int
    """Of the side, pixels."""
    size: int
    """Of each window, pixels."""
    starts: tuple[int, ...]
    """Ascending, each once; the first is 0, the last window ends where the side does."""

    def shares(self) -> NDArray[np.float32]:
        """(windows, size): what each window has to say at each of its pixels, from 0 to 1; together 1 at every pixel of the side.

        Where two windows overlap, the quarter of the overlap at the rim of each is left to the other, as a network knows least there; between
        these the share changes linearly. At the ends of the side, where there is no other window, it is 1.
        """
        starts, middle = np.array(self.starts), np.arange(self.size) + 0.5
        common = self.size - np.diff(starts)
        before, after = np.append(1, common), np.append(common, 1)
        rising = (middle - before[:, None] / 4) / np.maximum(before[:, None] / 2, 1)
        falling = (self.size - middle - after[:, None] / 4) / np.maximum(after[:, None] / 2, 1)
        raw = np.clip(np.minimum(rising, falling), 0, 1)
        total = np.zeros(self.length)
        for start, shares in zip(self.starts, raw, strict=True):
            total[start : start + self.size] += shares
        return np.stack([shares / total[start : start + self.size] for start, shares in zip(self.starts, raw, strict=True)]).astype(
            np.float32
        )


def even_windows(length: int, largest: int, overlap: int, multiple: int = 1) -> Windows:
    """As few windows as cover a side, all of one size and as small as will do, evenly spread.

    Args:
        length: Of the side, pixels.
        largest: No window is larger.
        overlap: Neighbours share at least so many pixels; below `largest`.
        multiple: Windows start at multiples of this, so that a network's coarse features lie as they do on the whole image; where the windows
            are too small for it, anywhere.
    """
    if length < 1 or not 0 <= overlap < largest:
        raise ValueError(f"No windows of {largest} that share {overlap} over {length} pixels.")
    if length <= largest:
        return Windows(length, length, (0,))
    step = multiple if overlap + 2 * multiple <= largest else 1
    count = -(-(length - overlap) // (largest - overlap))
    while (size := _least_size(length, count, overlap, step)) > largest:
        count += 1
    starts = np.rint(np.linspace(0, (length - size) // step, count)).astype(int) * step
    return Windows(length, size, tuple(sorted(set(starts.tolist()))))


def _least_size(length: int, count: int, overlap: int, step: int) -> int:
    """The smallest windows of which `count` cover a side at starts that are multiples of `step`; the last one ends where the side does."""
    about = max(1, (length - overlap) // (count * step))
    sizes = []
    for steps in (about, about + 1):  # the farthest from one start to the next
        enough = overlap + steps * step
        sizes.append(max(length - (count - 1) * steps * step, enough + (length - enough) % step))
    return min(sizes)
