"""Outlines of pixels to outlines of buildings: few straight walls at right angles. Pure, and for all rings at once.

Of each ring: the line through the middles of the pixels' sides, simplified, gives walls; the direction in which the walls are shortest when measured along
two axes is the main one (its right angle is the other); walls of one direction in a row become one, as far out as they lie on average; the
shortest wall is dropped, again and again, which joins its two neighbours. So an outline is a ladder of ever simpler shapes. The simplest that agrees
with the pixels is the answer; where none does, the outline is only simplified, and said not to be regular.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from inference.vectors.outlines import Shapes

SMOOTH_PX = 0.8
"""Simplification before walls are read: the line through the middles of the sides leaves a slanting wall by less."""
COARSE_SHARE, COARSEST_PX = 0.08, 3.0
"""The main direction is read from a coarser outline, on which ragged edges tell less: simplified by this share of the building's side, at most so much."""
SHORTEST_WALLS_PX = (1.5, 2.5, 4.0, 6.0, 10.0, np.inf)
"""The rungs of the ladder; on the last one every ring is a rectangle."""
GOOD = 0.95
"""Agreement (intersection over union) with the simplified outline at which no finer shape is looked at."""
AS_GOOD = 0.015
"""A simpler shape is taken when it agrees less than the best by no more than this."""
DIRECTIONS = 90
NEAR_DEGREES = 12
"""Walls that far from the main direction say what it is exactly."""
AT_ONCE = 2**21
"""Walls times directions looked at together."""

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Squared:
    """What became of outlines, one row each."""

    shapes: Shapes
    """Valid polygons."""
    regular: NDArray[np.bool_]
    """All corners are right angles; else the outline is only simplified."""
    agreement: Floats
    """With the pixels: intersection over union."""


def squared(outlines: Shapes, pixel: tuple[float, float] = (1.0, 1.0), *, agreement: float = 0.9) -> Squared:
    """Give buildings right angles.

    Args:
        outlines: Polygons along the sides of pixels, in pixels.
        pixel: (across, down) ground size of a pixel: angles are right on the ground.
        agreement: Intersection over union with the pixels that a regular shape has to have.

    Returns:
        Shapes in pixels, in the order given.
    """
    size = np.array(pixel)
    side = float(np.sqrt(size.prod()))
    on_ground = np.asarray(shapely.transform(outlines, lambda p: p * size), object)
    rings, of = shapely.get_rings(outlines, return_index=True)
    shells = np.flatnonzero(np.diff(of, prepend=-1))
    middles = _middles(rings, size)
    walls = _simplified(middles, SMOOTH_PX * side)
    plain = _mended(_polygons(walls, of, shells), on_ground)
    shapes, undecided = plain.copy(), np.arange(len(outlines))
    tried: list[tuple[Shapes, Floats]] = []
    like, corners = np.full(len(outlines), -1.0), np.zeros(len(outlines), np.int64)
    for rung in reversed(list(_ladder(middles, walls, of, shells, side))):
        coarser, corners = corners, _corner_count(rung)
        like = np.where(corners == coarser, like, -1.0)  # as many walls are the same walls
        other = undecided[(corners != coarser)[undecided] & (corners <= _corner_count(plain))[undecided]]
        like[other] = _agreement(rung[other], plain[other])
        tried.append((rung, like))
        undecided = undecided[like[undecided] < GOOD]
    best = np.max([like for _, like in tried], axis=0)
    chosen = np.zeros(len(outlines), np.bool_)
    for rung, like in reversed(tried):
        fine = like >= np.maximum(agreement - AS_GOOD, np.minimum(best - AS_GOOD, GOOD))
        shapes[fine], chosen[fine] = rung[fine], True
    score = _agreement(shapes, on_ground)
    regular = chosen & (score >= agreement)
    back = chosen & ~regular
    shapes[back], score[back] = plain[back], _agreement(plain[back], on_ground[back])
    return Squared(np.asarray(shapely.transform(shapes, lambda p: p / size), object), regular, score)


