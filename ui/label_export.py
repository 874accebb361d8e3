"""The Export popover: labels of some classes and pictures as a file of another program."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import streamlit as st

from imagery.library import Raster
from labeling.exchange import STYLED, SUFFIXES, Format, chosen_labels, write_labels
from ui.problems import explained, show_problem
from ui.scenes import outline
from ui.wording import many
from workspace.classes import FULLY_LABELLED_NAME, FULLY_LABELLED_VALUE, ClassSchema
from workspace.project import Project

MIME: dict[Format, str] = {
    "GeoJSON": "application/geo+json",
    "GeoPackage": "application/geopackage+sqlite3",
    "Shapefile": "application/zip",
    "FlatGeobuf": "application/octet-stream",
    "KML": "application/vnd.google-earth.kml+xml",
    "CSV": "text/csv",
}
_FORMATS: dict[Format, str] = {
    "GeoJSON": "GeoJSON (longitude, latitude)",
    "GeoPackage": "GeoPackage (with QGIS styles)",
    "Shapefile": "Shapefile (zipped, with QGIS styles)",
    "FlatGeobuf": "FlatGeobuf",
    "KML": "KML (Google Earth)",
    "CSV": "CSV table (shapes as WKT)",
}


def export_button(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """The popover."""
    with st.popover("Export", icon=":material/download:", key="export_open"):
        _export_panel(project, schema, labels, rasters)


def _export_panel(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    if labels.empty:
        st.caption("There is nothing to export yet.")
        return
    file_format: Format = st.selectbox("Format", list(SUFFIXES), format_func=_FORMATS.__getitem__, key="export_format")
    names = {c.value: c.name for c in schema.classes} | {FULLY_LABELLED_VALUE: FULLY_LABELLED_NAME}
    used = [value for value in names if value in set(labels["class_value"])]
    classes = st.multiselect("Classes", used, format_func=names.__getitem__, placeholder="All classes", key="export_classes")
    scenes = []
    if len(rasters) > 1:
        by_id = {raster.id: raster for raster in rasters}
        scenes = st.multiselect("Pictures", list(by_id), format_func=lambda i: by_id[i].name, placeholder="All pictures", key="export_scenes")
    footprints = [outline(by_id[i].info) for i in scenes] if scenes else None
    styles = file_format in STYLED and st.checkbox("With QGIS styles (.qml), zipped", key="export_styles")
    wanted = chosen_labels(labels, set(classes) or None, footprints)
    if wanted.empty:
        show_problem("No label is of these classes on these pictures.", "Choose others.")
        return
    suffix = ".zip" if styles else SUFFIXES[file_format]
    with explained():
        st.download_button(
            f"Download {many(len(wanted), 'label')}",
            data=lambda: exported(wanted, schema, file_format, styles=styles),
            file_name=f"{project.id}-labels{suffix}",
            mime="application/zip" if styles else MIME[file_format],
            icon=":material/download:",
            on_click="ignore",
        )


def exported(labels: gpd.GeoDataFrame, schema: ClassSchema, file_format: Format, *, styles: bool = False) -> bytes:
    """The labels as a file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{'.zip' if styles else SUFFIXES[file_format]}"
        write_labels(labels, schema, path, file_format, styles=styles)
        return path.read_bytes()
