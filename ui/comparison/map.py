"""The map: swipe, changes, confidence."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from errors import TerratuneError
from imagery.library import Raster
from inference.compare import CHANGE_COLOURS, CHANGE_NAMES, FLIPPED, GAINED, LOST
from inference.report import REPORT_FILE, read_report
from ui import maps
from ui.canvas import view_map
from ui.comparison.choices import KEY
from ui.frame import tile_token
from ui.problems import explained
from ui.scenes import add_raster, bounds_of, leaflet_bounds, native_zoom
from workspace.project import Project

MAP_HEIGHT_PX = 560
ALL_AT_ONCE = 6
"""With more rasters than this the map shows one at a time."""
OPACITY = 0.75
EVERYWHERE = ""
"""Instead of a raster's id: all of them. Not None, which a box shows as nothing chosen."""
CHANGE_TITLES = {GAINED: "Gained", LOST: "Lost", FLIPPED: "Became another"}
SWIPE, CHANGES, CONFIDENCE = "Before | After", "Changes", "Confidence"


def results_map(project: Project, rasters: Sequence[Raster], job: Path | None) -> None:
    shown = [r for r in rasters if job is not None and (job / r.id / "after.tif").exists()]
    scene, view, kinds = map_controls(shown or rasters, job if shown else None)
    visible = [r for r in shown or rasters if scene in (None, r.id)]
    m = maps.new_map(bounds_of(visible))
    token = tile_token(project)
    for raster in visible:
        add_raster(m, token, raster)
    if job is not None:
        add_results(m, token, job, visible, view, kinds)
    view_map(m, key=f"{KEY}:map:{project.id}", height=MAP_HEIGHT_PX)
    if job is not None:
        legend(job, view, kinds)


def map_controls(shown: Sequence[Raster], job: Path | None) -> tuple[str | None, str, tuple[int, ...]]:
    """Which picture (None: all), which view, and which changes; without results only the picture."""
    if job is None:
        return scene_choice(shown, None), SWIPE, ()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = st.segmented_control(
            "View", [SWIPE, CHANGES, CONFIDENCE], default=SWIPE, required=True, key=f"{KEY}:view", label_visibility="collapsed"
        )
        kinds: tuple[int, ...] = (GAINED, LOST, FLIPPED)
        if view == CHANGES:
            picked = st.pills(
                "Changes",
                kinds,
                selection_mode="multi",
                default=kinds,
                format_func=CHANGE_TITLES.__getitem__,
                key=f"{KEY}:kinds",
                label_visibility="collapsed",
            )
            kinds = tuple(picked or ())
        scene = scene_choice(shown, most_changed(job))
    return scene, view or SWIPE, kinds


def most_changed(job: Path) -> str | None:
    """The raster with the largest new area: the one that shows most; None before the numbers are there."""
    if not (job / REPORT_FILE).exists():
        return None
    with explained():
        rasters = read_report(job).rasters
        return max(rasters, key=lambda r: sum(r.table.gained_m2())).id if rasters else None
    return None


def scene_choice(shown: Sequence[Raster], best: str | None) -> str | None:
    """Which raster to show; None for all. Many begin with `best`."""
    if len(shown) < 2:
        return None
    names = {r.id: r.name for r in shown}
    options = [EVERYWHERE, *names]
    remembered = st.session_state.get(f"{KEY}:went_to")
    first = EVERYWHERE if len(shown) <= ALL_AT_ONCE else best if best in options else options[1]
    picked = st.selectbox(
        "Go to",
        options,
        index=options.index(remembered if remembered in options else first),
        format_func=lambda i: f"All {len(names)} pictures" if i == EVERYWHERE else names[i],
        key=f"{KEY}:scene:{hash(tuple(names.items()))}",  # more pictures come as they are ready: a box keeps the words it was made with
        label_visibility="collapsed",
        width=175,
    )
    st.session_state[f"{KEY}:went_to"] = picked
    return None if picked == EVERYWHERE else picked


def add_results(m: Any, token: str, job: Path, visible: Sequence[Raster], view: str, kinds: Sequence[int]) -> None:
    """The layers of the chosen view above the imagery."""

    def layer(raster: Raster, what: str, name: str) -> Any:
        return add_result(m, token, job, raster, what, f"{name}: {raster.name}", OPACITY)

    if view == CHANGES:
        wanted = ["change"] if len(kinds) == 3 else [CHANGE_NAMES[kind] for kind in kinds]
        for raster in visible:
            for what in wanted:
                layer(raster, what, what.capitalize())
        return
    ending = "_confidence" if view == CONFIDENCE else ""
    left = [found for r in visible if (found := layer(r, f"before{ending}", "Before"))]
    right = [found for r in visible if (found := layer(r, f"after{ending}", "After"))]
    if left and right:
        maps.swipe(m, left, right, ("Before", "After"))


def add_result(m: Any, token: str, job: Path, raster: Raster, what: str, name: str, opacity: float) -> Any:
    """One result for one raster above the imagery; None where the job has not made it."""
    path = job / raster.id / f"{'change' if what in CHANGE_NAMES.values() else what}.tif"
    if not path.exists():
        return None
    url = maps.tile_url(token, f"prediction.{job.name}.{raster.id}.{what}", str(path.stat().st_mtime_ns))
    return maps.add_tiles(m, url, name, opacity=opacity, bounds=leaflet_bounds(raster), max_native_zoom=native_zoom(raster))


def legend(job: Path, view: str, kinds: Sequence[int]) -> None:
    """What the colours mean."""
    if view == CONFIDENCE:
        st.caption(
            "How sure the model is of what it says, from dark (0 %) to bright (100 %). Dark streaks are where it hesitates: good places to label."
        )
        return
    if view == CHANGES:
        meanings = {
            GAINED: "gained: background before, a class now",
            LOST: "lost: a class before, background now",
            FLIPPED: "became another: another class than before",
        }
        entries = [(meanings[kind], "#{:02x}{:02x}{:02x}".format(*CHANGE_COLOURS[kind])) for kind in kinds]
    else:
        try:
            entries = [(c.name, c.colour) for c in read_report(job).classes]
        except TerratuneError:
            return  # not finished yet
    st.html(
        "&emsp;".join(
            f'<span style="white-space:nowrap"><span style="color:{colour}">&#9632;</span> {html.escape(text)}</span>'
            for text, colour in entries
        )
    )
