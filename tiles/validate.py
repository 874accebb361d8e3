"""Check a folder of training tiles before somebody trains on it: `python -m tiles.validate DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from errors import TileSetError, TileSetFormatError
from tiles import layout
from tiles.apart import by_pixels, by_place, leaks, one_sided_classes
from tiles.check_sides import (
    check_classes,
    check_label_folder,
    check_map,
    check_names,
    check_statistics,
    missing_parts,
    read_sides,
)
from tiles.check_tiles import Contents, Tell, check_alike, look_through
from tiles.division import divided_folders, unpaired_folders
from tiles.formats import tile_format
from tiles.formats.base import Finding, Harm
from tiles.manifest import check_manifest
from tiles.tile_set import RECORD_FILE, TileClass, TileSet, TileSetRecord, open_tile_set

HARMS: dict[Harm, str] = {
    "grave": "Cannot be trained on",
    "leak": "Scores would say too much",
    "elsewhere": "Stops other programs, not Terratune",
    "none": "Does no harm",
}
"""Headings, the worst first."""


def validate_tile_set(folder: Path, tell: Tell = lambda share: None, *, opened: TileSetRecord | None = None) -> list[Finding]:
    """Everything wrong with a folder of training tiles, ours or another program's, the worst first; empty when it is as its format asks.

    Args:
        folder: The one that holds images and labels, or folders train and val, or A and B, that do.
        tell: Hears the share done, may raise to stop.
        opened: Its record, where it is open already: what another program made is then not read a second time for it.
    """
    parts = _parts(folder)
    if parts:
        found = [_below(part.name, one) for part in parts for one in _validate(part, tell, None, alone=False)]
        found += _own_record(folder)[1]
        whole = not any(f.harm == "grave" for f in found)
        return _worst_first(found + (_across(folder, opened) if whole else []))
    return _worst_first(_validate(folder, tell, opened))


def quick_findings(folder: Path) -> list[Finding]:
    """What can be told at once, without opening a picture: side files, names, and how training and validation lie, where a record says so."""
    parts = _parts(folder)
    if parts:
        record, found = _own_record(folder)
        across = [*by_place(record), *one_sided_classes(record)] if record is not None else []
        return _worst_first([_below(part.name, one) for part in parts for one in _outside(part)[0]] + found + across)
    return _worst_first(_outside(folder)[0])


def _parts(folder: Path) -> list[Path]:
    """The folders with side files of their own that make up a set; none where the folder has them itself."""
    return divided_folders(folder) or unpaired_folders(folder)


def _validate(folder: Path, tell: Tell, opened: TileSetRecord | None, *, alone: bool = True) -> list[Finding]:
    """`alone`: it is no part of a set, so that what shows across training and validation is told, too."""
    findings, contents = _outside(folder)
    if contents is None:
        return findings
    facts, wrong = look_through(contents, tell)
    findings += [*wrong, *check_alike(contents, facts), *contents.form.check_set(folder, contents.values)]
    told = {finding.file for finding in findings}
    findings += [finding for finding in check_manifest(folder) if finding.file not in told]
    record = contents.record
    if record is None and alone and not any(f.harm == "grave" for f in findings):
        try:
            record = opened or open_tile_set(folder).record
        except TileSetError as error:
            return [*findings, Finding(folder.name, "a set that can be opened", error.fact, error.remedy)]
        findings += [*by_place(record), *one_sided_classes(record)]
    if record is not None:
        findings += by_pixels(record, {one.path: one.digest for one in facts})
    return findings


def _outside(folder: Path) -> tuple[list[Finding], Contents | None]:
    """(what is wrong without looking at pixels, what there is to look through; None where that cannot be told)."""
    record, findings = _own_record(folder)
    sides, contents = _sides(folder, record)
    if record is not None:  # the side files are for other programs
        sides = [replace(f, harm="elsewhere") if f.harm == "grave" and f.file in layout.SIDE_FILES else f for f in sides]
        sides += [*by_place(record), *one_sided_classes(record)]
    return findings + sides, contents


def _sides(folder: Path, record: TileSetRecord | None) -> tuple[list[Finding], Contents | None]:
    """As `_outside`, of the folder and its side files."""
    findings = missing_parts(folder)
    if not folder.is_dir():
        return findings, None
    accumulated, definition, form, wrong = read_sides(folder)
    findings += wrong
    values: dict[int, str] = {}
    if form is not None and definition:
        values, wrong = check_classes(accumulated, definition, form)
        findings += wrong
    if record is not None:
        form = tile_format(record.metadata_format)
        values = form.class_names(form.listed(record.classes))
    if form is None or not (folder / layout.IMAGES).is_dir():
        return findings, None
    missing = check_label_folder(folder, form)
    if missing:
        return findings + missing, None
    classes = [TileClass(value=v, name=n, colour="#000000") for v, n in values.items() if v] if record is None else record.classes
    try:
        labels = form.find(folder, classes)
    except TileSetFormatError as error:
        unfit = Finding("labels", f"labels as {form.name} asks", error.fact, error.remedy)
        return [*findings, unfit, *form.check_set(folder, values)], None
    images = [p.relative_to(folder).as_posix() for p in form.images(folder)]
    findings += [*check_statistics(accumulated, definition, len(images)), *check_map(folder), *check_names(folder, form, images, labels)]
    return findings, Contents(folder, form, values, images, labels, accumulated, definition, record)


def _own_record(folder: Path) -> tuple[TileSetRecord | None, list[Finding]]:
    """Our own record, where there is one, which must name files that are there, each once."""
    if not (folder / RECORD_FILE).exists():
        return None, []
    try:
        record = open_tile_set(folder).record
    except TileSetFormatError as error:
        return None, [Finding(RECORD_FILE, "a record that can be read", error.fact, error.remedy)]
    return record, list(_listed(folder, record))


def _listed(folder: Path, record: TileSetRecord) -> Iterator[Finding]:
    seen: set[str] = set()
    for tile in record.tiles:
        if tile.image in seen:
            yield Finding(RECORD_FILE, f"one tile {tile.image}", "two", "Export the tiles again.")
        seen.add(tile.image)
        for path in (tile.image, tile.image2, tile.label, *tile.masks.values(), tile.ignore):
            if path and not (folder / path).is_file():
                remedy = "Bring the file back, or export the tiles again."
                yield Finding(RECORD_FILE, f"only files that exist, but it lists {path}", "no such file", remedy)


def _across(folder: Path, opened: TileSetRecord | None) -> list[Finding]:
    """What shows only when the folders are taken together."""
    try:
        tile_set = TileSet(folder, opened) if opened else open_tile_set(folder)
    except TileSetError as error:
        return [Finding(folder.name, "folders that belong together", error.fact, error.remedy)]
    return [*leaks(tile_set), *(f for f in by_place(tile_set.record) if f.harm != "leak"), *one_sided_classes(tile_set.record)]


def _below(name: str, finding: Finding) -> Finding:
    return replace(finding, file=f"{name}/{finding.file}")


def _worst_first(findings: list[Finding]) -> list[Finding]:
    order = list(HARMS)
    return sorted(findings, key=lambda f: order.index(f.harm))


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def validate(folder: Annotated[Path, typer.Argument(help="A folder of training tiles: the one that holds images and labels.")]) -> None:
    """Name every file that is not as its format asks, with what was expected, what was found and what to do.

    Exit status: 0 when nothing does harm, 1 otherwise.
    """
    findings = validate_tile_set(folder)
    for harm, heading in HARMS.items():
        mine = [f for f in findings if f.harm == harm]
        if mine:
            typer.echo("\n".join([f"{heading}:", *(f"  {finding}" for finding in mine)]))
    if any(f.harm != "none" for f in findings):
        raise typer.Exit(1)
    if not findings:
        typer.echo(f"{folder.name}: nothing to complain about.")


if __name__ == "__main__":
    app(prog_name="python -m tiles.validate")
