"""Step 5: predict with the model before and the model after, and compare the maps."""

from __future__ import annotations

import streamlit as st

from imagery.library import Raster, list_rasters
from ui.comparison.choices import KEY, base_models, comparison_choice, comparisons, trained_models
from ui.comparison.form import new_comparison, nothing_yet
from ui.comparison.map import is_wide, results_map
from ui.comparison.progress import progress_and_results
from ui.frame import page_frame
from ui.objects import objects_view, wants_objects
from ui.problems import explained
from workspace.project import Project


def main(project: Project) -> None:
    rasters = _rasters(project)
    trained = trained_models(project)
    bases = base_models(project, trained)
    jobs = comparisons(project)
    if wants_objects(project, maps_too=bool(trained or jobs)):
        objects_view(project)
        return
    if not rasters or not (trained or jobs):
        nothing_yet(bool(rasters))
        return
    wide = is_wide()
    left, right = (st.container(), st.container()) if wide else st.columns([0.42, 0.58], gap="small")
    with left:
        job = comparison_choice(jobs)
        if job is None:
            new_comparison(project, rasters, trained, bases)
        elif not wide:
            progress_and_results(project, job)
    with right:
        results_map(project, rasters, job)


def _rasters(project: Project) -> list[Raster]:
    with explained():
        return list_rasters(project)
    return []


page_project = page_frame(KEY)
with explained():
    main(page_project)
