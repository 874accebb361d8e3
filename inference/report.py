"""What a comparison found (`report.json`): areas, the change table, and the scores of both models. Pure, apart from reading the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from errors import JobError
from inference.compare import Comparison, change, of_classes
from inference.scores import Scores
from inference.true_area import TrueArea
from tiles.certainty import Interval
from workspace.classes import ClassDef

REPORT_FILE = "report.json"
WORSE_BY = 0.02
"""IoU points by which a class must fall to be called forgotten."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelUsed(_Strict):
    """One of the two models."""

    title: str
    folder: str
    weights_sha256: str
    classes: tuple[str, ...]


class Table(_Strict):
    """Change table: rows before, columns after; background first, then the report's classes in order."""

    pixels: tuple[tuple[int, ...], ...]
    area_m2: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, found: Comparison) -> Table:
        return cls(pixels=tuple(map(tuple, found.pixels.tolist())), area_m2=tuple(map(tuple, found.area_m2.tolist())))

    def __add__(self, other: Table) -> Table:
        return Table.of(self._arrays() + other._arrays())

    def _arrays(self) -> Comparison:
        return Comparison(np.array(self.pixels, np.int64), np.array(self.area_m2, np.float64))

    def before_m2(self) -> list[float]:
        """Area of background and of each class before, square metres."""
        return [float(v) for v in np.array(self.area_m2).sum(axis=1)]

    def after_m2(self) -> list[float]:
        """Area of background and of each class after, square metres."""
        return [float(v) for v in np.array(self.area_m2).sum(axis=0)]

    def gained_m2(self) -> list[float]:
        """Area of each class that was background before; background itself is 0."""
        return [0.0, *(float(v) for v in self.area_m2[0][1:])]

    def lost_m2(self) -> list[float]:
        """Area of each class before that became background; background itself is 0."""
        return [0.0, *(float(row[0]) for row in self.area_m2[1:])]

    def flipped_m2(self) -> list[float]:
        """Area of each class before that became another class; background itself is 0."""
        area = np.array(self.area_m2)[1:, 1:]
        return [0.0, *(float(v) for v in area.sum(axis=1) - np.diag(area))]


    def changed_m2(self, kind: int, classes: Sequence[int]) -> float:
        """Area of one kind of change (`inference.compare`: GAINED, LOST, FLIPPED) from or to one of the classes with these places in the table."""
        area = np.array(self.area_m2)
        places: NDArray[np.uint8] = np.indices(area.shape, dtype=np.uint8)
        return float(area[(change(places[0], places[1]) == kind) & of_classes(places[0], places[1], classes)].sum())


class RasterReport(_Strict):
    """One raster."""

    id: str
    name: str
    seconds: float
    table: Table


class PlaceReport(_Strict):
    """Both models on one held-out place."""

    place: str
    raster: str
    """Name of the raster that the place (mostly) lies on."""
    before: Scores
    after: Scores


class ClassCertainty(_Strict):
    """How far the IoU of one class could be off by chance: 95 % intervals (`tiles.certainty`); None where too few blocks hold it."""

    value: int
    blocks: int
    """Squares of ground, about a tile each, that truly hold the class."""
    before: Interval | None
    after: Interval | None
    gain: Interval | None
    """Of the difference, both models on the same draws."""


class ClassArea(_Strict):
    """How much ground a class truly covers on all rasters, as far as these places tell; None where they are too few."""

    value: int
    area: TrueArea | None


class ScoreReport(_Strict):
    """Both models against what is known to be there."""

    on: str
    """Which truth, in plain words."""
    before: Scores
    after: Scores
    places: tuple[PlaceReport, ...] = ()
    certainty: tuple[ClassCertainty, ...] = ()
    """For each class; none in the reports of older releases."""
    areas: tuple[ClassArea, ...] = ()
    """For each class, from the map after; none where the places were not kept apart from training or may lack labels, and in the reports of older releases."""

    def certainty_of(self, value: int) -> ClassCertainty | None:
        """How sure the scores of the class with this value are."""
        return next((one for one in self.certainty if one.value == value), None)


class Problem(_Strict):
    """A raster that could not be predicted, or something worth knowing about one."""

    raster: str
    fact: str
    remedy: str = ""


class Report(_Strict):
    """What report.json holds."""

    format_version: int = 1
    created: str
    title: str
    classes: tuple[ClassDef, ...]
    """Classes of both models; the values in before.tif and after.tif."""
    before: ModelUsed
    after: ModelUsed
    rasters: tuple[RasterReport, ...]
    total: Table
    held_out: ScoreReport | None = None
    truth: ScoreReport | None = None
    """On exact truth of whole rasters (the demo scene); places that were trained on are in it."""
    failed: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


class ClassChange(_Strict):
    """What happened to one class that the first model already knew."""

    name: str
    iou_before: float
    iou_after: float
    truth_pixels: int

    @property
    def forgotten(self) -> bool:
        return self.iou_after < self.iou_before - WORSE_BY

    @property
    def better(self) -> bool:
        return self.iou_after > self.iou_before + WORSE_BY


def old_classes(report: Report, scores: ScoreReport) -> list[ClassChange]:
    """IoU before and after of the classes that the first model knew, where the places of `scores` have them."""
    known = {name.casefold() for name in report.before.classes}
    pairs = [(c, scores.before.of(c.value), scores.after.of(c.value)) for c in report.classes if c.name.casefold() in known]
    return [
        ClassChange(name=c.name, iou_before=old.iou, iou_after=new.iou, truth_pixels=old.truth_pixels)
        for c, old, new in pairs
        if old and new and old.iou is not None and new.iou is not None and old.truth_pixels
    ]


def area_text(square_metres: float, like: float | None = None) -> str:
    """'850 m²', '3.2 ha', '1.45 km²'; in the unit that suits `like`, where given."""
    size = square_metres if like is None else like
    if size < 10_000:
        return f"{square_metres:,.0f} m²"
    return f"{square_metres / 1e4:,.1f} ha" if size < 1e6 else f"{square_metres / 1e6:,.2f} km²"


def read_report(job: Path) -> Report:
    """The report of a finished comparison.

    Raises:
        JobError: it is missing or does not parse.
    """
    try:
        return Report.model_validate_json((job / REPORT_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"The report of the comparison {job.name} cannot be read.", "Start the comparison again.") from error
