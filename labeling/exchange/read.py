"""From a file to labels: read it, place it, give each row its class, mend what can be mended, say what became of the rest."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from errors import LabelError, LabelFileError
from imagery.grid import Grid
from labeling.draw import MAX_WIDTH_M, check_kind, checked_lonlat, kind_of, repaired
from labeling.exchange import report as said
from labeling.exchange.annotations import read_coco, read_voc
from labeling.exchange.files import SHAPEFILE_PARTS, Source, sources
from labeling.exchange.layers import CLASS_FIELDS, NOTHING, WIDTH_FIELDS, Layer, VectorFile, distinct, recognised
from labeling.exchange.mapping import class_field_of, classes_of, fully_labelled_values, name_field
from labeling.exchange.place import Placed, placed, stated_crs
from labeling.exchange.report import ImportReport, why_nothing
from labeling.exchange.tables import read_table
from labeling.exchange.vectors import explained, quiet, read_vectors
from labeling.label_set import label_set, outside
from workspace.classes import ClassSchema


@dataclass(frozen=True)
class FileFacts:
    """What a person needs to know to import a file."""

    features: int
    crs: str | None
    """Name of the CRS that the file states; None when it states none."""
    fields: dict[str, list[str]] = field(default_factory=dict)
    """For each attribute its distinct values as text (at most `MAX_VALUES_SHOWN`), `NOTHING` among them for features without one."""
    class_field: str | None = None
    """The attribute that looks like the class; None when none does."""


def read_file(paths: Path | Sequence[Path]) -> VectorFile:
    """Everything that is in a file, or in several that were chosen together (the parts of a shapefile, many VOC files).

    Raises:
        LabelFileError: it cannot be read as vector data.
    """
    chosen = [paths] if isinstance(paths, Path) else list(paths)
    name = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} files"
    has_shapefile = any(path.suffix.lower() == ".shp" for path in chosen)
    main = [path for path in chosen if not (has_shapefile and path.suffix.lower() in SHAPEFILE_PARTS[1:])]
    with tempfile.TemporaryDirectory() as folder, quiet(), explained(name):
        found = [source for i, path in enumerate(main) for source in sources(path, Path(folder) / str(i))]
        layers = list(_layers(found, name))
    if not layers:
        raise LabelFileError(f"{name} holds no shapes.", "Choose a file with points, lines or areas in it.")
    file = VectorFile(name, tuple(layers))
    if not file.features:
        raise LabelFileError(f"{name} is empty.", "Choose a file with at least one shape.")
    return file


def _layers(found: Iterable[Source], name: str) -> Iterator[Layer]:
    annotations = []
    for source in found:
        if source.kind == "voc":
            annotations.append(source.path)
        elif source.kind == "coco":
            yield read_coco(source.path)
        elif source.kind == "csv":
            yield read_table(source.path)
        else:
            yield from read_vectors(source)
    if annotations:
        yield read_voc(annotations, name if len(annotations) > 1 else annotations[0].stem)


def inspect_file(path: Path) -> FileFacts:
    """Look at a vector file before importing it.

    Raises:
        LabelFileError: it cannot be read as vector data.
    """
    file = read_file(path)
    values = {name: distinct(file.values(name)) for name in file.fields}
    return FileFacts(file.features, stated_crs(file), values, recognised(file.fields, CLASS_FIELDS))


def read_labels(
    path: Path,
    *,
    class_field: str | None,
    value_map: Mapping[str, int | None] | None = None,
    schema: ClassSchema,
    crs: str | None = None,
    scenes: Mapping[str, Grid] | None = None,
) -> gpd.GeoDataFrame:
    """Read a vector file as labels.

    Args:
        path: GeoJSON, GeoPackage, Shapefile (.shp, or zipped), FlatGeobuf, KML, KMZ, GML, TopoJSON, EsriJSON, file geodatabase (folder
            or zipped), CSV, PASCAL VOC or COCO; all its layers are read.
        class_field: Attribute that tells the class, by name or by value, whatever its case; None: the first of `CLASS_FIELDS` there is.
        value_map: Value of that attribute (as text; `NOTHING` for none) -> class value, or None to leave those features out. Values not
            in it must be a class value or name of the schema. What is named a fully labelled area is one whatever the map says.
        schema: Classes that exist.
        crs: CRS of the coordinates where the file states none ("EPSG:26911").
        scenes: Pictures by name, for files in pixels (VOC, COCO, CSV with a picture's name).

    Returns:
        A label set (see `labeling.label_set`), origin "imported", multi-part shapes taken apart, shapes mended; `width_m` of lines and
        points from the first of `WIDTH_FIELDS` that the file has; `attrs["report"]` is an `ImportReport`.

    Raises:
        LabelFileError: the file cannot be read, its place is unknown, or nothing in it can be a label.
        UnknownClassError: a value means no class.
    """
    file = read_file(path)
    return labels_in(file, class_field_of(file, class_field), value_map or {}, schema, crs, scenes)


def labels_in(
    file: VectorFile,
    class_field: str | None,
    value_map: Mapping[str, int | None],
    schema: ClassSchema,
    crs: str | None = None,
    scenes: Mapping[str, Grid] | None = None,
) -> gpd.GeoDataFrame:
    """As `read_labels`, of a file that was read. `class_field`: one of its fields; None: all rows have the value `NOTHING`."""
    rows = placed(file, crs, scenes=scenes)
    return labels_of(rows, class_field, {**value_map, **_areas(rows, class_field)}, schema)


def _areas(rows: Placed, class_field: str | None) -> dict[str, int | None]:
    if class_field is None:
        return {}
    names = name_field([str(name) for name in rows.attributes.columns], class_field)
    return fully_labelled_values(rows.attributes[class_field].tolist(), rows.attributes[names].tolist() if names else None)


def labels_of(
    rows: Placed,
    class_field: str | None,
    value_map: Mapping[str, int | None],
    schema: ClassSchema,
    *,
    within: Sequence[shapely.Geometry] | None = None,
    existing: gpd.GeoDataFrame | None = None,
) -> gpd.GeoDataFrame:
    """The labels that placed rows make.

    Args:
        rows: From `placed`.
        class_field: A field of the file; None: all rows have the value `NOTHING`.
        value_map: See `read_labels`.
        schema: Classes that exist.
        within: Outlines of imagery in EPSG:4326; rows that touch none of them are left out. None: all stay.
        existing: Labels that are there already; rows of the same shape and class are left out.

    Returns:
        As `read_labels`.

    Raises:
        LabelFileError: nothing can be a label.
        UnknownClassError: a value means no class.
    """
    values = rows.attributes[class_field].tolist() if class_field else [NOTHING] * len(rows.rows)
    classes = classes_of(values, value_map, schema, rows.name)
    report = ImportReport(rows=len(rows.rows))
    for what, positions in rows.changed.items():
        for i in positions:
            report.change(what, rows.rows[i])
    made = _Made(report, existing)
    beyond = outside_imagery(rows, within) if within is not None else np.zeros(len(values), dtype=bool)
    for i, (value, width) in enumerate(zip(values, _widths(rows, report), strict=True)):
        class_value = classes[value]
        if class_value is None:
            report.leave_out(said.UNCHOSEN, rows.rows[i])
        elif i in rows.unplaced:
            report.leave_out(rows.unplaced[i], rows.rows[i])
        elif beyond[i]:
            report.leave_out(said.OUTSIDE, rows.rows[i])
        else:
            made.take(rows.shapes[i], class_value, width, rows.rows[i])
    report.settle()
    if not made.rows:
        raise LabelFileError(f"{rows.name} holds nothing that can be a label.", why_nothing(report))
    labels = label_set(made.rows)
    report.imported = len(labels)
    labels.attrs["report"] = report
    return labels


def outside_imagery(rows: Placed, footprints: Sequence[shapely.Geometry]) -> np.ndarray:
    """For each row whether it has a shape that touches none of the footprints (EPSG:4326)."""
    there = ~(shapely.is_missing(rows.shapes) | shapely.is_empty(rows.shapes))
    result = np.zeros(len(rows.shapes), dtype=bool)
    result[there] = outside(gpd.GeoDataFrame(geometry=gpd.GeoSeries(rows.shapes[there], crs="EPSG:4326")), footprints)
    return result


class _Made:
    """Rows of the label set to be, and the shapes that are among them."""

    def __init__(self, report: ImportReport, existing: gpd.GeoDataFrame | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._report = report
        self._now = pd.Timestamp.now(tz="UTC").isoformat(timespec="milliseconds")
        self._seen: set[tuple[int, bytes]] = set()
        known = () if existing is None else zip(existing["class_value"], existing.geometry, strict=True)
        self._known = {_key(int(class_value), shape) for class_value, shape in known}

    def take(self, geometry: BaseGeometry | None, class_value: int, width: float | None, row: said.Row) -> None:
        """Make labels of one row, or note why it makes none."""
        if geometry is None or geometry.is_empty:
            self._report.leave_out(said.SHAPELESS, row)
            return
        parts = _single_parts(geometry)
        why, kept = "", 0
        for part in parts:
            try:
                shape = self._usable(part, row)
                check_kind(shape, class_value)
            except LabelError as error:
                why = error.fact.rstrip(".")
                why = why[0].lower() + why[1:]
                continue
            key = _key(class_value, shape)
            if key in self._seen or key in self._known:
                why = said.TWICE if key in self._seen else said.KNOWN
                continue
            self._seen.add(key)
            self.rows.append(self._row(shape, class_value, width))
            kept += 1
        if not kept:
            self._report.leave_out(why, row)
        elif len(parts) > 1:
            self._report.change(said.APART if kept == len(parts) else said.PARTS, row)

    def _usable(self, shape: BaseGeometry, row: said.Row) -> BaseGeometry:
        """The shape fit to be a label.

        Raises:
            LabelError: it cannot be one; the fact says why.
        """
        if shape.is_empty:
            raise LabelError(said.SHAPELESS)
        if kind_of(shape.geom_type) is None:
            raise LabelError(said.WRONG_KIND)
        if np.isnan(shapely.get_coordinates(shape)).any():
            raise LabelError(said.NO_NUMBERS)
        mended = repaired(checked_lonlat(shape))
        if not shape.is_valid:
            self._report.change(said.MENDED, row)
        return mended

    def _row(self, shape: BaseGeometry, class_value: int, width: float | None) -> dict[str, Any]:
        about = {"origin": "imported", "note": "", "created": self._now, "changed": self._now}
        own_width = None if kind_of(shape.geom_type) == "area" else width
        return {"object_id": uuid.uuid4().hex, "class_value": class_value, "width_m": own_width, **about, "geometry": shape}


def _key(class_value: int, shape: BaseGeometry) -> tuple[int, bytes]:
    return class_value, shapely.to_wkb(shapely.normalize(shape))


def _single_parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [part for inner in geometry.geoms for part in _single_parts(inner)]


def _widths(rows: Placed, report: ImportReport) -> list[float | None]:
    """Each row's width in metres; None where the file has none that can be one."""
    column = recognised([str(name) for name in rows.attributes.columns], WIDTH_FIELDS)
    if column is None:
        return [None] * len(rows.rows)
    widths = np.asarray(pd.to_numeric(rows.attributes[column], errors="coerce"), dtype=float)
    usable = (widths > 0) & (widths <= MAX_WIDTH_M)
    for i in np.flatnonzero(~usable & ~np.isnan(widths) & (widths != 0)):
        report.change(said.NO_WIDTH, rows.rows[i])
    return [float(width) if good else None for width, good in zip(widths, usable, strict=True)]


