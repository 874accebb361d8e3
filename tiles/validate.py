"""Check a Classified Tiles folder before somebody trains on it: `python -m tiles.validate DIR`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rasterio
import typer
from rasterio.errors import RasterioIOError

from errors import TileSetFormatError
from tiles import layout
from tiles.foreign import IMAGE_SUFFIXES, read_side_json
from tiles.tile_set import METADATA_FORMAT, RECORD_FILE, open_tile_set


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the format asks."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


def validate_tile_set(folder: Path) -> list[Finding]:
    """Everything wrong with a Classified Tiles folder, ours or another program's; empty when it is as it should be."""
    if not folder.is_dir():
        return [Finding(str(folder), "a folder", "nothing")]
    findings = list(_missing(folder))
    if findings:
        return findings
    try:
        accumulated, definition = (read_side_json(folder / name) for name in (layout.ACCUMULATED_FILE, layout.DEFINITION_FILE))
    except TileSetFormatError as error:
        return [Finding("side file", "a JSON object", error.fact)]
    values, wrong_classes = _classes(definition)
    findings += wrong_classes
    findings += _statistics(accumulated, values)
    findings += _map(folder)
    findings += _chips(folder, accumulated, values)
    findings += _counts(folder, accumulated)
    findings += _record(folder)
    return findings


def _missing(folder: Path) -> Iterator[Finding]:
    for name in layout.SIDE_FILES:
        if not (folder / name).is_file():
            yield Finding(name, "this side file in the folder", "no such file")
    for name in (layout.IMAGES, layout.LABELS):
        if not (folder / name).is_dir():
            yield Finding(name, "this folder", "no such folder")


def _classes(definition: Mapping[str, Any]) -> tuple[dict[int, str], list[Finding]]:
    file = layout.DEFINITION_FILE
    listed = definition.get("Classes")
    if not isinstance(listed, list) or not listed:
        return {}, [Finding(file, "a list of Classes", repr(listed))]
    values: dict[int, str] = {}
    wrong = []
    for entry in listed:
        entry = entry if isinstance(entry, dict) else {}
        value, name, colour = entry.get("Value", entry.get("ClassValue")), entry.get("Name", entry.get("ClassName")), entry.get("Color")
        if not isinstance(value, int) or not 0 <= value <= 254 or value in values:
            wrong.append(Finding(file, "a class Value of its own between 0 and 254", repr(value)))
            continue
        values[value] = str(name)
        if not isinstance(name, str) or not name:
            wrong.append(Finding(file, f"a Name for class {value}", repr(name)))
        if not isinstance(colour, list) or len(colour) != 3:
            wrong.append(Finding(file, f"a Color [red, green, blue] for class {value}", repr(colour)))
    mode = definition.get("MetaDataMode", METADATA_FORMAT)
    if mode != METADATA_FORMAT:
        wrong.append(Finding(file, f"MetaDataMode {METADATA_FORMAT}", repr(mode)))
    return values, wrong


def _statistics(accumulated: Mapping[str, Any], values: Mapping[int, str]) -> Iterator[Finding]:
    file = layout.ACCUMULATED_FILE
    if accumulated.get("MetaDataMode") != METADATA_FORMAT:
        yield Finding(file, f"MetaDataMode {METADATA_FORMAT}", repr(accumulated.get("MetaDataMode")))
    listed = accumulated.get("Classes")
    found = [c.get("ClassValue") for c in listed if isinstance(c, dict)] if isinstance(listed, list) else None
    if found is not None and values and found != list(values):
        yield Finding(file, f"the classes {list(values)} as in {layout.DEFINITION_FILE}", str(found))


def _map(folder: Path) -> Iterator[Finding]:
    pairs = layout.parse_map((folder / layout.MAP_FILE).read_text(encoding="utf-8-sig", errors="replace"))
    if not pairs:
        yield Finding(layout.MAP_FILE, r"lines as images\000000000.tif  labels\000000000.tif", "none")
    for image, label in pairs:
        for path in (image, label):
            if not (folder / path).is_file():
                yield Finding(layout.MAP_FILE, f"only files that exist, but it lists {path}", "no such file")


