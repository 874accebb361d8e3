"""What the network is asked to answer: its outputs, and the target of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from models.card import ModelCard
from tiles.tile_set import IGNORE_LABEL, TileClass
from workspace.classes import ClassDef

SURE = 0.6
"""Probability from which the base model's answer is kept."""
RIM_PX = 3
"""Around what was drawn, pixels where the base model sees one of its classes teach nothing: hand-drawn edges are not that exact."""


@dataclass(frozen=True)
class OutputPlan:
    """The new model's classes (output i + 1 is `classes[i]`) and where the base model's outputs went."""

    classes: tuple[ClassDef, ...]
    old_outputs: tuple[int, ...]
    """For each output of the base model the output of the new one; 0 where its class is dropped."""
    kept: tuple[int, ...]
    """New outputs that the base model already knew."""
    left_out: tuple[str, ...] = ()
    """Names of classes that are not learnt: their pixels do not count."""

    def lookup(self, classes: Sequence[TileClass], *, reminders: bool = False) -> NDArray[np.uint8]:
        """(256,) output index for each class value of a tile set; unknown classes are background, those left out and 255 are 255.

        A class left out that the base model knows is still reminded of (`reminders`).
        """
        table = np.zeros(256, dtype=np.uint8)
        table[IGNORE_LABEL] = IGNORE_LABEL
        learnt = {c.name.casefold(): i for i, c in enumerate(self.classes, 1)}
        left_out = dict.fromkeys((name.casefold() for name in self.left_out), IGNORE_LABEL)
        outputs = left_out | learnt if reminders else learnt | left_out
        for c in classes:
            table[c.value] = outputs.get(c.name.casefold(), 0)
        return table


def plan_outputs(card: ModelCard, classes: Sequence[TileClass], *, keep_old: bool, left_out: Sequence[str] = ()) -> OutputPlan:
    """The tile set's classes but those `left_out`, then (with `keep_old`) the base model's others; equal names are one class."""
    unwanted = {name.casefold() for name in left_out}
    new = [ClassDef(value=c.value, name=c.name, colour=c.colour) for c in classes if c.name.casefold() not in unwanted]
    names = {c.name.casefold() for c in new}
    for c in card.classes if keep_old else ():
        if c.name.casefold() not in names:
            new.append(c.model_copy(update={"value": _free_value(c.value, {n.value for n in new})}))
    outputs = {c.name.casefold(): i for i, c in enumerate(new, 1)}
    old = tuple(outputs.get(c.name.casefold(), 0) for c in card.classes)
    return OutputPlan(tuple(new), (0, *old), tuple(sorted({i for i in old if i})), tuple(left_out))


def kept_targets(target: NDArray[np.uint8], seen: NDArray[np.uint8], sure: NDArray[np.bool_], outputs: Sequence[int]) -> NDArray[np.uint8]:
    """Put the base model's answers where nothing was drawn.

    Args:
        target: (rows, columns) output index, 0 where nothing was drawn, 255 ignored.
        seen: (rows, columns) what the base model answers, as an output of the new model.
        sure: (rows, columns) it is sure of that.
        outputs: Which answers are kept.

    Returns:
        A new target: the answer on undrawn pixels, 255 on the rim of what was drawn.
    """
    if not outputs:
        return target
    wanted = np.isin(seen, outputs) & sure & (target == 0)
    drawn = (target != 0) & (target != IGNORE_LABEL)
    rim = binary_dilation(drawn, iterations=RIM_PX) if drawn.any() else drawn
    return np.where(wanted, np.where(rim, np.uint8(IGNORE_LABEL), seen), target).astype(np.uint8)


def _free_value(wanted: int, taken: set[int]) -> int:
    return wanted if wanted not in taken else next(v for v in range(1, IGNORE_LABEL) if v not in taken)
