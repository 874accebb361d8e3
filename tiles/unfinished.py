"""The hidden folder in which a tile set is made, and the note of what in it is finished: an export that was killed goes on from there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import re
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from errors import TileSetError
from tiles.manifest import checksum_of
from tiles.objects import TileObject

PROGRESS = "progress"
"""Folder of the note; gone from a finished set."""
LOCK = "lock"
TILES_FILE, CHECKSUMS_FILE, STATE_FILE = "tiles.jsonl", "checksums.jsonl", "state.npz"


@dataclass(frozen=True)
class WrittenTile:
    """What was written of one tile: the parts of its record of the same names."""

    name: str
    image: str
    label: str
    masks: dict[int, str]
    ignore: str | None
    pixels: dict[int, int]
    ignored_pixels: int
    objects: dict[int, int]
    image2: str = ""


@dataclass(frozen=True)
class FinishedTile:
    """All that has to be known of a tile later on."""

    written: WrittenTile
    objects: tuple[TileObject, ...]


State = Mapping[str, NDArray[Any]]
"""What whoever cuts the tiles wants back to go on."""


@dataclass(frozen=True)
class Progress:
    """How far a set is."""

    tiles: list[FinishedTile]
    """All so far."""
    checksums: dict[str, str]
    """SHA-256 of each file so far, by path, in the order in which they were written."""
    state: State


class UnfinishedSet:
    """The folder `.<name>.<key>.part` beside the one to be made; a context manager, which locks it and clears away what it left.

    Args:
        folder: To be made.
        key: Says what it is made from; "": nothing can be taken up again.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self.path = folder.with_name(f".{folder.name}.{hashlib.sha256(key.encode()).hexdigest()[:8] if key else secrets.token_hex(4)}.part")
        self._stack = contextlib.ExitStack()
        self._noted = (0, 0)

    def __enter__(self) -> UnfinishedSet:
        """Raises: TileSetError: another process is making the same set."""
        for other in _leftovers(self._folder):
            if other != self.path:
                _remove_unlocked(other)
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._stack.enter_context(_locked(self.path)):
            raise TileSetError(
                f"The tiles '{self._folder.name}' are being made at this moment.", "Wait until they are there, or choose another name."
            )
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._stack.close()

    def note(self, progress: Progress) -> None:
        """Note what is written."""
        notes = self.path / PROGRESS
        notes.mkdir(exist_ok=True)
        tiles, checksums = self._noted
        _append(notes / TILES_FILE, map(_line, progress.tiles[tiles:]))
        _append(notes / CHECKSUMS_FILE, map(json.dumps, itertools.islice(progress.checksums.items(), checksums, None)))
        self._noted = len(progress.tiles), len(progress.checksums)
        new = notes / f"new-{STATE_FILE}"
        with new.open("wb") as file:
            np.savez(file, allow_pickle=False, noted=np.array(self._noted), **progress.state)
        new.replace(notes / STATE_FILE)

    def taken_up(self) -> Progress | None:
        """What a killed process noted last, if all of it is there as it was written; else None, and the folder is emptied."""
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ValidationError):
            progress = self._read()
            if all(checksum_of(self.path / path) == checksum for path, checksum in progress.checksums.items()):
                return progress
        self._noted = (0, 0)
        for left in self.path.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        return None

    def complete(self) -> None:
        """Drop the note: all is there."""
        shutil.rmtree(self.path / PROGRESS, ignore_errors=True)
        (self.path / LOCK).unlink(missing_ok=True)

    def _read(self) -> Progress:
        """What is noted; what was appended after the state was taken is cut off."""
        notes = self.path / PROGRESS
        with np.load(notes / STATE_FILE) as file:
            state = {name: file[name] for name in file.files}
        tiles, checksums = self._noted = tuple(state.pop("noted").tolist())
        lines = {
            name: (notes / name).read_text(encoding="utf-8").splitlines()[:count]
            for name, count in ((TILES_FILE, tiles), (CHECKSUMS_FILE, checksums))
        }
        if (len(lines[TILES_FILE]), len(lines[CHECKSUMS_FILE])) != self._noted:
            raise ValueError("Lines are missing.")
        for name, kept in lines.items():
            (notes / name).unlink()
            _append(notes / name, kept)
        return Progress([_tile(line) for line in lines[TILES_FILE]], dict(map(json.loads, lines[CHECKSUMS_FILE])), state)


def clear_away(folder: Path) -> None:
    """Remove what killed processes left when they made this set; what is at work at this moment stays.

    Args:
        folder: Of the set, whether it is there or not.
    """
    for left in _leftovers(folder):
        _remove_unlocked(left)


def _append(path: Path, lines: Iterable[str]) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _line(tile: FinishedTile) -> str:
    objects = [(one.value, one.box, shapely.to_wkb(one.outline, hex=True), one.area) for one in tile.objects]
    return json.dumps({"written": vars(tile.written), "objects": objects})


def _tile(line: str) -> FinishedTile:
    found = json.loads(line)
    objects = (TileObject(value, tuple(box), shapely.from_wkb(outline), None, area) for value, box, outline, area in found["objects"])
    return FinishedTile(_WRITTEN.validate_python(found["written"]), tuple(objects))


_WRITTEN = TypeAdapter(WrittenTile)


def _leftovers(folder: Path) -> list[Path]:
    """Hidden folders that killed processes left when they made or replaced this set; but where only the older set is left, it stays."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}\.(part{'|old' if folder.exists() else ''})")
    return [p for p in folder.parent.glob(".*") if name.fullmatch(p.name) and p.is_dir()]


def _remove_unlocked(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError), _locked(folder) as mine:  # or somebody else removes it
        if mine:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder could be locked; until the block ends, or the process does."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            locked = False
        yield locked
