"""Every tool, key and list of the label map, through real clicks and taps."""

from __future__ import annotations

import itertools
import math
import re
import uuid
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from playwright.sync_api import Browser, Page, expect

from imagery.library import add_copy
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import current_labels, kinds, sizes
from tests.browser.conftest import App
from tests.browser.label_page import LabelPage
from workspace.classes import ClassDef, ClassSchema
from workspace.project import Project

pytestmark = pytest.mark.browser
MAP = "document.querySelector('.tt-canvas').mapCanvas.map"
WEST, NORTH, DEGREE = -116.99995, 36.14437, 1e-5
"""Upper left corner of the image, and about a metre."""


def add_squares(project: Project, count: int, class_value: int = 2) -> None:
    """Squares of about 5 m, ten to a row."""
    corners = ((0, 0), (5, 0), (5, -5), (0, -5), (0, 0))
    operations = []
    for i in range(count):
        x, y = 30 + i % 10 * 20, -30 - i // 10 * 20
        ring = [[WEST + (x + dx) * DEGREE, NORTH + (y + dy) * DEGREE] for dx, dy in corners]
        label = Label({"type": "Polygon", "coordinates": [ring]}, class_value, "imported")
        operations.append(Operation(uuid.uuid4().hex, "upsert", f"square-{i}", label))
    open_journal(project.journal_file).append(operations)


def metres_per_pixel(labels: LabelPage) -> float:
    return float(
        labels.page.evaluate(f"{MAP}.distance({MAP}.containerPointToLatLng([300, 300]), {MAP}.containerPointToLatLng([400, 300])) / 100")
    )


def test_circle_freehand_and_whole_picture(labels: LabelPage, project: Project):
    scale = metres_per_pixel(labels)
    labels.press("c")
    labels.click((400, 200), (450, 200))
    labels.press("g", "2")
    labels.drag_along((300, 350), (330, 330), (360, 370), (390, 330), (420, 350))
    labels.press("f", "1")
    labels.drag_along((550, 300), (620, 290), (640, 360), (560, 380))
    labels.press("w")
    labels.click((650, 480))
    labels.has(4)
    stored = current_labels(project.journal_file)
    assert kinds(stored).tolist() == ["area", "line", "area", "area"]
    assert stored["class_value"].tolist() == [2, 1, 2, 2]
    assert stored["width_m"].fillna(0).tolist() == [0, 4, 0, 0]
    circle, line, area, whole = sizes(stored)
    assert circle == pytest.approx(math.pi * (50 * scale) ** 2, rel=0.03)
    assert line == pytest.approx((math.hypot(30, 20) + 2 * math.hypot(30, 40) + math.hypot(30, 20)) * scale, rel=0.05)
    assert 4000 * scale**2 < area < 7000 * scale**2
    assert whole == pytest.approx(256 * 256, rel=0.01)


def test_cut_a_hole_split_and_merge_are_one_step_each(labels: LabelPage, project: Project):
    labels.press("r")
    labels.click((300, 200), (600, 400))
    labels.has(1)
    whole = sizes(current_labels(project.journal_file)).iloc[0]
    labels.press("x")
    labels.click((420, 280), (480, 280), (480, 320), (420, 320), (420, 280))
    labels.revision(2)
    with_hole = current_labels(project.journal_file)
    assert len(with_hole.geometry.iloc[0].interiors) == 1
    assert sizes(with_hole).iloc[0] == pytest.approx(whole * (1 - 60 * 40 / (300 * 200)), rel=0.02)

    labels.press("s")
    labels.click((450, 150), (450, 450))
    labels.press("Enter")
    labels.has(2)
    parts = current_labels(project.journal_file)
    assert sizes(parts).sum() == pytest.approx(sizes(with_hole).iloc[0], rel=1e-6)
    assert all(not part.interiors for part in parts.geometry)

    labels.press("v")
    labels.click((350, 300))
    labels.page.keyboard.down("Shift")
    labels.click((550, 300))
    labels.page.keyboard.up("Shift")
    expect(labels.page.locator(".tt-chosen")).to_contain_text("2 chosen")
    labels.press("u")
    labels.has(1)
    together, before = current_labels(project.journal_file).geometry.iloc[0], with_hole.geometry.iloc[0]
    assert len(together.interiors) == 1
    assert together.symmetric_difference(before).area < 1e-6 * before.area
    labels.press("Control+z", "Control+z", "Control+z")
    labels.has(1)
    expect(labels.page.locator(".tt-complaint")).to_be_hidden()
    assert sizes(current_labels(project.journal_file)).iloc[0] == pytest.approx(whole, rel=1e-6)

    labels.press("Escape", "s")
    labels.click((100, 150), (100, 200))
    labels.press("Enter")
    expect(labels.page.locator(".tt-complaint")).to_contain_text("from edge to edge")


