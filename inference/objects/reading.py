"""A raster as a model wants to see it: its bands, its ground resolution, window by window, read a few ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from torch import nn

from imagery.grid import Grid
from imagery.raster import describe
from imagery.read import Pixels, display_name, gdal_environment, open_raster, read_window
from imagery.resample import resampled, scaled_grid
from inference.request import model_bands
from inference.settings import Device
from models.card import ModelCard, reading_factor
from models.normalise import normalised

T = TypeVar("T")
R = TypeVar("R")
CPU_BATCH_PIXELS = 512 * 512
"""Pixels that go through the network at once."""
GPU_BATCH_PIXELS = 8 * 512 * 512


@dataclass(frozen=True)
class View:
    """An open raster in the pixels that the model is shown."""

    dataset: DatasetReader
    grid: Grid
    """Of the pixels shown: the raster's own, or larger or smaller ones on the same place."""
    bands: tuple[int, ...]
    imagery_bands: tuple[int, ...]

    def read(self, column: int, row: int, width: int, height: int) -> Pixels:
        """A window; nothing beyond the raster's edge. From any one thread at a time."""
        with gdal_environment():
            return read_window(self.dataset, column, row, width, height, self.bands, self.imagery_bands)


@contextmanager
def open_view(card: ModelCard, source: str, bands: Sequence[int] | None = None, band_names: Sequence[str] = ()) -> Iterator[View]:
    """Open a raster for a model: bands found as in `inference.predict`, resampled to the model's ground resolution where that is far off.

    Args:
        card: The model's.
        source: Path or http(s) address.
        bands: 1-based raster bands for the model's bands; None: found by name.
        band_names: What a person says the raster's bands are; none: as the file says.

    Raises:
        InputMismatchError: the raster lacks bands of the model, has another type of values, or is much too coarse or fine.
        ImageryError: the raster cannot be read.
    """
    with open_raster(source) as dataset:
        info = describe(dataset, display_name(source), None).named(band_names)
        chosen = model_bands(card, info, bands)
        factor = reading_factor(card.input, info.resolution_m)
        if factor == 1:
            yield View(dataset, info.grid, chosen, info.image_bands)
            return
        grid = scaled_grid(info.grid, factor)
        with resampled(dataset, grid) as view:
            yield View(view, grid, chosen, info.image_bands)


def read_ahead(read: Callable[[T], R], places: Iterable[T], ahead: int = 2) -> Generator[tuple[T, R]]:
    """(place, what `read` gives for it) in order, read in one other thread, `ahead` places before they are asked for. Close it when done."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        for place in places:
            waiting.append((place, pool.submit(read, place)))
            if len(waiting) > ahead:
                done, result = waiting.popleft()
                yield done, result.result()
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Looker:
    """A network on its device that is shown windows of raw values."""

    network: nn.Module
    card: ModelCard
    device: torch.device

    def batch(self, window_px: int) -> int:
        """How many windows of a size are looked at together."""
        pixels = CPU_BATCH_PIXELS if self.device.type == "cpu" else GPU_BATCH_PIXELS
        return max(1, pixels // window_px**2)

    def normal(self, pixels: Pixels) -> NDArray[np.float32]:
        """(bands, rows, columns) as the network sees them."""
        return normalised(pixels.values, pixels.valid, self.card.input.mean, self.card.input.std)

    def look(self, windows: Sequence[NDArray[np.float32]]) -> Any:
        """What the network says about normalised windows (bands, rows, columns) of one shape."""
        with torch.inference_mode():
            return self.network(torch.from_numpy(np.stack(windows)).to(self.device))


def looker(network: nn.Module, card: ModelCard, device: Device = "auto") -> Looker:
    """Put a network on its device, in evaluation mode."""
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    return Looker(network.to(place).eval(), card, place)
