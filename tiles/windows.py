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
        rising[0], falling[-1] = 1, 1
        raw = np.clip(np.minimum(rising, falling), 0, 1)
        total = np.zeros(self.length)
        for start, shares in zip(self.starts, raw, strict=True):
            total[start : start + self.size] += shares
        return np.stack([shares / total[start : start + self.size] for start, shares in zip(self.starts, raw, strict=True)]).astype(
            np.float32
        )


def even_windows(length: int, largest: int, overlap: int, multiple: int = 1) -> Windows:
    """As few windows as cover a side, all of one size, evenly spread.

    Args:
        length: Of the side, pixels.
        largest: No window is larger.
        overlap: Neighbours share at least so many pixels; below `largest`.
        multiple: Windows are this or a multiple of it, unless a single one, or `largest`, does.
    """
    if length < 1 or not 0 <= overlap < largest:
        raise ValueError(f"No windows of {largest} that share {overlap} over {length} pixels.")
    if length <= largest:
        return Windows(length, length, (0,))
    count = -(-(length - overlap) // (largest - overlap))
    size = min(largest, -(-(length + (count - 1) * overlap) // (count * multiple)) * multiple)
    starts = np.rint(np.linspace(0, length - size, count)).astype(int)
    return Windows(length, size, tuple(sorted(set(starts.tolist()))))