def test_several_are_chosen_reclassified_copied_moved_and_deleted(labels: LabelPage, project: Project):
    labels.press("o")
    labels.click((300, 200), (340, 200), (380, 200), (600, 400))
    labels.has(4)
    labels.press("v")
    labels.drag_along((280, 180), (350, 220), (400, 240), hold="Shift")
    expect(labels.page.locator(".tt-chosen")).to_contain_text("3 chosen")
    labels.press("2")
    labels.revision(7)
    assert current_labels(project.journal_file)["class_value"].tolist() == [1, 1, 1, 2]
    labels.press("Control+d")
    labels.has(7)
    labels.press("m")
    labels.drag_along((314, 214), (314, 300), (314, 314))
    labels.revision(13)
    stored = current_labels(project.journal_file)
    before, copies = stored.iloc[:3], stored.iloc[4:]
    assert (copies.geometry.y.to_numpy() < before.geometry.y.to_numpy()).all()
    assert copies.geometry.x.to_numpy() == pytest.approx(before.geometry.x.to_numpy(), abs=2e-4)
    labels.press("Delete")
    labels.has(4)
    labels.press("b")
    labels.drag_along((580, 380), (600, 400), (620, 420))
    expect(labels.page.locator(".tt-row.tt-on")).to_have_count(1)
    labels.press("Backspace")
    labels.has(3)
    labels.press("Control+z", "Control+z", "Control+z", "Control+z", "Control+z")
    labels.has(4)
    assert current_labels(project.journal_file)["class_value"].tolist() == [2, 2, 2, 2]


def test_vertices_are_added_dragged_and_removed(labels: LabelPage, project: Project):
    def corners() -> int:
        return len(current_labels(project.journal_file).geometry.iloc[0].exterior.coords) - 1

    labels.press("r")
    labels.click((300, 200), (500, 300))
    labels.has(1)
    labels.press("e")
    labels.click((400, 250))
    labels.page.locator(".marker-icon-middle").first.wait_for()
    labels.drag((400, 200), (400, 150))
    labels.revision(2)
    assert corners() == 5
    box = labels.page.locator(".tt-map").bounding_box()
    assert box is not None
    labels.page.mouse.click(box["x"] + 300, box["y"] + 200, button="right")
    labels.revision(3)
    assert corners() == 4
    labels.press("Control+z", "Control+z")
    labels.revision(5)
    assert corners() == 4


def test_drawing_shows_metres_and_snaps_unless_switched_off(labels: LabelPage, project: Project):
    scale = metres_per_pixel(labels)
    box = labels.page.locator(".tt-map").bounding_box()
    assert box is not None
    labels.press("l")
    labels.click((300, 200))
    labels.page.mouse.move(box["x"] + 500, box["y"] + 200)
    expect(labels.page.locator(".tt-hint")).to_have_text(f"{200 * scale:.0f} m")
    labels.click((500, 200))
    labels.press("Enter")
    labels.has(1)
    labels.click((505, 204), (505, 300))
    labels.press("Enter")
    labels.has(2)
    labels.press("a")
    labels.click((505, 195), (600, 195))
    labels.press("Enter")
    labels.has(3)
    first, second, third = (line.coords for line in current_labels(project.journal_file).geometry)
    assert second[0] == pytest.approx(first[1], abs=1e-9)
    assert third[0] != pytest.approx(first[1], abs=1e-6)


def test_undo_and_redo_outlive_a_reload_and_leave_other_tabs_alone(labels: LabelPage, app: App, project: Project):
    labels.press("o")
    labels.click((300, 300), (350, 300), (400, 300))
    labels.has(3)
    labels.press("Control+z")
    labels.has(2)
    labels.page.reload()
    labels.has(2)
    labels.press("Control+Shift+z")
    labels.has(3)
    labels.press("Control+z", "Control+z")
    labels.has(1)

    other = LabelPage(labels.page.context.new_page(), app, project)
    other.has(1)
    expect(other.page.get_by_role("button", name="Undo")).to_be_disabled()
    other.press("v")
    other.click((300, 300))
    other.press("3")
    other.has(1)
    expect(labels.page.locator(".tt-list-class", has_text="Uncertain")).to_contain_text("1")
    labels.press("Control+z")  # what the other tab has changed since is not taken back silently
    expect(labels.page.locator(".tt-complaint")).to_contain_text("changed elsewhere")
    labels.has(1)


