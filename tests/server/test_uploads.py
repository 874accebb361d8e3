from __future__ import annotations

import zipfile

import numpy as np
import pytest
import rasterio
from starlette.applications import Starlette
from starlette.testclient import TestClient

from imagery.library import list_rasters, raster_source
from models.packages.job import package_jobs, read_job
from server import uploads
from server.tokens import issue_token
from tests.imagery.rasters import rgb, write_raster
from workspace.project import create_project
from workspace.settings import Settings

LIMIT = 200_000


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "data", (), False, LIMIT, "cpu")


@pytest.fixture
def project(settings):
    return create_project(settings.projects_folder, "Test")


@pytest.fixture
def put(project, settings):
    client = TestClient(Starlette(routes=uploads.routes(settings)))
    token = issue_token(settings.data_folder, project.id, 60)
    return lambda name, content, token=token, **more: client.put(f"/api/{token}/uploads/{name}", content=content, **more)


def test_an_upload_becomes_a_raster_of_the_project(put, project, tmp_path):
    answer = put("My%20roads.tif", write_raster(tmp_path / "a.tif", rgb()).read_bytes())
    assert answer.status_code == 200
    (raster,) = list_rasters(project)
    assert answer.json() == {"id": raster.id, "name": "My roads.tif"}
    with rasterio.open(raster_source(project, raster)) as dataset:
        np.testing.assert_array_equal(dataset.read(), rgb())


def test_refusals_say_what_to_do_and_leave_nothing(put, project):
    answer = put("notes.tif", b"hello")
    assert answer.status_code == 422
    assert "notes.tif" in answer.json()["fact"]
    assert answer.json()["remedy"]
    assert put("empty.tif", b"").status_code == 422
    assert list((project.folder / "imagery").iterdir()) == []
    assert list_rasters(project) == []


def test_too_large_is_refused_announced_or_not(put, project):
    assert put("big.tif", bytes(LIMIT + 1)).status_code == 413
    answer = put("big.tif", iter([bytes(LIMIT // 2)] * 3))
    assert answer.status_code == 413
    assert "TERRATUNE_MAX_UPLOAD_MB" in answer.json()["remedy"]
    assert list((project.folder / "imagery").iterdir()) == []


def test_a_bad_token_uploads_nothing(put, project):
    answer = put("a.tif", b"x", token="abc.def")
    assert answer.status_code == 403
    assert "Reload" in answer.json()["remedy"]


def test_drafts_of_a_killed_server_are_tidied_away(project, tmp_path):
    import os

    old, new = project.folder / "imagery" / ".upload-old", project.folder / "imagery" / ".upload-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    uploads.remove_abandoned(project.folder / "imagery")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_zip_of_tiles_becomes_a_job_that_brings_it_in(project, settings, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("tiles.bring_in.start_job", lambda folder, module: started.append((folder, module)))
    client = TestClient(Starlette(routes=uploads.routes(settings)))
    address = f"/api/{issue_token(settings.data_folder, project.id, 60)}/tile-sets/Our%20roads.zip"
    refused = client.put(address, content=b"hello")
    assert refused.status_code == 422
    assert "not a ZIP" in refused.json()["fact"]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("map.txt", "")
    answer = client.put(address, content=path.read_bytes())
    assert answer.status_code == 200
    ((folder, module),) = started
    assert (answer.json(), module) == ({"id": folder.name, "name": "Our roads.zip"}, "tiles.bring_in")
    assert (folder / "upload.zip").read_bytes() == path.read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name], "no draft stays behind"


def test_a_model_package_becomes_a_job(project, settings, monkeypatch):
    monkeypatch.setattr("models.packages.job.start_job", lambda folder, module: None)
    client = TestClient(Starlette(routes=uploads.routes(settings)))
    token = issue_token(settings.data_folder, project.id, 60)
    answer = client.put(f"/api/{token}/models/My%20roads.dlpk", content=b"PK and so on")
    assert answer.status_code == 200
    (job,) = package_jobs(project.models_folder)
    assert answer.json() == {"id": job.name, "name": "My roads.dlpk"}
    assert (job / read_job(job).source).read_bytes() == b"PK and so on"
    refused = client.put(f"/api/{token}/models/weights.pth", content=b"x")
    assert (refused.status_code, "no file that holds a model" in refused.json()["fact"]) == (422, True)
    assert package_jobs(project.models_folder) == [job]
