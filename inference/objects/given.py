"""The shape in which objects are given out: as they were seen, or as a box around them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from imagery.grid import Grid
from inference.vectors.ground import in_metres, in_pixels, on_map

Shape = Literal["outline", "upright", "rotated"]
Given = Callable[[NDArray[np.object_]], NDArray[np.object_]]


def given_as(shape: Shape, grid: Grid) -> Given:
    """What makes polygons (in pixels of the grid) the shapes that are given out.

    `outline`: as they are. `upright`: the box around each along the rows and columns of the grid. `rotated`: the smallest rectangle around
    each, with right angles on the ground.
    """
    if shape == "upright":
        return lambda shapes: np.asarray(shapely.envelope(shapes))
    if shape == "rotated":
        return lambda shapes: np.asarray(in_pixels(shapely.oriented_envelope(in_metres(shapes, grid)), grid))
    return lambda shapes: shapes


def angles(rectangles: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    """(n,) where the long side of each rectangle points: degrees clockwise from the grid north of the raster's CRS, 0 to below 180.

    Args:
        rectangles: In pixels of the grid.
        grid: Of the raster.
    """
    if not len(rectangles):
        return np.zeros(0)
    corners = shapely.get_coordinates(on_map(rectangles, grid)).reshape(len(rectangles), 5, 2)
    if grid.crs.is_geographic:
        corners = corners * [np.cos(np.radians(grid.centre_lonlat[1])), 1.0]
    sides = np.diff(corners[:, :3], axis=1)
    lengths = np.hypot(*np.moveaxis(sides, -1, 0))
    longest = sides[np.arange(len(sides)), np.argmax(lengths.round(6), axis=1)]
    return np.asarray(np.degrees(np.arctan2(longest[:, 0], longest[:, 1])).round(2) % 180, np.float64)
