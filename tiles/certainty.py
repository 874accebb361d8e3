"""How far a score could be off by chance: block bootstrap. Pure.

Neighbouring pixels are right or wrong together, so it is not pixels but whole blocks of ground that are drawn anew, with replacement (Hall 1985,
"Resampling a coverage pattern"; Efron 1979 for the percentile interval). Both models are scored on the same draw, so a difference between them
is judged without what makes a place easy or hard for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiles.tile_set import TileRecord

LEAST_BLOCKS = 8
"""Blocks with the class in them, below which an interval would say more than is known."""
DRAWS = 2000
RECALLS = np.linspace(0, 1, 101)
SHARE = 0.95

Counts = NDArray[np.int64]
"""(n, 3) true, predicted and correct."""
Shares = NDArray[np.float64]


class Interval(NamedTuple):
    """Where a score lies in 95 of 100 draws."""

    low: float
    high: float


class Intervals(NamedTuple):
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


def iou(counts: Counts) -> Shares:
    """(n,) intersection over union; 0 where there is nothing."""
    true, predicted, correct = counts.T
    return np.asarray(correct / np.maximum(true + predicted - correct, 1), dtype=np.float64)


def f1(counts: Counts) -> Shares:
    """(n,) harmonic mean of precision and recall; 0 where there is nothing."""
    true, predicted, correct = counts.T
    return np.asarray(2 * correct / np.maximum(true + predicted, 1), dtype=np.float64)


def intervals(before: Counts, after: Counts, *, score: Callable[[Counts], Shares] = iou, seed: int = 0) -> Intervals | None:
    """95 % intervals of a score of one class.

    Args:
        before: (blocks, 3) pixels, or tiles, of the class in each block: true, predicted, correct (both).
        after: (blocks, 3) the same for the second model, on the same blocks.
        score: (n, 3) such counts -> (n,) the score.
        seed: Of the draws.

    Returns:
        The intervals; None where fewer than `LEAST_BLOCKS` blocks truly hold the class.
    """
    touched = (before.any(axis=1)) | (after.any(axis=1))
    before, after = before[touched], after[touched]
    if (after[:, 0] > 0).sum() < LEAST_BLOCKS:
        return None
    times = _times(len(before), seed)
    return _intervals(score(times @ before), score(times @ after))


@dataclass(frozen=True, eq=False)
class Found:
    """Single objects of one class that a model found, in any order."""

    block: NDArray[np.int64]
    """(k,) number of the block each lies in."""
    sure: NDArray[np.float64]
    """(k,) score."""
    right: NDArray[np.bool_]
    """(k,) is there such an object, and is this its surest finding?"""


def ap_intervals(there: NDArray[np.int64], before: Found, after: Found, *, seed: int = 0) -> Intervals | None:
    """95 % intervals of the average precision of one class, as COCO counts it (101 recalls).

    Args:
        there: (blocks,) objects of the class that truly are in each block.
        before: Found by the first model.
        after: By the second one, on the same blocks.
        seed: Of the draws.

    Returns:
        The intervals; None where fewer than `LEAST_BLOCKS` blocks truly hold the class.
    """
    if (there > 0).sum() < LEAST_BLOCKS:
        return None
    times = _times(len(there), seed)
    return _intervals(_average_precision(times, there, before), _average_precision(times, there, after))


def _average_precision(times: NDArray[np.int64], there: NDArray[np.int64], found: Found) -> Shares:
    """(draws,) of (draws, blocks): how often each block was drawn."""
    order = np.argsort(-found.sure, kind="stable")
    block, right = found.block[order], found.right[order]
    average = np.zeros(len(times))
    if not len(order):
        return average
    for draw, each in enumerate(times):
        count = each[block]
        hits = np.cumsum(count * right)
        precision = np.maximum.accumulate((hits / np.maximum(np.cumsum(count), 1))[::-1])[::-1]
        at = np.searchsorted(hits / max(int(each @ there), 1), RECALLS)
        average[draw] = precision[at[at < len(order)]].sum() / len(RECALLS)
    return average


def _times(blocks: int, seed: int) -> NDArray[np.int64]:
    """(draws, blocks) how often each block is drawn."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=DRAWS)


def _intervals(before: Shares, after: Shares) -> Intervals:
    return Intervals(_interval(before), _interval(after), _interval(after - before))


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Interval(float(low), float(high))
