"""Panoptic_Segmentation: class values as in Classified_Tiles below labels, and instance masks as in RCNN_Masks below labels2."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiles import layout
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, read_band, same_shape
from tiles.formats.classified_tiles import ClassifiedTiles
from tiles.formats.rcnn_masks import check_folders, check_mask, find_masks, objects_of, write_masks
from tiles.layout import SideFacts
from tiles.objects import TileObject
from tiles.tile_set import TileClass

INSTANCES = "labels2"
INSTANCE_CLASSES = "Panoptic_Segmentation_Instance_Classes"
_CLASSES = ClassifiedTiles()


class PanopticSegmentation(TileFormat):
    """Some classes have single objects ("things"), or all of them; the others are areas only ("stuff")."""

    name = "Panoptic_Segmentation"
    title = "A class for each pixel and an outline of each object (panoptic)"
    description = "For programs that map areas and tell single objects apart at once."
    has_pixels = True
    has_outlines = True
    has_instances = True
    named_folders = True
    chooses_instances = True
    side = SideFacts(model_type="PanopticSegmentation", counts_pixels=True, counts_features=True)

    def definition(self, classes: Sequence[Mapping[str, Any]], instance_classes: Sequence[int] = ()) -> dict[str, Any]:
        return {INSTANCE_CLASSES: [c for c in classes if not instance_classes or c["Value"] in instance_classes]}

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        (label, _), (instances, written) = _CLASSES.write(sink, tile), write_masks(sink, tile, INSTANCES)
        return LabelFiles(label.label, instances.masks), written

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        masks = find_masks(folder, INSTANCES, classes)
        return {stem: LabelFiles(files.label, masks.get(stem, {})) for stem, files in _CLASSES.find(folder, classes).items()}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        objects: list[TileObject] = []
        for c in classes:
            if c.value in files.masks:
                numbers = read_band(folder, files.masks[c.value])
                same_shape(files.masks[c.value], numbers.shape, shape)
                objects += objects_of(numbers, c.value)
        return TileLabels(_CLASSES.read(folder, image, files, shape, classes).pixels, tuple(objects))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        yield from _CLASSES.check(folder, image, files, shape, values)
        for path in files.masks.values():
            yield from check_mask(folder, path, shape)

    def check_set(self, folder: Path, values: Mapping[int, str]) -> Iterator[Finding]:
        if (folder / INSTANCES).is_dir():
            yield from check_folders(folder, INSTANCES, _instance_classes(folder, values))
        else:
            yield Finding(INSTANCES, "this folder", "no such folder")


def _instance_classes(folder: Path, values: Mapping[int, str]) -> dict[int, str]:
    """Names, by value, of the classes that may have single objects: those that the .emd lists, all where it lists none."""
    listed = json.loads((folder / layout.DEFINITION_FILE).read_text(encoding="utf-8-sig")).get(INSTANCE_CLASSES)
    chosen = {c.get("Value", c.get("ClassValue")) for c in listed if isinstance(c, dict)} if isinstance(listed, list) else set(values)
    return {value: name for value, name in values.items() if value in chosen}
