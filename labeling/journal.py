"""The journal of a project's labels: every edit, append-only, on disk before it is acknowledged.

    labels.journal (SQLite, WAL, synchronous=FULL)
        operations   the record: one row an edit, never changed (triggers refuse it); its row id is the revision
        objects      the state those rows add up to, kept in the same transaction; made again from the record when
                     missing or of another form
        about        format version and the id of this journal

The browser names each operation; sending one twice changes nothing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from errors import DiskFullError, ProjectDamagedError, WorkspaceError

FORMAT_VERSION = "1"
BUSY_S = 15.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS operations (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('upsert', 'delete')),
    object_id TEXT NOT NULL,
    label TEXT,
    time TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS operations_of_object ON operations (object_id);
CREATE TRIGGER IF NOT EXISTS operations_stay BEFORE UPDATE ON operations BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS operations_last BEFORE DELETE ON operations BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""
_OBJECTS = (
    "CREATE TABLE objects (object_id TEXT PRIMARY KEY, class_value INTEGER NOT NULL, made INTEGER NOT NULL, feature TEXT NOT NULL) STRICT"
)
"""`made` is the revision that made the object: the order of labels."""


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

    def __post_init__(self) -> None:
        if (self.label is None) != (self.kind == "delete"):
            raise ValueError("An upsert needs a label, a delete has none.")


@dataclass(frozen=True)
class Appended:
    """The journal after a batch."""

    base: int
    """Revision before the batch."""
    revision: int
    """Revision after it."""
    acknowledged: tuple[str, ...]
    """Operation ids that are on disk now, whether they were new or already there."""


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
            for operation in batch:
                _append_one(connection, operation, time)
            revision = _revision(connection)
        return Appended(base, revision, tuple(operation.operation_id for operation in batch))

    def changes(self, since: int | None = None) -> Changes:
        """All labels (oldest first), or what has changed after revision `since`.

        Each feature has `id` (object id) and the properties class_value, origin, note, width_m, review, created, changed (UTC,
        ISO 8601), revision. Labels written before widths or review marks were kept may lack width_m or review: they have none.
        """
        with self._reading() as connection:
            revision = _revision(connection)
            if since is None or since > revision:
                rows = connection.execute("SELECT feature FROM objects ORDER BY made").fetchall()
                return Changes(revision, [json.loads(row[0]) for row in rows])
            touched = connection.execute(
                "SELECT DISTINCT operations.object_id, feature FROM operations LEFT JOIN objects USING (object_id)"
                " WHERE operations.revision > ? ORDER BY made",
                (since,),
            ).fetchall()
        return Changes(
            revision,
            [json.loads(feature) for _, feature in touched if feature],
            [object_id for object_id, feature in touched if not feature],
        )

    def counts(self) -> dict[int, int]:
        """Labels per class value."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT class_value, COUNT(*) FROM objects GROUP BY class_value").fetchall())

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
        with self._lock, _explained(self.path):
            connection = self._open()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self.path):
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
            connection.execute("PRAGMA journal_mode=WAL")
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


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _statements(_SCHEMA):
        connection.execute(statement)
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
    for revision, kind, object_id, label, time in connection.execute(query).fetchall():
        _apply(connection, revision, object_id, Label(**json.loads(label)) if kind == "upsert" else None, time)


def _append_one(connection: sqlite3.Connection, operation: Operation, time: str) -> None:
    label = None if operation.label is None else json.dumps(vars(operation.label), separators=(",", ":"), allow_nan=False)
    added = connection.execute(
        "INSERT INTO operations (operation_id, kind, object_id, label, time) VALUES (?, ?, ?, ?, ?) ON CONFLICT (operation_id) DO NOTHING",
        (operation.operation_id, operation.kind, operation.object_id, label, time),
    )
    if added.rowcount == 1:
        _apply(connection, int(added.lastrowid or 0), operation.object_id, operation.label, time)


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


def _revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COALESCE(MAX(revision), 0) FROM operations").fetchone()[0])


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a person can act on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise DiskFullError("The disk is full: the last edits are not saved.", "Free some space; the edits are sent again.") from error
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
