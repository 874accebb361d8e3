"""The pixels of an image for its tiles: read once, in squares, and counted into the statistics as often as tiles show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from imagery.read import Pixels
from imagery.turn import sample
from imagery.views import ViewReader
from labeling.export.patchwork import SIDE, Patchwork
from labeling.export.plan import PlannedImage, SecondView
from labeling.export.windows import TileWindow
from tiles.statistics import RunningStatistics
from tiles.unfinished import State

SECOND = "second_"


class Statistics:
    """Of all tiles: of the images, and of the second ones where there are such.

    Args:
        planned: What is to be cut.
        seed: See `tiles.statistics`.
    """

    def __init__(self, planned: Sequence[PlannedImage], seed: int) -> None:
        first, second = planned[0], second_of(planned)
        self.first = RunningStatistics(len(first.bands), first.info.dtype, seed)
        self.second = RunningStatistics(len(second.bands), second.info.dtype, seed) if second else None

    def of(self, image: PlannedImage, planned: Sequence[PlannedImage]) -> RunningStatistics:
        """Those that the tiles of an image count for."""
        return self.second if self.second is not None and image.part != planned[0].part else self.first

    def state(self) -> dict[str, NDArray[Any]]:
        """To go on with; see `restore`."""
        second = self.second.state() if self.second is not None else {}
        return {**self.first.state(), **{SECOND + name: value for name, value in second.items()}}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.first.restore(state)
        if self.second is not None:
            self.second.restore({name.removeprefix(SECOND): value for name, value in state.items() if name.startswith(SECOND)})


def second_of(planned: Sequence[PlannedImage]) -> PlannedImage | SecondView | None:
    """What the second images are: those of pairs, or the other part of an unpaired set; None where there are none."""
    pairs = (image.second for image in planned if image.second is not None)
    return next(pairs, None) or next((image for image in planned if image.part != planned[0].part), None)


@dataclass(frozen=True)
class _Square:
    """A part of an image, SIDE pixels each way."""

    values: NDArray[Any]
    """(rows, columns, bands): as the pixels lie in a tile's file, nodata (or 0) where not valid."""
    valid: NDArray[np.bool_]
    times: NDArray[np.uint16]
    """(rows, columns): in how many tiles the pixel is that have not been counted yet."""


class Imagery:
    """The pixels of one image, or of a second raster seen on it."""

    def __init__(self, image: PlannedImage | SecondView, reader: ViewReader, statistics: RunningStatistics) -> None:
        self.nodata = image.info.nodata
        self._bands = len(image.bands)
        self._dtype = image.info.dtype
        self._reader = reader
        self._statistics = statistics
        self._squares = Patchwork(self._read)

    def pixels(self, window: TileWindow) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (bands, rows, columns), the bands of a pixel together in memory, and where they are valid."""
        column, row, columns, rows = window.box
        values = np.empty((rows, columns, self._bands), self._dtype)
        valid = np.empty((rows, columns), np.bool_)
        for square, part, here in self._squares.parts(column, row, columns, rows):
            values[here], valid[here] = square.values[part], square.valid[part]
        if not window.angle:
            return values.transpose(2, 0, 1), valid
        to_box = Affine.translation(-column, -row) @ window.to_image
        turned = sample(Pixels(values.transpose(2, 0, 1), valid), to_box, (window.rows, window.columns))
        return filled(turned, self.nodata), turned.valid

    def shown(self, window: TileWindow) -> None:
        """A tile shows the pixels of a window that is not turned, as they were read."""
        for square, part, _ in self._squares.parts(window.column, window.row, window.columns, window.rows):
            square.times[part] += 1

    def shown_otherwise(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """A tile shows these values, which were turned or blackened."""
        self._statistics.add(values, valid)

    def leave(self, row: int) -> None:
        """Count and forget the squares above a row."""
        self._count(self._squares.leave(row))

    def count(self) -> None:
        """Count the pixels of all tiles so far into the statistics."""
        self._count(self._squares)

    def _count(self, squares: Iterable[_Square]) -> None:
        for square in squares:
            if square.times.any():
                self._statistics.add(square.values.transpose(2, 0, 1), square.times * square.valid)
                square.times[:] = 0

    def _read(self, column: int, row: int) -> _Square:
        pixels = self._reader.read(column, row, SIDE, SIDE)
        values = np.stack(list(filled(pixels, self.nodata)), axis=-1)  # several times faster than to copy the transposed
        return _Square(values, pixels.valid, np.zeros((SIDE, SIDE), np.uint16))


def filled(pixels: Pixels, nodata: float | None) -> NDArray[Any]:
    """Values with nodata (0 where there is none) where there is no imagery: never a NaN that another reader would choke on."""
    fill = nodata if nodata is not None and np.isfinite(nodata) else 0
    if pixels.valid.all():
        return pixels.values
    return np.where(pixels.valid, pixels.values, np.asarray(fill).astype(pixels.values.dtype))
