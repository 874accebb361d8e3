"""Windows of an image with the labels on it, cut, burnt and written one by one; what they share is read and burnt once."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from imagery.grid import Grid
from imagery.read import Pixels
from imagery.turn import sample
from imagery.views import ViewReader
from labeling.burn import burn, burn_instances, objects_in, outline, shapes_in, unlabelled
from labeling.export_plan import PlannedImage
from labeling.export_settings import ExportSettings
from labeling.export_windows import ENOUGH, TileWindow, fully_labelled_counts
from labeling.patchwork import SIDE, Patchwork
from tiles.formats import TileFormat
from tiles.objects import TileObject
from tiles.statistics import RunningStatistics
from tiles.tile_set import IGNORE_LABEL
from tiles.unfinished import WrittenTile
from tiles.writer import TileSetWriter

Progress = Callable[[str, float], None]

WINDOWS_TO_CHECKPOINT = 500
"""So many windows are cut anew at most when an export was killed."""
STRIP_BYTES = 96 * 2**20
"""Of an image in memory at once."""
OTHER_BYTES = 4
"""In memory with each pixel: whether it is valid, its label, how often it counts."""


@dataclass(frozen=True)
class Cut:
    """One tile as written."""

    image: PlannedImage
    window: TileWindow
    transform: Affine
    written: WrittenTile


def cut_all(
    planned: Sequence[PlannedImage], settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics, tell: Progress
) -> Iterator[Cut]:
    """Cut every window of every image, from above; what holds nothing to learn from is left out. `tell` may raise to stop.

    Where `writer` has kept what a killed export wrote, that is told first and cutting goes on behind it. The statistics are counted at the same
    windows in any case, so that they come out the same to the last digit.
    """
    windows = [(image, window) for image in planned for window in from_above(image)]
    cut_from: list[int] = []
    begun = 0
    if writer.kept is not None:
        statistics.restore(writer.kept)
        cut_from, begun = writer.kept["cut_from"].tolist(), int(writer.kept["begun"])
        for number, kept in zip(cut_from, writer.tiles, strict=True):
            yield _cut(*windows[number], kept)
    for _, group in itertools.groupby(enumerate(windows[begun:], begun), key=lambda one: id(one[1][0])):
        numbered = list(group)
        image = numbered[0][1][0]
        with ViewReader(image.view) as reader:
            cutter = _Cutter(image, reader, settings, writer, statistics)
            for number, (_, window) in numbered:
                if number > begun and number % WINDOWS_TO_CHECKPOINT == 0:
                    cutter.count()
                    state = {"cut_from": np.array(cut_from, dtype=np.int64), "begun": np.array(number)}
                    writer.checkpoint(statistics.state() | state)
                tell(f"Cutting tile {number + 1} of {len(windows)} ({image.name})", 0.01 + 0.95 * number / len(windows))
                written = cutter.cut(window)
                if written is not None:
                    cut_from.append(number)
                    yield _cut(image, window, written)
            cutter.count()


def from_above(image: PlannedImage) -> list[TileWindow]:
    """The windows of an image in the order in which they are cut: row by row, in strips as wide as memory allows for very wide images."""
    if not image.windows:
        return []
    rows = max(window.box[3] for window in image.windows) + 2 * SIDE
    pixel = len(image.bands) * np.dtype(image.info.dtype).itemsize + OTHER_BYTES
    width = max(STRIP_BYTES // (rows * pixel), SIDE)
    return sorted(image.windows, key=lambda window: (window.column // width, window.row, window.column))


@dataclass(frozen=True)
class _Square:
    """A part of an image, SIDE pixels each way."""

    values: NDArray[Any]
    """(rows, columns, bands): as the pixels lie in a tile's file, nodata (or 0) where not valid."""
    valid: NDArray[np.bool_]
    times: NDArray[np.uint16]
    """(rows, columns): in how many tiles the pixel is that have not been counted yet."""


