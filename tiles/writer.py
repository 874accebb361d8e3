"""Write a tile set: into a hidden folder beside, which takes its name only when everything is in it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from errors import DiskFullError, EmptyTileSetError, TileSetError
from tiles import layout
from tiles.reader import EMPTY_PIXEL, UNCERTAIN_PIXEL
from tiles.tile_set import IGNORE_LABEL, RECORD_FILE, TileSet, TileSetRecord, save_record
from workspace.files import disk_full_explained, size_in_words

SPARE_BYTES = 64 * 1024 * 1024


class TileSetWriter:
    """Collects the tiles of one set; a context manager.

    Leaving the block without `finish`, by an error or otherwise, removes what was written and leaves `folder` as it was.

    Raises:
        TileSetError: `folder` holds something that is not a tile set.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not _may_replace(folder):
            raise TileSetError(f"The folder '{folder.name}' already holds other files.", "Choose a new name, or an empty folder.")
        self.folder = folder
        self._temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        self._count = 0

    def __enter__(self) -> TileSetWriter:
        with disk_full_explained(self.folder):
            for part in (layout.IMAGES, layout.LABELS):
                (self._temporary / part).mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(
        self, image: NDArray[Any], valid: NDArray[np.bool_], label: NDArray[np.uint8], transform: Affine, crs: str, nodata: float | None
    ) -> tuple[str, str, str, str | None]:
        """Write one tile.

        Args:
            image: (bands, rows, columns) raw values.
            valid: (rows, columns): there is imagery.
            label: (rows, columns) class values, 255 for what must not be learnt.
            transform: Of the tile.
            crs: As text.
            nodata: The raster's own, noted in the image file.

        Returns:
            Name, and paths of image, label and ignore mask (None when every pixel counts).

        Raises:
            DiskFullError: the disk filled up.
        """
        name = layout.tile_name(self._count)
        paths = [f"{part}/{name}.tif" for part in (layout.IMAGES, layout.LABELS, layout.IGNORE)]
        ignored = (label == IGNORE_LABEL) | ~valid
        with disk_full_explained(self.folder):
            self._write(paths[0], image, transform, crs, nodata)
            self._write(paths[1], np.where(ignored, np.uint8(0), label)[None], transform, crs, None)
            if ignored.any():
                (self._temporary / layout.IGNORE).mkdir(exist_ok=True)
                mask = np.where(valid, np.where(ignored, UNCERTAIN_PIXEL, 0), EMPTY_PIXEL).astype(np.uint8)
                self._write(paths[2], mask[None], transform, crs, None, world=False)
        self._count += 1
        return name, paths[0], paths[1], paths[2] if ignored.any() else None

    def finish(self, record: TileSetRecord) -> TileSet:
        """Write the side files and put the set in place, instead of an older one of this name.

        Raises:
            EmptyTileSetError: no tile was added.
            DiskFullError: the disk filled up.
        """
        if not record.tiles:
            raise EmptyTileSetError("There is no tile to write.", "Label something on the imagery first.")
        with disk_full_explained(self.folder):
            self._text(layout.MAP_FILE, layout.map_text(record.tiles))
            self._text(layout.STATS_FILE, layout.stats_text(record))
            self._text(layout.ACCUMULATED_FILE, layout.json_text(layout.accumulated_stats(record)))
            self._text(layout.DEFINITION_FILE, layout.json_text(layout.model_definition(record)))
            save_record(TileSet(self._temporary, record))
            _swap_in(self._temporary, self.folder)
        return TileSet(self.folder, record)

    def _text(self, name: str, text: str) -> None:
        (self._temporary / name).write_text(text, encoding="utf-8", newline="\n")

    def _write(self, path: str, values: NDArray[Any], transform: Affine, crs: str, nodata: float | None, *, world: bool = True) -> None:
        target = self._temporary / path
        target.write_bytes(_geotiff(values, transform, crs, nodata))
        if world:
            target.with_suffix(".tfw").write_text(layout.world_file(transform), encoding="ascii", newline="\n")


def require_space(folder: Path, wanted: int) -> None:
    """Refuse early what cannot fit.

    Raises:
        DiskFullError: fewer than `wanted` bytes (and a little to spare) are free where `folder` is to be.
    """
    there = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < wanted + SPARE_BYTES:
        raise DiskFullError(
            f"The tiles need about {size_in_words(wanted)} and {size_in_words(SPARE_BYTES)} must stay free, but only {size_in_words(free)} are free on the disk.",
            "Free some space, choose a larger step, or export only the tiles with labels.",
        )


def _geotiff(values: NDArray[Any], transform: Affine, crs: str, nodata: float | None) -> bytes:
    """A GeoTIFF in memory, so that a full disk shows as the operating system's own error."""
    bands, rows, columns = values.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": columns,
        "height": rows,
        "count": bands,
        "dtype": values.dtype,
        "crs": crs or None,
        "transform": transform,
        "nodata": nodata,
        "compress": "lzw",
        "interleave": "pixel",
        "photometric": "RGB" if bands >= 3 and values.dtype == np.uint8 else "MINISBLACK",
    }
    if bands > 3 or bands == 2:
        profile["alpha"] = "unspecified"
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(values)
        return bytes(memory.getbuffer())


def _may_replace(folder: Path) -> bool:
    return folder.is_dir() and ((folder / RECORD_FILE).exists() or not any(folder.iterdir()))


def _swap_in(new: Path, folder: Path) -> None:
    if not folder.exists():
        new.replace(folder)
        return
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    _discard(old)


def remove_tile_set(folder: Path) -> None:
    """Delete a tile set; it is gone from the list at once, even if the deletion is interrupted.

    Raises:
        TileSetError: the folder is not a tile set of ours, so it is left alone.
    """
    if not (folder / RECORD_FILE).exists():
        raise TileSetError(f"'{folder.name}' is not a tile set made here.", "Delete the folder by hand if you are sure.")
    doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    folder.replace(doomed)
    _discard(doomed)


def _discard(folder: Path) -> None:
    """Delete the record first: what is left of a folder half deleted is no tile set."""
    (folder / RECORD_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def leftovers(parent: Path) -> Sequence[Path]:
    """Hidden folders that a killed export left behind."""
    return [p for p in parent.glob(".*") if p.is_dir() and p.suffix in {".part", ".old"}]
