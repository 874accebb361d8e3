"""What may be read at all: a raster's declared shape is checked before a single pixel is decoded.

A file of 200 bytes can declare a block of terabytes. Every number here bounds memory or time of some read.
"""

from __future__ import annotations

from pathlib import Path

from rasterio.io import DatasetReader

from errors import UnsupportedRasterError

DRIVERS = ("GTiff", "JP2OpenJPEG", "JPEG", "PNG", "GIF", "BMP", "WEBP", "HFA", "AAIGrid")
"""Formats that hold their own pixels. VRT, WMS and the like point at other files or servers and are refused."""

MAX_SIDE_PX = 2_000_000
MAX_PIXELS = 10**11
MAX_BANDS = 1024
MAX_BLOCK_BYTES = 256 * 2**20
"""Largest block (tile or strip, over the bands stored together) that decoding has to hold at once."""
MAX_UNTILED_BYTES = 512 * 2**20
"""Formats other than GeoTIFF decode from the top, often the whole picture at once."""
MAX_BLOCKS = 16_000_000
SUSPICIOUS_BYTES = 4 * 2**30
SUSPICIOUS_RATIO = 5_000
"""More than 4 GiB of pixels from 5,000 times fewer bytes: no camera makes this."""


def refuse_oversized(dataset: DatasetReader, name: str, file_bytes: int | None = None) -> None:
    """Check what an opened raster declares, without reading pixels.

    Args:
        dataset: Just opened.
        name: For the message.
        file_bytes: Size of the file, where known.

    Raises:
        UnsupportedRasterError: reading it could take unbounded memory or time.
    """
    width, height, count = dataset.width, dataset.height, dataset.count
    if count == 0 or width == 0 or height == 0:
        raise UnsupportedRasterError(f"{name} holds no pixels.", "Choose the file that holds the picture itself.")
    shape = f"{width:,} x {height:,} pixels in {count} band{'s' * (count > 1)}"
    item = max(bytes_per_value(dtype) for dtype in dataset.dtypes)
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS or count > MAX_BANDS:
        raise UnsupportedRasterError(
            f"{name} says it has {shape}, more than can be handled.",
            "If that is wrong the file is damaged. If it is right, cut it into parts first.",
        )
    total = width * height * count * item
    if file_bytes is not None and total > SUSPICIOUS_BYTES and total > file_bytes * SUSPICIOUS_RATIO:
        raise UnsupportedRasterError(
            f"{name} says it has {shape}, but the file is only {file_bytes:,} bytes.",
            "It is damaged or was made to mislead. Get it again from its source.",
        )
    rows, columns = dataset.block_shapes[0]
    together = count if dataset.interleaving is not None and dataset.interleaving.value == "PIXEL" else 1
    block = rows * columns * item * together
    if block > MAX_BLOCK_BYTES:
        raise UnsupportedRasterError(
            f"{name} stores its pixels in blocks of {columns:,} x {rows:,}, which need {block / 2**20:,.0f} MB of memory each.",
            "Save it as a tiled GeoTIFF (QGIS: Raster > Conversion > Translate, with TILED=YES) and add that.",
        )
    if -(-width // columns) * -(-height // rows) > MAX_BLOCKS:
        raise UnsupportedRasterError(
            f"{name} is cut into too many small blocks ({shape}).", "Save it again as a tiled GeoTIFF with 512 pixel tiles."
        )
    if dataset.driver not in {"GTiff", "HFA", "VRT"} and total > MAX_UNTILED_BYTES:
        raise UnsupportedRasterError(
            f"{name} has {shape} in a format ({dataset.driver}) that cannot be read in parts.",
            "Convert it to a tiled GeoTIFF and add that.",
        )


def bytes_per_value(dtype: str) -> int:
    """Bytes of one pixel value; complex types included."""
    known = {"complex_int16": 4, "complex64": 8, "complex128": 16}
    if dtype in known:
        return known[dtype]
    import numpy as np

    return np.dtype(dtype).itemsize


def file_size(source: str) -> int | None:
    """Bytes of a local file; None for an address."""
    return None if source.startswith(("http://", "https://")) else Path(source).stat().st_size
