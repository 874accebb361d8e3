"""The Label page as a person drives it, for the tests that click."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from affine import Affine
from playwright.sync_api import Locator, Page, expect

from imagery.library import add_copy
from workspace.project import Project, create_project

if TYPE_CHECKING:  # conftest imports this module
    from tests.browser.conftest import App


def project_with_image(app: App, name: str, folder: Path) -> Project:
    """A fresh project with an image of 256 pixels of 1 m, in the running app's workspace."""
    made = create_project(app.data_folder / "projects", re.sub(r"\W+", " ", name)[:70])
    path = folder / "scene.tif"
    profile = {"driver": "GTiff", "width": 256, "height": 256, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as file:
        file.write(np.random.default_rng(0).integers(60, 160, (3, 256, 256)).astype(np.uint8))
    add_copy(made, path, "scene.tif")
    return made


class LabelPage:
    """The Label page of one project in one tab."""

    def __init__(self, page: Page, app: App, project: Project) -> None:
        self.page = page
        self.page.goto(f"{app.url}/draw_labels?project={project.id}", wait_until="domcontentloaded")
        self.has(None)

    @property
    def state(self) -> Locator:
        return self.page.locator(".tt-state")

    def has(self, labels: int | None, state: str = "saved") -> None:
        """Wait until the map shows this many labels and says that they are saved."""
        counted = r"\d+" if labels is None else str(labels)
        expect(self.state).to_have_attribute("data-labels", re.compile(f"^{counted}$"), timeout=60_000)
        expect(self.state).to_have_attribute("data-state", state, timeout=60_000)

    def click(self, *places: tuple[float, float]) -> None:
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        for x, y in places:
            self.page.mouse.click(box["x"] + x, box["y"] + y)

    def double_click(self, x: float, y: float) -> None:
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        self.page.mouse.dblclick(box["x"] + x, box["y"] + y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + start[0], box["y"] + start[1])
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + (start[0] + end[0]) / 2, box["y"] + (start[1] + end[1]) / 2)
        self.page.mouse.move(box["x"] + end[0], box["y"] + end[1])
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def drag_along(self, *places: tuple[float, float], **keys: str) -> None:
        """Press at the first place, move over the others, let go at the last; `hold="Shift"` keeps a key down."""
        box = self.page.locator(".tt-map").bounding_box()
        assert box is not None
        if "hold" in keys:
            self.page.keyboard.down(keys["hold"])
        self.page.mouse.move(box["x"] + places[0][0], box["y"] + places[0][1])
        self.page.mouse.down()
        for x, y in places[1:]:
            self.page.mouse.move(box["x"] + x, box["y"] + y)
        self.page.mouse.up()
        if "hold" in keys:
            self.page.keyboard.up(keys["hold"])

    def revision(self, revision: int) -> None:
        """Wait until so many edits are on disk."""
        expect(self.state).to_have_attribute("data-revision", str(revision))
        self.has(None)
