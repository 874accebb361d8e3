"""Folders of training tiles that another program wrote: work out the record they lack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import RasterioIOError

from errors import EmptyTileSetError, SplitError, TileSetFormatError
from imagery.grid import Grid
from models.values import BandStatistics
from tiles import layout
from tiles.footprints import footprints_m
from tiles.formats import TileFormat, tile_format
from tiles.formats.base import LabelFiles, rough_pixels
from tiles.split import split_by_place
from tiles.statistics import RunningStatistics, pixels_per_class
from tiles.tile_set import Split, TileClass, TileRecord, TileSetRecord

VALIDATION_SHARE = 0.2
SEED = 0
SAMPLED_IMAGES = 300
"""Images read for band statistics, spread evenly over the folder."""
COLOURS = ("#4361ee", "#ff9f1c", "#2ec4b6", "#e71d36", "#8338ec", "#ffd60a", "#6a994e", "#bc4749")


@dataclass(frozen=True)
class _Chip:
    """What one pair of files says."""

    name: str
    image: str
    files: LabelFiles
    crs: str
    transform: Affine
    size: tuple[int, int]
    """(columns, rows)"""
    own_size: bool
    """Another tile may have another size."""
    pixels: dict[int, int]
    objects: dict[int, int]


def derive_record(folder: Path) -> TileSetRecord:
    """The record of a folder in one of the known formats, from its side files, names and pixels.

    Chips that say where they lie are split by place; others by their number, in runs with a gap between.

    Raises:
        TileSetFormatError: a side file or a folder is missing or wrong; the message names it.
        EmptyTileSetError: no image has a label.
    """
    accumulated, definition = _side_files(folder)
    form = tile_format(str(accumulated.get("MetaDataMode")))
    classes = _classes(definition, form)
    pairs = _pairs(folder, form, classes)
    first = _facts(folder, pairs[0][0])
    size = None if definition.get("CropTileMode") == layout.VARIABLE_SIZE else first.size
    chips = [_chip(folder, form, image, files, size, classes) for image, files in pairs]
    splits, places = _split(chips, [c.value for c in classes])
    tiles = tuple(_tile_record(chip, split, place) for chip, split, place in zip(chips, splits, places, strict=True))
    placed = chips[0].crs
    grid = Grid(first.size, first.size, chips[0].transform, rasterio.crs.CRS.from_user_input(placed)) if placed else None
    return TileSetRecord(
        metadata_format=form.name,
        made_elsewhere=True,
        classes=classes,
        band_names=_band_names(definition, accumulated, first.bands),
        dtype=first.dtype,
        nodata=first.nodata,
        band_statistics=_band_statistics(folder, [image for image, _ in pairs], first),
        resolution_m=grid.resolution_m if grid else None,
        crs=placed,
        tile_size=first.size,
        stride=first.size,
        seed=SEED,
        tiles=tiles,
    )


def _side_files(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not folder.is_dir():
        raise TileSetFormatError(f"There is no folder '{folder.name}'.", "Check the path.")
    for name in layout.NEEDED_FILES:
        if not (folder / name).exists():
            raise TileSetFormatError(
                f"{name} is missing in '{folder.name}', so it is not a complete folder of training tiles.",
                "Choose the folder that holds 'images' directly, or export the tiles again.",
            )
    accumulated, definition = (read_side_json(folder / name) for name in (layout.ACCUMULATED_FILE, layout.DEFINITION_FILE))
    tile_format(str(accumulated.get("MetaDataMode")))
    return accumulated, definition


def read_side_json(path: Path) -> Mapping[str, Any]:
    """A JSON object from a side file (UTF-8, with or without a byte order mark).

    Raises:
        TileSetFormatError: it is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise TileSetFormatError(f"{path.name} cannot be read as JSON: {error}.", "Export the tiles again.") from error
    if not isinstance(value, dict):
        raise TileSetFormatError(f"{path.name} does not hold a JSON object.", "Export the tiles again.")
    return value


def _classes(definition: Mapping[str, Any], form: TileFormat) -> tuple[TileClass, ...]:
    listed = definition.get("Classes")
    if not listed and not form.has_classes:
        return ()
    if not isinstance(listed, list) or not listed:
        raise TileSetFormatError(f"{layout.DEFINITION_FILE} lists no Classes.", "Export the tiles again with a class field.")
    found = []
    for number, entry in enumerate(listed):
        try:
            value, name = int(entry.get("Value", entry.get("ClassValue"))), str(entry.get("Name", entry.get("ClassName")))
            if value != 0:
                found.append(TileClass(value=value, name=name, colour=_colour(entry.get("Color"), number)))
        except (TypeError, ValueError, AttributeError) as error:
            raise TileSetFormatError(
                f"Class {number + 1} in {layout.DEFINITION_FILE} needs a Name and a Value of 1 to 254; found {json.dumps(entry)}.",
                "Correct the class in that file, or export the tiles again.",
            ) from error
    return tuple(found)


def _colour(rgb: Any, number: int) -> str:
    if isinstance(rgb, list) and len(rgb) >= 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in rgb[:3]):
        return "#{:02x}{:02x}{:02x}".format(*rgb[:3])
    return COLOURS[number % len(COLOURS)]


