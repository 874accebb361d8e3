"""Long work as its own process: a job is a folder with settings, a status file and a process.

    <job folder>/
        settings.json   what the job was asked to do (written by the caller)
        status.json     JobStatus, rewritten as the job goes on
        events.jsonl    one JSON object a line, appended (curves are drawn from it)
        log.txt         everything the process printed
        process.json    pid and start time, so that a reused pid is not mistaken for the job
        cancel          exists once somebody asked it to stop
        reserve         while it runs: room that is given up for the last status when the disk is full

The process is `python -m <module> <job folder>`: the same command reruns a job by hand, without a browser.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from errors import JobCancelled, JobError, TerratuneError
from workspace.files import FREE_SPACE, disk_full_explained, is_disk_full, read_json, write_json

State = Literal["waiting", "running", "done", "cancelled", "failed", "interrupted"]
REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS_BEFORE_FORCE = 5.0
SECONDS_TO_END = 10.0
"""What a process may need to end after its last word."""
DISK_FULL = "The disk is full: the job could not go on."
RESERVE = "reserve"
RESERVE_BYTES = 16 * 1024
"""Several blocks of any file system: room for a status and for the directory entry of its temporary name."""


class JobStatus(BaseModel):
    """What a page needs to know about a job; `interrupted` is found out, never written."""

    model_config = ConfigDict(extra="forbid")

    state: State = "waiting"
    stage: str = ""
    """What it is doing, in plain words."""
    fraction: float = 0.0
    """Done, 0..1."""
    seconds_left: float | None = None
    error: str = ""
    remedy: str = ""
    started: float = 0.0
    """Unix time."""
    updated: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in {"done", "cancelled", "failed", "interrupted"}


def start_job(folder: Path, module: str) -> None:
    """Start `python -m module folder` detached from this process: it outlives a restarted server.

    Raises:
        JobError: a process of this job is still at work.
        DiskFullError: there is no room for its first status; nothing was started.
    """
    deadline = time.monotonic() + SECONDS_TO_END
    while process_alive(folder) and job_status(folder).ended and time.monotonic() < deadline:
        time.sleep(0.05)
    if process_alive(folder):
        raise JobError("This job is already running.", "Wait for it, or cancel it first.")
    (folder / "cancel").unlink(missing_ok=True)
    write_json(folder / "status.json", JobStatus(state="running", stage="Starting", started=time.time(), updated=time.time()).model_dump())
    with disk_full_explained(folder / "log.txt"), (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            start_new_session=True,
            # waiting threads must not spin: other work shares the cores
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )
    write_json(folder / "process.json", {"pid": process.pid, "born": _born(process.pid)})


def job_status(folder: Path) -> JobStatus:
    """The job's state now; when its process is gone without a last word (kill, power cut), `cancelled` if that was asked for, else `interrupted`."""
    try:
        status = JobStatus.model_validate(read_json(folder / "status.json"))
    except (OSError, ValueError):
        return JobStatus()
    if status.state == "running" and not process_alive(folder) and time.time() - status.started > 2.0:
        status = JobStatus.model_validate(read_json(folder / "status.json"))  # it may have ended just now
        if status.state == "running" and (folder / "cancel").exists():
            return status.model_copy(update={"state": "cancelled"})
        if status.state == "running":
            return status.model_copy(
                update={
                    "state": "interrupted",
                    "error": "The job stopped without finishing.",
                    "remedy": "Press Resume to go on from where it was.",
                }
            )
    return status


def cancel_job(folder: Path, *, force_after: float = SECONDS_BEFORE_FORCE) -> None:
    """Ask the job to stop; a job that does not look within `force_after` seconds is ended by a signal on the next call."""
    flag = folder / "cancel"
    if not flag.exists():
        flag.touch()
    elif process_alive(folder) and time.time() - flag.stat().st_mtime > force_after:
        os.killpg(read_json(folder / "process.json")["pid"], signal.SIGKILL)
        while process_alive(folder):  # it takes the kernel a moment
            time.sleep(0.01)