def test_two_thousand_labels_are_shown_added_to_and_kept_over_a_reload(page: Page, app: App, project: Project):
    add_squares(project, 2000)
    labels = LabelPage(page, app, project)
    labels.has(2000)
    expect(page.locator(".tt-list-title")).to_have_text("2,000 labels")
    labels.press("o")
    labels.click((120, 90))
    labels.has(2001)
    labels.press("Control+z")
    labels.has(2000)
    labels.press("Control+Shift+z")
    labels.has(2001)
    page.reload(wait_until="domcontentloaded")
    labels.has(2001)
    assert len(current_labels(project.journal_file)) == 2001


def test_the_list_filters_marks_and_changes_many_at_once(page: Page, app: App, project: Project):
    add_squares(project, 30)
    labels = LabelPage(page, app, project)
    labels.has(30)
    title = page.locator(".tt-list-title")
    expect(title).to_have_text("30 labels")
    labels.press("n", "y")
    labels.revision(31)
    labels.press("n", "q", "n")
    labels.revision(32)
    assert current_labels(project.journal_file)["review"].value_counts().to_dict() == {"": 28, "done": 1, "doubtful": 1}
    page.get_by_label("Filter: review").select_option(label="Doubtful")
    expect(title).to_have_text("1 of 30 labels")
    page.get_by_label("Filter: review").select_option(label="Not looked at")
    expect(title).to_have_text("28 of 30 labels")
    page.get_by_role("button", name="Choose these 28").click()
    labels.press("2")
    expect(page.get_by_role("dialog")).to_contain_text('Make 28 labels "Paved road"?')
    labels.press("Enter")
    labels.revision(60)
    paved = page.locator(".tt-list-class").nth(1)
    paved.click()
    expect(paved).to_contain_text(re.compile(r"28\s*93 %"))
    labels.press("Control+a", "Delete")
    labels.press("Escape")
    labels.has(30)
    labels.press("Delete")
    expect(page.get_by_role("dialog")).to_contain_text("Delete 28 labels?")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    labels.has(2)
    page.reload()
    labels.has(2)
    labels.press("Control+z")
    labels.has(30)
    labels.press("Control+z")
    labels.revision(60 + 3 * 28)
    assert set(current_labels(project.journal_file)["class_value"]) == {2}


def test_the_sheet_of_keys_is_the_table_and_keys_leave_fields_alone(labels: LabelPage):
    page = labels.page
    labels.press("?")
    sheet = page.get_by_role("dialog")
    known = page.evaluate(
        "document.querySelector('.tt-canvas').mapCanvas.editor.actions.flatMap((part) => part.entries).map((one) => one.what)"
    )
    assert sheet.locator(".tt-key > span").all_text_contents() == known
    assert len(known) > 35
    labels.press("l", "Escape")
    expect(sheet).to_be_hidden()
    expect(page.locator(".tt-button.tt-on")).to_contain_text("Choose")
    labels.press("o")
    width = page.get_by_label("Line width (m)")
    width.focus()
    labels.press("ArrowUp", "l", "1")
    expect(page.locator(".tt-tools > .tt-on")).to_contain_text("Point")
    width.blur()
    before = page.evaluate(f"{MAP}.getCenter().lng")
    labels.press("ArrowRight")
    assert page.evaluate(f"{MAP}.getCenter().lng") > before
    zoom = page.evaluate(f"{MAP}.getZoom()")
    labels.press("+")
    assert page.evaluate(f"{MAP}.getZoom()") == zoom + 1
    labels.press("0")
    assert page.evaluate(f"{MAP}.getZoom()") == zoom
    labels.press("k")
    expect(page.locator(".tt-hint")).to_contain_text("Square: nothing is chosen")
    page.locator(".leaflet-control-layers-toggle").dispatch_event("mouseover")
    page.get_by_label("Opacity of Labels").fill("0.4")
    assert page.evaluate(f"{MAP}.getContainer().parentElement.parentElement.mapCanvas.editor.renderer._container.style.opacity") == "0.4"


