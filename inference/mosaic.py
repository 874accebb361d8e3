"""Overlapping windows of probabilities, blended into rows of classes and confidence in bounded memory. Pure.

A raster is worked through in strips (columns of fixed width), each from top to bottom, lattice row by lattice row. A strip keeps one window
height of running sums; rows that no later window touches are taken out and the sums move up. So memory depends on the window, the
strip and the number of outputs, never on the raster. Columns and rows are those of the working pixels that the model is shown: the raster's
own, or others (`inference.regrid`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NODATA = 255
PIECE_ROWS = 64
"""Rows that are handed on at once."""


@dataclass(frozen=True)
class Blend:
    """Blended probabilities of some rows."""

    probabilities: NDArray[np.float32]
    """(outputs, rows, columns), summing to 1 over outputs where seen."""
    seen: NDArray[np.bool_]
    """(rows, columns): there is imagery, and a window saw it."""


def decide(blend: Blend, values: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The most likely class of each pixel.

    Args:
        blend: Some rows.
        values: (outputs,) class value of each output.

    Returns:
        (rows, columns) class values, and confidence (the blended probability of that class) in percent; 255 without imagery.
    """
    best = blend.probabilities.argmax(axis=0)
    most = np.take_along_axis(blend.probabilities, best[None], axis=0)[0]
    classes = np.where(blend.seen, values[best], NODATA).astype(np.uint8)
    return classes, np.where(blend.seen, np.rint(most * 100), NODATA).astype(np.uint8)


@dataclass(frozen=True)
class Lattice:
    """Windows of one strip, in working pixels: every lattice row holds the same columns."""

    left: int
    """First column of the strip."""
    right: int
    """First column after it."""
    columns: tuple[int, ...]
    """Left edges of the windows that touch the strip."""
    rows: tuple[int, ...]
    """Top edges of the windows, from top to bottom."""

    @property
    def windows(self) -> int:
        return len(self.columns) * len(self.rows)


def lattice(windows: list[tuple[int, int]], left: int, right: int, window_px: int) -> Lattice:
    """The windows (column, row) that touch the columns from `left` up to `right`.

    One that reaches over the edge of a strip is in both: it is computed twice, and both sides blend to the same values.
    """
    columns = tuple(c for c in sorted({column for column, _ in windows}) if c < right and c + window_px > left)
    return Lattice(left, right, columns, tuple(sorted({row for _, row in windows})))


@dataclass
class StripMosaic:
    """Running sums over one strip, one window high.

    Args:
        outputs: Probabilities per pixel.
        left: First column of the strip.
        width: Columns of the strip.
        window_px: Height of the sums: rows of a window.
    """

    outputs: int
    left: int
    width: int
    window_px: int
    top: int = 0
    """Row of the first row of the sums."""
    _sums: NDArray[np.float32] = field(init=False, repr=False)
    _weights: NDArray[np.float32] = field(init=False, repr=False)
    _valid: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros((self.outputs, self.window_px, self.width), np.float32)
        self._weights = np.zeros((self.window_px, self.width), np.float32)
        self._valid = np.zeros((self.window_px, self.width), bool)

    def add(self, column: int, row: int, probabilities: NDArray[np.float32], weights: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Blend in one window.

        Args:
            column: Left edge; the part outside the strip is left out.
            row: Top edge, at or below `top`.
            probabilities: (outputs, rows, columns).
            weights: (rows, columns), above zero.
            valid: (rows, columns), False where there is no imagery.
        """
        rows, columns = valid.shape
        start, stop = max(column, self.left), min(column + columns, self.left + self.width)
        if start >= stop:
            return
        here = np.s_[row - self.top : row - self.top + rows, start - self.left : stop - self.left]
        there = np.s_[:, start - column : stop - column]
        self._sums[(slice(None), *here)] += probabilities[(slice(None), *there)] * weights[there]
        self._weights[here] += weights[there]
        self._valid[here] |= valid[there]

    def take(self, until: int) -> Iterator[Blend]:
        """Finish the rows above row `until`, a few at a time from top to bottom, then move the sums up to it.

        Args:
            until: First row that later windows still touch.
        """
        count = until - self.top
        for start in range(0, count, PIECE_ROWS):
            here = np.s_[start : min(start + PIECE_ROWS, count)]
            weights = self._weights[here]
            some = weights > 0
            sums = self._sums[:, here]
            yield Blend(np.divide(sums, weights, out=np.zeros_like(sums), where=some), self._valid[here] & some)
        self._move_up(count)
        self.top = until

    def _move_up(self, count: int) -> None:
        kept = self.window_px - count
        for array in (self._sums, self._weights, self._valid):
            array[..., :kept, :] = array[..., count:, :]
            array[..., kept:, :] = 0


@dataclass
class BlockRows:
    """Gathers finished rows until whole blocks of a tiled file are full, so that no block is written twice.

    Args:
        block_px: Height of a block.
    """

    block_px: int
    top: int = 0
    """Raster row of the first row waiting."""
    _waiting: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)

    def add(self, rows: NDArray[np.uint8], *, last: bool = False) -> tuple[int, NDArray[np.uint8]] | None:
        """Add finished rows (rows, width); get (raster row, rows) ready to be written, or None while a block is not full."""
        self._waiting.append(rows)
        together = np.concatenate(self._waiting) if len(self._waiting) > 1 else rows
        ready = len(together) if last else len(together) // self.block_px * self.block_px
        self._waiting = [together[ready:].copy()] if ready < len(together) else []
        if not ready:
            return None
        start, self.top = self.top, self.top + ready
        return start, together[:ready]
