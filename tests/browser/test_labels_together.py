"""Several people on one layer, named versions and history, through real clicks: nobody's work is lost without a word."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import Page, expect

from labeling.journal import Label, Operation, open_journal
from labeling.label_set import current_labels
from tests.browser.conftest import App
from tests.browser.label_page import LabelPage
from workspace.project import Project

pytestmark = pytest.mark.browser
EDITOR = "document.querySelector('.tt-canvas').mapCanvas.editor"


def test_a_label_changed_in_two_places_at_once_is_kept_twice_and_it_is_said(labels: LabelPage, app: App, project: Project):
    labels.press("o")
    labels.click((300, 300), (360, 300), (420, 300))
    labels.has(3)
    other = LabelPage(labels.page.context.new_page(), app, project)
    other.has(3)
    labels.press("v")
    labels.page.route("**/operations", lambda route: route.abort())
    labels.click((300, 300))
    labels.press("3", "y")  # two edits of one label, made without knowing of the other's
    labels.click((360, 300))
    labels.press("Delete")
    labels.click((420, 300))
    labels.press("3")
    labels.has(2, "offline")
    other.press("v")
    other.click((300, 300))
    other.press("2")
    other.click((360, 300))
    other.press("2")
    other.press("d")
    other.click((420, 300))
    other.has(2)
    labels.page.unroute("**/operations")
    labels.has(4)
    expect(labels.page.locator(".tt-complaint")).to_contain_text("3 labels: changed here and elsewhere")
    other.has(4)
    stored = current_labels(project.journal_file).sort_values("class_value")
    assert stored["class_value"].tolist() == [1, 1, 255, 255]
    assert stored["note"].map(bool).tolist() == [False, False, True, True]
    assert stored["review"].tolist().count("done") == 1
    # what both have seen now is changed without another copy
    labels.press("Escape")
    labels.click((360, 300))
    labels.press("1")
    labels.revision(11)
    assert sorted(current_labels(project.journal_file)["class_value"]) == [1, 2, 255, 255]


def test_changes_of_different_fields_made_at_once_become_one_label_and_are_undone_by_field(labels: LabelPage, app: App, project: Project):
    labels.press("r")
    labels.click((300, 200), (400, 300))
    labels.has(1)
    before = current_labels(project.journal_file).geometry.iloc[0]
    other = LabelPage(labels.page.context.new_page(), app, project)
    other.has(1)
    labels.press("v")
    labels.page.route("**/operations", lambda route: route.abort())
    labels.click((350, 250))
    labels.press("y", "3")  # two edits, made without knowing of the other's
    labels.has(1, "offline")
    other.press("m")
    other.drag((350, 250), (450, 280))
    other.revision(2)
    labels.page.unroute("**/operations")
    labels.has(1)
    other.revision(4)
    (row,) = current_labels(project.journal_file).to_dict("records")
    assert (row["review"], row["class_value"], row["note"]) == ("done", 255, "")
    assert row["geometry"].centroid.x > before.centroid.x
    expect(labels.page.locator(".tt-complaint")).to_be_hidden()
    labels.press("h")
    expect(labels.page.locator(".tt-record tr").first).to_contain_text("merged with a change made elsewhere")
    labels.press("Escape")
    expect(labels.page.locator(".tt-row .tt-mark svg")).to_have_count(1)
    labels.press("Control+z")
    labels.revision(5)
    other.press("Control+z")
    other.revision(6)
    (row,) = current_labels(project.journal_file).to_dict("records")
    assert (row["review"], row["class_value"]) == ("done", 2)
    assert row["geometry"].equals_exact(before, 1e-9)


def add_points(project: Project, count: int) -> None:
    open_journal(project.journal_file).append(
        Operation(uuid.uuid4().hex, "upsert", f"p{i}", Label({"type": "Point", "coordinates": [-116.999 + i * 1e-5, 36.1435]}, 2))
        for i in range(count)
    )


def test_a_version_is_kept_and_restored_and_restoring_is_undone(page: Page, app: App, project: Project):
    add_points(project, 20)
    labels = LabelPage(page, app, project)
    labels.has(20)
    labels.press("Shift+V")
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("No version is kept yet")
    sheet.get_by_label("Keep the labels as they are now").fill("before the field trip?")
    sheet.get_by_role("button", name="Keep this version").click()
    expect(sheet.locator(".tt-version")).to_contain_text("As the labels are now")
    labels.press("Escape")
    labels.press("Control+a", "Delete")
    sheet.get_by_role("button", name="Delete").click()
    labels.press("o")
    labels.click((300, 300))
    labels.has(1)
    labels.press("Shift+V")
    row = sheet.locator(".tt-version")
    expect(row.get_by_label("Name of this version")).to_have_value("before the field trip?")
    expect(row).to_contain_text("20 labels")
    expect(row).to_contain_text("Since then: 1 made, 20 deleted")
    row.get_by_role("button", name="Restore").click()
    expect(sheet).to_contain_text("This brings back 20 labels, deletes 1 label.")
    sheet.get_by_role("button", name="Restore").click()
    labels.has(20)
    assert sorted(current_labels(project.journal_file)["object_id"]) == sorted(f"p{i}" for i in range(20))
    labels.press("Control+z")
    sheet.get_by_role("button", name="Delete").click()
    labels.has(1)
    labels.press("Shift+V")
    expect(sheet.get_by_label("Name of this version").first).to_have_value('Before restoring "before the field trip?"')


def test_a_version_is_renamed_and_deleted_after_a_question(page: Page, app: App, project: Project):
    add_points(project, 2)
    journal = open_journal(project.journal_file)
    journal.name_version("first")
    journal.name_version("second")
    labels = LabelPage(page, app, project)
    labels.press("Shift+V")
    sheet = page.get_by_role("dialog")
    name = sheet.get_by_label("Name of this version").first
    expect(name).to_have_value("second")
    name.fill("dry season")
    name.press("Enter")
    expect(sheet.get_by_role("button", name='Delete "dry season"')).to_be_visible()
    sheet.get_by_role("button", name='Delete "first"').click()
    expect(sheet).to_contain_text('Delete the version "first"?')
    sheet.get_by_role("button", name="Delete", exact=True).click()
    expect(sheet.get_by_label("Name of this version")).to_have_count(1)
    assert [one.name for one in journal.versions()] == ["dry season"]
    labels.press("Escape")
    labels.has(2)


def test_the_history_of_a_label_says_who_did_what(labels: LabelPage, project: Project):
    labels.press("Shift+V")
    sheet = labels.page.get_by_role("dialog")
    sheet.get_by_label("Your name").fill("Ada")
    labels.press("Escape")
    labels.press("r")
    labels.click((300, 200), (400, 300))
    labels.has(1)
    labels.press("v")
    labels.click((350, 250))
    labels.press("2", "y")
    labels.revision(3)
    labels.page.locator(".tt-strip").get_by_role("button", name="What was done to the label").click()
    rows = sheet.locator(".tt-record tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("Review mark")
    expect(rows.nth(1)).to_contain_text("Class")
    expect(rows.nth(2)).to_contain_text("Made (rectangle)")
    expect(rows.nth(2)).to_contain_text("Ada")
    assert [one.author for one in open_journal(project.journal_file).history(current_labels(project.journal_file)["object_id"][0])] == [
        "Ada"
    ] * 3


def test_what_would_delete_many_labels_waits_for_an_answer(page: Page, app: App, project: Project):
    add_points(project, 60)
    labels = LabelPage(page, app, project)
    labels.has(60)
    everything = f"{EDITOR}.change([...{EDITOR}.labels].map(([id, one]) => ({{ id, before: one.feature, after: null }})))"
    page.evaluate(everything)  # as a tool would that did not ask
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("Delete 60 labels?")
    sheet.get_by_role("button", name="Cancel").click()
    labels.has(60)
    assert open_journal(project.journal_file).revision() == 60
    page.evaluate(everything)
    sheet.get_by_role("button", name="Delete").click()
    labels.has(0)
    assert current_labels(project.journal_file).empty


@pytest.mark.parametrize("name", ["Classes", "Import"])
def test_a_dialog_that_is_closed_while_the_page_runs_stays_closed(name: str, labels: LabelPage, page: Page, project: Project):
    page.get_by_role("button", name=name, exact=True).click()
    dialog = page.get_by_test_id("stDialog")
    expect(dialog.get_by_role("button", name="Close")).to_be_visible()
    page.evaluate("""() => {
      const app = document.querySelector('[data-testid=stApp]');
      const close = () => document.querySelector('[data-testid=stDialog] [aria-label=Close]').click();
      const seen = new MutationObserver(() => {
        if (app.dataset.testScriptState === 'running') { seen.disconnect(); close(); }
      });
      seen.observe(app, { attributes: true });
    }""")
    point = {"type": "Point", "coordinates": [-117.0, 36.1]}
    open_journal(project.journal_file).append([Operation(uuid.uuid4().hex, "upsert", "from elsewhere", Label(point, 1))])
    expect(page.get_by_text("Next: 3")).to_be_visible()  # the page ran because of the label, and the dialog was open as it began
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_role("button", name="Download 1 label")).to_be_visible()
