"""How right a class map is: confusion counts, and IoU, precision and recall from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from workspace.classes import BACKGROUND_VALUE, ClassDef

Counts = NDArray[np.int64]


class ClassScore(BaseModel):
    """Scores of one class; a ratio is None where nothing was there to divide by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int
    name: str
    iou: float | None
    """Overlap of predicted and true area, divided by their union."""
    precision: float | None
    """Of what was predicted as this class, the share that is right."""
    recall: float | None
    """Of what truly is this class, the share that was found."""
    truth_pixels: int
    predicted_pixels: int
    correct_pixels: int


class Scores(BaseModel):
    """Scores of one model on one set of places."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[ClassScore, ...]
    pixels: int
    """Pixels compared; ignored ones and those without imagery are left out."""
    accuracy: float | None
    mean_iou: float | None
    """Mean over the classes (background left out) that occur in the truth or in the prediction."""

    def of(self, value: int) -> ClassScore | None:
        """The score of the class with this value; None when it was not scored."""
        return next((score for score in self.classes if score.value == value), None)


def values_of(classes: Sequence[ClassDef]) -> tuple[int, ...]:
    """Background, then the value of each class, in the order in which confusion counts list them."""
    return (BACKGROUND_VALUE, *(c.value for c in classes))


def confusion(rows: NDArray[np.uint8], columns: NDArray[np.uint8], values: Sequence[int]) -> Counts:
    """Count pixels by the pair (value in `rows`, value in `columns`).

    Args:
        rows: Class values, any shape: the truth, or the earlier map.
        columns: Class values, same shape: the prediction, or the later map.
        values: The values counted; a pixel with any other value (ignore, nodata) on either side is left out.

    Returns:
        (len(values), len(values)) counts.
    """
    pairs, _ = _pairs(rows, columns, values)
    return np.bincount(pairs, minlength=len(values) ** 2).reshape(len(values), len(values))


def confusion_weighted(
    rows: NDArray[np.uint8], columns: NDArray[np.uint8], values: Sequence[int], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As `confusion`, each pixel counting as much as its weight says (its ground area, for example)."""
    pairs, counted = _pairs(rows, columns, values)
    sums: NDArray[np.float64] = np.bincount(pairs, weights=weights[counted], minlength=len(values) ** 2).astype(np.float64)
    return sums.reshape(len(values), len(values))


def _pairs(rows: NDArray[np.uint8], columns: NDArray[np.uint8], values: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The numbered pair of values of each pixel that is counted, and which are."""
    index = np.full(256, -1, np.int64)
    index[list(values)] = np.arange(len(values))
    first, second = index[rows], index[columns]
    counted = (first >= 0) & (second >= 0)
    return first[counted] * len(values) + second[counted], counted


def scores_from(counts: Counts, classes: Sequence[ClassDef]) -> Scores:
    """IoU, precision and recall per class (Jaccard 1912; van Rijsbergen 1979) from confusion counts.

    Args:
        counts: (n + 1, n + 1), truth in rows, prediction in columns, background first, then `classes` in order.
        classes: The classes, without background.
    """
    correct, truth, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    scores = tuple(
        ClassScore(
            value=c.value,
            name=c.name,
            iou=_ratio(correct[i], truth[i] + predicted[i] - correct[i]),
            precision=_ratio(correct[i], predicted[i]),
            recall=_ratio(correct[i], truth[i]),
            truth_pixels=int(truth[i]),
            predicted_pixels=int(predicted[i]),
            correct_pixels=int(correct[i]),
        )
        for i, c in enumerate(classes, start=1)
    )
    ious = [score.iou for score in scores if score.iou is not None]
    return Scores(
        classes=scores,
        pixels=int(counts.sum()),
        accuracy=_ratio(correct.sum(), counts.sum()),
        mean_iou=float(np.mean(ious)) if ious else None,
    )


def translation(values_from: Sequence[ClassDef], values_to: Sequence[ClassDef], *, unknown: int) -> NDArray[np.uint8]:
    """A lookup table (256,) from one model's class values to another schema's, matched by class name.

    0 stays 0; values without a class of the same name become `unknown`.
    """
    table = np.full(256, unknown, np.uint8)
    table[BACKGROUND_VALUE] = BACKGROUND_VALUE
    by_name = {c.name.casefold(): c.value for c in values_to}
    for c in values_from:
        table[c.value] = by_name.get(c.name.casefold(), unknown)
    return table


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
