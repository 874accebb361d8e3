"""Step 2: draw labels on the map. Edits go from the map straight to the journal; this page shows what is there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st

from imagery.library import Raster, list_rasters
from inference.suggest import Square
from labeling.draw import geojson_of
from labeling.journal import open_journal
from labeling.label_set import current_labels, outside
from server.labels import geopackage_problem
from ui.canvas import label_map
from ui.class_editor import class_editor
from ui.comparison.choices import OVER, comparisons
from ui.comparison.sides import add_result
from ui.frame import next_step_link, page_frame, tile_token
from ui.label_coverage import coverage_button
from ui.label_export import export_button
from ui.label_import import import_button, imported_panel
from ui.label_next import add_square, label_next, square_bounds
from ui.maps import new_map
from ui.problems import explained
from ui.scenes import add_raster, bounds_of, go_to, outline
from ui.steps import step
from ui.wording import many
from workspace.classes import FULLY_LABELLED_VALUE, ClassSchema
from workspace.project import Project

MAP_HEIGHT = 545
BAR_HEIGHT = 50
"""Of the bar that leads from square to square: the map gives it room."""
MAP_TO_CORRECT_OPACITY = 0.5


def draw_map(
    project: Project, schema: ClassSchema, rasters: list[Raster], shown: Sequence[Raster], over: Path | None, square: Square | None
) -> None:
    """The label map. Who comes from a comparison (`over`) sees its new map below the labels, and the square to label next."""
    token = tile_token(project)
    m = new_map(square_bounds(square) if square else bounds_of(shown))
    for raster in rasters:
        add_raster(m, token, raster)
    if over is not None:
        for raster in rasters:
            add_result(m, token, over, raster, "after", f"New model's map: {raster.name}", MAP_TO_CORRECT_OPACITY)
    if square is not None:
        add_square(m, square)
    label_map(
        m,
        key=f"labels:{project.id}",
        token=token,
        journal_id=open_journal(project.journal_file).id,
        schema=schema,
        scenes=[{"id": raster.id, "name": raster.name, "geometry": geojson_of(outline(raster.info))} for raster in rasters],
        height=MAP_HEIGHT - (BAR_HEIGHT if square else 0),
        command=st.session_state.get("map_command"),
    )


def tell_map(kind: str, object_ids: list[str]) -> None:
    """Have the map do something once; what it changes can be undone there."""
    st.session_state["map_command"] = {"id": uuid.uuid4().hex, "kind": kind, "object_ids": object_ids}


def warnings_panel(project: Project, labels: gpd.GeoDataFrame, schema: ClassSchema, rasters: list[Raster]) -> None:
    lost = int(outside(labels, [outline(raster.info) for raster in rasters]).sum())
    if lost:
        st.warning(
            f"{many(lost, 'label')} lie{'s' if lost == 1 else ''} outside all imagery and will not be in any tile.",
            icon=":material/warning:",
        )
    known = {FULLY_LABELLED_VALUE, *(c.value for c in schema.classes)}
    orphans = int((~labels["class_value"].isin(known)).sum())
    if orphans:
        st.warning(
            f"{many(orphans, 'label')} have a class that was removed. Choose them in the list beside the map and give them a class.",
            icon=":material/warning:",
        )
    problem = geopackage_problem(project)
    if problem is not None:
        st.warning(f"labels.gpkg could not be brought up to date ({problem}). The labels themselves are saved.", icon=":material/warning:")


@st.fragment
@explained()
def workplace(project: Project, rasters: list[Raster]) -> None:
    """Map and what belongs to it. Runs again by itself a moment after edits; the map stays as it is."""
    schema = project.classes()
    labels: Any = current_labels(project.journal_file)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = go_to(rasters, key=f"go_to:{project.id}")
        class_editor(project, key=f"classes:{project.id}")
        import_button(project, schema, labels, rasters)
        export_button(project, schema, labels, rasters)
        coverage_button(project, schema, labels, rasters)
        if not labels.empty:
            next_step_link("draw_labels")
    imported_panel(project, tell_map)
    over = next((job for job in comparisons(project) if job.name == st.query_params.get(OVER)), None)
    square = label_next(over, labels, {raster.id: raster.name for raster in rasters}) if over else None
    draw_map(project, schema, rasters, shown, over, square)
    warnings_panel(project, labels, schema, rasters)


project = page_frame("draw_labels")
with explained():
    rasters = list_rasters(project)
    if rasters:
        workplace(project, rasters)
    else:
        st.info("There is no imagery in this project yet. Add some first; labels are drawn on top of it.", icon=":material/satellite_alt:")
        st.page_link(step("load_imagery").page(), label="Go to Imagery", icon=":material/satellite_alt:")
