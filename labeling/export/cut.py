"""Windows of an image with the labels on it, cut, burnt and written one by one; what they share is read and burnt once."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from imagery.grid import Grid
from imagery.views import ViewReader
from labeling.burn import burn, burn_instances, objects_in, outline, shapes_in, unlabelled
from labeling.export.cut_imagery import Imagery, Statistics
from labeling.export.patchwork import SIDE, Patchwork
from labeling.export.plan import PlannedImage
from labeling.export.settings import ExportSettings
from labeling.export.windows import ENOUGH, TileWindow, fully_labelled_counts
from tiles.formats import TileFormat
from tiles.objects import TileObject
from tiles.tile_set import IGNORE_LABEL
from tiles.unfinished import WrittenTile
from tiles.writer import SecondImage, TileSetWriter

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
    planned: Sequence[PlannedImage], settings: ExportSettings, writer: TileSetWriter, statistics: Statistics, tell: Progress
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
        with contextlib.ExitStack() as stack:
            imagery = Imagery(image, stack.enter_context(ViewReader(image.view)), statistics.of(image, planned))
            second = None
            if image.second is not None and statistics.second is not None:
                second = Imagery(image.second, stack.enter_context(ViewReader(image.second.view)), statistics.second)
            cutter = _Cutter(image, imagery, second, settings, writer)
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


class _Cutter:
    """Cuts the windows of one image, from above; each square of it is read and burnt once, when a tile needs it."""

    def __init__(
        self, image: PlannedImage, imagery: Imagery, second: Imagery | None, settings: ExportSettings, writer: TileSetWriter
    ) -> None:
        self._image = image
        self._imagery = imagery
        self._second = second
        self._settings = settings
        self._writer = writer
        self._everywhere = settings.tiles == "all" or (bool(image.part) and not image.labelled)
        self._burnt = Patchwork(self._burn)
        self._row = 0
        self._sticks_out = max(window.row - window.box[1] for window in image.windows)

    def cut(self, window: TileWindow) -> WrittenTile | None:
        """Burn and write one window; None when it holds nothing to learn from."""
        self._leave_behind(window)
        image, form = self._image, self._writer.format
        grid = window.on(image.grid)
        own = window.feature is not None or self._settings.min_polygon_overlap_ratio > 0 or window.angle > 0
        chosen = np.zeros(0, dtype=np.int64)
        if own or form.has_objects:
            seen = outline(grid).intersection(outline(image.grid))
            chosen = shapes_in(image.shapes, seen, self._settings.min_polygon_overlap_ratio)
        if window.feature is not None:
            chosen = chosen[image.shapes.features[chosen] == window.feature]
        label = burn(image.shapes, grid, chosen) if own else self._label(window)
        unknown = None
        if image.shapes.fully_labelled is not None and fully_labelled_counts(form):
            unknown = unlabelled(image.shapes, grid, label)
            label[unknown] = IGNORE_LABEL
        if not self._worth_writing(label):
            return None
        values, valid = self._imagery.pixels(window)
        second = self._second.pixels(window) if self._second is not None else None
        both = valid if second is None else valid & second[1]
        if not both.all():
            label[~both] = IGNORE_LABEL
            if not self._worth_writing(label):
                return None
        objects: Sequence[TileObject] = ()
        instances: dict[int, NDArray[np.integer]] = {}
        if form.has_objects:
            objects, labels = objects_in(image.shapes, grid, seen, chosen, both)
            if form.has_instances:
                instances = burn_instances(image.shapes, grid, chosen, objects, labels, both)
                chosen_classes = self._settings.instance_classes or tuple(instances)
                instances = {value: numbers for value, numbers in instances.items() if value in chosen_classes}
        if window.feature is not None and not objects:
            return None
        if self._settings.blacken_around_feature:
            valid = both = valid & (label > 0)
            values = values * valid
        other = None
        if self._settings.blacken_around_feature or window.angle:
            self._imagery.shown_otherwise(values, valid)
        else:
            self._imagery.shown(window)
        if self._second is not None and second is not None:
            other = SecondImage(second[0], self._second.nodata)
            if window.angle:
                self._second.shown_otherwise(*second)
            else:
                self._second.shown(window)
        lies = (grid.transform, crs_of(grid)) if self._settings.reference_system == "map_space" else (Affine.identity(), "")
        return self._writer.add(values, both, label, *lies, image.info.nodata, objects, instances, unknown, other, image.part)

    def count(self) -> None:
        """Count the pixels of all tiles so far into the statistics."""
        for imagery in filter(None, (self._imagery, self._second)):
            imagery.count()

    def _leave_behind(self, window: TileWindow) -> None:
        """Forget the squares above a window; all, where it begins a new strip."""
        row = window.row if window.row >= self._row else sys.maxsize
        self._row = window.row
        for imagery in filter(None, (self._imagery, self._second)):
            imagery.leave(row - self._sticks_out)
        self._burnt.leave(row - self._sticks_out)

    def _worth_writing(self, label: NDArray[np.uint8]) -> bool:
        """Whether there is something to learn."""
        if ((label != 0) & (label != IGNORE_LABEL)).any():
            return True
        background = float(np.count_nonzero(label == 0)) / label.size
        return background > 0 and _may_show_nothing(self._image, self._writer.format, background, everywhere=self._everywhere)

    def _burn(self, column: int, row: int) -> NDArray[np.uint8]:
        return burn(self._image.shapes, self._image.grid.window(column, row, SIDE, SIDE))

    def _label(self, window: TileWindow) -> NDArray[np.uint8]:
        label = np.empty((window.rows, window.columns), np.uint8)
        for square, part, here in self._burnt.parts(window.column, window.row, window.columns, window.rows):
            label[here] = square[part]
        return label


def _cut(image: PlannedImage, window: TileWindow, written: WrittenTile) -> Cut:
    return Cut(image, window, window.on(image.grid).transform, written)


def _may_show_nothing(image: PlannedImage, form: TileFormat, background: float, *, everywhere: bool) -> bool:
    """Whether a tile with this share of background, and no class, is worth writing."""
    if form.needs_class:
        return False
    marked = image.shapes.fully_labelled is not None and fully_labelled_counts(form)
    return everywhere or (marked and background >= ENOUGH)


def crs_of(grid: Grid) -> str:
    """The CRS as a tile set says it."""
    return str(grid.crs.to_string())
