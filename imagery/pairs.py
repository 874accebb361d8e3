"""Two rasters of one place as a single one, for models that look at both: the bands of the earlier, then those of the later."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from errors import InputMismatchError, NoOverlapError
from imagery.raster import RasterInfo, describe
from imagery.read import display_name, open_raster
from imagery.views import ViewReader, plan_view, view_onto
from imagery.write import BLOCK_PX, open_tiled_gtiff
from workspace.files import replaced_on_success

Progress = Callable[[float], None]
PairNames = Callable[[Sequence[str], Sequence[str]], tuple[str, ...]]


def write_pair(
    earlier: str,
    later: str,
    out: Path,
    names: PairNames,
    *,
    band_names: Sequence[str] = (),
    later_band_names: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    """Write both as one GeoTIFF on the grid of the earlier, block by block; the later one is fitted to its pixels (bilinear, or means).

    A pixel counts where both have imagery; the file's mask says so.

    Args:
        earlier: Path or http(s) address.
        later: Likewise; in any CRS.
        out: Appears only when complete.
        names: Band names of the pair from those of both (`models.bands.pair_names`).
        band_names: What a person says the bands of the earlier one are; none: as the file says.
        later_band_names: Likewise of the later one.
        progress: Told the share done; may raise to stop.

    Raises:
        InputMismatchError: the values are of different types.
        NoOverlapError: they lie nowhere in the same place.
        ImageryError: one cannot be read.
        DiskFullError: there is no room; nothing was changed.
    """
    first, second = _facts(earlier, band_names), _facts(later, later_band_names)
    if first.dtype != second.dtype:
        raise InputMismatchError(
            f"'{display_name(earlier)}' is {first.dtype}, '{display_name(later)}' is {second.dtype}: changes between them cannot be told.",
            "Choose two pictures of the same kind, or save one with the other's type of values.",
        )
    below = plan_view([earlier], [first.grid], [first.image_bands])
    above = view_onto(first.grid, later, second.grid, second.image_bands)
    if above is None:
        raise NoOverlapError(f"'{display_name(earlier)}' and '{display_name(later)}' lie nowhere in the same place.", "Choose two pictures of one place.")
    described = names(*([info.band_names[b - 1] for b in info.image_bands] for info in (first, second)))
    tops, lefts = range(0, first.height, BLOCK_PX), range(0, first.width, BLOCK_PX)
    with replaced_on_success(out) as unfinished, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            open_tiled_gtiff(unfinished, first.grid, len(described), first.dtype, None) as target,
            ViewReader(below) as one,
            ViewReader(above) as other,
        ):
            target.descriptions = described
            for number, top in enumerate(tops):
                for left in lefts:
                    width, height = min(BLOCK_PX, first.width - left), min(BLOCK_PX, first.height - top)
                    parts = [reader.read(left, top, width, height) for reader in (one, other)]
                    window = Window(left, top, width, height)
                    target.write(np.concatenate([part.values for part in parts]), window=window)
                    target.write_mask(parts[0].valid & parts[1].valid, window=window)
                if progress:
                    progress((number + 1) / len(tops))


def _facts(source: str, band_names: Sequence[str]) -> RasterInfo:
    with open_raster(source) as dataset:
        return describe(dataset, display_name(source), None).named(band_names)
