"""The map: two sides of one place by swipe, side by side or in turns; and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from imagery.library import Raster, list_rasters, raster_source
from imagery.raster import describe
from imagery.read import open_raster
from imagery.stretch import identity_stretch
from inference.first_look import latest_map
from inference.report import REPORT_FILE, Report, read_report
from inference.settings import read_settings
from ui import maps
from ui.canvas import view_map
from ui.comparison.changes import add_changes, changes_choice, changes_told
from ui.comparison.choices import ALL_AT_ONCE, KEY, SEEN
from ui.comparison.legend import legend
from ui.comparison.places import gone_to
from ui.comparison.shape_layer import add_shown_shapes
from ui.comparison.sides import Side, add_side, shown_classes, side_choice
from ui.frame import tile_token
from ui.label_next import add_square
from ui.problems import explained, plain
from ui.scenes import add_raster, bounds_of
from ui.wording import distinct
from workspace.project import Project

MAP_HEIGHT_PX = 510
CHANGES_HEIGHT_PX = 460
"""Where there is one more row of choices above the map."""
EVERYWHERE = ""
"""Instead of a raster's id: all of them. Not None, which a box shows as nothing chosen."""
SWIPE, TOGETHER, FLICKER, CHANGES = "Swipe", "Side by side", "Flicker", "Changes"
HINTS = {
    SWIPE: "Drag the divider, or choose it with the Tab key and move it with the arrow keys.",
    TOGETHER: "Both maps move together; the ring shows where the pointer is on the other one.",
    FLICKER: "Press Space or F on the map to switch, or ▶ to let it switch by itself.",
}


def results_map(project: Project, rasters: Sequence[Raster], job: Path | None) -> None:
    """The map of a comparison with its controls.

    Args:
        project: Whose.
        rasters: Of the project.
        job: The comparison; None: there is none yet, only pictures are shown.
    """
    shown = [] if job is None else [r for r in (*rasters, *forgotten_rasters(job, rasters)) if latest_map(job / r.id, "after").exists()]
    if job is None or not shown:
        plain_map(project, rasters)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        look = look_choice()
        visible = scene_choice(shown, most_changed(job))
        wide_button()
    gone = missing_pictures(project, visible)
    if gone:
        st.caption(f":material/image_not_supported: Not there any more: {plain(', '.join(gone[:3]))}. The maps made from it stay.")
    go = gone_to(job)
    if look == CHANGES:
        changes_map(project, rasters, job, visible, go)
        return
    left, right = side_choice(project, job, visible, rasters)
    two_sides(project, rasters, job, visible, look, (left, right), go)
    hint = HINTS[look] if left != right else "Both sides are the same."
    if any(side.key.endswith("_confidence") for side in (left, right)):
        hint = f"How sure: dark 0 %, bright 100 %. {hint}"
    legend(shown_classes(job, (left, right), project), hint)


def forgotten_rasters(job: Path, rasters: Sequence[Raster]) -> list[Raster]:
    """Stand-ins for pictures of a comparison that were taken off the imagery list since: its maps say where they lay."""
    known = {raster.id for raster in rasters}
    found = []
    for asked in read_settings(job).rasters:
        path = job / asked.id / "after.tif"
        if asked.id not in known and path.exists():
            with open_raster(path) as dataset:
                info = describe(dataset, asked.name, None)
            found.append(Raster(id=asked.id, name=asked.name, kind="reference", source=str(path), info=info, bands=(1,), stretch=identity_stretch(1)))
    return found


def missing_pictures(project: Project, visible: Sequence[Raster]) -> list[str]:
    """Names of the pictures whose file is not there any more, or that were taken off the list."""
    known = {raster.id for raster in list_rasters(project)}
    return [
        r.name for r in visible if r.id not in known or (r.kind != "url" and not Path(raster_source(project, r)).exists())
    ]


def plain_map(project: Project, rasters: Sequence[Raster]) -> None:
    """Pictures alone; what is seen of them is where a comparison begins."""
    _plain_map(project, scene_choice(rasters, None))


@st.fragment
def _plain_map(project: Project, visible: Sequence[Raster]) -> None:
    st.session_state[SEEN] = view_map(_map_of(project, visible), key=_map_key(project), height=MAP_HEIGHT_PX, tell_view=True)


