"""PASCAL_VOC_rectangles: an XML file per tile with a box around each object. The name of an object is its class value as text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from errors import TileSetFormatError
from tiles.formats.base import Finding, LabelFiles, TileContent, unreadable
from tiles.formats.boxes import BoxFormat, Entry

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class PascalVoc(BoxFormat):
    """Floats with two decimals."""

    name = "PASCAL_VOC_rectangles"
    title = "A box around each object (PASCAL VOC)"
    description = "For programs that find and count things: ArcGIS object detection and many others."
    suffix = ".xml"

    def text(self, tile: TileContent) -> str:
        entries = [(str(one.value), one.box) for one in tile.objects]
        return annotation(Path(tile.image).name, tile.label.shape, tile.bands, entries)

    def entries(self, folder: Path, path: str, shape: tuple[int, int]) -> list[Entry]:
        return read_annotation(folder, path)[1]

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        yield from super().check(folder, image, files, shape, values)
        with contextlib.suppress(TileSetFormatError):  # was told already
            size = read_annotation(folder, files.label)[0]
            if size is not None and size != shape:
                yield Finding(files.label, f"the size {shape[1]} x {shape[0]} of its image", f"{size[1]} x {size[0]}")


def annotation(filename: str, shape: tuple[int, ...], bands: int, entries: Sequence[Entry]) -> str:
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


def read_annotation(folder: Path, path: str) -> tuple[tuple[int, int] | None, list[Entry]]:
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
