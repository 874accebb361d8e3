"""The pictures of the README: walk the loop on the demo scene and photograph each page. `python -m tests.browser.pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, App, chromium
from tests.browser.test_loop import MINUTE, canvas_ready, draw_line, go_to, tracks

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
LINES = 10


def photograph(page: Page, name: str) -> None:
    """Save what is on screen."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2500)
    page.screenshot(path=PICTURES / f"{name}.jpg", type="jpeg", quality=88)


def walk(page: Page, app: App) -> None:
    """The loop, as tests/browser/test_loop.py walks it, with everything as the pages suggest it."""
    page.goto(app.url, wait_until="domcontentloaded")
    page.get_by_role("button", name="Start with the demo scene").wait_for()
    photograph(page, "start")
    page.get_by_role("button", name="Start with the demo scene").click()
    expect(page.get_by_text("demo_scene.tif").first).to_be_attached(timeout=2 * MINUTE)
    canvas_ready(page)
    photograph(page, "load_imagery")
    go_to(page, "2 Label")
    expect(page.locator(".tt-state[data-state='saved']")).to_be_attached()
    canvas_ready(page)
    page.keyboard.press("l")
    for line in tracks(app.data_folder / "projects" / "demo-desert-edge", LINES):
        draw_line(page, line)
    expect(page.locator(f".tt-state[data-labels='{LINES}'][data-state='saved']")).to_be_attached()
    photograph(page, "draw_labels")
    go_to(page, "3 Tiles")
    page.get_by_role("button", name="Export tiles").click()
    expect(page.get_by_role("link", name="Next: 4 Train")).to_be_visible(timeout=2 * MINUTE)
    photograph(page, "export_tiles")
    go_to(page, "4 Train")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("link", name="Next: 5 Compare")).to_be_visible(timeout=20 * MINUTE)
    photograph(page, "train_model")
    go_to(page, "5 Compare")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("tab", name="Scores")).to_be_visible(timeout=10 * MINUTE)
    expect(page.locator(".leaflet-sbs-range")).to_be_attached()
    canvas_ready(page)
    photograph(page, "preview_results")


def main() -> None:
    """Take all pictures on a fresh workspace."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        app = App(Path(place))
        app.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(MINUTE)
            walk(page, app)
            browser.close()
        finally:
            app.kill()


if __name__ == "__main__":
    main()
