"""Pictures in a folder for each class, as most collections of scenes come: laid out as the Imagenet format has them, with its side files."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from tiles import layout
from tiles.layout import folder_names, json_text
from tiles.tile_set import TileClass
from workspace.files import write_text

PICTURES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
COLOURS = ("#4361ee", "#ff9f1c", "#2ec4b6", "#e71d36", "#8338ec", "#ffd60a", "#6a994e", "#bc4749")
FORMAT = "Imagenet"
NO_CLASSES = frozenset({"images", "images2", "labels", "labels2", "masks", "annotations", "ignore", "train", "training", "val", "valid", "validation", "test"})
"""Names of folders that say what is in them, and not which class."""
LEAST_CLASSES = 2
MOST_CLASSES = 254


def class_folders(folder: Path) -> list[Path]:
    """The folders of a collection that has one for each class, with pictures and no further folders in each; none where it is something else."""
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(inside) == 1 and not any(p.suffix.lower() in PICTURES for p in folder.iterdir()):
        return class_folders(inside[0])
    if not LEAST_CLASSES <= len(inside) <= MOST_CLASSES or any(one.name.casefold() in NO_CLASSES for one in inside):
        return []
    plain = all(any(p.suffix.lower() in PICTURES for p in one.iterdir()) and not any(p.is_dir() for p in one.iterdir()) for one in inside)
    return inside if plain else []


def as_imagenet(folder: Path) -> Path | None:
    """Lay out a collection of `class_folders` as a set in the Imagenet format, in place: pictures are numbered, other files are dropped.

    They are numbered in turn, class after class: where nothing says which are for the test, those are the last ones by number, and then of all classes.

    Returns:
        The set; None where the folder is something else, and stays as it is.
    """
    found = class_folders(folder)
    if not found:
        return None
    home = found[0].parent
    classes = [TileClass(value=value, name=one.name, colour=COLOURS[(value - 1) % len(COLOURS)]) for value, one in enumerate(found, 1)]
    names = folder_names(classes)
    made = home / layout.IMAGES
    made.mkdir()
    pictures = [sorted(p for p in one.iterdir() if p.suffix.lower() in PICTURES) for one in found]
    in_turn = [(c, p) for turn in itertools.zip_longest(*pictures) for c, p in zip(classes, turn, strict=True) if p is not None]
    for number, (cls, picture) in enumerate(in_turn):
        name, place = layout.tile_name(number), made / names[cls.value]
        place.mkdir(exist_ok=True)
        for side in _beside(picture):
            side.rename(place / (name + side.name[len(picture.stem) :]))
        picture.rename(place / (name + picture.suffix.lower()))
    for one in found:
        shutil.rmtree(one)
    lines = [f"{layout.IMAGES}\\{names[c.value]}\\{layout.tile_name(n)}{p.suffix.lower()} " for n, (c, p) in enumerate(in_turn)]
    listed = [{"Value": c.value, "Name": names[c.value], "Color": list(c.rgb)} for c in classes]
    write_text(home / layout.MAP_FILE, "\r\n".join(lines) + "\r\n")
    write_text(home / layout.ACCUMULATED_FILE, json_text({"Version": 1, "MetaDataMode": FORMAT, "NumClasses": len(classes), "NumTiles": len(in_turn)}))
    write_text(home / layout.DEFINITION_FILE, json_text({"MetaDataMode": FORMAT, "ImageSpaceUsed": "PIXEL_SPACE", "Classes": listed}))
    return home


def _beside(picture: Path) -> list[Path]:
    """World files and the like of a picture."""
    return [p for p in picture.parent.iterdir() if p != picture and p.stem.split(".")[0] == picture.stem and p.suffix.lower() not in PICTURES]
