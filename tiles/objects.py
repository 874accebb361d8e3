"""What stands in a tile: single objects, in the tile's pixels. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

THINNEST = 0.01
"""Pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, from the outer corner of the tile's first pixel."""


@dataclass(frozen=True, eq=False)
class TileObject:
    """The part of one labelled object that lies in a tile."""

    value: int
    """Class value."""
    box: Box
    """Around the part in the tile; never outside the tile."""
    outline: shapely.Geometry | None = None
    """Polygon or multi-polygon in the tile's pixels (x right, y down); None where only a box or a mask is known."""
    mask: NDArray[np.bool_] | None = None
    """(rows, columns); None where no mask was written."""
    area: float = 0.0
    """Of the part in the tile, in square map units; 0 where it is not known."""


def object_of(value: int, outline: shapely.Geometry, size: tuple[int, int], area: float) -> TileObject:
    """An object from its outline.

    Args:
        value: Class value.
        outline: In the tile's pixels.
        size: (rows, columns) of the tile; the box ends there.
        area: Square map units.
    """
    left, top, right, bottom = shapely.bounds(outline)
    rows, columns = size
    box = (max(left, 0.0), max(top, 0.0), min(right, float(columns)), min(bottom, float(rows)))
    return TileObject(value, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), outline, None, float(area))


def is_box(box: Box) -> bool:
    """Whether it is more than a hair that reaches into the tile: boxes are written with two decimals."""
    return min(box[2] - box[0], box[3] - box[1]) >= THINNEST


def box_of_mask(mask: NDArray[np.bool_]) -> Box:
    """The box around the True pixels, of which there is at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def pixels_in(box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """(rows, columns) that a box touches, at least one pixel each way."""
    rows, columns = size
    left, top = min(int(box[0]), columns - 1), min(int(box[1]), rows - 1)
    return slice(top, max(int(np.ceil(box[3])), top + 1)), slice(left, max(int(np.ceil(box[2])), left + 1))
