"""Open a raster safely and read windows of it, with what is valid."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from errors import ImageryError, UnreadableRasterError, UnsupportedRasterError
from imagery.limits import refuse_oversized
from imagery.remote import RangeReader, RemoteFile
from workspace.settings import settings_from_environment

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # said properly by imagery.raster

Scalars = NDArray[Any]

_SIGNATURES = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  \r\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"EHFA_HEADER_TAG", "HFA"),
)
_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_CACHEMAX": 64 * 2**20,
    "GDAL_NUM_THREADS": "1",
    "GDAL_PAM_ENABLED": "YES",
    "GDAL_MAX_DATASET_POOL_SIZE": 64,
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "NO",
    "OPJ_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Pixels:
    """A window's values and which of its pixels are imagery."""

    values: Scalars
    """(bands, rows, columns) in the raster's dtype; whatever the file holds where not valid, 0 outside the raster."""
    valid: NDArray[np.bool_]
    """(rows, columns)."""


def gdal_environment() -> rasterio.Env:
    """GDAL options for every read: side files are found by name, never by listing a folder; bounded cache."""
    return rasterio.Env(**_OPTIONS)


@contextlib.contextmanager
def open_raster(source: str | Path, *, allow_private: bool | None = None) -> Iterator[DatasetReader]:
    """Open a local file or an http(s) address and check what it declares before anything is decoded.

    Only formats that hold their own pixels are opened, each with its own driver: nothing in a file can make GDAL open
    another file or address. Errors of GDAL inside the block become ours.

    Args:
        source: Absolute path, or http(s) URL.
        allow_private: For URLs, whether private addresses may be opened; None asks the installation's settings.

    Raises:
        UnreadableRasterError: missing, truncated, damaged, no raster, or no answer.
        UnsupportedRasterError: a format that is not opened, or an absurd declared size.
        SourceNotAllowedError: an address that may not be opened.
    """
    with contextlib.ExitStack() as stack, gdal_environment():
        dataset = enter_raster(stack, str(source), allow_private=allow_private)
        with _gdal_errors_explained(dataset):
            yield dataset


def enter_raster(stack: contextlib.ExitStack, source: str, *, allow_private: bool | None = None) -> DatasetReader:
    """`open_raster` for a dataset that is kept open: `stack` closes it. Read it inside a `gdal_environment()`. Errors alike."""
    name = display_name(source)
    with gdal_environment():
        try:
            if is_url(source):
                ranges = stack.enter_context(contextlib.closing(_ranges(source, allow_private)))
                dataset, size = stack.enter_context(_open_remote(ranges, name)), ranges.size
            else:
                dataset, size = stack.enter_context(_open_local(Path(source), name)), Path(source).stat().st_size
        except RasterioError as error:
            raise damaged(name) from error
        except OSError as error:
            raise _explained(error, name) from error
        refuse_oversized(dataset, name, size)
        return dataset


@contextlib.contextmanager
def _gdal_errors_explained(dataset: DatasetReader) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise damaged(display_name(dataset.name)) from error


def damaged(name: str) -> UnreadableRasterError:
    """The error for a file whose pixels cannot be decoded."""
    return UnreadableRasterError(
        f"{name} is damaged or incomplete: parts of it cannot be decoded.",
        "Copy or download it again; check that its size is as at its source.",
    )


