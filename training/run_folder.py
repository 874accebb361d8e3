"""What lies in the folder of a training run besides what every job has (`workspace.jobs`). No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from errors import TrainingError
from training.settings import PLACES, TrainingSettings
from workspace.files import read_json, write_json, write_text
from workspace.places import noted_path, place_of

SETTINGS = "settings.json"
MODEL = "model"
"""The bundle of the best epoch so far."""
RESULT = "result.json"
"""Scores before and after."""
FOUND = "found.json"
"""Tiles per step and learning rate where they were left open, with the curve of the trial."""
REPORT = "report.html"
"""What was learnt, for people (`training.report`)."""
NOTES = "notes.txt"
TENSORBOARD = "tensorboard"
"""Folder of the curves as TensorBoard reads them."""


def read_settings(folder: Path) -> TrainingSettings:
    """The settings of a run, its folders absolute.

    Raises:
        TrainingError: settings.json is missing or not understood.
    """
    try:
        settings = TrainingSettings.model_validate(read_json(folder / SETTINGS))
    except FileNotFoundError as error:
        raise TrainingError(
            f"The folder {folder.name} has no {SETTINGS}.", "Give the folder of a run, or --tiles and --out to start a new one."
        ) from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise TrainingError(
            f"{SETTINGS} of the run {folder.name} cannot be read: {reason(error)}.", "Correct it, or start a new run."
        ) from error
    return settings.model_copy(update={name: _place(folder, name, getattr(settings, name)) for name in PLACES})


def write_settings(folder: Path, settings: TrainingSettings) -> None:
    """Note the settings of a run; folders of the project that the run lies in relative to it."""
    project = folder.resolve().parent.parent
    asked = settings.model_dump(mode="json")
    for name in PLACES:
        if asked[name] and Path(asked[name]).is_absolute():
            asked[name] = noted_path(project, Path(asked[name]))
    write_json(folder / SETTINGS, asked)


def reason(error: Exception) -> str:
    """Why settings were refused, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}"
    return str(error)


def read_notes(folder: Path) -> str:
    """What people wrote about the run; empty for nothing."""
    try:
        return (folder / NOTES).read_text(encoding="utf-8")
    except OSError:
        return ""


def write_notes(folder: Path, text: str) -> None:
    """Keep what people write about the run, in notes.txt."""
    write_text(folder / NOTES, text)


def read_found(folder: Path) -> dict[str, Any]:
    """{"batch_size", "learning_rate", "sweep": {"rates", "losses", "chosen"}}, each where it was left open; empty where nothing was."""
    return _read(folder / FOUND)


def read_result(folder: Path) -> dict[str, Any]:
    """What the run reached: scores before and after, the best epoch, how many tiles; empty before anything was kept."""
    return _read(folder / RESULT)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _place(folder: Path, name: str, path: str | None) -> str | None:
    """A place of the settings as an absolute one; the name of a base model stays."""
    if path is None:
        return None
    project = folder.resolve().parent.parent
    if name == "publish_to" and not (project / path).parent.exists() and (project / Path(path).parent.name).is_dir():
        path = "/".join(Path(path).parts[-2:])  # the project moved; nothing lies there yet that could be found
    place = place_of(folder, path)
    return path if name == "base" and not place.exists() else str(place)
