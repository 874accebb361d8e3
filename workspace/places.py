"""Folders and files in the settings of a job: relative to the project where they lie inside it, so that a copied project keeps its things."""

from __future__ import annotations

from pathlib import Path


def noted_path(project: Path, path: Path) -> str:
    """How a path is written into the settings of a job.

    Args:
        project: The project's folder.
        path: Where it lies.

    Returns:
        Relative to the project, with forward slashes, where it lies inside; else absolute.
    """
    place, home = path.resolve(), project.resolve()
    return place.relative_to(home).as_posix() if place.is_relative_to(home) else str(place)


def place_of(job: Path, path: str) -> Path:
    """A path of a job's settings as an absolute one.

    Args:
        job: The job's folder, two below the project's.
        path: Relative ones count from the project. An absolute one that is gone is looked for in this project by its last two names
            ("tiles/tracks"): the project was copied or moved since.
    """
    project = job.resolve().parent.parent
    place = project / path
    moved = project.joinpath(*place.parts[-2:])
    return moved if not place.exists() and moved.exists() else place
