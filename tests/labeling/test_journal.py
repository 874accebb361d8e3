from __future__ import annotations

import datetime as dt
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from errors import DiskFullError, ProjectDamagedError, WorkspaceError
from labeling.journal import BACK, NEWER, Label, LabelJournal, Operation
from labeling.label_set import current_labels

LINE = {"type": "LineString", "coordinates": [[-116.5, 33.8], [-116.51, 33.81]]}


def upsert(object_id: str, class_value: int = 2, operation_id: str | None = None) -> Operation:
    return Operation(operation_id or uuid.uuid4().hex, "upsert", object_id, Label(LINE, class_value))


def delete(object_id: str) -> Operation:
    return Operation(uuid.uuid4().hex, "delete", object_id)


@pytest.fixture
def journal(tmp_path: Path) -> LabelJournal:
    return LabelJournal(tmp_path / "labels.journal")


def test_state_is_what_the_operations_add_up_to(journal: LabelJournal):
    journal.append([upsert("a"), upsert("b"), upsert("c", 1)])
    journal.append([upsert("b", 1), delete("a")])
    changes = journal.changes()
    assert {f["id"]: f["properties"]["class_value"] for f in changes.features} == {"b": 1, "c": 1}
    assert journal.counts() == {1: 2}
    assert changes.revision == journal.revision() == 5


def test_only_what_changed_since_a_revision(journal: LabelJournal):
    journal.append([upsert("a"), upsert("b")])
    seen = journal.append([upsert("c")]).revision
    journal.append([delete("a"), upsert("b", 1), upsert("d"), delete("d")])
    changes = journal.changes(seen)
    assert [f["id"] for f in changes.features] == ["b"]
    assert set(changes.deleted) == {"a", "d"}
    assert journal.changes(changes.revision).features == []


def test_a_revision_from_the_future_gets_everything(journal: LabelJournal):
    """A restored, older journal: the browser has seen more than is there."""
    journal.append([upsert("a")])
    assert [f["id"] for f in journal.changes(99).features] == ["a"]


def test_sending_twice_changes_nothing(journal: LabelJournal):
    first = [upsert("a", operation_id="one"), upsert("a", 1, operation_id="two")]
    journal.append(first)
    again = journal.append([first[0]])
    assert again.acknowledged == ("one",)
    assert again.base == again.revision == 2
    assert journal.counts() == {1: 1}


