"""Files in and out of the Label page, and what changes of the classes do to the map, with real clicks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from labeling.exchange import read_labels
from labeling.journal import open_journal
from labeling.label_set import current_labels
from tests.browser.conftest import App
from tests.browser.label_page import LabelPage, project_with_image

pytestmark = pytest.mark.browser


def test_a_file_without_a_crs_comes_in_goes_out_and_its_class_is_removed(page: Page, app: App, tmp_path: Path):
    """Metres without a word about them: placed by the guess, imported with a new class, exported, reclassified, taken back."""
    project = project_with_image(app, "exchange", tmp_path)
    page.add_init_script("localStorage.setItem('terratune.person', 'Ada')")
    labels = LabelPage(page, app, project)
    rings = [[[500_000 + x, 3_999_900], [500_020 + x, 3_999_900], [500_020 + x, 3_999_880], [500_000 + x, 3_999_900]] for x in (20, 60, 9_000)]
    shapes = [{"type": "Feature", "properties": {"class": "shed"}, "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    (tmp_path / "sheds.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))

    page.get_by_role("button", name="Import", exact=True).click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(tmp_path / "sheds.geojson"))
    expect(dialog.get_by_text("67% of the shapes lie on the imagery")).to_be_visible()
    expect(dialog.get_by_text("Leave out 1 shape of 3")).to_be_visible()
    expect(dialog.get_by_role("combobox", name="shed becomes")).to_have_value("New class: shed")
    dialog.get_by_role("button", name="Import", exact=True).click()
    labels.has(2)
    expect(page.get_by_text("2 labels imported from 3 shapes, 1 left out. New: shed.")).to_be_visible()
    before = current_labels(project.journal_file)
    journal = open_journal(project.journal_file)
    assert [(one.author, one.tool) for one in journal.history(before["object_id"][0])] == [("Ada", "import")]

    settled(page)
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download 2 labels").click()
    download.value.save_as(tmp_path / "out.geojson")
    back = read_labels(tmp_path / "out.geojson", class_field="Classname", schema=project.classes())
    assert back.normalize().geom_equals_exact(before.normalize(), 1e-8).all()
    page.keyboard.press("Escape")

    settled(page)
    page.get_by_role("button", name="Classes", exact=True).click()
    dialog.get_by_role("button", name="shed", exact=True).click()
    dialog.get_by_role("button", name="Remove", exact=True).click()
    dialog.get_by_role("button", name="Remove the class").click()
    expect(dialog.get_by_text("2 labels were given the class 'Unpaved road'")).to_be_visible()
    assert set(current_labels(project.journal_file)["class_value"]) == {2}
    settled(page)
    dialog.get_by_role("button", name="Take back").click()
    expect(dialog.get_by_text("It is as it was.")).to_be_visible()
    assert set(current_labels(project.journal_file)["class_value"]) == {3}
    tools = ["import", "class list", "undo"]
    assert [(one.author, one.tool) for one in journal.history(before["object_id"][0])] == [("Ada", tool) for tool in tools]
    settled(page)
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()

    settled(page)
    page.get_by_role("button", name="Take back").click()
    labels.has(0)


def settled(page: Page) -> None:
    """Wait until the page has drawn what it was asked: a click on what is being replaced is lost."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
