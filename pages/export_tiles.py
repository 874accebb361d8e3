"""Step 3: cut imagery and labels into tiles, and look at them before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from errors import JobError
from imagery.library import Raster, list_rasters, raster_source
from labeling.export.job import MODULE, export_jobs, forget_job, read_job, start_export
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_set import current_labels
from tiles.formats import FORMATS
from tiles.tile_set import list_tile_sets
from ui.bring_in import bring_in_panel
from ui.export_estimate import estimate_line
from ui.export_form import ExportChoice, export_form
from ui.frame import page_frame
from ui.job_panel import seconds_in_words
from ui.label_coverage import coverage_line
from ui.problems import explained, plain, show_problem
from ui.steps import step
from ui.tile_set_panel import tile_set_panel
from ui.wording import distinct_names, many
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.files import unused_folder
from workspace.jobs import cancel_job, job_status, start_job
from workspace.project import Project


def main(project: Project) -> None:
    rasters, labels = list_rasters(project), current_labels(project.journal_file)
    sets = list_tile_sets(project.tiles_folder)
    left, right = st.columns([1, 2], gap="medium")
    form: tuple[ExportChoice, DeltaGenerator] | None = None
    with left:
        with explained():
            if ready(rasters):
                form = export_panel(project, rasters, labels)
        with explained():
            bring_in_panel(project)
    with right, explained():
        if sets:
            tile_set_panel(project, rasters, sets)
        else:
            st.info("Your tiles will be shown here, with their labels, before you train on them.", icon=":material/grid_on:")
    if form is not None:  # last: counting must not keep anything else from being shown
        choice, place = form
        with place, explained():
            if choice.settings is not None and not lacks_labels(choice, labels):
                estimate_line(project, labels, choice)


def ready(rasters: Sequence[Raster]) -> bool:
    """Whether there is something to cut; says what is missing."""
    if not rasters:
        ask_for("There is no imagery in this project yet. Add some first.", "load_imagery")
    return bool(rasters)


def ask_for(text: str, key: str) -> None:
    """Say what is missing, with the way to the page of a step where it is made."""
    st.info(text, icon=":material/info:")
    st.page_link(step(key).page(), label=f"Go to {step(key).title}", icon=step(key).icon)


def export_panel(project: Project, rasters: Sequence[Raster], labels: gpd.GeoDataFrame) -> tuple[ExportChoice, DeltaGenerator]:
    """What there is, what to choose, and the one button; returns the choice and where to say what it would make."""
    schema = project.classes()
    counts = labels["class_value"].value_counts().drop(FULLY_LABELLED_VALUE, errors="ignore")
    st.markdown(
        f"**{many(len(rasters), 'image')}**, **{many(int(counts.sum()), 'label')}**: "
        + ", ".join(f"{counts[c.value]} {plain(c.name)}" for c in schema.classes if c.value in counts)
    )
    if len(labels):
        coverage_line(labels, rasters)
    jobs = export_jobs(project)
    choice = export_form(project, rasters, last_settings(jobs))
    estimate = st.container()
    running = bool(jobs) and job_status(jobs[0]).state == "running"
    unlabelled = lacks_labels(choice, labels)
    if unlabelled:
        ask_for("Nothing is labelled yet. Draw some roads first, in at least two different parts of the imagery.", "draw_labels")
    impossible = running or unlabelled or choice.settings is None or not choice.rasters
    if st.button("Export tiles", type="primary", icon=":material/grid_on:", disabled=impossible, key="export") and choice.settings:
        with explained():
            target = unused_folder(project.tiles_folder, choice.name or "tiles")
            named = zip(distinct_names(choice.rasters), choice.rasters, strict=True)
            sources = [ImageSource(name=name, source=raster_source(project, r), band_names=r.info.band_names) for name, r in named]
            others = choice.label_rasters
            classes, paths = (schema, ()) if others is None else (others.classes, others.paths)
            start_export(project, target.name, sources, labels, classes, choice.settings, mask=choice.mask, label_rasters=paths)
            st.rerun()
    if running:
        watch(jobs[0])
    elif jobs:
        last_word(jobs[0])
    return choice, estimate


def lacks_labels(choice: ExportChoice, labels: gpd.GeoDataFrame) -> bool:
    """Are there none for tiles that need some?"""
    needed = choice.settings is not None and FORMATS[choice.settings.metadata_format].has_classes
    return needed and len(labels) == 0 and choice.label_rasters is None


def last_settings(jobs: Sequence[Path]) -> ExportSettings | None:
    """Of the last export; None where there is none, or its note cannot be read any more."""
    try:
        return read_job(jobs[0]).settings if jobs else None
    except JobError:
        return None


# --- the export at work -------------------------------------------------------------------------------------------------------------


@st.fragment(run_every=0.5)
def watch(folder: Path) -> None:
    """Progress of a running export; the whole page runs again when it ends."""
    status = job_status(folder)
    if status.ended:
        st.rerun()
    stopping = (folder / "cancel").exists()
    left = f", about {seconds_in_words(round(status.seconds_left))} left" if status.seconds_left and not stopping else ""
    st.progress(status.fraction, text="Stopping ..." if stopping else f"{plain(status.stage)}{left}")
    st.button("Cancel", icon=":material/close:", key="cancel", on_click=cancel_job, args=(folder,))  # twice: by force


def last_word(folder: Path) -> None:
    """How the last export ended, unless it just worked, and the way on."""
    status = job_status(folder)
    if status.state == "failed":
        show_problem(status.error, status.remedy)
    elif status.state == "cancelled":
        st.info("The export was stopped; nothing was written.", icon=":material/info:")
    elif status.state == "interrupted":
        st.warning("The last export was cut off before it was done. The tiles that it had finished are kept.", icon=":material/warning:")
    else:
        return
    again = {"cancelled": "Start again", "interrupted": "Resume"}.get(status.state)
    with st.container(horizontal=True):
        if again and st.button(again, icon=":material/play_arrow:", help=AGAIN_HELP, key="resume"):
            with explained():
                start_job(folder, MODULE)
                st.rerun()
        if st.button("Dismiss", key="dismiss"):
            forget_job(folder)
            st.rerun()


AGAIN_HELP = "With the settings and the labels of that export. To use the labels as they are now, press Export tiles instead."

page_project = page_frame("export_tiles")
with explained():
    main(page_project)