def _pairs(folder: Path, form: TileFormat, classes: tuple[TileClass, ...]) -> list[tuple[str, LabelFiles]]:
    """(image path, its labels) of every image that is labelled; map.txt only tells how labels are named."""
    for part in filter(None, (layout.IMAGES, form.label_folder)):
        if not (folder / part).is_dir():
            raise TileSetFormatError(
                f"The folder '{part}' is missing in '{folder.name}'.", "Choose the folder that holds 'images' and 'labels'."
            )
    if not layout.parse_map((folder / layout.MAP_FILE).read_text(encoding="utf-8-sig", errors="replace")):
        raise TileSetFormatError(f"{layout.MAP_FILE} has no line with an image and a label.", "Export the tiles again.")
    labels = form.find(folder, classes)
    pairs = [(p.relative_to(folder).as_posix(), labels[p.stem]) for p in form.images(folder) if p.stem in labels]
    if not pairs:
        raise EmptyTileSetError(f"No image in '{folder.name}' has a label of the same name.", "Export the tiles again.")
    return pairs


@dataclass(frozen=True)
class _Facts:
    bands: int
    size: int
    dtype: str
    nodata: float | None


def _facts(folder: Path, image: str) -> _Facts:
    with _opened(folder, image) as file:
        return _Facts(file.count, file.width, file.dtypes[0], file.nodata)


def _opened(folder: Path, path: str) -> rasterio.DatasetReader:
    try:
        return rasterio.open(folder / path)
    except RasterioIOError as error:
        raise TileSetFormatError(
            f"{path} is not a readable raster.", "Remove the image and its label, or export the tiles again."
        ) from error


def _chip(folder: Path, form: TileFormat, image: str, files: LabelFiles, size: int | None, classes: tuple[TileClass, ...]) -> _Chip:
    with _opened(folder, image) as file:
        if size is not None and (file.width, file.height) != (size, size):
            raise TileSetFormatError(
                f"{image} is {file.width} x {file.height} pixels, but the first tile is {size} x {size}.",
                "All tiles of a set must be squares of one size. Export the tiles again.",
            )
        crs = file.crs.to_string() if file.crs else ""
        transform, columns, rows = file.transform, file.width, file.height
    labels = form.read(folder, image, files, (rows, columns), classes)
    pixels = pixels_per_class(rough_pixels(labels, (rows, columns)) if labels.pixels is None else labels.pixels)
    values = [one.value for one in labels.objects] or (list(labels.classes) if form.per_object else [])
    objects = {value: values.count(value) for value in sorted(set(values))}
    return _Chip(Path(image).stem, image, files, crs, transform, (columns, rows), size is None, pixels, objects)


def _split(chips: list[_Chip], values: list[int]) -> tuple[list[Split], list[str]]:
    if all(chip.crs and not chip.transform.is_identity for chip in chips):
        outlines = footprints_m([c.transform for c in chips], [c.crs for c in chips], [c.size for c in chips])
        bounds = np.array([o.bounds for o in outlines])
        gap = float(np.median(np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])))
        pixels = np.array([[c.pixels.get(v, 0) for v in values or [0]] for c in chips], dtype=np.int64)
        return split_by_place(outlines, pixels, VALIDATION_SHARE, SEED, gap)
    return _split_by_number(len(chips))


def _split_by_number(count: int) -> tuple[list[Split], list[str]]:
    """Chips come in scan order, so a run of numbers is the nearest thing to a place: the last fifth, after a gap."""
    if count < 3:
        raise SplitError("There are fewer than three tiles, so none can be kept for validation.", "Export more tiles.")
    held = max(1, round(VALIDATION_SHARE * count))
    gap = max(1, round(0.05 * count))
    train = count - held - gap
    order: list[tuple[Split, int]] = [("train", train), ("gap", gap), ("validation", held)]
    return [split for split, times in order for _ in range(times)], ["first tiles"] * train + ["gap"] * gap + ["last tiles"] * held


def _tile_record(chip: _Chip, split: Split, place: str) -> TileRecord:
    t = chip.transform
    return TileRecord(
        name=chip.name,
        raster="",
        column=0,
        row=0,
        size=chip.size if chip.own_size else None,
        crs=chip.crs,
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
        place=place,
        split=split,
        pixels=chip.pixels,
        objects=chip.objects,
        image=chip.image,
        label=chip.files.label,
        masks=dict(chip.files.masks),
    )


def _band_names(definition: Mapping[str, Any], accumulated: Mapping[str, Any], bands: int) -> tuple[str, ...]:
    for source in (definition, accumulated):
        properties = source.get("InputRastersProps")
        names = properties.get("BandNames") if isinstance(properties, dict) else None
        if isinstance(names, list) and len(names) == bands and all(isinstance(n, str) and n.strip() for n in names):
            return layout.our_band_names(names)
    return ("red", "green", "blue") if bands == 3 else tuple(f"band_{i + 1}" for i in range(bands))


def _band_statistics(folder: Path, images: list[str], facts: _Facts) -> tuple[BandStatistics, ...]:
    statistics = RunningStatistics(facts.bands, facts.dtype)
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLED_IMAGES)).round().astype(int))
    for i in chosen:
        with _opened(folder, images[i]) as file:
            if (file.count, file.dtypes[0]) != (facts.bands, facts.dtype):
                raise TileSetFormatError(
                    f"{images[i]} has {file.count} bands of {file.dtypes[0]}, but the first tile has {facts.bands} of {facts.dtype}.",
                    "All tiles of a set must have the same bands. Export the tiles again.",
                )
            statistics.add(file.read(), file.dataset_mask() > 0)
    return statistics.result()
