"""Does a published model suit my imagery? Bands, type of numbers and ground size of pixels, each with the remedy. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from errors import InputMismatchError
from imagery.raster import RasterInfo
from models.architecture import Architecture, Task
from models.bands import COLOURS, meanings, unnamed
from models.card import RESOLUTION_FACTOR, ModelInput, band_order, reading_factor
from models.catalogue.published import PROMPTABLE, PublishedModel
from models.catalogue.runs_here import runs_here

Level = Literal["suits", "care", "everything", "no"]
"""Suits; works with what is said; only by training everything anew; not at all."""
LEVELS: tuple[Level, ...] = ("suits", "care", "everything", "no")
TRAINED_FOR = frozenset({*get_args(Task), "roads"})
"""Tasks that an encoder can be taught here."""

# How far a model is from imagery, for the order of a list: about doublings of pixel size. Judgement, not measured.
_MISSING_BANDS = 6.0
_EACH_BAND = 0.5
_OTHER_NUMBERS = 0.7
_CLASSES_LOST = 0.8
_BANDS_IN_ORDER = 0.5
_BANDS_GUESSED = 1.5
_EACH_GUESS = 0.1
_UNUSED_BAND = 0.05
_NO_COLOURS = 3.0
_CARE = 0.3
_NOT_FROM_ABOVE = 1.2
_UNKNOWN_SIZE = 1.3
_NO_LICENCE = 0.5
_OTHER_TASK = 3.0


@dataclass(frozen=True)
class Imagery:
    """What decides of a raster."""

    name: str
    bands: tuple[str, ...]
    """All but alpha."""
    dtype: str
    resolution_m: float | None
    """None: it does not say where it lies."""

    @classmethod
    def of(cls, name: str, info: RasterInfo) -> Imagery:
        """What a raster's facts say."""
        return cls(name, tuple(info.band_names[band - 1] for band in info.image_bands), info.dtype, info.resolution_m)


@dataclass(frozen=True)
class Fit:
    """How a model suits a raster."""

    level: Level
    notes: tuple[str, ...]
    """What to know and what to do, in plain words; for "suits" why."""
    distance: float
    """The less, the better a start; only for the order of a list."""


@dataclass(frozen=True)
class Start:
    """One line of the answer to "which model should I start from?"."""

    model: PublishedModel
    fit: Fit


def fit(model: PublishedModel, image: Imagery) -> Fit:
    """Compare what the card says with the raster; what the card does not say is not judged."""
    if model.loader in PROMPTABLE:
        return Fit("suits", ("It looks at the picture as it is shown on the Label page, whatever its bands and numbers.",), 0.0)
    bands = _bands(model, image)
    found = [bands, _numbers(model, image), _pixels(model, image, reads=bands.level != "everything")]
    level = max((one.level for one in found), key=LEVELS.index)
    notes = tuple(note for one in sorted(found, key=lambda one: -LEVELS.index(one.level)) for note in one.notes)
    more = (0.0 if level == "suits" else _CARE) + (0.0 if model.licence else _NO_LICENCE)
    return Fit(level, notes, sum(one.distance for one in found) + more)


def overall(model: PublishedModel, images: Sequence[Imagery]) -> Fit | None:
    """The fit to the raster that it suits least; None without rasters."""
    return max((fit(model, image) for image in images), key=lambda one: (LEVELS.index(one.level), one.distance), default=None)


def starts_for(models: Iterable[PublishedModel], image: Imagery, task: str = "") -> list[Start]:
    """What to start from for a raster, the best first: only what runs here.

    Args:
        models: The catalogue.
        image: The raster.
        task: One of `TASKS`, or "": anything that can be trained on.

    A model that does the task itself goes before encoders that can be taught it.
    """
    found = []
    for model in models:
        does = task in model.tasks
        if runs_here(model).yes and (does or ((model.is_encoder or model.loader == "bundle") and (not task or task in TRAINED_FOR))):
            suits = fit(model, image)
            found.append(Start(model, suits if does or not task else Fit(suits.level, suits.notes, suits.distance + _OTHER_TASK)))
    default = Architecture().encoder
    return sorted(
        found,
        key=lambda s: (
            LEVELS.index(s.fit.level) >= LEVELS.index("everything"),
            round(s.fit.distance, 2),
            s.model.encoder is None or s.model.encoder.encoder != default,
            s.model.megabytes or math.inf,
        ),
    )


