"""What one shape does to others (split by a line, cut out an area, merge), and corners made square. GeoJSON in, GeoJSON out, EPSG:4326; nothing is stored.

The browser asks for the answer and sends it as edits of its own, so undo, the journal and a second tab know nothing of it.
Done here and not in the browser because GEOS settles holes, touching edges and crossing rings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from shapely.ops import split as split_one

from errors import LabelError
from labeling.draw import geojson_of, geometry_of, kind_of, repaired

MAX_SHAPES = 2_000
METRES_PER_DEGREE = math.radians(6_371_008.8)
JOG_SHARE, JOG_M = 0.06, (0.25, 3.0)
"""Jogs shorter than this share of an area's side, within these metres, are not corners of it."""
ALIGNED = 0.5
"""From 0 (a circle) to 1 (right angles only): how far edges agree on two directions before corners are made square."""
ALIKE = 0.8
"""Intersection over union with what it was, below which a squared area is not the same thing any more."""


def reshape(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What becomes of labels.

    Args:
        raw: `{"tool": "split" | "cut" | "merge" | "square", "labels": [{"id", "geometry"}, ...], "with": geometry}`. `with` is a
            line for split, an area for cut, and missing for merge and square.

    Returns:
        For each label that changes, `{"id", "geometries"}`: none (the label goes), one, or the several it becomes.

    Raises:
        LabelError: it cannot be done; says why and what to do.
    """
    tool, labels = raw.get("tool"), raw.get("labels")
    if tool not in _NOTHING or not isinstance(labels, list) or not all(isinstance(one, Mapping) and "id" in one for one in labels):
        raise LabelError("The shapes could not be understood.", "Reload the page.")
    if len(labels) > MAX_SHAPES:
        raise LabelError(f"{len(labels):,} labels are too many at once.", f"Choose at most {MAX_SHAPES:,}.")
    shapes = [_valid(geometry_of(one.get("geometry"))) for one in labels]
    if tool == "merge":
        parts: list[list[BaseGeometry]] = [[merged(shapes)], *([] for _ in shapes[1:])]
    elif tool == "square":
        parts = [[squared(shape) or shape] for shape in shapes]
    else:
        tool_shape = _valid(geometry_of(raw.get("with")))
        each: Callable[[BaseGeometry, BaseGeometry], list[BaseGeometry]] = split if tool == "split" else cut
        parts = [each(shape, tool_shape) for shape in shapes]
    changed = [(one["id"], after) for one, shape, after in zip(labels, shapes, parts, strict=True) if after != [shape]]
    if not changed:
        raise LabelError(*_NOTHING[tool])
    return [{"id": name, "geometries": [geojson_of(repaired(shape)) for shape in after]} for name, after in changed]


_NOTHING: dict[str, tuple[str, str]] = {
    "split": ("The line crosses no label from edge to edge.", "Begin and end it outside the label."),
    "cut": ("The area lies on no label.", "Draw it across the label that it is taken from."),
    "merge": ("There is nothing to merge.", "Choose two or more labels."),
    "square": ("There are no right angles in this shape.", "Choose an area with straight sides, such as a roof."),
}


def split(shape: BaseGeometry, line: BaseGeometry) -> list[BaseGeometry]:
    """The parts of an area or a line on the two sides of `line`; the shape alone where the line does not part it."""
    if kind_of(shape.geom_type) == "point" or not shape.intersects(line):
        return [shape]
    before = shapely.get_parts(shape)
    after = [part for one in before for part in split_one(one, line).geoms]
    return after if len(after) > len(before) else [shape]


def cut(shape: BaseGeometry, area: BaseGeometry) -> list[BaseGeometry]:
    """What is left of the shape outside `area`; nothing where all of it lies inside."""
    if not shape.intersects(area):
        return [shape]
    kind = kind_of(shape.geom_type)
    left = [part for part in shapely.get_parts(shape.difference(area)) if kind_of(part.geom_type) == kind and not part.is_empty]
    if not left:
        return []
    together = left[0] if len(left) == 1 else shapely.union_all(left)
    return [shape] if together.equals(shape) else [together]


def merged(shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    """One shape of all: areas are united, lines joined where their ends meet, points kept together.

    Raises:
        LabelError: fewer than two shapes, or of different kinds.
    """
    if len(shapes) < 2:
        raise LabelError(*_NOTHING["merge"])
    if len({kind_of(shape.geom_type) for shape in shapes}) > 1:
        raise LabelError("Lines, areas and points cannot be merged with each other.", "Choose labels of one kind.")
    together = shapely.union_all(list(shapes))
    return shapely.line_merge(together) if kind_of(together.geom_type) == "line" else together


def squared(shape: BaseGeometry) -> BaseGeometry | None:
    """An area whose sides all have one of two directions at right angles to each other, as most of its sides nearly have.

    Args:
        shape: Longitude and latitude.

    Returns:
        None where it is no area, has no such directions, or would become another shape.
    """
    if kind_of(shape.geom_type) != "area":
        return None
    middle = shape.centroid
    scale = np.array([METRES_PER_DEGREE * math.cos(math.radians(middle.y)), METRES_PER_DEGREE])
    origin = np.array([middle.x, middle.y])
    metres = shapely.transform(shape, lambda lonlat: (lonlat - origin) * scale)
    side = math.sqrt(metres.area)
    jog = min(max(JOG_SHARE * side, JOG_M[0]), JOG_M[1], 0.2 * side)
    plain = shapely.simplify(metres, jog)
    angle, agreement = _direction([np.asarray(ring.coords) for ring in _rings(plain)])
    if agreement < ALIGNED:
        return None
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upright = shapely.transform(plain, lambda xy: xy @ turn.T)
    parts = [_squared_polygon(part, jog) for part in shapely.get_parts(upright)]
    together = shapely.union_all([part for part in parts if part is not None])
    square = shapely.transform(together, lambda xy: xy @ turn)
    if square.is_empty or square.intersection(metres).area < ALIKE * square.union(metres).area:
        return None
    return shapely.transform(square, lambda xy: xy / scale + origin)


def _rings(area: BaseGeometry) -> list[BaseGeometry]:
    return [ring for part in shapely.get_parts(area) for ring in (part.exterior, *part.interiors)]


def _direction(rings: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The direction, in radians, that most of the length of the edges has (or is at right angles to), and how far they agree, 0 to 1."""
    steps = np.concatenate([np.diff(ring, axis=0) for ring in rings]) @ np.array([1, 1j])
    lengths = np.abs(steps)
    turned = np.sum(lengths * np.exp(4j * np.angle(steps)))
    return float(np.angle(turned)) / 4, float(np.abs(turned) / lengths.sum())


def _squared_polygon(polygon: BaseGeometry, jog: float) -> BaseGeometry | None:
    outer = _squared_ring(np.asarray(polygon.exterior.coords), jog)
    if outer is None:
        return None
    holes = [ring for hole in polygon.interiors if (ring := _squared_ring(np.asarray(hole.coords), jog)) is not None]
    square = shapely.Polygon(outer, holes)
    return square if square.is_valid else shapely.make_valid(square, method="structure", keep_collapsed=False)


def _squared_ring(ring: NDArray[np.float64], jog: float) -> NDArray[np.float64] | None:
    """(n, 2) corners of a ring whose sides run along the axes; None where fewer than four are left.

    Each run of edges that is rather level (or rather upright) becomes one side at its mean place; sides shorter than `jog` go.
    """
    sides = _joined(
        [
            (bool(abs(dx) > abs(dy)), (y0 + y1) / 2 if abs(dx) > abs(dy) else (x0 + x1) / 2, math.hypot(dx, dy))
            for (x0, y0), (x1, y1), (dx, dy) in zip(ring[:-1], ring[1:], np.diff(ring, axis=0), strict=True)
        ]
    )
    while len(sides) > 4:
        shown = [abs(sides[i - 1][1] - sides[(i + 1) % len(sides)][1]) for i in range(len(sides))]
        shortest = int(np.argmin(shown))
        if shown[shortest] >= jog:
            break
        sides = _joined([side for i, side in enumerate(sides) if i != shortest])
    if len(sides) < 4:
        return None
    corners = [(one[1], other[1]) if other[0] else (other[1], one[1]) for one, other in zip(sides, [*sides[1:], sides[0]], strict=True)]
    return np.array(corners)


def _joined(sides: list[tuple[bool, float, float]]) -> list[tuple[bool, float, float]]:
    """Neighbouring sides (level?, place, length) of one direction made one, all around."""
    joined: list[tuple[bool, float, float]] = []
    for level, place, length in sides:
        if joined and joined[-1][0] == level:
            _, other, before = joined.pop()
            place, length = (place * length + other * before) / (length + before), length + before
        joined.append((level, place, length))
    if len(joined) > 2 and joined[0][0] == joined[-1][0]:
        return _joined([joined[-1], *joined[:-1]])
    return joined


def _valid(shape: BaseGeometry) -> BaseGeometry:
    return shape if shape.is_valid else repaired(shape)
