"""LabelSet: the table of labels every stage agrees on, and the GeoPackage it is kept in for other programs.

A label set is a GeoDataFrame in EPSG:4326 (longitude, latitude) with one row an object and the columns

    object_id    str      unique
    class_value  int64    1..255, a value of the class schema; 0 for a fully labelled area
    width_m      float64  full width of a line, diameter of a point, in metres; NaN when it has none of its own, and for areas
    origin       str      "drawn", "imported", or by the magic wand "sam", "smart-select"
    note         str      free text, may be empty
    review       str      "done" or "doubtful" when somebody looked at it again and said so, else empty
    created      str      UTC, ISO 8601
    changed      str      UTC, ISO 8601
    geometry     Point, LineString, Polygon or their Multi kinds; valid, not empty

in the order in which the objects were made: where they overlap, the class schema decides, then the later one.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from errors import LabelFileError
from labeling.draw import kind_of
from labeling.journal import Changes, open_journal
from workspace.classes import FULLY_LABELLED_COLOUR, FULLY_LABELLED_NAME, FULLY_LABELLED_VALUE, ClassSchema, rgb_of
from workspace.files import disk_full_explained, replaced_on_success
from workspace.layer_styles import add_layer_styles, layer_style

CRS = "EPSG:4326"
ATTRIBUTES = ("object_id", "class_value", "width_m", "origin", "note", "review", "created", "changed")
LAYERS = {"area": "label_polygons", "line": "label_lines", "point": "label_points"}
_ARCGIS_NAMES = {"class_value": "Classvalue", "width_m": "WIDTH_M"}
_DTYPES = {"class_value": "int64", "width_m": "float64"}
_MULTI = {"area": "MultiPolygon", "line": "MultiLineString", "point": "MultiPoint"}
_REMOVED = ("(removed class)", "#888888")
_GEOD = Geod(ellps="WGS84")


def label_set(rows: Iterable[Mapping[str, Any]] = ()) -> gpd.GeoDataFrame:
    """A label set of rows with the keys `ATTRIBUTES` and `geometry`; `width_m` may be None or missing, `review` missing."""
    rows = [{"width_m": None, "review": "", **row} for row in rows]
    data: dict[str, Any] = {name: pd.Series([row[name] for row in rows], dtype=_DTYPES.get(name, object)) for name in ATTRIBUTES}
    return gpd.GeoDataFrame(data, geometry=gpd.GeoSeries([row["geometry"] for row in rows], crs=CRS), crs=CRS)


def current_labels(journal_file: Path) -> gpd.GeoDataFrame:
    """The project's labels as they are now. A project without a journal has none."""
    if not journal_file.exists():
        return label_set()
    return _known(journal_file).now()


class _Known:
    """A journal's labels as they were last read: reading again takes what has changed since."""

    def __init__(self, journal_file: Path) -> None:
        self._journal = open_journal(journal_file)
        self._lock = threading.Lock()
        self._journal_id = ""
        self._revision = -1
        self._rows: dict[str, dict[str, Any]] = {}
        self._labels = label_set()

    def now(self) -> gpd.GeoDataFrame:
        with self._lock:
            journal_id = self._journal.id
            if journal_id != self._journal_id or not self._take(self._journal.changes(self._revision)):
                changes = self._journal.changes()
                self._rows = dict(_rows(changes.features))
                self._settle(changes.revision)
            self._journal_id = journal_id
            return self._labels.copy()

    def _take(self, changes: Changes) -> bool:
        """Take in what has changed; False where it cannot be told from that (a label is back in its old place in the order, a
        journal went back).
        """
        if changes.revision < self._revision:
            return False
        if changes.revision == self._revision:
            return True
        rows = list(_rows(changes.features))
        if any(object_id not in self._rows and row["created"] != row["changed"] for object_id, row in rows):
            return False
        for object_id in changes.deleted:
            self._rows.pop(object_id, None)
        self._rows.update(rows)
        self._settle(changes.revision)
        return True

    def _settle(self, revision: int) -> None:
        self._revision, self._labels = revision, label_set(self._rows.values())


@lru_cache(maxsize=8)
def _known(journal_file: Path) -> _Known:
    return _Known(journal_file)


