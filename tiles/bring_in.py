"""Tiles made elsewhere into a project, as a background job: `python -m tiles.bring_in FOLDER`.

The job folder holds settings.json (`BringIn`) and, of an upload, the ZIP. A ZIP, or a folder of this machine, is copied file by file, checked, and
put beside the project's own tile sets. Nothing is written outside the job folder before all of it was accepted.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from errors import ImageryError, JobError, TerratuneError, TileSetFormatError
from imagery.read import open_raster
from tiles.class_folders import as_imagenet
from tiles.division import divided_folders, unpaired_folders
from tiles.layout import ACCUMULATED_FILE
from tiles.tile_set import RECORD_FILE, TileSet, open_tile_set, save_record
from tiles.validate import validate_tile_set
from tiles.writer import require_space
from workspace.files import disk_full_explained, folder_name, size_in_words, unused_folder, write_json
from workspace.jobs import JobReporter, events, process_alive, run_job, start_job

MODULE = "tiles.bring_in"
JOBS_FOLDER = ".incoming"
"""Below the project's tiles folder."""
UPLOAD_FILE = "upload.zip"
RASTERS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
SUFFIXES = RASTERS | {".tfw", ".tifw", ".tfwx", ".pgw", ".pngw", ".jgw", ".jpgw", ".wld", ".xml", ".txt", ".json", ".emd", ".yaml", ".yml"}
"""What tile sets consist of; other files are left where they are."""
REFERENCES = b"OVERVIEW_FILE"
"""A side file that says this makes GDAL open another file."""
MAX_FILES = 2_000_000
MAX_BYTES = 64 * 10**9
MAX_SIDE_PX = 8192
MAX_DEPTH = 5
MAX_LISTED = 500
_CHUNK = 2**20

Tell = Callable[[str, float], None]


class BringIn(BaseModel):
    """What settings.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Wished for the tile set; a number is added where it is taken."""
    source: str | None = None
    """Absolute path of a folder; None for the ZIP in the job folder."""


