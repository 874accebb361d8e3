"""A comparison at work, stopped, or done."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from imagery.library import list_rasters
from inference.report import REPORT_FILE, Report, read_report
from ui.comparison.choices import KEY, OVER
from ui.comparison.places import places_tab
from ui.comparison.scores import areas_tab, scores_tab
from ui.comparison.shapes import shapes_tab
from ui.comparison.sides import overlapping
from ui.comparison.take_away import delete_button, take_away_tab
from ui.job_panel import seconds_in_words
from ui.problems import explained, plain, show_problem
from ui.steps import step
from ui.wording import told_once
from workspace.jobs import JobStatus, cancel_job, job_status, start_job
from workspace.project import Project

MODULE = "inference.run"


def progress_and_results(project: Project, job: Path) -> None:
    status = job_status(job)
    if status.state in {"running", "waiting"} and not (job / REPORT_FILE).exists():
        running(job, len(maps_done(job)))
        return
    if status.ended and status.state != "done" and not (job / REPORT_FILE).exists():
        stopped(job, status)
        return
    with explained():
        report = read_report(job)
        numbers(project, job, report)
    st.page_link(
        step("draw_labels").page(),
        label="Label where it is still wrong",
        icon=":material/draw:",
        query_params={"project": project.id, OVER: job.name},
    )


def maps_done(job: Path) -> list[Path]:
    return [path for name in ("first_before", "first_after", "after", "change") for path in sorted(job.glob(f"*/{name}.tif"))]


@st.fragment(run_every=1.0)
def running(job: Path, shown: int) -> None:
    """Progress, refreshed by itself; the whole page follows when a map is ready or the job ends."""
    status = job_status(job)
    if status.ended or (job / REPORT_FILE).exists() or len(maps_done(job)) != shown:
        st.rerun()
    left = "" if status.seconds_left is None else f" · {seconds_in_words(round(status.seconds_left))} left"
    st.progress(status.fraction, text=f"{status.stage or 'Starting'}{left}")
    stopping = (job / "cancel").exists()
    if st.button(
        "Stopping ..." if stopping else "Stop",
        icon=":material/stop:",
        disabled=stopping and time.time() % 6 < 5,
        key=f"{KEY}:stop:{job.name}",
    ):
        cancel_job(job)
        st.rerun(scope="fragment")
    st.caption("You may leave this page, or close it: the work goes on. Maps appear as they are ready.")


def stopped(job: Path, status: JobStatus) -> None:
    if status.state == "cancelled":
        st.info("You stopped this comparison. What was finished is kept.", icon=":material/info:")
    else:
        show_problem(status.error or "The comparison did not finish.", status.remedy)
    if st.button("Resume", type="primary", icon=":material/play_arrow:", key=f"{KEY}:resume:{job.name}"):
        with explained():
            start_job(job, MODULE)
            st.rerun()
    delete_button(job)
    log = job / "log.txt"
    if log.exists() and log.stat().st_size:
        with st.expander("Log"):
            st.code(log.read_text(encoding="utf-8", errors="replace")[-4000:], language=None)


def numbers(project: Project, job: Path, report: Report) -> None:
    for problem in report.failed:
        show_problem(f"{problem.raster} was left out: {problem.fact}", problem.remedy)
    scores, areas, places, shapes, take = st.tabs(
        [
            ":material/target: Scores",
            ":material/square_foot: Areas",
            ":material/pin_drop: Places",
            ":material/polyline: Shapes",
            ":material/download: Take away",
        ]
    )
    with scores:
        scores_tab(report)
    with areas:
        shown = [raster for raster in list_rasters(project) if raster.id in {one.id for one in report.rasters}]
        areas_tab(report, twice=bool(overlapping(shown, shown)))
    with places:
        places_tab(project, job, report, MODULE)
    with shapes:
        shapes_tab(project, job, report)
    with take:
        take_away_tab(project, job, report)
        delete_button(job)
    for note in told_once([(note.raster, f"{note.fact} {note.remedy}".strip()) for note in report.notes]):
        st.caption(f":material/info: {plain(note)}")
