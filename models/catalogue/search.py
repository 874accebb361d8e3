"""Which cards a person wants to see. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.bands import COLOURS, meanings
from models.catalogue.published import PublishedModel
from models.catalogue.runs_here import held, runs_here

LicenceKind = Literal["open", "non-commercial", "own terms", "not stated"]
LICENCE_KINDS: tuple[LicenceKind, ...] = ("open", "non-commercial", "own terms", "not stated")
GROUND_SIZES: dict[str, tuple[float, float]] = {
    "below 0.3 m": (0.0, 0.3),
    "0.3 to 1 m": (0.3, 1.0),
    "1 to 5 m": (1.0, 5.0),
    "5 to 20 m": (5.0, 20.0),
    "above 20 m": (20.0, float("inf")),
}
"""Metres on the ground of a pixel."""
_OPEN = re.compile(r"^(apache|mit|bsd|cc0|cc-by-\d|cc-by-sa|odc-by|odbl|isc|unlicense)", re.IGNORECASE)


@dataclass(frozen=True)
class Filter:
    """What is asked of a card; what is empty asks nothing."""

    words: str = ""
    task: str = ""
    sensor: str = ""
    bands: str = ""
    """"colours": red, green and blue alone; "more": others too."""
    ground_size: str = ""
    """A key of `GROUND_SIZES`; a model that is tied to no size is for none of them."""
    licence: str = ""
    """One of `LICENCE_KINDS`."""
    megabytes: float | None = None
    """At most; a model that does not say its size is left out."""
    runs: bool = False
    downloaded: bool = False


def matching(models: Iterable[PublishedModel], wanted: Filter, store: Path, mirror: str = "") -> list[PublishedModel]:
    """The cards that hold all that is wanted, in their order.

    Args:
        models: The catalogue.
        wanted: By what.
        store: Downloaded models (`<data folder>/models`).
        mirror: `Settings.weights_mirror`.
    """
    return [
        model
        for model in models
        if _has_words(model, wanted.words)
        and (not wanted.task or wanted.task in model.tasks)
        and (not wanted.sensor or wanted.sensor in model.sensors)
        and (not wanted.bands or (bool(model.bands) and (set(meanings(model.bands)) <= COLOURS) == (wanted.bands == "colours")))
        and (not wanted.ground_size or _is_for(model, wanted.ground_size))
        and (not wanted.licence or licence_kind(model) == wanted.licence)
        and (wanted.megabytes is None or (model.megabytes is not None and model.megabytes <= wanted.megabytes))
        and (not wanted.runs or runs_here(model).yes)
        and (not wanted.downloaded or held(model, store, mirror) is not None)
    ]


def licence_kind(model: PublishedModel) -> LicenceKind:
    """What a licence allows, by its name; only reading it tells for certain."""
    if not model.licence:
        return "not stated"
    if re.search(r"(^|[-\s])NC([-\s]|$)|non-?commercial", model.licence, re.IGNORECASE):
        return "non-commercial"
    return "open" if _OPEN.match(model.licence) else "own terms"


def sensors_of(models: Iterable[PublishedModel]) -> list[str]:
    """All sensors that cards name, sorted."""
    return sorted({sensor for model in models for sensor in model.sensors}, key=str.casefold)


def _has_words(model: PublishedModel, words: str) -> bool:
    text = " ".join(
        (
            model.name,
            model.title,
            model.summary,
            *model.tasks,
            *model.sensors,
            *model.classes,
            model.architecture,
            model.training_data,
            model.licence,
        )
    ).casefold()
    return all(word in text for word in words.casefold().split())


def _is_for(model: PublishedModel, ground_size: str) -> bool:
    if model.resolution_m is None:
        return False
    low, high = GROUND_SIZES[ground_size]
    return model.resolution_m[0] < high and model.resolution_m[1] >= low
