"""How much is labelled: a button with a dialog on the Label page, one line on the Tiles page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import geopandas as gpd
import pandas as pd
import streamlit as st

from imagery.library import Raster
from labeling.coverage import ImageCoverage, coverage, fully_labelled_share
from ui.problems import explained
from ui.scenes import outline
from workspace.classes import FULLY_LABELLED_NAME, ClassSchema
from workspace.project import Project

_OPEN = "coverage_open"
_ELSEWHERE = "Elsewhere only what is drawn counts, and the rest is left out."
_NOWHERE = "What is not drawn in a tile is taken as background."
_REMEDY = f"Where only some of the things are drawn, mark on the Label page where all of them are: **{FULLY_LABELLED_NAME}**, key I."


def coverage_button(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """The button, and the dialog while it is open: what is counted is counted only then."""
    if st.button("How much", icon=":material/donut_large:", help="How much is labelled, of each class on each picture", key="coverage"):
        st.session_state[_OPEN] = project.id
    if st.session_state.get(_OPEN) == project.id:
        _dialog(schema, labels, rasters)


def coverage_line(labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """What becomes of the ground on which nothing is drawn."""
    st.caption(_said(labels, rasters))


def close_coverage() -> None:
    """The dialog is away."""
    st.session_state.pop(_OPEN, None)
    st.rerun(scope="app")


@st.dialog("How much is labelled", width="medium", on_dismiss=close_coverage)
def _dialog(schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    with explained():
        st.markdown(_said(labels, rasters))
        found = coverage(labels, {raster.id: outline(raster.info) for raster in rasters})
        names = {raster.id: raster.name for raster in rasters}
        number = st.column_config.NumberColumn(format="localized")
        share = st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.1f %%")
        st.dataframe(by_picture(found, names), hide_index=True, column_config={"Fully labelled": share})
        drawn = by_class(found, names, schema)
        if drawn.empty:
            st.caption("Nothing is drawn on a picture yet.")
        else:
            st.dataframe(drawn, hide_index=True, column_config=dict.fromkeys(("Objects", "Area (m²)", "Length (m)"), number))
            st.caption("What reaches over the edge of a picture is cut there. Areas may overlap; points have neither area nor length.")


def _said(labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> str:
    share = fully_labelled_share(labels, {raster.id: outline(raster.info) for raster in rasters})
    if share is None:
        return f"{_NOWHERE} {_REMEDY}"
    per_cent = f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
    return f"**{per_cent}** of the imagery is fully labelled: what is not drawn there is background. {_ELSEWHERE}"


def by_picture(found: Mapping[str, ImageCoverage], names: Mapping[str, str]) -> pd.DataFrame:
    """For each picture the share that is fully labelled, in per cent, and its objects."""
    rows = [(names[i], 100 * one.share, sum(c.objects for c in one.classes.values())) for i, one in found.items()]
    return pd.DataFrame(rows, columns=["Picture", "Fully labelled", "Objects"])


def by_class(found: Mapping[str, ImageCoverage], names: Mapping[str, str], schema: ClassSchema) -> pd.DataFrame:
    """For each picture and class what is drawn of it, in the order of the classes."""
    classes = {c.value: c.name for c in schema.classes}
    rows = []
    for i, one in found.items():
        for value in sorted(one.classes, key=lambda value: list(classes).index(value) if value in classes else len(classes)):
            c = one.classes[value]
            rows.append((names[i], classes.get(value, "(removed class)"), c.objects, round(c.area_m2), round(c.length_m)))
    return pd.DataFrame(rows, columns=["Picture", "Class", "Objects", "Area (m²)", "Length (m)"])
