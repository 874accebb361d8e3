"""What a change of the class list means for the labels: operations for the journal, and those that take it back."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from labeling.journal import Label, LabelJournal, Operation

_OWN = {one.name for one in dataclasses.fields(Label)} - {"geometry"}


def features_of_class(journal: LabelJournal, class_value: int) -> list[dict[str, Any]]:
    """The labels of one class, as the journal's features."""
    return [feature for feature in journal.changes().features if feature["properties"]["class_value"] == class_value]


def given_class(features: Sequence[Mapping[str, Any]], class_value: int) -> list[Operation]:
    """Operations that give labels another class and leave everything else of them."""
    return [_operation("upsert", feature, dataclasses.replace(_label(feature), class_value=class_value)) for feature in features]


def deleted(features: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """Operations that delete labels."""
    return [_operation("delete", feature, None) for feature in features]


def as_before(features: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """Operations that make labels again what they were."""
    return [_operation("upsert", feature, _label(feature)) for feature in features]


def _operation(kind: Literal["upsert", "delete"], feature: Mapping[str, Any], label: Label | None) -> Operation:
    return Operation(uuid.uuid4().hex, kind, str(feature["id"]), label)


def _label(feature: Mapping[str, Any]) -> Label:
    return Label(feature["geometry"], **{name: value for name, value in feature["properties"].items() if name in _OWN})
