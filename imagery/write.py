"""GeoTIFF and cloud-optimised GeoTIFF out: tiled, compressed, in bounded memory, never half a file."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import rasterio
import rasterio.shutil
from rasterio.io import DatasetWriter

from errors import DiskFullError, TerratuneError
from imagery.grid import Grid
from workspace.files import FREE_SPACE, replaced_on_success

BLOCK_PX = 512
Colour = tuple[int, int, int] | tuple[int, int, int, int]
_LITTLE_SPACE = 2**20


@contextlib.contextmanager
def open_tiled_gtiff(path: Path, grid: Grid, count: int, dtype: str, nodata: float | None) -> Iterator[DatasetWriter]:
    """Open a tiled, compressed GeoTIFF for windowed writing. Write whole 512 px blocks where you can.

    The file is written in place: give a temporary name and turn it into the result with `to_cog`.

    Raises:
        DiskFullError: there was no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer"}
    with (
        _full_disk_explained(path),
        rasterio.Env(GDAL_CACHEMAX=128 * 2**20),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=count,
            dtype=dtype,
            crs=grid.crs,
            transform=grid.transform,
            nodata=nodata,
            **options,
        ) as dataset,
    ):
        yield dataset


def to_cog(
    source_path: Path,
    out_path: Path,
    *,
    overview_resampling: Literal["nearest", "mode", "average", "bilinear", "cubic"],
    colours: Mapping[int, Colour] | None = None,
) -> None:
    """Copy a raster into a cloud-optimised GeoTIFF with overviews, block by block.

    Args:
        source_path: A finished GeoTIFF; with `colours`, its header gets the colour table.
        out_path: Appears only when it is complete.
        overview_resampling: "mode" or "nearest" for classes, "average" for pictures.
        colours: Colour table for a single uint8 band: value -> red, green, blue (alpha).

    Raises:
        DiskFullError: there was no room; `out_path` is as it was.
    """
    if colours is not None:
        with rasterio.open(source_path, "r+") as dataset:
            dataset.write_colormap(1, {value: (*colour, 255)[:4] for value, colour in colours.items()})
    with replaced_on_success(out_path) as temporary, _full_disk_explained(temporary), rasterio.Env(GDAL_CACHEMAX=128 * 2**20):
        rasterio.shutil.copy(
            source_path,
            temporary,
            driver="COG",
            BLOCKSIZE=BLOCK_PX,
            COMPRESS="DEFLATE",
            LEVEL=6,
            BIGTIFF="IF_SAFER",
            NUM_THREADS=2,
            OVERVIEW_RESAMPLING=overview_resampling.upper(),
            OVERVIEW_COMPRESS="DEFLATE",
        )


@contextlib.contextmanager
def _full_disk_explained(path: Path) -> Iterator[None]:
    """GDAL reports a full disk as some write error, not always one of rasterio's own: look at the disk to tell."""
    try:
        yield
    except TerratuneError:
        raise
    except Exception as error:
        if shutil.disk_usage(path.parent).free > _LITTLE_SPACE:
            raise
        raise DiskFullError("The disk is full: the picture was not written.", FREE_SPACE) from error
