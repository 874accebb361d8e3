"""Pixels turned: what lies below the pixels of a grid that is rotated against the image's. Pure."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from scipy.ndimage import map_coordinates

from imagery.read import Pixels


def turned_grid(column: float, row: float, columns: int, rows: int, angle: float) -> Affine:
    """(column, row) within a window turned about its middle -> (column, row) of the image, pixels.

    Args:
        column: Left edge of the window before it is turned.
        row: Upper edge.
        columns: Of the window.
        rows: Of the window.
        angle: Degrees, clockwise as seen on the image.
    """
    middle = Affine.translation(column + columns / 2, row + rows / 2)
    return middle @ Affine.rotation(angle) @ Affine.translation(-columns / 2, -rows / 2)


def box_around(to_image: Affine, columns: int, rows: int) -> tuple[int, int, int, int]:
    """(column, row, columns, rows) of the image that has all that `sample` needs for a turned window: its outline and a pixel around it."""
    x, y = zip(*(to_image @ corner for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows))), strict=True)
    left, top = math.floor(round(min(x), 6)) - 1, math.floor(round(min(y), 6)) - 1
    return left, top, math.ceil(round(max(x), 6)) + 1 - left, math.ceil(round(max(y), 6)) + 1 - top


def sample(pixels: Pixels, to_pixels: Affine, shape: tuple[int, int]) -> Pixels:
    """The pixels of another grid, bilinear; pixels that are not imagery take no part, and where the nearest is none the result is not valid.

    Args:
        pixels: What is there.
        to_pixels: (column, row) of the wanted grid -> (column, row) in `pixels`, both from the outer corner of the first pixel.
        shape: (rows, columns) wanted.

    Returns:
        In the same dtype (whole numbers rounded); 0 where not valid.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    x, y = to_pixels @ (columns, rows)
    where = np.stack([y, x]).round(6) - 0.5  # quarter turns then fall on pixels exactly
    valid = map_coordinates(pixels.valid.view(np.uint8), where, order=0, mode="constant") > 0
    weight = map_coordinates(pixels.valid.astype(np.float64), where, order=1, mode="constant")
    values = np.zeros((len(pixels.values), *shape), pixels.values.dtype)
    for band, plane in enumerate(pixels.values):
        known = np.where(pixels.valid, plane, 0).astype(np.float64)
        mean = map_coordinates(known, where, order=1, mode="constant")[valid] / weight[valid]
        values[band, valid] = mean.round() if values.dtype.kind in "iu" else mean
    return Pixels(values, valid)
