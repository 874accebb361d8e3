"""CSV: shapes as WKT, as x and y columns, or as boxes in the pixels of a named picture."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from errors import LabelFileError
from labeling.exchange.layers import MAX_FEATURES, PICTURE, Layer, recognised, text_table
from labeling.exchange.report import BROKEN, FLAT, NO_NUMBERS

WKT_FIELDS = ("wkt", "geometry", "geom", "the_geom", "shape", "wkt_geom", "polygonwkt_geo", "polygonwkt_pix")
XY_FIELDS = (("longitude", "latitude"), ("lon", "lat"), ("lng", "lat"), ("long", "lat"), ("x", "y"), ("easting", "northing"), ("point_x", "point_y"))
PICTURE_FIELDS = ("image_path", "picture", "image", "filename", "file_name")
BOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")
GUARDED = ("=", "+", "-", "@")
"""A cell that begins so would be taken for a formula by spreadsheets: it is written with a ' before it."""
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?", re.IGNORECASE)


def guarded(cell: Any) -> Any:
    """A cell of text so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith((*GUARDED, "\t", "\r")) and not _NUMBER.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """A cell as it was before `guarded`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*GUARDED, "\t", "\r")) else cell


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a CSV file, whatever its separator; UTF-8, else Windows-1252.

    Raises:
        LabelFileError: it is no table, or too long.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    first = text.split("\n", 1)[0]
    separator = max(",;\t|", key=first.count)
    csv.field_size_limit(min(sys.maxsize, 64 * 1024**2))
    try:
        rows = [[unguarded(cell.strip()) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    except csv.Error as error:
        raise LabelFileError(f"{path.name} is not a table ({error}).", "Save it again as CSV with one line a shape.") from error
    if not rows:
        raise LabelFileError(f"{path.name} is empty.", "Choose a file with at least one shape.")
    if len(rows) - 1 > MAX_FEATURES:
        raise LabelFileError(f"{path.name} holds {len(rows) - 1:,} rows.", f"Import at most {MAX_FEATURES:,} at once.")
    names = [name or f"column_{i}" for i, name in enumerate(rows[0], 1)]
    return names, [row[: len(names)] + [""] * (len(names) - len(row)) for row in rows[1:]]


def read_table(path: Path) -> Layer:
    """The shapes of a CSV file as a layer.

    Raises:
        LabelFileError: no columns say where its rows lie.
    """
    names, rows = read_rows(path)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    picture, wkt = recognised(names, PICTURE_FIELDS), recognised(names, WKT_FIELDS)
    box = [found for one in BOX_FIELDS if (found := recognised(names, (one,)))]
    pair = next(((x, y) for one, two in XY_FIELDS if (x := recognised(names, (one,))) and (y := recognised(names, (two,)))), None)
    crs = None
    if wkt and any(_looks_like_wkt(cell) for cell in columns[wkt][:100]):
        shapes, notes, crs = _from_wkt(columns[wkt])
        used = {wkt}
    elif len(box) == len(BOX_FIELDS):
        shapes, notes = _with_numbers(lambda *edges: shapely.box(*edges), [_numbers(columns[name]) for name in box])
        used = set(box)
    elif pair:
        shapes, notes = _with_numbers(lambda *place: shapely.points(*place), [_numbers(columns[name]) for name in pair])
        used = set(pair)
        crs = "EPSG:4326" if pair[1].casefold() in {"lat", "latitude"} else None
    else:
        raise LabelFileError(
            f"{path.name} has no column that says where its rows lie.",
            f"Its columns: {', '.join(names[:12])}. Give it a column WKT, or the columns x and y (or longitude and latitude).",
        )
    kept = {name: values for name, values in columns.items() if name not in used}
    if picture:
        kept = {PICTURE: kept.pop(picture), **kept}
    return Layer(path.stem, text_table(kept, shapes), crs=crs, pixels=picture is not None, notes=notes)


def _looks_like_wkt(cell: str) -> bool:
    return bool(re.match(r"(SRID=\d+;)?\s*(MULTI)?(POINT|LINESTRING|POLYGON|GEOMETRYCOLLECTION)", cell, re.IGNORECASE))


def _from_wkt(cells: Sequence[str]) -> tuple[NDArray[Any], dict[str, tuple[int, ...]], str | None]:
    """Shapes, notes, and the CRS where every row names the same one (`SRID=26911;POINT (...)`)."""
    codes = {found[1] if (found := re.match(r"SRID=(\d+);", cell, re.IGNORECASE)) else None for cell in cells if cell}
    code = codes.pop() if len(codes) == 1 else None
    bare = np.array([re.sub(r"^SRID=\d+;", "", cell, flags=re.IGNORECASE) or None for cell in cells], dtype=object)
    shapes = shapely.from_wkt(bare, on_invalid="ignore")
    broken = tuple(int(i) + 1 for i in np.flatnonzero(shapely.is_missing(shapes)) if bare[i])
    raised = tuple(int(i) + 1 for i in np.flatnonzero(shapely.has_z(shapes) | shapely.has_m(shapes)))
    notes = {what: rows for what, rows in ((BROKEN, broken), (FLAT, raised)) if rows}
    return shapely.force_2d(shapes), notes, f"EPSG:{code}" if code and int(code) else None


def _numbers(cells: Sequence[str]) -> NDArray[np.float64]:
    """Cells as numbers, NaN where they are none; a decimal comma is understood."""
    text = pd.Series(cells, dtype=object)
    plain = pd.to_numeric(text, errors="coerce")
    comma = pd.to_numeric(text.str.replace(",", ".", regex=False), errors="coerce")
    return np.asarray(plain.fillna(comma), dtype=float)


def _with_numbers(
    make: Callable[..., NDArray[Any]], numbers: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[Any], dict[str, tuple[int, ...]]]:
    """A shape for each row whose numbers are all there."""
    table = np.column_stack(numbers)
    ok: NDArray[np.bool_] = np.asarray(np.isfinite(table).all(axis=1))
    shapes: NDArray[Any] = np.empty(len(table), dtype=object)
    shapes[ok] = make(*table[ok].T)
    bad = tuple(int(i) + 1 for i in np.flatnonzero(~ok))
    return shapes, {NO_NUMBERS: bad} if bad else {}
