"""Everything in an area at once, and all that is like something already outlined: many clicks on a lattice, each thing once.

The area is cut into parts, one for each chip: the lattice points that are nearer to the middle of that chip than of any other. What is seen from a part is
kept beside the embeddings, so asking again, for something else, or for a somewhat smaller area costs nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping, shape

from errors import PromptError
from labeling.prompt.chips import Chip, Level, Picture, Pyramid, chip_key
from labeling.prompt.model import Embedding, Point, Progress, PromptableModel
from labeling.prompt.outline import burnt, outline, to_lonlat, to_pixels
from labeling.prompt.segment import level_transform, sides_reached, valid_pixels

SPACING_PX = 32
"""Between the points of the lattice, in pixels of the level (as for a picture of 1024 px in the official code)."""
BLOCK = 4
"""An area is widened to blocks of so many points a side, so that nearly the same area is the same."""
CHIPS_AT_MOST = 4
"""A larger area is looked at more coarsely."""
SMALLEST_PX = 40
"""Pixels of the smallest thing."""
MOSTLY = 0.5
"""What is covered by a label to such a share is there already."""
APART = 0.3
"""Of two things offered, at most this share of the smaller one is common."""
AT_MOST = 500
"""Things told at once."""
EXAMPLES = 50
FORMAT = 1
"""Of what is kept of a part: raise it when that changes."""


@dataclass(frozen=True)
class AskAll:
    """An area of the map in which things are looked for; all places in EPSG:4326 (longitude, latitude)."""

    picture: Picture
    resolution_m: float
    """Ground size of a pixel of the screen."""
    box: tuple[float, float, float, float]
    """(west, south, east, north)."""
    like: tuple[Mapping[str, Any], ...] = ()
    """GeoJSON (Multi)Polygons: only what is like one of these. Empty: everything."""
    taken: tuple[bytes, ...] = ()
    """Areas already labelled, as WKB: nothing is offered there."""


@dataclass(frozen=True)
class Part:
    """What is looked at through one chip: a rectangle of lattice points. Point (i, j) lies at ((i + 0.5), (j + 0.5)) * `SPACING_PX` of the level."""

    chip: Chip
    columns: tuple[int, int]
    """First and past the last."""
    rows: tuple[int, int]

    @property
    def points(self) -> list[Point]:
        """In pixels of the chip."""
        return [
            Point((i + 0.5) * SPACING_PX - self.chip.column, (j + 0.5) * SPACING_PX - self.chip.row)
            for j, i in itertools.product(range(*self.rows), range(*self.columns))
        ]


@dataclass(frozen=True)
class Offer:
    """A thing found, the best first."""

    geometry: dict[str, Any]
    """GeoJSON (Multi)Polygon in EPSG:4326."""
    worth: float
    """How well it is outlined, or how like the examples it is: about 0..1."""


@dataclass(frozen=True)
class Offers:
    """What was found in an area; no two overlap much, none lies on a label."""

    things: tuple[Offer, ...]
    offered_from: float
    """What has at least this worth is offered first; the rest where more is wanted."""


@dataclass(frozen=True)
class MissingParts:
    """Nothing can be said before these chips are encoded and these parts are looked at."""

    chips: tuple[Chip, ...]
    parts: tuple[Part, ...]
    of: int
    """Chips and parts that the answer needs altogether."""


def part_key(picture: Picture, part: Part, model_key: str) -> str:
    """Names what `model_key` sees in a part: 64 hex digits."""
    text = json.dumps([FORMAT, chip_key(picture, part.chip, model_key), part.columns, part.rows])
    return hashlib.sha256(text.encode()).hexdigest()


def level_of(ask: AskAll, pyramid: Pyramid) -> Level:
    """The level nearest to the view at which the area needs few chips."""
    number = pyramid.level_for(ask.resolution_m).number
    while number < pyramid.coarsest and len(parts_of(ask, pyramid, pyramid.level(number))) > CHIPS_AT_MOST:
        number += 1
    return pyramid.level(number)


def parts_of(ask: AskAll, pyramid: Pyramid, level: Level) -> list[Part]:
    """The parts of an area at a level.

    Raises:
        PromptError: the area lies outside of the raster.
    """
    left, top, right, bottom = _to_level(shapely.box(*ask.box), ask.picture, level).bounds
    left, top = max(0.0, left), max(0.0, top)
    right, bottom = min(float(level.width), right), min(float(level.height), bottom)
    if not (math.isfinite(left + right + top + bottom) and right > left and bottom > top):
        raise PromptError("There is no imagery in this area.", "Drag over the picture.")
    block = BLOCK * SPACING_PX

    def lattice(start: float, end: float, length: int) -> range:
        past = max(1, round(length / SPACING_PX))
        first = min(int(start // block) * BLOCK, past - 1)
        return range(first, min(max(first + 1, math.ceil(end / block) * BLOCK), past))

    columns, rows = lattice(left, right, level.width), lattice(top, bottom, level.height)
    parts = []
    for some_rows in _runs(rows, lambda j: pyramid.chip_at(level, 0, (j + 0.5) * SPACING_PX).row):
        for some_columns in _runs(columns, lambda i: pyramid.chip_at(level, (i + 0.5) * SPACING_PX, 0).column):
            chip = pyramid.chip_at(level, (some_columns[0] + 0.5) * SPACING_PX, (some_rows[0] + 0.5) * SPACING_PX)
            parts.append(Part(chip, some_columns, some_rows))
    return parts


def look(model: PromptableModel, embedding: Embedding, pyramid: Pyramid, part: Part, progress: Progress) -> dict[str, NDArray[Any]]:
    """What a model sees in a part, as it is kept: 'scores' (n,), 'vectors' (n, features), 'outlines' (WKB, one after the other; pixels of
    the level) and 'ends' (n,) of each outline. What goes on beyond the chip is left out.
    """
    valid = valid_pixels(embedding)
    rows, columns = valid.shape
    points = [p for p in part.points if p.x < columns and p.y < rows and valid[int(p.y), int(p.x)]]
    scores, vectors, outlines = [], [], []
    for thing in model.everything(embedding, points, lambda share: progress(0.8 * share)) if points else ():
        mask = thing.mask & valid
        if mask.sum() < SMALLEST_PX or any(pyramid.beside(part.chip, side) is not None for side in sides_reached(mask)):
            continue
        found = outline(mask)
        if found.is_empty:
            continue
        scores.append(thing.score)
        vectors.append(thing.features)
        outlines.append(shapely.to_wkb(shapely.transform(found, lambda p: p + np.array([part.chip.column, part.chip.row]))))
        progress(0.8 + 0.2 * len(scores) / (len(scores) + 100))
    return {
        "scores": np.array(scores, np.float32),
        "vectors": np.stack(vectors) if vectors else np.zeros((0, 0), np.float32),
        "outlines": np.array(list(b"".join(outlines)), np.uint8),
        "ends": np.cumsum([len(one) for one in outlines]).astype(np.int64),
    }


def find(ask: AskAll, model: PromptableModel, kept: Callable[[str], Embedding | None]) -> Offers | MissingParts:
    """Answer from the embeddings and parts at hand.

    Args:
        ask: What is looked for.
        model: What looks.
        kept: Embeddings and parts by key; None for what is not there.

    Raises:
        PromptError: the area or the examples lie outside of the raster.
    """
    pyramid = Pyramid(ask.picture.grid)
    level = level_of(ask, pyramid)
    parts = parts_of(ask, pyramid, level)
    examples = [_to_level(shape(one), ask.picture, level) for one in ask.like[:EXAMPLES]]
    chips = {_example_chip(pyramid, level, one) for one in examples}
    seen = {part: kept(part_key(ask.picture, part, model.key)) for part in parts}
    embeddings = {chip: kept(chip_key(ask.picture, chip, model.key)) for chip in chips}
    if any(one is None for one in (*seen.values(), *embeddings.values())):
        return MissingParts(tuple(c for c, e in embeddings.items() if e is None), tuple(p for p, s in seen.items() if s is None), len(seen) + len(embeddings))
    scores = np.concatenate([s["scores"] for s in seen.values() if s]).astype(np.float32)
    outlines = [one for s in seen.values() if s for one in _outlines(s)]
    if not outlines:
        return Offers((), 0.0)
    worth, offered_from = scores, model.offered_from
    if examples:
        vectors = np.concatenate([s["vectors"] for s in seen.values() if s and len(s["scores"])]).astype(np.float32)
        described = [_described(model, embeddings[_example_chip(pyramid, level, one)], _example_chip(pyramid, level, one), one) for one in examples]
        worth, offered_from = model.likeness(vectors, scores, np.stack(described)), model.alike_from
    area = _to_level(shapely.box(*ask.box), ask.picture, level)
    taken = [_to_level(one, ask.picture, level) for one in shapely.from_wkb(list(ask.taken))]
    back = level_transform(ask.picture.grid, level)
    things = [
        Offer(mapping(to_lonlat(found, back, ask.picture.grid.crs)), round(float(worth[number]), 4))
        for number, found in _disjoint(outlines, worth, area, taken)
    ]
    return Offers(tuple(things), offered_from)


def _disjoint(
    outlines: Sequence[shapely.Geometry], worth: NDArray[np.float32], area: shapely.Geometry, taken: Sequence[shapely.Geometry]
) -> list[tuple[int, shapely.Geometry]]:
    """(number, shape) of the best things whose middle lies in the area, apart from one another and from what is taken."""
    shapes = np.array(outlines)
    sizes = shapely.area(shapes)
    tree, labels = shapely.STRtree(shapes), shapely.STRtree(taken)
    inside = shapely.intersects(shapely.centroid(shapes), area)
    chosen: list[tuple[int, shapely.Geometry]] = []
    there = np.zeros(len(shapes), np.bool_)
    for number in np.argsort(-worth, kind="stable"):
        found = shapes[number]
        if not inside[number]:
            continue
        near = tree.query(found)
        near = near[there[near]]
        if (shapely.area(shapely.intersection(found, shapes[near])) > APART * np.minimum(sizes[number], sizes[near])).any():
            continue
        free = _beside_labels(found, labels.geometries[labels.query(found)])
        if free is None:
            continue
        there[number] = True
        chosen.append((int(number), free))
        if len(chosen) >= AT_MOST:
            break
    return chosen


def _beside_labels(found: shapely.Geometry, labels: NDArray[Any]) -> shapely.Geometry | None:
    """What of a thing no label covers; None where it is mostly labelled already."""
    if not len(labels):
        return found
    shared, sizes = shapely.area(shapely.intersection(found, labels)), shapely.area(labels)
    if (shared > MOSTLY * found.area).any() or ((shared > MOSTLY * sizes) & (sizes > found.area / 4)).any():
        return None
    free = shapely.difference(found, shapely.union_all(labels))
    parts = [part for part in shapely.get_parts(free) if part.geom_type == "Polygon" and part.area >= SMALLEST_PX]
    if sum(part.area for part in parts) < MOSTLY * found.area:
        return None
    return shapely.union_all(parts)


def _described(model: PromptableModel, embedding: Embedding | None, chip: Chip, example: shapely.Geometry) -> NDArray[np.float32]:
    assert embedding is not None
    inside = shapely.transform(example, lambda p: p - np.array([chip.column, chip.row]))
    mask = burnt(inside, chip.height, chip.width) & valid_pixels(embedding)
    if not mask.any():
        raise PromptError("An example lies outside of the picture, or is too small to be seen at this zoom.", "Zoom in, or choose another example.")
    return model.describe(embedding, mask)


def _example_chip(pyramid: Pyramid, level: Level, example: shapely.Geometry) -> Chip:
    left, top, right, bottom = example.bounds
    return pyramid.chip_at(level, (left + right) / 2, (top + bottom) / 2)


def _outlines(seen: Embedding) -> list[shapely.Geometry]:
    ends = seen["ends"].tolist()
    data = seen["outlines"].tobytes()
    return list(shapely.from_wkb([data[start:end] for start, end in zip([0, *ends], ends, strict=False)]))


def _to_level(geometry: shapely.Geometry, picture: Picture, level: Level) -> shapely.Geometry:
    """EPSG:4326 -> pixels of a level."""
    pixels = to_pixels(geometry, picture.grid.transform, picture.grid.crs)
    return shapely.transform(pixels, lambda p: p / np.array([level.scale_x, level.scale_y]))


def _runs(numbers: range, key: Callable[[int], int]) -> list[tuple[int, int]]:
    """(first, past the last) of each run of numbers with the same key."""
    runs = [list(run) for _, run in itertools.groupby(numbers, key)]
    return [(run[0], run[-1] + 1) for run in runs]
