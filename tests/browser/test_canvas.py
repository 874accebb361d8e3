"""The label map through real clicks, without pauses: nothing drawn is lost, whatever happens to page and server."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from labeling.journal import open_journal
from labeling.label_set import current_labels, kinds
from tests.browser.conftest import App
from tests.browser.label_page import LabelPage
from workspace.project import Project

pytestmark = pytest.mark.browser


LINE = [(300.0, 150.0), (340.0, 220.0), (400.0, 260.0), (470.0, 250.0), (520.0, 300.0), (560.0, 380.0)]


def test_a_line_of_quick_clicks_is_saved_survives_a_reload_and_can_be_undone(labels: LabelPage, project: Project):
    labels.press("l")
    labels.click(*LINE)
    labels.press("Enter")
    labels.has(1)
    expect(labels.state).to_have_text("Saved")
    stored = current_labels(project.journal_file)
    assert len(stored.geometry.iloc[0].coords) == len(LINE)
    expect(labels.page.get_by_text("1 label", exact=True)).to_be_visible()

    labels.page.reload()
    labels.has(1)
    labels.press("Control+z")
    labels.has(0)
    assert current_labels(project.journal_file).empty
    labels.press("Control+Shift+z")
    labels.has(1)


def test_quick_clicks_along_lines_already_there_lose_no_vertex(labels: LabelPage, project: Project):
    """Each click snaps to what lies below it, also when it comes without a move of the pointer before it."""
    for i in range(1, 9):
        labels.press("l")
        labels.click(*LINE[:3])
        labels.press("Enter")
        labels.has(i)
    stored = current_labels(project.journal_file)
    assert [len(line.coords) for line in stored.geometry] == [3] * 8
    assert all(line.equals_exact(stored.geometry.iloc[0], 1e-9) for line in stored.geometry)


def test_every_kind_of_shape_in_the_class_of_its_number(labels: LabelPage, project: Project):
    labels.press("l", "1")
    labels.click((100, 100), (150, 120))
    labels.double_click(200, 100)
    labels.press("p", "2")
    labels.click((300, 300), (400, 300), (400, 400), (300, 400), (300, 300))
    labels.press("r", "3")
    labels.click((500, 300), (600, 380))
    labels.press("o", "1")
    labels.click((500, 150), (560, 150))
    labels.has(5)
    stored = current_labels(project.journal_file)
    assert list(zip(kinds(stored), stored["class_value"], strict=True)) == [
        ("line", 2),
        ("area", 1),
        ("area", 255),
        ("point", 2),
        ("point", 2),
    ]
    assert len(stored.geometry.iloc[0].coords) == 3
    assert len(stored.geometry.iloc[1].exterior.coords) == 5


def test_a_label_is_selected_reclassified_reshaped_moved_and_deleted(labels: LabelPage, project: Project):
    labels.press("r")
    labels.click((300, 200), (400, 300))
    labels.has(1)
    first = current_labels(project.journal_file).iloc[0]

    labels.press("v")
    labels.click((350, 250))
    labels.press("2")
    expect(labels.state).to_have_attribute("data-revision", "2")
    assert current_labels(project.journal_file)["class_value"].tolist() == [1]

    labels.press("e")
    labels.page.locator(".marker-icon:not(.marker-icon-middle)").first.wait_for()
    labels.drag((300, 200), (260, 180))
    expect(labels.state).to_have_attribute("data-revision", "3")
    reshaped = current_labels(project.journal_file).iloc[0]
    assert reshaped["object_id"] == first["object_id"]
    assert reshaped.geometry.area > first.geometry.area

    labels.press("m")
    labels.drag((350, 250), (450, 280))
    expect(labels.state).to_have_attribute("data-revision", "4")
    moved = current_labels(project.journal_file).iloc[0]
    assert moved.geometry.area == pytest.approx(reshaped.geometry.area, rel=0.01)
    assert moved.geometry.centroid.x > reshaped.geometry.centroid.x

    labels.press("d")
    labels.click((450, 280))
    labels.has(0)
    for _ in range(4):
        labels.press("Control+z")
    labels.has(1)
    assert current_labels(project.journal_file).geometry.iloc[0].equals_exact(first.geometry, 1e-9)


def test_lines_have_the_width_of_the_page_and_a_chosen_one_is_given_another(labels: LabelPage, project: Project):
    def widths() -> list[float]:
        return current_labels(project.journal_file)["width_m"].fillna(0).tolist()

    def drawn() -> list[float]:
        return labels.page.evaluate(
            "[...document.querySelector('.tt-canvas').mapCanvas.editor.labels.values()].map((one) => one.layer.options.widthM || 0)"
        )

    fresh, chosen = (labels.page.get_by_role("spinbutton", name=name, exact=True) for name in ("Line width (m)", "Width of the chosen (m)"))
    labels.press("l")
    labels.click((300, 150), (400, 150))
    labels.press("Enter")
    labels.has(1)
    fresh.fill("9")
    fresh.press("Enter")
    labels.click((300, 250), (400, 250))
    labels.press("Enter", "r")
    labels.click((500, 300), (600, 380))
    labels.has(3)
    assert widths() == drawn() == [4.0, 9.0, 0.0]

    labels.press("v")
    labels.click((350, 150))
    expect(chosen).to_have_value("4")
    chosen.fill("6.5")
    chosen.press("Enter")
    labels.revision(4)
    assert widths() == drawn() == [6.5, 9.0, 0.0]
    labels.press("Control+z")
    labels.revision(5)
    assert widths() == drawn() == [4.0, 9.0, 0.0]
    expect(chosen).to_have_value("4")
    labels.page.reload()
    labels.has(3)
    labels.press("l")
    expect(fresh).to_have_value("9")


def test_a_second_tab_sees_the_edits_of_the_first(labels: LabelPage, app: App, project: Project):
    other_tab = labels.page.context.new_page()
    other = LabelPage(other_tab, app, project)
    other.has(0)
    labels.press("o")
    labels.click((300, 300), (330, 300))
    other.has(2)
    other.press("d")
    other.click((300, 300))
    labels.has(1)
    labels.press("Control+z", "Control+z")  # the first point is gone already: said, not brought back wrongly
    labels.has(0)


def test_edits_made_while_the_server_is_down_arrive_when_it_is_back(labels: LabelPage, app: App, project: Project):
    labels.press("o")
    labels.click((300, 300))
    labels.has(1)
    app.kill()
    labels.click((350, 300), (400, 300))
    expect(labels.state).to_have_text("Not connected: 2 edits waiting")
    labels.has(3, "offline")
    app.start()
    labels.has(3)
    assert len(current_labels(project.journal_file)) == 3
    for round_ in range(3):  # killed while edits are on their way
        labels.click(*[(250 + 40 * i, 100 + 60 * round_) for i in range(6)])
        app.kill()
        labels.click((250, 130 + 60 * round_))
        app.start()
        labels.has(3 + 7 * (round_ + 1))
    stored = open_journal(project.journal_file)
    assert stored.revision() == sum(stored.counts().values()) == 24


def test_edits_of_a_tab_closed_before_they_arrived_are_sent_by_the_next(labels: LabelPage, app: App, project: Project):
    labels.press("o")
    labels.click((300, 300))
    labels.has(1)
    labels.page.route("**/operations", stored_but_not_answered)
    labels.click((350, 300))
    labels.has(2, "offline")
    labels.page.unroute("**/operations")
    labels.page.route("**/operations", lambda route: route.abort())
    labels.click((400, 300))
    labels.has(3, "offline")
    assert len(current_labels(project.journal_file)) == 2
    context = labels.page.context
    labels.page.close(run_before_unload=False)
    other = LabelPage(context.new_page(), app, project)
    other.has(3)
    stored = open_journal(project.journal_file)
    assert stored.revision() == sum(stored.counts().values()) == 3


def stored_but_not_answered(route: Route) -> None:
    """The connection breaks after the server has stored an edit, before the browser knows."""
    route.fetch()
    route.abort()


def test_the_map_stays_when_the_page_reruns(labels: LabelPage):
    map_ = "document.querySelector('.tt-canvas').mapCanvas.map"
    labels.page.evaluate(f"window.before = {map_}; {map_}.setView([36.1435, -116.999], 20, {{animate: false}})")
    labels.press("o")
    labels.click((300, 300), (350, 300))
    labels.has(2)
    expect(labels.page.get_by_text("2 labels", exact=True)).to_be_visible()
    assert labels.page.evaluate(f"window.before === {map_} && {map_}.getZoom()") == 20
    labels.page.get_by_role("link", name="1 Imagery").click()
    labels.page.get_by_role("link", name="2 Label").click()
    labels.has(2)
    assert labels.page.evaluate(f"{map_}.getZoom()") == 20


def test_keys_typed_into_a_field_do_not_draw(labels: LabelPage):
    labels.page.get_by_role("button", name="Classes", exact=True).click()
    name = labels.page.get_by_label("Name", exact=True)
    name.fill("")
    name.press_sequentially("dlp 2")
    expect(name).to_have_value("dlp 2")
    expect(labels.page.locator(".tt-button.tt-on")).to_contain_text("Choose")


def test_a_class_name_is_never_read_as_markup(page: Page, app: App, project: Project):
    schema = project.classes()
    first = schema.classes[0].model_copy(update={"name": "<img src=x onerror='window.hit=1'>"})
    project.save_classes(schema.model_copy(update={"classes": (first, *schema.classes[1:])}))
    labels = LabelPage(page, app, project)
    labels.press("r")
    labels.click((300, 200), (400, 300))
    labels.has(1)
    labels.press("v")
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 350, box["y"] + 250)
    expect(page.locator(".leaflet-tooltip")).to_contain_text("<img src=x")
    assert page.evaluate("window.hit") is None
