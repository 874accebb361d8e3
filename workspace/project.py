"""A project is a folder of open formats; this module knows where each thing lies in it.

<data folder>/projects/<id>/
project.json        name, creation time, archived
classes.json        ClassSchema
imagery.json        the imagery list: references or copies, facts cached
imagery/            copies (uploads, the demo scene)
labels.gpkg         the labels, as QGIS and ArcGIS open them (rewritten from the journal)
labels.journal      SQLite; every edit, append-only: the state of record of the labels
tiles/<name>/       tile sets
models/<name>/      model bundles trained here
runs/<id>/          training runs: settings, status, events, log, checkpoint
predictions/<id>/   prediction jobs and what they made
objects/<id>/       searches for objects and what they found
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import DiskFullError, ProjectDamagedError, ProjectExistsError, ProjectNotFoundError
from workspace.classes import ClassSchema, starter_schema
from workspace.files import disk_full_explained, read_json, unused_folder, write_json

FORMAT_VERSION = 1


class ProjectFile(BaseModel):
    """What project.json holds."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str = Field(min_length=1, max_length=80)
    created: str
    archived: bool = False
    demo: bool = False


@dataclass(frozen=True)
class Project:
    """One project folder. Holds no state: every property reads the disk."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def file(self) -> ProjectFile:
        """The parsed project.json.

        Raises:
            ProjectDamagedError: it is missing or does not parse.
        """
        path = self.folder / "project.json"
        try:
            return ProjectFile.model_validate(read_json(path))
        except (OSError, json.JSONDecodeError, ValidationError) as error:
            raise ProjectDamagedError(
                f"The project file {path.name} in {self.folder.name} cannot be read.",
                "Restore it from a backup, or move the folder out of the projects folder.",
            ) from error

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def imagery_file(self) -> Path:
        return self.folder / "imagery.json"

    @property
    def imagery_folder(self) -> Path:
        return self.folder / "imagery"

    @property
    def labels_file(self) -> Path:
        return self.folder / "labels.gpkg"

    @property
    def journal_file(self) -> Path:
        return self.folder / "labels.journal"

    @property
    def tiles_folder(self) -> Path:
        return self.folder / "tiles"

    @property
    def models_folder(self) -> Path:
        return self.folder / "models"

    @property
    def runs_folder(self) -> Path:
        return self.folder / "runs"

    @property
    def predictions_folder(self) -> Path:
        return self.folder / "predictions"

    @property
    def objects_folder(self) -> Path:
        return self.folder / "objects"

    def classes(self) -> ClassSchema:
        """The class schema.

        Raises:
            ProjectDamagedError: classes.json does not parse.
        """
        path = self.folder / "classes.json"
        try:
            return ClassSchema.model_validate(read_json(path))
        except (OSError, json.JSONDecodeError, ValidationError) as error:
            raise ProjectDamagedError(
                f"The class list of {self.folder.name} cannot be read.", "Restore classes.json from a backup."
            ) from error

    def save_classes(self, schema: ClassSchema) -> None:
        write_json(self.folder / "classes.json", schema.model_dump())

    def save(self, **changes: object) -> None:
        """Rewrite project.json with these fields changed."""
        write_json(self.folder / "project.json", ProjectFile.model_validate(self.file.model_dump() | changes).model_dump())

    def made(self, kind: str, marker: str) -> list[Path]:
        """Finished things of one kind (a folder below the project), newest first: those that hold `marker`."""
        folders = [p.parent for p in (self.folder / kind).glob(f"[!.]*/{marker}")]
        return sorted(folders, key=lambda p: (p / marker).stat().st_mtime, reverse=True)


def create_project(projects_folder: Path, name: str, *, demo: bool = False) -> Project:
    """Make a new, empty project.

    Raises:
        ProjectExistsError: a project with this name exists (whatever its case).
        DiskFullError: no room; no folder is left behind.
    """
    name = " ".join(name.split())
    _refuse_taken(projects_folder, name)
    folder = unused_folder(projects_folder, name)
    project = Project(folder)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    try:
        with disk_full_explained(folder):
            for part in ("imagery", "tiles", "models", "runs", "predictions"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        project.save_classes(starter_schema())
        write_json(folder / "project.json", ProjectFile(name=name, created=now, demo=demo).model_dump())
    except DiskFullError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return project


def open_project(projects_folder: Path, project_id: str) -> Project:
    """The project with this id (its folder's name).

    Raises:
        ProjectNotFoundError: there is none.
    """
    project = Project(projects_folder / project_id)
    inside = project_id and project.folder.resolve().parent == projects_folder.resolve()
    if not inside or not (project.folder / "project.json").exists():
        raise ProjectNotFoundError(f"There is no project '{project_id}' here.", "Choose one on the start page.")
    return project


def list_projects(projects_folder: Path, *, archived: bool = False) -> list[Project]:
    """Projects, newest first; damaged ones are left out of the list, never deleted."""
    found = []
    for path in projects_folder.glob("*/project.json"):
        project = Project(path.parent)
        try:
            file = project.file
        except ProjectDamagedError:
            continue
        if file.archived == archived:
            found.append((file.created, project))
    return [project for _, project in sorted(found, key=lambda pair: (pair[0], pair[1].id), reverse=True)]


def damaged_projects(projects_folder: Path) -> list[str]:
    """Ids of project folders whose project.json cannot be read."""
    bad = []
    for path in projects_folder.glob("*/project.json"):
        try:
            _ = Project(path.parent).file
        except ProjectDamagedError:
            bad.append(path.parent.name)
    return sorted(bad)


def rename_project(project: Project, name: str) -> None:
    """Change the shown name; the folder, and so every reference to it, stays.

    Raises:
        ProjectExistsError: another project has this name.
    """
    name = " ".join(name.split())
    _refuse_taken(project.folder.parent, name, besides=project)
    project.save(name=name)


def _refuse_taken(projects_folder: Path, name: str, besides: Project | None = None) -> None:
    if not name:
        raise ProjectExistsError("A project needs a name.", "Type one.")
    everyone = list_projects(projects_folder) + list_projects(projects_folder, archived=True)
    if any(p.name.casefold() == name.casefold() and p != besides for p in everyone):
        raise ProjectExistsError(f"There is already a project called '{name}'.", "Choose another name.")
