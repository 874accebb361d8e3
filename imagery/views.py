"""One raster, or several as one, on one grid: planned without opening anything, then read window by window."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from errors import InputMismatchError
from imagery.grid import Grid
from imagery.read import Pixels, enter_raster, gdal_environment, read_window
from imagery.resample import resampled, scaled_grid

SAME_PIXEL = 0.01
"""Pixels: grids that differ less are one grid."""
OPEN_AT_ONCE = 32
"""Rasters of a view that are held open."""


@dataclass(frozen=True)
class Layer:
    """One raster on a view."""

    source: str
    """Absolute path, or http(s) URL."""
    bands: tuple[int, ...]
    """1-based numbers of the bands to read."""
    column: int
    row: int
    """Pixel of the view on which its first pixel lies."""
    grid: Grid
    """The pixels of the view that it covers."""
    as_it_is: bool
    """Its own pixels are those of the view; else it is resampled onto them."""
    crs: CRS | None = None
    """Of the raster, where it may be another than the view's."""
    nearest: bool = False
    """Resampled by the nearest pixel."""


@dataclass(frozen=True)
class View:
    """Rasters seen as one."""

    grid: Grid
    layers: tuple[Layer, ...]
    """The first lies on top."""

    @property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """(left, top, right, bottom) of each layer, pixels of the view."""
        return [(one.column, one.row, one.column + one.grid.width, one.row + one.grid.height) for one in self.layers]


def plan_view(sources: Sequence[str], grids: Sequence[Grid], bands: Sequence[tuple[int, ...]], resolution_m: float | None = None) -> View:
    """How rasters lie on one grid: that of the first, or the same place in pixels of another ground resolution.

    Args:
        sources: Absolute path or URL of each raster.
        grids: Of each, as `imagery.raster` says it.
        bands: 1-based numbers of the bands to read, of each.
        resolution_m: Ground size of the view's pixels, metres; None: that of the first raster.

    Raises:
        InputMismatchError: they are in different coordinate systems, or turned against each other.
    """
    base = grids[0] if resolution_m is None else scaled_grid(grids[0], resolution_m / grids[0].resolution_m)
    layers = [_on(base, source, grid, own) for source, grid, own in zip(sources, grids, bands, strict=True)]
    left, top = min(layer.column for layer in layers), min(layer.row for layer in layers)
    right, bottom = max(layer.column + layer.grid.width for layer in layers), max(layer.row + layer.grid.height for layer in layers)
    moved = (replace(layer, column=layer.column - left, row=layer.row - top) for layer in layers)
    return View(base.window(left, top, right - left, bottom - top), tuple(moved))


def view_onto(base: Grid, source: str, grid: Grid, bands: tuple[int, ...], *, nearest: bool = False) -> View | None:
    """A raster on the pixels of another image, whatever its own CRS and pixels; None where it does not touch the image.

    Args:
        base: The image.
        source: Absolute path or URL of the raster.
        grid: Of the raster.
        bands: 1-based numbers of the bands to read.
        nearest: Where its pixels are not the image's, take the nearest one instead of values in between.
    """
    t = ~base.transform @ grid.transform
    same_pixels = max(abs(t.a - 1), abs(t.e - 1), abs(t.b), abs(t.d)) * max(grid.width, grid.height) < SAME_PIXEL
    if grid.crs == base.crs and same_pixels and (layer := _on(base, source, grid, bands)).as_it_is:
        return View(base, (layer,)) if _touches(layer, base) else None
    box = transform_bounds(grid.crs, base.crs, *grid.bounds)
    corners = np.array([~base.transform @ (x, y) for x in box[::2] for y in box[1::2]])
    left, top = np.floor(np.clip(corners.min(axis=0), 0, (base.width, base.height))).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(axis=0), 0, (base.width, base.height))).astype(int)
    if left >= right or top >= bottom:
        return None
    covered = base.window(int(left), int(top), int(right - left), int(bottom - top))
    return View(base, (Layer(source, bands, int(left), int(top), covered, as_it_is=False, crs=grid.crs, nearest=nearest),))


def _touches(layer: Layer, base: Grid) -> bool:
    across, down = (
        layer.column < base.width and layer.column + layer.grid.width > 0,
        layer.row < base.height and layer.row + layer.grid.height > 0,
    )
    return across and down


def _on(base: Grid, source: str, grid: Grid, bands: tuple[int, ...]) -> Layer:
    """A raster on the pixels of `base`, however far away; it covers those of which it has the centre."""
    if grid.crs != base.crs:
        raise InputMismatchError(
            "The images are in different coordinate systems, so they cannot be put together as one.",
            "Export them separately (processing mode), or save them in one coordinate system first.",
        )
    t = ~base.transform @ grid.transform
    if max(abs(t.b) * grid.height, abs(t.d) * grid.width) > SAME_PIXEL or t.a <= 0 or t.e <= 0:
        raise InputMismatchError(
            "The images are turned against each other, so they cannot be put together as one.", "Export them separately."
        )
    (left, top), (right, bottom) = t @ (0, 0), t @ (grid.width, grid.height)
    column, row = round(left), round(top)
    columns, rows = max(round(right) - column, 1), max(round(bottom) - row, 1)
    off = max(abs(left - column), abs(top - row), abs(right - column - grid.width), abs(bottom - row - grid.height))
    return Layer(source, bands, column, row, base.window(column, row, columns, rows), off < SAME_PIXEL)


class ViewReader:
    """Reads windows of a view, opening its rasters as they are needed; a context manager, for one thread at a time."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._open: OrderedDict[int, tuple[contextlib.ExitStack, DatasetReader]] = OrderedDict()
        self._environment = gdal_environment()

    def __enter__(self) -> ViewReader:
        self._environment.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        while self._open:
            self._close(next(iter(self._open)))
        self._environment.__exit__()

    def read(self, column: int, row: int, width: int, height: int) -> Pixels:
        """Read a window; what no raster covers is 0 and not valid. Each pixel is of the first raster that has imagery there.

        Raises:
            UnreadableRasterError: a file is missing, or cannot be decoded there.
        """
        found: Pixels | None = None
        for number in self._touched(column, row, width, height):
            layer = self.view.layers[number]
            below = read_window(self._dataset(number), column - layer.column, row - layer.row, width, height, layer.bands)
            if found is None:
                found = below
            else:
                new = below.valid & ~found.valid
                found = Pixels(np.where(new, below.values, found.values), found.valid | new)
            if found.valid.all():
                break
        return found or read_window(self._dataset(0), -width, -height, width, height, self.view.layers[0].bands)

    def _touched(self, column: int, row: int, width: int, height: int) -> Iterator[int]:
        for number, (left, top, right, bottom) in enumerate(self.view.boxes):
            if left < column + width and right > column and top < row + height and bottom > row:
                yield number

    def _dataset(self, number: int) -> DatasetReader:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number][1]
        while len(self._open) >= OPEN_AT_ONCE:
            self._close(next(iter(self._open)))
        layer = self.view.layers[number]
        with contextlib.ExitStack() as stack:
            dataset = enter_raster(stack, layer.source)
            if not layer.as_it_is:
                dataset = stack.enter_context(resampled(dataset, layer.grid, layer.crs, nearest=layer.nearest))
            self._open[number] = stack.pop_all(), dataset
        return dataset

    def _close(self, number: int) -> None:
        stack, _ = self._open.pop(number)
        stack.close()
