"""Objects made unrecognisable in a copy of the imagery; all other values, and everything that says what they are, stay as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from errors import LabelFileError, NoOverlapError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.raster import RasterInfo, describe
from imagery.read import display_name, open_raster, read_window
from imagery.write import open_tiled_gtiff, to_cog
from inference.objects.layer import in_grid
from inference.vectors.ground import in_metres, in_pixels
from workspace.files import replaced_on_success

Method = Literal["pixelate", "blur"]
CELLS_ACROSS = 4
"""Of an object's longer side: so few cells of one value are left of it."""
LEAST_CELL_PX = 8
MOST_CELL_PX = 256
BLOCK_PX = 1024
BLOCK_BYTES = 64 * 2**20
REACH = 3.0
"""Standard deviations to which a blur reaches."""
Values = NDArray[Any]


@dataclass(frozen=True)
class _Task:
    """An open raster, and what is to go."""

    dataset: DatasetReader
    info: RasterInfo
    tree: shapely.STRtree
    """Shapes with their margin, in pixels."""
    cells: NDArray[np.int64]
    """(shapes,) side of the cells of one value, or twice the standard deviation of the blur, in pixels."""
    method: Method


def redact_raster(
    source: str,
    objects: gpd.GeoDataFrame,
    out: Path,
    *,
    method: Method = "pixelate",
    margin_m: float = 0.0,
    cell_m: float | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> int:
    """Write a copy of a raster (a cloud-optimised GeoTIFF) in which objects cannot be recognised.

    Every pixel that an object touches gets the mean of its cell, or a blurred value; of such pixels that are no imagery nothing is left. All
    others keep their value bit for bit. Type, nodata, CRS, names and colours of bands, alpha and mask stay.

    Args:
        source: Path or http(s) address.
        objects: Polygons, or lines and points with a margin, in any CRS.
        out: Appears only when complete.
        method: "pixelate": cells of one value. "blur": Gaussian.
        margin_m: How far around the objects, metres.
        cell_m: Side of the cells (twice the standard deviation of the blur), metres; None: a quarter of each object's longer side, at least
            8 pixels, in powers of two.
        progress: Told the share done, 0..1; may raise to stop.

    Returns:
        Number of objects on the raster.

    Raises:
        NoOverlapError: no object lies on the raster.
        LabelFileError: lines or points without a margin.
        UnsupportedRasterError: values are numbers of colours, which have no mean.
        ImageryError: the raster cannot be read.
        DiskFullError: there is no room; nothing was changed.
    """
    with open_raster(source) as dataset, replaced_on_success(out) as temporary:
        name = display_name(source)
        info = describe(dataset, name, None)
        if info.palette:
            raise UnsupportedRasterError(f"The values of {name} are numbers of colours.", "Save it with red, green and blue first.")
        shapes = _in_pixels(objects, info.grid, margin_m)
        if not len(shapes):
            raise NoOverlapError(
                f"None of the objects lies on {name}.", "Check that both are of the same place, and their coordinate systems."
            )
        task = _Task(dataset, info, shapely.STRtree(shapes), _cells(shapes, info.resolution_m, cell_m), method)
        plain = temporary.with_name(temporary.stem + ".plain.tif")
        grid = Grid(dataset.width, dataset.height, dataset.transform, dataset.crs or info.grid.crs)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), open_tiled_gtiff(plain, grid, dataset.count, info.dtype, dataset.nodata) as target:
            _copy_facts(dataset, target)
            blocks = list(_blocks(info))
            for number, window in enumerate(blocks):
                progress(number / len(blocks))
                target.write(_redacted(task, window), window=window)
                if info.mask_kind == "mask":
                    target.write_mask(dataset.read_masks(1, window=window), window=window)
        to_cog(plain, temporary, overview_resampling="average")
    return len(shapes)


def _copy_facts(dataset: DatasetReader, target: DatasetWriter) -> None:
    target.colorinterp = dataset.colorinterp
    target.descriptions = dataset.descriptions
    target.scales, target.offsets, target.units = dataset.scales, dataset.offsets, dataset.units
    target.update_tags(**dataset.tags())


def _blocks(info: RasterInfo) -> Iterator[Window]:
    side = BLOCK_PX
    while side > 128 and side * side * info.count * 8 > BLOCK_BYTES:
        side //= 2
    for row in range(0, info.height, side):
        for column in range(0, info.width, side):
            yield Window(column, row, min(side, info.width - column), min(side, info.height - row))


