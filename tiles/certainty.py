"""How far a score could be off by chance: block bootstrap. Pure.

Neighbouring pixels are right or wrong together, so it is not pixels but whole blocks of ground that are drawn anew, with replacement (Hall 1985,
"Resampling a coverage pattern"; Efron 1979 for the percentile interval). Both models are scored on the same draw, so a difference between them
is judged without what makes a place easy or hard for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiles.tile_set import TileRecord

LEAST_BLOCKS = 8
"""Blocks with the class in them, below which an interval would say more than is known."""
DRAWS = 2000
SHARE = 0.95


class Interval(NamedTuple):
    """Where a score lies in 95 of 100 draws."""

    low: float
    high: float


class IouIntervals(NamedTuple):
    """Of one class, for both models and for what changed from one to the other."""

    before: Interval
    after: Interval
    gain: Interval


def class_counts(matrices: NDArray[np.int64], output: int) -> NDArray[np.int64]:
    """(blocks, 3) true, predicted and correct pixels of one class from (blocks, n, n) confusion counts, truth down."""
    return np.stack([matrices[:, output].sum(axis=-1), matrices[:, :, output].sum(axis=-1), matrices[:, output, output]], axis=-1)


def blocks_of(tiles: Sequence[TileRecord], sides: tuple[int, int]) -> NDArray[np.int64]:
    """(tiles,) number of the square of ground that each tile's corner lies in; tiles without coordinates are each their own.

    Args:
        tiles: Perhaps overlapping.
        sides: (columns, rows) of a tile, and of a block, in pixels.
    """
    keys: list[tuple[object, ...]] = []
    for tile in tiles:
        width, height = abs(tile.affine.a) + abs(tile.affine.b), abs(tile.affine.d) + abs(tile.affine.e)
        if not tile.crs or tile.affine.is_identity:
            keys.append((tile.name,))
        else:
            keys.append((tile.crs, int(tile.affine.c // (width * sides[0])), int(tile.affine.f // (height * sides[1]))))
    numbers: dict[tuple[object, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def iou_intervals(before: NDArray[np.int64], after: NDArray[np.int64], *, seed: int = 0) -> IouIntervals | None:
    """95 % intervals of the IoU of one class.

    Args:
        before: (blocks, 3) pixels of the class in each block: true, predicted, correct (both).
        after: (blocks, 3) the same for the second model, on the same blocks.
        seed: Of the draws.

    Returns:
        The intervals; None where fewer than `LEAST_BLOCKS` blocks truly hold the class.
    """
    touched = (before.any(axis=1)) | (after.any(axis=1))
    before, after = before[touched], after[touched]
    if (after[:, 0] > 0).sum() < LEAST_BLOCKS:
        return None
    times = np.random.default_rng(seed).multinomial(len(before), np.full(len(before), 1 / len(before)), size=DRAWS)
    ious = [_iou(times @ counts) for counts in (before, after)]
    return IouIntervals(_interval(ious[0]), _interval(ious[1]), _interval(ious[1] - ious[0]))


def _iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) of (n, 3) counts; 0 where a draw holds nothing."""
    true, predicted, correct = counts.T
    return np.asarray(correct / np.maximum(true + predicted - correct, 1), dtype=np.float64)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Interval(float(low), float(high))
