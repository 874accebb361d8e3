"""Write a tile set: into a hidden folder beside, which takes its name only when everything is in it."""

from __future__ import annotations

import contextlib
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

from errors import DiskFullError, EmptyTileSetError, TileSetError
from tiles import layout
from tiles.file_queue import FileQueue
from tiles.formats import tile_format
from tiles.formats.base import LabelFiles, TileContent
from tiles.geotiff import geotiff
from tiles.layout import SideContent
from tiles.manifest import MANIFEST_FILE, manifest_text
from tiles.objects import TileObject
from tiles.reader import EMPTY_PIXEL, UNCERTAIN_PIXEL, UNLABELLED_PIXEL
from tiles.statistics import pixels_per_class
from tiles.tile_set import IGNORE_LABEL, METADATA_FORMAT, RECORD_FILE, TileClass, TileSet, TileSetRecord, save_record
from tiles.unfinished import FinishedTile, Progress, State, UnfinishedSet, WrittenTile
from workspace.files import disk_full_explained, size_in_words

SPARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Sink:
    """Where a format writes the labels of one tile."""

    files: FileQueue
    transform: Affine
    crs: str

    def raster(self, path: str, values: NDArray[Any], nodata: float | None = None, *, image: bool = False, world: bool = True) -> None:
        """(rows, columns), or (bands, rows, columns) of an image."""
        self.files.put(path, geotiff(values if image else values[None], self.transform, self.crs, nodata, compress=not image))
        if world and self.crs:
            self.files.put(f"{path.rpartition('.')[0]}.tfw", layout.world_file(self.transform).encode("ascii"))

    def text(self, path: str, text: str) -> None:
        self.files.put(path, text.encode("utf-8"))


class TileSetWriter:
    """Collects the tiles of one set; a context manager.

    Leaving the block without `finish`, by an error or otherwise, removes what was written and leaves `folder` as it was. Where the whole process
    is killed, a writer with the same `key` finds in `kept` what was written until the last `checkpoint`.

    Args:
        folder: To be made; an older tile set there is replaced at the end.
        metadata_format: Name of a format in `tiles.formats`.
        classes: In drawing order; needed by the formats that name folders by them.
        start_index: Number that names the first tile.
        key: Says what the set is made from, all of it; "": what was begun is never taken up again.

    Raises:
        TileSetError: `folder` holds something that is not a tile set.
        TileSetFormatError: the format is not known.
    """

    def __init__(
        self, folder: Path, metadata_format: str = METADATA_FORMAT, classes: Sequence[TileClass] = (), start_index: int = 0, key: str = ""
    ) -> None:
        if folder.exists() and not _may_replace(folder):
            raise TileSetError(f"The folder '{folder.name}' already holds other files.", "Choose a new name, or an empty folder.")
        self.folder = folder
        self.format = tile_format(metadata_format)
        self.kept: State | None = None
        """As given to the last `checkpoint` of a killed process, if there is one: `tiles` then holds what it wrote."""
        self._classes = classes
        self._start_index = start_index
        self._unfinished = UnfinishedSet(folder, key)
        self._files = FileQueue(self._unfinished.path)
        self._tiles: list[FinishedTile] = []
        self._stack = contextlib.ExitStack()

    @property
    def tiles(self) -> list[WrittenTile]:
        """The tiles so far."""
        return [tile.written for tile in self._tiles]

    def __enter__(self) -> TileSetWriter:
        with disk_full_explained(self.folder), contextlib.ExitStack() as stack:
            stack.enter_context(self._unfinished)
            stack.callback(self._files.close)
            taken_up = self._unfinished.taken_up()
            if taken_up is not None:
                self._tiles, self.kept = taken_up.tiles, taken_up.state
                self._files.checksums.update(taken_up.checksums)
            for part in filter(None, (layout.IMAGES, self.format.label_folder)):
                (self._unfinished.path / part).mkdir(exist_ok=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

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
        """Write one tile: soon, by another thread.

        Args:
            image: (bands, rows, columns) raw values; fastest where the bands of a pixel lie together in memory.
            valid: (rows, columns): there is imagery.
            label: (rows, columns) class values, 255 for what must not be learnt.
            transform: Of the tile.
            crs: As text.
            nodata: The raster's own, noted in the image file.
            objects: What is in the tile, for formats of objects.
            instances: For formats with masks: see `tiles.formats.base.TileContent`.
            unlabelled: (rows, columns): nobody has said what is there; not to be learnt, whatever `label` says. None: nowhere.

        Raises:
            DiskFullError: the disk filled up, perhaps at an earlier tile.
        """
        name = layout.tile_name(self._start_index + len(self._tiles))
        ignored = (label == IGNORE_LABEL) | ~valid
        if unlabelled is not None:
            ignored |= unlabelled
        known = np.where(ignored, np.uint8(0), label)
        image_path = self.format.image_path(name, known, objects, self._classes)
        ignore_path = f"{layout.IGNORE}/{name}.tif" if ignored.any() else None
        content = TileContent(name, image_path, len(image), known, objects, instances or {}, self._classes)
        sink = _Sink(self._files, transform, crs)
        with disk_full_explained(self.folder):
            sink.raster(image_path, image, nodata, image=True)
            labels, written = self.format.write(sink, content)
            if ignore_path is not None:
                kinds = [~valid, unlabelled if unlabelled is not None else False, ignored]
                mask = np.select(kinds, [EMPTY_PIXEL, UNLABELLED_PIXEL, UNCERTAIN_PIXEL], 0).astype(np.uint8)
                sink.raster(ignore_path, mask, world=False)
        self._tiles.append(FinishedTile(_written(name, image_path, labels, ignore_path, label, ignored, written), written))
        return self._tiles[-1].written

    def checkpoint(self, state: State) -> None:
        """Wait until all tiles are on disk, and note that they are.

        Args:
            state: To be found in `kept`.

        Raises:
            DiskFullError: the disk filled up.
        """
        with disk_full_explained(self.folder):
            self._files.wait()
            self._unfinished.note(Progress(self._tiles, self._files.checksums, state))

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
        objects = [tile.objects for tile in self._tiles]
        content = SideContent(record, self.format.side, classes, names, objects, more)
        texts = {
            layout.MAP_FILE: layout.map_text(record.tiles),
            layout.STATS_FILE: layout.stats_text(content),
            layout.ACCUMULATED_FILE: layout.json_text(layout.accumulated_stats(content)),
            layout.DEFINITION_FILE: layout.json_text(layout.model_definition(content)),
        }
        new = self._unfinished.path
        with disk_full_explained(self.folder):
            for name, text in self.format.more_files(record, objects).items():
                self._files.put(name, text.encode("utf-8"))
            self._files.wait()
            for name, text in (texts | {MANIFEST_FILE: manifest_text(self._files.checksums)}).items():
                (new / name).write_text(text, encoding="utf-8", newline="\n")
            save_record(TileSet(new, record))
            self._unfinished.complete()
            _swap_in(new, self.folder)
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


def _written(
    name: str,
    image: str,
    labels: LabelFiles,
    ignore: str | None,
    label: NDArray[np.uint8],
    ignored: NDArray[np.bool_],
    objects: Sequence[TileObject],
) -> WrittenTile:
    values = [one.value for one in objects]
    return WrittenTile(
        name=name,
        image=image,
        label=labels.label,
        masks=dict(labels.masks),
        ignore=ignore,
        pixels=pixels_per_class(label if ignore is None else np.where(ignored, np.uint8(IGNORE_LABEL), label)),
        ignored_pixels=int(ignored.sum()),
        objects={value: values.count(value) for value in sorted(set(values))},
    )


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
