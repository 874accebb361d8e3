"""Write a tile set: into a hidden folder beside, which takes its name only when everything is in it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from errors import DiskFullError, EmptyTileSetError, TileSetError
from tiles import layout
from tiles.formats import tile_format
from tiles.formats.base import TileContent
from tiles.layout import SideContent
from tiles.objects import TileObject
from tiles.reader import EMPTY_PIXEL, UNCERTAIN_PIXEL, UNLABELLED_PIXEL
from tiles.statistics import pixels_per_class
from tiles.tile_set import IGNORE_LABEL, METADATA_FORMAT, RECORD_FILE, TileClass, TileSet, TileSetRecord, save_record
from workspace.files import disk_full_explained, size_in_words

SPARE_BYTES = 64 * 1024 * 1024


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


@dataclass(frozen=True)
class _Sink:
    """Where a format writes the labels of one tile."""

    folder: Path
    transform: Affine
    crs: str

    def raster(self, path: str, values: NDArray[Any]) -> None:
        _write_raster(self.folder / path, values[None], self.transform, self.crs, None)

    def text(self, path: str, text: str) -> None:
        _write_text(self.folder / path, text)


class TileSetWriter:
    """Collects the tiles of one set; a context manager.

    Leaving the block without `finish`, by an error or otherwise, removes what was written and leaves `folder` as it was.

    Args:
        folder: To be made; an older tile set there is replaced at the end.
        metadata_format: Name of a format in `tiles.formats`.
        classes: In drawing order; needed by the formats that name folders by them.

    Raises:
        TileSetError: `folder` holds something that is not a tile set.
        TileSetFormatError: the format is not known.
    """

    def __init__(self, folder: Path, metadata_format: str = METADATA_FORMAT, classes: Sequence[TileClass] = ()) -> None:
        if folder.exists() and not _may_replace(folder):
            raise TileSetError(f"The folder '{folder.name}' already holds other files.", "Choose a new name, or an empty folder.")
        self.folder = folder
        self.format = tile_format(metadata_format)
        self._classes = classes
        self._objects: list[tuple[TileObject, ...]] = []
        self._temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        self._count = 0

    def __enter__(self) -> TileSetWriter:
        with disk_full_explained(self.folder):
            for part in filter(None, (layout.IMAGES, self.format.label_folder)):
                (self._temporary / part).mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(
        self,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
        label: NDArray[np.uint8],
        transform: Affine,
        crs: str,
        nodata: float | None,
        objects: Sequence[TileObject] = (),
        instances: Mapping[int, NDArray[np.integer]] | None = None,
        unlabelled: NDArray[np.bool_] | None = None,
    ) -> WrittenTile:
        """Write one tile.

        Args:
            image: (bands, rows, columns) raw values.
            valid: (rows, columns): there is imagery.
            label: (rows, columns) class values, 255 for what must not be learnt.
            transform: Of the tile.
            crs: As text.
            nodata: The raster's own, noted in the image file.
            objects: What is in the tile, for formats of objects.
            instances: For formats with masks: see `tiles.formats.base.TileContent`.
            unlabelled: (rows, columns): nobody has said what is there; not to be learnt, whatever `label` says. None: nowhere.

        Raises:
            DiskFullError: the disk filled up.
        """
        name = layout.tile_name(self._count)
        unlabelled = np.zeros(valid.shape, dtype=bool) if unlabelled is None else unlabelled
        ignored = (label == IGNORE_LABEL) | ~valid | unlabelled
        sink = _Sink(self._temporary, transform, crs)
        known = np.where(ignored, np.uint8(0), label)
        image_path, ignore_path = self.format.image_path(name, known, objects, self._classes), f"{layout.IGNORE}/{name}.tif"
        content = TileContent(name, image_path, len(image), known, objects, instances or {}, self._classes)
        with disk_full_explained(self.folder):
            _write_raster(self._temporary / image_path, image, transform, crs, nodata)
            files, written = self.format.write(sink, content)
            if ignored.any():
                kinds = [~valid, unlabelled, ignored]
                mask = np.select(kinds, [EMPTY_PIXEL, UNLABELLED_PIXEL, UNCERTAIN_PIXEL], 0).astype(np.uint8)
                _write_raster(self._temporary / ignore_path, mask[None], transform, crs, None, world=False)
        self._count += 1
        self._objects.append(written)
        values = [one.value for one in written]
        return WrittenTile(
            name=name,
            image=image_path,
            label=files.label,
            masks=dict(files.masks),
            ignore=ignore_path if ignored.any() else None,
            pixels=pixels_per_class(np.where(ignored, np.uint8(IGNORE_LABEL), label)),
            ignored_pixels=int(ignored.sum()),
            objects={value: values.count(value) for value in sorted(set(values))},
        )

    def finish(self, record: TileSetRecord) -> TileSet:
        """Write the side files and put the set in place, instead of an older one of this name.

        Raises:
            EmptyTileSetError: no tile was added.
            DiskFullError: the disk filled up.
        """
        if not record.tiles:
            raise EmptyTileSetError("There is no tile to write.", "Label something on the imagery first.")
        classes, names = self.format.listed(record.classes), self.format.class_names(record.classes)
        more = self.format.definition(layout.definition_classes(classes, names))
        content = SideContent(record, self.format.side, classes, names, self._objects, more)
        texts = {
            layout.MAP_FILE: layout.map_text(record.tiles),
            layout.STATS_FILE: layout.stats_text(content),
            layout.ACCUMULATED_FILE: layout.json_text(layout.accumulated_stats(content)),
            layout.DEFINITION_FILE: layout.json_text(layout.model_definition(content)),
            **self.format.more_files(record, self._objects),
        }
        with disk_full_explained(self.folder):
            for name, text in texts.items():
                _write_text(self._temporary / name, text)
            save_record(TileSet(self._temporary, record))
            _swap_in(self._temporary, self.folder)
        return TileSet(self.folder, record)


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


def _write_text(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")


def _write_raster(target: Path, values: NDArray[Any], transform: Affine, crs: str, nodata: float | None, *, world: bool = True) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_geotiff(values, transform, crs, nodata))
    if world:
        target.with_suffix(".tfw").write_text(layout.world_file(transform), encoding="ascii", newline="\n")


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
