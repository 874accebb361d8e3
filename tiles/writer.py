"""Write a tile set: into a hidden folder beside, which takes its name only when everything is in it."""

from __future__ import annotations

import collections
import contextlib
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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
from tiles.layout import SideContent
from tiles.manifest import MANIFEST_FILE, manifest_text
from tiles.objects import TileObject
from tiles.pictures import JPEG_QUALITY, PICTURE_KINDS, encoded, side_files
from tiles.reader import EMPTY_PIXEL, UNCERTAIN_PIXEL, UNLABELLED_PIXEL
from tiles.statistics import pixels_per_class
from tiles.tile_set import IGNORE_LABEL, METADATA_FORMAT, RECORD_FILE, TileClass, TileSet, TileSetRecord, save_record
from tiles.unfinished import FinishedTile, Progress, State, UnfinishedSet, WrittenTile
from workspace.files import disk_full_explained, size_in_words

SPARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class SecondImage:
    """The second image of a tile."""

    image: NDArray[Any]
    """(bands, rows, columns) raw values."""
    nodata: float | None
    """Of its raster, noted in its file."""


@dataclass(frozen=True)
class _Sink:
    """Where the files of one tile are written."""

    files: dict[str, bytes]
    transform: Affine
    crs: str
    quality: int

    def image(self, path: str, values: NDArray[Any], nodata: float | None) -> None:
        """(bands, rows, columns)."""
        self.files[path] = encoded(PurePosixPath(path).suffix, values, self.transform, self.crs, nodata, quality=self.quality)
        self._beside(side_files(path, self.transform, self.crs, nodata, len(values)))

    def raster(self, path: str, values: NDArray[Any], *, world: bool = True) -> None:
        self.files[path] = encoded(PurePosixPath(path).suffix, values[None], self.transform, self.crs, image=False)
        if world:
            self._beside(side_files(path, self.transform, self.crs, image=False))

    def text(self, path: str, text: str) -> None:
        self.files[path] = text.encode("utf-8")

    def _beside(self, texts: Mapping[str, str]) -> None:
        for path, text in texts.items():
            self.text(path, text)