def _chips(folder: Path, accumulated: Mapping[str, Any], values: Mapping[int, str]) -> Iterator[Finding]:
    labels = {p.stem: p for p in (folder / layout.LABELS).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
    images = sorted(p for p in (folder / layout.IMAGES).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        yield Finding(layout.IMAGES, "at least one image", "none")
    for image in images:
        name = f"{layout.IMAGES}/{image.name}"
        if image.stem not in labels:
            yield Finding(name, "a label of the same name", "none")
            continue
        yield from _pair(name, image, labels.pop(image.stem), accumulated, values)
    for label in labels.values():
        yield Finding(f"{layout.LABELS}/{label.name}", "an image of the same name", "none")


def _pair(name: str, image: Path, label: Path, accumulated: Mapping[str, Any], values: Mapping[int, str]) -> Iterator[Finding]:
    label_name = f"{layout.LABELS}/{label.name}"
    size = (accumulated.get("TileSizeX"), accumulated.get("TileSizeY"))
    shapes = []
    for path, shown in ((image, name), (label, label_name)):
        try:
            with rasterio.open(path) as file:
                shapes.append((file.width, file.height))
                bands = file.count
                pixels = file.read(1) if path is label else None
        except RasterioIOError:
            yield Finding(shown, "a readable raster", "a damaged file, or no raster")
            return
        if path is image and accumulated.get("NumBands") not in {None, bands}:
            yield Finding(shown, f"{accumulated['NumBands']} bands (NumBands in {layout.ACCUMULATED_FILE})", str(bands))
    if None not in size and shapes[0] != size:
        yield Finding(name, f"{size[0]} x {size[1]} pixels (TileSize in {layout.ACCUMULATED_FILE})", f"{shapes[0][0]} x {shapes[0][1]}")
    if shapes[1] != shapes[0]:
        yield Finding(label_name, f"{shapes[0][0]} x {shapes[0][1]} pixels, as its image", f"{shapes[1][0]} x {shapes[1][1]}")
    if bands != 1:
        yield Finding(label_name, "one band", str(bands))
    strange = sorted({int(v) for v in np.unique(np.asarray(pixels))} - set(values) - {0})
    if strange:
        yield Finding(label_name, f"only the values 0, {', '.join(map(str, sorted(set(values) - {0})))}", f"the value {strange[0]}")


def _counts(folder: Path, accumulated: Mapping[str, Any]) -> Iterator[Finding]:
    count = sum(p.suffix.lower() in IMAGE_SUFFIXES for p in (folder / layout.IMAGES).iterdir())
    told = accumulated.get("NumTiles", accumulated.get("NumTilesAsDouble"))
    if told is not None and told != count:
        yield Finding(layout.ACCUMULATED_FILE, f"NumTiles {count}, the images there are", str(told))


def _record(folder: Path) -> Iterator[Finding]:
    """Our own record, where there is one, must name the files that are there."""
    if not (folder / RECORD_FILE).exists():
        return
    try:
        record = open_tile_set(folder).record
    except TileSetFormatError as error:
        yield Finding(RECORD_FILE, "a record that can be read", error.fact)
        return
    for tile in record.tiles:
        for path in (tile.image, tile.label, tile.ignore):
            if path is not None and not (folder / path).is_file():
                yield Finding(RECORD_FILE, f"only files that exist, but it lists {path}", "no such file")


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def validate(folder: Annotated[Path, typer.Argument(help="A Classified Tiles folder: the one that holds images and labels.")]) -> None:
    """Name every file that is not as the Classified Tiles format asks, with what was expected and what was found."""
    findings = validate_tile_set(folder)
    for finding in findings:
        typer.echo(str(finding))
    if findings:
        raise typer.Exit(1)
    typer.echo(f"{folder.name}: nothing to complain about.")


if __name__ == "__main__":
    app(prog_name="python -m tiles.validate")
