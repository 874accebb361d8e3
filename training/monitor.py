"""Which epoch is the best: the number on the held-out tiles that was chosen to be watched. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import TooFewTilesError, TrainingError
from tiles.tile_set import TileSet
from training.metrics import mean
from training.settings import TrainingSettings


@dataclass(frozen=True)
class Measured:
    """What an epoch says of the held-out tiles, whatever is learnt."""

    name: str
    """IoU of a class for each pixel, AP50 of objects, F1 of whole tiles."""
    by_class: Mapping[str, float | None]
    """0..1"""
    mean: float | None


def measured(facts: Mapping[str, Any]) -> Measured:
    """The scores in the facts of an epoch event."""
    if "measure" in facts:
        return Measured(facts["measure"], facts["by_class"], facts["score"])
    return Measured("IoU", facts["iou"], facts["mean_iou"])


def check_classes(tile_set: TileSet, settings: TrainingSettings, old: Sequence[str] = ()) -> None:
    """Refuse what names no class, or leaves none to learn.

    Args:
        tile_set: To learn from.
        settings: Which classes are left out, and which is watched.
        old: Classes that the base model knows and keeps.

    Raises:
        TrainingError: with what to choose instead.
        TooFewTilesError: nothing that is to be learnt is in a training tile.
    """
    unwanted = {name.casefold() for name in settings.ignore_classes}
    learnt = [c for c in tile_set.record.classes if c.name.casefold() not in unwanted]
    pixels = tile_set.record.class_pixels("train")
    if unwanted and not any(pixels.get(c.value, 0) for c in learnt):
        raise TooFewTilesError(
            f"Of '{tile_set.name}' nothing is left to learn without {' and '.join(settings.ignore_classes)}.", "Leave out fewer classes."
        )
    known = [c.name for c in learnt] + list(old)
    watched = settings.monitor == "class_iou" and settings.freeze != "all_but_last_layer"  # fitted at once, there are no epochs
    if watched and settings.monitor_class.casefold() not in {name.casefold() for name in known}:
        raise TrainingError(
            f"There is no class '{settings.monitor_class}' to tell the best epoch by."
            if settings.monitor_class
            else "No class to watch is chosen.",
            f"Choose one of {', '.join(known)}, or watch the mean over the classes.",
        )


def selection(facts: dict[str, Any], settings: TrainingSettings) -> tuple[float, float]:
    """What decides which epoch is the best; larger is better, among equals the lower loss.

    Mean IoU and mean F1 on the held-out tiles are averaged with those of the old classes on reminder tiles.

    Args:
        facts: Of an epoch event.
        settings: What is watched.
    """
    loss = -float(facts["validation_loss"])
    if settings.monitor == "loss":
        return loss, loss
    if settings.monitor == "class_iou":
        score = {name.casefold(): value for name, value in facts["iou"].items()}.get(settings.monitor_class.casefold())
    elif settings.monitor == "f1":
        score = mean([mean(map(f1, facts["iou"].values())), facts["old_classes_f1"] if facts["reminded"] else None])
    else:
        score = mean([facts["mean_iou"], facts["old_classes_iou"] if facts["reminded"] else None])
    return (-1.0 if score is None else score), loss


def selection_by_class(facts: dict[str, Any], settings: TrainingSettings) -> tuple[float, float]:
    """The same for objects and whole tiles."""
    loss = -float(facts["validation_loss"])
    if settings.monitor == "loss":
        return loss, loss
    if settings.monitor == "class_iou":
        score = {name.casefold(): value for name, value in facts["by_class"].items()}.get(settings.monitor_class.casefold())
    else:
        score = facts["f1"] if settings.monitor == "f1" and "f1" in facts else facts["score"]
    return (-1.0 if score is None else score), loss


def f1(iou: float) -> float:
    """The F1 score (Dice) that goes with an intersection over union."""
    return 2 * iou / (1 + iou)
