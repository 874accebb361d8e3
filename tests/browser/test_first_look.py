"""What the map shows when a comparison is started is predicted first, and seen while the rest is made."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from imagery.library import add_copy
from inference.first_look import LOOK_PX, WORTH_PX
from inference.settings import read_settings
from tests.browser.conftest import App
from tests.inference.makers import PAVED, UNPAVED, saved_bundle, write_raster
from workspace.files import write_json
from workspace.jobs import cancel_job, events
from workspace.project import create_project

pytestmark = pytest.mark.browser
SIDE = 4096


def test_the_part_that_is_seen_comes_first(page: Page, app: App, tmp_path):
    assert SIDE**2 >= WORTH_PX and SIDE > 3 * LOOK_PX
    project = create_project(app.data_folder / "projects", "First look")
    values = np.random.default_rng(0).integers(60, 200, (3, SIDE // 16, SIDE // 16)).astype(np.uint8).repeat(16, 1).repeat(16, 2)
    add_copy(project, write_raster(tmp_path / "scene.tif", values), "scene.tif")
    base = saved_bundle(project.models_folder / "starter", (PAVED,), always=1)
    saved_bundle(project.runs_folder / "mine" / "model", (PAVED, UNPAVED), always=2)
    write_json(project.runs_folder / "mine" / "settings.json", {"base": str(base), "tiles": str(project.tiles_folder / "gone")})
    page.goto(f"{app.url}/preview_results?project={project.id}", wait_until="domcontentloaded")
    expect(page.locator("img.leaflet-tile-loaded").first).to_be_attached()
    page.evaluate("() => { const map = document.querySelector('.tt-canvas').mapCanvas.map; map.setZoom(map.getZoom() + 3, {animate: false}); }")
    west, east = page.evaluate("() => { const b = document.querySelector('.tt-canvas').mapCanvas.map.getBounds(); return [b.getWest(), b.getEast()]; }")
    page.wait_for_timeout(3000)  # the page is told a moment after the map came to rest
    page.get_by_role("button", name="Predict (1 picture").click()
    page.wait_for_function("() => [...document.querySelectorAll('img.leaflet-tile-loaded')].some(tile => /first_(after|before)/.test(tile.src))", timeout=120_000)
    page.screenshot(path=str(tmp_path / "first_look.png"))
    (job,) = project.predictions_folder.iterdir()
    cancel_job(job)
    asked = read_settings(job).first_look
    assert asked is not None and asked[0] == pytest.approx(west) and asked[2] == pytest.approx(east)
    assert [e["side"] for e in events(job) if e["kind"] == "first look"]
