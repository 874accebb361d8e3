"""Borders to polygons that share them. Pure, in pixels."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from inference.vectors.borders import Areas, Borders, Ids
from tiles.roads.chains import chains

Shapes = NDArray[np.object_]


def outlines(areas: Areas, borders: Borders, width: int, smooth_px: float = 0.0) -> tuple[Shapes, Ids]:
    """The polygons of all wanted areas; neighbours have the same points along what they share, before and after smoothing.

    Args:
        areas: All sides of the borders.
        borders: Those between the areas, complete.
        width: Columns of the raster.
        smooth_px: How far lines may leave the pixels' edges: triangles up to this squared are cut off (Visvalingam and Whyatt 1993, on the
            whole coverage); 0: along the pixels' edges.

    Returns:
        Valid polygons (x, y in pixels from the outer corner of the top left one), and of each the row in `areas`. Areas that smoothing left
        nothing of are not among them.
    """
    faces = shapely.get_parts(shapely.polygonize(_lines(borders)))
    first = _first_pixels(faces, width + 2)
    wanted = np.flatnonzero(areas.value > 0)
    order = wanted[np.argsort(areas.first[wanted])]
    at = np.searchsorted(areas.first[order], first)
    known = at < len(order)
    known[known] = areas.first[order[at[known]]] == first[known]
    shapes, of = faces[known], order[at[known]]
    if smooth_px > 0 and len(shapes):
        shapes = shapely.coverage_simplify(shapes, smooth_px)
    return valid_parts(shapes, of)


def valid_parts(shapes: Shapes, of: Ids) -> tuple[Shapes, Ids]:
    """Polygons that are valid and not empty; one that is not is mended, perhaps to several, each with the number of what it came from."""
    bad = ~shapely.is_valid(shapes)
    shapes = shapes.copy()
    shapes[bad] = shapely.make_valid(shapes[bad], method="structure", keep_collapsed=False)
    parts, index = shapely.get_parts(shapes, return_index=True)
    areal = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    return parts[areal], of[index[areal]]


def _lines(borders: Borders) -> Shapes:
    """Straight pieces as lines from one meeting of three areas to the next, or around an area."""
    ends = np.concatenate([borders.start, borders.end]).astype(np.int64)
    stride = int(ends[:, 0].max(initial=0)) + 1
    places, number = np.unique(ends[:, 1] * stride + ends[:, 0], return_inverse=True)
    order, of = chains(number.reshape(2, -1).T, len(places))
    points = np.column_stack([places[order] % stride, places[order] // stride]).astype(np.float64)
    return np.asarray(shapely.linestrings(points, indices=of), object)


def _first_pixels(faces: Shapes, width: int) -> Ids:
    """Of each polygon along pixels' edges the first pixel in reading order: it lies below and right of the leftmost of the highest points."""
    rings = shapely.get_exterior_ring(faces)
    points, of = shapely.get_coordinates(rings, return_index=True)
    number = points[:, 1].astype(np.int64) * width + points[:, 0].astype(np.int64) + 1
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    return np.minimum.reduceat(number, starts) if len(starts) else np.zeros(0, np.int64)
