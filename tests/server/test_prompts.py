from __future__ import annotations

import hashlib
import http.server
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import mapping, shape
from starlette.applications import Starlette
from starlette.testclient import TestClient

from imagery.library import add_copy
from labeling.journal import Label, Operation, open_journal
from labeling.prompt import checkpoints
from server import prompts
from server.tokens import issue_token
from tests.imagery.rasters import AT, UTM, write_raster
from workspace.project import Project, create_project, open_project
from workspace.settings import Settings, settings_from_environment


def roof(side: int = 260) -> np.ndarray:
    """(3, rows, columns): a red roof of 110 by 80 px at (90, 100) on green."""
    rgb = np.empty((3, side, side))
    rgb[:] = np.array([60, 120, 60])[:, None, None]
    rgb[:, 100:180, 90:200] = np.array([190, 70, 60])[:, None, None]
    return (rgb + np.random.default_rng(0).normal(0, 5, rgb.shape)).clip(0, 255).astype(np.uint8)


def lonlat(x: float, y: float) -> tuple[float, float]:
    return Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(*(AT @ (x, y)))


class Site:
    """A mirror of the published checkpoints."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.slow = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = site.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for start in range(0, len(body), 100_000):
                    self.wfile.write(body[start : start + 100_000])
                    if site.slow.is_set():
                        time.sleep(0.05)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def site():
    running = Site()
    yield running
    running.server.shutdown()
    running.server.server_close()


class Page:
    """The routes as one tab sees them."""

    def __init__(self, settings: Settings, project: Project, raster: str) -> None:
        self.http = TestClient(Starlette(routes=prompts.routes(settings)))
        self.base = f"/api/{issue_token(settings.data_folder, project.id)}/prompt"
        self.project, self.raster = project.id, raster

    def post(self, route="", **body):
        return self.http.post(self.base + route, json={"raster": self.raster, "resolution_m": 0.5, "client": "tab"} | body)

    def find(self, **body):
        return self.ask("/find", **body)

    def ask(self, route="", **body):
        """Ask until there is an answer."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            answer = self.post(route, **body)
            if answer.status_code != 202:
                return answer
            waiting = answer.json()
            assert waiting["retry_ms"] > 0 and waiting["waiting"]["stage"] and 0 <= waiting["waiting"]["share"] <= 1
        raise AssertionError("no answer within two minutes")

    def models(self):
        return {one["name"]: one for one in self.http.get(f"{self.base}/models").json()["models"]}


@pytest.fixture(scope="module")
def settings(tmp_path_factory, site) -> Settings:
    environment = {"TERRATUNE_DATA": str(tmp_path_factory.mktemp("data")), "TERRATUNE_WEIGHTS_MIRROR": site.address}
    return settings_from_environment(environment | {"TERRATUNE_DEVICE": "cpu"})


@pytest.fixture(scope="module")
def page(settings: Settings, tmp_path_factory) -> Page:
    project = create_project(settings.projects_folder, "Roofs")
    raster = add_copy(project, write_raster(tmp_path_factory.mktemp("up") / "a.tif", roof(), nodata=None), "a.tif")
    return Page(settings, project, raster.id)


def test_a_click_comes_back_as_an_outline(page: Page):
    lon, lat = lonlat(140, 140)
    answer = page.ask(points=[[lon, lat, 1]])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"answer", "model", "geometry", "candidate", "scores", "whole", "milliseconds"}
    assert body["whole"] and body["model"] == "smart-select" and len(body["scores"]) >= 1
    west, north = lonlat(90, 100)
    east, south = lonlat(200, 180)
    assert shape(body["geometry"]).bounds == pytest.approx((west, south, east, north), abs=2e-5)
    assert answer.headers["cache-control"] == "no-store"


def test_another_candidate_and_a_refinement_name_the_answer_before(page: Page):
    lon, lat = lonlat(140, 140)
    first = page.ask(points=[[lon, lat, 1]]).json()
    for number in range(len(first["scores"])):
        again = page.ask(points=[[lon, lat, 1]], previous={"answer": first["answer"], "candidate": 0}, candidate=number).json()
        assert again["candidate"] == number and again["scores"] == first["scores"]
    away = lonlat(190, 170)
    refined = page.ask(points=[[lon, lat, 1], [*away, 0]], previous={"answer": first["answer"], "candidate": 0}).json()
    assert refined["geometry"] != first["geometry"]


