"""The ten places where the two models differ most: a list beside the map, one click to go there, another to label there."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import streamlit as st
from rasterio.windows import Window

from inference.differences import FILE, Place, read_differences
from inference.picture import part_of
from inference.render import side_by_side
from inference.report import Report, area_text
from inference.settings import read_settings
from ui.comparison.choices import ALL_AT_ONCE, KEY, OVER, PLACE
from ui.label_next import square_bounds
from ui.problems import explained, plain, show_problem
from ui.steps import step
from workspace.classes import ClassDef
from workspace.jobs import job_status, start_job
from workspace.project import Project

RANKINGS = {"by_area": "Most ground changed", "by_confidence": "Most ground, both sure"}
LIST_HEIGHT_PX = 455
PAIR_SIDE_PX = 96


def places_tab(project: Project, job: Path, report: Report, module: str) -> None:
    found = read_differences(job)
    if found is None:
        not_yet(job, module)
        return
    if not found.by_area:
        st.info("The two maps are the same everywhere.", icon=":material/info:")
        return
    ranking = st.segmented_control(
        "Ranking", list(RANKINGS), default="by_area", required=True, format_func=RANKINGS.__getitem__, key=f"{KEY}:ranking", label_visibility="collapsed"
    )
    places = found.by_area if ranking != "by_confidence" else found.by_confidence
    names = {raster.id: raster.name for raster in report.rasters}
    chosen = (gone_to(job) or {}).get("name")
    with st.container(height=LIST_HEIGHT_PX, border=False):
        for number, place in enumerate(places):
            _entry(project, job, report, f"{ranking}.{number}", place, names, chosen)


def _entry(project: Project, job: Path, report: Report, name: str, place: Place, names: dict[str, str], chosen: str | None) -> None:
    number = int(name.partition(".")[2]) + 1
    picture, words = st.columns([0.44, 0.56], gap="small", vertical_alignment="center")
    with picture, explained():
        st.image(pair(str(job), place, report.classes, str((job / FILE).stat().st_mtime_ns)), width=2 * PAIR_SIDE_PX + 4)
    with words:
        kinds = {"gained": place.gained_m2, "lost": place.lost_m2, "became another": place.flipped_m2}
        parts = ", ".join(f"{area_text(m2)} {kind}" for kind, m2 in kinds.items() if m2 >= 0.5)
        where = f" · {plain(names.get(place.raster, ''))}" if len(names) > 1 else ""
        percent = f"{place.share * 100:.{0 if place.share >= 0.1 else 1}f} %"
        st.markdown(f"**{number}**{where} · {percent} of the square: {parts}")
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.button(
                "Go there",
                icon=":material/my_location:",
                type="primary" if name == chosen else "secondary",
                key=f"{KEY}:go:{name}",
                on_click=_go,
                args=(job, name, place, len(names) > ALL_AT_ONCE or bool(st.session_state.get(f"{KEY}:went_to"))),
            )
            st.page_link(
                step("draw_labels").page(),
                label="Label here",
                icon=":material/draw:",
                query_params={"project": project.id, OVER: job.name, PLACE: name},
            )


def _go(job: Path, name: str, place: Place, one_at_a_time: bool) -> None:
    """Let the map go to a place; `one_at_a_time`: it does not show all pictures, so it has to show this one's."""
    st.session_state[f"{KEY}:gone:{job.name}"] = {"id": uuid.uuid4().hex, "name": name, "bounds": square_bounds(place.square()), "square": place.square()}
    if one_at_a_time:
        st.session_state[f"{KEY}:went_to"] = place.raster


def gone_to(job: Path) -> dict[str, Any] | None:
    """The place chosen last: for `ui.canvas.view_map`, with its `square`."""
    return st.session_state.get(f"{KEY}:gone:{job.name}")


@st.cache_data(max_entries=200, show_spinner=False)
def pair(job: str, place: Place, classes: tuple[ClassDef, ...], version: str) -> bytes:
    """PNG of both maps of a place, left before, right after.

    Args:
        job: Folder of the comparison.
        place: One of its places.
        classes: Of its maps.
        version: Changes when it is made anew.
    """
    what = part_of(Path(job), read_settings(Path(job)), place.raster, Window(*place.window), PAIR_SIDE_PX)
    memory = io.BytesIO()
    side_by_side(what, classes).save(memory, "PNG")
    return memory.getvalue()


def _until_found(job: Path) -> None:
    """What is being done, refreshed by itself; the whole page follows when the places are there."""
    status = job_status(job)
    if status.ended or (job / FILE).exists():
        st.rerun()
    st.progress(status.fraction, text=status.stage or "Starting")


def not_yet(job: Path, module: str) -> None:
    """A comparison of an older release, or one that is about to end."""
    status = job_status(job)
    if status.state == "running":
        st.fragment(_until_found, run_every=1.0)(job)
        return
    if status.state == "failed":
        show_problem(status.error, status.remedy)
    st.caption("This comparison was made before such places were looked for.")
    if st.button("Look for them", icon=":material/search:", key=f"{KEY}:look_for:{job.name}", help="The maps stay; only what is missing is made."):
        with explained():
            start_job(job, module)
            st.rerun()