@dataclass(frozen=True)
class _Entry:
    """One file of a ZIP or a folder."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def start_bring_in(tiles_folder: Path, name: str, *, upload: Path | None = None, source: Path | None = None) -> Path:
    """Note what to bring in and start the process.

    Args:
        tiles_folder: Of the project.
        name: Wished for the tile set.
        upload: A ZIP, which is moved into the job folder; or
        source: a folder that may be read, which stays as it is.

    Returns:
        The job folder.

    Raises:
        TileSetFormatError: the upload is no ZIP.
        DiskFullError: no room for the note.
    """
    if upload is not None and not zipfile.is_zipfile(upload):
        raise TileSetFormatError(
            f"{name} is not a ZIP archive.", "Pack the folder that holds 'images', the labels and the side files as a ZIP, and add that."
        )
    folder = tiles_folder / JOBS_FOLDER / f"{int(time.time())}-{secrets.token_hex(3)}"
    try:
        with disk_full_explained(folder):
            folder.mkdir(parents=True)
            if upload is not None:
                upload.replace(folder / UPLOAD_FILE)
        wanted = BringIn(name=name.removesuffix(".zip"), source=None if source is None else str(source))
        write_json(folder / "settings.json", wanted.model_dump())
        start_job(folder, MODULE)
    except TerratuneError:
        if not process_alive(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def bring_in_jobs(tiles_folder: Path) -> list[Path]:
    """Job folders, newest first."""
    return sorted((p.parent for p in (tiles_folder / JOBS_FOLDER).glob("[!.]*/settings.json")), reverse=True)


def read_bring_in(folder: Path) -> BringIn:
    """What a job folder was asked to do.

    Raises:
        JobError: settings.json is missing or damaged.
    """
    try:
        return BringIn.model_validate_json((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError("The note of what was to be brought in cannot be read.", "Add the tiles again.") from error


def brought_in(folder: Path) -> tuple[str, list[str]]:
    """Of a job that is done: the name of the tile set, and what is not as its format asks, a sentence each."""
    made = next(event for event in reversed(events(folder)) if event.get("kind") == "made")
    return str(made["name"]), [str(finding) for finding in made["findings"]]


def is_tile_set(folder: Path) -> bool:
    """Does a folder look like one in a metadata format (as ArcGIS writes them, or in parts for training and validation)?"""
    return (folder / ACCUMULATED_FILE).is_file() or bool(divided_folders(folder) or unpaired_folders(folder))


def tile_sets_below(roots: Sequence[Path]) -> list[Path]:
    """Folders below `roots` that look like tile sets, sorted; hidden ones left out, links not followed, at most 500, at most 5 deep."""
    found: list[Path] = []
    for root in roots:
        for path, inside, _ in os.walk(root):
            folder = Path(path)
            if is_tile_set(folder):
                found.append(folder)
            if is_tile_set(folder) or len(folder.relative_to(root).parts) >= MAX_DEPTH:
                inside.clear()
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            if len(found) >= MAX_LISTED:
                return sorted(found)
    return sorted(found)


def work(reporter: JobReporter) -> None:
    """Do what a job folder asks for."""
    folder, wanted = reporter.folder, read_bring_in(reporter.folder)
    copy, last = folder / "copy", 0.0
    shutil.rmtree(copy, ignore_errors=True)

    def tell(stage: str, share: float) -> None:
        nonlocal last
        reporter.stop_if_cancelled()
        if time.monotonic() - last > 0.25:
            last = time.monotonic()
            reporter.progress(stage, share)

    try:
        with _entries(folder, wanted) as entries:
            copy_safely(entries, copy / folder_name(wanted.name), tell)  # messages say its name
        here = copy / folder_name(wanted.name)
        found = as_imagenet(here) or set_within(here)
        check_rasters(found, tell)
        reporter.progress("Reading the labels", 0.8)
        tile_set = open_tile_set(found)
        _refuse_paths_outside(tile_set)
        reporter.progress("Checking every file", 0.9)
        findings = [str(finding) for finding in validate_tile_set(found)]
        save_record(tile_set)
        target = unused_folder(folder.parent.parent, wanted.name)
        found.replace(target)
        reporter.event(kind="made", name=target.name, findings=findings)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    (folder / UPLOAD_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _entries(folder: Path, wanted: BringIn) -> Iterator[list[_Entry]]:
    if wanted.source is not None:
        yield _files_of(Path(wanted.source))
        return
    try:
        with zipfile.ZipFile(folder / UPLOAD_FILE) as archive:
            yield _members_of(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise TileSetFormatError(f"The ZIP archive is damaged: {error}.", "Pack the folder again and add that.") from error


def _files_of(folder: Path) -> list[_Entry]:
    """Files of a folder; links are left out."""
    found = []
    for path, inside, names in os.walk(folder):
        inside[:] = sorted(inside)
        for file in (Path(path, name) for name in sorted(names)):
            about = file.lstat()
            if stat.S_ISREG(about.st_mode):
                found.append(_Entry(file.relative_to(folder).as_posix(), about.st_size, functools.partial(_readable, file)))
    return found


def _readable(file: Path) -> IO[bytes]:
    return file.open("rb")


def _members_of(archive: zipfile.ZipFile) -> list[_Entry]:
    """Files of a ZIP; links are left out."""
    if any(member.flag_bits & 1 for member in archive.infolist()):
        raise TileSetFormatError("The ZIP archive is locked with a password.", "Pack the folder without one.")
    return [
        _Entry(member.filename, member.file_size, functools.partial(archive.open, member))
        for member in archive.infolist()
        if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16)
    ]


def copy_safely(entries: Sequence[_Entry], target: Path, tell: Tell) -> None:
    """Copy what tile sets consist of below `target`.

    Raises:
        TileSetFormatError: a name leads outside, two files have one name, or there is more than a tile set can have.
        DiskFullError: there is no room.
    """
    wanted = [(_safe(entry.name), entry) for entry in entries]
    wanted = [
        (path, e) for path, e in wanted if path.suffix.lower() in SUFFIXES and not any(p.startswith((".", "__MACOSX")) for p in path.parts)
    ]
    total = sum(entry.size for _, entry in wanted)
    if len(wanted) > MAX_FILES or total > MAX_BYTES:
        raise TileSetFormatError(
            f"There are {len(wanted):,} files of {size_in_words(total)}, more than can be brought in ({size_in_words(MAX_BYTES)}).",
            "Divide the tiles into several sets.",
        )
    target.mkdir(parents=True)
    require_space(target, total)
    done = 0
    for path, entry in wanted:
        tell("Copying", 0.5 * done / max(total, 1))
        _copy_one(entry, target / path)
        done += entry.size


def _safe(name: str) -> PurePosixPath:
    """The path below the target that a name means."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    if name.startswith(("/", "\\")) or not parts or any(part == ".." or ":" in part or "\0" in part for part in parts):
        raise TileSetFormatError(f"It names a file that would lie outside its own folder: {name!r}.", "Pack the folder of tiles itself.")
    return PurePosixPath(*parts)


