"""Before against after: what was gained, lost and flipped, and how much ground each class covers.

The functions over arrays are pure; `compare_rasters` streams them over two class rasters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.windows import Window

from imagery.grid import Grid
from imagery.write import open_tiled_gtiff, to_cog
from inference.legend import write_legend
from inference.scores import Counts, confusion, confusion_weighted, values_of
from inference.truth import Truth
from workspace.classes import BACKGROUND_VALUE, ClassDef
from workspace.files import replaced_on_success

NODATA = 255
SAME, GAINED, LOST, FLIPPED = 0, 1, 2, 3
CHANGE_NAMES = {SAME: "same", GAINED: "gained", LOST: "lost", FLIPPED: "flipped"}
CHANGE_COLOURS = {SAME: (0, 0, 0), GAINED: (46, 196, 112), LOST: (214, 40, 40), FLIPPED: (155, 93, 229)}
BLOCK_PX = 512


def change(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What became of each pixel.

    Args:
        before: Class values, 0 background, 255 no imagery; any shape.
        after: Same shape and class values.

    Returns:
        0 same, 1 gained (background became a class), 2 lost (a class became background), 3 flipped (one class became
        another), 255 where either has no imagery.
    """
    out = np.full(before.shape, FLIPPED, np.uint8)
    out[before == BACKGROUND_VALUE] = GAINED
    out[after == BACKGROUND_VALUE] = LOST
    out[before == after] = SAME
    out[(before == NODATA) | (after == NODATA)] = NODATA
    return out


def of_classes(before: NDArray[np.uint8], after: NDArray[np.uint8], values: Sequence[int] | None) -> NDArray[np.bool_]:
    """Where a pixel had one of these class values before, or has one after; None: everywhere."""
    if values is None:
        return np.ones(before.shape, np.bool_)
    return np.asarray(np.isin(before, values) | np.isin(after, values))


def row_areas_m2(grid: Grid) -> NDArray[np.float64]:
    """(rows,) ground area in square metres of the pixel in the middle of each row: geodesic on WGS 84, for rotated and skewed grids too.

    A pixel's two middle lines are measured as geodesics (length and azimuth); its area is that of the parallelogram they span. Along a row the area
    is the same in geographic coordinates and Mercator projections; in others it hardly changes within a block of some hundred pixels.
    """
    row = np.arange(grid.height) + 0.5
    column = np.full(grid.height, grid.width / 2)
    ends = [(column - 0.5, row), (column + 0.5, row), (column, row - 0.5), (column, row + 0.5)]
    t, to_lonlat = grid.transform, _to_lonlat(grid.crs.to_wkt())
    west, east, north, south = (to_lonlat.transform(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in ends)
    geod = Geod(ellps="WGS84")
    across_azimuth, _, across = geod.inv(*west, *east)
    down_azimuth, _, down = geod.inv(*north, *south)
    return np.asarray(np.abs(across * down * np.sin(np.radians(down_azimuth - across_azimuth))), np.float64)


@cache
def _to_lonlat(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


@dataclass(frozen=True)
class Comparison:
    """Two class maps of one raster against each other. Rows: before; columns: after; background first, then the classes in order."""

    pixels: Counts
    area_m2: NDArray[np.float64]

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(self.pixels + other.pixels, self.area_m2 + other.area_m2)


def count_changes(before: Truth, after: Truth, grid: Grid, values: Sequence[int], progress: Callable[[float], None] = lambda share: None) -> Comparison:
    """Count the change table of two readers of class values, block by block.

    Args:
        before: Reads on `grid`; values that are not counted, 255 among them, are left out.
        after: Likewise.
        grid: Whose pixels are counted.
        values: Class values in the order of the table's rows and columns.
        progress: Told the share done, 0..1; may raise to stop.
    """
    total = Comparison(np.zeros((len(values),) * 2, np.int64), np.zeros((len(values),) * 2))
    for row in range(0, grid.height, BLOCK_PX):
        for column in range(0, grid.width, BLOCK_PX):
            progress(row / grid.height)
            window = Window(column, row, min(BLOCK_PX, grid.width - column), min(BLOCK_PX, grid.height - row))
            total = total + _counted(before.read(window), after.read(window), grid, window, values)
    return total


def _counted(old: NDArray[np.uint8], new: NDArray[np.uint8], grid: Grid, window: Window, values: Sequence[int]) -> Comparison:
    rows_m2 = row_areas_m2(grid.window(int(window.col_off), int(window.row_off), int(window.width), int(window.height)))
    area = np.broadcast_to(rows_m2[:, None], old.shape)
    return Comparison(confusion(old, new, values), confusion_weighted(old, new, values, area))


def compare_rasters(
    before: Path,
    after: Path,
    classes: Sequence[ClassDef],
    out_change: Path,
    *,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Comparison:
    """Write the change raster and count the change table, block by block.

    Args:
        before: Class raster (uint8, 255 = no imagery) on some grid.
        after: Class raster on the same grid, with the same class values.
        classes: The classes of both, without background.
        out_change: COG to write: 0 same, 1 gained, 2 lost, 3 flipped, 255 no imagery.
        progress: Told the share done, 0..1; may raise to stop.

    Raises:
        ValueError: the two are not on the same grid.
        DiskFullError: there is no room for the change raster.
    """
    values = values_of(classes)
    total = Comparison(np.zeros((len(values),) * 2, np.int64), np.zeros((len(values),) * 2))
    with ExitStack() as stack:
        first, second = (stack.enter_context(rasterio.open(path)) for path in (before, after))
        if (first.shape, first.transform) != (second.shape, second.transform):
            raise ValueError(f"{before.name} and {after.name} are on different grids")
        grid = Grid(first.width, first.height, first.transform, first.crs)
        temporary = stack.enter_context(replaced_on_success(out_change))
        plain = temporary.with_name(temporary.stem + ".plain.tif")
        with open_tiled_gtiff(plain, grid, 1, "uint8", NODATA) as target:
            for row in range(0, grid.height, BLOCK_PX):
                progress(row / grid.height)
                for column in range(0, grid.width, BLOCK_PX):
                    window = Window(column, row, min(BLOCK_PX, grid.width - column), min(BLOCK_PX, grid.height - row))
                    old, new = first.read(1, window=window), second.read(1, window=window)
                    target.write(change(old, new), 1, window=window)
                    total = total + _counted(old, new, grid, window, values)
        to_cog(plain, temporary, overview_resampling="mode", colours=CHANGE_COLOURS)
    write_legend(out_change, CHANGE_NAMES, CHANGE_COLOURS)
    return total
