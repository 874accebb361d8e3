"""The pictures of one raster of a comparison, animated and printed: reads what `inference.render` draws."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from errors import ImageryError
from imagery.grid import Grid
from imagery.read import open_raster, read_decimated
from imagery.stretch import apply_stretch, identity_stretch
from inference.compare import FLIPPED, GAINED, LOST
from inference.render import LARGEST_SIDE_PX, Animation, BeforeAfter, animated_before_after, figure, fitting_shape
from inference.settings import PredictionSettings, RasterToPredict, source_of
from workspace.classes import ClassDef
from workspace.files import replaced_on_success

PICTURE_FILE = "before_after.gif"
FIGURE_FILE = "figure.png"
FIGURE_SIDE_PX = 1000
VIEW_PX = 1200
"""Most raster pixels across the picture: more, and roads would be thinner than a dot."""
SEARCH_SIDE_PX = 1024


def make_picture(
    job: Path, settings: PredictionSettings, raster_id: str, classes: tuple[ClassDef, ...], names: tuple[str, str], kind: Animation = "gif"
) -> Path:
    """Write `<raster id>/before_after.<kind>`; of a large raster, the part where most has changed.

    Args:
        job: Folder of a comparison that has before.tif, after.tif and change.tif for this raster.
        settings: The comparison's.
        raster_id: Which raster.
        classes: Classes of the maps, for the legend.
        names: Titles of the model before and after.
        kind: Of animation.

    Raises:
        DiskFullError: no room.
    """
    folder = job / raster_id
    what = part_of(job, settings, raster_id, busiest_window(folder / "change.tif"), LARGEST_SIDE_PX, names)
    with replaced_on_success((folder / PICTURE_FILE).with_suffix(f".{kind}")) as temporary:
        temporary.write_bytes(animated_before_after(what, classes, kind))
    return (folder / PICTURE_FILE).with_suffix(f".{kind}")


def make_figure(
    job: Path, settings: PredictionSettings, raster_id: str, classes: tuple[ClassDef, ...], names: tuple[str, str], *, whole: bool, credit: str = ""
) -> Path:
    """Write `<raster id>/figure.png`; arguments and errors as `draw_figure` and `make_picture`."""
    path = job / raster_id / FIGURE_FILE
    with replaced_on_success(path) as temporary:
        temporary.write_bytes(draw_figure(job, settings, raster_id, classes, names, whole=whole, credit=credit))
    return path


def draw_figure(
    job: Path, settings: PredictionSettings, raster_id: str, classes: tuple[ClassDef, ...], names: tuple[str, str], *, whole: bool, credit: str = ""
) -> bytes:
    """PNG of both maps with scale bar, north arrow, legend and attribution.

    Args:
        job: As for `make_picture`, and so the next four.
        settings: The comparison's.
        raster_id: Which raster.
        classes: Classes of the maps.
        names: Titles of the model before and after.
        whole: All of the raster; else the part where most has changed.
        credit: Whose imagery it is; printed below.
    """
    change = job / raster_id / "change.tif"
    with rasterio.open(change) as file:
        window = Window(0, 0, file.width, file.height) if whole else busiest_window(change)
    what = part_of(job, settings, raster_id, window, FIGURE_SIDE_PX, names)
    return figure(what, classes, attribution(what.title, names, credit))


def attribution(picture: str, names: tuple[str, str], credit: str) -> list[str]:
    """The small print: whose imagery, which models, made with what."""
    imagery = f"Imagery: {picture}" + (f", {credit.strip()}" if credit.strip() else "")
    return [f"{imagery}. Maps: {names[0]} (before), {names[1]} (after).", f"Made with Terratune, {dt.date.today().isoformat()}."]


def part_of(
    job: Path, settings: PredictionSettings, raster_id: str, window: Window, side_px: int, names: tuple[str, str] = ("", "")
) -> BeforeAfter:
    """A part of a raster with both maps, shrunk or enlarged to fit into a square. A raster that cannot be read any more is left white.

    Args:
        job: Folder of the comparison.
        settings: The comparison's.
        raster_id: Which raster.
        window: In its pixels.
        side_px: Of the square, pixels.
        names: Titles of the model before and after.
    """
    folder = job / raster_id
    raster = next(r for r in settings.rasters if r.id == raster_id)
    shape = fitting_shape(int(window.height), int(window.width), side_px)
    native = (min(shape[0], int(window.height)), min(shape[1], int(window.width)))
    with rasterio.open(folder / "after.tif") as file:
        grid = Grid(int(window.width), int(window.height), window_transform(window, file.transform), file.crs)
    picture = _read_picture(source_of(job, raster), window, native, raster)
    maps = [_read_classes(folder / f"{side}.tif", window, native) for side in ("before", "after")]
    return BeforeAfter(
        title=raster.name,
        picture=np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.BICUBIC)) if shape != native else picture,
        before=_enlarged(maps[0], shape),
        after=_enlarged(maps[1], shape),
        pixel_m=grid.pixel_size_m[0] * window.width / shape[1],
        before_name=names[0],
        after_name=names[1],
        north=north_of(grid),
    )


def north_of(grid: Grid) -> float:
    """Where north is in the picture of a grid: degrees clockwise from up, in its middle."""
    to_lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    lon, lat = to_lonlat.transform(x, y)
    north = to_lonlat.transform(lon, min(lat + 1e-4, 90), direction="INVERSE")
    column, row = np.subtract(~grid.transform @ north, (grid.width / 2, grid.height / 2))
    return float(np.degrees(np.arctan2(column, -row)))


def _read_picture(source: str, window: Window, shape: tuple[int, int], raster: RasterToPredict) -> NDArray[np.uint8]:
    """(rows, columns, 3) as it is displayed, white without imagery."""
    try:
        with open_raster(source) as dataset:
            pixels = read_decimated(dataset, window, shape, raster.shown_bands)
    except ImageryError:
        return np.full((*shape, 3), 255, np.uint8)
    colour = apply_stretch(pixels.values, raster.stretch or identity_stretch(len(raster.shown_bands)))
    rgb = np.moveaxis(np.broadcast_to(colour, (3, *shape)), 0, -1)
    return np.where(pixels.valid[..., None], rgb, 255).astype(np.uint8)


def busiest_window(change: Path) -> Window:
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
