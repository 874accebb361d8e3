"""What a search for objects found (`report.json` of its job). No torch here: pages read it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from errors import JobError
from inference.report import Problem
from models.architecture import Task
from workspace.classes import ClassDef

REPORT_FILE = "report.json"
OBJECTS_FILE = "objects.gpkg"
"""Of one raster, in the folder of its id."""
COPY_FILE = "unrecognisable.tif"


class RasterObjects(BaseModel):
    """One raster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    seconds: float
    counts: dict[int, int]
    """Class value -> objects."""
    copied: bool = False
    """There is a copy in which they cannot be recognised."""


class ObjectReport(BaseModel):
    """The whole search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: str
    """UTC, ISO 8601."""
    title: str
    model: str
    """Its title."""
    task: Task
    classes: tuple[ClassDef, ...]
    rasters: tuple[RasterObjects, ...]
    failed: tuple[Problem, ...] = ()
    """Rasters that could not be searched."""
    notes: tuple[Problem, ...] = ()

    def count(self, value: int) -> int:
        """Objects of a class on all rasters."""
        return sum(raster.counts.get(value, 0) for raster in self.rasters)


def read_object_report(job: Path) -> ObjectReport:
    """The report of a search.

    Raises:
        JobError: it is missing or does not parse.
    """
    try:
        return ObjectReport.model_validate_json((job / REPORT_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"The report of the search {job.name} cannot be read.", "Start it again.") from error