def remove_job(folder: Path) -> None:
    """Delete a job and all it made.

    Raises:
        JobError: it is at work.
    """
    if process_alive(folder) and not job_status(folder).ended:
        raise JobError("This job is still running.", "Stop it first, then delete it.")
    hidden = folder.with_name(f".{folder.name}.removed")
    folder.rename(hidden)  # gone from every list at once
    shutil.rmtree(hidden, ignore_errors=True)


def events(folder: Path) -> list[dict[str, Any]]:
    """All complete events so far, oldest first; a half-written last line is left out."""
    path = folder / "events.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]


def process_alive(folder: Path) -> bool:
    """Is the process that process.json names still the job's, and running?"""
    try:
        noted = read_json(folder / "process.json")
        pid = int(noted["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)  # reap it if it is our own child
    return noted["born"] is not None and _born(pid) == noted["born"]


def _born(pid: int) -> str | None:
    """Start time of a process as the kernel tells it; None when there is no such (living) process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclass
class JobReporter:
    """The job's side: tell how far it is, and notice when it should stop."""

    folder: Path
    status: JobStatus = field(default_factory=JobStatus)

    def progress(self, stage: str, fraction: float, seconds_left: float | None = None) -> None:
        """Write the status.

        Raises:
            JobCancelled: the user asked to stop.
        """
        self.stop_if_cancelled()
        self._write(stage=stage, fraction=min(max(fraction, 0.0), 1.0), seconds_left=seconds_left)

    def event(self, **facts: Any) -> None:
        """Append one event, with the time."""
        with disk_full_explained(self.folder / "events.jsonl"), (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), **facts}) + "\n")

    def stop_if_cancelled(self) -> None:
        """Call this at least every second.

        Raises:
            JobCancelled: the user asked to stop.
        """
        if (self.folder / "cancel").exists():
            raise JobCancelled("Stopped as you asked.")

    def _write(self, **changes: Any) -> None:
        self.status = self.status.model_copy(update={"updated": time.time(), **changes})
        write_json(self.folder / "status.json", self.status.model_dump())


def run_job(folder: Path, work: Callable[[JobReporter], None]) -> int:
    """Run `work` in this process, leaving a true last status whatever happens.

    Returns:
        Exit status: 0 done, 1 failed, 3 cancelled.
    """
    reporter = JobReporter(folder)
    try:
        if not (folder / "process.json").exists() or read_json(folder / "process.json").get("pid") != os.getpid():
            write_json(folder / "process.json", {"pid": os.getpid(), "born": _born(os.getpid())})
        with disk_full_explained(folder / RESERVE):
            (folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))  # random: nothing that a file system could compress away
        reporter._write(state="running", stage="Starting", started=time.time(), error="", remedy="")
        work(reporter)
    except JobCancelled:
        _last_word(reporter, state="cancelled")
        return 3
    except TerratuneError as error:
        fact = DISK_FULL if is_disk_full(error.__cause__) else error.fact  # whichever file it was, people need not know it
        _last_word(reporter, state="failed", error=fact, remedy=error.remedy)
        return 1
    except BaseException as error:
        if is_disk_full(error):
            _last_word(reporter, state="failed", error=DISK_FULL, remedy=FREE_SPACE)
            return 1
        _last_word(reporter, state="failed", error=_unexpected(error), remedy="The log below says more; it is kept in log.txt.")
        raise
    _last_word(reporter, state="done", stage="Done", fraction=1.0)
    return 0


def _last_word(reporter: JobReporter, **changes: Any) -> None:
    """The last status, in the room that was kept for it."""
    (reporter.folder / RESERVE).unlink(missing_ok=True)
    reporter._write(seconds_left=None, **changes)


def _unexpected(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "The computer ran out of memory."
    return f"Something unexpected went wrong ({type(error).__name__}: {error})."
