"""PASCAL_VOC_rectangles: an XML file per tile with a box around each object. The name of an object is its class value as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from errors import TileSetFormatError
from tiles import layout
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, strange_value, unreadable
from tiles.formats.boxes import check_boxes, inside
from tiles.layout import SideFacts
from tiles.objects import Box, TileObject
from tiles.tile_set import TileClass

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class PascalVoc(TileFormat):
    """Pixels as floats with two decimals, from the outer corner of the first pixel, clipped to the tile."""

    name = "PASCAL_VOC_rectangles"
    title = "A box around each object (PASCAL VOC)"
    description = "For programs that find and count things: ArcGIS object detection and many others."
    side = SideFacts(model_type="ObjectDetection", counts_features=True)

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        path = f"{layout.LABELS}/{tile.name}.xml"
        entries = [(str(one.value), one.box) for one in tile.objects]
        sink.text(path, annotation(Path(tile.image).name, tile.label.shape, tile.bands, entries))
        return LabelFiles(path), tuple(tile.objects)

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        labels = sorted(p for p in (folder / layout.LABELS).iterdir() if p.suffix.lower() == ".xml" and not p.name.endswith(".aux.xml"))
        return {p.stem: LabelFiles(f"{layout.LABELS}/{p.name}") for p in labels}

    def read(self, folder: Path, stem: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        entries = read_annotation(folder, files.label)[1]
        values = {str(c.value): c.value for c in classes}
        for name, _ in entries:
            if name not in values:
                raise strange_value(files.label, repr(name), classes)
        found = [TileObject(values[name], inside(box, shape)) for name, box in entries]
        return TileLabels(None, tuple(found))

    def check(self, folder: Path, stem: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        try:
            size, entries = read_annotation(folder, files.label)
        except TileSetFormatError as error:
            yield Finding(files.label, "an annotation whose objects have a name and a bndbox", error.fact)
            return
        if size is not None and size != shape:
            yield Finding(files.label, f"the size {shape[1]} x {shape[0]} of its image", f"{size[1]} x {size[0]}")
        known = {str(value) for value in values}
        for name, _ in entries:
            if name not in known:
                yield Finding(files.label, f"as name a class value ({', '.join(sorted(known))})", repr(name))
        yield from check_boxes(files.label, [box for _, box in entries], shape)


def annotation(filename: str, shape: tuple[int, ...], bands: int, entries: Sequence[tuple[str, Box]]) -> str:
    """The text of one annotation, laid out as ArcGIS does.

    Args:
        filename: Of the image.
        shape: (rows, columns).
        bands: Of the image.
        entries: Name and box of each object.
    """
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = filename
    ElementTree.SubElement(ElementTree.SubElement(root, "source"), "annotation").text = "Terratune"
    size = ElementTree.SubElement(root, "size")
    for tag, count in (("width", shape[1]), ("height", shape[0]), ("depth", bands)):
        ElementTree.SubElement(size, tag).text = str(count)
    for name, box in entries:
        one = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(one, "name").text = name
        corners = ElementTree.SubElement(one, "bndbox")
        for tag, number in zip(CORNERS, box, strict=True):
            ElementTree.SubElement(corners, tag).text = f"{number:.2f}"
    ElementTree.indent(root, "    ")
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def read_annotation(folder: Path, path: str) -> tuple[tuple[int, int] | None, list[tuple[str, Box]]]:
    """((rows, columns) where it says so, name and box of each object).

    Raises:
        TileSetFormatError: the file is missing or damaged.
    """
    try:
        root = ElementTree.parse(folder / path).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise unreadable(folder, path) from error
    entries = []
    for number, one in enumerate(root.iter("object"), 1):
        try:
            left, top, right, bottom = (float(one.findtext(f"bndbox/{tag}", "")) for tag in CORNERS)
        except ValueError as error:
            raise TileSetFormatError(
                f"Object {number} in {path} has no complete bndbox ({', '.join(CORNERS)}).", "Correct it, or export the tiles again."
            ) from error
        entries.append(((one.findtext("name") or "").strip(), (left, top, right, bottom)))
    height, width = (_whole(root.findtext(f"size/{tag}")) for tag in ("height", "width"))
    return ((height, width) if height and width else None), entries


def _whole(text: str | None) -> int:
    """The number in a text, 0 where there is none."""
    return int(text) if text and text.strip().isdecimal() else 0