class TileSetWriter:
    """Collects the tiles of one set; a context manager.

    Leaving the block without `finish`, by an error or otherwise, removes what was written and leaves `folder` as it was. Where the whole process
    is killed, a writer with the same `key` finds in `kept` what was written until the last `checkpoint`.

    Args:
        folder: To be made; an older tile set there is replaced at the end.
        metadata_format: Name of a format in `tiles.formats`.
        classes: In drawing order; needed by the formats that name folders by them.
        start_index: Number that names the first tile.
        picture: Kind of picture file of the images (`tiles.pictures`).
        quality: Of JPEG files, 1 to 100.
        key: Says what the set is made from, all of it; "": what was begun is never taken up again.

    Raises:
        TileSetError: `folder` holds something that is not a tile set.
        TileSetFormatError: the format is not known.
    """

    def __init__(
        self,
        folder: Path,
        metadata_format: str = METADATA_FORMAT,
        classes: Sequence[TileClass] = (),
        start_index: int = 0,
        picture: str = "TIFF",
        quality: int = JPEG_QUALITY,
        key: str = "",
    ) -> None:
        if folder.exists() and not _may_replace(folder):
            raise TileSetError(f"The folder '{folder.name}' already holds other files.", "Choose a new name, or an empty folder.")
        self.folder = folder
        self.format = tile_format(metadata_format)
        self.kept: State | None = None
        """As given to the last `checkpoint` of a killed process, if there is one: `tiles` then holds what it wrote."""
        self._classes = classes
        self._start_index = start_index
        self._picture = PICTURE_KINDS[picture]
        self._quality = quality
        self._unfinished = UnfinishedSet(folder, key)
        self._files = FileQueue(self._unfinished.path)
        self._tiles: list[FinishedTile] = []
        self._counts: collections.Counter[str] = collections.Counter()
        """Tiles of each part."""
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
                self._counts.update(tile.written.image.partition("/")[0] if self.format.parts else "" for tile in self._tiles)
            for part in self.format.parts or ("",):
                for inside in filter(None, (layout.IMAGES, self.format.label_folder)):
                    (self._unfinished.path / part / inside).mkdir(parents=True, exist_ok=True)
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
        second: SecondImage | None = None,
        part: str = "",
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
            second: The second image of the same place, where the set has such.
            part: One of `TileFormat.parts`, where the format has them; each has its own numbers.

        Raises:
            DiskFullError: the disk filled up, perhaps at an earlier tile.
        """
        inside = f"{part}/" if part else ""
        name = layout.tile_name(self._start_index + self._counts[part])
        self._counts[part] += 1
        ignored = (label == IGNORE_LABEL) | ~valid
        if unlabelled is not None:
            ignored |= unlabelled
        all_count = not ignored.any()
        known = label if all_count else np.where(ignored, np.uint8(0), label)
        image_path = inside + self.format.image_path(name, known, objects, self._classes, self._picture.suffix)
        image2_path = f"{layout.IMAGES2}/{name}{self._picture.suffix}" if second is not None else ""
        ignore_path = None if all_count else f"{inside}{layout.IGNORE}/{name}.tif"
        content = TileContent(name, image_path, len(image), known, objects, instances or {}, self._classes, self._picture.label_suffix)
        sink = _Sink({}, transform, crs, self._quality)
        with disk_full_explained(self.folder):
            sink.image(image_path, image, nodata)
            if second is not None:
                sink.image(image2_path, second.image, second.nodata)
            labels, written = self.format.write(sink, content)
            if ignore_path is not None:
                kinds = [~valid, unlabelled if unlabelled is not None else False, ignored]
                mask = np.select(kinds, [EMPTY_PIXEL, UNLABELLED_PIXEL, UNCERTAIN_PIXEL], 0).astype(np.uint8)
                sink.raster(ignore_path, mask, world=False)
            self._files.put(sink.files)
        self._tiles.append(FinishedTile(_written(name, image_path, image2_path, labels, ignore_path, label, ignored, written), written))
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
        objects = [tile.objects for tile in self._tiles]
        if self.format.parts:
            texts: dict[str, str] = {}
            for number, part in enumerate(self.format.parts):
                texts |= {f"{part}/{name}": text for name, text in self._side_texts(layout.part_of(record, part, number == 1), ()).items()}
        else:
            texts = self._side_texts(record, objects if self.format.has_objects else ())
        new = self._unfinished.path
        with disk_full_explained(self.folder):
            self._files.put({name: text.encode("utf-8") for name, text in self.format.more_files(record, objects).items()})
            self._files.wait()
            for name, text in (texts | {MANIFEST_FILE: manifest_text(self._files.checksums)}).items():
                (new / name).write_text(text, encoding="utf-8", newline="\n")
            save_record(TileSet(new, record))
            self._unfinished.complete()
            _swap_in(new, self.folder)
        return TileSet(self.folder, record)

    def _side_texts(self, record: TileSetRecord, objects: Sequence[Sequence[TileObject]]) -> dict[str, str]:
        classes, names = self.format.listed(record.classes), self.format.class_names(record.classes)
        more = self.format.definition(layout.definition_classes(classes, names), record.settings.get("instance_classes", ()))
        content = SideContent(record, self.format.side, classes, names, objects, more)
        return {
            layout.MAP_FILE: layout.map_text(record.tiles),
            layout.STATS_FILE: layout.stats_text(content),
            layout.ACCUMULATED_FILE: layout.json_text(layout.accumulated_stats(content)),
            layout.DEFINITION_FILE: layout.json_text(layout.model_definition(content)),
        }


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
    image2: str,
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
        image2=image2,
        label=labels.label,
        masks=dict(labels.masks),
        ignore=ignore,
        pixels=pixels_per_class(label if ignore is None else np.where(ignored, np.uint8(IGNORE_LABEL), label)),
        ignored_pixels=int(np.count_nonzero(ignored)),
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
