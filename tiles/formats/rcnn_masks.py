"""RCNN_Masks: for each class a folder named by it, with a raster for each tile that shows it; pixels count the objects, 1 to n."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiles import layout
from tiles.formats.base import (
    Finding,
    LabelFiles,
    LabelSink,
    TileContent,
    TileFormat,
    TileLabels,
    check_raster,
    images_in,
    read_band,
    same_shape,
)
from tiles.layout import SideFacts
from tiles.objects import TileObject, box_of_mask
from tiles.tile_set import TileClass


class RcnnMasks(TileFormat):
    """An object keeps its pixels where one of another class lies over it; within a class the later object wins."""

    name = "RCNN_Masks"
    title = "An outline of each object (RCNN masks)"
    description = "For programs that find and outline single things, such as ArcGIS MaskRCNN."
    has_outlines = True
    has_instances = True
    has_pixels = True
    named_folders = True
    label_needed = False
    side = SideFacts(model_type="InstanceDetection", counts_features=True)

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        return write_masks(sink, tile, layout.LABELS)

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return {stem: LabelFiles(masks=masks) for stem, masks in find_masks(folder, layout.LABELS, classes).items()}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        pixels = np.zeros(shape, dtype=np.uint8)
        objects: list[TileObject] = []
        for c in classes:  # in drawing order: the later class lies above
            if c.value in files.masks:
                numbers = _numbers(folder, files.masks[c.value], shape)
                pixels[numbers > 0] = c.value
                objects += objects_of(numbers, c.value)
        return TileLabels(pixels, tuple(objects))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        for path in files.masks.values():
            yield from check_mask(folder, path, shape)

    def check_set(self, folder: Path, values: Mapping[int, str]) -> Iterator[Finding]:
        yield from check_folders(folder, layout.LABELS, values)


def write_masks(sink: LabelSink, tile: TileContent, parent: str) -> tuple[LabelFiles, tuple[TileObject, ...]]:
    """Write the instance masks of a tile below `parent`; objects that cover no pixel's centre are left out and the rest is counted anew."""
    folders = layout.folder_names(tile.classes)
    masks, written = {}, []
    for value in sorted(tile.instances):
        mine = [one for one in tile.objects if one.value == value]
        seen = np.unique(tile.instances[value])
        seen = seen[seen > 0]
        if not len(seen):
            continue
        again = np.zeros(len(mine) + 1, dtype=np.uint16 if len(seen) > 255 else np.uint8)
        again[seen] = np.arange(1, len(seen) + 1)
        masks[value] = f"{parent}/{folders[value]}/{tile.name}{tile.label_suffix}"
        sink.raster(masks[value], again[tile.instances[value]])
        written += [mine[number - 1] for number in seen]
    return LabelFiles(masks=masks), tuple(written)


def find_masks(folder: Path, parent: str, classes: Sequence[TileClass]) -> dict[str, dict[int, str]]:
    """Masks below `parent`, by stem and class value. Folders are named as a folder may be named, or else by the class as it is."""
    folders = {here.name: here for here in (folder / parent).glob("*/")}
    values = {fit: value for value, fit in layout.folder_names(classes).items()}
    if not folders.keys() <= values.keys():
        values |= {c.name: c.value for c in classes}
    found: dict[str, dict[int, str]] = {}
    for name in sorted(folders.keys() & values.keys()):
        for path in images_in(folders[name]):
            found.setdefault(path.stem, {})[values[name]] = f"{parent}/{name}/{path.name}"
    return found


def objects_of(numbers: NDArray[np.integer], value: int) -> list[TileObject]:
    """The objects in an instance mask."""
    found = []
    for number in np.unique(numbers[numbers > 0]):
        mask = numbers == number
        found.append(TileObject(value, box_of_mask(mask), mask=mask))
    return found


def check_mask(folder: Path, path: str, shape: tuple[int, int]) -> Iterator[Finding]:
    """A mask of the image's size whose numbers run from 1 without a gap."""
    pixels, findings = check_raster(folder, path, shape)
    yield from findings
    if pixels is None:
        return
    seen = [int(v) for v in np.unique(pixels) if v > 0]
    if not seen:
        yield Finding(path, "at least one object", "none")
    elif seen != list(range(1, len(seen) + 1)):
        missing = next(n for n, v in enumerate(seen, 1) if n != v)
        yield Finding(path, f"objects numbered from 1 to {len(seen)}", f"{seen[missing - 1]} in place of {missing}")


def check_folders(folder: Path, parent: str, values: Mapping[int, str]) -> Iterator[Finding]:
    """Only folders named by a class."""
    for path in sorted((folder / parent).iterdir()):
        if path.is_dir() and path.name not in values.values():
            yield Finding(f"{parent}/{path.name}", f"a folder named by a class ({', '.join(values.values())})", "a name that is no class")


def _numbers(folder: Path, path: str, shape: tuple[int, int]) -> NDArray[np.integer]:
    numbers = read_band(folder, path)
    same_shape(path, numbers.shape, shape)
    return numbers
