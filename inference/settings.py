"""What a comparison is asked to do (`settings.json` of a prediction job)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from errors import JobError
from imagery.read import is_url
from imagery.stretch import Stretch
from workspace.classes import ClassDef
from workspace.places import place_of

SETTINGS_FILE = "settings.json"
Device = Literal["auto", "cpu", "cuda"]
MergePolicy = Literal["mean", "max", "min"]
Precision = Literal["auto", "exact"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class RasterToPredict(_Strict):
    """One raster of the project."""

    id: str = Field(pattern=r"^[a-z0-9]{4,32}$", description="Its id in the imagery list; names its folder in the results.")
    name: str = Field(description="Shown to people.")
    source: str = Field(description="Path (relative ones count from the project folder) or http(s) address.")
    band_names: tuple[str, ...] = Field(
        default=(), description="What its bands are, where that is known better than the file does; none: as the file says."
    )
    shown_bands: tuple[int, ...] = Field(default=(1, 2, 3), description="Bands of the pictures for reports, 1-based: one or three.")
    stretch: Stretch | None = Field(default=None, description="Display stretch of these bands; none: 8-bit values as they are.")


class TruthRaster(_Strict):
    """Exact truth of one raster, where there is one (the demo scene)."""

    raster_id: str
    path: str = Field(description="Raster of class values; relative paths count from the project folder.")
    classes: tuple[ClassDef, ...] = Field(description="What its values mean.")


class PredictionSettings(_Strict):
    """Two models over some rasters."""

    title: str = Field(default="", description="Shown in the list of comparisons.")
    base: str = Field(description="Folder of the model before; relative paths count from the project folder.")
    new: str = Field(description="Folder of the model after.")
    rasters: tuple[RasterToPredict, ...] = Field(min_length=1)
    tile_set: str | None = Field(default=None, description="Folder of the tile set whose held-out places both models are scored on.")
    truths: tuple[TruthRaster, ...] = ()
    find_more: dict[int, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Factor on the odds of a class of the new model, by class value: above 1 finds more of it, below 1 is surer.",
    )
    test_time_augmentation: bool = Field(
        default=False,
        title="Look at every place eight times",
        description="Both models see each piece turned and mirrored, and the mean of the eight answers counts: steadier maps, eight times the time.",
    )
    merge_policy: MergePolicy = Field(
        default="mean",
        title="What counts of the eight answers",
        description="Mean, or the highest (max) or lowest (min) of each class.",
        json_schema_extra={"options": {"mean": "mean", "max": "highest", "min": "lowest"}},
    )
    thresholds: dict[int, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={},
        title="How likely a class must be",
        description="Least probability of a class, by class value, for both models: where no class reaches its own, it is background.",
    )
    predict_background: bool = Field(
        default=True, title="Background may be the answer", description="If not, each pixel gets the likeliest class, however unlikely."
    )
    probabilities: bool = Field(
        default=False,
        title="Also keep how likely each class is",
        description="A further file for each map, with a layer for each class: its probability in percent. It takes room on the disk.",
    )
    area: str | None = Field(
        default=None,
        title="Only inside",
        description="Vector file: nothing outside its polygons is predicted. Relative paths count from the project folder.",
    )
    first_look: tuple[float, float, float, float] | None = Field(
        default=None,
        description="West, south, east, north in degrees: large pictures are predicted here first, in seconds, and shown while the rest is made.",
    )
    precision: Precision = Field(
        default="auto",
        title="How exactly to calculate",
        description="auto: the fastest way on this computer that changes the class of at most 1 pixel in 1,000, tried out before; exact: 32-bit numbers throughout.",
    )
    device: Device = "auto"
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        title="Processes that share the work",
        description="On this computer; 0: one, or the cluster that DASK_SCHEDULER_ADDRESS names. Each needs up to 1.5 GB of memory.",
    )


def source_of(job: Path, raster: RasterToPredict) -> str:
    """What `imagery.read.open_raster` opens."""
    return raster.source if is_url(raster.source) else str(place_of(job, raster.source))


def read_settings(job: Path) -> PredictionSettings:
    """The settings of a prediction job.

    Raises:
        JobError: settings.json is missing or does not parse.
    """
    try:
        return PredictionSettings.model_validate_json((job / SETTINGS_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"The settings of the comparison {job.name} cannot be read.", "Start a new comparison.") from error
