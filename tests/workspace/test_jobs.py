from __future__ import annotations

import errno
import json
import os
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import DiskFullError, JobError, NoLabelsError
from workspace import jobs
from workspace.jobs import JobReporter, cancel_job, events, job_status, process_alive, run_job, start_job


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Start a job whose work is the given Python body (with `reporter` and `time` in reach)."""
    monkeypatch.setattr(jobs, "REPOSITORY", tmp_path)
    root = Path(__file__).resolve().parents[2]

    def start(body: str) -> Path:
        code = "import sys, time\nsys.path.insert(0, {root!r})\nfrom pathlib import Path\nfrom workspace.jobs import run_job\ndef work(reporter):\n{body}\nsys.exit(run_job(Path(sys.argv[1]), work))\n"
        (tmp_path / "the_work.py").write_text(code.format(root=str(root), body=textwrap.indent(textwrap.dedent(body), "    ")))
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        start_job(folder, "the_work")
        return folder

    return start


def wait_for(folder: Path, *states: str) -> jobs.JobStatus:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = job_status(folder)
        if status.state in states:
            return status
        time.sleep(0.05)
    raise AssertionError(job_status(folder))


def test_a_job_tells_its_progress_and_its_end(job: Callable[[str], Path]) -> None:
    folder = job("reporter.event(step=1)\nreporter.progress('Half', 0.5, 3.0)\nreporter.event(step=2)")
    assert wait_for(folder, "done").fraction == 1
    assert [e["step"] for e in events(folder)] == [1, 2]


def test_cancelling_stops_within_two_seconds(job: Callable[[str], Path]) -> None:
    folder = job("while True:\n    reporter.progress('Going', 0.1)\n    time.sleep(0.05)")
    while job_status(folder).stage != "Going":
        time.sleep(0.05)
    started = time.monotonic()
    cancel_job(folder)
    assert wait_for(folder, "cancelled")
    assert time.monotonic() - started < 2


def test_a_job_at_work_is_not_deleted(job: Callable[[str], Path]) -> None:
    folder = job("reporter.progress('Going', 0.1)\ntime.sleep(60)")
    while job_status(folder).stage != "Going":
        time.sleep(0.05)
    with pytest.raises(JobError, match="still running"):
        jobs.remove_job(folder)
    cancel_job(folder)
    time.sleep(0.2)
    cancel_job(folder, force_after=0.1)
    jobs.remove_job(folder)
    assert list(folder.parent.glob("*job*")) == []


def test_a_deaf_job_is_ended_by_force(job: Callable[[str], Path]) -> None:
    folder = job("reporter.progress('Deaf', 0.1)\ntime.sleep(60)")
    while job_status(folder).stage != "Deaf":
        time.sleep(0.05)
    cancel_job(folder)
    time.sleep(0.2)
    cancel_job(folder, force_after=0.1)
    assert wait_for(folder, "cancelled")
    assert not process_alive(folder)


def test_a_killed_job_is_told_apart_from_a_running_one(job: Callable[[str], Path]) -> None:
    folder = job("reporter.progress('Going', 0.4)\ntime.sleep(60)")
    while job_status(folder).stage != "Going":
        time.sleep(0.05)
    with pytest.raises(JobError, match="already running"):
        start_job(folder, "the_work")
    time.sleep(2.1)
    os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGKILL)
    status = wait_for(folder, "interrupted")
    assert status.fraction == 0.4
    assert "Resume" in status.remedy


def test_a_reused_pid_is_not_the_job(tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text(json.dumps({"pid": os.getpid(), "born": "1"}))
    assert not process_alive(tmp_path)


def test_expected_errors_keep_their_remedy(tmp_path: Path) -> None:
    def work(reporter: JobReporter) -> None:
        raise NoLabelsError("There are no labels.", "Draw some.")

    assert run_job(tmp_path, work) == 1
    status = job_status(tmp_path)
    assert (status.state, status.error, status.remedy) == ("failed", "There are no labels.", "Draw some.")


def test_unexpected_errors_end_the_job_as_failed(tmp_path: Path) -> None:
    def work(reporter: JobReporter) -> None:
        raise ZeroDivisionError("x")

    with pytest.raises(ZeroDivisionError):
        run_job(tmp_path, work)
    assert "ZeroDivisionError" in job_status(tmp_path).error


def test_a_half_written_event_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"step": 1}\n{"ste')
    assert events(tmp_path) == [{"step": 1}]


def full_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on nothing can be written, until somebody gives up the room that was kept."""
    really = jobs.write_json

    def write(path: Path, value: object) -> None:
        if (folder / "reserve").exists():
            error = DiskFullError(f"The disk is full: {path.name} was not written and nothing was changed.", "Free some space.")
            raise error from OSError(errno.ENOSPC, "No space left on device")
        really(path, value)

    monkeypatch.setattr(jobs, "write_json", write)


def test_a_full_disk_is_the_last_word_of_a_job_that_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(reporter: JobReporter) -> None:
        full_disk(monkeypatch, tmp_path)
        reporter.progress("Going", 0.5)

    assert run_job(tmp_path, work) == 1
    status = job_status(tmp_path)
    assert (status.state, status.error, status.remedy) == ("failed", "The disk is full: the job could not go on.", "Free some space.")
    assert not (tmp_path / "reserve").exists()


def test_a_log_that_cannot_be_written_is_a_full_disk_too(tmp_path: Path) -> None:
    def work(reporter: JobReporter) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run_job(tmp_path, work) == 1
    status = job_status(tmp_path)
    assert (status.state, status.error) == ("failed", "The disk is full: the job could not go on.")
    assert "Free some space" in status.remedy


def test_a_job_ended_by_force_on_a_full_disk_is_cancelled(job: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = job("reporter.progress('Deaf', 0.1)\ntime.sleep(60)")
    while job_status(folder).stage != "Deaf":
        time.sleep(0.05)
    full_disk(monkeypatch, folder)
    cancel_job(folder)
    time.sleep(0.2)
    cancel_job(folder, force_after=0.1)
    assert wait_for(folder, "cancelled").stage == "Deaf"


def test_no_reserve_is_left_behind(tmp_path: Path) -> None:
    assert run_job(tmp_path, lambda reporter: None) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["process.json", "status.json"]


def test_a_job_that_has_said_its_last_word_starts_again_at_once(job: Callable[[str], Path]) -> None:
    """The process may need a while to end."""
    folder = job("import atexit\natexit.register(time.sleep, 1.5)")
    wait_for(folder, "done")
    assert process_alive(folder)
    start_job(folder, "the_work")
    assert wait_for(folder, "done")
