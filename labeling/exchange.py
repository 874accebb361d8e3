"""Vector files in and out: GeoJSON, GeoPackage, Shapefile (zipped too), FlatGeobuf, KML, in any CRS.

Reading never trusts the file: its kind is told by its first bytes, so that no other driver gets to see it, and whatever is
wrong with it ends in a `LabelFileError` that says what to do.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import shapely
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry.base import BaseGeometry

from errors import LabelError, LabelFileError, UnknownClassError
from labeling.draw import MAX_WIDTH_M, checked_lonlat, kind_of, repaired
from labeling.label_set import CRS, LAYERS, kinds, label_set, with_arcgis_fields, write_geopackage
from workspace.classes import ClassSchema
from workspace.files import disk_full_explained, replaced_on_success

Format = Literal["GeoJSON", "GeoPackage", "Shapefile"]
SUFFIXES: dict[Format, str] = {"GeoJSON": ".geojson", "GeoPackage": ".gpkg", "Shapefile": ".zip"}
READABLE = (".geojson", ".json", ".gpkg", ".zip", ".shp", ".fgb", ".kml")
CLASS_FIELDS = ("classvalue", "class_value", "value", "classname", "class_name", "class", "label", "name")
"""Recognised as the class field, whatever their case, the first that is there."""
WIDTH_FIELDS = ("width_m", "width")
"""Recognised as the width in metres, whatever their case, the first that is there."""
NOTHING = ""
"""What an empty class attribute, or none at all, is called in a value map."""

MAX_FEATURES = 200_000
MAX_BYTES = 1024**3
MAX_VALUES_SHOWN = 200
_MAX_ZIP_RATIO = 200
_SHAPEFILE_PARTS = {".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".sbn", ".sbx"}
_GEOJSON_TYPES = {
    "FeatureCollection",
    "Feature",
    "GeometryCollection",
    "Topology",
    *("Multi" * m + t for m in (0, 1) for t in ("Point", "LineString", "Polygon")),
}
_TROUBLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.FieldError,
    shapely.errors.ShapelyError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    OSError,
)


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


@dataclass
class ImportReport:
    """What happened on the way in."""

    imported: int = 0
    repaired: int = 0
    """Shapes that crossed themselves and were mended."""
    widths_ignored: int = 0
    """Features whose width cannot be one: they get none."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> features that are not among the labels."""

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def sentence(self) -> str:
        """The report in words."""
        parts = [f"{self.imported:,} label{'' if self.imported == 1 else 's'} read"]
        if self.repaired:
            parts.append(f"{self.repaired:,} mended")
        if self.widths_ignored:
            parts.append(f"{self.widths_ignored:,} without their width (it is not between 0 and {MAX_WIDTH_M:g} m)")
        parts += [f"{count:,} left out ({reason})" for reason, count in self.left_out.items()]
        return ", ".join(parts) + "."


def inspect_file(path: Path) -> FileFacts:
    """Look at a vector file before importing it.

    Raises:
        LabelFileError: it cannot be read as vector data.
    """
    table, stated = _read_table(path, None, place_needed=False)
    attributes = table.drop(columns=[table.geometry.name])
    values = {str(name): _distinct(attributes[name]) for name in attributes.columns}
    return FileFacts(len(table), stated, values, _recognised(values))


def suggested_map(values: Iterable[str], schema: ClassSchema) -> dict[str, int | None]:
    """For each value of the class field the class it most likely means; None where nothing fits."""
    return {value: _class_of(value, {}, schema) or _similar(value, schema) for value in values}