def test_a_box_and_a_rough_area(page: Page):
    west, north = lonlat(80, 92)
    east, south = lonlat(208, 190)
    box = page.ask(box=[west, south, east, north]).json()
    assert shape(box["geometry"]).area == pytest.approx(110 * 80 / (128 * 98) * (east - west) * (north - south), rel=0.15)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    assert page.ask(area={"type": "Polygon", "coordinates": [ring]}).json()["geometry"]


def area_of(*box):
    """West, south, east, north of (left, top, right, bottom) in pixels."""
    west, north = lonlat(*box[:2])
    east, south = lonlat(*box[2:])
    return [west, south, east, north]


def test_everything_in_an_area_comes_with_its_worth(page: Page, settings: Settings):
    answer = page.find(box=area_of(0, 0, 260, 260))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["model"] == "smart-select" and 0 < found["offered_from"] < 1
    west, south, east, north = area_of(90, 100, 200, 180)
    roof = next(one for one in found["things"] if shape(one["geometry"]).bounds == pytest.approx((west, south, east, north), abs=2e-5))
    assert roof["worth"] >= found["offered_from"]
    assert [one["worth"] for one in found["things"]] == sorted((one["worth"] for one in found["things"]), reverse=True)
    alike = page.find(box=area_of(0, 0, 260, 260), like=[roof["geometry"]]).json()
    assert alike["things"][0]["worth"] == max(one["worth"] for one in alike["things"])


def test_nothing_is_found_where_a_label_is(page: Page, settings: Settings):
    before = page.find(box=area_of(0, 0, 260, 260)).json()["things"]
    roof = shapely.box(*area_of(90, 100, 200, 180))
    project = open_project(settings.projects_folder, page.project)
    journal = open_journal(project.journal_file)
    journal.append([Operation("b" * 32, "upsert", "a" * 32, Label(mapping(roof), 1))])
    after = page.find(box=area_of(0, 0, 260, 260)).json()["things"]
    on_the_roof = [[shape(one["geometry"]).intersection(roof).area / roof.area for one in found] for found in (before, after)]
    assert max(on_the_roof[0]) > 0.8 and max(on_the_roof[1], default=0) < 0.1
    journal.append([Operation("c" * 32, "delete", "a" * 32)])


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"box": [0.0, 0.0, 0.1, 0.1]}, 422, "no imagery"),
        ({}, 400, "could not be read"),
        ({"box": [0, 0, 1]}, 400, "could not be read"),
        ({"box": [-117, 36, -116.9, 36.1], "model": "sam-vit-b"}, 409, "not on this server yet"),
        ({"box": [-117, 36, -116.9, 36.1], "raster": "0000ffff"}, 404, "not in the project"),
    ],
)
def test_what_cannot_be_found_says_why(page: Page, body, status, words):
    answer = page.find(**body)
    assert answer.status_code == status
    assert words in answer.json()["fact"] and answer.json()["remedy"]


def test_a_preview_of_what_was_not_looked_at_is_empty(page: Page):
    lon, lat = lonlat(140, 140)
    assert page.post(points=[[lon, lat, 1]], hover=True, resolution_m=0.13).status_code == 204
    page.ask(points=[[lon, lat, 1]])
    assert page.post(points=[[lon, lat, 1]], hover=True).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"points": [[0.0, 0.0, 1]]}, 422, "no imagery"),
        ({}, 422, "pointed at"),
        ({"points": [[-117, 36.1, 7]]}, 400, "could not be read"),
        ({"points": [[-117, 36.1, 1]], "resolution_m": -1}, 400, "could not be read"),
        ({"points": [[-117, 36.1, 1]], "surprise": 1}, 400, "could not be read"),
        ({"area": {"type": "Polygon", "coordinates": "nonsense"}}, 400, "could not be read"),
        ({"area": {"type": "Polygon", "coordinates": [[["a", 1]]]}}, 400, "could not be read"),
        ({"points": [[-117, 36.1, 1]], "model": "nobody"}, 409, "not on this server"),
        ({"points": [[-117, 36.1, 1]], "model": "sam-vit-b"}, 409, "not on this server yet"),
        ({"points": [[-117, 36.1, 1]], "raster": "0000ffff"}, 404, "not in the project"),
    ],
)
def test_what_cannot_be_answered_says_why(page: Page, body, status, words):
    answer = page.post(**body)
    assert answer.status_code == status
    assert words in answer.json()["fact"] and answer.json()["remedy"]


