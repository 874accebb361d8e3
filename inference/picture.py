"""The animated before/after picture of one raster of a comparison: reads what `inference.render` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from imagery.grid import Grid
from imagery.read import open_raster, read_decimated
from imagery.stretch import apply_stretch, identity_stretch
from inference.compare import FLIPPED, GAINED, LOST
from inference.render import LARGEST_SIDE_PX, BeforeAfter, animated_before_after, fitting_shape
from inference.settings import PredictionSettings, source_of
from workspace.classes import ClassDef
from workspace.files import replaced_on_success

PICTURE_FILE = "before_after.gif"
VIEW_PX = 1200
"""Most raster pixels across the picture: more, and roads would be thinner than a dot."""
SEARCH_SIDE_PX = 1024


def make_picture(job: Path, settings: PredictionSettings, raster_id: str, classes: tuple[ClassDef, ...], names: tuple[str, str]) -> Path:
    """Write `<raster id>/before_after.gif`; of a large raster, the part where most has changed.

    Args:
        job: Folder of a comparison that has before.tif, after.tif and change.tif for this raster.
        settings: The comparison's.
        raster_id: Which raster.
        classes: Classes of the maps, for the legend.
        names: Titles of the model before and after.

    Raises:
        ImageryError: the raster cannot be read any more.
        DiskFullError: no room.
    """
    folder = job / raster_id
    raster = next(r for r in settings.rasters if r.id == raster_id)
    window = _busiest_window(folder / "change.tif")
    shape = fitting_shape(int(window.height), int(window.width), LARGEST_SIDE_PX)
    native = (min(shape[0], int(window.height)), min(shape[1], int(window.width)))
    with open_raster(source_of(job, raster)) as dataset:
        pixels = read_decimated(dataset, window, native, raster.shown_bands)
        grid = Grid(int(window.width), int(window.height), window_transform(window, dataset.transform), dataset.crs)
    colour = apply_stretch(pixels.values, raster.stretch or identity_stretch(len(raster.shown_bands)))
    picture = np.where(pixels.valid[..., None], np.moveaxis(np.broadcast_to(colour, (3, *native)), 0, -1), 255).astype(np.uint8)
    maps = [_read_classes(folder / f"{side}.tif", window, native) for side in ("before", "after")]
    what = BeforeAfter(
        title=raster.name,
        picture=np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.BICUBIC)) if shape != native else picture,
        before=_enlarged(maps[0], shape),
        after=_enlarged(maps[1], shape),
        pixel_m=grid.pixel_size_m[0] * window.width / shape[1],
        before_name=names[0],
        after_name=names[1],
    )
    with replaced_on_success(folder / PICTURE_FILE) as temporary:
        temporary.write_bytes(animated_before_after(what, classes))
    return folder / PICTURE_FILE


def _busiest_window(change: Path) -> Window:
    """The whole raster, or the square of VIEW_PX in which most pixels changed (looked for on a shrunk copy)."""
    with rasterio.open(change) as file:
        if max(file.width, file.height) <= VIEW_PX:
            return Window(0, 0, file.width, file.height)
        scale = max(1.0, max(file.width, file.height) / SEARCH_SIDE_PX)
        small = file.read(1, out_shape=(max(1, round(file.height / scale)), max(1, round(file.width / scale))), resampling=Resampling.nearest)
        width, height = min(VIEW_PX, file.width), min(VIEW_PX, file.height)
        row, column = _densest(np.isin(small, (GAINED, LOST, FLIPPED)), max(1, round(height / scale)), max(1, round(width / scale)))
        return Window(min(round(column * scale), file.width - width), min(round(row * scale), file.height - height), width, height)


def _densest(marked: NDArray[np.bool_], rows: int, columns: int) -> tuple[int, int]:
    """(row, column) of the window with the most marked pixels, by a summed-area table (Crow 1984); the middle when none is marked."""
    rows, columns = min(rows, marked.shape[0]), min(columns, marked.shape[1])
    if not marked.any():
        return (marked.shape[0] - rows) // 2, (marked.shape[1] - columns) // 2
    sums = np.pad(marked.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    counts = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    return int(row), int(column)


def _read_classes(path: Path, window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1, window=window, out_shape=shape, resampling=Resampling.mode))


def _enlarged(values: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    return values if values.shape == shape else np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.NEAREST))