def _bands(model: PublishedModel, image: Imagery) -> Fit:
    if not model.bands:
        return Fit("suits", (), 0.0)
    no_colours = 0.0 if COLOURS & set(meanings(model.bands)) else _NO_COLOURS
    try:
        order = band_order(_contract(model), image.bands)
    except InputMismatchError as error:
        if not model.is_encoder and model.loader != "bundle":
            return Fit("no", (str(error),), _MISSING_BANDS)
        remedy = (
            "Train 'Everything', then all bands are learnt anew; or, where the names are wrong, say on the Imagery page what the bands are."
        )
        knows = 0.0 if model.is_encoder else _CLASSES_LOST
        return Fit("everything", (f"{error.fact} {remedy}", *_heights(image)), _MISSING_BANDS + _EACH_BAND * len(model.bands) + no_colours + knows)
    unused = len(image.bands) - len(order)
    if unnamed(image.bands) and not unnamed(model.bands):
        taken = f"The imagery does not name its bands: they are taken in order as {', '.join(model.bands)}."
        note = f"{taken} If that is wrong, say on the Imagery page what they are."
        if not unused:
            return Fit("suits", (note,), _BANDS_IN_ORDER)
        return Fit("care", (note,), _BANDS_GUESSED + _EACH_GUESS * len(order) + _UNUSED_BAND * unused + no_colours)
    notes = (f"It reads {', '.join(model.bands)}; the imagery's other bands are not used.",) if unused else ()
    return Fit("suits", notes, _UNUSED_BAND * unused)


def _heights(image: Imagery) -> tuple[str, ...]:
    """One band of decimal numbers is seldom a picture."""
    if len(image.bands) > 1 or not image.dtype.startswith("float"):
        return ()
    return ("A single band of decimal numbers is often no picture but heights or an index: no model of the catalogue has learnt from such.",)


def _numbers(model: PublishedModel, image: Imagery) -> Fit:
    if model.dtype is None or model.dtype == image.dtype:
        return Fit("suits", (), 0.0)
    fact = f"The imagery is {image.dtype}, the model learnt from {model.dtype}"
    if model.is_encoder or model.loader == "bundle":
        return Fit("care", (f"{fact}: brightness is measured anew when you train on tiles of it.",), _OTHER_NUMBERS)
    return Fit("no", (f"{fact}: save the imagery as {model.dtype} first (QGIS: Export > Save As).",), _OTHER_NUMBERS)


def _pixels(model: PublishedModel, image: Imagery, *, reads: bool) -> Fit:
    """`reads`: it can look at the imagery as it is; else it is no more than a start for training."""
    if model.resolution_m is None:
        note = ("It learnt from photographs: tied to no size of pixels, but it has not seen the ground from above.",) if _of_photographs(model) else ()
        return Fit("suits", note, _NOT_FROM_ABOVE)
    low, high = model.resolution_m
    made_for = f"{low:g} m" if low == high else f"{low:g} to {high:g} m"
    if image.resolution_m is None:
        return Fit(
            "care", (f"The imagery does not say how large its pixels are on the ground; the model is made for {made_for}.",), _UNKNOWN_SIZE
        )
    here = image.resolution_m
    ratio = here / high if here > high else low / here if here < low else 1.0
    if ratio <= RESOLUTION_FACTOR:
        return Fit("suits", (f"Pixels of {here:.2g} m; it is made for {made_for}.",), 0.0)
    distance = math.log2(ratio) - 1
    kind = "coarser" if here > high else "finer"
    fact = f"Pixels of {here:.2g} m are {ratio:.2g} times {kind} than what it is made for ({made_for})."
    if model.is_encoder or not reads:
        remedy = (
            "Train 'Everything', or choose another start."
            if kind == "coarser"
            else f"Export tiles at about {high:g} m, or train 'Everything'."
        )
        return Fit("care", (f"{fact} What it knows helps little. {remedy}",), distance)
    try:
        reading_factor(_contract(model), here)
    except InputMismatchError as error:
        way_out = " As a base model it can still be trained on tiles of it." if model.loader == "bundle" else ""
        return Fit("care" if way_out else "no", (f"{fact} {error.remedy}{way_out}",), distance + (1.0 if way_out else 0.0))
    return Fit("care", (f"{fact} The imagery is resampled for it.",), distance)


def _of_photographs(model: PublishedModel) -> bool:
    return model.is_encoder and model.sensors == ("photographs",)


def _contract(model: PublishedModel) -> ModelInput:
    """The card's input; what is unknown of its scaling matters to nothing here."""
    return model.input or ModelInput(
        band_names=model.bands or ("band_1",),
        dtype=model.dtype or "uint8",
        mean=(0.0,) * (len(model.bands) or 1),
        std=(1.0,) * (len(model.bands) or 1),
        resolution_m=None if model.resolution_m is None else math.sqrt(model.resolution_m[0] * model.resolution_m[1]),
        tile_size=256,
    )
