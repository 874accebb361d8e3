"""Where an image is cut: in rows, or around each label. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from imagery.grid import Grid
from labeling.burn import Shapes, outline
from labeling.export_settings import ExportSettings
from labeling.fully_labelled import FullyLabelled
from tiles.formats import FORMATS, TileFormat
from tiles.windows import tile_windows

LARGEST_CROP = 4096
"""Pixels: a tile as large as its object is no larger."""
EDGE = 0.01
"""Pixels: an object that ends this little beyond a pixel's edge ends there."""
ENOUGH = 0.1
"""Share of a tile: where so much of it is fully labelled, it is worth cutting though no object is in it."""
MOSTLY = 0.5
"""Share of a tile: where the labels hold fully labelled areas, kinds of labels that cannot leave pixels out are cut only there."""


@dataclass(frozen=True)
class TileWindow:
    """Where to cut a raster, pixels."""

    column: int
    row: int
    columns: int
    rows: int
    feature: int | None = None
    """Label that the window is around, where a tile has one object: its row."""


def fully_labelled_counts(form: TileFormat) -> bool:
    """Whether it matters for a format where the labels are complete: not for tiles around single objects, nor for images only."""
    return form.has_classes and not form.per_object


def cut_only_inside(form: TileFormat, complete: FullyLabelled | None) -> bool:
    """Whether tiles are cut only where they are mostly fully labelled: a reader of boxes takes whatever has none for background."""
    return complete is not None and fully_labelled_counts(form) and not form.has_pixels


def windows_of(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[TileWindow]:
    """Windows to cut: one around each object, or all of which something is known, or those with something labelled."""
    if FORMATS[settings.metadata_format].per_object:
        return _windows_around(grid, shapes, settings)
    return [TileWindow(column, row, settings.tile_size, settings.tile_size) for column, row in _rows_of_windows(grid, shapes, settings)]


def _windows_around(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[TileWindow]:
    """A window for each label to be learnt, in their order: around the part of it that lies on the raster."""
    mine = np.flatnonzero(shapes.learnt)
    inside = shapely.intersection(shapes.areas[mine], outline(grid))
    to_pixels = ~grid.transform
    boxes = shapely.bounds(shapely.transform(inside, lambda x, y: to_pixels @ (x, y), interleaved=False))
    found = []
    for feature in np.unique(shapes.features[mine]):
        own = boxes[(shapes.features[mine] == feature) & ~shapely.is_empty(inside)]
        if len(own):
            box = (*own[:, :2].min(axis=0), *own[:, 2:].max(axis=0))
            columns, rows = (_around(box[i], box[i + 2], side, settings) for i, side in ((0, grid.width), (1, grid.height)))
            found.append(TileWindow(columns[0], rows[0], columns[1], rows[1], int(feature)))
    return found


def _around(low: float, high: float, side: int, settings: ExportSettings) -> tuple[int, int]:
    """(start, length) in pixels along one side of a raster: the object's own, or the tile size with the object in the middle, moved to
    lie on the raster where that is large enough. Of an object longer than LARGEST_CROP the middle is taken.
    """
    length = settings.tile_size
    if settings.crop_mode == "bounding_box":
        first, last = max(math.floor(low + EDGE), 0), min(math.ceil(high - EDGE), side)
        if last - first <= LARGEST_CROP:
            return min(first, side - 1), max(last - first, 1)
        length = LARGEST_CROP
    start = round((low + high - length) / 2)
    return max(min(start, side - length), 0), length


def _rows_of_windows(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[tuple[int, int]]:
    """Upper left corners of windows row by row: all, or those that something to be learnt touches or that are labelled without it."""
    every = tile_windows(grid.width, grid.height, settings.tile_size, settings.stride)
    form = FORMATS[settings.metadata_format]
    complete = shapes.fully_labelled if fully_labelled_counts(form) else None
    if settings.tiles == "all" and complete is None:
        return every
    size = settings.tile_size
    corners = np.array(every, dtype=float)[:, None, :] + np.array([(0, 0), (size, 0), (size, size), (0, size)], dtype=float)
    t = grid.transform
    x = t.a * corners[..., 0] + t.b * corners[..., 1] + t.c
    y = t.d * corners[..., 0] + t.e * corners[..., 1] + t.f
    boxes = shapely.polygons(np.stack([x, y], axis=-1))
    touched, by = shapes.tree.query(boxes, predicate="intersects")
    wanted = np.zeros(len(every), dtype=bool)
    wanted[touched[shapes.learnt[by]]] = True
    if complete is not None:
        share = complete.shares(boxes)
        wanted |= share >= ENOUGH if settings.tiles == "features_only" else share > 0
        if cut_only_inside(form, complete):
            wanted &= share >= MOSTLY
    return [every[i] for i in np.flatnonzero(wanted)]
