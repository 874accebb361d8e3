"""Check a folder of training tiles before somebody trains on it: `python -m tiles.validate DIR`."""

from __future__ import annotations

import collections
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import rasterio
import typer
from rasterio.errors import RasterioIOError

from errors import TileSetFormatError
from tiles import layout
from tiles.foreign import read_side_json
from tiles.formats import FORMATS, TileFormat
from tiles.formats.base import Finding
from tiles.tile_set import RECORD_FILE, TileClass, open_tile_set


def validate_tile_set(folder: Path) -> list[Finding]:
    """Everything wrong with a folder of training tiles, ours or another program's; empty when it is as its format asks."""
    if not folder.is_dir():
        return [Finding(str(folder), "a folder", "nothing")]
    findings = list(_missing(folder, layout.SIDE_FILES, (layout.IMAGES,)))
    if findings:
        return findings
    try:
        accumulated, definition = (read_side_json(folder / name) for name in (layout.ACCUMULATED_FILE, layout.DEFINITION_FILE))
    except TileSetFormatError as error:
        return [Finding("side file", "a JSON object", error.fact)]
    mode = accumulated.get("MetaDataMode")
    form = FORMATS.get(str(mode))
    if form is None:
        return [Finding(layout.ACCUMULATED_FILE, f"MetaDataMode {' or '.join(FORMATS)}", repr(mode))]
    findings = list(_missing(folder, (), (form.label_folder,) if form.label_folder else ()))
    if findings:
        return findings
    values, wrong_classes = _classes(definition, form)
    findings += wrong_classes
    findings += _statistics(accumulated, values)
    findings += _map(folder)
    sizes_vary = definition.get("CropTileMode") == layout.VARIABLE_SIZE
    findings += _chips(folder, form, {} if sizes_vary else accumulated, values)
    findings += form.check_set(folder, values)
    findings += _counts(folder, form, accumulated)
    findings += _record(folder)
    return findings


def _missing(folder: Path, files: Sequence[str], folders: Sequence[str]) -> Iterator[Finding]:
    for name in files:
        if not (folder / name).is_file():
            yield Finding(name, "this side file in the folder", "no such file")
    for name in folders:
        if not (folder / name).is_dir():
            yield Finding(name, "this folder", "no such folder")


def _classes(definition: Mapping[str, Any], form: TileFormat) -> tuple[dict[int, str], list[Finding]]:
    file = layout.DEFINITION_FILE
    listed = definition.get("Classes")
    if not listed and not form.has_classes:
        return {}, []
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
    mode = definition.get("MetaDataMode", form.name)
    if mode != form.name:
        wrong.append(Finding(file, f"MetaDataMode {form.name}, as in {layout.ACCUMULATED_FILE}", repr(mode)))
    return values, wrong


def _statistics(accumulated: Mapping[str, Any], values: Mapping[int, str]) -> Iterator[Finding]:
    file = layout.ACCUMULATED_FILE
    listed = accumulated.get("Classes")
    found = [c.get("ClassValue") for c in listed if isinstance(c, dict)] if isinstance(listed, list) else None
    if found is not None and values and found != list(values):
        yield Finding(file, f"the classes {list(values)} as in {layout.DEFINITION_FILE}", str(found))


def _map(folder: Path) -> Iterator[Finding]:
    lines = layout.parse_map((folder / layout.MAP_FILE).read_text(encoding="utf-8-sig", errors="replace"))
    if not lines:
        yield Finding(layout.MAP_FILE, r"lines as images\000000000.tif  labels\000000000.tif", "none")
    seen: set[str] = set()
    for paths in lines:
        for path in paths:
            if not (folder / path).is_file():
                yield Finding(layout.MAP_FILE, f"only files that exist, but it lists {path}", "no such file")
        if paths[0] in seen:
            yield Finding(layout.MAP_FILE, f"one line for {paths[0]}", "two")
        seen.add(paths[0])


def _chips(folder: Path, form: TileFormat, accumulated: Mapping[str, Any], values: dict[int, str]) -> Iterator[Finding]:
    try:
        labels = form.find(folder, [TileClass(value=v, name=n, colour="#000000") for v, n in values.items() if v])
    except TileSetFormatError as error:
        yield Finding("labels", f"labels as {form.name} asks", error.fact)
        return
    images = form.images(folder)
    if not images:
        yield Finding(layout.IMAGES, "at least one image", "none")
    twins = collections.Counter(p.with_suffix("") for p in images)
    for image in images:
        name = image.relative_to(folder).as_posix()
        if twins[image.with_suffix("")] > 1:
            yield Finding(name, "one image of this name", f"{twins[image.with_suffix('')]}, with different endings")
        shape = yield from _image(folder, name, accumulated)
        if image.stem not in labels:
            if form.label_needed:
                yield Finding(name, "a label of the same name", "none")
        elif shape is not None:
            yield from form.check(folder, name, labels[image.stem], shape, values)
    for stem in sorted(set(labels) - {p.stem for p in images}):
        for path in (labels[stem].label, *labels[stem].masks.values()):
            if path:
                yield Finding(path, "an image of the same name", f"none named {stem}")


def _image(folder: Path, name: str, accumulated: Mapping[str, Any]) -> Generator[Finding, None, tuple[int, int] | None]:
    """(rows, columns) of an image; None where it cannot be read."""
    try:
        with rasterio.open(folder / name) as file:
            rows, columns, bands = file.height, file.width, file.count
    except RasterioIOError:
        yield Finding(name, "a readable raster", "a damaged file, or no raster")
        return None
    if accumulated.get("NumBands") not in {None, bands}:
        yield Finding(name, f"{accumulated['NumBands']} bands (NumBands in {layout.ACCUMULATED_FILE})", str(bands))
    size = (accumulated.get("TileSizeX"), accumulated.get("TileSizeY"))
    if None not in size and (columns, rows) != size:
        yield Finding(name, f"{size[0]} x {size[1]} pixels (TileSize in {layout.ACCUMULATED_FILE})", f"{columns} x {rows}")
    return rows, columns


def _counts(folder: Path, form: TileFormat, accumulated: Mapping[str, Any]) -> Iterator[Finding]:
    count = len(form.images(folder))
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
        for path in (tile.image, tile.label, *tile.masks.values(), tile.ignore):
            if path and not (folder / path).is_file():
                yield Finding(RECORD_FILE, f"only files that exist, but it lists {path}", "no such file")


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def validate(folder: Annotated[Path, typer.Argument(help="A folder of training tiles: the one that holds images and labels.")]) -> None:
    """Name every file that is not as its format asks, with what was expected and what was found."""
    findings = validate_tile_set(folder)
    for finding in findings:
        typer.echo(str(finding))
    if findings:
        raise typer.Exit(1)
    typer.echo(f"{folder.name}: nothing to complain about.")


if __name__ == "__main__":
    app(prog_name="python -m tiles.validate")
