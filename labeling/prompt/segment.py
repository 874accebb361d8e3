"""A prompt on the map -> an outline on the map, by way of chips. An object that crosses a chip's edge comes back whole."""

from __future__ import annotations

import functools
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Point as MapPoint
from shapely.geometry import mapping, shape

from errors import PromptError
from imagery.grid import Grid
from labeling.prompt.chips import Chip, Level, Picture, Pyramid, chip_key
from labeling.prompt.model import Candidates, Embedding, Point, Prompt, PromptableModel
from labeling.prompt.outline import burnt, outline, to_lonlat, to_pixels
from labeling.prompt.store import RecentEmbeddings

CHIPS_EACH = 9
"""Most chips that one object is followed through."""
AGREES = 0.5
"""A neighbour's answer goes on with the object when the two are so much the same (IoU) where both look."""
TOUCHES_PX = 3
"""Pixels of a mask along a side of its chip, from which on the object is taken to go on beyond it."""
REMEMBERED = 60
"""Answers to which a next click can refer; about a megabyte each."""


@dataclass(frozen=True)
class Ask:
    """A prompt on the map; all places in EPSG:4326 (longitude, latitude)."""

    picture: Picture
    resolution_m: float
    """Ground size of a pixel of the screen."""
    points: tuple[tuple[float, float, bool], ...] = ()
    """(longitude, latitude, wanted)."""
    box: tuple[float, float, float, float] | None = None
    """(west, south, east, north)."""
    area: Mapping[str, Any] | None = None
    """A rough GeoJSON (Multi)Polygon to begin from."""
    previous: tuple[str, int] | None = None
    """(answer id, candidate) that this prompt refines."""
    candidate: int = 0
    """Which of the possible answers to outline."""


@dataclass(frozen=True)
class Answer:
    """An outline, or that there is none."""

    id: str
    geometry: dict[str, Any] | None
    """GeoJSON (Multi)Polygon in EPSG:4326; None: nothing found there."""
    candidate: int
    scores: tuple[float, ...]
    """Of all candidates, as the model judges them."""
    whole: bool
    """False: the object goes on in `missing` chips that are not encoded yet."""
    missing: tuple[Chip, ...]
    chip: Chip
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Missing:
    """Nothing can be said before these chips are encoded."""

    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class _Place:
    """A prompt in pixels of a level."""

    level: Level
    points: tuple[Point, ...]
    box: tuple[float, float, float, float] | None
    area: shapely.Geometry | None
    centre: tuple[float, float]


@dataclass(frozen=True)
class _Remembered:
    chip: Chip
    key: str
    place: _Place
    previous: tuple[str, int] | None
    candidates: Candidates


