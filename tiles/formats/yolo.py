"""YOLO_rectangles: a text file per tile, `class x y width height` a line; data.yaml tells a YOLO trainer the classes and the split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from errors import TileSetFormatError
from tiles.formats.base import TileContent
from tiles.formats.boxes import BoxFormat, Entry, numbers, read_lines
from tiles.objects import TileObject
from tiles.tile_set import TileSetRecord

WORDS = "class, x and y of the middle, width, height, as shares of the image"
DATA_FILE = "data.yaml"
SIDES = (("train", "train.txt"), ("val", "val.txt"))


class Yolo(BoxFormat):
    """Classes are counted from 0 in the order of the class list; the middle and the size of a box are shares of the image's sides."""

    name = "YOLO_rectangles"
    title = "A box around each object (YOLO)"
    description = "For YOLO programs such as Ultralytics: give them the data.yaml. Places for training and validation stay apart."
    suffix = ".txt"

    def keys(self, values: Sequence[int]) -> dict[str, int]:
        return {str(number): value for number, value in enumerate(values)}

    def text(self, tile: TileContent) -> str:
        rows, columns = tile.label.shape
        number = {c.value: i for i, c in enumerate(tile.classes)}
        lines = []
        for one in tile.objects:
            left, top, right, bottom = one.box
            shares = ((left + right) / 2 / columns, (top + bottom) / 2 / rows, (right - left) / columns, (bottom - top) / rows)
            lines.append(f"{number[one.value]} {' '.join(f'{share:.6f}' for share in shares)}\n")
        return "".join(lines)

    def entries(self, folder: Path, path: str, shape: tuple[int, int]) -> list[Entry]:
        rows, columns = shape
        found: list[Entry] = []
        for line, words in enumerate(read_lines(folder, path), 1):
            if len(words) != 5:
                raise TileSetFormatError(
                    f"Line {line} in {path} has {len(words)} columns, not 5 ({WORDS}).", "Correct it, or export the tiles again."
                )
            x, y, width, height = numbers(path, line, words[1:], WORDS)
            corners = (x - width / 2) * columns, (y - height / 2) * rows, (x + width / 2) * columns, (y + height / 2) * rows
            left, top, right, bottom = (round(corner, 2) + 0.0 for corner in corners)
            found.append((words[0], (left, top, right, bottom)))
        return found

    def more_files(self, record: TileSetRecord, objects: Sequence[Sequence[TileObject]]) -> dict[str, str]:
        """data.yaml, and the images of each side; JSON strings are YAML, too."""
        names = "".join(f"  {i}: {json.dumps(c.name, ensure_ascii=False)}\n" for i, c in enumerate(record.classes))
        lists = {
            file: "".join(f"./{tile.image}\n" for tile in tiles)
            for (_, file), tiles in zip(SIDES, (record.in_split("train"), record.in_split("validation")), strict=True)
        }
        return {DATA_FILE: "".join(f"{side}: {file}\n" for side, file in SIDES) + f"names:\n{names}", **lists}
