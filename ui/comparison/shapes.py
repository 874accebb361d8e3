"""Shapes of a map: areas, buildings with right angles, road networks. What to make, how it goes, and the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import streamlit as st

from inference.report import Report
from inference.vectors.asked import FOLDER, SETTINGS_FILE, ShapesAsked, read_asked, read_made, shapes_file
from inference.vectors.settings import BuildingSettings, PolygonSettings, RoadSettings
from ui.comparison.choices import KEY
from ui.comparison.shape_layer import MOST_SHOWN, TITLES, show_shapes, shown_shapes
from ui.comparison.take_away import download_link
from ui.job_panel import job_panel
from ui.problems import explained, plain
from ui.settings_fields import settings_field
from ui.wording import many
from workspace.classes import ClassDef
from workspace.files import size_in_words, unused_folder, write_text
from workspace.jobs import job_status, remove_job, start_job
from workspace.project import Project

MODULE = "inference.vectors.run"
SETTINGS: dict[str, type[PolygonSettings | BuildingSettings | RoadSettings]] = {
    "polygons": PolygonSettings,
    "buildings": BuildingSettings,
    "roads": RoadSettings,
}
HELP = {
    "polygons": "Outlines of areas. Classes that touch share their border: no gaps, no overlaps.",
    "buildings": "One outline a building, with right angles. Buildings that have none keep their own outline, and say so.",
    "roads": "Middle lines that meet at junctions, with length and width: for counting kilometres, and for finding ways.",
}
LIKELY = {"buildings": re.compile(r"build|roof|house|shed", re.I), "roads": re.compile(r"road|street|track|trail|path|lane|way", re.I)}
"""Class names that are meant at first."""
ONE = {"polygons": "area", "buildings": "building", "roads": "road"}
SIDES: dict[Literal["after", "before"], str] = {"after": "the new map", "before": "the old map"}
FILES = (
    (".gpkg", "GeoPackage", "for QGIS and ArcGIS, with the class colours"),
    (".zip", "Shapefile", "for older programs"),
    (".geojson", "GeoJSON", "longitude and latitude, for the web"),
    (".fgb", "FlatGeobuf", "for very many shapes"),
)


def shapes_tab(project: Project, comparison: Path, report: Report) -> None:
    """The whole panel."""
    for job in made_shapes(comparison):
        _one(project, comparison, job)
    _new(comparison, report)


def made_shapes(comparison: Path) -> list[Path]:
    """Jobs, newest first."""
    found = [path.parent for path in (comparison / FOLDER).glob(f"[!.]*/{SETTINGS_FILE}")]
    return sorted(found, key=lambda job: (job / SETTINGS_FILE).stat().st_mtime, reverse=True)


def _new(comparison: Path, report: Report) -> None:
    """What to make of which map, and the one button."""
    if not report.classes or not report.rasters:
        return
    with st.container(border=True):
        kind = st.segmented_control(
            "Make shapes", list(TITLES), default="polygons", required=True, format_func=TITLES.__getitem__, key=f"{KEY}:shapes_kind:{comparison.name}"
        )
        kind = kind or "polygons"
        st.caption(HELP[kind])
        names = {c.value: c.name for c in report.classes}
        values = st.multiselect(
            "Classes",
            list(names),
            default=likely_classes(kind, report.classes),
            format_func=names.__getitem__,
            key=f"{KEY}:shapes_classes:{comparison.name}:{kind}",
            help="Several road classes make one network." if kind == "roads" else None,
        )
        pictures = {r.id: r.name for r in report.rasters}
        chosen: Sequence[str] = list(pictures)
        if len(pictures) > 1:
            chosen = st.multiselect(
                "Pictures", list(pictures), format_func=pictures.__getitem__, placeholder=f"All {len(pictures)}", key=f"{KEY}:shapes_pictures:{comparison.name}"
            ) or list(pictures)
        with st.expander("More options"):
            side = st.radio("Of", list(SIDES), format_func=SIDES.__getitem__, horizontal=True, key=f"{KEY}:shapes_side:{comparison.name}")
            model = SETTINGS[kind]
            asked = {
                name: settings_field(model, name, field.default, key=f"{KEY}:shapes:{kind}:{name}")
                for name, field in model.model_fields.items()
                if name != "kind"
            }
        if st.button("Make shapes", type="primary", icon=":material/polyline:", disabled=not values, key=f"{KEY}:shapes_make:{comparison.name}"):
            with explained():
                what = ShapesAsked(
                    side=side, pictures={i: pictures[i] for i in chosen}, classes=tuple(values), shapes=model(**asked)
                )
                job = unused_folder(comparison / FOLDER, f"{kind} {' '.join(names[v] for v in values)}")
                write_text(job / SETTINGS_FILE, what.model_dump_json(indent=1) + "\n")
                start_job(job, MODULE)
                show_shapes(comparison, job)
                st.rerun()


def likely_classes(kind: str, classes: Sequence[ClassDef]) -> list[int]:
    """The classes that are probably meant: for areas all, for buildings and roads those that are called so; else the first."""
    meant = [c.value for c in classes if kind not in LIKELY or LIKELY[kind].search(c.name)]
    return meant or [classes[0].value]


def _one(project: Project, comparison: Path, job: Path) -> None:
    """Shapes at work, stopped or made."""
    with st.container(border=True), explained():
        asked = read_asked(job)
        made = read_made(job)
        title = f"**{TITLES[asked.shapes.kind]}** of {SIDES[asked.side]}"
        if len(asked.pictures) == 1:
            title += f", {plain(next(iter(asked.pictures.values())))}"
        if made is None:
            st.markdown(title)
            job_panel(job, MODULE, key=f"{KEY}:shapes:{comparison.name}:{job.name}", kept=lambda: "Nothing is kept; it starts from the beginning.")
        else:
            st.markdown(f"{title}: {many(made.count, ONE[asked.shapes.kind])}")
            _files(project, job, asked)
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            if made is not None:
                _show_box(comparison, job, made.count)
            key = f"{KEY}:shapes_delete:{comparison.name}:{job.name}"
            if job_status(job).ended and st.button("Delete", icon=":material/delete:", type="tertiary", key=key):
                remove_job(job)
                st.rerun()


def _files(project: Project, job: Path, asked: ShapesAsked) -> None:
    lines = []
    for suffix, title, what in FILES:
        path = shapes_file(job, asked, suffix)
        if path.exists():
            lines.append(f"- {download_link(project, path, title)}: {what}, {size_in_words(path.stat().st_size)}")
    st.markdown("\n".join(lines))


def _show_box(comparison: Path, job: Path, count: int) -> None:
    """Whether these shapes lie over the map; one set at a time."""
    shown = shown_shapes(comparison) == job
    key = f"{KEY}:shapes_show:{comparison.name}:{job.name}:{shown}"
    most = f" The {MOST_SHOWN:,} largest are drawn; the files have all." if count > MOST_SHOWN else ""
    if st.checkbox("Show on the map", value=shown, key=key, help=f"Point at a shape to see its numbers.{most}") != shown:
        show_shapes(comparison, None if shown else job)
        st.rerun()
