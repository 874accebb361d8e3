"""What the formats with boxes share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tiles.formats.base import Finding
from tiles.objects import Box

ROUNDING = 0.01
"""Boxes are written with two decimals."""


def inside(box: Box, shape: tuple[int, int]) -> Box:
    """The part of a box that lies in a tile of `shape` (rows, columns)."""
    left, right = np.clip([box[0], box[2]], 0, shape[1])
    top, bottom = np.clip([box[1], box[3]], 0, shape[0])
    return float(left), float(top), float(right), float(bottom)


def check_boxes(path: str, boxes: Sequence[Box], shape: tuple[int, int]) -> Iterator[Finding]:
    """Boxes that reach out of the tile, or that are no box."""
    rows, columns = shape
    for left, top, right, bottom in boxes:
        shown = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
        if not (left <= right and top <= bottom):
            yield Finding(path, "boxes with left below right and top below bottom", shown)
        elif min(left, top) < -ROUNDING or right > columns + ROUNDING or bottom > rows + ROUNDING:
            yield Finding(path, f"boxes within the {columns} x {rows} pixels of the image", shown)
