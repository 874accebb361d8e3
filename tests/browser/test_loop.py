"""The whole loop on the demo scene, through real clicks: draw, export, train, compare."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
from playwright.sync_api import Page, expect
from shapely import LineString

from tests.browser.conftest import App

MINUTE = 60_000


def go_to(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).first.click()


def canvas_ready(page: Page) -> None:
    page.locator(".tt-canvas .leaflet-tile-loaded").first.wait_for(timeout=MINUTE)


def tracks(project: Path, count: int) -> list[LineString]:
    """Long unpaved centrelines of the truth, far from one another, in longitude and latitude."""
    roads = gpd.read_file(project / "truth" / "demo_roads.gpkg").query("surface == 'unpaved'")
    chosen: list[LineString] = []
    for line in sorted(roads.geometry, key=lambda g: -g.length):
        if all(line.distance(other) > 60 for other in chosen):
            chosen.append(line)
    return list(gpd.GeoSeries(chosen[:count], crs=roads.crs).simplify(2).to_crs(4326))


def draw_line(page: Page, line: LineString) -> None:
    """Click along the line; a double click ends it."""
    host = page.locator(".tt-map").bounding_box()
    assert host is not None
    places = page.evaluate(
        "points => points.map(([lon, lat]) => { const p = document.querySelector('.tt-canvas').mapCanvas.map.latLngToContainerPoint([lat, lon]); return [p.x, p.y]; })",
        list(line.coords),
    )
    inside = [(host["x"] + x, host["y"] + y) for x, y in places if 4 < x < host["width"] - 4 and 4 < y < host["height"] - 4]
    for x, y in inside[:-1]:
        page.mouse.click(x, y)
    page.mouse.dblclick(*inside[-1])


@pytest.mark.browser
def test_a_newcomer_walks_the_loop_on_the_demo_scene(page: Page, app: App) -> None:
    page.goto(app.url, wait_until="domcontentloaded")
    page.get_by_role("button", name="Start with the demo scene").click()
    expect(page.get_by_text("demo_scene.tif").first).to_be_attached(timeout=2 * MINUTE)
    project = app.data_folder / "projects" / "demo-desert-edge"
    canvas_ready(page)

    go_to(page, "2 Label")
    expect(page.locator(".tt-state[data-state='saved']")).to_be_attached()
    canvas_ready(page)
    lines = tracks(project, 6)
    page.keyboard.press("l")
    for line in lines:
        draw_line(page, line)
    expect(page.locator(".tt-state[data-labels='6'][data-state='saved']")).to_be_attached()
    expect(page.get_by_text("6 labels").first).to_be_visible()

    go_to(page, "3 Tiles")
    page.get_by_role("button", name="Export tiles").click()
    expect(page.get_by_role("link", name="Next: 4 Train")).to_be_visible(timeout=2 * MINUTE)

    go_to(page, "4 Train")
    page.get_by_role("spinbutton", name="Epochs").fill("8")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("link", name="Next: 5 Compare")).to_be_visible(timeout=8 * MINUTE)
    cards = list(project.glob("runs/*/model/card.json"))
    assert len(cards) == 1

    go_to(page, "5 Compare")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".leaflet-sbs-range")).to_be_attached(timeout=6 * MINUTE)
    page.wait_for_function(
        "[...document.querySelectorAll('.tt-canvas img.leaflet-tile-loaded')].some(tile => tile.src.includes('.after/'))", timeout=MINUTE
    )
    assert len(list(project.glob("predictions/*/*/after.tif"))) == 1
    assert page.locator("[data-testid=stException]").count() == 0
