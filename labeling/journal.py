"""The journal of a project's labels: every edit, append-only, on disk before it is acknowledged.

    labels.journal (SQLite, WAL, synchronous=FULL)
        operations   the record: one row an edit, never changed (triggers refuse it); its row id is the revision
        objects      the state those rows add up to, kept in the same transaction; made again from the record when
                     missing or of another form
        versions     names given to a revision ("before the field trip"); what was there follows from the record
        about        format version and the id of this journal

The browser names each operation; sending one twice changes nothing. It also says from which version of the object an operation
was made: where the object was changed elsewhere since, the two changes are merged field by field (shape, class, review mark, note,
width), and both versions are kept where one field was changed in both places (see `Conflict`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from errors import DiskFullError, ProjectDamagedError, WorkspaceError

FORMAT_VERSION = "1"
BUSY_S = 15.0
NEWER = "Was changed elsewhere at the same time; both versions were kept."
BACK = "Was deleted elsewhere while it was changed; it was kept."
_REMARKS = (NEWER, BACK)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS operations (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('upsert', 'delete')),
    object_id TEXT NOT NULL,
    label TEXT,
    time TEXT NOT NULL,
    made_from INTEGER,
    author TEXT,
    tool TEXT,
    conflict TEXT,
    sent TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS versions (
    version_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    time TEXT NOT NULL,
    author TEXT NOT NULL,
    counts TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS operations_of_object ON operations (object_id);
CREATE TRIGGER IF NOT EXISTS operations_stay BEFORE UPDATE ON operations BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS operations_last BEFORE DELETE ON operations BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""
_OBJECTS = (
    "CREATE TABLE objects (object_id TEXT PRIMARY KEY, class_value INTEGER NOT NULL, made INTEGER NOT NULL, feature TEXT NOT NULL) STRICT"
)
"""`made` is the revision that made the object: the order of labels."""
_LATER = {"made_from": "INTEGER", "author": "TEXT", "tool": "TEXT", "conflict": "TEXT", "sent": "TEXT"}
"""Columns of `operations` that the first journals did not have."""


@dataclass(frozen=True)
class Label:
    """What an operation says about an object: geometry in EPSG:4326 (longitude, latitude), class and origin."""

    geometry: dict[str, Any]
    """GeoJSON geometry."""
    class_value: int
    origin: str = "drawn"
    note: str = ""
    width_m: float | None = None
    """Full width of a line, diameter of a point, in metres; None when it has none of its own, and for areas."""
    review: str = ""
    """"done" or "doubtful" when somebody looked at it again and said so."""


@dataclass(frozen=True)
class Operation:
    """One edit. `label` is None exactly when `kind` is "delete"."""

    operation_id: str
    kind: Literal["upsert", "delete"]
    object_id: str
    label: Label | None = None
    made_from: int | str | None = None
    """The version of the object that was edited: its revision (0: none was seen), or the id of the operation before, when that
    has not been answered yet. None: whatever is there is replaced.
    """
    author: str = ""
    """Who, as far as they said."""
    tool: str = ""

    def __post_init__(self) -> None:
        if (self.label is None) != (self.kind == "delete"):
            raise ValueError("An upsert needs a label, a delete has none.")


ConflictKind = Literal["merged", "copied", "revived", "kept"]


@dataclass(frozen=True)
class Conflict:
    """An operation on an object that was changed elsewhere since the version that it was made from, or that follows such a one."""

    operation_id: str
    object_id: str
    kind: ConflictKind
    """"merged": other fields were changed elsewhere, the object has both changes. "copied": the object is as it was changed elsewhere, and a second one holds this edit. "revived": it was deleted elsewhere
    and is there again, edited. "kept": it should have been deleted, and is there as it was changed elsewhere.
    """
    kept_as: str
    """Object that holds what the operation says; later operations that follow this one go to it."""


@dataclass(frozen=True)
class Edit:
    """One line of the history of an object."""

    revision: int
    time: str
    author: str
    tool: str
    conflict: str
    label: Label | None
    """None: deleted."""


@dataclass(frozen=True)
class Version:
    """A named state, and what has become of it since."""

    version_id: int
    name: str
    revision: int
    time: str
    author: str
    counts: dict[int, int]
    """Labels per class value, then."""
    made: int
    changed: int
    deleted: int


@dataclass(frozen=True)
class Difference:
    """An object that is not as it was in a version."""

    object_id: str
    now: dict[str, Any] | None
    """GeoJSON feature, as in `Changes`; None: not there."""
    then: Label | None


@dataclass(frozen=True)
class Appended:
    """The journal after a batch."""

    base: int
    """Revision before the batch."""
    revision: int
    """Revision after it."""
    acknowledged: tuple[str, ...]
    """Operation ids that are on disk now, whether they were new or already there."""
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True)
class Changes:
    """Labels as GeoJSON features: all of them, or those changed since a revision."""

    revision: int
    features: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    """Object ids that are gone; only filled when changes since a revision were asked for."""


class LabelJournal:
    """One journal file; safe to use from several threads, and beside other processes.

    Raises (all methods):
        ProjectDamagedError: the file is not a journal.
        DiskFullError: nothing was written.
        WorkspaceError: the file is locked for long, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def id(self) -> str:
        """Made once with the file: tells the labels of two installations or projects apart."""
        with self._reading() as connection:
            return str(connection.execute("SELECT value FROM about WHERE key = 'id'").fetchone()[0])

    def revision(self) -> int:
        """Number of the last operation; 0 when there is none."""
        with self._reading() as connection:
            return _revision(connection)

    def append(self, operations: Iterable[Operation], *, now: dt.datetime | None = None) -> Appended:
        """Write a batch in one transaction; when this returns, it is on disk.

        Args:
            operations: In order. One whose operation id is already in the journal is acknowledged and changes nothing.
            now: Time written beside each; the present when None.
        """
        batch = list(operations)
        time = (now or dt.datetime.now(dt.UTC)).isoformat(timespec="milliseconds")
        with self._writing() as connection:
            base = _revision(connection)
            conflicts = [found for operation in batch if (found := _append_one(connection, operation, time))]
            revision = _revision(connection)
        return Appended(base, revision, tuple(operation.operation_id for operation in batch), tuple(conflicts))

    def changes(self, since: int | None = None) -> Changes:
        """All labels (oldest first), or what has changed after revision `since`.

        Each feature has `id` (object id) and the properties class_value, origin, note, width_m, review, created, changed (UTC,
        ISO 8601), revision. Labels written before widths or review marks were kept may lack width_m or review: they have none.
        """
        with self._reading() as connection:
            revision, features, deleted = _changes(connection, since)
        return Changes(revision, json.loads(f"[{','.join(features)}]"), deleted)

    def changes_as_json(self, since: int | None = None) -> tuple[int, str, list[str]]:
        """`changes`, its features as the JSON text of an array: quicker, where they are only handed on."""
        with self._reading() as connection:
            revision, features, deleted = _changes(connection, since)
        return revision, f"[{','.join(features)}]", deleted

    def features(self, object_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of the objects that are there."""
        with self._reading() as connection:
            query = "SELECT feature FROM objects WHERE object_id = ?"
            rows = [(object_id, connection.execute(query, (object_id,)).fetchone()) for object_id in object_ids]
        return {object_id: json.loads(row[0]) for object_id, row in rows if row}

    def history(self, object_id: str) -> list[Edit]:
        """What was done to an object, oldest first."""
        query = (
            "SELECT revision, time, COALESCE(author, ''), COALESCE(tool, ''), COALESCE(conflict, ''), label"
            " FROM operations WHERE object_id = ? ORDER BY revision"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (object_id,)).fetchall()
        return [Edit(revision, time, author, tool, conflict, _label(label)) for revision, time, author, tool, conflict, label in rows]

    def name_version(self, name: str, author: str = "", *, now: dt.datetime | None = None) -> int:
        """Give the labels as they are a name; returns the id of the version."""
        time = (now or dt.datetime.now(dt.UTC)).isoformat(timespec="milliseconds")
        with self._writing() as connection:
            added = connection.execute(
                "INSERT INTO versions (name, revision, time, author, counts) VALUES (?, ?, ?, ?, ?)",
                (name, _revision(connection), time, author, json.dumps(_counts(connection))),
            )
            return int(added.lastrowid or 0)

    def rename_version(self, version_id: int, name: str) -> bool:
        """Give a version another name; False when there is no such version."""
        with self._writing() as connection:
            return connection.execute("UPDATE versions SET name = ? WHERE version_id = ?", (name, version_id)).rowcount > 0

    def delete_version(self, version_id: int) -> bool:
        """Forget the name of a state; the labels and their record stay. False when there is no such version."""
        with self._writing() as connection:
            return connection.execute("DELETE FROM versions WHERE version_id = ?", (version_id,)).rowcount > 0

    def versions(self) -> list[Version]:
        """The named versions, newest first, each compared with the labels as they are."""
        query = "SELECT version_id, name, revision, time, author, counts FROM versions ORDER BY version_id DESC"
        with self._reading() as connection:
            rows = connection.execute(query).fetchall()
            compared = [connection.execute(_COMPARED, (row[2],)).fetchone() for row in rows]
        return [
            Version(version_id, name, revision, time, author, {int(value): n for value, n in json.loads(counts).items()}, *since)
            for (version_id, name, revision, time, author, counts), since in zip(rows, compared, strict=True)
        ]

    def differences(self, version_id: int) -> list[Difference] | None:
        """What is not as it was in a version; None when there is no such version."""
        with self._reading() as connection:
            version = connection.execute("SELECT revision FROM versions WHERE version_id = ?", (version_id,)).fetchone()
            if version is None:
                return None
            rows = connection.execute(_DIFFERENT, version).fetchall()
        return [Difference(name, json.loads(now) if now else None, _label(then)) for name, now, then in rows]

    def counts(self) -> dict[int, int]:
        """Labels per class value."""
        with self._reading() as connection:
            return _counts(connection)

    def last_changed(self) -> float:
        """Unix time of the last operation; 0 when there is none."""
        with self._reading() as connection:
            row = connection.execute("SELECT time FROM operations ORDER BY revision DESC LIMIT 1").fetchone()
        return dt.datetime.fromisoformat(row[0]).timestamp() if row else 0.0

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self.path, FULL_ON_READING):
            connection = self._open()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self.path, FULL_ON_WRITING):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        """The open connection; a new one when there is none or the file was replaced (a backup put back)."""
        if self._connection is not None and self.path.exists() and self.path.stat().st_ino == self._inode:
            return self._connection
        self.close()
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=FULL")
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode = connection, self.path.stat().st_ino
        return connection


@lru_cache(maxsize=64)
def open_journal(path: Path) -> LabelJournal:
    """The journal at `path`, shared by everything in this process that uses it."""
    return LabelJournal(path)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL. SQLite waits for other connections everywhere but here, where two may meet that open it first."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _statements(_SCHEMA):
        connection.execute(statement)
    there = {row[1] for row in connection.execute("PRAGMA table_info(operations)")}
    for name, kind in _LATER.items():
        if name not in there:
            connection.execute(f"ALTER TABLE operations ADD COLUMN {name} {kind}")
    connection.execute("INSERT OR IGNORE INTO about VALUES ('format_version', ?)", (FORMAT_VERSION,))
    connection.execute("INSERT OR IGNORE INTO about VALUES ('id', ?)", (uuid.uuid4().hex,))
    if connection.execute("SELECT sql FROM sqlite_master WHERE name = 'objects'").fetchone() != (_OBJECTS,):
        connection.execute("DROP TABLE IF EXISTS objects")
        connection.execute(_OBJECTS)
        _replay(connection)
    connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the running transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _replay(connection: sqlite3.Connection) -> None:
    """Make the state from the record."""
    query = "SELECT revision, kind, object_id, label, time FROM operations ORDER BY revision"
    for revision, kind, object_id, label, written in connection.execute(query).fetchall():
        _apply(connection, revision, object_id, Label(**json.loads(label)) if kind == "upsert" else None, written)


def _append_one(connection: sqlite3.Connection, operation: Operation, time: str) -> Conflict | None:
    query = "SELECT object_id, conflict FROM operations WHERE operation_id = ?"
    if known := connection.execute(query, (operation.operation_id,)).fetchone():
        kept_as, conflict = known
        return Conflict(operation.operation_id, operation.object_id, conflict, kept_as) if conflict else None
    settled, made_from, conflict = _settled(connection, operation)
    sent = None if settled.label == operation.label else _text(operation.label)
    added = connection.execute(
        "INSERT INTO operations (operation_id, kind, object_id, label, time, made_from, author, tool, conflict, sent)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            settled.operation_id,
            settled.kind,
            settled.object_id,
            _text(settled.label),
            time,
            made_from,
            settled.author,
            settled.tool,
            conflict,
            sent,
        ),
    )
    _apply(connection, int(added.lastrowid or 0), settled.object_id, settled.label, time)
    return Conflict(operation.operation_id, operation.object_id, conflict, settled.object_id) if conflict else None


def _settled(connection: sqlite3.Connection, operation: Operation) -> tuple[Operation, int | None, ConflictKind | None]:
    """The operation as it is carried out, the revision that it was made from, and the conflict it met."""
    seen = _seen(connection, operation)
    if seen is None:
        return operation, None, None
    last = connection.execute(_LAST, (seen.object_id, _ALL)).fetchone()
    revision, there = (last[0], _label(last[1])) if last else (0, None)
    mine = operation.label
    own: ConflictKind | None = "copied" if seen.object_id != operation.object_id else None  # it follows one that became a second object
    if mine == there or (there is None and (revision <= seen.revision or not seen.revision)):
        return replace(operation, object_id=seen.object_id), seen.revision, own
    if mine is None:
        if revision <= seen.revision or there == seen.label:
            return replace(operation, object_id=seen.object_id), seen.revision, own
        # recorded as the edit that leaves everything as it is
        return replace(operation, kind="upsert", object_id=seen.object_id, label=there), seen.revision, "kept"
    if there is None:
        return replace(operation, object_id=seen.object_id, label=_noted(mine, BACK)), seen.revision, "revived"
    merged = None if seen.label is None else merged_by_field(seen.label, mine, there)
    if merged is None:
        return replace(operation, object_id=uuid.uuid4().hex, label=_noted(mine, NEWER)), seen.revision, "copied"
    return replace(operation, object_id=seen.object_id, label=merged), seen.revision, own or (None if merged == mine else "merged")


@dataclass(frozen=True)
class _Seen:
    """What an operation was made from."""

    object_id: str
    """Where it goes: the second object, when it follows an operation that made one."""
    revision: int
    label: Label | None
    """As whoever made the operation believed the object to be."""


_ALL = 2**62
_LAST = "SELECT revision, label FROM operations WHERE object_id = ? AND revision <= ? ORDER BY revision DESC LIMIT 1"


def _seen(connection: sqlite3.Connection, operation: Operation) -> _Seen | None:
    """What the operation was made from; None when it does not say and replaces whatever is there."""
    made_from, object_id = operation.made_from, operation.object_id
    if made_from is None:
        return None
    if isinstance(made_from, int):
        return _Seen(object_id, made_from, _label_at(connection, object_id, made_from))
    query = "SELECT revision, object_id, made_from, conflict, label, sent FROM operations WHERE operation_id = ?"
    before = connection.execute(query, (made_from,)).fetchone()
    if before is None or (before[1] != object_id and before[3] != "copied"):
        return _Seen(object_id, 0, None)
    revision, goes_to, from_revision, conflict, label, sent = before
    if conflict == "kept":  # a delete that was not carried out: taking it back asks for what was there before it
        return _Seen(goes_to, from_revision, _label_at(connection, goes_to, from_revision))
    return _Seen(goes_to, revision, _label(sent or label))


def _label_at(connection: sqlite3.Connection, object_id: str, revision: int) -> Label | None:
    found = connection.execute(_LAST, (object_id, revision)).fetchone()
    return _label(found[1]) if found else None


def merged_by_field(before: Label, mine: Label, theirs: Label) -> Label | None:
    """Both changes of `before` in one label; None where they give one field two values."""
    values = {}
    for name, old in vars(before).items():
        one, other = vars(mine)[name], vars(theirs)[name]
        if name == "note":  # the journal's own remarks are nobody's change
            old, one, other = (_without_remarks(note) for note in (old, one, other))
        if one != other and one != old and other != old:
            return None
        values[name] = other if one == old else one
    merged = Label(**values)
    for remark in _REMARKS:
        if remark in theirs.note or remark in mine.note:
            merged = _noted(merged, remark)
    return merged


def _without_remarks(note: str) -> str:
    for remark in _REMARKS:
        note = note.replace(remark, "")
    return " ".join(note.split()) if note else note


def _noted(label: Label, remark: str) -> Label:
    return label if remark in label.note else replace(label, note=f"{label.note} {remark}".strip())


def _text(label: Label | None) -> str | None:
    return None if label is None else json.dumps(vars(label), separators=(",", ":"), allow_nan=False)


def _label(text: str | None) -> Label | None:
    return Label(**json.loads(text)) if text else None


def _apply(connection: sqlite3.Connection, revision: int, object_id: str, label: Label | None, time: str) -> None:
    if label is None:
        connection.execute("DELETE FROM objects WHERE object_id = ?", (object_id,))
        return
    query = "SELECT revision, time FROM operations WHERE object_id = ? ORDER BY revision LIMIT 1"
    made, created = connection.execute(query, (object_id,)).fetchone()
    about = {name: value for name, value in vars(label).items() if name != "geometry"}
    feature = {
        "type": "Feature",
        "id": object_id,
        "geometry": label.geometry,
        "properties": {**about, "created": created, "changed": time, "revision": revision},
    }
    connection.execute(
        "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
        (object_id, label.class_value, made, json.dumps(feature, separators=(",", ":"), allow_nan=False)),
    )


def _changes(connection: sqlite3.Connection, since: int | None) -> tuple[int, list[str], list[str]]:
    """The revision, the features that changed after `since` as JSON, and the ids of objects that are gone."""
    revision = _revision(connection)
    if since is None or since > revision:
        return revision, [row[0] for row in connection.execute("SELECT feature FROM objects ORDER BY made")], []
    touched = connection.execute(
        "SELECT DISTINCT operations.object_id, feature FROM operations LEFT JOIN objects USING (object_id)"
        " WHERE operations.revision > ? ORDER BY made",
        (since,),
    ).fetchall()
    return revision, [feature for _, feature in touched if feature], [object_id for object_id, feature in touched if not feature]


_THEN_AND_NOW = """
WITH touched AS (SELECT DISTINCT object_id FROM operations WHERE revision > ?1),
pairs AS (
    SELECT object_id,
        (SELECT label FROM operations o WHERE o.object_id = t.object_id AND revision <= ?1 ORDER BY revision DESC LIMIT 1) AS then_,
        (SELECT label FROM operations o WHERE o.object_id = t.object_id ORDER BY revision DESC LIMIT 1) AS now_
    FROM touched t
)
"""
"""Labels, NULL where not there, of the objects touched after a revision."""
_COMPARED = (
    _THEN_AND_NOW + "SELECT COUNT(CASE WHEN then_ IS NULL AND now_ IS NOT NULL THEN 1 END),"
    " COUNT(CASE WHEN then_ != now_ THEN 1 END), COUNT(CASE WHEN then_ IS NOT NULL AND now_ IS NULL THEN 1 END) FROM pairs"
)
_DIFFERENT = _THEN_AND_NOW + (
    "SELECT object_id, feature, then_ FROM pairs LEFT JOIN objects USING (object_id) WHERE then_ IS NOT now_ ORDER BY made"
)


def _counts(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT class_value, COUNT(*) FROM objects GROUP BY class_value").fetchall())


def _revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COALESCE(MAX(revision), 0) FROM operations").fetchone()[0])


FULL_ON_READING = DiskFullError("The disk is full: the labels cannot be opened.", "Free some space and reload the page; nothing is lost.")
FULL_ON_WRITING = DiskFullError("The disk is full: the last edits are not saved.", "Free some space; the edits are sent again.")


@contextlib.contextmanager
def _explained(path: Path, full: DiskFullError) -> Iterator[None]:
    """Turn what SQLite says into what a person can act on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise DiskFullError(full.fact, full.remedy) from error
        if "locked" in said or "busy" in said:
            raise WorkspaceError("The labels are in use by another process.", "Try again in a moment.") from error
        raise WorkspaceError(
            f"The label journal {path.name} cannot be opened ({said}).", "Check the rights on the project folder."
        ) from error
    except sqlite3.DatabaseError as error:
        raise ProjectDamagedError(
            f"The label journal {path.name} is damaged ({error}).",
            "Restore it from a backup; labels.gpkg beside it holds the labels as they were last written and can be imported.",
        ) from error
