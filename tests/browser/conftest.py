"""A running app and a headless Chromium for the tests that click."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.label_page import LabelPage, project_with_image
from workspace.project import Project

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=60_000)


class App:
    """The app as a process on a free port, with a workspace of its own."""

    def __init__(self, data_folder: Path, **environment: str) -> None:
        self.data_folder = data_folder
        self.environment = environment
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.data_folder.mkdir(parents=True, exist_ok=True)
        log = (self.data_folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port), "--server.address", "127.0.0.1"],
            cwd=ROOT,
            env=os.environ | {"TERRATUNE_DATA": str(self.data_folder)} | self.environment,
            stdout=log,
            stderr=log,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/_stcore/health", timeout=2).status_code == 200:
                    return
            assert self.process.poll() is None, f"the app ended: {(self.data_folder / 'server.log').read_text()[-3000:]}"
            time.sleep(0.2)
        raise AssertionError("the app did not answer within a minute")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def chromium() -> str:
    """Where the browser is."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "The browser tests need Chromium: install it (Debian: apt install chromium) or name it in the variable CHROMIUM."
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    running = App(tmp_path_factory.mktemp("workspace"))
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def app_url(app: App) -> str:
    return app.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    fresh = context.new_page()
    fresh.set_default_timeout(30_000)
    yield fresh
    context.close()


@pytest.fixture
def project(app: App, request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project with one small image, named after the test."""
    return project_with_image(app, request.node.name, tmp_path)


@pytest.fixture
def labels(page: Page, app: App, project: Project) -> Iterator[LabelPage]:
    """The Label page of that project; a script error on it fails the test."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield LabelPage(page, app, project)
    assert problems == []
