from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from errors import DiskFullError
from labeling.label_set import read_geopackage
from server import labels
from server.tokens import issue_token
from workspace.project import Project, create_project
from workspace.settings import Settings, settings_from_environment

LINE = {"type": "LineString", "coordinates": [[-116.5, 33.8], [-116.51, 33.81]]}
BOW_TIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_from_environment({"TERRATUNE_DATA": str(tmp_path)})


@pytest.fixture
def project(settings: Settings) -> Project:
    return create_project(settings.projects_folder, "Roads")


class Client:
    """The routes, as a browser sees them with one token."""

    def __init__(self, settings: Settings, project: Project) -> None:
        self.http = TestClient(Starlette(routes=labels.routes(settings)))
        self.base = f"/api/{issue_token(settings.data_folder, project.id)}"

    def post(self, *operations: Any, **body: Any):
        return self.http.post(f"{self.base}/operations", json={"operations": list(operations)} | body)

    def get(self, query: str = "", **headers: str):
        return self.http.get(f"{self.base}/labels{query}", headers=headers)


@pytest.fixture
def client(settings: Settings, project: Project) -> Client:
    return Client(settings, project)


def upsert(object_id: str, geometry: Any = LINE, class_value: Any = 2, operation_id: str | None = None) -> dict[str, Any]:
    feature = {"type": "Feature", "geometry": geometry, "properties": {"class_value": class_value, "origin": "drawn", "note": ""}}
    return {"operation_id": operation_id or uuid.uuid4().hex, "kind": "upsert", "object_id": object_id, "feature": feature}


def test_an_edit_is_acknowledged_and_then_there(client: Client):
    operation = upsert("a")
    answer = client.post(operation)
    assert answer.status_code == 200
    assert answer.json() == {"base": 0, "revision": 1, "acknowledged": [operation["operation_id"]], "repaired": []}
    there = client.get().json()
    assert [(f["id"], f["geometry"], f["properties"]["class_value"]) for f in there["features"]] == [("a", LINE, 2)]


def test_a_width_goes_to_the_journal_and_back(client: Client, project: Project):
    wide, area = upsert("a"), upsert("b", {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]})
    for operation in (wide, area):
        operation["feature"]["properties"]["width_m"] = 4
    too_wide = upsert("c")
    too_wide["feature"]["properties"]["width_m"] = 500
    answer = client.post(wide, area, too_wide)
    assert answer.status_code == 422
    assert "200" in answer.json()["remedy"]
    assert {f["id"]: f["properties"]["width_m"] for f in client.get().json()["features"]} == {"a": 4.0, "b": None}
    labels.write_geopackage_now(project)
    assert read_geopackage(project.labels_file)["width_m"].fillna(0).tolist() == [4.0, 0.0]


def test_sending_again_is_acknowledged_and_changes_nothing(client: Client):
    operation = upsert("a")
    client.post(operation)
    client.post({"operation_id": "gone", "kind": "delete", "object_id": "a"})
    again = client.post(operation).json()
    assert again["acknowledged"] == [operation["operation_id"]]
    assert again["base"] == again["revision"] == 2
    assert client.get().json()["features"] == []


def test_a_bad_operation_does_not_hold_up_the_others(client: Client):
    good, bad, strange = upsert("a"), upsert("b", class_value=99), upsert("c", geometry={"type": "Point", "coordinates": [999, 0]})
    answer = client.post(good, bad, strange, 7)
    assert answer.status_code == 422
    body = answer.json()
    assert body["acknowledged"] == [good["operation_id"]]
    assert [one["operation_id"] for one in body["rejected"]] == [bad["operation_id"], strange["operation_id"], "None"]
    assert "99" in body["fact"] and body["remedy"]
    assert [f["id"] for f in client.get().json()["features"]] == ["a"]


def test_a_repaired_shape_is_sent_back(client: Client):
    answer = client.post(upsert("a", BOW_TIE), upsert("b")).json()
    assert [one["object_id"] for one in answer["repaired"]] == ["a"]
    stored = {f["id"]: f["geometry"] for f in client.get().json()["features"]}
    assert answer["repaired"][0]["geometry"] == stored["a"]
    assert stored["a"]["type"] == "MultiPolygon"


