"""Labels at the date line and around the poles: put where the image sees them, or refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from errors import LabelError
from imagery.grid import Grid

FULL_TURN = 360.0
HALF_TURN = 180.0


def lonlat_span(grid: Grid) -> tuple[float, float, float, float]:
    """(west, south, east, north) of an image in degrees; east is beyond 180 where it reaches across the date line."""
    west, south, east, north = grid.lonlat_bounds
    return west, south, east if west <= east else east + FULL_TURN, north


def meets(boxes: NDArray[np.float64], west: float, east: float) -> NDArray[np.bool_]:
    """(n,) whether (n, 4) boxes (west, south, east, north) share a longitude with a span, however many turns away."""
    turns = FULL_TURN * np.arange(-1, 2)[:, None]
    return np.asarray(((boxes[:, 0] + turns <= east) & (boxes[:, 2] + turns >= west)).any(axis=0))


def beside(shapes: NDArray[np.object_], longitude: float) -> NDArray[np.object_]:
    """Shapes in degrees with each corner moved by full turns to within half a turn of a longitude."""

    def moved(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        away = np.round((x - longitude) / FULL_TURN)
        return x - FULL_TURN * away, y

    return np.asarray(shapely.transform(shapes, moved, interleaved=False))


def refuse_around_the_earth(shapes: NDArray[np.object_], labels: Sequence[int]) -> None:
    """Refuse shapes in degrees of which nobody can tell which way round the Earth they go.

    Args:
        shapes: Polygons, lines and points.
        labels: Row of the label that each is of.

    Raises:
        LabelError: an edge is longer than half a turn: it crosses the date line without being cut there, or goes around a pole.
    """
    bounds = shapely.bounds(shapes)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > HALF_TURN).tolist():
        lines = shapely.get_rings(shapes[i]) if shapely.get_dimensions(shapes[i]) == 2 else [shapes[i]]
        if any((np.abs(np.diff(shapely.get_coordinates(line)[:, 0])) > HALF_TURN).any() for line in lines):
            raise LabelError(
                f"Label {labels[i] + 1} has an edge from longitude {bounds[i, 0]:.2f} to {bounds[i, 2]:.2f}: "
                "it crosses the date line or goes around a pole, and which way round is not said.",
                "Cut it at longitude 180, as GeoJSON asks (around a pole: into slices), or give it in the coordinate system of the image.",
            )
