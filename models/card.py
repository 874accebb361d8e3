"""The model card: everything that prediction and people need to know about a model's weights. No torch here."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from errors import BundleError, InputMismatchError
from models.architecture import Architecture
from workspace.classes import ClassDef
from workspace.files import read_json, write_json

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
RESOLUTION_FACTOR = 2.0
"""Imagery coarser or finer than the training imagery by more than this factor is warned about."""


class ModelInput(BaseModel):
    """What the network expects: its input is (x - mean) / std per band, invalid pixels 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    band_names: tuple[str, ...] = Field(min_length=1)
    dtype: str = "uint8"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resolution_m: float | None = Field(default=None, gt=0)
    """None: not tied to one (photographs, or tiles that do not say where they lie)."""
    tile_size: int = Field(gt=0)

    @model_validator(mode="after")
    def _one_per_band(self) -> ModelInput:
        if not len(self.band_names) == len(self.mean) == len(self.std):
            raise ValueError("Mean and std need one number per band.")
        if any(s <= 0 for s in self.std):
            raise ValueError("Every std must be above 0.")
        return self


class Score(BaseModel):
    """How well one class was found on one held-out set; a number is None where the set has no such pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: str
    """Which tiles, in plain words."""
    class_name: str = Field(validation_alias=AliasChoices("class", "class_name"), serialization_alias="class")
    iou: float | None = None
    precision: float | None = None
    recall: float | None = None
    pixels: int | None = None
    """Pixels of the class in the truth."""


class BaseReference(BaseModel):
    """The model this one was fine-tuned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights_sha256: str


class ModelCard(BaseModel):
    """What `card.json` holds. Output 0 is background; output i is `classes[i - 1]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    name: str = Field(min_length=1)
    """Also its folder's name: letters, digits, dashes."""
    title: str
    summary: str = ""
    task: str = "semantic segmentation"
    architecture: Architecture
    input: ModelInput
    classes: tuple[ClassDef, ...]
    """Empty for a pretrained encoder that knows no class yet."""
    licence: str = ""
    training_data: str = ""
    made_by: str = ""
    """The command or script that made it."""
    scores: tuple[Score, ...] = ()
    created: str = Field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    parameters: int = 0
    base: BaseReference | None = None
    weights_sha256: str = ""

    @property
    def outputs(self) -> int:
        return len(self.classes) + 1

    def output_of(self, class_name: str) -> int | None:
        """Output index of the class with this name, whatever its case; None when there is none."""
        wanted = class_name.casefold()
        return next((i for i, c in enumerate(self.classes, 1) if c.name.casefold() == wanted), None)


def bundle_folder(folder: Path) -> Path:
    """Where the bundle lies: `folder`, or `folder/model` when `folder` is a training run."""
    inner = folder / "model"
    return inner if not (folder / CARD_FILE).exists() and (inner / CARD_FILE).exists() else folder


def read_card(folder: Path) -> ModelCard:
    """The card of the bundle in `folder` (see `bundle_folder`).

    Raises:
        BundleError: it is missing or does not parse.
    """
    path = bundle_folder(folder) / CARD_FILE
    try:
        return ModelCard.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise BundleError(
            f"The model folder {folder.name} has no {CARD_FILE}.", "Choose a folder that Terratune saved, or fetch the model again."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        where = _where(error)
        raise BundleError(f"The card of the model {folder.name} cannot be read{where}.", "Fetch or train the model again.") from error


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `card.json` into `folder`."""
    write_json(folder / CARD_FILE, card.model_dump(mode="json", by_alias=True))


def band_order(model_input: ModelInput, band_names: Sequence[str]) -> list[int]:
    """For each of the model's bands its index in `band_names` (names compared without regard to case and spaces).

    Imagery that does not name its bands (band_1, band_2, ...) is taken in order.

    Raises:
        InputMismatchError: a band is missing.
    """
    here = [_plain(name) for name in band_names]
    if unnamed(band_names) and len(band_names) >= len(model_input.band_names):
        return list(range(len(model_input.band_names)))
    missing = [name for name in model_input.band_names if _plain(name) not in here]
    if missing:
        raise InputMismatchError(
            f"The model needs the band{'s' if len(missing) > 1 else ''} {', '.join(missing)}; the imagery has {', '.join(band_names) or 'none'}.",
            "Choose imagery with these bands, or another model.",
        )
    return [here.index(_plain(name)) for name in model_input.band_names]


def check_input(card: ModelCard, band_names: Sequence[str], dtype: str, resolution_m: float | None) -> list[str]:
    """Does imagery fit the model?

    Returns:
        Warnings in plain words; empty when all is well.

    Raises:
        InputMismatchError: a band is missing, or the numbers are of another type.
    """
    band_order(card.input, band_names)
    warnings = []
    if unnamed(band_names) and not unnamed(card.input.band_names):
        warnings.append(f"The imagery does not name its bands; they are taken in order as {', '.join(card.input.band_names)}.")
    if dtype != card.input.dtype:
        raise InputMismatchError(
            f"The model '{card.title}' was trained on {card.input.dtype} imagery; this is {dtype}.",
            "Fine-tune it on tiles of this imagery first (its values are then measured anew), or choose another model.",
        )
    if card.input.resolution_m is None or resolution_m is None:
        return warnings
    ratio = resolution_m / card.input.resolution_m
    if not 1 / RESOLUTION_FACTOR <= ratio <= RESOLUTION_FACTOR:
        kind = "coarser" if ratio > 1 else "finer"
        warnings.append(
            f"This imagery ({resolution_m:.2g} m per pixel) is much {kind} than what the model was trained on "
            f"({card.input.resolution_m:.2g} m): expect poor results until it is fine-tuned here."
        )
    return warnings


def unnamed(band_names: Sequence[str]) -> bool:
    """Are these only numbers, as a raster without band descriptions gets them?"""
    return all(re.fullmatch(r"(band[_ ]?)?\d+", name.strip(), re.IGNORECASE) for name in band_names)


def _plain(name: str) -> str:
    return "".join(name.casefold().split())


def _where(error: Any) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f" ({'.'.join(str(part) for part in first['loc'])}: {first['msg']})"
    return ""
