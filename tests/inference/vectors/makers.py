"""Class maps with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from inference.legend import write_legend
from inference.vectors.class_map import ClassMap, read_class_map
from tests.inference.makers import UTM, write_raster

HALF_METRE = UTM
NAMES = {0: "Background", 1: "Paved road", 2: "Unpaved road", 3: "Building"}
COLOURS = {0: (0, 0, 0), 1: (60, 90, 230), 2: (255, 140, 20), 3: (231, 29, 54)}
"""Other than what classes without a colour get."""


def class_map(
    folder: Path,
    values: np.ndarray,
    confidence: np.ndarray | None = None,
    *,
    crs: str = "EPSG:32611",
    transform: Affine = HALF_METRE,
    name: str = "map.tif",
    named: bool = True,
) -> ClassMap:
    """A written map of (rows, columns) class values; pixels of half a metre unless said otherwise."""
    path = write_raster(folder / name, values.astype(np.uint8)[None], crs=crs, transform=transform, nodata=255)
    if named:
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, COLOURS)
        write_legend(path, NAMES, COLOURS)
    sure = None
    if confidence is not None:
        sure = write_raster(folder / f"sure_{name}", confidence.astype(np.uint8)[None], crs=crs, transform=transform, nodata=255)
    return read_class_map(path, sure)
