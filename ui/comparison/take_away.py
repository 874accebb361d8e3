"""Downloads, the animated picture, and the end of a comparison."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import streamlit as st

from inference.picture import PICTURE_FILE, make_picture
from inference.report import REPORT_FILE, Report
from inference.settings import read_settings
from ui.comparison.choices import KEY
from ui.comparison.map import most_changed
from ui.frame import tile_token
from ui.problems import explained
from workspace.files import size_in_words
from workspace.jobs import job_status, remove_job
from workspace.project import Project


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
    names = {r.id: r.name for r in report.rasters}
    shown = st.session_state.get(f"{KEY}:went_to") or most_changed(job)
    index = list(names).index(shown) if shown in names else 0
    raster_id = (
        st.selectbox(
            "Picture",
            list(names),
            index,
            format_func=lambda i: names[i],
            key=f"{KEY}:take:{job.name}:{index}",
            label_visibility="collapsed",
        )
        if len(names) > 1
        else report.rasters[0].id
    )
    folder = job / raster_id
    picture = folder / PICTURE_FILE
    if picture.exists():
        st.image(picture.read_bytes(), width=300)
    elif job_status(job).state == "running":
        st.caption("The animated before/after picture is being drawn; look here again in a moment.")
    elif st.button("Make the animated before/after picture", icon=":material/animation:", key=f"{KEY}:gif:{raster_id}"):
        with explained():
            with st.spinner("Drawing ..."):
                make_picture(job, read_settings(job), raster_id, report.classes, (report.before.title, report.after.title))
            st.rerun()
    files = (
        (PICTURE_FILE, "Animated picture (GIF)", "for a report or a mail"),
        ("after.tif", "Map after", "GeoTIFF with class colours, for QGIS and ArcGIS"),
        ("before.tif", "Map before", "GeoTIFF"),
        ("change.tif", "Changes", "GeoTIFF: 1 gained, 2 lost, 3 became another"),
        ("after_confidence.tif", "Confidence after", "GeoTIFF, percent"),
        ("before_confidence.tif", "Confidence before", "GeoTIFF, percent"),
        ("after_probabilities.tif", "Each class after", "GeoTIFF with a layer for each class: how likely it is, percent"),
        ("before_probabilities.tif", "Each class before", "GeoTIFF with a layer for each class: how likely it is, percent"),
    )
    lines = [
        f"- {download_link(project, folder / name, title)}: {what}, {size_in_words((folder / name).stat().st_size)}"
        for name, title, what in files
        if (folder / name).exists()
    ]
    lines.append(
        f"- {download_link(project, job / REPORT_FILE, 'All numbers (JSON)')}: areas, changes, scores, {size_in_words((job / REPORT_FILE).stat().st_size)}"
    )
    lines.append(f"- {download_link(project, job, 'Everything (ZIP)', '.zip')}: all pictures with their legends")
    st.markdown("\n".join(lines))


def download_link(project: Project, path: Path, title: str, suffix: str = "") -> str:
    inside = path.relative_to(project.folder).as_posix()
    return f"[{title}](api/{tile_token(project)}/files/{quote(inside)}{suffix})"
