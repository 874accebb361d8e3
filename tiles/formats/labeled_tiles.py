"""Labeled_Tiles: a tile around each object, with an XML file of the one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from errors import TileSetFormatError
from tiles.formats.base import Finding, LabelFiles, TileLabels
from tiles.formats.pascal_voc import PascalVoc, read_annotation
from tiles.layout import SideFacts
from tiles.tile_set import TileClass


class LabeledTiles(PascalVoc):
    """The first object names the class value; its box is the object's."""

    name = "Labeled_Tiles"
    title = "A tile for each object, with its class (labelled tiles)"
    description = "For programs that say what a single thing is, such as whether a house is damaged."
    per_object = True
    may_blacken = True
    needs_class = True
    side = SideFacts(model_type="ObjectClassification", counts_features=True)

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        labels = super().read(folder, image, files, shape, classes)
        return TileLabels(None, labels.objects, tuple(one.value for one in labels.objects[:1]))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        yield from super().check(folder, image, files, shape, values)
        try:
            count = len(read_annotation(folder, files.label)[1])
        except TileSetFormatError:  # was told already
            return
        if count != 1:
            yield Finding(files.label, "one object", str(count))