def test_the_record_cannot_be_changed(journal: LabelJournal):
    journal.append([upsert("a")])
    journal.close()
    with sqlite3.connect(journal.path) as connection:
        for statement in ("UPDATE operations SET object_id = 'x'", "DELETE FROM operations"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    connection.close()


def test_state_is_made_again_from_the_record(journal: LabelJournal):
    journal.append([upsert("a"), upsert("b"), delete("a"), upsert("a", 1)])
    before = journal.changes().features
    journal.close()
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("DROP TABLE objects")
    connection.close()
    assert LabelJournal(journal.path).changes().features == before


def test_a_width_is_kept_and_its_change_is_an_edit(journal: LabelJournal):
    journal.append([Operation("one", "upsert", "a", Label(LINE, 2, width_m=4.0)), upsert("b")])
    journal.append([Operation("two", "upsert", "a", Label(LINE, 2, width_m=6.5))])
    assert [f["properties"]["width_m"] for f in journal.changes().features] == [6.5, None]
    assert journal.revision() == 3


def test_a_journal_from_before_widths_and_review_marks_opens_replays_and_goes_on(journal: LabelJournal):
    journal.append([upsert("a"), upsert("b", 1)])
    journal.close()
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("DROP TRIGGER operations_stay")
    connection.execute("UPDATE operations SET label = json_remove(label, '$.width_m', '$.review')")
    connection.execute("UPDATE objects SET feature = json_remove(feature, '$.properties.width_m', '$.properties.review')")
    connection.close()
    assert "width_m" not in journal.changes().features[0]["properties"]
    assert current_labels(journal.path)["width_m"].isna().all()
    assert set(current_labels(journal.path)["review"]) == {""}
    journal.append([Operation("wide", "upsert", "a", Label(LINE, 2, width_m=3.0))])
    assert current_labels(journal.path)["width_m"].fillna(0).tolist() == [3.0, 0.0]
    journal.close()
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("DROP TABLE objects")
    connection.close()
    assert LabelJournal(journal.path).counts() == {1: 1, 2: 1}
    assert current_labels(journal.path)["width_m"].fillna(0).tolist() == [3.0, 0.0]


def test_labels_keep_the_order_in_which_they_were_made(journal: LabelJournal):
    names = [f"{i * 7919 % 100:02}" for i in range(100)]
    journal.append([upsert(name) for name in names])
    journal.append([upsert(names[3]), delete(names[5]), upsert(names[5])])
    assert [f["id"] for f in journal.changes().features] == names


def test_bringing_back_a_deleted_label_keeps_when_it_was_made(journal: LabelJournal):
    journal.append([upsert("a")])
    created = journal.changes().features[0]["properties"]["created"]
    time.sleep(0.005)
    journal.append([delete("a")])
    journal.append([upsert("a")])
    properties = journal.changes().features[0]["properties"]
    assert properties["created"] == created
    assert properties["changed"] > created


def test_the_id_stays_and_differs_between_journals(journal: LabelJournal, tmp_path: Path):
    other = LabelJournal(tmp_path / "other.journal")
    assert journal.id == LabelJournal(journal.path).id != other.id


def test_a_failing_batch_leaves_nothing(journal: LabelJournal):
    journal.append([upsert("a")])

    def batch():
        yield upsert("b")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        journal.append(batch())
    bad = Operation("x", "upsert", "c", Label({"type": "Point", "coordinates": [float("nan"), 0]}, 2))
    with pytest.raises(ValueError, match="Out of range"):
        journal.append([upsert("b"), bad])
    assert journal.revision() == 1
    assert journal.append([upsert("b")]).revision == 2


def test_a_file_that_is_no_journal_is_said_to_be_damaged(tmp_path: Path):
    path = tmp_path / "labels.journal"
    path.write_bytes(b"this is not a database, but long enough to be taken for one " * 40)
    with pytest.raises(ProjectDamagedError, match="backup"):
        LabelJournal(path).revision()


def test_a_folder_that_is_missing_is_explained(tmp_path: Path):
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        LabelJournal(tmp_path / "no" / "labels.journal").revision()


def test_a_replaced_file_is_opened_anew(journal: LabelJournal, tmp_path: Path):
    journal.append([upsert("a")])
    backup = LabelJournal(tmp_path / "backup")
    backup.append([upsert("b")])
    backup.close()
    backup.path.replace(journal.path)
    for leftover in (f"{journal.path}-wal", f"{journal.path}-shm"):
        Path(leftover).unlink(missing_ok=True)
    assert [f["id"] for f in journal.changes().features] == ["b"]


def test_two_writers_lose_nothing(journal: LabelJournal):
    """Two connections to one file, as two processes would have."""
    writers = [journal, LabelJournal(journal.path)]

    def work(writer: LabelJournal, name: str) -> None:
        for i in range(60):
            writer.append([upsert(f"{name}{i}")])

    threads = [threading.Thread(target=work, args=(writer, name)) for writer, name in zip(writers, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f["id"] for f in journal.changes().features} == {f"{name}{i}" for name in "ab" for i in range(60)}
    assert journal.revision() == 120


def test_two_who_open_a_new_file_at_once_both_may_write(tmp_path: Path):
    for number in range(40):
        writers = [LabelJournal(tmp_path / f"{number}.journal") for _ in range(3)]
        begin, failed = threading.Barrier(len(writers)), []

        def work(writer: LabelJournal, name: str, begin=begin, failed=failed) -> None:
            begin.wait()
            try:
                writer.append([upsert(name)])
            except WorkspaceError as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(writer, name)) for writer, name in zip(writers, "abc", strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [] and writers[0].revision() == 3
        for writer in writers:
            writer.close()


def state(journal: LabelJournal) -> dict[str, tuple[int, str]]:
    return {f["id"]: (f["properties"]["class_value"], f["properties"]["note"]) for f in journal.changes().features}


def edit(object_id: str, class_value: int | None, made_from: int | str | None, operation_id: str = "") -> Operation:
    """An edit that makes an object of this class; None deletes it."""
    label = None if class_value is None else Label(LINE, class_value)
    return Operation(operation_id or uuid.uuid4().hex, "delete" if label is None else "upsert", object_id, label, made_from)


def test_edits_of_different_objects_merge_and_made_from_the_latest_version_nothing_is_said(journal: LabelJournal):
    seen = journal.append([edit("a", 1, 0), edit("b", 1, 0)]).revision
    journal.append([edit("a", 2, seen)])
    assert journal.append([edit("b", 3, seen), edit("c", 1, 0), edit("a", 4, seen + 1)]).conflicts == ()
    assert state(journal) == {"a": (4, ""), "b": (3, ""), "c": (1, "")}


def test_an_object_changed_elsewhere_since_is_kept_twice_and_the_later_one_goes_on_by_itself(journal: LabelJournal):
    seen = journal.append([edit("a", 1, 0)]).revision
    journal.append([edit("a", 2, seen)])
    mine = [edit("a", 3, seen, "one"), edit("a", 4, "one", "two")]
    conflict, following = journal.append(mine).conflicts
    assert (conflict.object_id, conflict.kind, following.kept_as) == ("a", "copied", conflict.kept_as)
    assert state(journal) == {"a": (2, ""), conflict.kept_as: (4, NEWER)}
    assert journal.append(mine).conflicts == (conflict, following)
    assert journal.revision() == 4
    journal.append([edit("a", None, "two")])
    assert state(journal) == {"a": (2, "")}


def test_a_second_version_says_why_it_is_there(journal: LabelJournal):
    journal.append([edit("a", 1, 0), edit("a", 2, 1)])
    (conflict,) = journal.append([edit("a", 3, 1)]).conflicts
    assert state(journal)[conflict.kept_as] == (3, NEWER)


def test_the_same_change_made_twice_is_no_conflict(journal: LabelJournal):
    journal.append([edit("a", 1, 0)])
    journal.append([edit("a", 2, 1)])
    assert journal.append([edit("a", 2, 1)]).conflicts == ()
    assert state(journal) == {"a": (2, "")}


def test_an_edit_outlives_a_delete_made_elsewhere(journal: LabelJournal):
    journal.append([edit("a", 1, 0), edit("b", 1, 0)])
    journal.append([edit("a", None, 1), edit("b", 2, 2)])
    edited, deleted = journal.append([edit("a", 3, 1), edit("b", None, 2, "delete")]).conflicts
    assert (edited.kind, edited.kept_as) == ("revived", "a")
    assert (deleted.kind, deleted.kept_as) == ("kept", "b")
    assert state(journal) == {"a": (3, BACK), "b": (2, "")}
    # taking the delete back does not write over what it met
    (again,) = journal.append([edit("b", 1, "delete")]).conflicts
    assert (again.kind, again.kept_as) == ("merged", "b")
    assert state(journal) == {"a": (3, BACK), "b": (2, "")}


def test_both_deleted_is_no_conflict_and_a_delete_can_be_taken_back(journal: LabelJournal):
    journal.append([edit("a", 1, 0)])
    assert journal.append([edit("a", None, 1, "mine"), edit("a", None, 1)]).conflicts == ()
    assert journal.append([edit("a", 1, 0)]).conflicts == ()
    assert state(journal) == {"a": (1, "")}


def test_an_edit_that_follows_one_the_journal_does_not_have_overwrites_nothing(journal: LabelJournal):
    journal.append([edit("a", 1, 0)])
    (conflict,) = journal.append([edit("a", 2, "lost")]).conflicts
    assert set(state(journal)) == {"a", conflict.kept_as}
    journal.append([edit("b", 1, 0, "of b")])
    (other,) = journal.append([edit("a", 3, "of b")]).conflicts
    assert state(journal)["b"] == (1, "")
    assert state(journal)["a"] == (1, "")
    assert other.object_id == "a"


def test_the_first_journals_open_and_go_on(tmp_path: Path):
    """As they were made before versions, authors and conflicts."""
    path = tmp_path / "labels.journal"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST_JOURNAL)
    connection.close()
    journal = LabelJournal(path)
    assert state(journal) == {"a": (2, "")}
    assert [(e.author, e.tool, e.label.class_value if e.label else None) for e in journal.history("a")] == [("", "", 1), ("", "", 2)]
    (conflict,) = journal.append([edit("a", 3, 1)]).conflicts
    assert conflict.kind == "copied"
    assert journal.id == "0123"


FIRST_JOURNAL = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE operations (
    revision INTEGER PRIMARY KEY AUTOINCREMENT, operation_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL CHECK (kind IN ('upsert', 'delete')),
    object_id TEXT NOT NULL, label TEXT, time TEXT NOT NULL) STRICT;
INSERT INTO about VALUES ('format_version', '1'), ('id', '0123');
INSERT INTO operations (operation_id, kind, object_id, label, time) VALUES
    ('1', 'upsert', 'a', '{"geometry":{"type":"Point","coordinates":[1,2]},"class_value":1}', '2024-05-01T10:00:00.000+00:00'),
    ('2', 'upsert', 'a', '{"geometry":{"type":"Point","coordinates":[1,2]},"class_value":2}', '2024-05-01T10:01:00.000+00:00');
"""


def test_history_says_who_when_and_with_what(journal: LabelJournal):
    time_ = dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)
    journal.append([Operation("1", "upsert", "a", Label(LINE, 1), 0, "Ada", "line"), edit("b", 1, 0)], now=time_)
    journal.append([Operation("2", "delete", "a", None, 1, "Grace", "delete")], now=time_)
    first, second = journal.history("a")
    assert (first.author, first.tool, first.time, first.label) == ("Ada", "line", "2024-05-01T10:00:00.000+00:00", Label(LINE, 1))
    assert (second.author, second.tool, second.label, second.revision) == ("Grace", "delete", None, 3)
    assert journal.history("nobody") == []


def test_a_named_version_is_compared_and_can_be_had_back(journal: LabelJournal):
    journal.append([edit("a", 1, 0), edit("b", 1, 0), edit("c", 2, 0), edit("same", 2, 0)])
    version = journal.name_version("Before the field trip", "Ada")
    journal.append([edit("a", None, 1), edit("b", 3, 2), edit("d", 1, 0), edit("same", 1, 4), edit("passing", 1, 0)])
    journal.append([edit("same", 2, 8), edit("passing", None, 9)])
    (found,) = journal.versions()
    assert (found.name, found.author, found.revision, found.counts) == ("Before the field trip", "Ada", 4, {1: 2, 2: 2})
    assert (found.made, found.changed, found.deleted) == (1, 1, 1)
    differences = journal.differences(version)
    assert differences is not None
    assert {one.object_id: (one.now is not None, one.then and one.then.class_value) for one in differences} == {
        "a": (False, 1),
        "b": (True, 1),
        "d": (True, None),
    }
    before = journal.revision()
    restored = [Operation(uuid.uuid4().hex, "upsert" if one.then else "delete", one.object_id, one.then) for one in differences]
    journal.append(restored)
    assert state(journal) == {"a": (1, ""), "b": (1, ""), "c": (2, ""), "same": (2, "")}
    assert journal.differences(version) == []
    assert journal.revision() == before + 3
    assert journal.differences(99) is None


def test_a_version_is_renamed_and_deleted_and_the_labels_stay(journal: LabelJournal):
    journal.append([edit("a", 1, 0)])
    first, second = journal.name_version("one"), journal.name_version("two")
    assert journal.rename_version(first, "before the rain") and journal.delete_version(second)
    assert [one.name for one in journal.versions()] == ["before the rain"]
    assert not journal.delete_version(second) and not journal.rename_version(second, "three")
    assert journal.name_version("four") != second  # an id is not given twice
    assert state(journal) == {"a": (1, "")}


def test_on_a_full_disk_reading_does_not_speak_of_lost_edits(tmp_path, monkeypatch):
    def full(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("labeling.journal._prepare", full)
    with pytest.raises(DiskFullError, match="cannot be opened") as found:
        LabelJournal(tmp_path / "labels.journal").counts()
    assert "reload" in found.value.remedy


# --- two changes of one object, field by field ------------------------------------------------------------------------------------------

MOVED = {"type": "LineString", "coordinates": [[-116.5, 33.9], [-116.51, 33.81]]}
FIRST = Label(LINE, 1, note="as found", width_m=4.0)
FIELDS: dict[str, tuple[Any, Any]] = {
    "geometry": (MOVED, {"type": "LineString", "coordinates": [[-116.4, 33.8], [-116.51, 33.81]]}),
    "class_value": (2, 3),
    "review": ("done", "doubtful"),
    "note": ("mine", "theirs"),
    "width_m": (6.0, None),
}


def label_of(journal: LabelJournal, object_id: str) -> Label:
    feature = journal.features([object_id])[object_id]
    return Label(feature["geometry"], **{name: feature["properties"][name] for name in vars(FIRST) if name != "geometry"})


def put(object_id: str, label: Label | None, made_from: int | str | None, operation_id: str = "") -> Operation:
    return Operation(operation_id or uuid.uuid4().hex, "upsert" if label else "delete", object_id, label, made_from)


@pytest.mark.parametrize("mine", FIELDS)
@pytest.mark.parametrize("theirs", FIELDS)
def test_two_changes_from_one_state_are_merged_unless_they_are_of_one_field(journal: LabelJournal, mine: str, theirs: str):
    journal.append([put("a", FIRST, 0)])
    journal.append([put("a", replace(FIRST, **{theirs: FIELDS[theirs][1]}), 1)])
    (conflict,) = journal.append([put("a", replace(FIRST, **{mine: FIELDS[mine][0]}), 1)]).conflicts
    if mine == theirs:
        assert conflict.kind == "copied"
        assert vars(label_of(journal, "a"))[theirs] == FIELDS[theirs][1]
        assert str(vars(label_of(journal, conflict.kept_as))[mine]).startswith(str(FIELDS[mine][0]))
    else:
        assert (conflict.kind, conflict.kept_as) == ("merged", "a")
        assert label_of(journal, "a") == replace(FIRST, **{theirs: FIELDS[theirs][1], mine: FIELDS[mine][0]})
        assert len(journal.changes().features) == 1


def test_edits_that_follow_a_merged_one_do_not_take_back_what_was_merged_in(journal: LabelJournal):
    """The browser sent the second before it knew of the merge: it still shows the old class."""
    journal.append([put("a", FIRST, 0)])
    journal.append([put("a", replace(FIRST, class_value=3), 1)])
    reviewed = replace(FIRST, review="done")
    mine = [put("a", reviewed, 1, "one"), put("a", replace(reviewed, geometry=MOVED), "one", "two")]
    assert [one.kind for one in journal.append(mine).conflicts] == ["merged", "merged"]
    assert label_of(journal, "a") == replace(FIRST, class_value=3, review="done", geometry=MOVED)
    assert [one.kind for one in journal.append(mine).conflicts] == ["merged", "merged"]  # sent again
    journal.append([put("a", None, "two")])
    assert journal.changes().features == []


def test_changes_of_two_that_meet_a_third_field_twice_end_in_one_more_copy_only(journal: LabelJournal):
    journal.append([put("a", FIRST, 0)])
    journal.append([put("a", replace(FIRST, class_value=3), 1)])
    mine = [put("a", replace(FIRST, class_value=2), 1, "one"), put("a", replace(FIRST, class_value=2, note="mine"), "one", "two")]
    first, second = journal.append(mine).conflicts
    assert first.kept_as == second.kept_as
    assert label_of(journal, first.kept_as).note == f"mine {NEWER}"
    assert label_of(journal, "a") == replace(FIRST, class_value=3)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_several_people_do_at_once_no_change_of_a_field_is_lost(journal: LabelJournal, seed: int):
    """Tabs that look now and then, edit what they believe to be there and send late: each value that somebody gave a field is there,
    on the object or on a second one, or was replaced by somebody who had seen it.
    """
    random = Random(seed)
    journal.append([put("a", FIRST, 0)])
    tabs = [_Tab(journal, f"tab{i}", random) for i in range(3)]
    for _ in range(25):
        random.choice([one for tab in tabs for one in (tab.edit, tab.edit, tab.send, tab.look)])()
    for tab in tabs:
        tab.send()
    there = {feature["id"]: label_of(journal, feature["id"]) for feature in journal.changes().features}
    replaced = {value for tab in tabs for value in tab.replaced}
    for tab in tabs:
        for name, value in tab.given:
            if (name, value) not in replaced:
                assert any(str(value) in str(vars(label)[name]) for label in there.values()), (name, value)
    before = journal.changes().features
    journal.close()
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("DROP TABLE objects")
    connection.close()
    assert LabelJournal(journal.path).changes().features == before
    for tab in tabs:
        journal.append(tab.sent)  # all of it once more
    assert journal.changes().features == before


@pytest.mark.parametrize("seed", range(30))
def test_people_who_change_different_fields_never_make_a_second_object(journal: LabelJournal, seed: int):
    random = Random(seed)
    journal.append([put("a", FIRST, 0)])
    tabs = [_Tab(journal, f"tab{i}", random, [field]) for i, field in enumerate(["note", "class_value", "width_m"])]
    for _ in range(25):
        random.choice([one for tab in tabs for one in (tab.edit, tab.edit, tab.send, tab.look)])()
    for tab in tabs:
        tab.send()
    assert [feature["id"] for feature in journal.changes().features] == ["a"]
    for tab in tabs:
        for name, value in tab.given[-1:]:
            assert vars(label_of(journal, "a"))[name] == value


class _Tab:
    """A browser tab on one object: what it shows, and what it has not sent yet."""

    def __init__(
        self, journal: LabelJournal, name: str, random: Random, fields: Sequence[str] = ("note", "class_value", "width_m")
    ) -> None:
        self.journal, self.name, self.random, self.fields = journal, name, random, fields
        self.object_id, self.count = "a", 0
        self.waiting: list[Operation] = []
        self.sent: list[Operation] = []
        self.given: list[tuple[str, Any]] = []
        self.replaced: list[tuple[str, Any]] = []
        self.look()

    def look(self) -> None:
        if self.waiting:
            return
        feature = self.journal.features([self.object_id])[self.object_id]
        self.shown, self.seen = label_of(self.journal, self.object_id), feature["properties"]["revision"]

    def edit(self) -> None:
        """Give a field a value that nobody else gives."""
        self.count += 1
        name = self.random.choice(self.fields)
        number = 1000 * (1 + int(self.name[3:])) + self.count
        value: Any = f"{self.name}-{self.count}." if name == "note" else float(number) if name == "width_m" else number
        self.replaced.append((name, vars(self.shown)[name]))
        if name == "note":
            self.replaced.append((name, vars(self.shown)[name].replace(NEWER, "").strip()))
        self.given.append((name, value))
        self.shown = replace(self.shown, **{name: value})
        operation = put(self.object_id, self.shown, self.seen, f"{self.name}.{self.count}")
        self.seen = operation.operation_id
        self.waiting.append(operation)

    def send(self) -> None:
        if not self.waiting:
            return
        conflicts = self.journal.append(self.waiting).conflicts
        self.sent += self.waiting
        self.waiting = []
        if conflicts:
            self.object_id = conflicts[-1].kept_as
        self.look()
