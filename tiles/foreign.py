"""Folders of training tiles that another program wrote: work out the record they lack."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioIOError

from errors import EmptyTileSetError, SplitError, TileSetFormatError
from imagery.grid import Grid
from imagery.read import validity
from models.values import BandStatistics
from tiles import layout
from tiles.apart import leaks
from tiles.division import divided_folders, made_division, unpaired_folders
from tiles.footprints import outlines
from tiles.formats import TileFormat, tile_format
from tiles.formats.base import LabelFiles, rough_pixels, twin_of
from tiles.split import split_by_place
from tiles.statistics import RunningStatistics, pixels_per_class
from tiles.tile_set import SecondImages, Split, TileClass, TileRecord, TileSet, TileSetRecord

VALIDATION_SHARE = 0.2
SEED = 0
PLACES: Mapping[Split, str] = {"train": "training", "validation": "validation", "gap": "used by neither"}
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
    image2: str = ""
    """The second image of the same place, where there is one."""


@dataclass(frozen=True)
class _Facts:
    bands: int
    size: tuple[int, int]
    """(columns, rows)"""
    dtype: str
    nodata: float | None


@dataclass(frozen=True)
class _Part:
    """What lies in one folder with side files."""

    folder: Path
    form: TileFormat
    classes: tuple[TileClass, ...]
    band_names: tuple[str, ...]
    facts: _Facts
    chips: list[_Chip]
    band_names2: tuple[str, ...] = ()
    """Of the second images; empty where there are none."""
    pixel_space: bool = False
    """Its tiles lie in the raw picture, not on the map."""


def derive_record(folder: Path) -> TileSetRecord:
    """The record of a folder in one of the known formats, from its side files, names and pixels; or of folders train/ and val/ of such.

    A division into training and validation that came with the tiles is kept where nothing leaks across it. Else chips that say where they lie
    are split by place; others, and what lies in one place alone, by their number, in runs with a gap between (`tiles.apart` tells so).

    Raises:
        TileSetFormatError: a side file or a folder is missing or wrong; the message names it.
        EmptyTileSetError: no image has a label.
    """
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        return _derive_record(folder)


def _derive_record(folder: Path) -> TileSetRecord:
    unpaired = unpaired_folders(folder)
    parts = [_read_part(folder, part) for part in unpaired or divided_folders(folder) or [folder]]
    first, chips = parts[0], [chip for part in parts for chip in part.chips]
    for part in [] if unpaired else parts[1:]:
        if (part.form, part.classes, part.band_names, part.facts) != (first.form, first.classes, first.band_names, first.facts):
            raise TileSetFormatError(
                f"The folders '{first.folder.name}' and '{part.folder.name}' differ in format, classes, bands or tile size.",
                "Export both in the same way.",
            )
    placed = chips[0].crs
    columns, rows = first.facts.size
    grid = Grid(columns, rows, chips[0].transform, CRS.from_user_input(placed)) if placed else None
    sides = made_division(folder, [chip.image for chip in chips])

    def record(splits: Sequence[Split], places: Sequence[str], *, made: bool) -> TileSetRecord:
        return TileSetRecord(
            metadata_format=first.form.name,
            made_elsewhere=True,
            made_division=made,
            settings={"reference_system": "pixel_space"} if first.pixel_space else {},
            classes=first.classes,
            band_names=first.band_names,
            dtype=first.facts.dtype,
            nodata=first.facts.nodata,
            band_statistics=statistics,
            second=second,
            resolution_m=grid.resolution_m if grid else None,
            crs=placed,
            tile_size=columns,
            tile_size_y=None if rows == columns else rows,
            stride=columns,
            seed=SEED,
            tiles=tuple(_tile_record(chip, split, place) for chip, split, place in zip(chips, splits, places, strict=True)),
        )

    ones = first.chips if unpaired else chips
    statistics = _band_statistics(folder, [chip.image for chip in ones], first.facts)
    second = _second(folder, parts[1].band_names, [c.image for c in parts[1].chips]) if unpaired else None
    if first.band_names2:
        second = _second(folder, first.band_names2, [c.image2 for c in chips])
    if sides is not None:
        made = record(sides, [f"{PLACES[side]}, as it came" for side in sides], made=True)
        if not leaks(TileSet(folder, made)):
            return made
    return record(*_split(first.form, chips, [c.value for c in first.classes]), made=False)


def _read_part(folder: Path, part: Path) -> _Part:
    """What lies in one folder with side files, paths as seen from `folder`."""
    accumulated, definition = _side_files(part)
    form = tile_format(str(accumulated.get("MetaDataMode")))
    classes = _classes(definition, form)
    pairs = _pairs(part, form, classes)
    facts = _facts(part, pairs[0][0])
    size = None if definition.get("CropTileMode") == layout.VARIABLE_SIZE else facts.size
    stated = _stated_crs(definition, accumulated)
    chips = [_chip(part, form, image, files, size, classes, stated) for image, files in pairs]
    if part != folder:
        if form.name == "COCO_rectangles":  # its one file of labels is looked for at the top
            raise TileSetFormatError("COCO tiles cannot be read from folders train and val at once.", "Open one of the folders by itself.")
        chips = [_below(part.name, chip) for chip in chips]
    names = _band_names(definition, accumulated, facts.bands)
    names2: tuple[str, ...] = ()
    if chips[0].image2:
        names2 = _band_names(definition, accumulated, _facts(folder, chips[0].image2).bands, "InputRastersProps2")
    return _Part(part, form, classes, names, facts, chips, names2, definition.get("ImageSpaceUsed") == layout.PIXEL_SPACE)


def _below(name: str, chip: _Chip) -> _Chip:
    files = LabelFiles(f"{name}/{chip.files.label}" if chip.files.label else "", {v: f"{name}/{m}" for v, m in chip.files.masks.items()})
    image2 = f"{name}/{chip.image2}" if chip.image2 else ""
    return replace(chip, name=f"{name}-{chip.name}", image=f"{name}/{chip.image}", image2=image2, files=files)


def _side_files(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not folder.is_dir():
        raise TileSetFormatError(f"There is no folder '{folder.name}'.", "Check the path.")
    meant = right_folder(folder)
    if meant is not None:
        raise TileSetFormatError(f"'{folder.name}' is not the folder that holds {layout.MAP_FILE}.", f"Choose '{meant}'.")
    for name in layout.NEEDED_FILES:
        if not (folder / name).exists():
            raise TileSetFormatError(
                f"{name} is missing in '{folder.name}', so it is not a complete folder of training tiles.",
                "Choose the folder that holds 'images' directly, or export the tiles again.",
            )
    accumulated, definition = (read_side_json(folder / name) for name in (layout.ACCUMULATED_FILE, layout.DEFINITION_FILE))
    tile_format(str(accumulated.get("MetaDataMode")))
    return accumulated, definition


def right_folder(folder: Path) -> Path | None:
    """The folder that was meant: the one above or inside that holds the side files; None where this one does, or none or several do."""

    def holds(one: Path) -> bool:
        return (one / layout.ACCUMULATED_FILE).is_file() or (one / layout.DEFINITION_FILE).is_file()

    if holds(folder) or divided_folders(folder) or unpaired_folders(folder):
        return None
    inside = [one for one in sorted(folder.iterdir()) if one.is_dir() and holds(one)]
    near = [folder.parent] if holds(folder.parent) else inside
    return near[0] if len(near) == 1 else None


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


def _facts(folder: Path, image: str) -> _Facts:
    with _opened(folder, image) as file:
        return _Facts(file.count, (file.width, file.height), file.dtypes[0], file.nodata)


def _opened(folder: Path, path: str) -> rasterio.DatasetReader:
    try:
        return rasterio.open(folder / path)
    except RasterioIOError as error:
        raise TileSetFormatError(
            f"{path} is not a readable raster.", "Remove the image and its label, or export the tiles again."
        ) from error


def _chip(
    folder: Path, form: TileFormat, image: str, files: LabelFiles, size: tuple[int, int] | None, classes: tuple[TileClass, ...], stated: CRS | None
) -> _Chip:
    with _opened(folder, image) as file:
        if size is not None and (file.width, file.height) != size:
            raise TileSetFormatError(
                f"{image} is {file.width} x {file.height} pixels, but the first tile is {size[0]} x {size[1]}.",
                "All tiles of a set must be of one size. Export the tiles again.",
            )
        transform, columns, rows = file.transform, file.width, file.height
        crs = file.crs or (None if transform.is_identity else stated)
    labels = form.read(folder, image, files, (rows, columns), classes)
    pixels = pixels_per_class(rough_pixels(labels, (rows, columns)) if labels.pixels is None else labels.pixels)
    values = [one.value for one in labels.objects] or (list(labels.classes) if form.per_object else [])
    objects = {value: values.count(value) for value in sorted(set(values))}
    place = crs.to_string() if crs else ""
    image2 = _twin(folder, image) if form.pairs and (folder / layout.IMAGES2).is_dir() else ""
    return _Chip(Path(image).stem, image, files, place, transform, (columns, rows), size is None, pixels, objects, image2)


def _twin(folder: Path, image: str) -> str:
    found = twin_of(folder, image)
    if not found:
        raise TileSetFormatError(
            f"{image} has no second image of the same name in '{layout.IMAGES2}'.", "Bring it back, or export the tiles again."
        )
    return found


def _second(folder: Path, band_names: tuple[str, ...], images: list[str]) -> SecondImages:
    facts = _facts(folder, images[0])
    statistics = _band_statistics(folder, images, facts)
    return SecondImages(band_names=band_names, dtype=facts.dtype, nodata=facts.nodata, band_statistics=statistics)


def _stated_crs(definition: Mapping[str, Any], accumulated: Mapping[str, Any]) -> CRS | None:
    """The one CRS that the side files give for all chips; what chips with only a world file beside them lie in."""
    for source in (definition, accumulated):
        references = [size.get("spatialReference") for k in ("MinCellSize", "MaxCellSize") if isinstance(size := source.get(k), dict)]
        if len(references) == 2 and references[0] == references[1] and isinstance(references[0], dict):
            for told in (
                references[0].get("wkt"),
                *(f"{who}:{references[0].get(k)}" for k in ("latestWkid", "wkid") for who in ("EPSG", "ESRI")),
            ):
                try:
                    return CRS.from_user_input(told)
                except (CRSError, TypeError):
                    continue
    return None


def _split(form: TileFormat, chips: list[_Chip], values: list[int]) -> tuple[list[Split], list[str]]:
    places = outlines([c.transform for c in chips], [c.crs for c in chips], [c.size for c in chips])
    if places is not None:
        bounds = shapely.bounds(places)
        gap = float(np.median(np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])))
        pixels = np.array([[c.pixels.get(v, 0) for v in values or [0]] for c in chips], dtype=np.int64)
        with contextlib.suppress(SplitError):  # all in one place
            return split_by_place(places, pixels, VALIDATION_SHARE, SEED, gap)
    return _split_by_number([next(iter(c.objects), 0) if form.per_object else 0 for c in chips])


def _split_by_number(kinds: Sequence[int]) -> tuple[list[Split], list[str]]:
    """Chips come in scan order, so a run of numbers is the nearest thing to a place: the last fifth of each kind, after a gap.

    Args:
        kinds: Of each chip; a kind of which there are fewer than three is only learnt from.
    """
    splits: list[Split] = ["train"] * len(kinds)
    for kind in dict.fromkeys(kinds):
        mine = [i for i, one in enumerate(kinds) if one == kind]
        if len(mine) >= 3:
            held, gap = max(1, round(VALIDATION_SHARE * len(mine))), max(1, round(0.05 * len(mine)))
            for i in mine[-held:]:
                splits[i] = "validation"
            for i in mine[-held - gap : -held]:
                splits[i] = "gap"
    if "validation" not in splits:
        raise SplitError("There are fewer than three tiles, so none can be kept for validation.", "Export more tiles.")
    return splits, [{"train": "first tiles", "gap": "gap", "validation": "last tiles"}[split] for split in splits]


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
        image2=chip.image2,
        label=chip.files.label,
        masks=dict(chip.files.masks),
    )


def _band_names(
    definition: Mapping[str, Any], accumulated: Mapping[str, Any], bands: int, key: str = "InputRastersProps"
) -> tuple[str, ...]:
    for source in (definition, accumulated):
        properties = source.get(key)
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
            image = file.read()
            statistics.add(image, (file.dataset_mask() > 0) & validity(image, file, file.indexes))
    return statistics.result()
