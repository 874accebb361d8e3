"""Display stretches: raw values to 8 bit. Computed once over a whole raster, applied the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from rasterio.io import DatasetReader
from rasterio.windows import Window

from imagery.limits import bytes_per_value
from imagery.read import Pixels, Scalars, read_decimated

SAMPLE_SIDE_PX = 1024
SAMPLE_BLOCKS = 64
SAMPLE_BYTES = 512 * 2**20
"""Most bytes to decode for one stretch."""
CONSTANT_GREY = 128


class Stretch(BaseModel):
    """For each band shown, the raw values that become 0 and 255."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _paired(self) -> Stretch:
        if len(self.low) != len(self.high) or not all(math.isfinite(v) for v in (*self.low, *self.high)):
            raise ValueError("A stretch needs one finite low and one finite high value for each band.")
        return self


def identity_stretch(bands: int) -> Stretch:
    """8-bit values as they are."""
    return Stretch(low=(0.0,) * bands, high=(255.0,) * bands)


def default_stretch(dataset: DatasetReader, bands: Sequence[int]) -> Stretch:
    """8-bit colour as it is (percentiles for each band would shift its colours), anything else by 2 and 98 %."""
    if len(bands) == 3 and all(dataset.dtypes[b - 1] == "uint8" for b in bands):
        return identity_stretch(3)
    return compute_stretch(dataset, bands)


def compute_stretch(dataset: DatasetReader, bands: Sequence[int], percentiles: tuple[float, float] = (2, 98)) -> Stretch:
    """Percentiles of the valid pixels over the whole raster.

    Small rasters and rasters with overviews are read shrunk to at most 1024 pixels a side; large ones without overviews
    are sampled in blocks spread evenly over them, decoding at most 512 MiB.

    Raises:
        UnreadableRasterError: a block that was looked at cannot be decoded.
    """
    low_percent, high_percent = percentiles
    if not 0 <= low_percent < high_percent <= 100:
        raise ValueError(f"Percentiles must rise within 0..100, not {percentiles}.")
    samples = [pixels.values[:, pixels.valid].astype(np.float64) for pixels in sample(dataset, bands)]
    together = np.concatenate(samples, axis=1) if samples else np.empty((len(bands), 0))
    if together.shape[1] == 0:
        return Stretch(low=(0.0,) * len(bands), high=(1.0,) * len(bands))
    low, high = np.percentile(together, [low_percent, high_percent], axis=1)
    flat = low >= high  # a band that is nearly all one value (masks): its extremes are what there is to see
    low, high = np.where(flat, together.min(axis=1), low), np.where(flat, together.max(axis=1), high)
    return Stretch(low=tuple(low.tolist()), high=tuple(high.tolist()))


def sample(dataset: DatasetReader, bands: Sequence[int]) -> Iterator[Pixels]:
    """Pixels spread over the whole raster, in bounded memory and decoding a bounded number of bytes."""
    width, height = dataset.width, dataset.height
    item = sum(bytes_per_value(dtype) for dtype in dataset.dtypes)
    if width * height * item <= SAMPLE_BYTES or _has_small_overview(dataset):
        scale = max(1.0, max(width, height) / SAMPLE_SIDE_PX)
        shape = (max(1, round(height / scale)), max(1, round(width / scale)))
        yield read_decimated(dataset, Window(0, 0, width, height), shape, bands)
        return
    block_rows, block_columns = dataset.block_shapes[0]
    down, across = -(-height // block_rows), -(-width // block_columns)
    block_bytes = block_rows * block_columns * item
    count = int(max(4, min(SAMPLE_BLOCKS, SAMPLE_BYTES // block_bytes, down * across)))
    for number in np.unique(np.linspace(0, down * across - 1, count).astype(np.int64)):
        row, column = divmod(_scattered(int(number), down, across), across)
        window = Window(column * block_columns, row * block_rows, *_size(column, row, block_columns, block_rows, width, height))
        scale = max(1.0, max(window.width, window.height) / SAMPLE_SIDE_PX)
        yield read_decimated(dataset, window, (max(1, round(window.height / scale)), max(1, round(window.width / scale))), bands)


def apply_stretch(values: Scalars, stretch: Stretch) -> NDArray[np.uint8]:
    """Raw values to 8 bit, clipped; a band whose low equals its high becomes mid-grey; NaN becomes 0.

    Args:
        values: (bands, rows, columns), any real dtype.
        stretch: For the same bands, in the same order.
    """
    if len(stretch.low) != values.shape[0]:
        raise ValueError(f"A stretch for {len(stretch.low)} bands does not fit {values.shape[0]} bands.")
    if values.dtype == np.uint8 and set(stretch.low) == {0.0} and set(stretch.high) == {255.0}:
        return values
    out = np.empty(values.shape, np.uint8)
    for i, (low, high) in enumerate(zip(stretch.low, stretch.high, strict=True)):
        if high <= low:
            out[i] = CONSTANT_GREY
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (values[i].astype(np.float64) - low) / (high - low) * 255.0
        out[i] = np.nan_to_num(np.clip(scaled, 0, 255), nan=0.0).round().astype(np.uint8)
    return out


def colour_table(dataset: DatasetReader) -> NDArray[np.uint8] | None:
    """The (n, 4) red, green, blue, alpha colours of a raster whose values are their numbers; colours it lacks are transparent."""
    try:
        colours: dict[int, tuple[int, int, int, int]] = dataset.colormap(1)
    except ValueError:
        return None
    table = np.zeros((max(colours, default=0) + 1, 4), np.uint8)
    for value, rgba in colours.items():
        table[value] = rgba
    return table


def _has_small_overview(dataset: DatasetReader) -> bool:
    factors = dataset.overviews(1)
    return bool(factors) and max(dataset.width, dataset.height) / max(factors) <= 4 * SAMPLE_SIDE_PX


def _scattered(number: int, down: int, across: int) -> int:
    """Shift each pick along its row of blocks, so that even steps do not all fall into the same column."""
    row, column = divmod(number, across)
    return row * across + (column + row * 7) % across


def _size(column: int, row: int, block_columns: int, block_rows: int, width: int, height: int) -> tuple[int, int]:
    return min(block_columns, width - column * block_columns), min(block_rows, height - row * block_rows)
