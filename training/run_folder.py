"""What lies in the folder of a training run besides what every job has (`workspace.jobs`). No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workspace.files import read_json

MODEL = "model"
"""The bundle of the best epoch so far."""
RESULT = "result.json"
"""Scores before and after."""
FOUND = "found.json"
"""Tiles per step and learning rate where they were left open, with the curve of the trial."""
REPORT = "report.html"
"""What was learnt, for people (`training.report`)."""
NOTES = "notes.txt"


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
