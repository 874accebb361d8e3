"""Training and validation sides that lie apart on the ground. Pure and seeded.

Overlapping or touching tiles on both sides would let a model be scored on what it has seen, so tiles are never drawn one by one:
whole places are. Tiles are linked when they are closer than the gap; what hangs together is a place (a chip set falls into its towns this way).
Where too much hangs together (one big scene), square blocks are cut, and training tiles closer than the gap to validation are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from errors import SplitError
from tiles.tile_set import Split

BLOCK_SIDES = (8, 5, 3, 2, 1)
"""Sides of the blocks tried, in tiles."""
DRAWS = (24, 200)
"""Draws of validation places per kind of place: for thousands of tiles, and for few."""
ROOM = 4
"""Tile sides: where the outermost tiles are farther apart than the gap and this, both sides are possible without trying."""
GOOD_ENOUGH = 0.3
"""Cost below which smaller places are not tried."""


@dataclass(frozen=True)
class _Candidate:
    cost: float
    splits: list[Split]
    places: list[str]


def split_by_place(
    footprints: NDArray[np.object_], class_pixels: NDArray[np.int64], validation_share: float, seed: int, gap_m: float
) -> tuple[list[Split], list[str]]:
    """Put every tile on one side, or in the gap.

    Of the ways tried, the one is taken that has every class on both sides, comes near the wanted share and loses few tiles to the gap.

    Args:
        footprints: (n,) shapely polygons of the tiles, metres in one projection.
        class_pixels: (n, classes) pixels of each learnt class in each tile.
        validation_share: Wanted share of validation among the tiles used, 0..1.
        seed: The same seed gives the same split.
        gap_m: No training tile lies this close, or closer, to a validation tile.

    Returns:
        The side of each tile, and the name of the place it belongs to.

    Raises:
        SplitError: no way leaves a tile on both sides.
    """
    near = _near(footprints, gap_m)
    rng = np.random.default_rng(seed)
    best: _Candidate | None = None
    for place in _ways_to_cut(footprints, near):
        candidate = _best_draw(place, near, class_pixels, validation_share, rng)
        if candidate is not None and (best is None or candidate.cost < best.cost):
            best = candidate
        if best is not None and best.cost < GOOD_ENOUGH:
            break
    if best is None:
        raise _one_place(gap_m)
    return best.splits, best.places


def require_two_sides(footprints: NDArray[np.object_], validation_share: float, seed: int, gap_m: float) -> None:
    """Refuse tiles that cannot be split, without looking for the best way. Arguments and errors as `split_by_place`."""
    boxes = shapely.bounds(footprints)
    free = boxes[:, :2].max(axis=0) - boxes[:, 2:].min(axis=0)
    if free.max() > gap_m + ROOM * (boxes[:, 2:] - boxes[:, :2]).max():
        return
    near, rng = _near(footprints, gap_m), np.random.default_rng(seed)
    nothing_known = np.zeros((len(footprints), 1), dtype=np.int64)
    if all(_best_draw(place, near, nothing_known, validation_share, rng) is None for place in _ways_to_cut(footprints, near)):
        raise _one_place(gap_m)


def _one_place(gap_m: float) -> SplitError:
    return SplitError(
        "All labelled tiles lie in one place: training and validation cannot be kept apart, so the result could not be scored honestly.",
        f"Label something at least {math.ceil(gap_m)} m away from the rest (or add a second image), or choose a smaller tile size.",
    )


def _near(footprints: NDArray[np.object_], gap_m: float) -> csr_array:
    """(n, n) which tiles are not further apart than the gap; a tile is near itself."""
    n = len(footprints)
    a, b = shapely.STRtree(footprints).query(footprints, predicate="dwithin", distance=gap_m)
    return csr_array((np.ones(len(a), dtype=np.int32), (a, b)), shape=(n, n))


def _ways_to_cut(footprints: NDArray[np.object_], near: csr_array) -> Iterator[NDArray[np.int64]]:
    """Place number of each tile, for larger places first: what hangs together, then blocks within it."""
    groups = connected_components(near, directed=False)[1].astype(np.int64)
    yield groups
    centres = shapely.get_coordinates(shapely.centroid(footprints))
    tile_side = math.sqrt(float(np.median(shapely.area(footprints))))
    for side in BLOCK_SIDES:
        cell = np.floor((centres - centres.min(axis=0)) / (side * tile_side)).astype(np.int64)
        yield np.unique(np.column_stack([groups, cell]), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _best_draw(
    place: NDArray[np.int64], near: csr_array, class_pixels: NDArray[np.int64], validation_share: float, rng: np.random.Generator
) -> _Candidate | None:
    """The cheapest of several draws of validation places; None when none leaves a tile on both sides."""
    count = int(place.max()) + 1
    if count == 1:
        return None
    member = csr_array((np.ones(len(place), dtype=np.int32), (np.arange(len(place)), place)), shape=(len(place), count))
    near_place = near @ member
    tiles = np.bincount(place, minlength=count)
    has = (member.T @ class_pixels) > 0
    best_cost, best = math.inf, None
    for _ in range(int(np.clip(40_000 // len(place), *DRAWS))):
        drawn = _draw(tiles, has, validation_share, rng)
        validation = drawn[place]
        gap = (near_place @ drawn.astype(np.int32) > 0) & ~validation
        train = ~validation & ~gap
        if not train.any():
            continue
        cost = _cost(train, validation, class_pixels, validation_share)
        if cost < best_cost:
            best_cost, best = cost, (validation, gap)
    if best is None:
        return None
    validation, gap = best
    splits: list[Split] = ["validation" if v else "gap" if g else "train" for v, g in zip(validation, gap, strict=True)]
    return _Candidate(best_cost, splits, [f"place {p + 1}" for p in _numbered_by_appearance(place)])


def _draw(tiles: NDArray[np.int64], has: NDArray[np.bool_], validation_share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(places,) validation: first a place for each class, rarest first, then any place, until the share is reached.

    Args:
        tiles: (places,) tiles in each.
        has: (places, classes) whether it holds a pixel of the class.
        validation_share: Wanted share of the tiles.
        rng: Decides.
    """
    order = rng.permutation(len(tiles))
    drawn = np.zeros(len(tiles), dtype=bool)
    wanted = validation_share * tiles.sum()
    for cls in np.argsort(has.sum(axis=0), kind="stable"):
        if has[:, cls].sum() > 1 and not has[drawn, cls].any():
            drawn[order[has[order, cls].argmax()]] = True
    so_far = int(tiles[drawn].sum())
    for p in order:
        if so_far >= wanted or drawn.sum() >= len(tiles) - 1:
            break
        if not drawn[p] and (so_far + tiles[p] <= 1.5 * wanted or so_far == 0):
            drawn[p] = True
            so_far += int(tiles[p])
    return drawn


def _cost(train: NDArray[np.bool_], validation: NDArray[np.bool_], class_pixels: NDArray[np.int64], validation_share: float) -> float:
    """How bad a split is: a class that training lacks is worst, then one that validation lacks, then tiles lost and a wrong share."""
    present = class_pixels.sum(axis=0) > 0
    lacking_train = (present & (class_pixels[train].sum(axis=0) == 0)).sum()
    lacking_validation = (present & (class_pixels[validation].sum(axis=0) == 0)).sum()
    used = train.sum() + validation.sum()
    lost = 1.0 - used / len(train)
    off = abs(math.log((validation.sum() / used) / validation_share))
    return float(20 * lacking_train + 10 * lacking_validation + 2 * lost + off)


def _numbered_by_appearance(place: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]