def test_a_second_tab_asks_for_changes_cheaply(client: Client):
    client.post(upsert("a"), upsert("b"))
    first = client.get()
    etag, revision = first.headers["etag"], first.json()["revision"]
    unchanged = client.get(f"?since={revision}", **{"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    client.post({"operation_id": "x", "kind": "delete", "object_id": "a"}, upsert("b", class_value=1))
    changed = client.get(f"?since={revision}", **{"If-None-Match": etag})
    assert changed.status_code == 200
    assert [f["id"] for f in changed.json()["features"]] == ["b"]
    assert changed.json()["deleted"] == ["a"]


def test_edits_of_other_labels_are_not_mixed_in(client: Client):
    journal = client.get().json()["journal"]
    assert client.post(upsert("a"), journal=journal).status_code == 200
    refused = client.post(upsert("b"), journal="another")
    assert refused.status_code == 409
    assert refused.json()["remedy"]


@pytest.mark.parametrize("token", ["nonsense", "a.b", ""])
def test_a_wrong_token_sees_and_changes_nothing(client: Client, project: Project, token: str):
    for answer in (
        client.http.get(f"/api/{token}/labels"),
        client.http.post(f"/api/{token}/operations", json={"operations": [upsert("a")]}),
    ):
        assert answer.status_code in {403, 404}
    assert not project.journal_file.exists()


def test_a_token_does_not_outlive_its_project(client: Client, project: Project):
    project.folder.rename(project.folder.with_name("elsewhere"))
    answer = client.get()
    assert answer.status_code == 404
    assert answer.json()["remedy"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"operations": 3}', b"[" * 50_000, b"\xff\xfe"])
def test_nonsense_is_refused_with_a_remedy(client: Client, body: bytes):
    answer = client.http.post(f"{client.base}/operations", content=body)
    assert answer.status_code == 400
    assert answer.json()["remedy"]


def test_too_much_at_once_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch):
    many = [{"operation_id": str(i), "kind": "delete", "object_id": "a"} for i in range(labels.MAX_OPERATIONS + 1)]
    assert client.post(*many).status_code == 413
    monkeypatch.setattr(labels, "MAX_BODY_BYTES", 1000)
    assert client.post(*many[:500]).status_code == 413


def test_a_full_disk_is_said_and_nothing_acknowledged(client: Client, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise DiskFullError("The disk is full.", "Free some space.")

    client.get()
    monkeypatch.setattr("labeling.journal.LabelJournal.append", full)
    answer = client.post(upsert("a"))
    assert answer.status_code == 507
    assert answer.json() == {"fact": "The disk is full.", "remedy": "Free some space."}


def test_the_geopackage_follows_within_about_a_second(client: Client, project: Project):
    for i in range(5):
        client.post(upsert(f"{i}"))
    deadline = time.monotonic() + 10
    while not project.labels_file.exists() or len(read_geopackage(project.labels_file)) < 5:
        assert time.monotonic() < deadline, "labels.gpkg was not written"
        time.sleep(0.1)
    assert sorted(read_geopackage(project.labels_file)["object_id"]) == ["0", "1", "2", "3", "4"]


def test_a_geopackage_left_behind_by_a_killed_server_is_written_when_labels_are_looked_at(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
):
    scheduled: list[Project] = []
    monkeypatch.setattr(labels, "schedule_geopackage", scheduled.append)
    client.post(upsert("a"))
    scheduled.clear()
    client.get()
    assert scheduled == [project]
    scheduled.clear()
    labels.write_geopackage_now(project)
    client.get()
    assert scheduled == []


def test_writing_now_is_there_at_once_and_problems_are_kept_for_the_page(client: Client, project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labels, "schedule_geopackage", lambda _: None)
    client.post(upsert("a"))
    labels.write_geopackage_now(project)
    assert len(read_geopackage(project.labels_file)) == 1
    assert labels.geopackage_problem(project) is None

    def full(*_: Any) -> None:
        raise DiskFullError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patched:
        patched.setattr(labels, "write_geopackage", full)
        with pytest.raises(DiskFullError):
            labels.write_geopackage_now(project)
        assert isinstance(labels.geopackage_problem(project), DiskFullError)
    labels.write_geopackage_now(project)
    assert labels.geopackage_problem(project) is None


def test_class_names_and_notes_are_only_ever_data(client: Client):
    note = "<script>alert(1)</script>"
    operation = upsert("a")
    operation["feature"]["properties"]["note"] = note
    client.post(operation)
    answer = client.get()
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["features"][0]["properties"]["note"] == note


def test_a_review_mark_goes_to_the_journal_and_back(client: Client, project: Project):
    marked, strange = upsert("a"), upsert("b")
    marked["feature"]["properties"]["review"] = "doubtful"
    strange["feature"]["properties"]["review"] = "perhaps"
    assert client.post(marked, strange, upsert("c")).status_code == 422
    assert {f["id"]: f["properties"]["review"] for f in client.get().json()["features"]} == {"a": "doubtful", "c": ""}
    labels.write_geopackage_now(project)
    assert read_geopackage(project.labels_file)["review"].tolist() == ["doubtful", ""]


def test_shapes_are_split_without_storing_anything(client: Client):
    areas = [{"id": "a", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}}]
    line = {"type": "LineString", "coordinates": [[1, -1], [1, 3]]}
    answer = client.http.post(f"{client.base}/shapes", json={"tool": "split", "labels": areas, "with": line})
    assert [len(one["geometries"]) for one in answer.json()["changed"]] == [2]
    assert client.get().json()["features"] == []
    beside = {"type": "LineString", "coordinates": [[7, -1], [7, 3]]}
    refused = client.http.post(f"{client.base}/shapes", json={"tool": "split", "labels": areas, "with": beside})
    assert refused.status_code == 422
    assert refused.json()["remedy"]
    assert client.http.post("/api/nobody/shapes", json={"tool": "merge", "labels": areas}).status_code == 403


def delete(object_id: str, **more: Any) -> dict[str, Any]:
    return {"operation_id": uuid.uuid4().hex, "kind": "delete", "object_id": object_id} | more


def test_deleting_many_at_once_is_asked_about(client: Client):
    names = [f"{i}" for i in range(labels.ASK_FROM)]
    client.post(*[upsert(name) for name in names])
    asked = client.post(*[delete(name) for name in names])
    assert asked.status_code == 409
    assert asked.json()["deletes"] == labels.ASK_FROM
    assert asked.json()["remedy"]
    assert len(client.get().json()["features"]) == labels.ASK_FROM
    assert client.post(*[delete(name) for name in names[1:]]).status_code == 200
    client.post(*[upsert(name) for name in names])
    assert client.post(*[delete(name, confirmed=True) for name in names]).status_code == 200
    assert client.get().json()["features"] == []
    assert client.post(*[delete(name) for name in names]).status_code == 200  # nothing to lose


def test_a_conflict_is_told_with_both_versions(client: Client):
    client.post(upsert("a") | {"made_from": 0})
    client.post(upsert("a", class_value=1) | {"made_from": 1})
    late = upsert("a", class_value=255) | {"made_from": 1, "author": "Ada", "tool": "edit"}
    answer = client.post(late)
    assert answer.status_code == 200
    (conflict,) = answer.json()["conflicts"]
    assert (conflict["operation_id"], conflict["object_id"], conflict["kind"]) == (late["operation_id"], "a", "copied")
    assert conflict["feature"]["properties"]["class_value"] == 1
    assert conflict["kept"]["properties"]["class_value"] == 255
    assert conflict["kept"]["id"] == conflict["kept_as"]
    assert client.post(late).json()["conflicts"] == [conflict]
    assert client.post(upsert("a") | {"made_from": -1}).status_code == 422


def test_labels_travel_compressed(client: Client):
    client.post(*[upsert(f"{i}") for i in range(100)])
    packed, plain = client.get(**{"Accept-Encoding": "gzip"}), client.get(**{"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert packed.json() == plain.json()
