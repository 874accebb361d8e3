"""What people take along: pictures, a report on one sheet, a QGIS project, the files themselves; and the end of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import streamlit as st

from inference.picture import FIGURE_FILE, PICTURE_FILE, make_figure, make_picture
from inference.qgis import PROJECT_FILE, make_qgis_project
from inference.report import REPORT_FILE, Report
from inference.settings import read_settings
from inference.sheet import SHEET_FILE, make_sheet
from ui.comparison.choices import KEY
from ui.comparison.map import most_changed
from ui.frame import tile_token
from ui.problems import explained
from ui.wording import distinct
from workspace.files import size_in_words
from workspace.jobs import remove_job
from workspace.project import Project


class _Offer(NamedTuple):
    """Something made when it is asked for, in a few seconds."""

    title: str
    what: str
    file: Path
    make: Callable[[], object]
    packed: bool = False
    """Comes with everything of the comparison, as a ZIP."""


def delete_button(job: Path) -> None:
    """Comparisons are the largest things in a project."""
    with st.popover("Delete this comparison", icon=":material/delete:", type="tertiary"):
        st.markdown("Its maps and numbers are deleted; models, labels and imagery stay.")
        if st.button("Yes, delete it", key=f"{KEY}:delete:{job.name}"):
            with explained():
                remove_job(job)
                st.query_params.pop("comparison", None)
                st.rerun()


def take_away_tab(project: Project, job: Path, report: Report) -> None:
    raster_id = _picture_choice(job, report)
    credit = st.text_input(
        "Whose imagery it is",
        placeholder="Whose imagery it is: printed on figure and report",
        key=f"{KEY}:credit",
        label_visibility="collapsed",
    )
    whole = st.toggle("Figure of the whole picture", key=f"{KEY}:whole", help="Else of the part where most has changed, as the animations are.")
    for offer in _offers(job, report, raster_id, credit, whole):
        _row(project, job, offer, raster_id)
    with st.expander("The maps themselves, and all numbers"):
        st.markdown("\n".join(_files(project, job, raster_id)))


def _offers(job: Path, report: Report, raster_id: str, credit: str, whole: bool) -> list[_Offer]:
    settings, names = read_settings(job), (report.before.title, report.after.title)
    animation = job / raster_id / PICTURE_FILE

    def animate(kind: str) -> Callable[[], object]:
        return lambda: make_picture(job, settings, raster_id, report.classes, names, kind)  # type: ignore[arg-type]

    return [
        _Offer("Animated picture (GIF)", "shown by every mail and report program", animation, animate("gif")),
        _Offer("Animated picture (WebP)", "the same in full colours, for web pages", animation.with_suffix(".webp"), animate("webp")),
        _Offer("Video (MP4)", "for slides", animation.with_suffix(".mp4"), animate("mp4")),
        _Offer(
            "Figure (PNG)",
            "both maps, scale bar, north arrow, legend",
            job / raster_id / FIGURE_FILE,
            lambda: make_figure(job, settings, raster_id, report.classes, names, whole=whole, credit=credit),
        ),
        _Offer(
            "Report on one page (HTML)",
            "opens anywhere; print it, or save it as PDF, from the browser",
            job / SHEET_FILE,
            lambda: make_sheet(job, settings, report, raster_id, credit=credit),
        ),
        _Offer(
            "QGIS project (ZIP)",
            "maps, changes, labels and imagery in their colours: unpack it, open comparison.qgs",
            job / PROJECT_FILE,
            lambda: make_qgis_project(job, settings, report),
            packed=True,
        ),
    ]


def _row(project: Project, job: Path, offer: _Offer, raster_id: str) -> None:
    """A link to what is made already, with a button to make it anew; else the button alone."""
    there = offer.file.exists()
    key = f"{KEY}:make:{offer.file.name}:{raster_id}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if there:
            link = download_link(project, job, offer.title, ".zip") if offer.packed else download_link(project, offer.file, offer.title)
            size = "" if offer.packed else f", {size_in_words(offer.file.stat().st_size)}"
            st.markdown(f"{link}{size}", help=offer.what, width="stretch")
        pressed = (
            st.button("Make anew", icon=":material/refresh:", type="tertiary", key=key)
            if there
            else st.button(offer.title, icon=":material/add_photo_alternate:", type="tertiary", help=offer.what, key=key)
        )
    if pressed:
        with explained():
            with st.spinner(f"Making: {offer.title} ..."):
                offer.make()
            st.rerun()


def _picture_choice(job: Path, report: Report) -> str:
    names = distinct({r.id: r.name for r in report.rasters})
    if len(names) == 1:
        return report.rasters[0].id
    shown = st.session_state.get(f"{KEY}:went_to") or most_changed(job)
    index = list(names).index(shown) if shown in names else 0
    picked: str = st.selectbox(
        "Picture",
        list(names),
        index,
        format_func=lambda i: names[i],
        key=f"{KEY}:take:{job.name}:{index}",
        label_visibility="collapsed",
    )
    return picked


def _files(project: Project, job: Path, raster_id: str) -> list[str]:
    files = (
        ("after.tif", "Map after", "GeoTIFF with class colours, for QGIS and ArcGIS"),
        ("before.tif", "Map before", "GeoTIFF"),
        ("change.tif", "Changes", "GeoTIFF: 1 gained, 2 lost, 3 became another"),
        ("after_confidence.tif", "Confidence after", "GeoTIFF, percent"),
        ("before_confidence.tif", "Confidence before", "GeoTIFF, percent"),
        ("after_probabilities.tif", "Each class after", "GeoTIFF with a layer for each class: how likely it is, percent"),
        ("before_probabilities.tif", "Each class before", "GeoTIFF with a layer for each class: how likely it is, percent"),
    )
    folder = job / raster_id
    lines = [
        f"- {download_link(project, folder / name, title)}: {what}, {size_in_words((folder / name).stat().st_size)}"
        for name, title, what in files
        if (folder / name).exists()
    ]
    size = size_in_words((job / REPORT_FILE).stat().st_size)
    lines.append(f"- {download_link(project, job / REPORT_FILE, 'All numbers (JSON)')}: areas, changes, scores, {size}")
    lines.append(f"- {download_link(project, job, 'Everything (ZIP)', '.zip')}: all pictures with their legends")
    return lines


def download_link(project: Project, path: Path, title: str, suffix: str = "") -> str:
    inside = path.relative_to(project.folder).as_posix()
    return f"[{title}](api/{tile_token(project)}/files/{quote(inside)}{suffix})"
