"""Tiny real rasters with known answers, made by code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

UTM = "EPSG:26911"
AT = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0)
"""Half a metre a pixel, near 36.1 N 117 W."""


def write_raster(path: Path, values: np.ndarray, *, crs: str | None = UTM, transform: Affine | None = AT, **more: Any) -> Path:
    """Write (bands, rows, columns); `colormap`, `colorinterp`, `descriptions` and `mask` are set after opening."""
    after = {name: more.pop(name, None) for name in ("colormap", "colorinterp", "descriptions", "mask")}
    count, height, width = values.shape
    place = {} if transform is None else {"transform": transform}
    options = {"driver": "GTiff", "width": width, "height": height, "count": count, "dtype": values.dtype.name, "crs": crs, **place, **more}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **options) as dataset:
        if after["colorinterp"]:
            dataset.colorinterp = after["colorinterp"]
        dataset.write(values)
        if after["colormap"]:
            dataset.write_colormap(1, after["colormap"])
        for i, text in enumerate(after["descriptions"] or (), 1):
            dataset.set_band_description(i, text)
        if after["mask"] is not None:
            dataset.write_mask(after["mask"])
    return path


def rgb(height: int = 40, width: int = 60) -> np.ndarray:
    """(3, rows, columns) uint8: red grows to the right, green downwards, blue is 200."""
    values = np.empty((3, height, width), np.uint8)
    values[0], values[1], values[2] = np.arange(width)[None] * 4, np.arange(height)[:, None] * 5, 200
    return values
