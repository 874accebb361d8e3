"""What only the pixels of training tiles tell. One tile in memory for each thread."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio
from rasterio.errors import RasterioIOError

from tiles import layout
from tiles.apart import digest_of
from tiles.check_sides import Side, together
from tiles.formats import TileFormat
from tiles.formats.base import Finding, LabelFiles, check_raster
from tiles.tile_set import TileSetRecord

THREADS = min(4, os.cpu_count() or 1)
BATCH = 64
"""Tiles handed to the threads at once: what is left of them is what a person who stops it waits for."""

OUT = "Export the tiles again; or, of a set made elsewhere, delete the image and its label."

Tell = Callable[[float], None]


@dataclass(frozen=True)
class ImageFacts:
    """One image, as it lies there."""

    path: str
    shape: tuple[int, int]
    """(rows, columns)"""
    bands: int
    dtype: str
    digest: bytes | None
    """Of its pixels; None for one value throughout."""
    strange_numbers: bool
    """Not a number, or infinite, in pixels that count."""


@dataclass(frozen=True)
class Contents:
    """What there is to look through."""

    folder: Path
    form: TileFormat
    values: Mapping[int, str]
    """Class names by value, as the side files say them."""
    images: Sequence[str]
    labels: Mapping[str, LabelFiles]
    """By the stem of the image."""
    accumulated: Side
    definition: Side
    record: TileSetRecord | None
    """Ours; None of a set made elsewhere."""


def look_through(contents: Contents, tell: Tell) -> tuple[list[ImageFacts], list[Finding]]:
    """Open every image and its labels, several at once; `tell` hears the share done and may raise to stop."""
    facts: list[ImageFacts] = []
    findings: list[Finding] = []

    ignore = {t.image: t.ignore for t in contents.record.tiles if t.ignore} if contents.record else {}

    def look(image: str) -> tuple[ImageFacts | None, list[Finding]]:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
            return _look(contents, image, ignore.get(image))

    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(contents.images), BATCH):
            for one, wrong in threads.map(look, contents.images[start : start + BATCH]):
                facts += [one] if one is not None else []
                findings += wrong
            tell(min(1.0, (start + BATCH) / len(contents.images)))
    return facts, findings


def check_alike(contents: Contents, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Images of one size, with the same bands and type of numbers, as the side files say; and what images show nothing, or the same."""
    if not facts:
        return
    accumulated, definition, record = contents.accumulated, contents.definition, contents.record
    sizes_vary = definition.get("CropTileMode") == layout.VARIABLE_SIZE if record is None else any(t.size for t in record.tiles)
    kinds = collections.Counter((one.bands, one.dtype) for one in facts)
    bands, dtype = kinds.most_common(1)[0][0] if record is None else (len(record.band_names), record.dtype)
    sizes = collections.Counter(one.shape for one in facts)
    shape = sizes.most_common(1)[0][0] if record is None else record.tile_sides[::-1]
    remedy = f"All tiles of a set must be alike. {OUT}"
    for one in facts:
        if one.bands != bands:
            yield Finding(one.path, f"{_bands(bands)}, as the other tiles", _bands(one.bands), remedy)
        if one.dtype != dtype:
            yield Finding(one.path, f"{dtype} numbers, as the other tiles", one.dtype, remedy)
        if not sizes_vary and one.shape != shape:
            yield Finding(one.path, f"{shape[1]} x {shape[0]} pixels, as the other tiles", f"{one.shape[1]} x {one.shape[0]}", remedy)
    if definition and "AllTilesStats" not in definition and (bands, dtype) != (3, "uint8"):
        remedy = "ArcGIS cannot scale such bands without it; Terratune measures them itself."
        yield Finding(layout.DEFINITION_FILE, f"AllTilesStats, with {_bands(bands)} of {dtype}", "none", remedy, "elsewhere")
    told = accumulated.get("NumBands")
    if told not in {None, bands}:
        yield _side(f"NumBands {bands}, as the images have", str(told))
    size = accumulated.get("TileSizeX"), accumulated.get("TileSizeY")
    if None not in size and not sizes_vary and size != (shape[1], shape[0]):
        yield _side(f"TileSize {shape[1]} x {shape[0]}, as the images have", f"{size[0]} x {size[1]}")
    yield from together(
        [one.path for one in facts if one.strange_numbers],
        "numbers in every pixel that counts",
        "some that are not numbers (NaN or infinite)",
        "Terratune takes them for the mean; other programs fail. State a nodata value, or fill them.",
        "elsewhere",
    )
    empty = [one.path for one in facts if one.digest is None]
    yield from together(empty, "a picture", "one value in every pixel", "There is nothing to see in it: leave it out.", "none")
    if contents.form.per_object:  # things side by side may have the same picture
        return
    first: dict[bytes, str] = {}
    twins = [one.path for one in facts if one.digest is not None and first.setdefault(one.digest, one.path) != one.path]
    yield from together(twins, "a picture of its own", "the same pixels as in another tile", "It is learnt twice over.", "none")


def _look(contents: Contents, image: str, ignore: str | None) -> tuple[ImageFacts | None, list[Finding]]:
    facts = _facts(contents.folder, image)
    if facts is None:
        return None, [Finding(image, "a readable raster", "a damaged file, or no raster", OUT)]
    findings: list[Finding] = []
    files = contents.labels.get(PurePosixPath(image).stem)
    if files is not None:
        findings += contents.form.check(contents.folder, image, files, facts.shape, contents.values)
    if ignore is not None:
        findings += check_raster(contents.folder, ignore, facts.shape)[1]
    return facts, findings


def _facts(folder: Path, path: str) -> ImageFacts | None:
    """None where the image cannot be read."""
    try:
        with rasterio.open(folder / path) as file:
            image = file.read()
            strange = image.dtype.kind == "f" and not np.isfinite(image).all()
            strange = strange and not np.isfinite(image[:, file.dataset_mask() > 0]).all()
            return ImageFacts(path, (file.height, file.width), file.count, file.dtypes[0], digest_of(image), bool(strange))
    except RasterioIOError:
        return None


def _bands(count: int) -> str:
    return f"{count} band{'' if count == 1 else 's'}"


def _side(expected: str, found: str) -> Finding:
    return Finding(layout.ACCUMULATED_FILE, expected, found, "Terratune goes by the images; ArcGIS by this file.", "elsewhere")
