"""How well whole tiles are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Score

SURE = 0.5
"""Probability from which a tile has a class, where it may have several."""


def chosen(probabilities: NDArray[np.float32], *, several: bool) -> NDArray[np.bool_]:
    """(tiles, classes): what is given out. One class, the likeliest; or each from `SURE` on."""
    if several:
        return probabilities >= SURE
    found = np.zeros(probabilities.shape, dtype=bool)
    found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def class_scores(truth: NDArray[np.bool_], found: NDArray[np.bool_], names: Sequence[str], on: str) -> tuple[Score, ...]:
    """Precision and recall of each class that the truth has, in tiles."""
    made = []
    for i, name in enumerate(names):
        hits, actual, claimed = int((truth[:, i] & found[:, i]).sum()), int(truth[:, i].sum()), int(found[:, i].sum())
        if actual:
            made.append(Score(on=on, class_name=name, precision=hits / claimed if claimed else None, recall=hits / actual, tiles=actual))
    return tuple(made)


def accuracy(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Share of the tiles of which exactly the right classes are given out."""
    return float((truth == found).all(axis=1).mean()) if len(truth) else 0.0


def mix_ups(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(classes, classes) tiles, truth down, given out across; a tile with several counts for each pair."""
    return truth.astype(np.int64).T @ found.astype(np.int64)
