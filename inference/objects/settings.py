"""What a search for objects is asked to do (`settings.json` of its job)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from errors import JobError
from inference.objects.given import Shape
from inference.settings import SETTINGS_FILE, Device, RasterToPredict
from models.architecture import Task

FINDING: tuple[Task, ...] = ("object detection", "instance segmentation")
"""Tasks of models that find objects ..."""
NAMING: tuple[Task, ...] = ("scene classification",)
"""... of those that say what a feature, or a cell of the picture, is ..."""
CHANGING: tuple[Task, ...] = ("change detection",)
"""... and of those that say what has changed between two pictures."""


class ObjectSettings(BaseModel):
    """One model over some rasters."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    title: str = Field(default="", description="Shown in the list of searches.")
    model: str = Field(description="Folder of the model; relative paths count from the project folder.")
    rasters: tuple[RasterToPredict, ...] = Field(min_length=1)
    later: RasterToPredict | None = Field(default=None, description="Change models: the picture after; the rasters are those before.")
    threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        title="How sure",
        description="Objects of which the model is less sure than this are left out: lower finds more and is wrong more often.",
    )
    nms_overlap: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Overlap of two objects",
        description="Of two objects of one class that overlap by more than this share, only the surer one stays. Raise it where objects truly overlap.",
    )
    exclude_pad_detections: bool = Field(
        default=True,
        title="Leave the rims of windows to their neighbours",
        description="What lies completely in the rim of a window is taken from the neighbouring window, which sees more around it.",
    )
    shape: Shape = Field(
        default="outline",
        title="Shape of the objects",
        description="Models of outlines: the outline itself, the upright box around it, or the smallest box around it, turned as the object lies; then a field tells its angle, "
        "in degrees clockwise from north.",
        json_schema_extra={"options": {"outline": "outline", "upright": "upright box", "rotated": "rotated box"}},
    )
    features: str | None = Field(
        default=None,
        description="Scene models: a vector file whose features are given a class each; none: every cell of the picture. Relative paths count from the project folder.",
    )
    redact: Literal["", "pixelate", "blur"] = Field(
        default="",
        title="A copy of the picture without them",
        description="Makes what is found unrecognisable in a copy of the picture (cars, faces, yards): in coarse cells, or blurred.",
    )
    margin_m: float = Field(
        default=0.0, ge=0, title="Margin (m)", description="How far around each object the copy is made unrecognisable."
    )
    device: Device = "auto"


def read_object_settings(job: Path) -> ObjectSettings:
    """The settings of a search.

    Raises:
        JobError: settings.json is missing or does not parse.
    """
    try:
        return ObjectSettings.model_validate_json((job / SETTINGS_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"The settings of the search {job.name} cannot be read.", "Start a new search.") from error