def read_labels(
    path: Path,
    *,
    class_field: str | None,
    value_map: Mapping[str, int | None] | None = None,
    schema: ClassSchema,
    crs: str | None = None,
) -> gpd.GeoDataFrame:
    """Read a vector file as labels.

    Args:
        path: GeoJSON, GeoPackage, Shapefile (.shp, or zipped), FlatGeobuf or KML; all its layers are read.
        class_field: Attribute that tells the class, by name or by value, whatever its case; None: the first of `CLASS_FIELDS` there is.
        value_map: Value of that attribute (as text; `NOTHING` for none) -> class value, or None to leave those features out. Values not
            in it must be a class value or name of the schema.
        schema: Classes that exist.
        crs: CRS of the coordinates where the file states none ("EPSG:26911").

    Returns:
        A label set (see `labeling.label_set`), origin "imported", multi-part shapes taken apart, shapes mended; `width_m` of lines and
        points from the first of `WIDTH_FIELDS` that the file has; `attrs["report"]` is an `ImportReport`.

    Raises:
        LabelFileError: the file cannot be read, its place is unknown, or nothing in it can be a label.
        UnknownClassError: a value means no class.
    """
    table, _ = _read_table(path, crs, place_needed=True)
    column = _class_column(table, class_field, path)
    values = [NOTHING] * len(table) if column is None else [_text(value) for value in table[column]]
    classes = _classes(values, value_map or {}, schema, path)
    report = ImportReport()
    rows = list(_rows(table.geometry.to_numpy(), values, classes, _widths(table, report), report))
    if not rows:
        raise LabelFileError(f"{path.name} holds nothing that can be a label.", _why_nothing(report))
    labels = label_set(rows)
    report.imported = len(labels)
    labels.attrs["report"] = report
    return labels


def write_labels(labels: gpd.GeoDataFrame, schema: ClassSchema, path: Path, file_format: Format) -> None:
    """Write labels with the ArcGIS training-sample fields and their width (WIDTH_M), in EPSG:4326.

    Args:
        labels: A label set.
        schema: Gives names and colours.
        path: Replaced when everything is written.
        file_format: "Shapefile" is a .zip with one shapefile for each kind of shape.

    Raises:
        DiskFullError: nothing was changed.
    """
    if file_format == "GeoPackage":
        write_geopackage(labels, schema, path)
    elif file_format == "GeoJSON":
        table = with_arcgis_fields(labels, schema)
        with replaced_on_success(path) as temporary, _drivers_quiet():
            pyogrio.write_dataframe(table, temporary, driver="GeoJSON", layer="labels", RFC7946="YES", COORDINATE_PRECISION=9)
    else:
        _write_shapefiles(with_arcgis_fields(labels, schema), kinds(labels), path)


def _write_shapefiles(table: gpd.GeoDataFrame, kind: pd.Series, path: Path) -> None:
    with replaced_on_success(path) as temporary, tempfile.TemporaryDirectory(dir=path.parent) as folder, disk_full_explained(path):
        for name, layer in LAYERS.items():
            part = table[kind.to_numpy() == name]
            if len(part):
                pyogrio.write_dataframe(part, Path(folder) / f"{layer}.shp", driver="ESRI Shapefile", encoding="UTF-8")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)


# --- what is in the file ---------------------------------------------------------------------------------------------------------------


def _read_table(path: Path, crs: str | None, *, place_needed: bool) -> tuple[gpd.GeoDataFrame, str | None]:
    """All layers of a file as one table, in EPSG:4326 when its place is needed; and the CRS that it states."""
    _check_kind(path)
    given = _parsed_crs(crs)
    parts, stated = [], None
    with _drivers_quiet(), _as_label_file_error(path):
        for source, layer in _layers(path):
            info = pyogrio.read_info(source, layer=layer)
            if info["features"] > MAX_FEATURES:
                raise LabelFileError(f"{path.name} holds {info['features']:,} features.", f"Import at most {MAX_FEATURES:,} at once.")
            part = pyogrio.read_dataframe(source, layer=layer, on_invalid="fix", datetime_as_string=True)
            if not isinstance(part, gpd.GeoDataFrame):
                continue
            its_own = part.crs if _states_crs(path, source) else None
            stated = stated or (its_own.name if its_own is not None else None)
            parts.append(_in_lonlat(part, its_own or given or part.crs, path) if place_needed else part.set_crs(None, allow_override=True))
    if not parts:
        raise LabelFileError(f"{path.name} holds no shapes.", "Choose a file with points, lines or areas in it.")
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    if not len(table):
        raise LabelFileError(f"{path.name} is empty.", "Choose a file with at least one shape.")
    return table, stated


