"""GDAL's vector formats, raw: shapes as they are in the file, attributes as text, what had to be done to a shape noted."""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError

from errors import LabelError, LabelFileError
from labeling.exchange.files import Kind, Source
from labeling.exchange.layers import MAX_FEATURES, Layer, text_table
from labeling.exchange.report import BROKEN, CLOSED, FLAT, FOOTPRINT, LINEAR

_TROUBLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.FieldError,
    pyogrio.errors.CRSError,
    shapely.errors.ShapelyError,
    CRSError,
    struct.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    OSError,
)
_FOLDERS = re.compile(r"/(?:[^\s/:]+/)+")
_OPEN_OPTIONS: dict[Kind, dict[str, str]] = {"gml": {"DOWNLOAD_SCHEMA": "NO", "WRITE_GFS": "NO"}}
_EXACT: set[Kind] = {"gpkg", "shp", "fgb", "gdb", "gml"}
"""Formats whose shapes may have curves, measures or 3D surfaces."""
_CURVES = {8, 9, 10, 11, 12, 13, 14}
_SURFACES = {15, 16, 17}
_PLAIN = {15: 6, 16: 6, 17: 3}
"""Polyhedral surface, TIN, triangle: laid out in WKB as multi-polygon, multi-polygon, polygon."""


def read_vectors(source: Source) -> list[Layer]:
    """The layers with shapes of one file.

    Raises:
        LabelFileError: GDAL cannot read it.
    """
    layers = []
    with quiet(), explained(source.path.name):
        for name, geometry_type in pyogrio.list_layers(source.path):
            if geometry_type is not None:
                layer = _layer(source, str(name))
                if layer is not None:
                    layers.append(layer)
    return layers


def _layer(source: Source, name: str) -> Layer | None:
    options = _OPEN_OPTIONS.get(source.kind, {})
    info = pyogrio.read_info(source.path, layer=name, **options)
    if info["features"] > MAX_FEATURES:
        raise LabelFileError(f"{source.path.name} holds {info['features']:,} features.", f"Import at most {MAX_FEATURES:,} at once.")
    columns = [str(field) for field, kind in zip(info["fields"], info["ogr_types"], strict=True) if not str(kind).endswith("List")]
    _, _, wkb, values = pyogrio.raw.read(
        source.path, layer=name, columns=columns, datetime_as_string=True, max_features=MAX_FEATURES + 1, **options
    )
    if wkb is None:
        return None
    if len(wkb) > MAX_FEATURES:
        raise LabelFileError(f"{source.path.name} holds more than {MAX_FEATURES:,} features.", "Cut it to your area first.")
    shapes, notes = _shapes(wkb, _types(source, name, options, len(wkb)))
    stated = _known(info["crs"])
    by_name = dict(zip(columns, values, strict=True))
    states = source.states_crs and stated is not None
    return Layer(
        name=name,
        table=text_table(by_name, shapes),
        crs=stated if states else None,
        assumed="EPSG:4326" if not source.states_crs and source.kind in {"geojson", "topojson"} else None,
        notes=notes,
    )


def _known(crs: str | None) -> str | None:
    """The CRS a file states, when it means anything."""
    if not crs:
        return None
    try:
        parsed = pyproj.CRS.from_user_input(crs)
    except CRSError:
        return None
    return None if parsed.is_engineering else crs


def _types(source: Source, name: str, options: dict[str, str], count: int) -> NDArray[np.int64] | None:
    """The type code of every shape as it is in the file (GDAL's ordinary way out drops measures and curves); None where unknown."""
    if source.kind not in _EXACT:
        return None
    with contextlib.suppress(*_TROUBLE, AttributeError, RuntimeError):
        meta, table = pyogrio.raw.read_arrow(source.path, layer=name, columns=[], **options)
        column = table.column(meta["geometry_name"] or "wkb_geometry")
        codes = [0 if one is None or len(one) < 5 else _code(one)[0] for one in column.to_pylist()]
        return np.array(codes, dtype=np.int64) if len(codes) == count else None
    return None


def _code(wkb: bytes) -> tuple[int, str]:
    """The type code, and the byte order as `struct` calls it."""
    order = "<" if wkb[0] == 1 else ">"
    return int(struct.unpack_from(order + "I", wkb, 1)[0]), order


def _flat_code(code: int) -> int:
    return (code & 0x0FFFFFFF) % 1000