def display_name(source: str) -> str:
    """What to call a source in a message: its last part, without folders, queries or control characters."""
    last = unquote(urlsplit(source).path) if is_url(source) else source
    name = "".join(c for c in last.rstrip("/").rpartition("/")[2] if c.isprintable())
    return name[-60:] or "The picture"


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def read_window(
    dataset: DatasetReader, column: int, row: int, width: int, height: int, bands: Sequence[int], imagery_bands: Sequence[int] = ()
) -> Pixels:
    """Read a window; the part of it that lies outside the raster is 0 and not valid.

    A pixel is not valid when alpha or the mask say so; when it holds nodata in all bands (integers) or in any of
    them (floats, where one missing value spoils the pixel); when a float is NaN or infinite.

    Args:
        dataset: From `open_raster`.
        column: Left edge, pixels.
        row: Upper edge, pixels.
        width: Columns to read.
        height: Rows to read.
        bands: 1-based band numbers, in the order wanted.
        imagery_bands: Further bands that have a say in which pixels are valid, for who wants some bands of a raster and
            the same pixels as who wants all.

    Raises:
        UnreadableRasterError: the file cannot be decoded there.
    """
    asked, bands = len(bands), [*bands, *_with_a_say(dataset, bands, imagery_bands)]
    dtype = np.result_type(*(dataset.dtypes[b - 1] for b in bands))
    values = np.zeros((len(bands), height, width), dtype)
    valid = np.zeros((height, width), np.bool_)
    left, top = max(column, 0), max(row, 0)
    right, bottom = min(column + width, dataset.width), min(row + height, dataset.height)
    if left >= right or top >= bottom:
        return Pixels(values[:asked], valid)
    window = Window(left, top, right - left, bottom - top)
    here = np.s_[top - row : bottom - row, left - column : right - column]
    try:
        values[(slice(None), *here)] = dataset.read(bands, window=window)
        valid[here] = validity(values[(slice(None), *here)], dataset, bands)
        outside = _mask(dataset, window=window)
    except RasterioError as error:
        raise damaged(display_name(dataset.name)) from error
    if outside is not None:
        valid[here] &= outside > 0
    return Pixels(values[:asked], valid)


def _with_a_say(dataset: DatasetReader, bands: Sequence[int], imagery_bands: Sequence[int]) -> list[int]:
    """The further bands that can change which pixels are valid: none where nothing but a mask says so."""
    floating = any(np.issubdtype(np.dtype(dataset.dtypes[b - 1]), np.floating) for b in bands)
    marked = floating or any(dataset.nodatavals[b - 1] is not None for b in bands)
    return [b for b in imagery_bands if b not in bands] if marked else []


def read_decimated(dataset: DatasetReader, window: Window, shape: tuple[int, int], bands: Sequence[int]) -> Pixels:
    """Read a window shrunk to `shape` (rows, columns) by nearest neighbour, from overviews where there are any.

    Raises:
        UnreadableRasterError: the file cannot be decoded there.
    """
    try:
        values = dataset.read(list(bands), window=window, out_shape=(len(bands), *shape))
        valid = validity(values, dataset, bands)
        mask = _mask(dataset, window=window, out_shape=shape)
    except RasterioError as error:
        raise damaged(display_name(dataset.name)) from error
    return Pixels(values, valid if mask is None else valid & (mask > 0))


def read_resampled(dataset: DatasetReader, window: Window, shape: tuple[int, int], bands: Sequence[int], method: Resampling) -> Pixels:
    """Read a window (fractions of pixels allowed) resampled to `shape` (rows, columns); pixels that are not valid take no part.

    Raises:
        UnreadableRasterError: the file cannot be decoded there.
    """
    try:
        values = dataset.read(list(bands), window=window, out_shape=(len(bands), *shape), resampling=method)
        valid = validity(values, dataset, bands)
        mask = _mask(dataset, window=window, out_shape=shape)
    except RasterioError as error:
        raise damaged(display_name(dataset.name)) from error
    return Pixels(values, valid if mask is None else valid & (mask > 0))


def validity(values: Scalars, dataset: DatasetReader, bands: Sequence[int]) -> NDArray[np.bool_]:
    """(rows, columns): not nodata and, for floats, finite. Alpha and masks are not looked at here."""
    floating = np.issubdtype(values.dtype, np.floating)
    if not floating and all(dataset.nodatavals[band - 1] is None for band in bands):
        return np.ones(values.shape[1:], np.bool_)
    missing = np.zeros(values.shape, np.bool_) if not floating else ~np.isfinite(values)
    for i, band in enumerate(bands):
        nodata = dataset.nodatavals[band - 1]
        if nodata is not None and not np.isnan(nodata):
            missing[i] |= _equals(values[i], nodata)
    return np.asarray(~(missing.any(axis=0) if floating else missing.all(axis=0)), np.bool_)