def _layers(path: Path) -> Iterator[tuple[str, str | None]]:
    for source in _sources(path):
        for name, geometry_type in pyogrio.list_layers(source):
            if geometry_type is not None:
                yield source, name


def _sources(path: Path) -> list[str]:
    if path.suffix.lower() != ".zip":
        return [str(path)]
    with zipfile.ZipFile(path) as archive:
        inside = [one.filename for one in archive.infolist() if one.filename.lower().endswith(".shp") and "__MACOSX" not in one.filename]
    return [f"/vsizip/{path}/{name}" for name in inside]


def _check_kind(path: Path) -> None:
    """Refuse a file whose first bytes are not what its name says: GDAL would look for a driver by content.

    Raises:
        LabelFileError: it is missing, too large, or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise LabelFileError(f"{path.name} is not a vector file that can be imported.", f"Save it as one of: {', '.join(READABLE)}.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise LabelFileError(f"{path.name} cannot be opened.", "Check that the file exists and may be read.") from error
    if size > MAX_BYTES:
        raise LabelFileError(f"{path.name} is larger than 1 GB.", "Cut it to your area first.")
    right = {
        ".gpkg": head.startswith(b"SQLite format 3\0"),
        ".shp": head.startswith(b"\x00\x00\x27\x0a"),
        ".zip": head.startswith(b"PK"),
        ".fgb": head.startswith(b"fgb"),
        ".kml": b"<kml" in head,
    }.get(suffix, True)
    if not right:
        raise LabelFileError(f"{path.name} is not what its name says.", f"Save it again as {suffix[1:]} from the program it comes from.")
    if suffix in {".json", ".geojson"}:
        _check_json(path)
    if suffix == ".zip":
        _check_zip(path)


def _check_json(path: Path) -> None:
    content = _json(path)
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in _GEOJSON_TYPES and not (isinstance(content, dict) and {"features", "geometryType"} & content.keys()):
        raise LabelFileError(f"{path.name} is JSON, but not GeoJSON.", "Export it again as GeoJSON.")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise LabelFileError(f"{path.name} is damaged: it is not complete, valid JSON.", "Export or copy it again.") from error


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise LabelFileError(f"{path.name} is not a complete ZIP file.", "Zip or copy it again.") from error
    wanted = [one for one in members if Path(one.filename).suffix.lower() in _SHAPEFILE_PARTS]
    if not any(one.filename.lower().endswith(".shp") for one in wanted):
        raise LabelFileError(f"{path.name} holds no shapefile.", "Zip the .shp together with its .shx, .dbf and .prj.")
    if sum(one.file_size for one in wanted) > min(MAX_BYTES, _MAX_ZIP_RATIO * max(1, path.stat().st_size)):
        raise LabelFileError(f"{path.name} unpacks to more than can be read.", "Cut the shapefile to your area first.")


# --- where it lies ---------------------------------------------------------------------------------------------------------------------


def _parsed_crs(crs: str | None) -> pyproj.CRS | None:
    if crs is None:
        return None
    text = crs.strip()
    try:
        return pyproj.CRS.from_user_input(int(text) if text.isdecimal() else text)
    except CRSError as error:
        raise LabelFileError(f"'{crs}' is not a coordinate system.", "Give its EPSG code, for example EPSG:26911.") from error


def _states_crs(path: Path, source: str) -> bool:
    """Whether a file says itself where its coordinates lie. GeoJSON without the old `crs` member means longitude and latitude."""
    if path.suffix.lower() not in {".json", ".geojson"}:
        return True
    content = _json(path)
    return bool(
        content.get("crs")
        or content.get("spatialReference")
        or any("crs" in one for one in _first(content.get("features")) if isinstance(one, dict))
    )


def _first(features: Any) -> Sequence[Any]:
    return features[:1] if isinstance(features, list) else ()


def _in_lonlat(table: gpd.GeoDataFrame, crs: pyproj.CRS | None, path: Path) -> gpd.GeoDataFrame:
    """The table in EPSG:4326, two-dimensional.

    Raises:
        LabelFileError: its CRS is unknown, or its coordinates do not fit it.
    """
    table = table.set_geometry(shapely.force_2d(table.geometry.to_numpy()))
    if crs is None:
        raise LabelFileError(f"{path.name} does not say in which coordinate system it is.", "Give its EPSG code, for example EPSG:26911.")
    if crs.is_geographic and _beyond_degrees(table):
        raise LabelFileError(
            f"The coordinates in {path.name} are not longitudes and latitudes.",
            "Give the EPSG code they were made in, for example EPSG:26911.",
        )
    try:
        return table.set_crs(crs, allow_override=True).to_crs(CRS)
    except (ProjError, CRSError) as error:
        raise LabelFileError(
            f"The coordinate system of {path.name} ({crs.name}) cannot be turned into longitude and latitude.",
            "Reproject the file to EPSG:4326 first.",
        ) from error


def _beyond_degrees(table: gpd.GeoDataFrame) -> bool:
    coordinates = shapely.get_coordinates(table.geometry.to_numpy())
    coordinates = coordinates[np.isfinite(coordinates).all(axis=1)]
    return bool(len(coordinates) and (np.abs(coordinates).max(axis=0) > [360.5, 90.5]).any())


# --- which class ------------------------------------------------------------------------------------------------------------------------


def _recognised(names: Iterable[str]) -> str | None:
    folded = {name.casefold(): name for name in reversed(list(names))}
    return next((folded[wanted] for wanted in CLASS_FIELDS if wanted in folded), None)


def _class_column(table: gpd.GeoDataFrame, class_field: str | None, path: Path) -> str | None:
    names = [str(name) for name in table.columns if name != table.geometry.name]
    if class_field is None:
        return _recognised(names)
    found = next((n for n in names if n == class_field), None) or next((n for n in names if n.casefold() == class_field.casefold()), None)
    if found is None:
        there = ", ".join(names) or "none"
        raise LabelFileError(f"{path.name} has no field '{class_field}'.", f"Its fields: {there}. Choose one of them.")
    return found


def _text(value: Any) -> str:
    """An attribute as text: 1.0 and 1 are the same, None and NaN are `NOTHING`."""
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return NOTHING
        return str(int(value)) if float(value).is_integer() else str(value)
    if isinstance(value, list | tuple | dict | np.ndarray | bytes):
        return str(value)
    return NOTHING if value is None or value is pd.NA or value is pd.NaT else str(value).strip()


def _distinct(column: pd.Series) -> list[str]:
    seen = dict.fromkeys(_text(value) for value in column)
    return list(seen)[:MAX_VALUES_SHOWN]


def _classes(values: Sequence[str], value_map: Mapping[str, int | None], schema: ClassSchema, path: Path) -> dict[str, int | None]:
    """Each value's class.

    Raises:
        UnknownClassError: a value means none; all such values are named.
    """
    meaning: dict[str, int | None] = {}
    unknown = []
    for value in dict.fromkeys(values):
        found = _class_of(value, value_map, schema)
        if found is None and value not in value_map:
            unknown.append(value or "(empty)")
        meaning[value] = found
    if unknown:
        shown = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        known = ", ".join(f"{c.value} ({c.name})" for c in schema.classes) or "none"
        raise UnknownClassError(
            f"{path.name} has class values that mean no class here: {shown}.", f"Map each to a class or leave it out. Classes: {known}."
        )
    return meaning


def _class_of(value: str, value_map: Mapping[str, int | None], schema: ClassSchema) -> int | None:
    """By the map, else by class value, else by class name; None when left out or unknown."""
    if value in value_map:
        mapped = value_map[value]
        return None if mapped is None else schema.by_value(mapped).value
    if re.fullmatch(r"\d{1,3}(\.0+)?", value):
        number = int(float(value))
        if any(c.value == number for c in schema.classes):
            return number
    named = schema.by_name(value) if value else None
    return named.value if named else None


def _similar(value: str, schema: ClassSchema) -> int | None:
    """The one class whose name shares a whole word with the value: 'unpaved' -> 'Unpaved road'."""
    words = set(re.findall(r"\w+", value.casefold()))
    fitting = [c.value for c in schema.classes if words & set(re.findall(r"\w+", c.name.casefold()))]
    return fitting[0] if len(fitting) == 1 else None


# --- how wide ---------------------------------------------------------------------------------------------------------------------------


def _widths(table: gpd.GeoDataFrame, report: ImportReport) -> list[float | None]:
    """Each feature's width in metres; None where the file has none that can be one."""
    folded = {str(name).casefold(): name for name in reversed(list(table.columns)) if name != table.geometry.name}
    column = next((folded[name] for name in WIDTH_FIELDS if name in folded), None)
    if column is None:
        return [None] * len(table)
    widths = np.asarray(pd.to_numeric(table[column], errors="coerce"), dtype=float)
    usable = (widths > 0) & (widths <= MAX_WIDTH_M)
    report.widths_ignored = int((~usable & ~np.isnan(widths) & (widths != 0)).sum())
    return [float(width) if good else None for width, good in zip(widths, usable, strict=True)]


