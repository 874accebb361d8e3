from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from labeling.journal import Label, LabelJournal, Operation, open_journal
from server import versions
from server.tokens import issue_token
from workspace.project import create_project
from workspace.settings import settings_from_environment

POINT = {"type": "Point", "coordinates": [-116.5, 33.8]}
ELSEWHERE = {"type": "Point", "coordinates": [-116.6, 33.8]}


class Served:
    def __init__(self, folder: Path) -> None:
        settings = settings_from_environment({"TERRATUNE_DATA": str(folder)})
        project = create_project(settings.projects_folder, "Roads")
        self.journal: LabelJournal = open_journal(project.journal_file)
        self.http = TestClient(Starlette(routes=versions.routes(settings)))
        self.base = f"/api/{issue_token(settings.data_folder, project.id)}"

    def get(self, route: str) -> Any:
        return self.http.get(f"{self.base}/{route}")

    def name(self, name: Any, author: str = "") -> Any:
        return self.http.post(f"{self.base}/versions", json={"name": name, "author": author})


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def put(name: str, object_id: str, label: Label | None, author: str = "", tool: str = "") -> Operation:
    return Operation(name, "upsert" if label else "delete", object_id, label, None, author, tool)


def test_a_version_is_named_listed_and_what_would_change_is_told(served: Served):
    served.journal.append([put("1", "a", Label(POINT, 1)), put("2", "b", Label(POINT, 2))])
    named = served.name("  before the   field trip ", "Ada")
    assert named.status_code == 200
    served.journal.append([put("3", "a", None), put("4", "b", Label(ELSEWHERE, 2)), put("5", "c", Label(POINT, 2))])
    found = served.get("versions").json()
    assert found["counts"] == {"2": 2}
    (version,) = found["versions"]
    assert (version["name"], version["author"], version["counts"]) == ("before the field trip", "Ada", {"1": 1, "2": 1})
    assert (version["made"], version["changed"], version["deleted"]) == (1, 1, 1)
    changes = {one["id"]: one for one in served.get(f"versions/{version['version_id']}/changes").json()["changes"]}
    assert changes["a"]["before"] is None
    assert changes["a"]["after"]["properties"]["class_value"] == 1
    assert (changes["b"]["before"]["geometry"], changes["b"]["after"]["geometry"]) == (ELSEWHERE, POINT)
    assert changes["c"]["after"] is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, None])
def test_a_version_needs_a_name(served: Served, name: Any):
    refused = served.name(name)
    assert refused.status_code == 422
    assert refused.json()["remedy"]


def test_a_version_is_renamed_and_deleted(served: Served):
    served.journal.append([put("1", "a", Label(POINT, 1))])
    (version,) = served.name("first").json()["versions"]
    route = f"{served.base}/versions/{version['version_id']}"
    assert served.http.put(route, json={"name": " "}).status_code == 422
    assert [one["name"] for one in served.http.put(route, json={"name": "dry  season"}).json()["versions"]] == ["dry season"]
    assert served.http.delete(route).json() == {"counts": {"1": 1}, "versions": []}
    assert served.http.delete(route).status_code == served.http.put(route, json={"name": "x"}).status_code == 422
    assert served.http.delete("/api/nobody/versions/1").status_code == 403


def test_a_version_that_is_not_there_is_explained(served: Served):
    assert served.get("versions/7/changes").status_code == 422
    assert served.http.get("/api/nobody/versions").status_code == 403
    assert served.http.post(f"{served.base}/versions", content=b"[").status_code == 400


def test_the_history_of_a_label_says_what_each_edit_changed(served: Served):
    served.journal.append(
        [
            put("1", "a", Label(POINT, 1), "Ada", "point"),
            put("2", "a", Label(ELSEWHERE, 2), "Grace", "move"),
            put("3", "a", None, "Ada", "delete"),
            put("4", "a", Label(ELSEWHERE, 2, review="done"), "Ada", "undo"),
            put("5", "a", Label(ELSEWHERE, 2), "Ada", "mark"),
        ]
    )
    edits = served.get("labels/a/history").json()["edits"]
    assert [(one["author"], one["tool"], one["what"]) for one in edits] == [
        ("Ada", "mark", ["review"]),
        ("Ada", "undo", ["made"]),
        ("Ada", "delete", ["deleted"]),
        ("Grace", "move", ["geometry", "class_value"]),
        ("Ada", "point", ["made"]),
    ]
    assert served.get("labels/nobody/history").json() == {"edits": []}
