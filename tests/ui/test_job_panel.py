"""The job panel under AppTest, with a job folder as a process leaves it."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.job_panel import seconds_in_words
from workspace import jobs
from workspace.files import write_json
from workspace.jobs import JobStatus


def script() -> None:
    from pathlib import Path

    import streamlit as st

    from ui.job_panel import job_panel

    job_panel(Path(st.session_state["folder"]), "training.run", key="job", details=lambda: st.markdown("details"))


def shown(folder: Path) -> AppTest:
    page = AppTest.from_function(script, default_timeout=30)
    page.session_state["folder"] = str(folder)
    page.run()
    assert not page.exception
    return page


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A job that this very process stands in for."""
    now = time.time()
    write_json(
        tmp_path / "status.json",
        JobStatus(state="running", stage="Epoch 3 of 20", fraction=0.15, seconds_left=42, started=now, updated=now).model_dump(),
    )
    write_json(tmp_path / "process.json", {"pid": os.getpid(), "born": jobs._born(os.getpid())})
    return tmp_path


def test_a_job_at_work_shows_stage_and_can_be_cancelled(running):
    page = shown(running)
    bar = page.get("progress")[0].proto
    assert bar.value == 15
    assert re.search(r"Epoch 3 of 20 · about (3\d|4[0-2]) s left", bar.text)
    assert "details" in [m.value for m in page.markdown]
    page.button(key="job:cancel").click().run()
    assert (running / "cancel").exists()
    assert page.button(key="job:cancel").disabled
    assert "Stopping" in page.get("progress")[0].proto.text


def test_a_job_that_does_not_listen_can_be_forced(running):
    (running / "cancel").touch()
    os.utime(running / "cancel", (time.time() - 60,) * 2)
    assert shown(running).button(key="job:cancel").label == "Stop now"


def test_a_gone_process_offers_resume(running, monkeypatch):
    write_json(running / "process.json", {"pid": os.getpid(), "born": "0"})
    started = json.loads((running / "status.json").read_text()) | {"started": time.time() - 60}
    write_json(running / "status.json", started)
    asked = []
    monkeypatch.setattr("ui.job_panel.start_job", lambda folder, module: asked.append((folder, module)))
    page = shown(running)
    assert "What was reached is kept" in page.warning[0].value
    page.button(key="job:resume").click().run()
    assert asked == [(running, "training.run")]


def test_the_log_shows_its_end(running):
    (running / "log.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    log = shown(running).code[0].value
    assert "line 999" in log
    assert "line 799" not in log


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (89, "89 s"), (150, "2 min"), (7800, "2 h 10 min")])
def test_seconds_in_words(seconds, words):
    assert seconds_in_words(seconds) == words
