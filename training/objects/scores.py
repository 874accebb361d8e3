"""How well single objects are found: average precision as COCO counts it, by its own program (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from models.card import Score
from tiles.certainty import Found, ap_intervals
from training.metrics import per_block, ranged

SURE = 0.5
"""Score from which an object counts as found, in precision and recall."""
OVERLAPS = np.linspace(0.5, 0.95, 10)
MOST = 1000
"""Objects of a tile that are looked at, the surest."""
EVERY_SIZE = [0.0, 1e10]


@dataclass(frozen=True, eq=False)
class Objects:
    """What is in a tile, or was found in it."""

    boxes: NDArray[np.float32]
    """(k, 4) xmin, ymin, xmax, ymax in pixels."""
    labels: NDArray[np.int64]
    """(k,) output, from 1."""
    scores: NDArray[np.float32]
    """(k,) 0..1; of the truth 1."""
    masks: NDArray[np.bool_] | None = None
    """(k, rows, columns); None where only boxes are compared."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Found objects against true ones."""

    average_precision: NDArray[np.float64]
    """(overlaps, classes) at each of `OVERLAPS`; NaN for classes that the truth lacks."""
    counts: NDArray[np.int64]
    """(tiles, classes, 3): true objects, found with a score of `SURE` at least, and those of them that are right (half an overlap or more)."""
    found: tuple[Found, ...]
    """Of each class all that was found, whatever its score, in tiles by their numbers; right with half an overlap or more."""


def evaluate(truth: Sequence[Objects], found: Sequence[Objects], classes: int) -> Evaluation:
    """Compare tile by tile: masks where both have them, else boxes.

    Args:
        truth: Of each tile.
        found: Of the same tiles.
        classes: How many outputs there are besides background.
    """
    kind: Literal["segm", "bbox"] = "segm" if all(one.masks is not None for one in (*truth, *found)) else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):  # it tells how long it took
        judge = COCOeval(_coco(truth, classes, kind), _coco(found, classes, kind), kind)
        judge.params.iouThrs = OVERLAPS
        judge.params.maxDets = [MOST]
        judge.params.areaRng, judge.params.areaRngLbl = [EVERY_SIZE], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0, 0]  # (overlaps, recalls, classes)
    average = precision.mean(axis=1)
    counts = np.zeros((len(truth), classes, 3), dtype=np.int64)
    tiles: list[list[int]] = [[] for _ in range(classes)]
    sures: list[list[float]] = [[] for _ in range(classes)]
    rights: list[list[bool]] = [[] for _ in range(classes)]
    for number, match in enumerate(judge.evalImgs):
        if match is not None:
            sure = np.array(match["dtScores"]) >= SURE
            right = match["dtMatches"][0][: len(sure)][sure] > 0
            tile, output = number % len(truth), number // len(truth)
            counts[tile, output] = len(match["gtIds"]), sure.sum(), right.sum()
            tiles[output] += [tile] * len(sure)
            sures[output] += match["dtScores"]
            rights[output] += (match["dtMatches"][0] > 0).tolist()
    everything = tuple(Found(np.array(t, np.int64), np.array(s), np.array(r, bool)) for t, s, r in zip(tiles, sures, rights, strict=True))
    return Evaluation(np.where(average < 0, np.nan, average), counts, everything)


def class_scores(evaluation: Evaluation, names: Sequence[str], on: str) -> tuple[Score, ...]:
    """One `Score` for each class that the truth has objects of."""
    made = []
    for i, name in enumerate(names):
        there, claimed, right = (int(n) for n in evaluation.counts[:, i].sum(axis=0))
        if there:
            made.append(
                Score(
                    on=on,
                    class_name=name,
                    precision=right / claimed if claimed else None,
                    recall=right / there,
                    objects=there,
                    ap50=float(evaluation.average_precision[0, i]),
                    average_precision=float(evaluation.average_precision[:, i].mean()),
                )
            )
    return tuple(made)


def with_ranges(
    scores: Sequence[Score], names: Sequence[str], blocks: NDArray[np.int64], after: Evaluation, before: Evaluation | None, old: Sequence[str]
) -> tuple[Score, ...]:
    """Scores with how far their AP50 could be off by chance.

    Args:
        scores: Of the tiles below.
        names: Of the outputs from 1 on.
        blocks: (tiles,) number of the square of ground each tile lies in.
        after: Of the model scored.
        before: Of the base model; None where it knows no class.
        old: Classes that the base model knows.
    """
    made = []
    for score in scores:
        i = list(names).index(score.class_name)
        there = per_block(after.counts[:, i, 0], blocks)
        known = before is not None and score.class_name in old
        found, was = (replace(one.found[i], block=blocks[one.found[i].block]) for one in (after, before if known and before else after))
        made.append(ranged(score, int((there > 0).sum()), ap_intervals(there, was, found), gained=known))
    return tuple(made)


def _coco(tiles: Sequence[Objects], classes: int, kind: str) -> Any:
    """As pycocotools keeps annotations; numbers of objects begin at 1, as 0 stands for no match there."""
    annotations: list[dict[str, Any]] = []
    for tile, objects in enumerate(tiles):
        for i, (left, top, right, bottom) in enumerate(objects.boxes.astype(float).tolist()):
            box = [left, top, right - left, bottom - top]
            one = {"bbox": box, "area": box[2] * box[3], "score": float(objects.scores[i]), "category_id": int(objects.labels[i])}
            if kind == "segm":
                assert objects.masks is not None
                one["segmentation"] = coco_mask.encode(np.asfortranarray(objects.masks[i].astype(np.uint8)))
            annotations.append(one | {"id": len(annotations) + 1, "image_id": tile, "iscrowd": 0})
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "height": 0, "width": 0} for i in range(len(tiles))],
        "annotations": annotations,
        "categories": [{"id": i} for i in range(1, classes + 1)],
    }
    coco.createIndex()
    return coco
