"""Imagenet: a tile around each object, in a folder named by its class; no label files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tiles import layout
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, images_in, strange_value
from tiles.formats.rcnn_masks import check_folders
from tiles.layout import SideFacts
from tiles.objects import TileObject
from tiles.tile_set import TileClass


class Imagenet(TileFormat):
    """The folder is the class."""

    name = "Imagenet"
    title = "A tile for each object, in a folder for its class (ImageNet)"
    description = "For programs that say what a single thing is and read a folder for each class."
    per_object = True
    needs_class = True
    named_folders = True
    label_folder = None
    label_needed = False
    side = SideFacts(model_type="ObjectClassification", counts_features=True)

    def image_path(
        self, name: str, label: NDArray[np.uint8], objects: Sequence[TileObject], classes: Sequence[TileClass], suffix: str = ".tif"
    ) -> str:
        return f"{layout.IMAGES}/{layout.folder_names(classes)[objects[0].value]}/{name}{suffix}"

    def images(self, folder: Path) -> list[Path]:
        return [image for one in sorted((folder / layout.IMAGES).iterdir()) if one.is_dir() for image in images_in(one)]

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        return LabelFiles(), tuple(tile.objects)

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return {p.stem: LabelFiles() for p in self.images(folder)}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        named = PurePosixPath(image).parent.name
        values = {c.name: c.value for c in classes} | {fit: value for value, fit in layout.folder_names(classes).items()}
        value = values.get(named)
        if value is None:
            raise strange_value(image, f"'{named}' as its folder", classes)
        return TileLabels(None, classes=(value,))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        return iter(())

    def check_set(self, folder: Path, values: Mapping[int, str]) -> Iterator[Finding]:
        yield from check_folders(folder, layout.IMAGES, values)
        for path in images_in(folder / layout.IMAGES):
            yield Finding(f"{layout.IMAGES}/{path.name}", "an image in the folder of its class", "it in none", "It is left out.", "none")