def _redacted(task: _Task, window: Window) -> Values:
    """(bands, rows, columns) of a block, with what is in it made unrecognisable."""
    column, row, width, height = (int(v) for v in (window.col_off, window.row_off, window.width, window.height))
    values: Values = task.dataset.read(window=window)
    near = task.tree.query(shapely.box(column, row, column + width, row + height), predicate="intersects")
    bands = task.info.image_bands
    rows_of = [band - 1 for band in bands]
    original = values[rows_of]
    for cell in np.unique(task.cells[near]).tolist():
        shapes = task.tree.geometries[near[task.cells[near] == cell]]
        moved = shapely.transform(shapes, lambda x, y: (x - column, y - row), interleaved=False)
        inside = rasterize(moved, (height, width), all_touched=True).astype(bool)
        left, top, right, bottom = _around(task, column, row, width, height, cell)
        pixels = read_window(task.dataset, left, top, right - left, bottom - top, bands)
        made = pixelated(pixels.values, pixels.valid, cell) if task.method == "pixelate" else blurred(pixels.values, pixels.valid, cell / 2)
        here = np.s_[row - top : row - top + height, column - left : column - left + width]
        new = _kept_from_nodata(made[(slice(None), *here)], task.dataset, bands)
        new = np.where(pixels.valid[here], new, _emptied(original, task.dataset, bands))
        values[rows_of] = np.where(inside, new, values[rows_of])
    return values


def _around(task: _Task, column: int, row: int, width: int, height: int, cell: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what has a say in a block: whole cells counted from the raster's corner, or as far as a blur reaches."""
    right, bottom = column + width, row + height
    if task.method == "pixelate":
        left, top = column // cell * cell, row // cell * cell
        right, bottom = -(-right // cell) * cell, -(-bottom // cell) * cell
    else:
        reach = math.ceil(REACH * cell / 2) + 1
        left, top, right, bottom = column - reach, row - reach, right + reach, bottom + reach
    return max(left, 0), max(top, 0), min(right, task.info.width), min(bottom, task.info.height)


def pixelated(values: Values, valid: NDArray[np.bool_], cell: int) -> Values:
    """Cells of `cell` pixels, from the upper left corner, get the mean of their valid pixels (the lowest value of the type without any).

    Args:
        values: (bands, rows, columns), any real dtype, which stays.
        valid: (rows, columns).
        cell: Side, pixels.
    """
    rows, columns = valid.shape
    down, across = np.arange(0, rows, cell), np.arange(0, columns, cell)

    def summed(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(array, down, axis=-2), across, axis=-1)

    count = summed(valid.astype(np.float64))
    means = summed(np.where(valid, values, 0).astype(np.float64)) / np.maximum(count, 1)
    large = np.repeat(np.repeat(means, cell, axis=-2)[..., :rows, :], cell, axis=-1)[..., :columns]
    return _as_type(large, values.dtype)


def blurred(values: Values, valid: NDArray[np.bool_], sigma: float) -> Values:
    """Gaussian mean over valid pixels, standard deviation `sigma` pixels. Arguments as `pixelated`."""
    weight = gaussian_filter(valid.astype(np.float64), sigma, mode="constant", truncate=REACH)
    layers = [gaussian_filter(np.where(valid, band, 0).astype(np.float64), sigma, mode="constant", truncate=REACH) for band in values]
    return _as_type(np.stack(layers) / np.maximum(weight, 1e-12), values.dtype)


def _as_type(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Values:
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _kept_from_nodata(values: Values, dataset: DatasetReader, bands: tuple[int, ...]) -> Values:
    """A mean that happens to be the value of 'no imagery' moves to the next one."""
    for layer, band in zip(values, bands, strict=True):
        nodata = dataset.nodatavals[band - 1]
        if nodata is not None and not math.isnan(nodata):
            beside = nodata + 1 if nodata <= 0 else nodata - 1
            layer[layer == nodata] = beside
    return values


def _emptied(values: Values, dataset: DatasetReader, bands: tuple[int, ...]) -> Values:
    """What pixels that are no imagery hold: 'no imagery' where they say so, else 0, as something may be hidden below alpha or mask."""
    left = np.zeros_like(values)
    for index, band in enumerate(bands):
        nodata = dataset.nodatavals[band - 1]
        marked = np.isnan(values[index]) if np.issubdtype(values.dtype, np.floating) else np.zeros(values.shape[1:], bool)
        if nodata is not None:
            marked = marked | (values[index] == nodata)
        left[index][marked] = values[index][marked]
    return left


def _in_pixels(objects: gpd.GeoDataFrame, grid: Grid, margin_m: float) -> NDArray[np.object_]:
    """The objects that touch the raster, with their margin, in its pixels."""
    thin = ~objects.geom_type.isin({"Polygon", "MultiPolygon"})
    if thin.any() and margin_m <= 0:
        raise LabelFileError(
            "Lines and points cover nothing.", "Say how far around them the picture is to be made unrecognisable (margin)."
        )
    shapes = in_grid(objects.geometry, grid)
    pixels = in_pixels(shapely.buffer(in_metres(shapes, grid), margin_m), grid) if margin_m > 0 else shapes
    return pixels[shapely.intersects(pixels, shapely.box(0, 0, grid.width, grid.height))]


def _cells(shapes: NDArray[np.object_], resolution_m: float, cell_m: float | None) -> NDArray[np.int64]:
    if cell_m is not None:
        return np.full(len(shapes), min(max(round(cell_m / resolution_m), 2), MOST_CELL_PX), np.int64)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    longer = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    wanted = 2 ** np.ceil(np.log2(np.maximum(longer / CELLS_ACROSS, 1)))
    return np.clip(wanted, LEAST_CELL_PX, MOST_CELL_PX).astype(np.int64)
