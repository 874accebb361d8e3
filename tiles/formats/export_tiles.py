"""Export_Tiles: images only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, check_twin
from tiles.layout import SideFacts
from tiles.objects import TileObject
from tiles.tile_set import TileClass


class ExportTiles(TileFormat):
    """The labels only choose which tiles are cut."""

    name = "Export_Tiles"
    title = "Images only (export tiles)"
    description = "Pictures without labels, for programs that improve, translate or look through pictures."
    has_objects = False
    has_classes = False
    pairs = True
    label_folder = None
    label_needed = False
    side = SideFacts(model_type="", counts_features=True)

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        return LabelFiles(), ()

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return {p.stem: LabelFiles() for p in self.images(folder)}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        return TileLabels(None)

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        return check_twin(folder, image, shape)
