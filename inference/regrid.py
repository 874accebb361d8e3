"""From the pixels that a model is shown back to those of the raster: blended rows resampled strip by strip, in bounded memory. Pure.

Coarser pixels are drawn back bilinearly, finer ones averaged. A strip needs a little more of the working columns than it gives out, so
that its neighbours come to the same values along the seam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from inference.mosaic import Blend, Lattice, lattice
from tiles.windows import Windows

MARGIN = 2
"""Working pixels around what is given out that have a say in it."""
PIECE_BYTES = 16 * 2**20
_PLANE = CRS.from_epsg(32631)
"""Both grids are in pixels of the raster; any plane will do."""


@dataclass(frozen=True)
class Strip:
    """Columns of the raster, and the windows in working pixels that they need."""

    left: int
    right: int
    """First column given out, and the first after."""
    lattice: Lattice


def strips_onto(columns: Windows, work: tuple[int, int], raster: tuple[int, int], strip_px: int) -> list[Strip]:
    """Share out windows over strips of the raster.

    Args:
        columns: Windows along the working grid's columns.
        work: (rows, columns) of the working grid.
        raster: (rows, columns) of the raster, on the same place.
        strip_px: Columns of the raster given out by a strip.
    """
    size = raster[1] / work[1]
    margin = 0 if work == raster else MARGIN
    found = []
    for left in range(0, raster[1], strip_px):
        right = min(left + strip_px, raster[1])
        first, last = max(0, math.floor(left / size) - margin), min(work[1], math.ceil(right / size) + margin)
        found.append(Strip(left, right, lattice(columns, first, last)))
    return found


def row_needed(work: tuple[int, int], raster: tuple[int, int], top: int) -> int:
    """The first working row that has a say in the raster's rows from `top` on."""
    return top if work == raster else max(0, math.floor(top / (raster[0] / work[0])) - MARGIN)


def rows_complete(work: tuple[int, int], raster: tuple[int, int], reached: int) -> int:
    """The raster's rows above this one are complete once the working rows above `reached` are there."""
    if reached == work[0]:
        return raster[0]
    return reached if work == raster else max(0, math.floor((reached - MARGIN) * (raster[0] / work[0])))


@dataclass
class RowsOntoRaster:
    """Takes blended rows of a strip from top to bottom, gives them back on the raster's pixels.

    Args:
        work: (rows, columns) of the working grid.
        raster: (rows, columns) of the raster.
        strip: Which columns.
        top: First row of the raster to give back, and then the first not given back yet.
    """

    work: tuple[int, int]
    raster: tuple[int, int]
    strip: Strip
    top: int = 0
    _first: int = field(init=False, repr=False)
    """Working row of the first row held."""
    _held: NDArray[np.float32] | None = field(default=None, repr=False)
    """(outputs, rows, columns); NaN where not seen."""

    def __post_init__(self) -> None:
        self._first = row_needed(self.work, self.raster, self.top)

    def add(self, blend: Blend) -> Iterator[Blend]:
        """Take the next rows, the first of all being `row_needed` for `top`; get those of the raster that are complete, a few at a time."""
        if self.work == self.raster:
            self.top += len(blend.seen)
            yield blend
            return
        new = np.where(blend.seen, blend.probabilities, np.float32(np.nan))
        held = self._held = new if self._held is None else np.concatenate([self._held, new], axis=1)
        until = max(self.top, rows_complete(self.work, self.raster, self._first + held.shape[1]))
        columns = self.strip.right - self.strip.left
        step = max(1, PIECE_BYTES // (4 * columns * len(held)))
        while self.top < until:
            bottom = min(self.top + step, until)
            yield self._resampled(held, bottom)
            self.top = bottom
        spent = row_needed(self.work, self.raster, until) - self._first
        self._held, self._first = held[:, spent:], self._first + spent

    def _resampled(self, held: NDArray[np.float32], bottom: int) -> Blend:
        width, height = self.raster[1] / self.work[1], self.raster[0] / self.work[0]
        first, last = math.floor(self.top / height) - MARGIN, math.ceil(bottom / height) + MARGIN
        here = np.s_[max(0, first - self._first) : max(0, last - self._first)]
        out = np.full((len(held), bottom - self.top, self.strip.right - self.strip.left), np.nan, np.float32)
        reproject(
            np.ascontiguousarray(held[:, here]),
            out,
            src_transform=Affine.scale(width, height) @ Affine.translation(self.strip.lattice.left, self._first + here.start),
            dst_transform=Affine.translation(self.strip.left, self.top),
            src_crs=_PLANE,
            dst_crs=_PLANE,
            src_nodata=math.nan,
            dst_nodata=math.nan,
            resampling=Resampling.bilinear if width * height > 1 else Resampling.average,
        )
        seen = np.isfinite(out[0])
        return Blend(np.where(seen, out, np.float32(0)), seen)
