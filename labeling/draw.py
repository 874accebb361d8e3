"""What the map sends, checked: GeoJSON in EPSG:4326 -> operations that may go into the journal. Nothing here touches the disk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from errors import LabelError
from labeling.journal import Label, Operation
from workspace.classes import FULLY_LABELLED_NAME, FULLY_LABELLED_VALUE, ClassSchema

ORIGINS = ("drawn", "imported", "sam", "smart-select")
REVIEWS = ("", "done", "doubtful")
"""What a person who looked at a label again said of it; empty: nobody has."""
MAX_VERTICES = 200_000
MAX_NOTE = 1_000
MAX_WIDTH_M = 200.0
MAX_AUTHOR = 80
DECIMALS = 9
"""Of a degree: 0.1 mm on the ground."""

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_KINDS = {
    "Point": "point",
    "MultiPoint": "point",
    "LineString": "line",
    "MultiLineString": "line",
    "Polygon": "area",
    "MultiPolygon": "area",
}
_PARTS = {
    "point": ("Point", shapely.MultiPoint),
    "line": ("LineString", shapely.MultiLineString),
    "area": ("Polygon", shapely.MultiPolygon),
}


def kind_of(geometry_type: str) -> Literal["point", "line", "area"] | None:
    """What a geometry type is on the map; None when it cannot be a label."""
    return _KINDS.get(geometry_type)  # type: ignore[return-value]


def operation_from_map(raw: Any, schema: ClassSchema) -> Operation:
    """One operation as the browser sent it, checked and its geometry repaired.

    Args:
        raw: `{"operation_id", "kind": "upsert" | "delete", "object_id", "feature", "made_from", "author", "tool"}`; the feature is
            GeoJSON with the properties class_value, origin, note, review and width_m (metres, or null; left out for areas). The
            last three may be missing; for `made_from` see `Operation`.
        schema: Classes that exist; the value of a fully labelled area is allowed besides.

    Raises:
        LabelError: it cannot be stored; says why and what to do.
        UnknownClassError: its class is not in the schema.
    """
    if not isinstance(raw, Mapping):
        raise _malformed("an operation is not an object")
    operation_id, object_id, kind = raw.get("operation_id"), raw.get("object_id"), raw.get("kind")
    for name, value in (("operation_id", operation_id), ("object_id", object_id)):
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise _malformed(f"{name} is not an id")
    if kind not in {"upsert", "delete"}:
        raise _malformed("its kind is neither upsert nor delete")
    label = _label(raw.get("feature"), schema) if kind == "upsert" else None
    author, tool = (str(raw.get(name) or "")[:MAX_AUTHOR] for name in ("author", "tool"))
    return Operation(str(operation_id), kind, str(object_id), label, _made_from(raw.get("made_from")), author, tool)


def _made_from(version: Any) -> int | str | None:
    if version is None or (isinstance(version, str) and _ID.fullmatch(version)):
        return version
    if isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 2**53:
        return version
    raise _malformed("made_from is neither a revision nor the id of an operation")


def _label(feature: Any, schema: ClassSchema) -> Label:
    properties = feature.get("properties") if isinstance(feature, Mapping) else None
    if not isinstance(properties, Mapping):
        raise _malformed("it has no feature with properties")
    class_value, origin, note = properties.get("class_value"), properties.get("origin", "drawn"), properties.get("note", "")
    if not isinstance(class_value, int) or isinstance(class_value, bool):
        raise LabelError("A label has no class.", "Choose a class, then draw it again.")
    if class_value != FULLY_LABELLED_VALUE:
        schema.by_value(class_value)
    if origin not in ORIGINS:
        raise _malformed(f"its origin is none of {', '.join(ORIGINS)}")
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        raise LabelError("A note is too long.", f"Keep it below {MAX_NOTE} characters.")
    review = properties.get("review") or ""
    if review not in REVIEWS:
        raise _malformed("its review mark is neither done nor doubtful")
    geometry = repaired(geometry_of(feature.get("geometry")))
    check_kind(geometry, class_value)
    width = None if kind_of(geometry.geom_type) == "area" else checked_width(properties.get("width_m"))
    return Label(geojson_of(geometry), class_value, origin, note, width, review)


def check_kind(geometry: BaseGeometry, class_value: int) -> None:
    """A label that says that all is drawn in it has to be an area.

    Raises:
        LabelError: it is a line or a point.
    """
    if class_value == FULLY_LABELLED_VALUE and kind_of(geometry.geom_type) != "area":
        raise LabelError(f"A '{FULLY_LABELLED_NAME}' cannot be a line or a point.", "Draw around it, or give it a class.")


def checked_width(width_m: Any) -> float | None:
    """A width in metres as it may be stored; None stays None.

    Raises:
        LabelError: it is not a number above 0 and up to `MAX_WIDTH_M`.
    """
    if width_m is None:
        return None
    if isinstance(width_m, bool) or not isinstance(width_m, int | float) or not 0 < width_m <= MAX_WIDTH_M:
        raise LabelError(f"{width_m} is not a width for a line.", f"Give metres, above 0 and up to {MAX_WIDTH_M:g}.")
    return float(width_m)


def geometry_of(geojson: Any) -> BaseGeometry:
    """Parse a GeoJSON geometry in longitude and latitude.

    Raises:
        LabelError: it is not a geometry, is empty, is not finite, or lies off the Earth.
    """
    if not isinstance(geojson, Mapping) or kind_of(str(geojson.get("type"))) is None:
        raise LabelError("A label is neither point, line nor area.", "Draw it with one of the tools of the map.")
    try:
        geometry = shapely.force_2d(shapely.from_geojson(json.dumps(geojson, allow_nan=False)))
    except (ValueError, TypeError, RecursionError, shapely.errors.ShapelyError) as error:
        raise LabelError("The shape of a label cannot be read.", "Delete it and draw it again.") from error
    return checked_lonlat(geometry)


def checked_lonlat(geometry: BaseGeometry) -> BaseGeometry:
    """The geometry, when every vertex is a place on Earth.

    Raises:
        LabelError: it is empty, too large, or a vertex is not a longitude and latitude.
    """
    if geometry.is_empty:
        raise LabelError("A label has no vertices.", "Draw it again.")
    vertices = shapely.get_num_coordinates(geometry)
    if vertices > MAX_VERTICES:
        raise LabelError(f"A label has {vertices:,} vertices.", f"Simplify it to at most {MAX_VERTICES:,}, or split it.")
    longitude, latitude = np.abs(shapely.get_coordinates(geometry)).T
    if not (bool((longitude <= 180).all()) and bool((latitude <= 90).all())):  # NaN compares as False
        raise LabelError(
            "A label lies off the map.", "Longitudes go from -180 to 180, latitudes from -90 to 90: move the map back and draw it again."
        )
    return geometry


def repaired(geometry: BaseGeometry) -> BaseGeometry:
    """A valid geometry of the same kind, its vertices rounded to `DECIMALS`.

    A valid geometry keeps its vertices in their order; rings that cross themselves are split (`shapely.make_valid`), vertices
    repeated along a line are dropped.

    Raises:
        LabelError: nothing of its kind is left (an area without extent, a line of one place).
    """
    kind = _KINDS[geometry.geom_type]
    geometry = shapely.transform(geometry, lambda coordinates: np.round(coordinates, DECIMALS))
    if kind == "line":
        geometry = shapely.remove_repeated_points(geometry)
    if kind == "area" and not geometry.is_valid:
        geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    if kind == "point":
        return geometry
    single, multiple = _PARTS[kind]
    parts = [p for p in _simple_parts(geometry) if p.geom_type == single and (p.length > 0 if kind == "line" else p.area > 0)]
    if not parts:
        what = "A line has no length." if kind == "line" else "An area has no extent."
        raise LabelError(what, "Place its vertices further apart.")
    return parts[0] if len(parts) == 1 else multiple(parts)


def _simple_parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [part for inner in geometry.geoms for part in _simple_parts(inner)]


def geojson_of(geometry: BaseGeometry) -> dict[str, Any]:
    """The geometry as a GeoJSON object of plain lists."""
    return dict(json.loads(json.dumps(mapping(geometry))))


def _malformed(why: str) -> LabelError:
    return LabelError(
        f"An edit could not be understood: {why}.", "Reload the page; if it happens again, delete that label and draw it anew."
    )
