"""Found objects against true ones: precision, recall, F1 and average precision of each class. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from errors import LabelFileError

MIN_IOU = 0.5
CLASS_FIELDS = ("Classname", "ClassLabel", "Class", "class_name", "label", "name", "Classvalue", "class_value", "value")
"""Where the class is looked for, in this order, whatever the case."""


class ObjectScore(BaseModel):
    """How right the objects of one class are; a ratio is None where nothing was there to divide by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str
    found: int
    """Objects found."""
    there: int
    """Objects that are truly there."""
    right: int
    """Found ones that are there: each true one counts once."""
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    """Area below the curve of precision over recall, precision made monotone (Pascal VOC from 2010 on: all points)."""


class ObjectScores(BaseModel):
    """Scores of one set of objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_iou: float
    classes: tuple[ObjectScore, ...]
    total: ObjectScore
    """All classes together; its average precision is the mean of the classes that are there."""


def object_accuracy(
    found: gpd.GeoDataFrame,
    there: gpd.GeoDataFrame,
    *,
    min_iou: float = MIN_IOU,
    found_class: str | None = None,
    true_class: str | None = None,
    confidence: str = "Confidence",
) -> ObjectScores:
    """Match found objects with true ones of their class, the surest first: each takes the free true one with which it overlaps most.

    Args:
        found: Polygons, in any CRS.
        there: Polygons, in any CRS; the found ones are moved into it.
        min_iou: Intersection over union from which on an object counts as found.
        found_class: Field with the class of the found objects; None: one of `CLASS_FIELDS`, and without any all are one class.
        true_class: The same of the true ones.
        confidence: Field with the confidence of the found objects; without it all are equally sure.

    Raises:
        LabelFileError: a field that was named is not there.
    """
    names, true_names = _classes(found, found_class), _classes(there, true_class)
    if (names == "").all() or (true_names == "").all():
        names, true_names = np.full(len(found), "object", object), np.full(len(there), "object", object)
    sure = found[confidence].to_numpy(np.float64) if confidence in found else np.ones(len(found))
    shapes = found.to_crs(there.crs).geometry.to_numpy() if len(found) else np.zeros(0, object)
    scores = []
    for name in sorted({*names, *true_names}):
        mine, true = names == name, true_names == name
        scores.append(_score(name, shapes[mine], sure[mine], there.geometry.to_numpy()[true], min_iou))
    return ObjectScores(min_iou=min_iou, classes=tuple(scores), total=_total(scores))


def matches(
    found: NDArray[np.object_], confidence: NDArray[np.float64], there: NDArray[np.object_], min_iou: float = MIN_IOU
) -> NDArray[np.int64]:
    """For each found shape the index of the true one that it is taken for; -1 for none. All are of one class and in one CRS."""
    taken = np.full(len(found), -1, np.int64)
    mine, true = shapely.STRtree(there).query(found, predicate="intersects")
    common = shapely.area(shapely.intersection(found[mine], there[true]))
    overlap = common / (shapely.area(found[mine]) + shapely.area(there[true]) - common)
    enough = overlap >= min_iou
    mine, true, overlap = mine[enough], true[enough], overlap[enough]
    free = np.ones(len(there), bool)
    for index in np.lexsort((-overlap, mine, -confidence[mine])).tolist():
        if taken[mine[index]] < 0 and free[true[index]]:
            taken[mine[index]] = true[index]
            free[true[index]] = False
    return taken


def average_precision(right: NDArray[np.bool_], confidence: NDArray[np.float64], there: int) -> float | None:
    """Area below precision over recall, where precision is the highest one at that recall or beyond; None without true objects."""
    if not there:
        return None
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * right[order]).sum() / there)


def _score(
    name: str, found: NDArray[np.object_], confidence: NDArray[np.float64], there: NDArray[np.object_], min_iou: float
) -> ObjectScore:
    right = matches(found, confidence, there, min_iou) >= 0
    return _ratios(name, len(found), len(there), int(right.sum()), average_precision(right, confidence, len(there)))


def _ratios(name: str, found: int, there: int, right: int, average: float | None) -> ObjectScore:
    return ObjectScore(
        class_name=name,
        found=found,
        there=there,
        right=right,
        precision=right / found if found else None,
        recall=right / there if there else None,
        f1=2 * right / (found + there) if found + there else None,
        average_precision=average,
    )


def _total(scores: Sequence[ObjectScore]) -> ObjectScore:
    averages = [s.average_precision for s in scores if s.average_precision is not None]
    mean = sum(averages) / len(averages) if averages else None
    return _ratios("All classes", sum(s.found for s in scores), sum(s.there for s in scores), sum(s.right for s in scores), mean)


def _classes(objects: gpd.GeoDataFrame, field: str | None) -> NDArray[np.object_]:
    """(n,) the class of each object as text; empty where no field says it."""
    if field is not None and field not in objects:
        fields = ", ".join(str(c) for c in objects.columns if c != objects.geometry.name) or "none"
        raise LabelFileError(f"There is no field '{field}'.", f"The file has: {fields}.")
    by_name = {str(column).casefold(): column for column in reversed(objects.columns)}
    column = field or next((by_name[name.casefold()] for name in CLASS_FIELDS if name.casefold() in by_name), None)
    if column is None:
        return np.full(len(objects), "", object)
    return objects[column].map(_text).to_numpy(object)


def _text(value: object) -> str:
    """'2' for 2 and 2.0; names without blanks around them."""
    if isinstance(value, (int, float, np.number)) and float(value).is_integer():
        return str(int(value))
    return " ".join(str(value).split())