def test_a_forged_token_opens_nothing(page: Page):
    for method, path in (
        ("POST", "/api/forged/prompt"),
        ("DELETE", "/api/forged/prompt"),
        ("POST", "/api/forged/prompt/find"),
        ("GET", "/api/forged/prompt/models"),
        ("POST", "/api/forged/prompt/models/sam-vit-b/fetch"),
    ):
        assert page.http.request(method, path, json={}).status_code == 403


def test_too_much_is_refused_unread(page: Page):
    assert page.http.post(page.base, content=b" " * (prompts.MAX_BODY_BYTES + 1)).status_code == 413


def test_leaving_is_answered(page: Page):
    assert page.http.delete(f"{page.base}?client=tab").status_code == 204


def test_the_models_are_told_with_size_and_licence(page: Page):
    models = page.models()
    assert models["smart-select"]["available"] and models["smart-select"]["kind"] == "smart"
    sam = models["sam-vit-b"]
    assert (sam["available"], sam["bytes"], sam["fetch"]) == (False, 375_042_383, None)
    assert "Apache-2.0" in sam["licence"]


def fetched(page: Page, name: str):
    page.http.post(f"{page.base}/models/{name}/fetch")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        one = page.models()[name]
        if one["available"] or one["fetch"] is None or one["fetch"]["state"] == "failed":
            return one
        time.sleep(0.02)
    raise AssertionError("the download did not end")


@pytest.fixture
def published(monkeypatch, site: Site):
    """Publish small stand-ins under the real names."""

    def publish(body: bytes, served: bytes | None = None) -> None:
        one = checkpoints.CHECKPOINTS[0]
        small = checkpoints.Checkpoint(one.name, one.title, one.summary, one.file, len(body), hashlib.sha256(body).hexdigest())
        monkeypatch.setattr(checkpoints, "CHECKPOINTS", (small, *checkpoints.CHECKPOINTS[1:]))
        site.files[f"/{one.file}"] = body if served is None else served

    yield publish
    site.files.clear()


def stored(settings: Settings) -> Path:
    return settings.data_folder / "models" / "sam" / "sam_vit_b_01ec64.pth"


def test_a_checkpoint_is_fetched_on_demand(page: Page, settings: Settings, published):
    body = bytes(range(256)) * 2000
    published(body)
    assert fetched(page, "sam-vit-b")["available"]
    assert stored(settings).read_bytes() == body
    assert page.http.post(f"{page.base}/models/sam-vit-b/fetch").json() == {"state": "done"}
    stored(settings).unlink()


def test_a_damaged_or_absent_one_is_refused_with_the_reason(page: Page, settings: Settings, published, site: Site):
    published(b"right" * 1000, served=b"wrong" * 1000)
    one = fetched(page, "sam-vit-b")
    assert one["fetch"]["state"] == "failed" and "damaged" in one["fetch"]["fact"] and one["fetch"]["remedy"]
    assert not stored(settings).exists()
    site.files.clear()
    assert "404" in fetched(page, "sam-vit-b")["fetch"]["fact"]


def test_a_download_can_be_stopped_and_goes_on_later(page: Page, settings: Settings, published, site: Site):
    body = bytes(range(256)) * 20_000
    published(body)
    site.slow.set()
    page.http.post(f"{page.base}/models/sam-vit-b/fetch")
    while (page.models()["sam-vit-b"]["fetch"] or {}).get("done_bytes", 1) == 0:
        time.sleep(0.01)
    page.http.delete(f"{page.base}/models/sam-vit-b/fetch")
    while page.models()["sam-vit-b"]["fetch"] is not None:
        time.sleep(0.01)
    assert not stored(settings).exists()
    site.slow.clear()
    assert fetched(page, "sam-vit-b")["available"]
    assert stored(settings).read_bytes() == body
    stored(settings).unlink()


def test_what_is_no_checkpoint_cannot_be_fetched(page: Page):
    assert page.http.post(f"{page.base}/models/nobody/fetch").status_code == 409
    assert page.http.post(f"{page.base}/models/smart-select/fetch").json() == {"state": "done"}