class Answerer:
    """Answers prompts with one model from the chips at hand. Not safe for threads."""

    def __init__(self, model: PromptableModel, embeddings: RecentEmbeddings) -> None:
        self._model, self._embeddings = model, embeddings
        self._answers: OrderedDict[str, _Remembered] = OrderedDict()

    def answer(self, ask: Ask) -> Answer | Missing:
        """Outline what a prompt points at.

        Raises:
            PromptError: it points at nothing, or at no imagery.
        """
        began = time.perf_counter()
        pyramid = _pyramid(ask.picture.grid)
        place = _placed(ask, pyramid)
        before = self._answers.get(ask.previous[0]) if ask.previous else None
        chip = before.chip if before and _fits(place, before.chip) else pyramid.chip_at(place.level, *place.centre)
        key = chip_key(ask.picture, chip, self._model.key)
        embedding = self._embeddings.get(key)
        if embedding is None:
            return Missing((chip,))
        _refuse_no_imagery(place, chip, embedding)
        read = time.perf_counter()
        remembered = self._predicted(ask, place, chip, key, embedding, before)
        candidates = remembered.candidates
        number = min(ask.candidate, len(candidates.scores) - 1)
        mask = self._model.mask(embedding, candidates.logits[number]) & valid_pixels(embedding)
        decoded = time.perf_counter()
        masks, missing = self._followed(ask.picture, place, pyramid, {chip: mask})
        found = _outlined(masks, place)
        geometry = None if found.is_empty else to_lonlat(found, level_transform(ask.picture.grid, chip.level), ask.picture.grid.crs)
        name = secrets.token_hex(8)
        self._answers[name] = remembered
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        ended = time.perf_counter()
        spent = {"read": read - began, "decode": decoded - read, "outline": ended - decoded, "total": ended - began}
        return Answer(
            id=name,
            geometry=None if geometry is None else mapping(geometry),
            candidate=number,
            scores=tuple(round(float(score), 4) for score in candidates.scores),
            whole=not missing,
            missing=missing,
            chip=chip,
            milliseconds={what: round(seconds * 1e3, 1) for what, seconds in spent.items()},
        )

    def _predicted(
        self, ask: Ask, place: _Place, chip: Chip, key: str, embedding: Embedding, before: _Remembered | None
    ) -> _Remembered:
        """What the model says; asking for another candidate of the same prompt does not ask the model again."""
        if before and before.key == key and before.place == place:
            return before
        logits = None
        if before and ask.previous and before.key == key:
            logits = before.candidates.logits[min(ask.previous[1], len(before.candidates.scores) - 1)]
        elif place.area is not None:
            rough = burnt(shapely.transform(place.area, lambda p: p - np.array([chip.column, chip.row])), chip.height, chip.width)
            logits = self._model.logits_of(embedding, rough)
        candidates = self._model.predict(embedding, _prompt_in(chip, place, logits))
        return _Remembered(chip, key, place, ask.previous, candidates)

    def _followed(
        self, picture: Picture, place: _Place, pyramid: Pyramid, masks: dict[Chip, NDArray[np.bool_]]
    ) -> tuple[dict[Chip, NDArray[np.bool_]], tuple[Chip, ...]]:
        """Go on into the neighbours where a mask reaches an inner side of its chip; also the chips that would be needed."""
        missing: list[Chip] = []
        waiting = list(masks)
        while waiting:
            chip = waiting.pop(0)
            for side in sides_reached(masks[chip]):
                beside = pyramid.beside(chip, side)
                if beside is None or beside in masks or beside in missing or len(masks) + len(missing) >= CHIPS_EACH:
                    continue
                embedding = self._embeddings.get(chip_key(picture, beside, self._model.key))
                if embedding is None:
                    missing.append(beside)
                    continue
                further = self._continued(place, beside, embedding, masks)
                if further is not None:
                    masks[beside] = further
                    waiting.append(beside)
        return masks, tuple(missing)

    def _continued(
        self, place: _Place, chip: Chip, embedding: Embedding, masks: Mapping[Chip, NDArray[np.bool_]]
    ) -> NDArray[np.bool_] | None:
        """The object in a neighbour: seeded where both look, and only what agrees there."""
        known, seen = np.zeros((chip.height, chip.width), np.bool_), np.zeros((chip.height, chip.width), np.bool_)
        for other, mask in masks.items():
            here, there = _shared(chip, other)
            known[here] |= mask[there]
            seen[here] = True
        valid = valid_pixels(embedding)
        seed = _deepest(known & valid)
        if seed is None:
            return None
        nearby = tuple(p for p in place.points if chip.reaches(p.x, p.y))
        prompt = _prompt_in(chip, replace(place, points=nearby, box=None), None)
        candidates = self._model.predict(embedding, replace(prompt, points=(*prompt.points, seed)))
        best, agreement = None, AGREES
        for logits in candidates.logits:
            mask = self._model.mask(embedding, logits) & valid
            same = _iou(mask[seen], known[seen])
            if same >= agreement:
                best, agreement = mask, same
        return best


def valid_pixels(embedding: Embedding) -> NDArray[np.bool_]:
    """(rows, columns) of the chip: where there is imagery."""
    rows, columns = (int(n) for n in embedding["shape"])
    if "valid" not in embedding:
        return np.ones((rows, columns), np.bool_)
    return np.unpackbits(embedding["valid"], count=rows * columns).reshape(rows, columns).astype(np.bool_)


def packed_validity(valid: NDArray[np.bool_]) -> dict[str, NDArray[np.uint8]]:
    """What `valid_pixels` reads; nothing where all is imagery."""
    return {} if valid.all() else {"valid": np.packbits(valid)}


@functools.lru_cache(maxsize=64)
def _pyramid(grid: Grid) -> Pyramid:
    return Pyramid(grid)


def _placed(ask: Ask, pyramid: Pyramid) -> _Place:
    """A prompt in pixels of the level that suits the view and holds the prompt well."""
    if not ask.points and ask.box is None and ask.area is None:
        raise PromptError("Nothing was pointed at.", "Click on the picture.")
    grid = ask.picture.grid
    shapes: list[shapely.Geometry] = [MapPoint(lon, lat) for lon, lat, _ in ask.points]
    if ask.box is not None:
        shapes.append(shapely.box(*ask.box))
    if ask.area is not None:
        shapes.append(shape(ask.area))
    pixels = [to_pixels(one, grid.transform, grid.crs) for one in shapes]
    extent = shapely.total_bounds(pixels)
    if not np.isfinite(extent).all():
        raise _no_imagery()
    level = pyramid.level_for(ask.resolution_m, (extent[2] - extent[0], extent[3] - extent[1]))
    scaled = [shapely.transform(one, lambda p: p / np.array([level.scale_x, level.scale_y])) for one in pixels]
    points = tuple(Point(one.x, one.y, wanted) for one, (_, _, wanted) in zip(scaled, ask.points, strict=False))
    box = scaled[len(points)].bounds if ask.box is not None else None
    area = scaled[-1] if ask.area is not None else None
    if area is not None and box is None:
        box = area.bounds
    left, top, right, bottom = shapely.total_bounds(scaled)
    return _Place(level, points, box, area, ((left + right) / 2, (top + bottom) / 2))


