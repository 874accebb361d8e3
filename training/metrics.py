"""Scores from a confusion matrix counted over a whole set of tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Score
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