def _equals(values: Scalars, nodata: float) -> NDArray[np.bool_]:
    """Where `values` hold `nodata`; a value that the dtype cannot hold is nowhere."""
    if np.issubdtype(values.dtype, np.floating):
        same = np.asarray(
            np.isclose(values, nodata, rtol=1e-6, atol=0.0), np.bool_
        )  # files write -1.2676506e+30 for -1.2676506002282294e+30
        return same
    limits = np.iinfo(values.dtype)
    if not np.isfinite(nodata) or nodata != int(nodata) or not limits.min <= nodata <= limits.max:
        return np.zeros(values.shape, np.bool_)
    return np.asarray(values == values.dtype.type(int(nodata)), np.bool_)


def alpha_band(dataset: DatasetReader) -> int | None:
    """1-based number of the alpha band."""
    return next((i for i, c in enumerate(dataset.colorinterp, 1) if c == ColorInterp.alpha), None)


def has_mask(dataset: DatasetReader) -> bool:
    """Does the raster bring a mask of its own (in the file, or beside it)?"""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0]


def _mask(dataset: DatasetReader, **where: Any) -> NDArray[np.uint8] | None:
    """Alpha or mask band (0 = not imagery); None when the raster has neither."""
    alpha = alpha_band(dataset)
    if alpha is not None:
        return dataset.read(alpha, **where)
    return dataset.read_masks(1, **where) if has_mask(dataset) else None


def _ranges(url: str, allow_private: bool | None) -> RangeReader:
    allowed = settings_from_environment().allow_private_addresses if allow_private is None else allow_private
    return RangeReader(url, allow_private=allowed)


def _open_remote(ranges: RangeReader, name: str) -> DatasetReader:
    driver = _driver(ranges.read(0, 64), name)
    if driver != "GTiff":
        raise UnsupportedRasterError(
            f"{name} is not a GeoTIFF.", "From an address only (cloud-optimised) GeoTIFFs are read; download it and upload it here."
        )
    path = "/remote/" + "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)

    def opener(asked: str, mode: str = "rb") -> RemoteFile:
        if asked != path or mode != "rb":
            raise FileNotFoundError(asked)
        return RemoteFile(ranges)

    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        dataset = rasterio.open(path, driver=driver, opener=opener)
        dataset.overviews(1)  # GDAL looks for side files now, while the opener can still say no
        return dataset


def _open_local(path: Path, name: str) -> DatasetReader:
    if not path.is_absolute():
        path = Path.cwd() / path
    if path.is_dir():
        raise UnreadableRasterError(f"{name} is a folder.", "Choose the picture files in it.")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        head = file.read(4096)
    return rasterio.open(path, driver=_driver(head, name))


def _driver(head: bytes, name: str) -> str:
    for signature, driver in _SIGNATURES:
        if head.startswith(signature):
            return driver
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:64].lstrip().lower().startswith((b"ncols", b"nrows")):
        return "AAIGrid"
    if not head:
        raise UnreadableRasterError(f"{name} is empty.", "Copy or download it again.")
    if head.startswith(b"PK\x03\x04"):
        raise UnsupportedRasterError(f"{name} is a ZIP archive.", "Unpack it and add the pictures in it.")
    if b"<VRTDataset" in head:
        raise UnsupportedRasterError(
            f"{name} is a virtual raster (VRT), which only points at other files.",
            "Add those files, or save it as a GeoTIFF (QGIS: Raster > Conversion > Translate).",
        )
    raise UnsupportedRasterError(
        f"{name} is not in a picture format that Terratune reads.", "Save it as a GeoTIFF (QGIS: Export > Save As) and add that."
    )


def _explained(error: OSError, name: str) -> ImageryError:
    if isinstance(error, FileNotFoundError):
        return UnreadableRasterError(
            f"{name} is not there any more.", "Put it back where it was, or remove it from the list and add it again."
        )
    if isinstance(error, PermissionError):
        return UnreadableRasterError(f"{name} may not be read by this program.", "Ask whoever runs this installation for read access.")
    return UnreadableRasterError(
        f"{name} cannot be read ({error.strerror or 'unknown reason'}).", "Check the disk or network drive it lies on."
    )
