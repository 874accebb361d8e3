"""Small GeoTIFFs, fast: GDAL writes the header of one tile, and all like it take it over with their own place and pixels. Pure: bytes, no files.

Opening a GeoTIFF for writing costs GDAL about a millisecond, most of it for the coordinate system: more than writing the pixels of a tile.
"""

from __future__ import annotations

import functools
import struct
import sys
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

STRIP_OFFSETS, STRIP_BYTE_COUNTS, TIEPOINT, TRANSFORMATION = 273, 279, 33922, 34264
"""Tags of TIFF 6.0 and of OGC GeoTIFF 1.1."""
LONG = 4
"""TIFF's type of a 32-bit number."""
_ENDIAN = "<" if sys.byteorder == "little" else ">"


@dataclass(frozen=True)
class _Header:
    """All of a file but its pixels, which follow as one strip."""

    head: bytes
    count_at: int
    """Of the entry that says how many bytes the strip has."""
    x_at: int
    y_at: int
    """Of the two numbers (64-bit floats) that say where the tile lies."""


def geotiff(values: NDArray[Any], transform: Affine, crs: str, nodata: float | None, *, compress: bool = False) -> bytes:
    """A GeoTIFF in memory.

    Args:
        values: (bands, rows, columns); fastest where the bands of a pixel lie together in memory.
        transform: From (column, row) to (x, y).
        crs: As text; empty where it lies nowhere.
        nodata: Value without imagery.
        compress: With DEFLATE, at its fastest: right for labels, which shrink to a hundredth. Images shrink little and cost much.
    """
    turn = (transform.a, transform.b, transform.d, transform.e)
    header = _header(values.shape, values.dtype.str, crs, nodata, turn, compress)
    chunky = np.ascontiguousarray(values.transpose(1, 2, 0))
    pixels = zlib.compress(chunky.data, 1) if compress else chunky.data.cast("B")
    head = bytearray(header.head)
    struct.pack_into(f"{_ENDIAN}HII", head, header.count_at + 2, LONG, 1, len(pixels))
    struct.pack_into(f"{_ENDIAN}d", head, header.x_at, transform.c)
    struct.pack_into(f"{_ENDIAN}d", head, header.y_at, transform.f)
    return b"".join((head, pixels))


@functools.lru_cache(maxsize=256)
def _header(
    shape: tuple[int, int, int], dtype: str, crs: str, nodata: float | None, turn: tuple[float, float, float, float], compress: bool
) -> _Header:
    """From a file without content that GDAL writes, with everything but place and pixels as it will be."""
    bands, rows, columns = shape
    kind = np.dtype(dtype)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": columns,
        "height": rows,
        "count": bands,
        "dtype": kind,
        "crs": crs or None,
        "transform": Affine(turn[0], turn[1], 1.0, turn[2], turn[3], 1.0),
        "nodata": nodata,
        "interleave": "pixel",
        "blockysize": rows,
        "photometric": "RGB" if bands >= 3 and kind == np.uint8 else "MINISBLACK",
    }
    if bands > 3 or bands == 2:
        profile["alpha"] = "unspecified"
    if compress:
        profile["compress"] = "deflate"
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(np.zeros(shape, kind))
        data = bytes(memory.getbuffer())
    tags = _tags(data)
    x_at, y_at = (tags[TIEPOINT][1] + 24, tags[TIEPOINT][1] + 32) if TIEPOINT in tags else _in_matrix(tags[TRANSFORMATION][1])
    return _Header(data[: tags[STRIP_OFFSETS][1]], tags[STRIP_BYTE_COUNTS][0], x_at, y_at)


def _in_matrix(start: int) -> tuple[int, int]:
    """Where x and y of the first pixel's corner stand in a 4 x 4 matrix of 64-bit floats."""
    return start + 3 * 8, start + 7 * 8


def _tags(data: bytes) -> dict[int, tuple[int, int]]:
    """By tag: where its entry is, and its value (or where that is)."""
    (start,) = struct.unpack_from(f"{_ENDIAN}I", data, 4)
    (count,) = struct.unpack_from(f"{_ENDIAN}H", data, start)
    entries = range(start + 2, start + 2 + 12 * count, 12)
    return {struct.unpack_from(f"{_ENDIAN}H", data, at)[0]: (at, struct.unpack_from(f"{_ENDIAN}I", data, at + 8)[0]) for at in entries}
