"""Where an image is cut: in rows, or around each label. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from imagery.grid import Grid
from imagery.turn import box_around, turned_grid
from labeling.burn import Shapes, outline
from labeling.export.settings import ExportSettings
from labeling.fully_labelled import FullyLabelled
from tiles.formats import FORMATS, TileFormat
from tiles.windows import starts

LARGEST_CROP = 4096
"""Pixels: a tile as large as its object is no larger."""
EDGE = 0.01
"""Pixels: an object that ends this little beyond a pixel's edge ends there."""
ENOUGH = 0.1
"""Share of a tile: where so much of it is fully labelled, it is worth cutting though no object is in it."""
MOSTLY = 0.5
"""Share of a tile: where the labels hold fully labelled areas, kinds of labels that cannot leave pixels out are cut only there."""


PixelBox = tuple[float, float, float, float]
"""Left, top, right, bottom on an image, pixels."""


@dataclass(frozen=True)
class TileWindow:
    """Where to cut an image, pixels."""

    column: int
    row: int
    columns: int
    rows: int
    feature: int | None = None
    """Label that the window is around, where a tile has one object: its row."""
    angle: float = 0.0
    """Degrees clockwise by which it is turned about its middle."""

    @property
    def to_image(self) -> Affine:
        """(column, row) in the tile -> (column, row) of the image."""
        if not self.angle:
            return Affine.translation(self.column, self.row)
        return turned_grid(self.column, self.row, self.columns, self.rows, self.angle)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(column, row, columns, rows) to be read for it."""
        if not self.angle:
            return self.column, self.row, self.columns, self.rows
        return box_around(self.to_image, self.columns, self.rows)

    def on(self, grid: Grid) -> Grid:
        """The tile's pixels, on the image's grid."""
        if not self.angle:
            return grid.window(self.column, self.row, self.columns, self.rows)
        return Grid(self.columns, self.rows, grid.transform @ self.to_image, grid.crs)


def fully_labelled_counts(form: TileFormat) -> bool:
    """Whether it matters for a format where the labels are complete: not for tiles around single objects, nor for images only."""
    return form.has_classes and not form.per_object


def cut_only_inside(form: TileFormat, complete: FullyLabelled | None) -> bool:
    """Whether tiles are cut only where they are mostly fully labelled: a reader of boxes takes whatever has none for background."""
    return complete is not None and fully_labelled_counts(form) and not form.has_pixels


def windows_of(
    grid: Grid,
    shapes: Shapes,
    settings: ExportSettings,
    imagery: Sequence[PixelBox] | None = None,
    within: shapely.Geometry | None = None,
) -> list[TileWindow]:
    """Windows to cut: one around each object, or all of which something is known, or those with something labelled; with their turns.

    Args:
        grid: The image.
        shapes: On it.
        settings: As chosen.
        imagery: Where on the image there is any; None: everywhere. (Of images seen as one, between which there may be nothing.)
        within: Polygons in the image's CRS; only windows that lie in them completely, each turn for itself, are cut.
    """
    per_object = FORMATS[settings.metadata_format].per_object
    found = _windows_around(grid, shapes, settings) if per_object else _rows_of_windows(grid, shapes, settings, imagery)
    found = [replace(window, angle=angle) for window in found for angle in settings.angles]
    if per_object and within is None:
        return found
    boxes = _outlines(grid, found)
    keep = np.ones(len(found), dtype=bool) if per_object else _worth_cutting(boxes, shapes, settings)
    if within is not None:
        shapely.prepare(within)
        keep &= shapely.covers(within, _outlines(grid, found, EDGE))
    return [found[i] for i in np.flatnonzero(keep)]


def _windows_around(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[TileWindow]:
    """A window for each label to be learnt, in their order: around the part of it that lies on the raster."""
    mine = np.flatnonzero(shapes.learnt)
    inside = shapely.intersection(shapes.areas[mine], outline(grid))
    boxes = _pixel_boxes(grid, inside)
    found = []
    for feature in np.unique(shapes.features[mine]):
        own = boxes[(shapes.features[mine] == feature) & ~shapely.is_empty(inside)]
        if len(own):
            box = (*own[:, :2].min(axis=0), *own[:, 2:].max(axis=0))
            sides = zip((grid.width, grid.height), settings.tile_sides, strict=True)
            columns, rows = (_around(box[i], box[i + 2], side, length, settings) for i, (side, length) in enumerate(sides))
            found.append(TileWindow(columns[0], rows[0], columns[1], rows[1], int(feature)))
    return found


def _around(low: float, high: float, side: int, length: int, settings: ExportSettings) -> tuple[int, int]:
    """(start, length) in pixels along one side of a raster: the object's own, or `length` with the object in the middle, moved to
    lie on the raster where that is large enough. Of an object longer than LARGEST_CROP the middle is taken.
    """
    if settings.crop_mode == "bounding_box":
        first, last = max(math.floor(low + EDGE), 0), min(math.ceil(high - EDGE), side)
        if last - first <= LARGEST_CROP:
            return min(first, side - 1), max(last - first, 1)
        length = LARGEST_CROP
    start = round((low + high - length) / 2)
    return max(min(start, side - length), 0), length


def _rows_of_windows(grid: Grid, shapes: Shapes, settings: ExportSettings, imagery: Sequence[PixelBox] | None) -> list[TileWindow]:
    """Windows row by row that may be worth cutting: where there is imagery and, but for all of it, a box around something labelled."""
    (width, height), (across, down) = settings.tile_sides, settings.strides
    columns, rows = np.array(starts(grid.width, width, across)), np.array(starts(grid.height, height, down))
    sticks_out = (math.hypot(width, height) - min(width, height)) / 2 if settings.rotation_angle else 0.0

    def near(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(rows, columns) of windows, turned or not, that may touch a box."""
        found = np.zeros((len(rows), len(columns)), dtype=bool)
        left, top, right, bottom = boxes.T
        first, last = np.searchsorted(columns + width + sticks_out, left), np.searchsorted(columns - sticks_out, right, "right")
        upper, lower = np.searchsorted(rows + height + sticks_out, top), np.searchsorted(rows - sticks_out, bottom, "right")
        for i in range(len(boxes)):
            found[upper[i] : lower[i], first[i] : last[i]] = True
        return found

    everywhere = [(0, 0, grid.width, grid.height)]
    wanted = near(np.add(everywhere if imagery is None else imagery, [EDGE, EDGE, -EDGE, -EDGE]))
    complete = _complete(shapes, settings)
    if settings.tiles == "features_only":
        wanted &= near(_pixel_boxes(grid, [*shapes.areas[shapes.learnt], *([] if complete is None else complete.parts)]))
    return [TileWindow(int(columns[c]), int(rows[r]), width, height) for r, c in np.argwhere(wanted)]


