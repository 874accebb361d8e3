"""The Compare page's ways of looking, through real clicks and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shapely
from playwright.sync_api import Page, expect

from imagery.library import list_rasters
from inference.run import compare_models
from inference.settings import SETTINGS_FILE, PredictionSettings, RasterToPredict
from labeling.journal import Label, Operation, open_journal
from tests.browser.conftest import App
from tests.inference.makers import PAVED, UNPAVED, saved_bundle
from ui.scenes import outline
from workspace.files import write_text
from workspace.jobs import run_job
from workspace.project import Project

pytestmark = pytest.mark.browser


@pytest.fixture
def compared(app: App, project: Project, page: Page) -> Path:
    """A comparison of a model that says paved everywhere with one that says unpaved everywhere; its page is open."""
    raster = list_rasters(project)[0]
    base = saved_bundle(project.models_folder / "starter", (PAVED,), always=1)
    new = saved_bundle(project.runs_folder / "mine" / "model", (PAVED, UNPAVED), always=2)
    asked = RasterToPredict(id=raster.id, name=raster.name, source=raster.source)
    settings = PredictionSettings(title="Mine", base=str(base), new=str(new), rasters=(asked,))
    job = project.predictions_folder / "mine"
    write_text(job / SETTINGS_FILE, settings.model_dump_json())
    assert run_job(job, compare_models) == 0
    label = Label(geometry=shapely.geometry.mapping(outline(raster.info)), class_value=2)
    open_journal(project.journal_file).append([Operation(operation_id="1", kind="upsert", object_id="one", label=label)])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{app.url}/preview_results?project={project.id}", wait_until="domcontentloaded")
    expect(page.locator(".leaflet-sbs-range")).to_be_attached()
    yield job
    assert problems == []


def shown(page: Page, what: str, map_number: int = 0) -> bool:
    """Whether tiles of a layer are on a map and can be seen."""
    return bool(
        page.evaluate(
            "([what, n]) => [...document.querySelectorAll('.tt-map')[n].querySelectorAll('img.leaflet-tile-loaded')]"
            ".some(tile => tile.src.includes(what) && getComputedStyle(tile).visibility === 'visible')",
            [what, map_number],
        )
    )


def wait_until_shown(page: Page, what: str, map_number: int = 0) -> None:
    page.wait_for_function(
        "([what, n]) => { const map = document.querySelectorAll('.tt-map')[n]; return map && "
        "[...map.querySelectorAll('img.leaflet-tile-loaded')].some(tile => tile.src.includes(what) && getComputedStyle(tile).visibility === 'visible'); }",
        arg=[what, map_number],
    )


def centre(page: Page, map_number: int) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        "n => { const map = document.querySelectorAll('.tt-canvas')[n].mapCanvas.map; const c = map.getCenter(); return {lat: c.lat, lng: c.lng, zoom: map.getZoom()}; }",
        map_number,
    )
    return found


def choose(page: Page, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    page.get_by_role("option", name=option).click()


def test_two_sides_are_looked_at_by_divider_together_and_in_turns(page: Page, compared: Path):
    wait_until_shown(page, ".after/")
    divider = page.get_by_role("slider", name="Divider between Before and After")
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert float(divider.input_value()) == pytest.approx(0.6)
    choose(page, "Left", "Your labels")  # the rest stays as it is
    wait_until_shown(page, "/labels/")
    expect(page.locator(".tt-side-left")).to_have_text("Labels")
    assert float(page.get_by_role("slider", name="Divider").input_value()) == pytest.approx(0.6)

    page.get_by_role("radio", name="Side by side").click()
    wait_until_shown(page, "/labels/", 0)
    wait_until_shown(page, ".after/", 1)
    assert not shown(page, ".after/", 0)
    page.locator(".leaflet-control-zoom-in").first.click()
    page.wait_for_function("n => document.querySelectorAll('.tt-canvas')[1].mapCanvas.map.getZoom() > n", arg=centre(page, 1)["zoom"] - 0.01)
    page.wait_for_timeout(500)  # the zoom runs out
    assert centre(page, 0) == pytest.approx(centre(page, 1))
    view = centre(page, 0)

    page.get_by_role("radio", name="Flicker").click()
    expect(page.locator(".tt-flicker")).to_be_visible()
    wait_until_shown(page, "/labels/")
    assert centre(page, 0) == pytest.approx(view)  # still the same place
    assert not shown(page, ".after/")
    page.locator(".tt-map").click(position={"x": 300, "y": 300})
    page.keyboard.press("f")
    wait_until_shown(page, ".after/")
    assert not shown(page, "/labels/")
    page.keyboard.press(" ")
    wait_until_shown(page, "/labels/")
    page.get_by_role("button", name="Switch by itself").press("Enter")
    wait_until_shown(page, ".after/")
    page.get_by_role("button", name="Stop switching").click()

    page.get_by_role("radio", name="Changes").click()
    wait_until_shown(page, "~after.123.all/")  # the labels left, the map after right
    assert shown(page, "/changes.labels.mine~")
    page.get_by_role("button", name="Became another").click()
    page.wait_for_function("![...document.querySelectorAll('.tt-map img')].some(tile => tile.src.includes('~after.123.'))")
    assert page.locator("[data-testid=stException]").count() == 0
