"""The model card: everything that prediction and people need to know about a model's weights. No torch here."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from errors import BundleError, InputMismatchError
from models.architecture import AnyArchitecture, Task, task_of
from models.bands import meanings, pair_names, unnamed
from models.provenance import Provenance
from models.values import ONE_UNIT, SPREAD, BandStatistics, Range, unlikeness
from workspace.classes import ClassDef
from workspace.files import read_json, write_json

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
RESOLUTION_FACTOR = 2.0
"""Imagery coarser or finer than the training imagery by more than this factor is read at the model's resolution."""
MOST_COARSENING = 32.0
MOST_REFINING = 4.0
"""Beyond these factors it is refused: making pixels larger costs nothing but reading, making them smaller adds no detail that a model could see."""


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
    statistics: tuple[BandStatistics, ...] = ()
    """Of the training tiles, for each band; empty where unknown (pretrained encoders, older cards)."""
    nodata: float | None = None
    """Value that meant 'no imagery' in the training imagery; each raster's own counts when it is read."""
    crs: str = ""
    """Of the first training tile: a fact; imagery in any CRS is read in its own."""

    @model_validator(mode="after")
    def _one_per_band(self) -> ModelInput:
        if not len(self.band_names) == len(self.mean) == len(self.std):
            raise ValueError("Mean and std need one number per band.")
        if self.statistics and len(self.statistics) != len(self.band_names):
            raise ValueError("Statistics are for each band, or none.")
        if any(s <= 0 for s in self.std):
            raise ValueError("Every std must be above 0.")
        return self

    @property
    def ranges(self) -> tuple[Range, ...]:
        """2 to 98 % of the training values of each band; without statistics what mean and deviation make likely."""
        if self.statistics:
            return tuple(s.range for s in self.statistics)
        return tuple((m - SPREAD * s, m + SPREAD * s) for m, s in zip(self.mean, self.std, strict=True))


def paired(seen: ModelInput) -> ModelInput:
    """What a model reads of two images of one place, the later one's bands after the earlier one's, from what it reads of one."""
    twice = {name: (*value, *value) for name in ("mean", "std", "statistics") for value in [getattr(seen, name)]}
    return seen.model_copy(update=twice | {"band_names": pair_names(seen.band_names)})


def of_one_image(card: ModelCard) -> ModelCard:
    """The card as each of two images has to fit it, where the model reads two; else as it is."""
    if card.task != "change detection":
        return card
    half = len(card.input.band_names) // 2
    halves = {name: getattr(card.input, name)[:half] for name in ("band_names", "mean", "std", "statistics")}
    return card.model_copy(update={"input": card.input.model_copy(update=halves)})


_Range = tuple[float, float] | None


