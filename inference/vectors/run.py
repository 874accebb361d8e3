"""Make shapes of the maps of a comparison: `python -m inference.vectors.run JOB_FOLDER`.

The job's folder is `predictions/<comparison>/shapes/<id>`: settings.json, and at the end the shapes in every format, and result.json.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from inference.vectors.asked import RESULT_FILE, ShapesMade, read_asked, shapes_file
from inference.vectors.class_map import read_class_map
from inference.vectors.make import GEOMETRY, make_shapes
from inference.vectors.write import SUFFIXES, write_as
from workspace.files import write_text
from workspace.jobs import JobReporter, run_job

SHARE_OF_MAKING = 0.9
SECONDS_BETWEEN_REPORTS = 0.4


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
