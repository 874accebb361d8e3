"""A model in or out as a background job of a project: `python -m models.packages.job FOLDER`.

The job folder holds settings.json (`PackageJob`) and, of an upload, the file. Job folders lie in the project's models folder, hidden; files to take away
in its folder `exports`.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict

from errors import BundleError, JobError, TerratuneError
from models.card import ModelCard, bundle_folder
from models.packages.formats import IMPORTED, SUFFIXES, Format
from workspace.files import disk_full_explained, unused_folder, write_json
from workspace.jobs import JobReporter, events, process_alive, remove_job, run_job, start_job

MODULE = "models.packages.job"
JOBS_FOLDER = ".packages"
EXPORTS_FOLDER = "exports"
UPLOAD_FOLDER = "upload"


class PackageJob(BaseModel):
    """What settings.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["import", "export"]
    name: str
    """Of the file to import, or the title of the model to export: for people."""
    source: str
    """Import: the file, absolute or in the job folder. Export: the bundle's folder."""
    form: Format = "bundle"
    """Export."""


def start_import(models_folder: Path, name: str, *, upload: Path | None = None, source: Path | None = None) -> Path:
    """Note what to import and start the process.

    Args:
        models_folder: Of the project.
        name: Of the file, for people; the model is named after it.
        upload: A file, which is moved into the job folder; or
        source: one that may be read, which stays as it is.

    Returns:
        The job folder.

    Raises:
        BundleError: not a kind of file that can hold a model.
        DiskFullError: no room for the note.
    """
    given = upload or source
    if given is None:
        raise ValueError("Neither an upload nor a source.")
    if given.suffix.casefold() not in IMPORTED:
        raise BundleError(f"{name} is no file that holds a model here.", f"Choose one of these kinds: {', '.join(IMPORTED)}.")
    folder = _new_job(models_folder)
    kept = f"{UPLOAD_FOLDER}/{given.name}" if upload is not None else str(given)  # keeps its name: messages say it
    return _started(folder, PackageJob(kind="import", name=name, source=kept), upload)


def start_export(models_folder: Path, bundle: Path, card: ModelCard, form: Format) -> Path:
    """Note what to export and start the process; returns the job folder.

    Raises:
        DiskFullError: no room for the note.
    """
    return _started(_new_job(models_folder), PackageJob(kind="export", name=card.title, source=str(bundle), form=form), None)


def package_jobs(models_folder: Path) -> list[Path]:
    """Job folders, newest first."""
    return sorted((p.parent for p in (models_folder / JOBS_FOLDER).glob("[!.]*/settings.json")), reverse=True)


def read_job(folder: Path) -> PackageJob:
    """What a job folder was asked to do.

    Raises:
        JobError: settings.json is missing or damaged.
    """
    try:
        return PackageJob.model_validate_json((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError("The note of what was to be done cannot be read.", "Start it again.") from error


def outcome(folder: Path) -> dict[str, Any]:
    """Of a job that is done: {"name", "notes"} of what was made (a model's folder, or a file in `exports`)."""
    return next(event for event in reversed(events(folder)) if event.get("kind") == "made")


def export_file(models_folder: Path, bundle: Path, form: Format) -> Path:
    """Where an export of a model lies, or would."""
    return models_folder / EXPORTS_FOLDER / f"{bundle.name}{SUFFIXES[form]}"


def is_current(file: Path, bundle: Path) -> bool:
    """Was the export made from the bundle as it is now?"""
    try:
        return file.stat().st_mtime >= max(path.stat().st_mtime for path in bundle_folder(bundle).iterdir())
    except (OSError, ValueError):
        return False


def work(reporter: JobReporter) -> None:
    """Do what a job folder asks for."""
    from models.packages.transfer import export_model, import_model  # torch takes seconds to import; pages read jobs, too

    folder, wanted = reporter.folder, read_job(reporter.folder)
    models_folder = folder.parent.parent
    if wanted.kind == "import":
        reporter.progress("Reading the file", 0.2)
        file = folder / wanted.source  # an absolute source stays what it is
        found = import_model(file, unused_folder(models_folder, Path(wanted.name).stem))
        reporter.event(kind="made", name=found.folder.name, notes=list(found.notes))
        return
    reporter.progress("Writing the file", 0.2)
    bundle = Path(wanted.source)
    target = export_file(models_folder, bundle, wanted.form)
    export_model(bundle, wanted.form, target)
    reporter.event(kind="made", name=target.name, notes=[])


def _new_job(models_folder: Path) -> Path:
    return models_folder / JOBS_FOLDER / f"{int(time.time())}-{secrets.token_hex(3)}"


def _started(folder: Path, wanted: PackageJob, upload: Path | None) -> Path:
    try:
        with disk_full_explained(folder):
            (folder / UPLOAD_FOLDER).mkdir(parents=True)
            if upload is not None:
                upload.replace(folder / wanted.source)
        write_json(folder / "settings.json", wanted.model_dump())
        start_job(folder, MODULE)
    except TerratuneError:
        if not process_alive(folder):
            with contextlib.suppress(OSError):
                remove_job(folder)
        raise
    return folder


def main(folder: Annotated[Path, typer.Argument(help="The job's folder.")]) -> None:
    """Import or export as settings.json in the job folder says."""
    raise typer.Exit(run_job(folder, work))


if __name__ == "__main__":
    typer.run(main)
