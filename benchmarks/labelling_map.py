"""The label map with many labels, in a browser: `python -m benchmarks.labelling_map [--labels 10000]`. Prints one JSON object.

The map pans under a dragged mouse while the page counts the frames it draws; then points are placed, and for each the time is
taken from the press of the button until it is painted, and until the server has said that it is on disk. On a picture of plain roofs without labels the
magic wand (Smart select) is clicked, each click from the press until its outline is painted; the first three, which prepare the view, are left out.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import typer
from affine import Affine
from playwright.sync_api import Page, sync_playwright
from rasterio.warp import transform

from imagery.library import add_copy
from labeling.journal import Label, Operation, open_journal
from tests.browser.conftest import ARGUMENTS, App, chromium
from workspace.project import Project, create_project

SIDE_PX = 1024
WEST, NORTH = -116.99995, 36.14437
PAN_STEPS = 90
STEP_S = 0.016

WATCH_FRAMES = """() => { window.frames_ = []; const draw = (at) => { window.frames_.push(at); if (window.frames_) requestAnimationFrame(draw); };
  requestAnimationFrame(draw); }"""
WATCH_EDITS = """() => {
  window.edits_ = [];
  const state = document.querySelector('.tt-state');
  window.addEventListener('pointerdown', () => {
    const edit = { pressed: performance.now(), labels: state.dataset.labels };
    window.edits_.push(edit);
    const look = () => {
      if (!edit.painted && Number(state.dataset.labels) > Number(edit.labels)) requestAnimationFrame(() => { edit.painted = performance.now(); });
      if (Number(state.dataset.labels) > Number(edit.labels) && state.dataset.state === 'saved') { edit.saved = performance.now(); watch.disconnect(); }
    };
    const watch = new MutationObserver(look);
    watch.observe(state, { attributes: true });
  }, true);
}"""


WATCH_OUTLINES = """() => {
  window.outlines_ = [];
  const panel = document.querySelector('.tt-prompt');
  window.addEventListener('pointerdown', () => {
    const click = { pressed: performance.now() };
    window.outlines_.push(click);
    const watch = new MutationObserver(() => {
      if (panel.dataset.state !== 'ready' || panel.dataset.clicks === '0') return;
      watch.disconnect();
      requestAnimationFrame(() => { click.painted = performance.now(); });
    });
    watch.observe(panel, { attributes: true });
  }, true);
}"""


def project_with_roofs(folder: Path) -> Project:
    """An image of 512 pixels of 1 m: bright squares of 24 pixels on dark ground."""
    project = create_project(folder, "Roofs")
    picture = np.random.default_rng(0).integers(60, 80, (3, 512, 512)).astype(np.uint8)
    for row in range(16, 512, 64):
        for column in range(16, 512, 64):
            picture[:, row : row + 24, column : column + 24] += 120
    path = folder / "roofs.tif"
    profile = {"driver": "GTiff", "width": 512, "height": 512, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(picture)
    add_copy(project, path, "roofs.tif")
    return project


def outlines(page: Page, count: int) -> dict[str, float]:
    """Click roofs with the wand; milliseconds from the press until the outline is painted."""
    page.keyboard.press("t")
    page.locator(".tt-prompt").wait_for()
    page.evaluate(WATCH_OUTLINES)
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    for i in range(count):
        x, y = 28.5 + 64 * (i % 4 + 2), 28.5 + 64 * (i // 4 % 4 + 2)
        (lon,), (lat,) = transform("EPSG:32611", "EPSG:4326", [500_000 + x], [4_000_000 - y])
        left, top = page.evaluate(
            "([lon, lat]) => { const p = document.querySelector('.tt-canvas').mapCanvas.map.latLngToContainerPoint([lat, lon]); return [p.x, p.y]; }",
            [lon, lat],
        )
        page.mouse.click(box["x"] + left, box["y"] + top)
        page.wait_for_function("window.outlines_.at(-1).painted", timeout=90_000)
        page.keyboard.press("Escape")
        page.wait_for_timeout(400)
    took = sorted(one["painted"] - one["pressed"] for one in page.evaluate("window.outlines_")[3:])
    return {"outline_ms_median": round(statistics.median(took), 1), "outline_ms_p95": round(took[int(0.95 * (len(took) - 1))], 1)}


def project_with_labels(folder: Path, count: int) -> Project:
    """An image of 1024 pixels of 1 m with areas of five corners and lines of four vertices all over it."""
    project = create_project(folder, "Many labels")
    path = folder / "scene.tif"
    profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(rng.integers(60, 160, (3, SIDE_PX, SIDE_PX)).astype(np.uint8))
    add_copy(project, path, "scene.tif")
    open_journal(project.journal_file).append(
        Operation(
            uuid.uuid4().hex, "upsert", uuid.uuid4().hex, Label(shape(rng, i), 1 + i % 2, "imported", width_m=3.0 if i % 4 == 0 else None)
        )
        for i in range(count)
    )
    return project


def shape(rng: np.random.Generator, i: int) -> dict[str, Any]:
    """A building or, every fourth time, a stretch of road."""
    x, y = WEST + rng.random() * 0.0112, NORTH - rng.random() * 0.0091
    size = rng.uniform(4e-5, 1.2e-4)
    if i % 4 == 0:
        return {"type": "LineString", "coordinates": [[x + k * size, y + rng.uniform(-1, 1) * size] for k in range(4)]}
    corners = ((0, 0), (1, 0), (1, -0.6), (0.5, -1), (0, -0.6), (0, 0))
    return {"type": "Polygon", "coordinates": [[[x + dx * size, y + dy * size] for dx, dy in corners]]}


def frames_per_second(page: Page, zoom: int) -> dict[str, float]:
    """Frames drawn while the map is dragged to and fro."""
    map_ = "document.querySelector('.tt-canvas').mapCanvas.map"
    page.evaluate(f"void {map_}.setZoom({map_}.getZoom() + {zoom}, {{animate: false}})")
    page.wait_for_timeout(3000)
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH_FRAMES)
    for i in range(PAN_STEPS):
        page.mouse.move(x + 180 * np.sin(i / 8), y + 90 * np.sin(i / 5))
        time.sleep(STEP_S)
    frames = page.evaluate("() => { const seen = window.frames_; window.frames_ = null; return seen; }")
    page.mouse.up()
    gaps = np.diff(frames)
    return {"frames_per_s": round(1000 / gaps.mean(), 1), "longest_gap_ms": round(float(gaps.max()), 1)}


def edits(page: Page, count: int) -> dict[str, float]:
    """Place points; milliseconds from the press to paint and to disk."""
    page.keyboard.press("o")
    page.evaluate(WATCH_EDITS)
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    for i in range(count):
        page.mouse.click(box["x"] + 200 + 37 * (i % 15), box["y"] + 120 + 60 * (i // 15))
        page.wait_for_function("window.edits_.at(-1).saved", timeout=60_000)
        page.wait_for_timeout(700)
    seen = page.evaluate("window.edits_")
    told: dict[str, float] = {}
    for what in ("painted", "saved"):
        took = sorted(one[what] - one["pressed"] for one in seen)
        told[f"{what}_ms_median"] = round(statistics.median(took), 1)
        told[f"{what}_ms_p95"] = round(took[int(0.95 * (len(took) - 1))], 1)
    return told


def main(labels: int = 10_000, count: int = 30) -> None:
    """Measure on a fresh workspace."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        app = App(Path(place))
        app.start()
        try:
            project = project_with_labels(Path(place) / "projects", labels)
            page = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS).new_page(viewport={"width": 1280, "height": 800})
            told: dict[str, Any] = {"labels": labels}
            for visit in ("first", "second"):
                began = time.perf_counter()
                page.goto(f"{app.url}/draw_labels?project={project.id}", wait_until="domcontentloaded")
                page.locator(f".tt-state[data-labels='{labels}'][data-state=saved]").wait_for(timeout=120_000)
                told[f"{visit}_shown_s"] = round(time.perf_counter() - began, 1)
                asked = "performance.getEntriesByType('resource').find((one) => /api.*labels$/.test(one.name))"
                told[f"{visit}_labels_fetched_s"] = round(page.evaluate(f"{asked}.duration") / 1000, 1)
            told["all_in_view"] = frames_per_second(page, 0)
            told["zoomed_in"] = frames_per_second(page, 2)
            told |= edits(page, count)
            roofs = project_with_roofs(Path(place) / "projects")
            page.goto(f"{app.url}/draw_labels?project={roofs.id}", wait_until="domcontentloaded")
            page.locator(".tt-state[data-labels='0'][data-state=saved]").wait_for(timeout=120_000)
            page.wait_for_timeout(3000)
            told |= outlines(page, count)
            typer.echo(json.dumps(told))
        finally:
            app.kill()


if __name__ == "__main__":
    typer.run(main)
