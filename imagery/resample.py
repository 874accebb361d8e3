"""A raster seen at another ground resolution: the same place in larger or smaller pixels, read like any other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from imagery.grid import Grid
from imagery.read import alpha_band, damaged, display_name, has_mask

WARP_MEMORY_MB = 64


def scaled_grid(grid: Grid, factor: float) -> Grid:
    """The same place in pixels `factor` times as large (below 1: smaller); sides are rounded to whole pixels, so these may differ by a hair.

    Raises:
        ValueError: the factor is not above 0.
    """
    if not (factor > 0 and math.isfinite(factor)):
        raise ValueError(f"Pixels cannot become {factor} times as large.")
    width, height = max(1, round(grid.width / factor)), max(1, round(grid.height / factor))
    return Grid(width, height, grid.transform @ Affine.scale(grid.width / width, grid.height / height), grid.crs)


@contextmanager
def resampled(dataset: DatasetReader, grid: Grid, crs: CRS | None = None, *, nearest: bool = False) -> Iterator[WarpedVRT]:
    """`dataset` in the pixels of `grid`, to be read with `imagery.read.read_window`: the mean of what a larger pixel covers, bilinear in smaller ones.

    What is not imagery takes no part in a mean, and a pixel that is covered by nothing else is not valid. Values keep their dtype (means of
    whole numbers are rounded). Memory is bounded whatever the factor. Use it inside `gdal_environment()`, one thread at a time.

    Args:
        dataset: From `open_raster`; it stays open as long as the view.
        grid: The pixels wanted, in the raster's CRS (see `scaled_grid`), or of another image.
        crs: Of the raster, where `grid` may be in another or lie partly beside it.
        nearest: Take the value of the nearest pixel instead.

    Raises:
        UnreadableRasterError: the file cannot be decoded.
    """
    own = Grid(dataset.width, dataset.height, dataset.transform, crs or grid.crs)
    coarser = grid.resolution_m >= own.resolution_m * (1 - 1e-9)
    floating = np.issubdtype(np.dtype(dataset.dtypes[0]), np.floating)
    options: dict[str, Any] = {"UNIFIED_SRC_NODATA": "NO" if floating else "YES"}  # as `imagery.read.validity`: in any band, or in all
    if alpha_band(dataset) is None and dataset.nodata is None:
        if floating:
            options |= {"src_nodata": math.nan, "nodata": math.nan}
        elif has_mask(dataset) or crs is not None:
            options["add_alpha"] = True
    try:
        with WarpedVRT(
            dataset,
            src_crs=crs or grid.crs,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            resampling=Resampling.nearest if nearest else Resampling.average if coarser else Resampling.bilinear,
            warp_mem_limit=WARP_MEMORY_MB,
            **options,
        ) as view:
            yield view
    except RasterioError as error:
        raise damaged(display_name(dataset.name)) from error