def _copy_one(entry: _Entry, path: Path) -> None:
    with disk_full_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with entry.open() as source, path.open("xb") as file:
                left = entry.size
                while chunk := source.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise TileSetFormatError(f"{entry.name} is larger than it says.", "Get the tiles again from their source.")
                    file.write(chunk)
        except FileExistsError as error:
            raise TileSetFormatError(f"There are two files {entry.name}.", "Remove one of them.") from error
    if path.name.lower().endswith(".aux.xml") and REFERENCES in path.read_bytes():
        path.unlink()


def set_within(folder: Path) -> Path:
    """The tile set in a folder: itself, or the one that lies somewhere below it.

    Raises:
        TileSetFormatError: there is none, or more than one.
    """
    found = tile_sets_below([folder])
    if not found:
        raise TileSetFormatError(
            f"There are no training tiles in it: a set has a folder 'images' and beside it the file {ACCUMULATED_FILE}.",
            "Choose the folder that ArcGIS's 'Export Training Data For Deep Learning' wrote, or one with a folder of pictures for each class.",
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        raise TileSetFormatError(f"There are {len(found)} tile sets in it: {names}.", "Bring them in one by one.")
    return found[0]


def check_rasters(folder: Path, tell: Tell) -> None:
    """Open every picture as what it says it is, so that nothing opened later can point at another file or ask for unbounded memory.

    Raises:
        TileSetFormatError: one is damaged, or is not a GeoTIFF, PNG or JPEG of a tile's size.
    """
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in RASTERS)
    for number, path in enumerate(pictures):
        tell("Looking at the pictures", 0.5 + 0.3 * number / len(pictures))
        name = path.relative_to(folder).as_posix()
        try:
            with open_raster(path) as dataset:
                if dataset.driver not in {"GTiff", "PNG", "JPEG"} or max(dataset.width, dataset.height) > MAX_SIDE_PX:
                    raise TileSetFormatError(
                        f"{name} is a {dataset.driver} of {dataset.width} x {dataset.height} pixels.",
                        f"Tiles are GeoTIFF, PNG or JPEG of at most {MAX_SIDE_PX} pixels a side.",
                    )
        except ImageryError as error:
            raise TileSetFormatError(f"{name}: {error.fact}", "Remove it and its label, or export the tiles again.") from error


def _refuse_paths_outside(tile_set: TileSet) -> None:
    """A record from elsewhere must name files of its own set only."""
    home = tile_set.folder.resolve()
    for tile in tile_set.record.tiles:
        for path in filter(None, (tile.image, tile.image2, tile.label, tile.ignore, *tile.masks.values())):
            if not (home / path).resolve().is_relative_to(home):
                raise TileSetFormatError(
                    f"{RECORD_FILE} names a file outside the set: {path}.", "Delete that file and bring the tiles in again."
                )


def main(folder: Annotated[Path, typer.Argument(help="Job folder with settings.json and perhaps a ZIP.")]) -> None:
    """Bring in what the Tiles page noted down."""
    raise typer.Exit(run_job(folder, work))


if __name__ == "__main__":
    typer.run(main)