def corner_degrees(polygons: Shapes) -> Floats:
    """How far each corner of each ring is from a right angle (to either side), degrees."""
    _, steps, ring = _edges(shapely.get_rings(polygons))
    following = _Rings(ring).next
    turn = np.arctan2(_cross(steps, steps[following]), (steps * steps[following]).sum(axis=1))
    return np.asarray(np.abs(np.degrees(np.abs(turn)) - 90))


def _middles(rings: Shapes, size: Floats) -> Shapes:
    """The rings through the middles of the pixels' sides, on the ground; begun at the point farthest from the middle, which is a corner."""
    start, step, ring = _edges(rings)
    length = np.abs(step).sum(axis=1, keepdims=True)
    inset = 0.5 / length
    both = np.stack([start + step * inset, start + step * (1 - inset)], axis=1).reshape(-1, 2)
    keep = np.column_stack([np.ones(len(length), np.bool_), length[:, 0] > 1]).ravel()
    points, ring = both[keep] * size, np.repeat(ring, 2)[keep]
    order = _Rings(ring)
    centre = np.column_stack([np.bincount(ring, points[:, axis]) for axis in (0, 1)]) / order.count[:, None]
    far = ((points - centre[ring]) ** 2).sum(axis=1)
    first = np.lexsort((-far, ring))[order.start]
    turned = order.start[ring] + (np.arange(len(ring)) - order.start[ring] + (first - order.start)[ring]) % order.count[ring]
    return np.asarray(shapely.linearrings(points[turned], indices=ring), object)


def _polygons(rings: Shapes, of: Ids, shells: Ids) -> Shapes:
    """Polygons of shells and the holes that follow them; None where the shell is None."""
    if len(shells) == len(rings):
        return np.asarray(shapely.polygons(rings), object)
    made = np.empty(len(shells), object)
    ends = np.append(shells[1:], len(rings))
    alone = ends - shells == 1
    made[alone] = shapely.polygons(rings[shells[alone]])
    for i in np.flatnonzero(~alone):
        holes = [hole for hole in rings[shells[i] + 1 : ends[i]] if hole is not None]
        made[i] = None if rings[shells[i]] is None else shapely.Polygon(rings[shells[i]], holes)
    return made


def _mended(polygons: Shapes, instead: Shapes) -> Shapes:
    """Polygons, and where one is not valid or not one, what is given instead."""
    return np.where(shapely.is_valid(polygons) & (shapely.area(polygons) > 0), polygons, instead)


def _corner_count(polygons: Shapes) -> Ids:
    """Points of the rings; one that has more after it was squared is stairs instead of a slanting wall."""
    return np.asarray(shapely.get_num_coordinates(polygons), np.int64)


def _agreement(made: Shapes, pixels: Shapes) -> Floats:
    """Intersection over union of pairs; -1 where one is not valid."""
    valid = shapely.is_valid(made)
    out = np.full(len(made), -1.0)
    common = shapely.area(shapely.intersection(made[valid], pixels[valid]))
    out[valid] = common / (shapely.area(made[valid]) + shapely.area(pixels[valid]) - common)
    return out


@dataclass(frozen=True)
class _Walls:
    """Walls of all rings in order; in the frame of its ring a wall runs along an axis, so its place is one number."""

    ring: Ids
    axis: Ids
    place: Floats
    weight: Floats
    travel: Floats
    """How far it leads along its axis, with sign."""


def _ladder(middles: Shapes, rings: Shapes, of: Ids, shells: Ids, side: float) -> Iterator[Shapes]:
    """Polygons with ever fewer walls, as large as the pixels; None where a ring has fewer than four walls.

    Args:
        middles: The rings through the middles of the pixels' sides.
        rings: The same, simplified: walls are read from them.
        of: Polygon of each ring.
        shells: The first ring of each polygon.
        side: Of a pixel, metres.
    """
    areas = shapely.area(shapely.polygons(middles))
    coarse = _simplified(middles, np.clip(COARSE_SHARE * np.sqrt(areas), SMOOTH_PX * side, COARSEST_PX * side))
    _, step, ring = _edges(coarse)
    angle = _main_directions(step, ring, of, shells)
    cosine, sine = np.cos(angle), np.sin(angle)
    start, step, ring = _edges(rings)
    walls = _walls(_turned(start, cosine[ring], -sine[ring]), _turned(step, cosine[ring], -sine[ring]), ring)
    for shortest in SHORTEST_WALLS_PX:
        walls = _without_short(walls, shortest * side)
        yield _polygons(_corners(_as_large(walls, areas, side), len(rings), cosine, sine), of, shells)


