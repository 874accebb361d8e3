"""Model definitions (.emd): the JSON beside the weights of a model of ArcGIS. No torch here.

Which keys there are and what they mean: docs/model-packages.md. Unknown ones are ignored.
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from errors import BundleError
from models.architecture import ArcGISDetectorName

CORRECT = "Export the model from ArcGIS again, or correct the file in a text editor."
MOST_BYTES = 32 * 2**20
WITHOUT_PIXELS = (*get_args(ArcGISDetectorName), "FeatureClassifier")
"""Names of models that do not tell a class for each pixel."""


class DefinedClass(BaseModel):
    """One class of a model definition. In pixel models the order is that of the outputs, background coming first without being listed."""

    model_config = ConfigDict(frozen=True)

    value: int = Field(validation_alias=AliasChoices("Value", "ClassValue"))
    name: str = Field(validation_alias=AliasChoices("Name", "ClassName"))
    colour: tuple[int, int, int] = Field(default=(-1, -1, -1), validation_alias="Color")
    """Red, green, blue; -1: none chosen."""

    @field_validator("name", mode="before")
    @classmethod
    def _text(cls, name: Any) -> Any:
        """Road models write a number."""
        return str(name) if isinstance(name, int) else name


class NormalizationStats(BaseModel):
    """How multispectral input is scaled: to 0..1 by min and max, then by mean and deviation of that."""

    model_config = ConfigDict(frozen=True)

    band_min_values: tuple[float, ...]
    band_max_values: tuple[float, ...]
    scaled_mean_values: tuple[float, ...]
    scaled_std_values: tuple[float, ...]

    @model_validator(mode="after")
    def _one_per_band(self) -> NormalizationStats:
        if len({len(self.band_min_values), len(self.band_max_values), len(self.scaled_mean_values), len(self.scaled_std_values)}) != 1:
            raise ValueError("The lists have different lengths.")
        if any(not high > low for low, high in zip(self.band_min_values, self.band_max_values, strict=True)):
            raise ValueError("A band's maximum is not above its minimum.")
        return self


class CellSize(BaseModel):
    """Ground size of a pixel, in units of a coordinate system."""

    model_config = ConfigDict(frozen=True)

    x: float = Field(gt=0)
    wkid: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        reference = value.get("spatialReference") if isinstance(value, dict) else None
        found = reference if isinstance(reference, dict) else {}
        return value if not isinstance(value, dict) else {"x": value.get("x"), "wkid": found.get("latestWkid", found.get("wkid"))}


class Definition(BaseModel):
    """What is read of a model definition."""

    model_config = ConfigDict(frozen=True, populate_by_name=False)

    model_name: str = Field(default="", validation_alias="ModelName")
    model_type: str = Field(default="", validation_alias="ModelType")
    framework: str = Field(default="", validation_alias="Framework")
    model_file: str = Field(default="", validation_alias="ModelFile")
    image_height: int | None = Field(default=None, gt=0, validation_alias="ImageHeight")
    bands: tuple[int | str, ...] = Field(default=(), validation_alias="ExtractBands")
    band_names: tuple[str | int, ...] | None = Field(default=None, validation_alias="Bands")
    classes: tuple[DefinedClass, ...] = Field(default=(), validation_alias="Classes")
    parameters: dict[str, Any] = Field(default={}, validation_alias="ModelParameters")
    road_orientation: dict[str, Any] = Field(default={}, validation_alias="RoadOrientation")
    backbone_at_top: str = Field(default="", validation_alias="backbone")
    grids: tuple[int, ...] = Field(default=(), validation_alias="Grids")
    zooms: tuple[float, ...] = Field(default=(), validation_alias="Zooms")
    box_shapes: tuple[tuple[float, float], ...] = Field(default=(), validation_alias="Ratios")
    """Height and width."""
    ssd_version: int = Field(default=1, validation_alias="SSDVersion")
    metadata_mode: str = Field(default="", validation_alias="MetaDataMode")
    """Of the tiles it learnt from."""
    thresholds: dict[str, Any] = Field(default={}, validation_alias=AliasChoices("MaskRCNNkwargs", "Kwargs"))
    """What was chosen besides for detectors of torchvision."""
    is_multispectral: bool = Field(default=False, validation_alias="IsMultispectral")
    statistics: NormalizationStats | None = Field(default=None, validation_alias="NormalizationStats")
    cell_size: CellSize | None = Field(default=None, validation_alias="MinCellSize")
    version: str = Field(default="", validation_alias="ArcGISLearnVersion")
    suppressed: tuple[int, ...] = Field(default=(), validation_alias="ignore_mapped_class")
    """Outputs that ArcGIS never gives out."""
    preprocessing: str = Field(default="", validation_alias="Preprocessing")
    """How ArcGIS rescales the values of its own image services."""
    per_class_metrics: str = ""
    """JSON inside the JSON."""

    own_card: dict[str, Any] | None = Field(default=None, validation_alias="TerratuneCard")
    """Of a package that was written here."""

    @property
    def backbone(self) -> str:
        found = self.parameters.get("backbone") or self.backbone_at_top
        return found if isinstance(found, str) else ""

    @property
    def output_classes(self) -> tuple[DefinedClass, ...]:
        """In the order of the outputs: where there is a class for each pixel, background is never listed, or listed as 0; elsewhere 0 is a class."""
        return tuple(c for c in self.classes if c.value != 0 or self.model_name in WITHOUT_PIXELS)


def parse_definition(content: bytes, name: str) -> Definition:
    """Read a model definition.

    Args:
        content: Of the .emd file.
        name: Its name, for messages.

    Raises:
        BundleError: it is not JSON (with line, column and the key before), or a key does not hold what it should.
    """
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} is not text in UTF-8 (byte {error.start + 1}).", CORRECT) from error
    except json.JSONDecodeError as error:
        keys = re.findall(r'"([^"\n\\]{1,60})"\s*:', error.doc[: error.pos])
        near = f", after the key \"{keys[-1]}\"" if keys else ""
        hint = " A single backslash has to be doubled." if "escape" in error.msg else ""
        raise BundleError(f"{name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}{near}.{hint}", CORRECT) from error
    except RecursionError as error:
        raise BundleError(f"{name} is nested too deeply.", CORRECT) from error
    if not isinstance(value, dict):
        raise BundleError(f"{name} holds no keys and values.", CORRECT)
    try:
        return Definition.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{name}: the key {key} does not hold what it should ({first['msg']}).", CORRECT) from error
