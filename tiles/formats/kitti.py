"""KITTI_rectangles: a text file per tile, a line of 15 columns for each object."""

from __future__ import annotations

from pathlib import Path

from errors import TileSetFormatError
from tiles.formats.base import TileContent
from tiles.formats.boxes import BoxFormat, Entry, numbers, read_lines

COLUMNS = 15
WORDS = "class, 3 unused, left, top, right, bottom, 7 unused"


class Kitti(BoxFormat):
    """Column 1 is the class value, 5 to 8 are the box; the rest (occlusion, angles, place in space) is 0."""

    name = "KITTI_rectangles"
    title = "A box around each object (KITTI)"
    description = "For programs that read the text files of the KITTI data set."
    suffix = ".txt"

    def text(self, tile: TileContent) -> str:
        rest = " ".join(["0.00"] * 7)
        boxes = [(one.value, " ".join(f"{number:.2f}" for number in one.box)) for one in tile.objects]
        return "".join(f"{value} 0.00 0 0.00 {box} {rest}\n" for value, box in boxes)

    def entries(self, folder: Path, path: str, shape: tuple[int, int]) -> list[Entry]:
        found: list[Entry] = []
        for line, words in enumerate(read_lines(folder, path), 1):
            if len(words) != COLUMNS:
                raise TileSetFormatError(
                    f"Line {line} in {path} has {len(words)} columns, not {COLUMNS} ({WORDS}).", "Correct it, or export the tiles again."
                )
            left, top, right, bottom = numbers(path, line, words[4:8], WORDS)
            found.append((words[0], (left, top, right, bottom)))
        return found
