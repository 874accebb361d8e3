"""Models: a catalogue to find what to start from, see whether it suits, and fetch it."""

from __future__ import annotations

import streamlit as st

from imagery.library import Raster, list_rasters
from models.catalogue.fetch import store_of
from models.catalogue.foreign import all_models
from models.catalogue.search import matching
from ui.frame import current_project, project_problem, settings
from ui.models_card import model_card
from ui.models_catalogues import other_catalogues, read_those_of_the_settings
from ui.models_filter import KEY, choose_cards, facts_of
from ui.models_list import in_order, model_list
from ui.models_packages import packages_panel
from ui.problems import explained, plain, show_problem
from ui.wording import distinct_names, many
from workspace.project import Project

ALL = "All my imagery"


def main() -> None:
    project = current_project()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("#### Models", width="content")
        st.markdown("Find a model to start from, see whether it suits your imagery, and fetch it.", width="stretch")
        if project is not None:
            st.badge(plain(project.file.name), icon=":material/folder:", color="green")
    problem = project_problem()
    if problem is not None:
        show_problem(*problem)
    with explained():
        read_those_of_the_settings()
    with explained():
        catalogue(project)
    with explained():
        other_catalogues()
    if project is not None:
        with explained():
            packages_panel(project)


def catalogue(project: Project | None) -> None:
    """The list on the left, the chosen card on the right."""
    store, mirror = store_of(settings()), settings().weights_mirror
    models = all_models(store)
    left, right = st.columns([0.42, 0.58], gap="medium")
    with left:
        images = facts_of(choose_imagery(rasters_of(project)))
        wanted = choose_cards(models)
        found = in_order(matching(models, wanted, store, mirror), images)
        asked = st.query_params.get("model")
        chosen = next((m for m in models if m.name == asked), found[0] if found else None)
        st.caption(f"{many(len(found), 'model')} of {len(models)}" + (", what suits best first" if images and len(found) > 1 else ""))
        model_list(found, images, chosen.name if chosen else "", store, mirror)
    with right:
        if chosen is None:
            st.info("No model has all that. Ask for less above.", icon=":material/info:")
        else:
            model_card(chosen, images, project)


def rasters_of(project: Project | None) -> list[Raster]:
    with explained():
        return list_rasters(project) if project is not None else []
    return []


def choose_imagery(rasters: list[Raster]) -> list[Raster]:
    """The rasters to judge by: one, or all."""
    if len(rasters) < 2:
        return rasters
    names = distinct_names(rasters)
    picked = st.selectbox("For", [ALL, *names], key=f"{KEY}:for", label_visibility="collapsed")
    return rasters if picked == ALL else [rasters[names.index(picked)]]


main()