class _Cutter:
    """Cuts the windows of one image, from above; each square of it is read and burnt once, when a tile needs it."""

    def __init__(
        self, image: PlannedImage, reader: ViewReader, settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics
    ) -> None:
        self._image = image
        self._reader = reader
        self._settings = settings
        self._writer = writer
        self._statistics = statistics
        self._squares = Patchwork(self._read)
        self._burnt = Patchwork(self._burn)
        self._row = 0
        self._sticks_out = max(window.row - window.box[1] for window in image.windows)

    def cut(self, window: TileWindow) -> WrittenTile | None:
        """Burn and write one window; None when it holds nothing to learn from."""
        self._leave_behind(window)
        image, form = self._image, self._writer.format
        grid = window.on(image.grid)
        seen = outline(grid).intersection(outline(image.grid))
        own = window.feature is not None or self._settings.min_polygon_overlap_ratio > 0 or window.angle > 0
        chosen = np.zeros(0, dtype=np.int64)
        if own or form.has_objects:
            chosen = shapes_in(image.shapes, seen, self._settings.min_polygon_overlap_ratio)
        if window.feature is not None:
            chosen = chosen[image.shapes.features[chosen] == window.feature]
        label = burn(image.shapes, grid, chosen) if own else self._label(window)
        unknown = unlabelled(image.shapes, grid, label) if fully_labelled_counts(form) else None
        if unknown is not None:
            label[unknown] = IGNORE_LABEL
        if not self._worth_writing(label):
            return None
        values, valid = self._pixels(window)
        if not valid.all():
            label[~valid] = IGNORE_LABEL
            if not self._worth_writing(label):
                return None
        objects: Sequence[TileObject] = ()
        instances: dict[int, NDArray[np.integer]] = {}
        if form.has_objects:
            objects, labels = objects_in(image.shapes, grid, seen, chosen, valid)
            if form.has_instances:
                instances = burn_instances(image.shapes, grid, chosen, objects, labels, valid)
        if window.feature is not None and not objects:
            return None
        if self._settings.blacken_around_feature:
            valid = valid & (label > 0)
            values = values * valid
        if self._settings.blacken_around_feature or window.angle:
            self._statistics.add(values, valid)
        else:
            for square, part, _ in self._squares.parts(window.column, window.row, window.columns, window.rows):
                square.times[part] += 1
        lies = (grid.transform, crs_of(grid)) if self._settings.reference_system == "map_space" else (Affine.identity(), "")
        return self._writer.add(values, valid, label, *lies, image.info.nodata, objects, instances, unknown)

    def count(self) -> None:
        """Count the pixels of all tiles so far into the statistics."""
        self._count(self._squares)

    def _leave_behind(self, window: TileWindow) -> None:
        """Forget the squares above a window; all, where it begins a new strip."""
        row = window.row if window.row >= self._row else sys.maxsize
        self._row = window.row
        self._count(self._squares.leave(row - self._sticks_out))
        self._burnt.leave(row - self._sticks_out)

    def _count(self, squares: Iterable[_Square]) -> None:
        for square in squares:
            if square.times.any():
                self._statistics.add(square.values.transpose(2, 0, 1), square.times * square.valid)
                square.times[:] = 0

    def _worth_writing(self, label: NDArray[np.uint8]) -> bool:
        """Whether there is something to learn."""
        if ((label != 0) & (label != IGNORE_LABEL)).any():
            return True
        background = float(np.count_nonzero(label == 0)) / label.size
        return background > 0 and _may_show_nothing(self._image, self._settings, self._writer.format, background)

    def _read(self, column: int, row: int) -> _Square:
        pixels = self._reader.read(column, row, SIDE, SIDE)
        values = np.ascontiguousarray(_filled(pixels, self._image.info.nodata).transpose(1, 2, 0))
        return _Square(values, pixels.valid, np.zeros((SIDE, SIDE), np.uint16))

    def _burn(self, column: int, row: int) -> NDArray[np.uint8]:
        return burn(self._image.shapes, self._image.grid.window(column, row, SIDE, SIDE))

    def _pixels(self, window: TileWindow) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (bands, rows, columns), the bands of a pixel together in memory, and where they are valid."""
        column, row, columns, rows = window.box
        values = np.empty((rows, columns, len(self._image.bands)), self._image.info.dtype)
        valid = np.empty((rows, columns), np.bool_)
        for square, part, here in self._squares.parts(column, row, columns, rows):
            values[here], valid[here] = square.values[part], square.valid[part]
        if not window.angle:
            return values.transpose(2, 0, 1), valid
        to_box = Affine.translation(-column, -row) @ window.to_image
        turned = sample(Pixels(values.transpose(2, 0, 1), valid), to_box, (window.rows, window.columns))
        return _filled(turned, self._image.info.nodata), turned.valid

    def _label(self, window: TileWindow) -> NDArray[np.uint8]:
        label = np.empty((window.rows, window.columns), np.uint8)
        for square, part, here in self._burnt.parts(window.column, window.row, window.columns, window.rows):
            label[here] = square[part]
        return label


def _cut(image: PlannedImage, window: TileWindow, written: WrittenTile) -> Cut:
    return Cut(image, window, window.on(image.grid).transform, written)


def _may_show_nothing(image: PlannedImage, settings: ExportSettings, form: TileFormat, background: float) -> bool:
    """Whether a tile with this share of background, and no class, is worth writing."""
    if form.needs_class:
        return False
    marked = image.shapes.fully_labelled is not None and fully_labelled_counts(form)
    return settings.tiles == "all" or (marked and background >= ENOUGH)


def _filled(pixels: Pixels, nodata: float | None) -> NDArray[Any]:
    """Values with nodata (0 where there is none) where there is no imagery: never a NaN that another reader would choke on."""
    fill = nodata if nodata is not None and np.isfinite(nodata) else 0
    if pixels.valid.all():
        return pixels.values
    return np.where(pixels.valid, pixels.values, np.asarray(fill).astype(pixels.values.dtype))


def crs_of(grid: Grid) -> str:
    """The CRS as a tile set says it."""
    return str(grid.crs.to_string())