def _fits(place: _Place, chip: Chip) -> bool:
    """Whether a prompt can go on in the chip of the one before."""
    if place.level != chip.level or not all(chip.reaches(p.x, p.y) for p in place.points):
        return False
    return place.box is None or (chip.reaches(*place.box[:2]) and chip.reaches(*place.box[2:]))


def _refuse_no_imagery(place: _Place, chip: Chip, embedding: Embedding) -> None:
    """Raises PromptError where nothing wanted lies on imagery."""
    valid = valid_pixels(embedding)
    wanted = [p for p in place.points if p.wanted]
    if wanted:
        on = [
            0 <= p.x - chip.column < chip.width and 0 <= p.y - chip.row < chip.height and valid[int(p.y - chip.row), int(p.x - chip.column)]
            for p in wanted
        ]
        if not any(on):
            raise _no_imagery()
    elif place.box is not None:
        left, top, right, bottom = place.box
        inside = valid[
            max(0, int(top - chip.row)) : max(0, int(bottom - chip.row) + 1), max(0, int(left - chip.column)) : max(0, int(right - chip.column) + 1)
        ]
        if not inside.any():
            raise _no_imagery()
    else:
        raise PromptError("Only places that are not meant were marked.", "Click on what you want first.")


def _prompt_in(chip: Chip, place: _Place, logits: NDArray[np.float32] | None) -> Prompt:
    points = tuple(Point(p.x - chip.column, p.y - chip.row, p.wanted) for p in place.points)
    if place.box is None:
        return Prompt(points, None, logits)
    left, top, right, bottom = place.box
    box = (
        max(0.0, left - chip.column),
        max(0.0, top - chip.row),
        min(float(chip.width), right - chip.column),
        min(float(chip.height), bottom - chip.row),
    )
    return Prompt(points, box, logits)


def sides_reached(mask: NDArray[np.bool_]) -> list[str]:
    """Sides of its chip that a mask touches."""
    rims = {"left": mask[:, :2], "top": mask[:2], "right": mask[:, -2:], "bottom": mask[-2:]}
    return [side for side, rim in rims.items() if int(rim.sum()) >= TOUCHES_PX]


def _shared(chip: Chip, other: Chip) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What two chips of a level share: (rows, columns) in the first, and in the second."""
    left, right = max(chip.column, other.column), min(chip.column + chip.width, other.column + other.width)
    top, bottom = max(chip.row, other.row), min(chip.row + chip.height, other.row + other.height)
    right, bottom = max(left, right), max(top, bottom)
    here, there = (
        (slice(top - c.row, bottom - c.row), slice(left - c.column, right - c.column)) for c in (chip, other)
    )
    return here, there


def _deepest(mask: NDArray[np.bool_]) -> Point | None:
    """The pixel farthest from the rim of a mask."""
    step = 4 if int(mask.sum()) > 4000 else 1
    small = mask[::step, ::step]
    if not small.any():
        return None
    depth = ndimage.distance_transform_edt(np.pad(small, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return Point(float(column) * step + 0.5, float(row) * step + 0.5)


def _no_imagery() -> PromptError:
    return PromptError("There is no imagery at this place.", "Click on the picture.")


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 0.0


def _outlined(masks: Mapping[Chip, NDArray[np.bool_]], place: _Place) -> shapely.Geometry:
    """One outline around all masks, in pixels of the level."""
    left, top = min(c.column for c in masks), min(c.row for c in masks)
    right, bottom = max(c.column + c.width for c in masks), max(c.row + c.height for c in masks)
    together = np.zeros((bottom - top, right - left), np.bool_)
    for chip, mask in masks.items():
        together[chip.row - top : chip.row - top + chip.height, chip.column - left : chip.column - left + chip.width] |= mask
    return shapely.transform(outline(together), lambda p: p + np.array([left, top]))


def level_transform(grid: Grid, level: Level) -> Affine:
    """Pixels of a level -> map."""
    return grid.transform @ Affine.scale(level.scale_x, level.scale_y)