def two_sides(
    project: Project,
    rasters: Sequence[Raster],
    job: Path,
    visible: Sequence[Raster],
    look: str,
    chosen: tuple[Side, Side],
    go: Mapping[str, Any] | None,
) -> None:
    """Both sides over the pictures, looked at in one of three ways."""
    key, names = _map_key(project), (chosen[0].short, chosen[1].short)
    if look == TOGETHER:
        for column, side, own_key in zip(st.columns(2, gap="small"), chosen, (key, f"{key}:right"), strict=True):
            with column:
                m = _map_of(project, visible, go)
                add_shown_shapes(m, job)
                add_side(m, project, job, side, visible, rasters)
                view_map(m, key=own_key, height=MAP_HEIGHT_PX, link=(key, side.short), go=_wish(go))
        return
    m = _map_of(project, visible, go)
    add_shown_shapes(m, job)
    if chosen[0] == chosen[1]:
        add_side(m, project, job, chosen[0], visible, rasters)
    else:
        left, right = (add_side(m, project, job, side, visible, rasters) for side in chosen)
        if left or right:
            (maps.swipe if look == SWIPE else maps.flicker)(m, left, right, names)
    view_map(m, key=key, height=MAP_HEIGHT_PX, go=_wish(go))


def changes_map(project: Project, rasters: Sequence[Raster], job: Path, visible: Sequence[Raster], go: Mapping[str, Any] | None) -> None:
    """What was gained, lost and became another class between two sides, by kind and class, with its area."""
    chosen = side_choice(project, job, visible, rasters, classes_only=True)
    changes = changes_choice(project, job, visible, chosen)
    m = _map_of(project, visible, go)
    add_shown_shapes(m, job)
    add_changes(m, project, changes, visible)
    view_map(m, key=_map_key(project), height=CHANGES_HEIGHT_PX, go=_wish(go))
    changes_told(project, changes, visible, _report(job))


def look_choice() -> str:
    """The way of looking; kept while the tab is open."""
    looks = [SWIPE, TOGETHER, FLICKER, CHANGES]
    remembered = st.session_state.get(f"{KEY}:look", SWIPE)
    picked = st.segmented_control(
        "Way of looking",
        looks,
        default=remembered,
        required=True,
        key=f"{KEY}:view",
        label_visibility="collapsed",
    )
    st.session_state[f"{KEY}:look"] = picked or SWIPE
    return picked or SWIPE


def is_wide() -> bool:
    """Whether the map takes the whole width, without the numbers beside it."""
    return bool(st.session_state.get(f"{KEY}:wide"))


def wide_button() -> None:
    def turn() -> None:
        st.session_state[f"{KEY}:wide"] = not is_wide()

    if is_wide():
        st.button("Show numbers", icon=":material/left_panel_open:", key=f"{KEY}:narrow", on_click=turn)
    else:
        st.button("Larger map", icon=":material/open_in_full:", key=f"{KEY}:widen", on_click=turn)


def most_changed(job: Path) -> str | None:
    """The raster with the largest new area: the one that shows most; None before the numbers are there."""
    report = _report(job)
    return max(report.rasters, key=lambda r: sum(r.table.gained_m2())).id if report and report.rasters else None


def scene_choice(shown: Sequence[Raster], best: str | None) -> list[Raster]:
    """A box to choose which rasters to show: all, or one. Many begin with `best`."""
    if len(shown) < 2:
        return list(shown)
    names = distinct({r.id: r.name for r in shown})
    options = [EVERYWHERE, *names]
    remembered = st.session_state.get(f"{KEY}:went_to")
    first = EVERYWHERE if len(shown) <= ALL_AT_ONCE else best if best in options else options[1]
    current = remembered if remembered in options else first
    picked = st.selectbox(
        "Go to",
        options,
        index=options.index(current),
        format_func=lambda i: f"All {len(names)} pictures" if i == EVERYWHERE else names[i],
        key=f"{KEY}:scene:{hash(tuple(names.items()))}:{current}",  # more pictures come as they are ready, and a place in another may be gone to
        label_visibility="collapsed",
        width=175,
    )
    if picked != current:
        st.session_state[f"{KEY}:went_to"] = picked
        st.rerun()
    return [r for r in shown if picked in (EVERYWHERE, r.id)]


def _map_of(project: Project, visible: Sequence[Raster], go: Mapping[str, Any] | None = None) -> Any:
    """The pictures, and the outline of the place gone to."""
    m = maps.new_map(bounds_of(visible))
    known = {raster.id for raster in list_rasters(project)}
    for raster in visible:
        if raster.id in known:
            add_raster(m, tile_token(project), raster)
    if go is not None:
        add_square(m, go["square"], "Place")
    return m


def _wish(go: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the map is told."""
    return {"id": go["id"], "bounds": go["bounds"]} if go else None


def _map_key(project: Project) -> str:
    return f"{KEY}:map:{project.id}"


def _report(job: Path) -> Report | None:
    """None before the numbers are there."""
    if not (job / REPORT_FILE).exists():
        return None
    with explained():
        return read_report(job)
    return None
