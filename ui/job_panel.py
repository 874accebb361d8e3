"""One job on screen: stage, progress, time left, Cancel, Resume, log. Reads the job's folder only, so it survives reloads and restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from ui.problems import explained, show_problem
from workspace.jobs import SECONDS_BEFORE_FORCE, JobStatus, cancel_job, job_status, start_job

LOG_LINES = 200
REFRESH_S = 1.0


def kept_by_default() -> str:
    """What most jobs keep when they are stopped."""
    return "What was reached is kept."


def job_panel(
    folder: Path, module: str, *, key: str, details: Callable[[], None] | None = None, kept: Callable[[], str] = kept_by_default
) -> JobStatus:
    """Show a job, refreshed every second while it is at work; the whole page runs again once it has ended.

    Args:
        folder: The job's folder.
        module: What `start_job` runs when somebody presses Resume.
        key: Unique on the page.
        details: Draws what is particular to this job (curves) below the bar; called at every refresh.
        kept: Says what is left of the job when it is stopped now, in a sentence.

    Returns:
        The status as shown first.
    """
    status = job_status(folder)
    at_work = status.state in {"running", "waiting"}
    panel = st.fragment(_panel, run_every=REFRESH_S if at_work else None)
    panel(folder, module, key, details, kept, at_work)
    return status


def _panel(folder: Path, module: str, key: str, details: Callable[[], None] | None, kept: Callable[[], str], was_at_work: bool) -> None:
    status = job_status(folder)
    if was_at_work and status.ended:
        st.rerun(scope="app")
    with explained():
        if status.state == "running":
            _running(folder, status, key, kept())
        elif status.state != "done":
            _stopped(folder, module, status, key, kept())
        if details is not None:
            details()
        _log(folder, key)


def _running(folder: Path, status: JobStatus, key: str, kept: str) -> None:
    asked = folder / "cancel"
    with st.container(horizontal=True, vertical_alignment="center"):
        stage = "Stopping" if asked.exists() else status.stage or "Starting"
        st.progress(status.fraction, text=f"{stage}{_left(status)}", width="stretch")
        waited = time.time() - asked.stat().st_mtime if asked.exists() else None
        st.button(
            "Cancel" if waited is None or waited <= SECONDS_BEFORE_FORCE else "Stop now",
            key=f"{key}:cancel",
            icon=":material/stop_circle:",
            disabled=waited is not None and waited <= SECONDS_BEFORE_FORCE,
            help=kept,
            on_click=cancel_job,
            args=(folder,),
        )


def _stopped(folder: Path, module: str, status: JobStatus, key: str, kept: str) -> None:
    """Cancelled, failed, interrupted, or never started: say so, and offer to go on."""
    if status.state == "failed":
        show_problem(status.error, status.remedy)
    elif status.state == "interrupted":
        st.warning(f"**{status.error}** {kept}", icon=":material/power_off:")
    elif status.state == "cancelled":
        st.info(f"**Stopped as you asked.** {kept}", icon=":material/stop_circle:")
    label = {"failed": "Try again", "waiting": "Start"}.get(status.state, "Resume")
    if st.button(label, key=f"{key}:resume", icon=":material/play_arrow:"):
        with explained():
            start_job(folder, module)
            st.rerun(scope="app")


def _log(folder: Path, key: str) -> None:
    with st.expander("Log", icon=":material/notes:", key=f"{key}:log"):
        lines = _last_lines(folder / "log.txt", LOG_LINES)
        st.code("\n".join(lines) or "Nothing yet.", language=None, wrap_lines=True, height=200)


def _last_lines(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _left(status: JobStatus) -> str:
    if status.seconds_left is None:
        return ""
    seconds = max(0, round(status.seconds_left - (time.time() - status.updated)))
    return f" · about {seconds_in_words(seconds)} left"


def seconds_in_words(seconds: int) -> str:
    """'40 s', '3 min', '2 h 10 min'."""
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
