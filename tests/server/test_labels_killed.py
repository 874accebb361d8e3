"""kill -9 in the middle of edits: nothing acknowledged is lost, nothing is half there, the labels always open.

A child process takes edits through the real route and says what was acknowledged; it is killed at a random moment and another
goes on. `TERRATUNE_KILLS=1000` kills it more often.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from labeling.journal import LabelJournal
from server import labels
from server.tokens import issue_token
from workspace.project import create_project
from workspace.settings import Settings, settings_from_environment

KILLS = int(os.environ.get("TERRATUNE_KILLS", "100"))
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


def serve(settings: Settings, project_id: str, name: str, said: Connection) -> None:
    """What the child does until it is killed."""
    labels.schedule_geopackage = lambda _: None  # type: ignore[assignment] # labels.gpkg follows from the journal
    client = TestClient(Starlette(routes=labels.routes(settings)))
    address = f"/api/{issue_token(settings.data_folder, project_id)}/operations"
    for number in range(10_000):
        sent = batch(name, number)
        said.send(["sent", *(one["operation_id"] for one in sent)])
        answer = client.post(address, json={"operations": sent})
        assert answer.status_code == 200, answer.text
        said.send(["stored", *answer.json()["acknowledged"]])


@contextlib.contextmanager
def child(settings: Settings, project_id: str, name: str) -> Iterator[tuple[Any, Connection]]:
    """A process that takes edits, and what it says; killed at the end.

    A process with no threads forks it: forked from this one, with the threads of earlier tests, it could wait for a lock nobody holds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    said, saying = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(settings, project_id, name, saying), daemon=True)
    process.start()
    saying.close()
    try:
        yield process, said
    finally:
        process.kill()
        process.join()
        said.close()


def heard(said: Connection, least: int) -> list[list[str]]:
    """The next messages, `least` or fewer when the child is gone; a message half sent is left out."""
    messages: list[list[str]] = []
    with contextlib.suppress(EOFError, OSError):  # the end between two messages, the end within one
        while len(messages) < least:
            assert said.poll(60), "the child says nothing"
            messages.append(said.recv())
    return messages


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path):
    settings = settings_from_environment({"TERRATUNE_DATA": str(tmp_path)})
    project = create_project(settings.projects_folder, "Killed")
    dice = random.Random(7)
    batches: list[list[str]] = []
    acknowledged: set[str] = set()
    for kill in range(KILLS):
        with child(settings, project.id, f"{kill}") as (process, said):
            lines = heard(said, 1 + 2 * dice.randint(1, 3))
            time.sleep(dice.uniform(0, 0.02))
            process.kill()
            lines += heard(said, 10_000)
        batches += [ids for what, *ids in lines if what == "sent"]
        acknowledged |= {one for what, *ids in lines if what == "stored" for one in ids}
        journal = LabelJournal(project.journal_file)  # opens, whatever it was in the middle of
        assert journal.revision() >= len(acknowledged)
        journal.close()
    assert len(acknowledged) >= 3 * KILLS
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
