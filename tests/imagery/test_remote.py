from __future__ import annotations

import http.server
import re
import threading

import numpy as np
import pytest

from errors import SourceNotAllowedError, UnreadableRasterError, UnsupportedRasterError
from imagery.library import add_url, list_rasters
from imagery.read import open_raster, read_window
from imagery.remote import CHUNK_BYTES
from tests.imagery.rasters import write_raster
from workspace.project import create_project
from workspace.settings import Settings


class Site(http.server.ThreadingHTTPServer):
    """Serves bytes with ranges; `/away` redirects, `/whole` ignores ranges, anything unknown is 404."""

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.asked = data, []

    def handle_error(self, *_: object) -> None:
        """A client that has what it needs hangs up: nothing to report."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.server
        site.asked.append((self.path, self.headers["Range"]))
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?to=")[2])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        known = self.path in ("/a.tif", "/whole.tif")
        first, last = map(int, re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        body = site.data[first : last + 1] if self.path == "/a.tif" else site.data if known else b"no"
        self.send_response(206 if self.path == "/a.tif" else 200 if known else 404)
        if self.path == "/a.tif":
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(site.data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


VALUES = np.random.default_rng(1).integers(0, 255, (3, 700, 700), np.uint8)


@pytest.fixture
def site(tmp_path):
    path = write_raster(tmp_path / "a.tif", VALUES, tiled=True, blockxsize=128, blockysize=128)
    server = Site(path.read_bytes())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_only_the_parts_that_are_needed_are_fetched(site):
    with open_raster(f"{site.url}/a.tif", allow_private=True) as dataset:
        pixels = read_window(dataset, 5, 5, 20, 20, [1, 2, 3])
    np.testing.assert_array_equal(pixels.values, VALUES[:, 5:25, 5:25])
    assert len(site.asked) * CHUNK_BYTES < len(site.data) / 2
    assert {path for path, _ in site.asked} == {"/a.tif"}


def test_private_addresses_are_refused_at_the_connection(site):
    with pytest.raises(SourceNotAllowedError), open_raster(f"{site.url}/a.tif", allow_private=False):
        pytest.fail("opened")
    assert site.asked == []


def test_a_name_that_turns_private_is_refused(site, monkeypatch):
    """DNS rebinding: the name was public when it was checked, and is private when it is opened."""
    import socket

    answers = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", site.server_port))]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers[0])
    with pytest.raises(SourceNotAllowedError), open_raster(f"http://rebound.example:{site.server_port}/a.tif", allow_private=False):
        pytest.fail("opened")
    assert site.asked == []


def test_redirects_are_followed_but_not_to_other_schemes(site):
    with open_raster(f"{site.url}/away?to=/a.tif", allow_private=True) as dataset:
        assert dataset.width == 700
    for target in ("file:///etc/passwd", "/away?to=/away?to=/away?to=/away?to=/a.tif"):
        with pytest.raises((SourceNotAllowedError, UnreadableRasterError)), open_raster(f"{site.url}/away?to={target}", allow_private=True):
            pytest.fail("opened")


def test_servers_without_ranges_and_missing_files_are_explained(site):
    for path, words in (("/whole.tif", "only send the whole file"), ("/none.tif", "has nothing at this address")):
        with pytest.raises(UnreadableRasterError, match=words), open_raster(site.url + path, allow_private=True):
            pytest.fail("opened")


def test_other_formats_are_refused(site):
    site.data = b"<html>" * 100
    with pytest.raises(UnsupportedRasterError), open_raster(f"{site.url}/a.tif", allow_private=True):
        pytest.fail("opened")


def test_a_dead_server_is_explained():
    with pytest.raises(UnreadableRasterError, match="cannot be reached"), open_raster("http://127.0.0.1:9/a.tif", allow_private=True):
        pytest.fail("opened")


def test_a_url_is_added_with_its_facts(site, tmp_path):
    settings = Settings(tmp_path / "data", (), True, 10**9, "cpu")
    project = create_project(settings.projects_folder, "Test")
    raster = add_url(project, f"{site.url}/a.tif", settings)
    assert (raster.kind, raster.info.width, raster.name) == ("url", 700, "a.tif")
    assert add_url(project, f"{site.url}/a.tif", settings) == raster
    assert len(list_rasters(project)) == 1
