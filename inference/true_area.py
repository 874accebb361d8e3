"""How much ground each class truly covers, estimated from a map and from places where the truth is known. Pure.

The area counted on a map is wrong where the map is. The stratified estimator (Olofsson, Foody, Herold, Stehman, Woodcock and Wulder 2014, "Good practices for
estimating area and assessing accuracy of land change", equations 8 and 9) corrects it: of the ground that the map gives to class i, the share that truly is class j
is taken from the sample. Their interval (equation 10) is for sample units drawn one by one. Here a unit is a square of ground, because neighbouring pixels are right
or wrong together: the variance is that of the estimator's linear part over the squares (Stehman 2014, International Journal of Remote Sensing 35), which
for single pixels is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from inference.scores import Counts
from tiles.certainty import LEAST_BLOCKS, SHARE

NEGLIGIBLE = 0.001
"""A class with less than this share of the map may be missing in the sample; the map is believed there."""


class TrueArea(NamedTuple):
    """Estimated ground of one class, square metres."""

    m2: float
    low: float
    """Of the interval that holds the truth in 95 of 100 cases."""
    high: float


def true_areas(squares: Counts, mapped_m2: Sequence[float]) -> list[TrueArea | None]:
    """Area of each class.

    Args:
        squares: (squares, n, n) pixels of each square of ground in the sample: truth in rows, map in columns; the same classes as `mapped_m2`.
        mapped_m2: (n,) area of each class on the whole map, background included.

    Returns:
        For each class its area; None for one that is in fewer than `LEAST_BLOCKS` squares. None for all where the sample lacks a class of
        the map, as nothing is known about the ground that it has.
    """
    mapped = np.asarray(mapped_m2, np.float64)
    size = len(mapped)
    counts = np.swapaxes(np.asarray(squares, np.float64), 1, 2)  # map in rows, as in the paper
    seen = counts.sum(axis=(0, 2))
    weights = mapped / mapped.sum()
    if (weights[seen == 0] > NEGLIGIBLE).any():
        return [None] * size
    shares = np.where(seen[:, None] > 0, counts.sum(axis=0) / np.maximum(seen, 1)[:, None], np.eye(size))
    parts = weights @ shares
    pull = np.einsum("i,bij->bj", np.divide(weights, seen, out=np.zeros(size), where=seen > 0), counts - counts.sum(axis=2)[..., None] * shares)
    number = len(counts)
    error = np.sqrt(number / max(number - 1, 1) * (pull**2).sum(axis=0))
    reach = stats.t.ppf((1 + SHARE) / 2, max(number - 1, 1)) * error
    there = (np.asarray(squares).sum(axis=2) > 0).sum(axis=0)
    low, high = np.clip(parts - reach, 0, 1), np.clip(parts + reach, 0, 1)
    scaled = np.stack([parts, low, high], axis=1) * mapped.sum()
    return [TrueArea(*map(float, scaled[j])) if there[j] >= LEAST_BLOCKS else None for j in range(size)]
