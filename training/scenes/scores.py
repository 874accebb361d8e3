"""How well whole tiles are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Score
from tiles.certainty import f1, intervals
from training.metrics import per_block, ranged

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


def with_ranges(
    scores: Sequence[Score],
    names: Sequence[str],
    blocks: NDArray[np.int64],
    truth: NDArray[np.bool_],
    after: NDArray[np.bool_],
    before: NDArray[np.bool_] | None,
    old: Sequence[str],
) -> tuple[Score, ...]:
    """Scores with how far their F1 could be off by chance.

    Args:
        scores: Of the tiles below.
        names: Of the classes.
        blocks: (tiles,) number of the square of ground each tile lies in.
        truth: (tiles, classes)
        after: (tiles, classes) given out by the model scored.
        before: The same of the base model; None where it knows no class.
        old: Classes that the base model knows.
    """
    made = []
    for score in scores:
        i = list(names).index(score.class_name)
        known = before is not None and score.class_name in old
        mine, base = (_counts(truth[:, i], found[:, i], blocks) for found in (after, before if known and before is not None else after))
        made.append(ranged(score, int((mine[:, 0] > 0).sum()), intervals(base, mine, score=f1), gained=known))
    return tuple(made)


def accuracy_ranges(
    blocks: NDArray[np.int64], truth: NDArray[np.bool_], after: NDArray[np.bool_], before: NDArray[np.bool_] | None
) -> dict[str, list[float]]:
    """`accuracy_range`: where the accuracy lies in 95 of 100 draws of the blocks; `accuracy_gain_range`: the same of what it gained over the base
    model, where that is given. Nothing where the blocks are too few. Arguments as of `with_ranges`.
    """

    def counts(found: NDArray[np.bool_]) -> NDArray[np.int64]:
        right = (truth == found).all(axis=1)
        return _counts(np.ones_like(right), right, blocks)

    found = intervals(counts(after if before is None else before), counts(after), score=lambda n: n[:, 2] / np.maximum(n[:, 0], 1))
    if found is None:
        return {}
    return {"accuracy_range": list(found.after)} | ({} if before is None else {"accuracy_gain_range": list(found.gain)})


def _counts(truth: NDArray[np.bool_], found: NDArray[np.bool_], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """(blocks, 3) tiles of a class: true, given out, both."""
    return per_block(np.column_stack([truth, found, truth & found]).astype(np.int64), blocks)


def mix_ups(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(classes, classes) tiles, truth down, given out across; a tile with several counts for each pair."""
    return truth.astype(np.int64).T @ found.astype(np.int64)