def _simplified(rings: Shapes, tolerance: float | Floats) -> Shapes:
    """Rings without points that lie nearly on a line (Douglas and Peucker 1973); one that nothing would be left of stays as it is."""
    simple = np.asarray(shapely.simplify(rings, tolerance, preserve_topology=False), object)
    return np.where(shapely.get_type_id(simple) == shapely.GeometryType.LINEARRING, simple, rings)


def _edges(rings: Shapes) -> tuple[Floats, Floats, Ids]:
    """(n, 2) where each edge begins, (n, 2) where it leads to from there, (n,) the ring it belongs to."""
    points, ring = shapely.get_coordinates(rings, return_index=True)
    within = ring[1:] == ring[:-1]
    return points[:-1][within], np.diff(points, axis=0)[within], ring[1:][within]


def _main_directions(step: Floats, ring: Ids, of: Ids, shells: Ids) -> Floats:
    """(rings,) radians from the x axis, 0 to a right angle; holes have their shell's."""
    degrees = np.radians(np.arange(DIRECTIONS))
    shell_of = shells[np.searchsorted(of[shells], of)]
    mine = np.zeros((len(of), DIRECTIONS))
    for part in range(0, len(step), AT_ONCE // DIRECTIONS):
        chunk = step[part : part + AT_ONCE // DIRECTIONS]
        along = np.abs(chunk @ np.stack([np.cos(degrees), np.sin(degrees)])) + np.abs(chunk @ np.stack([-np.sin(degrees), np.cos(degrees)]))
        rows = ring[part : part + len(chunk)]
        bounds = np.flatnonzero(np.diff(rows, prepend=-1))
        mine[rows[bounds]] += np.add.reduceat(along, bounds, axis=0)
    rough = degrees[mine.argmin(axis=1)][shell_of]
    heading = np.arctan2(step[:, 1], step[:, 0])
    off = (heading - rough[ring] + np.pi / 4) % (np.pi / 2) - np.pi / 4
    weight = (step**2).sum(axis=1) * (np.abs(off) < np.radians(NEAR_DEGREES)) * (shell_of[ring] == ring)
    total = np.bincount(ring, weight, len(of))
    finer = np.divide(np.bincount(ring, weight * off, len(of)), total, out=np.zeros(len(of)), where=total > 0)
    return np.asarray(rough + finer[shell_of], np.float64)


def _walls(start: Floats, step: Floats, ring: Ids) -> _Walls:
    """Edges along the same axis in a row as one wall."""
    axis = (np.abs(step[:, 1]) > np.abs(step[:, 0])).astype(np.int64)
    order = _Rings(ring)
    begins = axis != axis[order.previous]
    number = np.cumsum(begins) - 1
    # what stands before the first beginning of its ring belongs to the ring's last wall
    last = np.full(len(order.start), -1)
    last[ring[begins]] = number[begins]
    early = number < np.searchsorted(ring[begins], ring)
    number = np.where(early, last[ring], number)
    of_some = number >= 0
    along = np.take_along_axis(step, axis[:, None], axis=1)[:, 0]
    across = np.take_along_axis(start + step / 2, 1 - axis[:, None], axis=1)[:, 0]
    number, along, across = number[of_some], along[of_some], across[of_some]
    count = int(begins.sum())
    weight, moment, travel = (
        np.asarray(np.bincount(number, of, count), np.float64) for of in (np.abs(along), np.abs(along) * across, along)
    )
    return _Walls(ring[begins], axis[begins], moment / np.maximum(weight, 1e-12), weight, travel)


def _without_short(walls: _Walls, shortest: float) -> _Walls:
    """Drop the shortest wall of each ring until none is shorter, or four are left; the walls on either side become one."""
    settled: list[_Walls] = []
    while len(walls.ring):
        order = _Rings(walls.ring)
        length = np.sign(walls.travel) * (walls.place[order.next] - walls.place[order.previous])
        candidate = np.where((length < shortest) & (order.count[order.number] > 4), length, np.inf)
        first = np.lexsort((candidate, order.number))[order.start]
        active = np.isfinite(candidate[first])
        stays = ~active[order.number]
        settled.append(_some(walls, stays))
        drop = first[active]
        if not len(drop):
            break
        one, other = order.previous[drop], order.next[drop]
        place, weight, travel = walls.place.copy(), walls.weight.copy(), walls.travel.copy()
        place[one] = (place[one] * weight[one] + place[other] * weight[other]) / np.maximum(weight[one] + weight[other], 1e-12)
        weight[one] += weight[other]
        travel[one] += travel[other]
        stays[:] = ~stays
        stays[drop] = stays[other] = False
        walls = _some(_Walls(walls.ring, walls.axis, place, weight, travel), stays)
    joined = (
        _Walls(*(np.concatenate([getattr(part, name) for part in settled]) for name in _Walls.__dataclass_fields__)) if settled else walls
    )
    return _some(joined, np.argsort(joined.ring, kind="stable"))


def _as_large(walls: _Walls, areas: Floats, side: float) -> _Walls:
    """Move all walls of a ring outwards or inwards alike, by less than a pixel, so that it encloses this area."""
    order = _Rings(walls.ring)
    extent = walls.place[order.next] - walls.place[order.previous]
    # the part of the shoelace formula that walls along the first axis have
    twice = np.where(walls.axis == 0, -2 * extent * walls.place, 0.0)
    enclosed, around = (np.asarray(np.bincount(order.number, of, len(order.start)), np.float64) for of in (twice / 2, np.abs(extent)))
    out = (areas[walls.ring[order.start]] - np.abs(enclosed)) / np.maximum(around, 1e-12)
    out = np.clip(out, -side / 2, side / 2) * np.sign(enclosed)
    right = np.where(walls.axis == 0, -1.0, 1.0) * np.sign(extent)
    return _Walls(walls.ring, walls.axis, walls.place + right * out[order.number], walls.weight, walls.travel)


def _corners(walls: _Walls, rings: int, cosine: Floats, sine: Floats) -> Shapes:
    """Where walls meet; a ring with fewer than four walls is None."""
    order = _Rings(walls.ring)
    after = walls.place[order.next]
    corner = np.where(walls.axis[:, None] == 0, np.column_stack([after, walls.place]), np.column_stack([walls.place, after]))
    placed = _turned(corner, cosine[walls.ring], sine[walls.ring])
    enough = order.count[order.number] >= 4
    made = np.empty(rings, object)
    _, index = np.unique(walls.ring[enough], return_inverse=True)
    made[np.unique(walls.ring[enough])] = shapely.linearrings(placed[enough], indices=index) if enough.any() else []
    return made


def _turned(points: Floats, cosine: Floats, sine: Floats) -> Floats:
    return np.column_stack([cosine * points[:, 0] - sine * points[:, 1], sine * points[:, 0] + cosine * points[:, 1]])


def _cross(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _some(walls: _Walls, rows: NDArray) -> _Walls:
    return _Walls(*(getattr(walls, name)[rows] for name in _Walls.__dataclass_fields__))


class _Rings:
    """Rows of one ring lie together: who comes before and after whom, around the ring."""

    def __init__(self, ring: Ids) -> None:
        self.start = np.flatnonzero(np.diff(ring, prepend=-1))
        self.count = np.diff(np.append(self.start, len(ring)))
        self.number = np.repeat(np.arange(len(self.start)), self.count)
        rows = np.arange(len(ring))
        self.next, self.previous = rows + 1, rows - 1
        ends = self.start + self.count - 1
        self.next[ends] = self.start
        self.previous[self.start] = ends
