"""What the formats with a file of boxes per tile share."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from errors import TileSetFormatError
from tiles import layout
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, strange_value, unreadable
from tiles.layout import SideFacts
from tiles.objects import Box, TileObject
from tiles.tile_set import TileClass

ROUNDING = 0.01
"""Boxes are written with two decimals."""

NAMED = "Write the value of the class ({}) in place of its name: readers leave out what is named otherwise, without a word."

Entry = tuple[str, Box]
"""What a file calls the class, and the box in pixels."""


class BoxFormat(TileFormat):
    """Boxes in pixels from the outer corner of the first pixel, clipped to the tile."""

    suffix: ClassVar[str]
    side = SideFacts(model_type="ObjectDetection", counts_features=True)

    @abc.abstractmethod
    def text(self, tile: TileContent) -> str:
        """The label file of a tile."""

    @abc.abstractmethod
    def entries(self, folder: Path, path: str, shape: tuple[int, int]) -> list[Entry]:
        """What stands in a label file; `shape`: (rows, columns) of the image.

        Raises:
            TileSetFormatError: the file is missing or damaged.
        """

    def keys(self, values: Sequence[int]) -> dict[str, int]:
        """Class values, in the order of the side files, by what the label files call them: the value as text."""
        return {str(value): value for value in values}

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        path = f"{layout.LABELS}/{tile.name}{self.suffix}"
        sink.text(path, self.text(tile))
        return LabelFiles(path), tuple(tile.objects)

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return find_files(folder, self.suffix)

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        entries, keys = self.entries(folder, files.label, shape), self.keys([c.value for c in classes])
        for key, _ in entries:
            if key not in keys:
                raise strange_value(files.label, repr(key), classes)
        return TileLabels(None, tuple(TileObject(keys[key], inside(box, shape)) for key, box in entries))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        try:
            entries = self.entries(folder, files.label, shape)
        except TileSetFormatError as error:
            yield Finding(files.label, f"a label file as {self.name} asks", error.fact)
            return
        known = self.keys([v for v in values if v])
        for key in dict.fromkeys(key for key, _ in entries):
            if key not in known:
                named = next((value for value in values if values[value] == key), None)
                remedy = "Add the class to the list, or correct the label." if named is None else NAMED.format(named)
                yield Finding(files.label, f"a class of the set ({', '.join(known)})", repr(key), remedy)
        yield from check_boxes(files.label, [box for _, box in entries], shape)


def find_files(folder: Path, suffix: str) -> dict[str, LabelFiles]:
    """Label files of one ending, by stem; the .aux.xml that other programs leave about are none."""
    labels = sorted(p for p in (folder / layout.LABELS).iterdir() if p.suffix.lower() == suffix and ".aux" not in p.suffixes)
    return {p.stem: LabelFiles(f"{layout.LABELS}/{p.name}") for p in labels}


def read_lines(folder: Path, path: str) -> list[list[str]]:
    """The words of each line that has any.

    Raises:
        TileSetFormatError: the file is missing or no text.
    """
    try:
        text = (folder / path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(folder, path) from error
    return [line.split() for line in text.splitlines() if line.strip()]


def numbers(path: str, line: int, words: Sequence[str], columns: str) -> list[float]:
    """Words as numbers.

    Raises:
        TileSetFormatError: one is none; names the line and what its columns should be.
    """
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if not found or not np.isfinite(found).all():
        raise TileSetFormatError(f"Line {line} in {path} is not '{columns}'.", "Correct it, or export the tiles again.")
    return found


def inside(box: Box, shape: tuple[int, int]) -> Box:
    """The part of a box that lies in a tile of `shape` (rows, columns)."""
    left, right = np.clip([box[0], box[2]], 0, shape[1])
    top, bottom = np.clip([box[1], box[3]], 0, shape[0])
    return float(left), float(top), float(right), float(bottom)


def check_boxes(path: str, boxes: Sequence[Box], shape: tuple[int, int]) -> Iterator[Finding]:
    """Boxes that reach out of the tile, or that are no box."""
    rows, columns = shape
    for left, top, right, bottom in boxes:
        shown = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
        if not (left <= right and top <= bottom):
            yield Finding(path, "boxes with left below right and top below bottom", shown)
        elif left == right or top == bottom:
            yield Finding(path, "boxes with an area", shown, "Delete the object.", "elsewhere")
        elif min(left, top) < -ROUNDING or right > columns + ROUNDING or bottom > rows + ROUNDING:
            yield Finding(path, f"boxes within the {columns} x {rows} pixels of the image", shown)
