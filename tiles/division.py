"""The division into training and validation that another program left beside its tiles, where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tiles import layout
from tiles.tile_set import Split

SIDES: Mapping[str, Split] = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "gap"}
"""What the sides are called, and what they are here: tiles of a third side are used by neither."""
UNPAIRED = ("A", "B")
YOLO_FILE = "data.yaml"
_ENTRY = re.compile(r"^(path|train|val|test)\s*:\s*[\"']?([^\"'#\n]+?)[\"']?\s*(?:#.*)?$", re.MULTILINE)


def divided_folders(folder: Path) -> list[Path]:
    """The folders train/ and val/ (or valid/, validation/; perhaps test/) of a folder that has no side files itself, each with its own."""
    if (folder / layout.ACCUMULATED_FILE).exists():
        return []
    found = [folder / name for name in SIDES if (folder / name / layout.ACCUMULATED_FILE).exists()]
    return found if {"train", "validation"} <= {SIDES[path.name] for path in found} else []


def unpaired_folders(folder: Path) -> list[Path]:
    """The folders A/ and B/ of a CycleGAN set, each with side files of its own."""
    found = [folder / part for part in UNPAIRED if (folder / part / layout.ACCUMULATED_FILE).exists()]
    return found if len(found) == len(UNPAIRED) and not (folder / layout.ACCUMULATED_FILE).exists() else []


def made_division(folder: Path, images: Sequence[str]) -> list[Split] | None:
    """The side of each image as another program told them apart; None where it did not.

    Known are folders train/ and val/, a YOLO data.yaml, and lists train.txt and val.txt.

    Args:
        folder: Of the set.
        images: Paths below it, with forward slashes.
    """
    sides = _by_folder(images) if divided_folders(folder) else _by_list(folder, images)
    return sides if {"train", "validation"} <= set(sides) else None


def _by_folder(images: Sequence[str]) -> list[Split]:
    return [SIDES.get(PurePosixPath(image).parts[0], "gap") for image in images]


def _by_list(folder: Path, images: Sequence[str]) -> list[Split]:
    found: dict[str, Split] = {}
    for side, listed in _lists(folder):
        for image in _named(listed, images):
            found[image] = side
    return [found.get(image, "gap") for image in images]


def _lists(folder: Path) -> Iterator[tuple[Split, list[str]]]:
    """Each side with the files or folders that it names."""
    entries = dict(_ENTRY.findall(_text(folder / YOLO_FILE)))
    if not {"train", "val"} <= set(entries):
        entries = {name: f"{name}.txt" for name in SIDES if (folder / f"{name}.txt").is_file()}
    for name, told in entries.items():
        if name in SIDES:
            target = folder / PurePosixPath(told.replace("\\", "/"))
            yield SIDES[name], _text(target).split("\n") if target.suffix == ".txt" else [told]


def _named(listed: Sequence[str], images: Sequence[str]) -> Iterator[str]:
    """The images that a list of files or folders means, wherever the list was written."""
    known = {**{PurePosixPath(image).name: image for image in images}, **{image: image for image in images}}
    for line in listed:
        parts = [part for part in line.strip().replace("\\", "/").split("/") if part not in {"", "."}]
        tails = ["/".join(parts[i:]) for i in range(len(parts))]
        hit = next((known[tail] for tail in tails if tail in known), None)
        if hit is not None:
            yield hit
        elif len(listed) == 1:  # a folder
            inside = ([image for image in images if image.startswith(f"{tail}/")] for tail in tails)
            yield from next(filter(None, inside), [])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""
