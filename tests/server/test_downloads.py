from __future__ import annotations

import io
import zipfile

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from server import downloads
from server.tokens import issue_token
from workspace.project import create_project
from workspace.settings import Settings


@pytest.fixture
def project(tmp_path):
    project = create_project(tmp_path / "data" / "projects", "Test")
    tiles = project.folder / "tiles" / "first set"
    (tiles / "images").mkdir(parents=True)
    (tiles / "images" / "0.tif").write_bytes(bytes(3_000_000))
    (tiles / "map.txt").write_text("images/0.tif labels/0.tif\n" * 1000)
    (tiles / ".half").write_text("not yet")
    (tiles / "link").symlink_to(project.folder / "project.json")
    run = project.runs_folder / "r1"
    run.mkdir()
    for name in ("log.txt", "checkpoint.pt", "settings.json"):
        (run / name).write_text(name)
    return project


@pytest.fixture
def get(project, tmp_path):
    settings = Settings(tmp_path / "data", (), False, 1, "cpu")
    client = TestClient(Starlette(routes=downloads.routes(settings)))
    token = issue_token(settings.data_folder, project.id, 60)
    return lambda path, token=token: client.get(f"/api/{token}/files/{path}")


def test_files_and_folders_come_out(get):
    assert get("tiles/first%20set/map.txt").text.startswith("images/0.tif")
    assert get("runs/r1/log.txt").text == "log.txt"
    answer = get("tiles/first%20set.zip")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["first set/images/0.tif", "first set/map.txt"]
    assert archive.getinfo("first set/images/0.tif").file_size == 3_000_000


@pytest.mark.parametrize(
    "path",
    [
        "project.json",
        "imagery.json",
        "labels.journal",
        "labels.gpkg",
        "runs/r1/checkpoint.pt",
        "runs/r1/settings.json",
        "runs/r1.zip",
        "tiles.zip",
        "tiles/",
        "tiles/none.zip",
        "tiles/%2e%2e/project.json",
        "tiles/../../../secret.key",
        "tiles/first%20set/link",
        "tiles/first%20set/.half",
        "tiles//etc/passwd",
        "%2fetc/passwd",
        "tiles/%00",
    ],
)
def test_nothing_else_does(get, path):
    assert get(path).status_code == 404


def test_a_bad_token_gets_nothing(get):
    assert get("runs/r1/log.txt", token="a.b").status_code == 403