def test_tools_work_by_touch(browser: Browser, app: App, project: Project):
    context = browser.new_context(viewport={"width": 1024, "height": 768}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    labels = LabelPage(page, app, project)
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2

    def tap(*places: tuple[float, float]) -> None:
        for x, y in places:
            page.touchscreen.tap(middle + x, box["y"] + y)

    page.get_by_role("button", name="Area", exact=True).tap()
    tap((-100, 200), (0, 200), (0, 300), (-100, 300))
    page.get_by_role("button", name="Finish").tap()
    labels.has(1)
    page.get_by_role("button", name="More", exact=True).tap()
    page.get_by_role("button", name="Circle").tap()
    tap((80, 250), (120, 250))
    labels.has(2)
    page.get_by_role("button", name="Choose", exact=True).tap()
    tap((-50, 250))
    page.locator(".tt-strip").get_by_role("button", name="Delete").tap()
    labels.has(1)
    page.get_by_role("button", name="More", exact=True).tap()
    page.get_by_role("button", name="Free line").tap()
    finger = context.new_cdp_session(page)
    for kind, spots in (("touchStart", [(-80, 200)]), ("touchMove", [(-20, 230)]), ("touchMove", [(40, 200)]), ("touchEnd", [])):
        points = [{"x": middle + x, "y": box["y"] + y} for x, y in spots]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    labels.has(2)
    stored = current_labels(project.journal_file)
    assert kinds(stored).tolist() == ["area", "line"]
    context.close()


def test_a_shape_begun_outlives_the_snap_key_and_its_own_tool_key(labels: LabelPage, project: Project):
    labels.press("p")
    labels.click((300, 200), (400, 200))
    labels.press("a", "p")
    labels.click((400, 300), (300, 300))
    labels.press("Enter")
    labels.has(1)
    labels.press("r")
    labels.click((500, 200))
    labels.press("a", "r")
    labels.click((600, 300))
    labels.has(2)
    labels.press("c")
    labels.click((400, 420))
    labels.press("a")
    labels.click((440, 420))
    labels.has(3)
    stored = current_labels(project.journal_file)
    assert [len(area.exterior.coords) - 1 for area in stored.geometry] == [4, 4, 64]


def test_boxes_and_circles_are_drawn_by_dragging_too(labels: LabelPage, project: Project):
    scale = metres_per_pixel(labels)
    before = labels.page.evaluate(f"{MAP}.getCenter().lng")
    labels.press("r")
    labels.drag((300, 200), (400, 260))
    labels.has(1)
    labels.drag((520, 300), (407, 254))  # the corner near one that is there snaps to it
    labels.has(2)
    labels.press("c")
    labels.drag((300, 420), (340, 420))
    labels.has(3)
    labels.press("r")
    labels.click((560, 400), (620, 440))  # two clicks as ever
    labels.has(4)
    assert labels.page.evaluate(f"{MAP}.getCenter().lng") == before
    stored = current_labels(project.journal_file)
    box, second, circle, clicked = sizes(stored)
    assert box == pytest.approx(100 * 60 * scale**2, rel=0.02)
    assert stored.geometry.iloc[1].bounds[0] == pytest.approx(stored.geometry.iloc[0].bounds[2], abs=1e-9)
    assert circle == pytest.approx(math.pi * (40 * scale) ** 2, rel=0.03)
    assert clicked == pytest.approx(60 * 40 * scale**2, rel=0.02)
    assert second > 0


def test_a_double_click_closes_an_area_and_leaves_nothing_begun(labels: LabelPage, project: Project):
    labels.press("p")
    labels.click((300, 200), (400, 200))
    labels.double_click(400, 300)
    labels.has(1)
    labels.click((500, 200), (600, 200), (600, 300))
    labels.double_click(500, 200)  # on the first corner
    labels.has(2)
    expect(labels.page.locator(".tt-strip")).to_be_hidden()
    labels.press("r")
    labels.click((300, 350))
    labels.double_click(400, 420)
    labels.has(3)
    expect(labels.page.locator(".tt-strip")).to_be_hidden()
    assert [len(area.exterior.coords) - 1 for area in current_labels(project.journal_file).geometry] == [3, 3, 4]


def test_a_jagged_outline_is_made_square_and_its_handles_leave_room(labels: LabelPage, project: Project):
    """A freehand outline of a turned roof: many vertices close together."""
    corners = [(300, 220), (480, 260), (455, 370), (275, 330), (300, 220)]
    places = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        steps = 16
        places += [(x0 + (x1 - x0) * i / steps + 3 * (i % 2), y0 + (y1 - y0) * i / steps + 3 * (i % 2)) for i in range(steps)]
    labels.press("f")
    labels.drag_along(*places)
    labels.has(1)
    labels.press("e")
    labels.click((380, 300))
    handles = labels.page.locator(".marker-icon:visible")
    expect(handles.first).to_be_visible()
    before = handles.count()
    strip = labels.page.locator(".tt-strip")
    expect(strip.get_by_role("button", name="Merge into one label")).to_be_hidden()
    strip.get_by_role("button", name="Make the corners of areas square").click()
    labels.revision(2)
    assert len(current_labels(project.journal_file).geometry.iloc[0].exterior.coords) == 5
    expect(handles).to_have_count(8)
    assert before > 8
    labels.press("Control+z")
    labels.revision(3)


def test_keys_reach_the_map_after_a_picture_was_chosen_and_page_keys_turn_pictures(page: Page, app: App, project: Project, tmp_path: Path):
    path = tmp_path / "other.tif"
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, 510_000, 0, -1, 4_000_000)) as file:
        file.write(np.full((1, 64, 64), 90, np.uint8))
    add_copy(project, path, "other.tif")
    labels = LabelPage(page, app, project)
    centre = f"{MAP}.getCenter().lng"
    page.get_by_test_id("stSelectbox").first.click()
    page.get_by_role("option", name="other.tif").click()
    page.wait_for_function(f"{centre} > -116.9")
    box = page.locator(".tt-map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    labels.press("l")
    expect(page.locator(".tt-tools > .tt-on:visible")).to_contain_text("Line")
    labels.press("PageDown")
    assert page.evaluate(centre) < -116.9
    labels.press("PageUp")
    assert page.evaluate(centre) > -116.9


def test_a_class_just_made_is_the_one_to_draw_with(page: Page, app: App, project: Project):
    labels = LabelPage(page, app, project)
    page.get_by_role("button", name="Classes", exact=True).click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_role("button", name="New class").click()
    dialog.get_by_placeholder("For example: Trail").fill("Roof")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".tt-classes .tt-on")).to_contain_text("Roof")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    labels.press("r")
    labels.drag((300, 300), (400, 350))
    labels.has(1)
    assert current_labels(project.journal_file)["class_value"].tolist() == [3]