def _worth_cutting(boxes: NDArray[np.object_], shapes: Shapes, settings: ExportSettings) -> NDArray[np.bool_]:
    """(n,) windows, as outlines in the image's CRS: all, or those that something to be learnt touches or that are labelled without it."""
    complete = _complete(shapes, settings)
    if settings.tiles == "all" and complete is None:
        return np.ones(len(boxes), dtype=bool)
    touched, by = shapes.tree.query(boxes, predicate="intersects")
    wanted = np.zeros(len(boxes), dtype=bool)
    wanted[touched[shapes.learnt[by]]] = True
    if complete is not None:
        share = complete.shares(boxes)
        wanted |= share >= ENOUGH if settings.tiles == "features_only" else share > 0
        if cut_only_inside(FORMATS[settings.metadata_format], complete):
            wanted &= share >= MOSTLY
    return wanted


def _complete(shapes: Shapes, settings: ExportSettings) -> FullyLabelled | None:
    return shapes.fully_labelled if fully_labelled_counts(FORMATS[settings.metadata_format]) else None


def _pixel_boxes(grid: Grid, areas: Sequence[shapely.Geometry]) -> NDArray[np.float64]:
    """(n, 4) boxes around shapes given in the image's CRS, pixels of the image."""
    to_pixels = ~grid.transform
    return shapely.bounds(shapely.transform(np.array(areas, dtype=object), lambda x, y: to_pixels @ (x, y), interleaved=False))


def _outlines(grid: Grid, windows: Sequence[TileWindow], inset: float = 0.0) -> NDArray[np.object_]:
    """(n,) polygons in the image's CRS, `inset` pixels within the windows."""
    placed = (window.on(grid).transform for window in windows)
    transforms = np.array([(t.a, t.b, t.c, t.d, t.e, t.f) for t in placed]).reshape(-1, 6, 1)
    sizes = np.array([(window.columns, window.rows) for window in windows], dtype=float).reshape(-1, 2, 1)
    column = np.where([False, True, True, False], sizes[:, 0] - inset, inset)
    row = np.where([False, False, True, True], sizes[:, 1] - inset, inset)
    a, b, c, d, e, f = (transforms[:, i] for i in range(6))
    return np.asarray(shapely.polygons(np.stack([a * column + b * row + c, d * column + e * row + f], axis=-1)))
