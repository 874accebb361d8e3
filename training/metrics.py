"""Scores from a confusion matrix counted over a whole set of tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Score
from tiles.certainty import Intervals, class_counts, intervals
from tiles.tile_set import IGNORE_LABEL


def confusion(truth: NDArray[np.integer], predicted: NDArray[np.integer], outputs: int) -> NDArray[np.int64]:
    """(outputs, outputs) pixel counts, truth down, prediction across; truth 255 is left out."""
    counted = truth != IGNORE_LABEL
    pairs = truth[counted].astype(np.int64) * outputs + predicted[counted]
    return np.bincount(pairs, minlength=outputs * outputs).reshape(outputs, outputs)


def iou(matrix: NDArray[np.int64], output: int) -> float | None:
    """Intersection over union of one class; None when the truth has no such pixel."""
    if not matrix[output].sum():
        return None
    union = matrix[output].sum() + matrix[:, output].sum() - matrix[output, output]
    return float(matrix[output, output] / union)


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of those that are known; None when none is."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def scores(matrix: NDArray[np.int64], names: Sequence[str], on: str) -> tuple[Score, ...]:
    """One `Score` for each class (output i + 1 is `names[i]`) that the truth has pixels of."""
    made = []
    for i, name in enumerate(names, 1):
        hit, actual, claimed = int(matrix[i, i]), int(matrix[i].sum()), int(matrix[:, i].sum())
        if actual:
            precision = hit / claimed if claimed else None
            made.append(Score(on=on, class_name=name, iou=iou(matrix, i), precision=precision, recall=hit / actual, pixels=actual))
    return tuple(made)


def with_ranges(
    found: Sequence[Score], names: Sequence[str], blocks: NDArray[np.int64], after: NDArray[np.int64], before: NDArray[np.int64] | None
) -> tuple[Score, ...]:
    """Scores with how far they could be off by chance.

    Args:
        found: Of the tiles below.
        names: Of the outputs from 1 on.
        blocks: (tiles,) number of the square of ground each tile lies in.
        after: (tiles, n, n) confusion matrices of the model scored.
        before: The same of the base model; None where it knows no class.
    """
    mine = per_block(after, blocks)
    base = None if before is None else per_block(before, blocks)
    made = []
    for score in found:
        output = list(names).index(score.class_name) + 1
        counts = class_counts(mine, output)
        ranges = intervals(counts if base is None else class_counts(base, output), counts)
        made.append(ranged(score, int((counts[:, 0] > 0).sum()), ranges, gained=base is not None))
    return tuple(made)


def per_block(counts: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """(blocks, ...) sums of (tiles, ...) counts; `blocks`: (tiles,) number of the square of ground each tile lies in."""
    summed = np.zeros((blocks.max() + 1, *counts.shape[1:]), dtype=np.int64)
    np.add.at(summed, blocks, counts)
    return summed


def ranged(score: Score, blocks: int, ranges: Intervals | None, *, gained: bool) -> Score:
    """The score with its likely ranges.

    Args:
        score: Of one class.
        blocks: Squares of ground that truly hold it.
        ranges: None where these are too few.
        gained: Is there a base model's score to compare with?
    """
    return score.model_copy(
        update={
            "blocks": blocks,
            "likely_range": ranges and tuple(ranges.after),
            "likely_gain_range": tuple(ranges.gain) if ranges and gained else None,
        }
    )
