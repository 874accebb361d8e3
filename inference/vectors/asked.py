"""What a job that makes shapes is asked to do, and what came of it: the files that lie in its folder, `predictions/<comparison>/shapes/<id>`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from errors import JobError
from inference.vectors.settings import ShapeSettings

SETTINGS_FILE = "settings.json"
RESULT_FILE = "result.json"
FOLDER = "shapes"
"""Of a comparison: where its jobs of this kind lie."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShapesAsked(_Strict):
    """What a job is asked to do."""

    side: Literal["after", "before"] = Field(default="after", description="Which of the two maps.")
    pictures: dict[str, str] = Field(min_length=1, description="Raster ids of the comparison, and the names of the pictures.")
    classes: tuple[int, ...] = Field(min_length=1, description="Class values.")
    shapes: ShapeSettings = Field(description="Polygons, buildings or roads.")


class ShapesMade(_Strict):
    """What came of it."""

    count: int
    seconds: float


def read_asked(job: Path) -> ShapesAsked:
    """The settings of a job.

    Raises:
        JobError: settings.json is missing or does not parse.
    """
    try:
        return ShapesAsked.model_validate_json((job / SETTINGS_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"The settings of the shapes {job.name} cannot be read.", "Delete them and make them again.") from error


def read_made(job: Path) -> ShapesMade | None:
    """What a job made; None before it is done."""
    try:
        return ShapesMade.model_validate_json((job / RESULT_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def shapes_file(job: Path, asked: ShapesAsked, suffix: str = ".gpkg") -> Path:
    """Where the shapes of a job are written."""
    return job / f"{asked.shapes.kind}{suffix}"
