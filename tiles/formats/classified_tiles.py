"""Classified_Tiles: one raster per tile, the class value in each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tiles import layout
from tiles.formats.base import (
    Finding,
    LabelFiles,
    LabelSink,
    TileContent,
    TileFormat,
    TileLabels,
    check_raster,
    check_twin,
    images_in,
    read_band,
    same_shape,
    strange_value,
)
from tiles.layout import SideFacts
from tiles.objects import TileObject
from tiles.tile_set import TileClass

AS_BACKGROUND = "Write 0 there: background is 0, and 255 is no class. Other programs stop at it in the middle of training."


class ClassifiedTiles(TileFormat):
    """0 is background, and what must not be learnt from."""

    name = "Classified_Tiles"
    title = "A class for each pixel"
    description = "For roads, fields, water, any area."
    has_objects = False
    has_pixels = True
    pairs = True
    side = SideFacts(model_type="ImageClassification", counts_pixels=True)

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        path = f"{layout.LABELS}/{tile.name}{tile.label_suffix}"
        sink.raster(path, tile.label)
        return LabelFiles(path), ()

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return {p.stem: LabelFiles(f"{layout.LABELS}/{p.name}") for p in images_in(folder / layout.LABELS)}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        label = read_band(folder, files.label)
        same_shape(files.label, label.shape, shape)
        strange = sorted({int(v) for v in np.unique(label)} - {c.value for c in classes} - {0})
        if strange:
            raise strange_value(files.label, strange[0], classes)
        return TileLabels(label.astype(np.uint8))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        yield from check_twin(folder, image, shape)
        pixels, findings = check_raster(folder, files.label, shape)
        yield from findings
        strange = [] if pixels is None else sorted({int(v) for v in np.unique(pixels)} - set(values) - {0})
        if strange:
            allowed = ", ".join(map(str, sorted(set(values) - {0})))
            remedy = AS_BACKGROUND if strange == [255] else f"Write 0 where nothing is labelled, or add the class to {layout.DEFINITION_FILE}."
            yield Finding(files.label, f"only the values 0, {allowed}", f"the value {', '.join(map(str, strange[:3]))}", remedy)
        if pixels is not None and pixels.dtype != np.uint8:
            yield Finding(files.label, "numbers of 8 bits (uint8)", str(pixels.dtype), "Other programs ask for 8 bits.", "elsewhere")
