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

from tiles.windows import Windows

NODATA = 255
PIECE_ROWS = 64
"""Rows that are handed on at once."""


@dataclass(frozen=True)
class Blend:
    """Blended probabilities of some rows; good until more rows are asked for."""

    probabilities: NDArray[np.float32]
    """(outputs, rows, columns), summing to 1 over outputs where seen."""
    seen: NDArray[np.bool_]
    """(rows, columns): there is imagery, and a window saw it."""


@dataclass(frozen=True)
class Rule:
    """How a class is chosen for a pixel: the likeliest of those that reach their threshold, background where none does."""

    values: NDArray[np.uint8]
    """(outputs,) class value of each output; output 0 is background."""
    thresholds: NDArray[np.float32]
    """(outputs,) least probability, 0 to 1; above 1 for what is never chosen for being likely."""

    def choose(self, probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
        """(outputs, rows, columns) -> (rows, columns): the output that is given."""
        if self.thresholds.any():
            reached = probabilities >= self.thresholds[:, None, None]
            probabilities = np.where(reached, probabilities, np.float32(-1))  # none: all are -1, and the first of them is background
        return np.asarray(probabilities.argmax(axis=0))


def decide(blend: Blend, rule: Rule) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The class of each pixel.

    Returns:
        (rows, columns) class values, and confidence (the blended probability of that class) in percent; 255 without imagery.
    """
    if not blend.seen.any():
        nothing = np.full(blend.seen.shape, NODATA, np.uint8)
        return nothing, nothing
    chosen = rule.choose(blend.probabilities)
    probability = np.take_along_axis(blend.probabilities, chosen[None], axis=0)[0]
    return np.where(blend.seen, rule.values[chosen], NODATA).astype(np.uint8), _percent(probability, blend.seen)


def percentages(blend: Blend) -> NDArray[np.uint8]:
    """(outputs, rows, columns): the probability of each output in percent; 255 without imagery."""
    return _percent(blend.probabilities, blend.seen)


def _percent(probabilities: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(seen, np.rint(probabilities * 100), NODATA).astype(np.uint8)


@dataclass(frozen=True)
class Lattice:
    """Windows of one strip, in working pixels: every lattice row holds the same columns."""

    left: int
    """First column of the strip."""
    right: int
    """First column after it."""
    columns: tuple[int, ...]
    """Left edges of the windows that touch the strip."""


def lattice(windows: Windows, left: int, right: int) -> Lattice:
    """The windows that touch the columns from `left` up to `right`.

    One that reaches over the edge of a strip is in both: it is computed twice, and both sides blend to the same values.
    """
    return Lattice(left, right, tuple(c for c in windows.starts if c < right and c + windows.size > left))


@dataclass
class StripMosaic:
    """Running sums over one strip, one window high.

    Args:
        outputs: Probabilities per pixel.
        left: First column of the strip.
        width: Columns of the strip.
        height: Rows of the sums: those of a window.
        top: Row of the first row of the sums.
        first: Rows above this one are not handed on.
    """

    outputs: int
    left: int
    width: int
    height: int
    top: int = 0
    first: int = 0
    _sums: NDArray[np.float32] = field(init=False, repr=False)
    _valid: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros((self.outputs, self.height, self.width), np.float32)
        self._valid = np.zeros((self.height, self.width), bool)

    def add(self, column: int, row: int, probabilities: NDArray[np.float32], share: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Blend in one window.

        Args:
            column: Left edge; the part outside the strip is left out.
            row: Top edge, at or below `top`.
            probabilities: (outputs, rows, columns).
            share: (rows, columns) of what the window has to say; over all windows these come to 1 at every pixel.
            valid: (rows, columns), False where there is no imagery.
        """
        rows, columns = valid.shape
        start, stop = max(column, self.left), min(column + columns, self.left + self.width)
        if start >= stop:
            return
        here = np.s_[row - self.top : row - self.top + rows, start - self.left : stop - self.left]
        there = np.s_[:, start - column : stop - column]
        self._sums[(slice(None), *here)] += probabilities[(slice(None), *there)] * share[there]
        self._valid[here] |= valid[there]

    def take(self, until: int) -> Iterator[Blend]:
        """Finish the rows above row `until`, a few at a time from top to bottom, then move the sums up to it.

        Args:
            until: First row that later windows still touch.
        """
        count = until - self.top
        for start in range(max(0, self.first - self.top), count, PIECE_ROWS):
            here = np.s_[start : min(start + PIECE_ROWS, count)]
            yield Blend(self._sums[:, here], self._valid[here])
        self._move_up(count)
        self.top = until

    def _move_up(self, count: int) -> None:
        kept = self.height - count
        for array in (self._sums, self._valid):
            array[..., :kept, :] = array[..., count:, :]
            array[..., kept:, :] = 0
