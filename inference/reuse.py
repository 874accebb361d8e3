"""A map that an earlier comparison of the project made is not made again: the model before is the same in comparison after comparison.

Beside each map lies its key: everything that decides its pixels. Maps are never changed in place, so an equal key means an equal map, and a
hard link is enough (a copy where the disk knows none).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagery.read import is_url
from models.card import ModelCard
from workspace.classes import ClassDef
from workspace.files import replaced_on_success, write_text

METHOD = 3
"""To be raised whenever the same model makes another map of the same raster than it did in an earlier release."""
_PARTS = ("{}.tif", "{}.tif.aux.xml", "{}.qml", "{}_confidence.tif", "{}_probabilities.tif")
"""Files of a map; the first comes last, as it says that the map is there."""


def map_key(card: ModelCard, source: str, classes: Sequence[ClassDef], **settings: Any) -> str | None:
    """Names everything that decides the pixels of a map.

    Args:
        card: Of the model, as it is used (fitted to other bands, where it is).
        source: Path or address of the raster.
        classes: Values, names and colours that are written.
        settings: Whatever else was chosen; plain values.

    Returns:
        Hexadecimal digits; None for a raster at an address, which may change without a sign, and for weights that were never saved.
    """
    if is_url(source) or not card.weights_sha256:
        return None
    file = Path(source).stat()
    facts = {
        "method": METHOD,
        "weights": card.weights_sha256,
        "architecture": card.architecture.model_dump(mode="json"),
        "input": card.input.model_dump(mode="json"),
        "raster": [Path(source).name, file.st_size, file.st_mtime_ns],
        "classes": [c.model_dump(mode="json") for c in classes],
        **settings,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def note_key(folder: Path, side: str, key: str | None) -> None:
    """Put the key beside a finished map."""
    if key is not None:
        write_text(_key_file(folder, side), key)


def take_over(folder: Path, side: str, key: str | None) -> bool:
    """Take a map from another comparison of the project, where one has it.

    Args:
        folder: Of one raster in a comparison: `predictions/<comparison>/<raster id>`.
        side: "before" or "after".
        key: From `map_key`.

    Returns:
        Whether the map is there now.
    """
    if key is None:
        return False
    for other in sorted(folder.parent.parent.glob(f"*/{folder.name}/*.key"), reverse=True):
        if _read(other) == key and (other.parent / f"{other.stem}.tif").exists():
            for part in reversed(_PARTS):
                link_or_copy(other.parent / part.format(other.stem), folder / part.format(side))
            note_key(folder, side, key)
            return True
    return False


def _key_file(folder: Path, side: str) -> Path:
    return folder / f"{side}.key"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):  # deleted this moment, or damaged
        return ""


def link_or_copy(there: Path, here: Path) -> None:
    """A second name for a file that is never changed in place; a copy where the disk knows no hard links, nothing where it is not there."""
    if not there.exists():
        return
    with replaced_on_success(here) as unfinished:
        try:
            os.link(there, unfinished)
        except OSError:
            shutil.copyfile(there, unfinished)
