"""What the scores of a comparison say, in sentences for everybody; how sure they are. Pure.

Names come as they are to stand in the sentence (bold, escaped): that is the business of whoever shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from inference.report import Report, ScoreReport, old_classes
from tiles.certainty import LEAST_BLOCKS

HARDLY = 0.05
"""With an IoU below this a class was not found, so there is nothing that could have been kept."""
WIDE = 0.02
"""A likely range narrower than this says that nothing changed, not that it is unsure what did."""


class Finding(NamedTuple):
    """What became of one class."""

    name: str
    said: str
    detail: str
    tone: Literal["new", "good", "bad"]
    """A class that the model before did not know; one it knew and the new one has kept, or forgotten."""


def findings(report: Report, scores: ScoreReport) -> list[Finding]:
    """What happened to each class on these places: new ones first."""
    known = {name.casefold() for name in report.before.classes}
    found = []
    for c in report.classes:
        old, new = scores.before.of(c.value), scores.after.of(c.value)
        if c.name.casefold() not in known and old and new and new.recall is not None:
            right = "" if new.precision is None else f"Of what is marked, {percent(new.precision)} is right."
            found.append(Finding(c.name, f"{percent(new.recall)} of it is found now, {percent(old.recall)} before.", right, "new"))
    for change in old_classes(report, scores):
        what = f"(IoU {change.iou_before:.2f} before, {change.iou_after:.2f} now)."
        if change.forgotten:
            how_much = "mostly" if change.iou_after < change.iou_before / 2 else "partly"
            found.append(Finding(change.name, f"{how_much} forgotten", what, "bad"))
        elif max(change.iou_before, change.iou_after) < HARDLY:
            found.append(Finding(change.name, "hardly found here by either model", what, "bad"))
        else:
            found.append(Finding(change.name, "found better than before" if change.better else "not forgotten", what, "good"))
    return found


def chances(report: Report, scores: ScoreReport, shown: Callable[[str], str]) -> list[str]:
    """For each class whether the difference between the models is more than chance; `shown` makes a name ready for the sentence."""
    lines = []
    for c in report.classes:
        sure, new = scores.certainty_of(c.value), scores.after.of(c.value)
        if sure is not None and new is not None and new.truth_pixels:
            lines.append(chance(shown(c.name), sure.blocks, sure.gain))
    return lines


def chance(class_name: str, blocks: int, gain: tuple[float, float] | None) -> str:
    """Whether the difference between two models in the IoU of a class is more than chance. Arguments as `doubt`."""
    doubtful = doubt(class_name, blocks, gain)
    if doubtful is not None:
        return doubtful
    if gain is None:
        return f"{class_name} was not there to be measured before."
    if gain[0] <= 0 <= gain[1]:
        return f"{class_name}: no difference to speak of ({signed(gain[0])} to {signed(gain[1])})."
    better = "better" if gain[0] > 0 else "worse"
    return f"{class_name}: the new model is {better}, by more than chance (IoU {signed(gain[0])} to {signed(gain[1])} in 95 of 100 cases)."


def doubt(class_name: str, blocks: int, gain: tuple[float, float] | None, measure: str = "IoU") -> str | None:
    """What chance may have to do with the scores of a class; None where they can be relied on.

    Args:
        class_name: As it is to stand in the sentence.
        blocks: Squares of ground, of those measured, that truly hold it.
        gain: Likely range of what its score gained (`tiles.certainty`); None where there was nothing before.
        measure: What the score is.
    """
    if blocks < LEAST_BLOCKS:
        where = "one square" if blocks == 1 else f"{blocks} squares"
        return (
            f"{class_name} lies in only {where} of the ground measured, fewer than {LEAST_BLOCKS}: "
            "too few to tell how much of the difference is chance. Label it in more places."
        )
    if gain is not None and gain[0] <= 0 <= gain[1] and gain[1] - gain[0] >= WIDE:
        return f"{class_name}: the difference in {measure} ({signed(gain[0])} to {signed(gain[1])}) could be chance."
    return None


def signed(difference: float) -> str:
    """'+0.12', '−0.03'."""
    return f"{'−' if difference < 0 else '+'}{abs(difference):.2f}"


def percent(share: float | None) -> str:
    return "none" if share is None else f"{share * 100:.0f} %"
