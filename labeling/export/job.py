"""An export as a background job: `python -m labeling.export.job FOLDER`.

The folder holds settings.json (`ExportJob`) and labels.geojson, a copy of the labels as they were, perhaps mask.geojson, too: the job can be
run again and gives the same tiles. See `workspace.jobs` for status, log and cancel.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import pyogrio
import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from errors import JobError, TerratuneError
from labeling.export import export_tiles
from labeling.export.plan import no_labels
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_sources import labels_of_rasters
from tiles.unfinished import clear_away
from workspace.classes import ClassSchema
from workspace.files import disk_full_explained, write_json, write_text
from workspace.jobs import JobReporter, job_status, process_alive, run_job, start_job
from workspace.project import Project

JOBS_FOLDER = ".exports"
"""Below the project's tiles folder."""
LABELS_FILE = "labels.geojson"
MASK_FILE = "mask.geojson"
MODULE = "labeling.export.job"
SECONDS_BETWEEN_REPORTS = 0.25


class ExportJob(BaseModel):
    """What settings.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[ImageSource, ...]
    classes: ClassSchema
    settings: ExportSettings
    out: str
    """The tile set's folder, relative to the job's."""
    label_rasters: tuple[str, ...] = ()
    """Absolute paths of rasters of class values that are the labels; none: labels.geojson."""


def start_export(
    project: Project,
    name: str,
    images: Sequence[ImageSource],
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    *,
    mask: gpd.GeoDataFrame | None = None,
    label_rasters: Sequence[Path] = (),
) -> Path:
    """Note what to export and start the process.

    Args:
        project: Gets the tile set, in its tiles folder.
        name: Folder name of the tile set, not in use.
        images: What to cut.
        labels: As they are now; a copy is kept with the job.
        schema: Classes in drawing order.
        settings: As chosen.
        mask: Polygons in which tiles must lie; a copy is kept with the job.
        label_rasters: Rasters of class values to be read instead of `labels`; `schema` then names values that they do not name themselves.

    Returns:
        The job folder.

    Raises:
        DiskFullError: no room for the note.
    """
    folder = project.tiles_folder / JOBS_FOLDER / f"{int(time.time())}-{secrets.token_hex(3)}"
    rasters = tuple(str(path.absolute()) for path in label_rasters)
    job = ExportJob(images=tuple(images), classes=schema, settings=settings, out=f"../../{name}", label_rasters=rasters)
    labels = no_labels() if rasters else labels
    try:
        with disk_full_explained(folder):
            folder.mkdir(parents=True)
        write_text(folder / LABELS_FILE, labels.to_crs("EPSG:4326").to_json(drop_id=True) + "\n")
        if mask is not None:
            write_text(folder / MASK_FILE, mask.to_crs("EPSG:4326").to_json(drop_id=True) + "\n")
        write_json(folder / "settings.json", job.model_dump(mode="json"))
        start_job(folder, MODULE)
    except TerratuneError:
        if not process_alive(folder):
            shutil.rmtree(folder, ignore_errors=True)  # nothing started: leave no half a note
        raise
    return folder


def read_job(folder: Path) -> ExportJob:
    """What a job folder was asked to do.

    Raises:
        JobError: settings.json is missing or damaged.
    """
    try:
        return ExportJob.model_validate_json((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise JobError(
            f"The settings of the export in '{folder.name}' cannot be read.", "Start the export again on the Tiles page."
        ) from error


def export_jobs(project: Project) -> list[Path]:
    """Job folders of a project, newest first."""
    return sorted((p.parent for p in (project.tiles_folder / JOBS_FOLDER).glob("*/settings.json")), reverse=True)


def forget_job(folder: Path) -> None:
    """Delete the note of an export that has ended, and what it left half done; the tiles it made stay."""
    if job_status(folder).ended:
        with contextlib.suppress(JobError):
            clear_away((folder / read_job(folder).out).resolve())
        shutil.rmtree(folder, ignore_errors=True)


def work(reporter: JobReporter) -> None:
    """Do the export of a job folder."""
    job = read_job(reporter.folder)
    progress = _Progress(reporter)
    labels, classes = pyogrio.read_dataframe(reporter.folder / LABELS_FILE), job.classes
    if job.label_rasters:
        progress("Reading the labels", 0.0)
        labels, classes = labels_of_rasters([Path(path) for path in job.label_rasters], classes)
    labels = labels if len(labels) else no_labels()  # GeoJSON of nothing has no columns
    mask_file = reporter.folder / MASK_FILE
    mask = pyogrio.read_dataframe(mask_file) if mask_file.exists() else None
    export_tiles(job.images, labels, classes, job.settings, (reporter.folder / job.out).resolve(), progress, mask=mask)


class _Progress:
    """Status a few times a second, with the time left; every tile looks whether it should stop."""

    def __init__(self, reporter: JobReporter) -> None:
        self.reporter = reporter
        self.started = self.told = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        self.reporter.stop_if_cancelled()
        now = time.monotonic()
        self.started = self.started or now
        if now - self.told < SECONDS_BETWEEN_REPORTS:
            return
        self.told = now
        left = (now - self.started) / fraction * (1 - fraction) if fraction > 0.05 else None
        self.reporter.progress(stage, fraction, left)


def main(folder: Annotated[Path, typer.Argument(help="Job folder with settings.json and labels.geojson.")]) -> None:
    """Run an export that the Tiles page noted down; a finished one is made anew."""
    raise typer.Exit(run_job(folder, work))


if __name__ == "__main__":
    typer.run(main)
