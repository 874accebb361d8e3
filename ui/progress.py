"""How far a project has come, read from its folder."""

from __future__ import annotations

from imagery.library import list_rasters
from labeling.journal import open_journal
from workspace.project import Project


def finished_steps(project: Project) -> set[str]:
    """Keys of the steps that have left something in the project."""
    left = {
        "load_imagery": bool(list_rasters(project)),
        "draw_labels": _labels(project) > 0,
        "export_tiles": bool(project.made("tiles", "terratune.json")),
        "train_model": any(project.runs_folder.glob("*/model/card.json")),
        "preview_results": bool(project.made("predictions", "report.json")),
    }
    return {key for key, there in left.items() if there}


def _labels(project: Project) -> int:
    return sum(open_journal(project.journal_file).counts().values()) if project.journal_file.exists() else 0
