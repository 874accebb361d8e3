"""kill -9 in the middle of edits, again and again: `python -m tests.server.kill_labels FOLDER KILLS`.

A child process takes edits through the real route and says what was acknowledged; it is killed at a random moment and another goes on. In a
process of its own: a child forked from a test run, with the threads that earlier tests left, could wait for a lock that nobody holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from labeling.journal import LabelJournal
from server import labels
from server.tokens import issue_token
from workspace.project import create_project
from workspace.settings import Settings, settings_from_environment

OBJECTS = 12


def batch(name: str, number: int) -> list[dict[str, Any]]:
    """A new label, and a change or a delete of ones that are there; after the batch `number` all it touched say so."""
    point = {"type": "Point", "coordinates": [-116.5, 33.8]}

    def upsert(i: int, object_id: str) -> dict[str, Any]:
        feature = {"type": "Feature", "geometry": point, "properties": {"class_value": 1, "note": f"{name}.{number}"}}
        return {"operation_id": f"{name}.{number}.{i}", "kind": "upsert", "object_id": object_id, "feature": feature, "author": "Ada"}

    other = number % OBJECTS
    return [
        upsert(0, f"{name}.{number}"),
        upsert(1, f"shared-{other}"),
        {"operation_id": f"{name}.{number}.2", "kind": "delete", "object_id": f"shared-{(other + 5) % OBJECTS}"},
    ]


def serve(settings: Settings, project_id: str, name: str, said: int) -> None:
    """What the child does until it is killed."""
    client = TestClient(Starlette(routes=labels.routes(settings)))
    address = f"/api/{issue_token(settings.data_folder, project_id)}/operations"
    for number in range(10_000):
        sent = batch(name, number)
        os.write(said, f"{json.dumps(['sent', *(one['operation_id'] for one in sent)])}\n".encode())
        answer = client.post(address, json={"operations": sent})
        assert answer.status_code == 200, answer.text
        os.write(said, f"{json.dumps(['stored', *answer.json()['acknowledged']])}\n".encode())


@contextlib.contextmanager
def child(settings: Settings, project_id: str, name: str) -> Iterator[tuple[int, Any]]:
    """A process that takes edits, and what it says; killed at the end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            labels.schedule_geopackage = lambda _: None  # type: ignore[assignment] # labels.gpkg follows from the journal
            serve(settings, project_id, name, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        try:
            yield pid, said
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main(folder: Path, kills: int) -> None:
    """Ends with an AssertionError where an acknowledged operation is lost, a batch is half there, or the labels do not open."""
    settings = settings_from_environment({"TERRATUNE_DATA": str(folder)})
    project = create_project(settings.projects_folder, "Killed")
    dice = random.Random(7)
    batches: list[list[str]] = []
    acknowledged: set[str] = set()
    for kill in range(kills):
        with child(settings, project.id, f"{kill}") as (pid, said):
            heard = [said.readline() for _ in range(1 + 2 * dice.randint(1, 3))]
            time.sleep(dice.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            lines = [json.loads(line) for line in (b"".join(heard) + said.read()).decode().splitlines() if line.endswith("]")]
        batches += [ids for what, *ids in lines if what == "sent"]
        acknowledged |= {one for what, *ids in lines if what == "stored" for one in ids}
        journal = LabelJournal(project.journal_file)  # opens, whatever it was in the middle of
        assert journal.revision() >= len(acknowledged)
        journal.close()
    assert len(acknowledged) >= 3 * kills
    check(project.journal_file, batches, acknowledged)


def check(journal_file: Path, batches: list[list[str]], acknowledged: set[str]) -> None:
    connection = sqlite3.connect(journal_file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = connection.execute("SELECT operation_id, object_id, label FROM operations ORDER BY revision").fetchall()
    kept = dict(connection.execute("SELECT object_id, feature FROM objects").fetchall())
    connection.execute("DROP TABLE objects")
    connection.close()
    stored = [operation_id for operation_id, *_ in rows]
    assert acknowledged <= set(stored)
    for ids in batches:  # all of an unacknowledged batch, or nothing
        assert len(set(ids) & set(stored)) in {0, len(ids)}
    assert set(stored) <= {one for ids in batches for one in ids}
    assert {f["id"]: f for f in LabelJournal(journal_file).changes().features} == {name: json.loads(text) for name, text in kept.items()}
    assert {object_id for _, object_id, label in rows if label} >= set(kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
