"""MultiLabeled_Tiles: an XML file per tile that names all classes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from errors import TileSetFormatError
from tiles import layout
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, strange_value
from tiles.formats.boxes import find_files
from tiles.formats.pascal_voc import annotation, read_annotation
from tiles.layout import SideFacts
from tiles.objects import TileObject
from tiles.tile_set import TileClass


class MultiLabeledTiles(TileFormat):
    """One object whose name is the class names with commas between, in the order of the class list. Its box is the tile."""

    name = "MultiLabeled_Tiles"
    title = "What each tile shows, as a list (multi-labelled tiles)"
    description = "For programs that say which things are somewhere in a picture, not where in it."
    has_objects = False
    needs_class = True
    side = SideFacts(model_type="ImageClassification", counts_pixels=True)

    def class_names(self, classes: Sequence[TileClass]) -> dict[int, str]:
        """Without commas, which would make two names of one; distinct."""
        return layout.distinct_names({c.value: " ".join(c.name.replace(",", " ").split()) or f"class {c.value}" for c in classes})

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        path = f"{layout.LABELS}/{tile.name}.xml"
        names = self.class_names(tile.classes)
        shown = ",".join(names[c.value] for c in tile.classes if (tile.label == c.value).any())
        rows, columns = tile.label.shape
        whole = (0.0, 0.0, float(columns), float(rows))
        sink.text(path, annotation(Path(tile.image).name, tile.label.shape, tile.bands, [(shown, whole)]))
        return LabelFiles(path), ()

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return find_files(folder, ".xml")

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        values = {name: value for names in ({c.value: c.name for c in classes}, self.class_names(classes)) for value, name in names.items()}
        shown = _names(folder, files.label)
        for name in shown:
            if name not in values:
                raise strange_value(files.label, repr(name), classes)
        return TileLabels(None, classes=tuple(values[name] for name in shown))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        try:
            shown = _names(folder, files.label)
        except TileSetFormatError as error:
            yield Finding(files.label, "an annotation with one object that names classes", error.fact)
            return
        if not shown:
            yield Finding(files.label, "an object that names at least one class", "none")
        for name in shown:
            if name not in values.values():
                yield Finding(files.label, f"names of classes ({', '.join(values.values())})", repr(name))


def _names(folder: Path, path: str) -> list[str]:
    """The names in the first object."""
    entries = read_annotation(folder, path)[1]
    return [name.strip() for name in entries[0][0].split(",") if name.strip()] if entries else []