def _renamed(name: str, old: str) -> Any:
    """A number that older cards call something else."""
    return Field(default=None, validation_alias=AliasChoices(name, old))


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
    tiles: int | None = None
    """Tiles of the class in the truth, of models that answer for a whole tile."""
    objects: int | None = None
    """Objects of the class in the truth, of models that find single ones; their precision and recall are of those found with a score of 0.5."""
    ap50: float | None = None
    """Average precision where half an overlap (IoU) is enough to have found an object."""
    average_precision: float | None = None
    """The same, the mean over overlaps of 0.5 to 0.95 (COCO)."""
    completeness: float | None = None
    """Of classes that are long and thin: share of their length that has something found near (`training.lines`)."""
    correctness: float | None = None
    """Share of the length found that has something of the class near."""
    apls: float | None = None
    """Average path length similarity: are ways along what was found as long as ways along what is there?"""
    length_m: float | None = None
    """Length of the class in the truth, metres along its middle."""
    likely_range: _Range = _renamed("likely_range", "iou_range")
    """Where `measured` lies in 95 of 100 draws of the blocks of ground (`tiles.certainty`); None where too few blocks hold the class."""
    likely_gain_range: _Range = _renamed("likely_gain_range", "iou_gain_range")
    """The same for how much better it is than the base model's."""
    blocks: int | None = None
    """Squares of ground, about a tile each, that hold the class."""

    @property
    def measured(self) -> tuple[str, float | None]:
        """The one number that says most, 0..1, and what it is called."""
        if self.ap50 is not None:
            return "AP50", self.ap50
        if self.iou is not None or self.tiles is None:
            return "IoU", self.iou
        return "F1", self.f1

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where nothing was found."""
        precision, recall = self.precision or 0.0, self.recall or 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


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
    architecture: AnyArchitecture
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
    provenance: Provenance = Provenance()

    @model_validator(mode="before")
    @classmethod
    def _named_the_task(cls, value: Any) -> Any:
        """Older cards say the task, which the architecture tells."""
        return {k: v for k, v in value.items() if k != "task"} if isinstance(value, dict) else value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def task(self) -> Task:
        return task_of(self.architecture)

    @property
    def outputs(self) -> int:
        """Background, which output 0 is, and classes; a whole tile always has a class, so there is no background of scenes."""
        return len(self.classes) + (self.task != "scene classification")

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
    """For each of the model's bands its index in `band_names`, by what the names mean (`models.bands`).

    Imagery that does not name its bands (band_1, band_2, ...) is taken in order.

    Raises:
        InputMismatchError: a band is missing.
    """
    here = meanings(band_names)
    if unnamed(band_names) and len(band_names) >= len(model_input.band_names):
        return list(range(len(model_input.band_names)))
    wanted = meanings(model_input.band_names)
    missing = [name for name, meaning in zip(model_input.band_names, wanted, strict=True) if meaning not in here]
    if missing:
        raise InputMismatchError(
            f"The model needs the band{'s' if len(missing) > 1 else ''} {', '.join(missing)}; the imagery has {', '.join(band_names) or 'none'}.",
            "Choose imagery with these bands, or another model. Where the names are wrong, say on the Imagery page what the bands are.",
        )
    return [here.index(meaning) for meaning in wanted]


def check_input(
    card: ModelCard, band_names: Sequence[str], dtype: str, resolution_m: float | None, ranges: Sequence[Range | None] = ()
) -> list[str]:
    """Does imagery fit the model, and what is done so that it does?

    Args:
        card: The model's.
        band_names: Of all bands of the imagery.
        dtype: Of its values.
        resolution_m: Ground size of its pixels; None where unknown.
        ranges: 2 to 98 % of the values of each of its bands, as far as they are known; none: not compared.

    Returns:
        Notes in plain words: bands found in another order, another resolution, unlike values; empty when there is nothing to say.

    Raises:
        InputMismatchError: a band is missing, the numbers are of another type or in other units, the pixels much too large or small.
    """
    order = band_order(card.input, band_names)
    if dtype != card.input.dtype:
        raise InputMismatchError(
            f"The model '{card.title}' was trained on {card.input.dtype} imagery; this is {dtype}.",
            "Fine-tune it on tiles of this imagery first (its values are then measured anew), or choose another model.",
        )
    notes = [*_order_notes(card.input, band_names, order), *_resolution_notes(card.input, resolution_m)]
    return notes + (_value_notes(card, order, ranges) if ranges else [])


def reading_factor(model_input: ModelInput, resolution_m: float | None) -> float:
    """How many times as large as its own the pixels have to be in which imagery is shown to the model; 1 where it is shown as it is.

    Raises:
        InputMismatchError: the imagery is too coarse, or absurdly fine, for this model.
    """
    if model_input.resolution_m is None or resolution_m is None:
        return 1.0
    factor = model_input.resolution_m / resolution_m
    if 1 / RESOLUTION_FACTOR <= factor <= RESOLUTION_FACTOR:
        return 1.0
    sizes = f"{_metres(resolution_m)} m per pixel; the model learnt from {_metres(model_input.resolution_m)} m"
    if factor < 1 / MOST_REFINING:
        raise InputMismatchError(
            f"This imagery is too coarse for the model: {sizes}. What it learnt to see is not in such a picture.",
            "Choose imagery with smaller pixels, or fine-tune a model on tiles of this imagery.",
        )
    if factor > MOST_COARSENING:
        raise InputMismatchError(
            f"This imagery is far too fine for the model: {sizes}.",
            "Save it with larger pixels first (QGIS: Export > Save As, with another resolution), or fine-tune a model on tiles of this imagery.",
        )
    return factor


def _order_notes(model_input: ModelInput, band_names: Sequence[str], order: Sequence[int]) -> list[str]:
    wanted = model_input.band_names
    if unnamed(band_names):
        return [] if unnamed(wanted) else [f"The imagery does not name its bands; they are taken in order as {', '.join(wanted)}."]
    if list(order) == list(range(len(order))):
        return []
    return [f"Bands are found by their names: {', '.join(f'{name} is band {i + 1}' for name, i in zip(wanted, order, strict=True))}."]


def _resolution_notes(model_input: ModelInput, resolution_m: float | None) -> list[str]:
    if (factor := reading_factor(model_input, resolution_m)) == 1:
        return []
    assert resolution_m is not None and model_input.resolution_m is not None  # else the factor is 1
    kind = "finer" if factor > 1 else "coarser"
    return [
        f"This imagery ({_metres(resolution_m)} m per pixel) is much {kind} than what the model learnt from ({_metres(model_input.resolution_m)} m): "
        f"it is resampled to {_metres(model_input.resolution_m)} m for the model, and the map is drawn back onto the imagery's own pixels."
    ]


def _value_notes(card: ModelCard, order: Sequence[int], ranges: Sequence[Range | None]) -> list[str]:
    """Compared where the training tiles' values are known; 8-bit values have one unit only, so they are never refused."""
    if not card.input.statistics:
        return []
    pairs = [
        (b, known, there) for b, (known, i) in enumerate(zip(card.input.ranges, order, strict=True)) if (there := ranges[i]) is not None
    ]
    unlike = unlikeness([known for _, known, _ in pairs], [there for _, _, there in pairs])
    notes = []
    if unlike is not None:
        band, known, there = pairs[unlike.band]
        size = f"{unlike.factor:,.3g} times as large" if unlike.factor > 1 else f"{1 / unlike.factor:,.3g} times smaller"
        fact = (
            f"The values of this imagery are unlike those that the model '{card.title}' learnt from: most of {card.input.band_names[band]} lies "
            f"between {_number(there[0])} and {_number(there[1])}, in training between {_number(known[0])} and {_number(known[1])} ({size})."
        )
        if unlike.hopeless and card.input.dtype not in ONE_UNIT:
            raise InputMismatchError(
                fact,
                "It seems to be in other units: save it in those of the training imagery (QGIS: Raster Calculator), "
                "or fine-tune a model on tiles of this imagery.",
            )
        notes.append(f"{fact} Expect poor results; fine-tuning on tiles of this imagery helps.")
    if card.input.nodata is not None and any(there[0] == card.input.nodata for _, _, there in pairs):
        notes.append(
            f"Many pixels hold {_number(card.input.nodata)}, which meant 'no imagery' in training and is imagery here. "
            "If it should be left out, save the picture with that nodata value."
        )
    return notes


def _metres(size: float) -> str:
    """'0.13', '30', '1,100'."""
    return f"{size:.2g}" if size < 99.5 else f"{size:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def _where(error: Any) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f" ({'.'.join(str(part) for part in first['loc'])}: {first['msg']})"
    return ""
