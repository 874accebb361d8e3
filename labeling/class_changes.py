"""What a change of the class list means for the labels: operations for the journal, and those that take it back."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from labeling.journal import Label, LabelJournal, Operation

TOOL, UNDO = "class list", "undo"
"""What the history of a label calls these changes."""
_OWN = {one.name for one in dataclasses.fields(Label)} - {"geometry"}


def features_of_class(journal: LabelJournal, class_value: int) -> list[dict[str, Any]]:
    """The labels of one class, as the journal's features."""
    return [feature for feature in journal.changes().features if feature["properties"]["class_value"] == class_value]


def given_class(features: Sequence[Mapping[str, Any]], class_value: int) -> list[Operation]:
    """Operations that give labels another class and leave everything else of them, also what was changed since they were read."""
    return [
        _operation(feature, dataclasses.replace(_label(feature), class_value=class_value), feature["properties"].get("revision"))
        for feature in features
    ]


def deleted(features: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """Operations that delete labels; one that was changed since it was read stays."""
    return [_operation(feature, None, feature["properties"].get("revision")) for feature in features]


def as_before(features: Sequence[Mapping[str, Any]], operations: Sequence[Operation]) -> list[Operation]:
    """Operations that take back `operations`, which were made from `features`; what was changed since stays."""
    since = {operation.object_id: operation.operation_id for operation in operations}
    return [_operation(feature, _label(feature), since.get(str(feature["id"])), UNDO) for feature in features]


def _operation(feature: Mapping[str, Any], label: Label | None, made_from: int | str | None, tool: str = TOOL) -> Operation:
    return Operation(uuid.uuid4().hex, "delete" if label is None else "upsert", str(feature["id"]), label, made_from, tool=tool)


def _label(feature: Mapping[str, Any]) -> Label:
    return Label(feature["geometry"], **{name: value for name, value in feature["properties"].items() if name in _OWN})
