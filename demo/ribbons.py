"""Pixels near a line, in the line's own coordinates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Ribbon:
    """N pixels beside a line.

    Attributes:
        rows: (N,) pixel rows.
        cols: (N,) pixel columns.
        along: (N,) distance along the line of the nearest point, in pixels.
        across: (N,) signed distance from the line, in pixels, positive to the right of its
            direction on screen; beyond the ends the distance to the end point.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    along: NDArray[np.float64]
    across: NDArray[np.float64]


def densify(line: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Resample the polyline `line` (N, 2) to even steps of about `step`."""
    lengths = np.hypot(*np.diff(line, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(2, int(np.ceil(at[-1] / step)) + 1)
    stops = np.linspace(0, at[-1], count)
    return np.column_stack([np.interp(stops, at, line[:, 0]), np.interp(stops, at, line[:, 1])])


def smooth(line: NDArray[np.float64], sigma_points: float) -> NDArray[np.float64]:
    """Round the corners of a polyline, keeping its ends roughly in place."""
    return ndimage.gaussian_filter1d(line, sigma_points, axis=0, mode="nearest")


def tangents(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit direction at every vertex of `line` (N, 2)."""
    step = np.gradient(line, axis=0)
    return step / np.maximum(np.hypot(*step.T), 1e-9)[:, None]


def offset(line: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """Shift `line` sideways; positive is to the right of its direction on screen."""
    along = tangents(line)
    return line + distance * np.column_stack([-along[:, 1], along[:, 0]])


def ribbon(line: NDArray[np.float64], reach_px: float, shape: tuple[int, int]) -> Ribbon:
    """Find the pixels of a (height, width) scene within about `reach_px` of `line` (N, 2)."""
    dense = densify(line, 1.0)
    direction = tangents(dense)
    near = np.all((dense > -reach_px - 2) & (dense < np.array(shape[::-1]) + reach_px + 2), axis=1)
    rows, cols = _candidates(dense, reach_px, shape)
    if not near.any() or rows.size == 0:
        nothing = np.zeros(0)
        return Ribbon(nothing.astype(np.intp), nothing.astype(np.intp), nothing, nothing)
    index = np.flatnonzero(near)
    centres = np.column_stack([cols + 0.5, rows + 0.5])
    _, found = cKDTree(dense[index]).query(centres)
    vertex = index[found]
    away = centres - dense[vertex]
    ahead = np.einsum("ij,ij->i", away, direction[vertex])
    across = direction[vertex, 0] * away[:, 1] - direction[vertex, 1] * away[:, 0]
    spacing = np.hypot(*(dense[1] - dense[0]))
    beyond = ((vertex == 0) & (ahead < 0)) | ((vertex == len(dense) - 1) & (ahead > 0))
    signed = np.where(beyond, np.copysign(np.hypot(across, ahead), across), across)
    keep = np.abs(signed) <= reach_px
    along = vertex * spacing + np.where(beyond, 0, ahead)
    return Ribbon(rows[keep], cols[keep], along[keep], signed[keep])


def _candidates(dense: NDArray[np.float64], reach: float, shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    inside = np.clip(dense, [-4 * reach - 8] * 2, np.array(shape[::-1]) + 4 * reach + 8)
    low = np.floor(np.maximum(inside.min(axis=0) - reach - 2, 0)).astype(int)
    high = np.ceil(np.minimum(inside.max(axis=0) + reach + 2, shape[::-1])).astype(int)
    if np.any(high <= low):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
    pen = ImageDraw.Draw(mask)
    at = inside[:: max(1, int(reach / 3))] - low
    at = np.vstack([at, inside[-1:] - low])
    pen.line(list(map(tuple, at.tolist())), fill=1, width=int(2 * reach) + 3, joint="curve")
    radius = reach + 2
    for x, y in at.tolist():  # closes the cracks that PIL leaves between the segments
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    rows, cols = np.nonzero(np.asarray(mask))
    return rows + low[1], cols + low[0]
