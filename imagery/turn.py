"""Pixels turned: what lies below the pixels of a grid that is rotated against the image's. Pure."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine

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
        pixels: What is there, with a pixel around the wanted grid on every side (see `box_around`).
        to_pixels: (column, row) of the wanted grid -> (column, row) in `pixels`, both from the outer corner of the first pixel.
        shape: (rows, columns) wanted.

    Returns:
        In the same dtype (whole numbers rounded); 0 where not valid.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    t, across, down = to_pixels, columns + 0.5, rows + 0.5
    x = (t.a * across + t.b * down + t.c).round(6) - 0.5  # rounded, quarter turns fall on pixels exactly
    y = (t.d * across + t.e * down + t.f).round(6) - 0.5
    left, top = np.floor(x), np.floor(y)
    right_of, below = x - left, y - top
    width = pixels.valid.shape[1]
    first = (top * width + left).astype(np.intp)
    corners = [
        (first, (1 - right_of) * (1 - below)),
        (first + 1, right_of * (1 - below)),
        (first + width, (1 - right_of) * below),
        (first + width + 1, right_of * below),
    ]
    valid, all_valid = np.ones(shape, np.bool_), bool(pixels.valid.all())
    if not all_valid:
        valid = pixels.valid.take((np.rint(y) * width + np.rint(x)).astype(np.intp))
        corners = [(at, share * pixels.valid.take(at)) for at, share in corners]
        total = np.where(valid, sum(share for _, share in corners), 1.0)
        corners = [(at, share / total) for at, share in corners]
    values = np.zeros((len(pixels.values), *shape), pixels.values.dtype)
    for band, plane in enumerate(pixels.values):
        known = np.ascontiguousarray(plane if all_valid else np.where(pixels.valid, plane, 0))
        mean = sum(known.take(at) * share for at, share in corners)
        values[band] = np.where(valid, mean.round() if values.dtype.kind in "iu" else mean, 0)
    return Pixels(values, valid)
