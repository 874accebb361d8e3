"""Make shapes of the maps of a comparison: `python -m inference.vectors.run JOB_FOLDER`.

The job's folder is `predictions/<comparison>/shapes/<id>`: settings.json, and at the end the shapes in every format, and result.json.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field

from errors import JobError
from inference.vectors.class_map import read_class_map
from inference.vectors.make import GEOMETRY, make_shapes
from inference.vectors.settings import ShapeSettings
from inference.vectors.write import SUFFIXES, write_as
from workspace.files import write_text
from workspace.jobs import JobReporter, run_job

SETTINGS_FILE = "settings.json"
RESULT_FILE = "result.json"
FOLDER = "shapes"
"""Of a comparison: where its jobs of this kind lie."""
SHARE_OF_MAKING = 0.9
SECONDS_BETWEEN_REPORTS = 0.4


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


def make(reporter: JobReporter) -> None:
    """The whole job. Errors end up in its status."""
    job, started = reporter.folder, time.monotonic()
    asked = read_asked(job)
    told = 0.0

    def tell(share: float) -> None:
        nonlocal told
        reporter.stop_if_cancelled()
        now = time.monotonic()
        if now - told >= SECONDS_BETWEEN_REPORTS:
            told = now
            left = (now - started) * (1 - share) / share if share > 0.05 else None
            reporter.progress("Making shapes", SHARE_OF_MAKING * share, left)

    comparison = job.parent.parent
    maps = {}
    for raster, name in asked.pictures.items():
        confidence = comparison / raster / f"{asked.side}_confidence.tif"
        maps[name if name not in maps else f"{name} ({raster})"] = read_class_map(
            comparison / raster / f"{asked.side}.tif", confidence if confidence.exists() else None
        )
    made = shapes_file(job, asked)
    count = make_shapes(maps, asked.classes, asked.shapes, made, progress=tell)
    legend = next(iter(maps.values())).legend(asked.classes)
    for done, suffix in enumerate(suffix for suffix in SUFFIXES if suffix != made.suffix):
        reporter.progress("Writing the files", SHARE_OF_MAKING + (1 - SHARE_OF_MAKING) * done / len(SUFFIXES))
        write_as(made, made.with_suffix(suffix), GEOMETRY[asked.shapes.kind], legend)
    write_text(job / RESULT_FILE, ShapesMade(count=count, seconds=round(time.monotonic() - started, 2)).model_dump_json() + "\n")


app = typer.Typer(add_completion=False)


@app.command()
def main(job_folder: Annotated[Path, typer.Argument(help="Folder with settings.json; results are written into it.")]) -> None:
    """Make shapes of the maps of a comparison."""
    if not job_folder.is_dir():
        typer.echo(f"There is no folder {job_folder}.", err=True)
        raise typer.Exit(2)
    raise typer.Exit(run_job(job_folder, make))


if __name__ == "__main__":
    app()
