"""What the person looks at first: small maps of that part of a large raster, shown while the whole is still being made. They go when it is there."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from imagery.raster import describe
from imagery.read import open_raster
from imagery.write import open_tiled_gtiff

LOOK_PX = 1024
"""Largest side of what is looked at first: some seconds of work."""
WORTH_PX = 4_000_000
"""Smaller rasters are done soon anyway."""
Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


def first_look_file(folder: Path, side: str) -> Path:
    """The small map of a side ("before", "after") in the folder of a raster's results."""
    return folder / f"first_{side}.tif"


def latest_map(folder: Path, what: str) -> Path:
    """The map of a side ("before", "after"), or the small one while that is not there; other results as they are named."""
    whole, small = folder / f"{what}.tif", first_look_file(folder, what)
    return small if small.exists() and not whole.exists() else whole


def forget_first_look(folder: Path, side: str) -> None:
    """The map is there: its small one goes, with all that lies beside it."""
    for path in folder.glob(f"{first_look_file(folder, side).stem}.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def part_of_view(source: str, view: Bounds, out: Path) -> bool:
    """Copy the middle of what a person sees of a raster, pixel for pixel, as a raster of its own.

    Args:
        source: Path or http(s) address of the raster.
        view: What is on the map.
        out: File to be made.

    Returns:
        Whether there is anything to be looked at: not where the raster is small, or out of sight.

    Raises:
        ImageryError: the raster cannot be read.
    """
    with open_raster(source) as dataset:
        if dataset.width * dataset.height < WORTH_PX:
            return False
        window = _window_in_view(dataset, view)
        if window is None:
            return False
        grid = describe(dataset, out.name, None).grid.window(window.col_off, window.row_off, window.width, window.height)
        with open_tiled_gtiff(out, grid, dataset.count, dataset.dtypes[0], dataset.nodata) as part:
            part.colorinterp, part.descriptions = dataset.colorinterp, dataset.descriptions
            part.write(dataset.read(window=window))
            if MaskFlags.per_dataset in dataset.mask_flag_enums[0] and MaskFlags.alpha not in dataset.mask_flag_enums[0]:
                part.write_mask(dataset.read_masks(1, window=window))
    return True


def _window_in_view(dataset: DatasetReader, view: Bounds) -> Window | None:
    west, south, east, north = transform_bounds("EPSG:4326", dataset.crs, *view, densify_pts=21)
    corners = [~dataset.transform @ (x, y) for x in (west, east) for y in (south, north)]
    columns, rows = zip(*corners, strict=True)
    sides = []
    for low, high, size in ((min(columns), max(columns), dataset.width), (min(rows), max(rows), dataset.height)):
        first, last = max(0, math.floor(low)), min(size, math.ceil(high))
        if first >= last:
            return None
        used = min(LOOK_PX, last - first)
        sides.append(((first + last - used) // 2, used))
    (column, width), (row, height) = sides
    return Window(column, row, width, height)