def test_the_bar_stays_one_row_and_what_has_no_room_is_in_menus(page: Page, app: App, project: Project):
    names = [f"Kind of thing {i}" for i in range(1, 13)]
    project.save_classes(ClassSchema(classes=tuple(ClassDef(value=i, name=name, colour="#3366cc") for i, name in enumerate(names, 1))))
    page.set_viewport_size({"width": 1024, "height": 768})
    labels = LabelPage(page, app, project)
    bar = page.locator(".tt-bar")
    assert bar.evaluate("bar => bar.offsetHeight") < 50
    assert bar.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    page.get_by_role("button", name="All classes").click()
    page.locator(".tt-all-classes").get_by_role("button", name=names[11]).click()
    expect(page.locator(".tt-all-classes")).to_be_hidden()
    expect(page.locator(".tt-classes .tt-on")).to_be_visible()
    expect(page.locator(".tt-classes .tt-on")).to_contain_text(names[11])
    page.get_by_role("button", name="More", exact=True).click()
    labels.press("Escape")
    expect(page.locator(".tt-more-tools")).to_be_hidden()
    page.get_by_role("button", name="More", exact=True).click()
    page.locator(".tt-more-tools").get_by_role("button", name="Circle").click()
    labels.drag((300, 300), (340, 300))
    labels.has(1)
    assert current_labels(project.journal_file)["class_value"].tolist() == [12]
    labels.press("l")
    expect(page.get_by_label("Line width (m)")).to_be_visible()
    assert bar.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    page.set_viewport_size({"width": 1700, "height": 900})
    expect(page.get_by_role("button", name="More", exact=True)).to_be_hidden()
    page.locator(".tt-tools").get_by_role("button", name="Split").click()
    expect(page.locator(".tt-tools > .tt-on:visible")).to_contain_text("Split")
