"""The training runs of a project: listed, compared, repeated, deleted. Pure functions over their folders; no torch here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import TerratuneError
from models.card import Score, read_card
from models.catalogue import find_model
from tiles.apart import is_marked
from training.run_folder import SETTINGS, read_found, read_result, read_settings, write_settings
from training.settings import HELD_OUT, TrainingSettings
from workspace.files import folder_name
from workspace.jobs import JobStatus, events, job_status, remove_job
from workspace.project import Project

LONGEST_NAME = 60
OF_EACH_RUN = ("name", "publish_to")
"""Settings in which any two runs differ."""


@dataclass(frozen=True)
class Run:
    """One training run, as its folder tells."""

    folder: Path
    settings: TrainingSettings | None
    """None: they cannot be read."""
    status: JobStatus
    made: float
    """When it was asked for; Unix time."""
    epochs: tuple[dict[str, Any], ...]
    """The epoch events so far, oldest first."""
    result: dict[str, Any]
    """See `training.run_folder.read_result`."""

    @property
    def name(self) -> str:
        return (self.settings.name if self.settings else "") or self.folder.name

    @property
    def base(self) -> str:
        """Title of the base model, or its name where it is gone."""
        if self.settings is None:
            return ""
        try:
            return read_card(find_model(self.settings.base)).title
        except TerratuneError:
            return Path(self.settings.base).name

    @property
    def tiles(self) -> str:
        """Name of the tile set."""
        return Path(self.settings.tiles).name if self.settings else ""

    @property
    def score(self) -> float | None:
        """Mean over the classes on the held-out tiles, 0..1, of what is measured; None before there is a score."""
        found = [v for s in self.held_out if (v := s.measured[1]) is not None]
        return statistics.fmean(found) if found else None

    @property
    def measure(self) -> str:
        """What the score is: IoU of a class for each pixel, AP50 of objects, F1 of whole tiles; "" before there is one."""
        return next((s.measured[0] for s in self.held_out), "")

    @property
    def held_out(self) -> list[Score]:
        """Of each class, on the held-out tiles."""
        return [Score.model_validate(s) for s in self.result.get("after", ()) if s["on"].startswith(HELD_OUT)]

    @property
    def is_honest(self) -> bool:
        """Were the held-out tiles kept apart?"""
        return not any(is_marked(s["on"]) for s in self.result.get("after", ()))

    @property
    def seconds(self) -> float | None:
        """Spent learning and scoring; None before anything ended."""
        if self.epochs:
            return float(sum(e["seconds"] for e in self.epochs))
        return self.status.updated - self.status.started if self.status.state == "done" else None


def read_run(folder: Path) -> Run:
    """What a run's folder says now."""
    try:
        settings = read_settings(folder)
    except TerratuneError:
        settings = None
    made = (folder / SETTINGS).stat().st_mtime
    epochs = tuple(e for e in events(folder) if e["kind"] == "epoch")
    return Run(folder, settings, job_status(folder), made, epochs, read_result(folder))


def list_runs(project: Project) -> list[Run]:
    """All runs of a project, newest first."""
    return [read_run(folder) for folder in project.made("runs", SETTINGS)]


def new_run(project: Project, settings: TrainingSettings) -> Path:
    """The folder of a new run with these settings, ready to start; its model goes to a folder of the same name.

    Raises:
        DiskFullError: no room for the settings.
    """
    stem = folder_name(settings.name)
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 10_000))
    name = next(n for n in names if not (project.runs_folder / n).exists() and not (project.models_folder / n).exists())
    write_settings(project.runs_folder / name, settings.model_copy(update={"publish_to": str(project.models_folder / name)}))
    return project.runs_folder / name


def run_again(project: Project, run: Run) -> Path:
    """A new run with the same settings, what was found for them included: it comes to the same numbers.

    Raises:
        TrainingError: the settings cannot be read.
        DiskFullError: no room for the settings.
    """
    settings = read_settings(run.folder)
    found = {name: value for name, value in read_found(run.folder).items() if getattr(settings, name, 0) is None}
    return new_run(project, settings.model_copy(update=found | {"name": _another(run.name, [r.name for r in list_runs(project)])}))


def delete_run(folder: Path) -> None:
    """Delete a run with its curves, log and notes; the model it published stays.

    Raises:
        JobError: it is at work.
    """
    remove_job(folder)


def differences(one: TrainingSettings, other: TrainingSettings) -> list[tuple[str, str, str]]:
    """The settings in which two runs differ: (title, what the one has, what the other), in the words of the form."""
    fields = TrainingSettings.model_fields
    return [
        (field.title or name, in_words(name, getattr(one, name)), in_words(name, getattr(other, name)))
        for name, field in fields.items()
        if name not in OF_EACH_RUN and getattr(one, name) != getattr(other, name)
    ]


def in_words(name: str, value: Any) -> str:
    """The value of a setting as the form shows it."""
    extra = TrainingSettings.model_fields[name].json_schema_extra
    shown: dict[str, Any] = extra if isinstance(extra, dict) else {}
    if value is None or value == ():
        return str(shown.get("empty", "none"))
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value)
    if name in {"tiles", "base", "replay_tiles"}:
        return Path(value).name
    return str(shown.get("options", {}).get(value, f"{value:g}" if isinstance(value, float) else value))


def _another(name: str, taken: Sequence[str]) -> str:
    """'Roads again', 'Roads again 2': a name that is not taken."""
    stem = name.split(" again")[0]
    endings = (" again" if n == 1 else f" again {n}" for n in range(1, len(taken) + 2))
    names = (stem[: LONGEST_NAME - len(ending)] + ending for ending in endings)
    return next(n for n in names if n not in taken)
