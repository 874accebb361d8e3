from __future__ import annotations

from pathlib import Path

import pytest

from labeling.class_changes import as_before, deleted, features_of_class, given_class
from labeling.journal import Label, LabelJournal, Operation

POINT = {"type": "Point", "coordinates": [1.0, 2.0]}


@pytest.fixture
def journal(tmp_path: Path) -> LabelJournal:
    made = LabelJournal(tmp_path / "labels.journal")
    made.append(Operation(name, "upsert", name, Label(POINT, 1, "sam", "a note", 3.0, "done"), 0) for name in "ab")
    made.append([Operation("c", "upsert", "c", Label(POINT, 2), 0)])
    return made


def classes(journal: LabelJournal) -> dict[str, int]:
    return {feature["id"]: feature["properties"]["class_value"] for feature in journal.changes().features}


def test_labels_get_another_class_and_back_and_the_history_says_how(journal: LabelJournal):
    features = features_of_class(journal, 1)
    operations = given_class(features, 5)
    journal.append(operations)
    assert classes(journal) == {"a": 5, "b": 5, "c": 2}
    journal.append([Operation("later", "upsert", "a", Label(POINT, 5, "sam", "a note", 9.0, "done"), 4)])
    journal.append(as_before(features, operations))
    assert classes(journal) == {"a": 1, "b": 1, "c": 2}
    assert journal.features("a")["a"]["properties"]["width_m"] == 9.0  # changed since: stays
    assert [one.tool for one in journal.history("a")] == ["", "class list", "", "undo"]


def test_deleted_labels_come_back_and_one_that_was_changed_since_it_was_read_stays(journal: LabelJournal):
    features = features_of_class(journal, 1)
    journal.append([Operation("later", "upsert", "a", Label(POINT, 2, "sam", "a note", 3.0, "done"), 1)])
    operations = deleted(features)
    journal.append(operations)
    assert classes(journal) == {"a": 2, "c": 2}
    journal.append(as_before(features, operations))
    assert classes(journal) == {"a": 2, "b": 1, "c": 2}