# --- shapes to labels -------------------------------------------------------------------------------------------------------------------


def _rows(
    geometries: Iterable[BaseGeometry | None],
    values: Sequence[str],
    classes: Mapping[str, int | None],
    widths: Sequence[float | None],
    report: ImportReport,
) -> Iterator[dict[str, Any]]:
    for geometry, value, width in zip(geometries, values, widths, strict=True):
        class_value = classes[value]
        if class_value is None:
            report.leave_out("their class is left out")
        elif geometry is None or geometry.is_empty:
            report.leave_out("without a shape")
        else:
            for part in _single_parts(geometry):
                shape = _usable(part, report)
                if shape is not None:
                    yield _row(shape, class_value, width)


def _single_parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [part for inner in geometry.geoms for part in _single_parts(inner)]


def _usable(shape: BaseGeometry, report: ImportReport) -> BaseGeometry | None:
    """The shape fit to be a label; None when it cannot be one, which the report then says."""
    if shape.is_empty or kind_of(shape.geom_type) is None:
        report.leave_out("not a point, line or area")
        return None
    try:
        mended = repaired(checked_lonlat(shape))
    except LabelError as error:
        report.leave_out(error.fact.rstrip(".").lower())
        return None
    if not shape.is_valid:
        report.repaired += 1
    return mended


def _row(shape: BaseGeometry, class_value: int, width: float | None) -> dict[str, Any]:
    now = pd.Timestamp.now(tz="UTC").isoformat(timespec="milliseconds")
    about = {"origin": "imported", "note": "", "created": now, "changed": now}
    own_width = None if kind_of(shape.geom_type) == "area" else width
    return {"object_id": uuid.uuid4().hex, "class_value": class_value, "width_m": own_width, **about, "geometry": shape}


def _why_nothing(report: ImportReport) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.left_out.items())
    return f"Left out: {reasons}. Choose another file, or map its values to classes."


# --- GDAL's manners ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _drivers_quiet() -> Iterator[None]:
    """GDAL's remarks on odd files are not for the log: what matters ends as an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_label_file_error(path: Path) -> Iterator[None]:
    try:
        yield
    except LabelError:
        raise
    except _TROUBLE as error:
        said = " ".join(str(error).split())[:160]
        raise LabelFileError(
            f"{path.name} cannot be read ({said}).", "Open it in the program it comes from and save it again, as GeoJSON or GeoPackage."
        ) from error
