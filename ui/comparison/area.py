"""Where alone to predict: the fully labelled areas, the areas of an earlier comparison, or those of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import shapely
import streamlit as st

from imagery.library import Raster
from inference.settings import PredictionSettings
from labeling.label_set import current_labels
from ui.comparison.choices import KEY, comparison_label, comparisons
from ui.export_mask import mask_upload
from ui.scenes import outline
from ui.wording import distinct
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.files import write_text
from workspace.project import Project

AREA_FILE = "area.geojson"
"""Of a comparison: inside which it was made; longitude and latitude."""
WHOLE, COMPLETE, FILE = "whole", "complete", "file"


def area_choice(project: Project) -> gpd.GeoDataFrame | None:
    """Areas in longitude and latitude, none while the file is not chosen yet; None: the whole pictures.

    Raises:
        LabelFileError: a file cannot be read or placed, or holds no polygon.
    """
    field = PredictionSettings.model_fields["area"]
    complete = fully_labelled(project)
    earlier = {job.name: f"As in: {comparison_label(job)}" for job in comparisons(project) if (job / AREA_FILE).exists()}
    options = {WHOLE: "the whole pictures"} | ({} if complete.empty else {COMPLETE: "my fully labelled areas"}) | distinct(earlier)
    options[FILE] = "areas from a file"
    picked = st.selectbox(field.title or "", list(options), format_func=options.__getitem__, help="Nothing outside is predicted.", key=f"{KEY}:area")
    if picked == FILE:
        found = mask_upload(f"{KEY}:area_file", "File with the areas", "GeoJSON, GeoPackage, KML, a zipped Shapefile and others.")
        return gpd.GeoDataFrame(geometry=[], crs="EPSG:4326") if found is None else found
    if picked == COMPLETE:
        return complete
    return None if picked == WHOLE else gpd.read_file(project.predictions_folder / picked / AREA_FILE)


def fully_labelled(project: Project) -> gpd.GeoDataFrame:
    """The project's fully labelled areas, in longitude and latitude."""
    labels = current_labels(project.journal_file)
    return labels.loc[labels["class_value"] == FULLY_LABELLED_VALUE, ["geometry"]]


def inside(rasters: Sequence[Raster], area: gpd.GeoDataFrame | None) -> list[Raster]:
    """Those on which an area lies."""
    if area is None:
        return list(rasters)
    tree = shapely.STRtree(area.geometry.to_numpy())
    return [raster for raster in rasters if len(tree.query(outline(raster.info), predicate="intersects"))]


def write_area(area: gpd.GeoDataFrame, job: Path) -> Path:
    """Keep the areas with their comparison: it stays what it was when labels and files change."""
    path = job / AREA_FILE
    write_text(path, area[["geometry"]].to_json(drop_id=True))
    return path
