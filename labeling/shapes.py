"""What one shape does to others: split by a line, cut out an area, merge. GeoJSON in, GeoJSON out, EPSG:4326; nothing is stored.

The browser asks for the answer and sends it as edits of its own, so undo, the journal and a second tab know nothing of it.
Done here and not in the browser because GEOS settles holes, touching edges and crossing rings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from shapely.ops import split as split_one

from errors import LabelError
from labeling.draw import geojson_of, geometry_of, kind_of, repaired

MAX_SHAPES = 2_000


def reshape(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What becomes of labels.

    Args:
        raw: `{"tool": "split" | "cut" | "merge", "labels": [{"id", "geometry"}, ...], "with": geometry}`. `with` is a line for
            split, an area for cut, and missing for merge.

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


def _valid(shape: BaseGeometry) -> BaseGeometry:
    return shape if shape.is_valid else repaired(shape)
