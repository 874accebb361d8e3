"""Words that pages share."""

from __future__ import annotations

from collections.abc import Sequence

from imagery.library import Raster
from tiles.certainty import LEAST_BLOCKS

NO_HONEST_TEST = (
    "**No honest test.** The tiles scored on were not kept apart from those learnt from: they overlap or repeat them, or do not say where they lie. "
    "Expect less in places the model has not seen."
)

WIDE = 0.02
"""A likely range narrower than this says that nothing changed, not that it is unsure what did."""


def many(count: int, what: str) -> str:
    """`1 label`, `2,000 labels`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def distinct_names(rasters: Sequence[Raster]) -> list[str]:
    """Names that tell the rasters apart: with their id where two have the same."""
    names = [r.name for r in rasters]
    return [r.name if names.count(r.name) == 1 else f"{r.name} ({r.id})" for r in rasters]


def doubt(class_name: str, blocks: int, gain: tuple[float, float] | None) -> str | None:
    """What chance may have to do with the scores of a class; None where they can be relied on.

    Args:
        class_name: As markdown.
        blocks: Squares of ground, of those measured, that truly hold it.
        gain: Likely range of what its IoU gained (`tiles.certainty`); None where there was nothing before.
    """
    if blocks < LEAST_BLOCKS:
        where = "one square" if blocks == 1 else f"{blocks} squares"
        return (
            f"**{class_name}** lies in only {where} of the ground measured, fewer than {LEAST_BLOCKS}: "
            "too few to tell how much of the difference is chance. Label it in more places."
        )
    if gain is not None and gain[0] <= 0 <= gain[1] and gain[1] - gain[0] >= WIDE:
        return f"**{class_name}**: the difference in IoU ({signed(gain[0])} to {signed(gain[1])}) could be chance."
    return None


def chance(class_name: str, blocks: int, gain: tuple[float, float] | None) -> str:
    """Whether the difference between two models in the IoU of a class is more than chance, in a sentence. Arguments as `doubt`."""
    doubtful = doubt(class_name, blocks, gain)
    if doubtful is not None:
        return doubtful
    if gain is None:
        return f"**{class_name}** was not there to be measured before."
    if gain[0] <= 0 <= gain[1]:
        return f"**{class_name}**: no difference to speak of ({signed(gain[0])} to {signed(gain[1])})."
    better = "better" if gain[0] > 0 else "worse"
    return f"**{class_name}**: the new model is {better}, by more than chance (IoU {signed(gain[0])} to {signed(gain[1])} in 95 of 100 cases)."


def signed(difference: float) -> str:
    """'+0.12', '−0.03'."""
    return f"{'−' if difference < 0 else '+'}{abs(difference):.2f}"
