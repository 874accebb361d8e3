"""The magic wand of the label map, through real clicks. Smart select needs no weights; SAM is a tiny random one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from playwright.sync_api import Locator, Page, Route, expect
from pyproj import Transformer
from shapely.geometry import Point, Polygon
from shapely.geometry.base import BaseGeometry

from imagery.library import add_copy
from labeling.label_set import current_labels
from tests.browser.conftest import App
from tests.browser.label_page import LabelPage
from tests.labeling.prompt.tiny_sam import save_checkpoint
from workspace.project import Project, create_project

pytestmark = pytest.mark.browser
AT = Affine(1, 0, 500_000, 0, -1, 4_000_000)
TO_LONLAT = Transformer.from_crs("EPSG:32611", "EPSG:4326", always_xy=True)
ROOF, SHED = (60, 80, 170, 160), (200, 40, 230, 70)
"""(left, top, right, bottom) in pixels of a metre."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app on one thread, with nowhere to download from."""
    running = App(tmp_path_factory.mktemp("workspace"), OMP_NUM_THREADS="1", TERRATUNE_DEVICE="cpu", TERRATUNE_WEIGHTS_MIRROR="http://127.0.0.1:9")
    running.start()
    yield running
    running.kill()


@pytest.fixture
def project(app: App, request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Red roof and red shed on green grass, 256 pixels of a metre."""
    rgb = np.empty((3, 256, 256))
    rgb[:] = np.array([60, 120, 60])[:, None, None]
    for left, top, right, bottom in (ROOF, SHED):
        rgb[:, top:bottom, left:right] = np.array([190, 70, 60])[:, None, None]
    pixels = (rgb + np.random.default_rng(0).normal(0, 1, rgb.shape)).clip(0, 255).astype(np.uint8)
    path = tmp_path / "roofs.tif"
    with rasterio.open(path, "w", driver="GTiff", width=256, height=256, count=3, dtype="uint8", crs="EPSG:32611", transform=AT) as file:
        file.write(pixels)
    made = create_project(app.data_folder / "projects", re.sub(r"\W+", " ", request.node.name)[:70])
    add_copy(made, path, "roofs.tif")
    return made


class Wand(LabelPage):
    """The Label page with the magic wand taken up."""

    def __init__(self, page: Page, app: App, project: Project) -> None:
        super().__init__(page, app, project)
        self.project = project
        self.press("t")

    @property
    def panel(self) -> Locator:
        return self.page.locator(".tt-prompt")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the raster is on the map."""
        lon, lat = TO_LONLAT.transform(*(AT @ (x, y)))
        place = self.page.evaluate(
            "([lon, lat]) => { const p = document.querySelector('.tt-canvas').mapCanvas.map.latLngToContainerPoint([lat, lon]); return [p.x, p.y]; }", [lon, lat]
        )
        return place[0], place[1]

    def select(self, x: float, y: float, *, button: str = "left", shift: bool = False) -> None:
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        left, top = self.at(x, y)
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(box["x"] + left, box["y"] + top, button="right" if button == "right" else "left")
        if shift:
            self.page.keyboard.up("Shift")

    def point_at(self, x: float, y: float) -> None:
        """Move the pointer over a pixel of the raster."""
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        left, top = self.at(x, y)
        self.page.mouse.move(box["x"] + left, box["y"] + top)

    def answered(self, state: str = "ready", clicks: int | None = None) -> None:
        """Wait for the outline."""
        if clicks is not None:
            expect(self.panel).to_have_attribute("data-clicks", str(clicks))
        expect(self.panel).to_have_attribute("data-state", state, timeout=90_000)

    def kept(self) -> int:
        """Outlines that Enter would accept."""
        return int(self.panel.get_attribute("data-kept") or 0)

    def stored(self) -> list[BaseGeometry]:
        """The labels on disk, in pixels of the raster."""
        labels = current_labels(self.project.journal_file).to_crs("EPSG:32611")
        return list(labels.geometry.affine_transform([1, 0, 0, -1, -AT.c, AT.f]))


def rectangle(corners: tuple[int, int, int, int]) -> Polygon:
    left, top, right, bottom = corners
    return Polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def iou(one: BaseGeometry, other: BaseGeometry) -> float:
    return float(one.intersection(other).area / one.union(other).area)


@pytest.fixture
def wand(page: Page, app: App, project: Project) -> Iterator[Wand]:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield Wand(page, app, project)
    assert problems == []


def test_clicks_and_a_box_become_labels(wand: Wand):
    wand.press("2")
    wand.select(85, 120)
    wand.answered(clicks=1)
    wand.select(150, 120)
    wand.answered(clicks=2)
    wand.press("Enter")
    wand.has(1)
    labels = current_labels(wand.project.journal_file)
    assert labels[["class_value", "origin"]].to_numpy().tolist() == [[wand.project.classes().classes[1].value, "smart-select"]]
    assert iou(wand.stored()[0], rectangle(ROOF)) > 0.9
    expect(wand.panel).to_have_attribute("data-state", "idle")

    wand.select(215, 55)
    wand.answered()
    wand.press("Enter")
    wand.has(2)
    assert iou(wand.stored()[1], rectangle(SHED)) > 0.8
    wand.press("Control+z")
    wand.has(1)
    wand.press("Control+y")
    wand.has(2)

    left, top, right, bottom = ROOF
    wand.drag(wand.at(left - 6, top - 6), wand.at(right + 6, bottom + 6))
    wand.answered()
    wand.press("Enter")
    wand.has(3)
    assert iou(wand.stored()[2], rectangle(ROOF)) > 0.9


def test_an_outline_is_corrected_cycled_and_dropped(wand: Wand):
    wand.select(-40, 100)
    expect(wand.page.locator(".tt-complaint")).to_contain_text("no picture at this place")
    wand.select(110, 120, button="right")
    expect(wand.page.locator(".tt-complaint")).to_contain_text("First click the thing")
    expect(wand.panel).to_have_attribute("data-state", "idle")

    wand.select(110, 120)
    wand.answered(clicks=1)
    wand.select(215, 55)
    wand.answered(clicks=2)
    wand.select(30, 30, shift=True)
    wand.answered(clicks=3)
    wand.select(30, 200, button="right")
    wand.answered(clicks=4)
    wand.press("Enter")
    wand.has(1)
    (both,) = wand.stored()
    roof, shed, grass = both.intersection(rectangle(ROOF)).area, both.intersection(rectangle(SHED)).area, both.intersection(Point(30, 30).buffer(5)).area
    assert roof > 0.8 * rectangle(ROOF).area and shed > 0.8 * rectangle(SHED).area and grass == 0

    wand.select(110, 120)
    wand.answered(clicks=1)
    choices = int(wand.panel.get_by_role("button", name="Other").inner_text().split("/")[1])
    assert choices > 1
    for candidate in [*range(1, choices), 0]:
        wand.press("Tab")
        expect(wand.panel).to_have_attribute("data-candidate", str(candidate))
    wand.select(215, 55)
    wand.answered(clicks=2)
    wand.press("Control+z")
    expect(wand.panel).to_have_attribute("data-clicks", "1")
    wand.press("Escape")
    expect(wand.panel).to_have_attribute("data-state", "idle")

    outlines = wand.page.locator(".leaflet-overlay-pane path[stroke-dasharray]")
    wand.point_at(215, 55)
    expect(outlines).to_have_count(1)
    wand.point_at(20, 230)
    expect(outlines).to_have_count(0)
    wand.press("Enter", "Escape")
    expect(wand.panel).to_be_hidden()
    wand.has(1)
    wand.press("?")
    for words in ("Magic wand", "This does not; a right click too", "Another possible outline"):
        expect(wand.page.get_by_role("dialog")).to_contain_text(words)


def test_everything_in_an_area_is_looked_over_and_accepted_as_one_step(wand: Wand):
    around = wand.at(5, 5), wand.at(250, 250)
    wand.drag_along(*around, hold="Shift")
    wand.answered("many")
    found = int(wand.panel.get_attribute("data-found") or 0)
    assert found >= 2
    kept = wand.kept()
    wand.press(",")
    assert wand.kept() < kept
    wand.panel.get_by_role("button", name="None").click()
    assert wand.kept() == 0
    faint = wand.page.locator(".tt-canvas path[stroke-dasharray='2 5']")
    assert faint.count() > 0, "what can be picked is seen"
    wand.select(115, 120)
    wand.select(215, 55)
    assert wand.kept() == 2
    wand.select(215, 55)
    assert wand.kept() == 1
    wand.select(215, 55)
    wand.press("2", "Enter")
    wand.has(2)
    roof, shed = sorted(wand.stored(), key=lambda one: -one.area)
    assert iou(roof, rectangle(ROOF)) > 0.9 and iou(shed, rectangle(SHED)) > 0.8
    labels = current_labels(wand.project.journal_file)
    assert set(labels["origin"]) == {"smart-select"} and set(labels["class_value"]) == {wand.project.classes().classes[1].value}

    wand.press("Shift+E")
    expect(wand.panel).to_have_attribute("data-mode", "area")
    wand.press("Enter")
    wand.answered("many")
    wand.panel.get_by_role("button", name="None").click()
    wand.select(115, 120)
    assert wand.kept() == 0, "there is a label already"
    wand.press("Escape")
    expect(wand.panel).to_have_attribute("data-state", "idle")
    wand.press("Control+z")
    wand.has(0)


def test_all_like_a_label_are_proposed(wand: Wand):
    wand.select(85, 120)
    wand.select(150, 120)
    wand.answered(clicks=2)
    wand.press("Enter")
    wand.has(1)
    wand.panel.get_by_role("button", name="All like it").click()
    wand.answered("many")
    wand.panel.get_by_role("button", name=re.compile("None|Again")).click()
    wand.press("Escape")
    wand.press("Escape", "v", "Control+a", "Shift+S")
    wand.answered("many")
    expect(wand.page.locator(".tt-hint")).to_contain_text("most will be wrong")
    wand.has(1)


def test_a_rough_outline_is_fitted_and_so_is_a_label(wand: Wand):
    wand.press("Shift+R")
    expect(wand.panel).to_have_attribute("data-mode", "rough")
    rough = [(52, 85), (75, 72), (120, 76), (176, 90), (172, 130), (165, 166), (110, 168), (66, 158), (55, 120)]
    wand.drag_along(*(wand.at(x, y) for x, y in rough))
    wand.answered()
    wand.press("Tab")
    wand.press("Escape")
    wand.drag_along(*(wand.at(x, y) for x, y in rough))
    wand.answered(clicks=0)
    wand.select(215, 55)
    wand.answered(clicks=1)
    wand.press("Backspace")
    wand.answered(clicks=0)
    wand.press("Enter")
    wand.has(1)
    assert iou(wand.stored()[0], rectangle(ROOF)) > 0.9

    wand.press("r")
    left, top, right, bottom = SHED
    wand.click(wand.at(left - 5, top - 2))
    wand.click(wand.at(right + 3, bottom + 5))
    wand.has(2)
    before = set(current_labels(wand.project.journal_file)["object_id"])
    wand.press("v")
    wand.select((left + right) / 2, (top + bottom) / 2)
    wand.press("Shift+T")
    wand.answered()
    wand.press("Enter")
    wand.revision(3)
    assert set(current_labels(wand.project.journal_file)["object_id"]) == before
    assert iou(wand.stored()[1], rectangle(SHED)) > 0.85
    wand.press("Control+z")
    wand.revision(4)
    assert iou(wand.stored()[1], rectangle(SHED)) < 0.85


def test_waiting_is_told_enter_is_remembered_and_stop_stops(wand: Wand):
    """The server's word that it is still looking, as it comes for a large model."""
    held = {"left": 3}
    asked: list[str] = []

    def slow(route: Route) -> None:
        asked.append(route.request.method)
        if route.request.method == "POST" and not (route.request.post_data_json or {}).get("hover") and held["left"] > 0:
            held["left"] -= 1
            waiting = {"stage": "Looking at this part of the picture", "share": 0.4, "ahead": 0}
            route.fulfill(status=202, json={"waiting": waiting, "retry_ms": 300})
        else:
            route.continue_()

    wand.page.route(re.compile(r"/prompt(/find)?(\?.*)?$"), slow)
    wand.select(110, 120)
    expect(wand.panel).to_contain_text("Looking at this part of the picture 40 %")
    wand.press("Enter")
    expect(wand.panel).to_contain_text("accepted when complete")
    wand.has(1)
    held["left"] = 1000
    wand.select(215, 55)
    expect(wand.panel).to_contain_text("40 %")
    with wand.page.expect_request(lambda request: request.method == "DELETE" and "client=" in request.url):
        wand.panel.get_by_role("button", name="Stop").click()
    expect(wand.panel).to_have_attribute("data-state", "idle")
    wand.press("Shift+E", "Enter")
    expect(wand.panel).to_contain_text("40 %")
    with wand.page.expect_request(lambda request: request.method == "DELETE" and "client=" in request.url):
        wand.press("Escape")
    expect(wand.panel).to_have_attribute("data-state", "idle")
    wand.has(1)


def test_tools_are_chosen_fetched_or_the_reason_is_told(wand: Wand, app: App):
    wand.panel.get_by_role("button", name="Smart select").click()
    base = wand.panel.locator("[data-model='sam-vit-b']")
    for words in ("375 MB", "Apache-2.0"):
        expect(base).to_contain_text(words)
    base.get_by_role("button", name="Download").click()
    expect(base.get_by_role("alert")).not_to_be_empty(timeout=90_000)
    expect(base.get_by_role("button", name="Try again")).to_be_visible()
    wand.press("Escape")
    expect(base).to_be_hidden()

    save_checkpoint(app.data_folder / "models" / "sam")
    wand.panel.get_by_role("button", name="Smart select").click()
    wand.panel.locator("[data-model='sam-file-tiny']").get_by_role("button", name="Use").click()
    expect(wand.panel).to_contain_text("SAM from tiny.pth")
    wand.select(110, 120)
    wand.answered()
    wand.press("Tab")
    expect(wand.panel).to_have_attribute("data-candidate", "1")
    wand.press("Enter")
    wand.has(1)
    assert current_labels(wand.project.journal_file)["origin"].tolist() == ["sam"]
    assert wand.stored()[0].area > 0