def _shapes(wkb: NDArray[Any], types: NDArray[np.int64] | None) -> tuple[NDArray[Any], dict[str, tuple[int, ...]]]:
    """Shapes in two dimensions, and what was done to which rows."""
    notes: dict[str, list[int]] = {}
    present = np.array([one is not None for one in wkb], dtype=bool)
    codes = np.array([0 if one is None else _code(one)[0] for one in wkb], dtype=np.int64)
    data = wkb.copy()
    for i in np.flatnonzero(present):
        if _has_surface(data[i]):
            data[i] = _as_polygons(data[i])
            notes.setdefault(FOOTPRINT, []).append(int(i))
    strict = shapely.from_wkb(data, on_invalid="ignore")
    shapes = strict.copy()
    odd = present & shapely.is_missing(strict)
    if odd.any():
        shapes[odd] = [_closed(one) for one in data[odd]]
        notes[CLOSED] = [int(i) for i in np.flatnonzero(odd & ~shapely.is_missing(shapes))]
        notes[BROKEN] = [int(i) for i in np.flatnonzero(odd & shapely.is_missing(shapes))]
    for row in notes.get(FOOTPRINT, []):
        shapes[row] = _footprint(shapes[row])
    exact = codes if types is None else types
    raised = shapely.has_z(shapes) | (exact >= 1000)
    notes[FLAT] = [int(i) for i in np.flatnonzero(raised & present)]
    notes[LINEAR] = [int(i) for i in np.flatnonzero(np.isin([_flat_code(int(code)) for code in exact], list(_CURVES)) & present)]
    return shapely.force_2d(shapes), {what: tuple(i + 1 for i in rows) for what, rows in notes.items() if rows}


def _footprint(surface: Any) -> Any:
    """What the faces of a 3D surface cover, seen from above."""
    faces = shapely.get_parts(shapely.get_parts(shapely.make_valid(shapely.get_parts(surface))))
    return shapely.union_all([shapely.make_valid(face) for face in faces if face.area > 0])


def _closed(wkb: bytes) -> Any:
    try:
        return shapely.from_wkb(wkb, on_invalid="fix")
    except shapely.errors.ShapelyError:
        return None


def _has_surface(wkb: bytes) -> bool:
    code, order = _code(wkb)
    kind = _flat_code(code)
    return kind in _SURFACES or (kind == 7 and len(wkb) > 14 and _flat_code(struct.unpack_from(order + "I", wkb, 10)[0]) in _SURFACES)


def _as_polygons(wkb: bytes) -> bytes:
    """WKB with its surfaces named polygons, which have the same layout; the other bytes stay."""
    changed = bytearray(wkb)
    _rename(changed, 0)
    return bytes(changed)


def _rename(wkb: bytearray, at: int) -> int:
    """Rename the geometry that begins at `at` and those in it; return where it ends."""
    order = "<" if wkb[at] == 1 else ">"
    (code,) = struct.unpack_from(order + "I", wkb, at + 1)
    kind = _flat_code(code)
    struct.pack_into(order + "I", wkb, at + 1, code + _PLAIN.get(kind, kind) - kind)
    kind = _PLAIN.get(kind, kind)
    iso = (code & 0x0FFFFFFF) // 1000
    size = 8 * (2 + (iso in {1, 3} or bool(code & 0x80000000)) + (iso in {2, 3} or bool(code & 0x40000000)))
    at += 5
    if kind == 1:
        return at + size
    (count,) = struct.unpack_from(order + "I", wkb, at)
    at += 4
    if kind == 2:
        return at + count * size
    for _ in range(count):
        if kind == 3:
            (points,) = struct.unpack_from(order + "I", wkb, at)
            at += 4 + points * size
        else:
            at = _rename(wkb, at)
    return at


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """GDAL's remarks on odd files are not for the log: what matters ends as an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what GDAL and GEOS say about a file into what a person can act on."""
    try:
        yield
    except LabelError:
        raise
    except MemoryError as error:
        raise LabelFileError(f"{name} needs more memory than there is.", "Cut it to your area first.") from error
    except _TROUBLE as error:
        said = _FOLDERS.sub("", " ".join(str(error).split()))[:160]
        raise LabelFileError(
            f"{name} cannot be read ({said}).", "Open it in the program it comes from and save it again, as GeoJSON or GeoPackage."
        ) from error
