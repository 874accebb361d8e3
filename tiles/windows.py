"""Sliding windows over an image, and how to blend what overlaps. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_WEIGHT = 0.01


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


def blend_weights(tile_size: int) -> NDArray[np.float32]:
    """(tile_size, tile_size) weights for averaging overlapping predictions: 1 in the middle, smoothly falling, never zero.

    The raised cosine sin^2(pi (i + 1/2) / n) in each direction (with half-overlapping windows these add up to one everywhere
    inside), not below 0.01 so that pixels under a single window's edge are kept.
    """
    ramp = np.sin(np.pi * (np.arange(tile_size) + 0.5) / tile_size) ** 2
    return np.maximum(np.outer(ramp, ramp), LEAST_WEIGHT).astype(np.float32)