def _rows(features: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    geometries = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
    for feature, geometry in zip(features, geometries, strict=True):
        yield feature["id"], {"object_id": feature["id"], **feature["properties"], "geometry": geometry}


def kinds(labels: gpd.GeoDataFrame) -> pd.Series:
    """What each label is: area, line or point."""
    return labels.geometry.geom_type.map(kind_of)


def sizes(labels: gpd.GeoDataFrame) -> pd.Series:
    """Geodesic length in metres of each line, area in square metres of each area, 0 for points (WGS 84 ellipsoid)."""
    return pd.Series([_size(geometry) for geometry in labels.geometry], index=labels.index, dtype="float64")


def _size(geometry: shapely.Geometry) -> float:
    kind = kind_of(geometry.geom_type)
    if kind == "line":
        return float(_GEOD.geometry_length(geometry))
    return abs(float(_GEOD.geometry_area_perimeter(geometry)[0])) if kind == "area" else 0.0


def outside(labels: gpd.GeoDataFrame, footprints: Sequence[shapely.Geometry]) -> NDArray[np.bool_]:
    """For each label whether it touches none of the footprints (polygons in EPSG:4326)."""
    if not len(labels):
        return np.zeros(0, dtype=bool)
    if not footprints:
        return np.ones(len(labels), dtype=bool)
    hit = shapely.STRtree(list(footprints)).query(labels.geometry.to_numpy(), predicate="intersects")[0]
    touched = np.zeros(len(labels), dtype=bool)
    touched[hit] = True
    return ~touched


def with_arcgis_fields(labels: gpd.GeoDataFrame, schema: ClassSchema) -> gpd.GeoDataFrame:
    """The labels as ArcGIS training samples: Classname, Classvalue, RED, GREEN, BLUE before our own columns, width_m as WIDTH_M."""
    known = {value: (name, colour) for value, name, colour in legend("area", schema)}
    of = [known.get(int(value), _REMOVED) for value in labels["class_value"]]
    table: dict[str, Any] = {
        "Classname": pd.Series([name for name, _ in of], dtype=object),
        "Classvalue": labels["class_value"].to_numpy(dtype="int32"),
        **{band: np.array([rgb_of(colour)[i] for _, colour in of], dtype="int32") for i, band in enumerate(("RED", "GREEN", "BLUE"))},
        **{_ARCGIS_NAMES.get(name, name): labels[name].to_numpy() for name in ATTRIBUTES if name != "class_value"},
    }
    return gpd.GeoDataFrame(table, geometry=labels.geometry.to_numpy(), crs=CRS)


def legend(kind: str, schema: ClassSchema) -> list[tuple[int, str, str]]:
    """Value, name and colour of what labels of a kind ("area", "line", "point") may be, in drawing order."""
    lowest = [(FULLY_LABELLED_VALUE, FULLY_LABELLED_NAME, FULLY_LABELLED_COLOUR)] if kind == "area" else []
    return lowest + [(c.value, c.name, c.colour) for c in schema.classes]


def write_geopackage(labels: gpd.GeoDataFrame, schema: ClassSchema, path: Path) -> None:
    """Write the three layers `LAYERS` (each present even when empty) with ArcGIS training-sample fields and QGIS styles.

    Raises:
        DiskFullError: nothing was changed.
    """
    table, kind = with_arcgis_fields(labels, schema), kinds(labels).to_numpy()
    with replaced_on_success(path) as temporary:
        for name, layer in LAYERS.items():
            part = table[kind == name]
            pyogrio.write_dataframe(part, temporary, layer=layer, driver="GPKG", geometry_type=_MULTI[name], promote_to_multi=True)
        with disk_full_explained(path), contextlib.closing(sqlite3.connect(temporary)) as connection, connection:
            _add_styles(connection, schema)


def read_geopackage(path: Path) -> gpd.GeoDataFrame:
    """The labels of a GeoPackage made by `write_geopackage`.

    Raises:
        LabelFileError: it is not one.
    """
    try:
        parts = [pyogrio.read_dataframe(path, layer=layer) for layer in LAYERS.values()]
        table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        table = table.rename(columns={there: name for name, there in _ARCGIS_NAMES.items()})
        for name, nothing in (("width_m", np.nan), ("review", "")):  # written before these were kept
            if name not in table:
                table[name] = nothing
        table = table.fillna({"note": "", "review": ""})
        rows = table[list(ATTRIBUTES)].to_dict("records")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, KeyError) as error:
        raise LabelFileError(f"{path.name} does not hold Terratune labels.", "Import it as a vector file instead.") from error
    ordered = label_set({**row, "geometry": _single(geometry)} for row, geometry in zip(rows, table.geometry, strict=True))
    return ordered.sort_values(["created", "object_id"], ignore_index=True)


def _single(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = shapely.get_parts(geometry)
    return parts[0] if len(parts) == 1 else geometry


def _add_styles(connection: sqlite3.Connection, schema: ClassSchema) -> None:
    add_layer_styles(connection, {layer: style_qml(kind, schema) for kind, layer in LAYERS.items()})


def style_qml(kind: str, schema: ClassSchema) -> str:
    """A QGIS layer style (QML): one symbol a class, by Classvalue. `kind` is "area", "line" or "point"."""
    return layer_style(kind, legend(kind, schema), hollow=FULLY_LABELLED_VALUE)
