"""A road network: lines that meet at nodes, and what makes one of the middle lines of a map. Pure, in metres on a plane."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from tiles.roads.chains import joined

Floats = NDArray[np.float64]
HEADING_M = 12.0
"""How far back from its end a line says where it leads."""
AHEAD_DEGREES = 35.0
"""Ends are joined when each lies so nearly ahead of the other."""
CLOSE_WIDTHS = 1.0
"""Ends that are no farther apart than the road is wide are joined even when they lie beside one another."""
SNAP_WIDTHS = 1.0
"""Junctions joined by a line no longer than the roads there are wide are one."""
CORNER_WIDTHS = 0.75
"""How far from its end a middle line may turn to a corner of the road, in widths of it."""
SMOOTH_WIDTHS = 0.25
"""Standard deviation of the smoothing along a line, in widths of the road."""


@dataclass(frozen=True)
class Road:
    """A line between two nodes."""

    points: Floats
    """(k, 2) x, y; the first and the last are the nodes' places."""
    half: Floats
    """(k,) half the width there; NaN where the line bridges a gap."""
    confidence: Floats
    """(k,) 0..1; NaN likewise."""
    value: NDArray[np.uint8]
    """(k,) class value; 0 likewise."""
    start: int
    end: int

    @property
    def steps(self) -> Floats:
        """(k - 1,) lengths."""
        return np.asarray(np.hypot(*np.diff(self.points, axis=0).T))

    @property
    def length(self) -> float:
        return float(self.steps.sum())

    @property
    def width(self) -> float:
        """The middle one; 0 where nothing but a gap is bridged."""
        known = self.half[np.isfinite(self.half)]
        return float(2 * np.median(known)) if len(known) else 0.0

    def reversed(self) -> Road:
        return Road(self.points[::-1], self.half[::-1], self.confidence[::-1], self.value[::-1], self.end, self.start)

    def part(self, first: int, last: int, start: int, end: int) -> Road:
        """From one of its points to another."""
        cut = slice(first, last + 1)
        return Road(self.points[cut], self.half[cut], self.confidence[cut], self.value[cut], start, end)

    def then(self, other: Road) -> Road:
        """This one and, from its end on, the other."""
        points, half, confidence, value = (
            np.concatenate([getattr(self, name), getattr(other, name)[1:]]) for name in ("points", "half", "confidence", "value")
        )
        if np.isnan(other.half[0]):  # what is not known there stays so
            half[len(self.half) - 1] = confidence[len(self.half) - 1] = np.nan
        return Road(points, half, confidence, value, self.start, other.end)


class Network:
    """Roads by number. Nodes are numbers, too; where they lie say the ends of their roads."""

    def __init__(self, roads: Iterable[Road]) -> None:
        self.roads = dict(enumerate(roads))
        self._next_road = len(self.roads)
        self._next_node = 1 + max((max(road.start, road.end) for road in self.roads.values()), default=-1)
        self._at: dict[int, list[int]] = defaultdict(list)
        for number, road in self.roads.items():
            self._at[road.start].append(number)
            self._at[road.end].append(number)

    def degree(self, node: int) -> int:
        """Ends of roads at a node; a ring counts twice."""
        return len(self._at[node])

    def add(self, road: Road) -> int:
        number, self._next_road = self._next_road, self._next_road + 1
        self.roads[number] = road
        self._at[road.start].append(number)
        self._at[road.end].append(number)
        return number

    def remove(self, number: int) -> Road:
        road = self.roads.pop(number)
        self._at[road.start].remove(number)
        self._at[road.end].remove(number)
        return road

    def new_node(self) -> int:
        self._next_node += 1
        return self._next_node - 1

    def through(self) -> None:
        """Make one road of two that meet where no third does."""
        for node in [node for node, at in self._at.items() if len(at) == 2 and at[0] != at[1]]:
            one, other = self._at[node]
            if one == other:  # became a ring meanwhile
                continue
            first, second = self.remove(one), self.remove(other)
            self.add((first if first.end == node else first.reversed()).then(second if second.start == node else second.reversed()))

    def snap(self) -> None:
        """Make one junction of those that a road no longer than it is wide joins; it lies in their middle."""
        short = [
            number
            for number, road in self.roads.items()
            if road.start != road.end
            and min(self.degree(road.start), self.degree(road.end)) > 2
            and road.length <= SNAP_WIDTHS * _width_at_ends(road)
        ]
        removed = [self.remove(number) for number in short]
        places = {node: place for road in removed for node, place in ((road.start, road.points[0]), (road.end, road.points[-1]))}
        row = {node: i for i, node in enumerate(places)}
        links = np.array([[row[road.start], row[road.end]] for road in removed], np.int64).reshape(-1, 2)
        together: dict[int, list[int]] = defaultdict(list)
        for node, group in zip(places, joined(len(places), [(links[:, 0], links[:, 1])]), strict=True):
            together[int(group)].append(node)
        for nodes in together.values():
            self._move(nodes, nodes[0], np.mean([places[node] for node in nodes], axis=0))

    def prune(self, spur_m: float) -> None:
        """Cut off dead ends that are shorter than this, or than the road that they leave is wide; the shortest of a junction first."""
        while True:
            at_junction: dict[int, tuple[float, int]] = {}
            for number, road in self.roads.items():
                ends = self.degree(road.start), self.degree(road.end)
                if min(ends) != 1 or max(ends) < 3:
                    continue
                junction, half = (road.end, road.half[-1]) if ends[0] == 1 else (road.start, road.half[0])
                if road.length < max(spur_m, 2 * np.nan_to_num(half)):
                    at_junction[junction] = min(at_junction.get(junction, (np.inf, -1)), (road.length, number))
            if not at_junction:
                return
            for _, number in at_junction.values():
                self.remove(number)
            self.through()

    def straighten(self, frame: Floats) -> None:
        """Let dead ends lead straight on, where a middle line turns to a corner of its road, and up to the side of the map, short of which it stops.

        Args:
            frame: (2,) width and height of the map; it begins at 0, 0.
        """
        for node, at in list(self._at.items()):
            if len(at) != 1:
                continue
            road = self.roads[at[0]] if self.roads[at[0]].end == node else self.roads[at[0]].reversed()
            left = road.length - np.concatenate([[0.0], np.cumsum(road.steps)])
            straight = int((left >= CORNER_WIDTHS * road.width).sum())
            if not 2 <= straight < len(left) - 1:
                continue
            kept = road.part(0, straight, road.start, node)
            last, heading, _ = _tail(road.part(0, straight - 1, road.start, node), node)
            points = kept.points.copy()
            ahead = max(float((road.points[-1] - last) @ heading), 0.0)
            out = _way_out(last, heading, frame)
            points[-1] = last + heading * (out if out <= ahead + road.width else ahead)
            self.remove(at[0])
            self.add(replace(kept, points=points))

    def join(self, gap_m: float) -> None:
        """Bridge gaps: between two ends that lead to one another, and from an end straight on to another road."""
        ends = [(node, at[0]) for node, at in self._at.items() if len(at) == 1]
        if not ends or gap_m <= 0:
            return
        tails = [_tail(self.roads[number], node) for node, number in ends]
        places, ahead, widths = np.array([t[0] for t in tails]), np.array([t[1] for t in tails]), np.array([t[2] for t in tails])
        found = [*_facing(places, ahead, widths, gap_m)]
        numbers = list(self.roads)
        found += _hits(places, ahead, [number for _, number in ends], numbers, [self.roads[number].points for number in numbers], gap_m)
        used: set[int] = set()
        splits: dict[int, list[tuple[float, Floats, int]]] = defaultdict(list)
        for _, end, other, hit in sorted(found, key=lambda one: one[0]):
            if end in used or (hit is None and other in used):
                continue
            used.add(end)
            if hit is None:
                used.add(other)
                self._bridge(ends[end][0], places[end], ends[other][0], places[other])
            else:
                node = self.new_node()
                splits[other].append((hit[0], hit[1], node))
                self._bridge(ends[end][0], places[end], node, hit[1])
        for number, at in splits.items():
            self._split(number, at)
        self.through()

    def drop_short(self, shortest_m: float) -> None:
        """Leave out what hangs together and is shorter than this in all."""
        seen: set[int] = set()
        for first in list(self.roads):
            if first in seen or first not in self.roads:
                continue
            group, ways = {first}, [first]
            while ways:
                road = self.roads[ways.pop()]
                for number in (*self._at[road.start], *self._at[road.end]):
                    if number not in group:
                        group.add(number)
                        ways.append(number)
            seen |= group
            if sum(self.roads[number].length for number in group) < shortest_m:
                for number in group:
                    self.remove(number)

    def _bridge(self, start: int, here: Floats, end: int, there: Floats) -> None:
        unknown = np.full(2, np.nan)
        self.add(Road(np.array([here, there]), unknown, unknown, np.zeros(2, np.uint8), start, end))

    def _split(self, number: int, at: list[tuple[float, Floats, int]]) -> None:
        """Cut a road at distances along it; the places become nodes."""
        road = self.remove(number)
        along = np.concatenate([[0.0], np.cumsum(road.steps)])
        for distance, place, node in sorted(at, key=lambda one: one[0], reverse=True):
            before = int(np.clip(np.searchsorted(along, distance, side="right") - 1, 0, len(along) - 2))
            rest = road.part(before, len(road.points) - 1, node, road.end)
            points = rest.points.copy()
            points[0] = place
            self.add(replace(rest, points=points))
            road = road.part(0, before + 1, road.start, node)
            points = road.points.copy()
            points[-1] = place
            road = replace(road, points=points)
        self.add(road)

    def _move(self, nodes: Iterable[int], node: int, place: Floats) -> None:
        """Let the roads of these nodes end at one node, in another place."""
        old = set(nodes)
        for number in {number for one in old for number in self._at[one]}:
            road = self.remove(number)
            points = road.points.copy()
            start, end = road.start, road.end
            if start in old:
                start, points[0] = node, place
            if end in old:
                end, points[-1] = node, place
            if start != end or road.length > SNAP_WIDTHS * _width_at_ends(road):
                self.add(replace(road, points=points, start=start, end=end))


def smoothed(road: Road, tolerance_m: float) -> Floats:
    """(k, 2) the road without the steps of its pixels and with few points; its ends stay where they are."""
    points = road.points
    sigma = SMOOTH_WIDTHS * road.width / max(float(np.median(road.steps)), 1e-9)
    sigma = min(sigma, 4.0 * len(points))  # where most points are one, as after joining junctions, this would be without bound
    if len(points) > 2 and sigma > 0:
        reach = min(int(4 * sigma) + 1, len(points) - 1)
        before = 2 * points[0] - points[reach:0:-1]
        after = 2 * points[-1] - points[-2 : -reach - 2 : -1]
        points = gaussian_filter1d(np.concatenate([before, points, after]), sigma, axis=0, mode="nearest")[reach:-reach]
        points[0], points[-1] = road.points[0], road.points[-1]
    simple = shapely.simplify(shapely.LineString(points), tolerance_m, preserve_topology=False)
    return np.asarray(shapely.get_coordinates(simple), np.float64)


def _width_at_ends(road: Road) -> float:
    known = [half for half in (road.half[0], road.half[-1]) if np.isfinite(half)]
    return 2 * float(np.mean(known)) if known else 0.0


def _tail(road: Road, node: int) -> tuple[Floats, Floats, float]:
    """Of a dead end: where it is, where it leads (a unit vector), how wide the road is."""
    points = road.points if road.end == node else road.points[::-1]
    back = np.hypot(*(points - points[-1]).T)
    far = np.flatnonzero(back >= HEADING_M)
    step = points[-1] - points[far[-1] if len(far) else 0]
    size = np.hypot(*step)
    return points[-1], step / size if size else step, road.width


def _way_out(place: Floats, heading: Floats, frame: Floats) -> float:
    """How far it is to the side of the map."""
    sides = np.where(heading > 0, frame, 0.0)
    moving = heading != 0
    return float(np.min((sides - place)[moving] / heading[moving], initial=np.inf))


Join = tuple[float, int, int, tuple[float, Floats] | None]
"""How far, which end, which other end or road, and on a road where: how far along, and the place."""


def _facing(places: Floats, ahead: Floats, widths: Floats, gap_m: float) -> Iterable[Join]:
    pairs = cKDTree(places).query_pairs(gap_m, output_type="ndarray")
    if not len(pairs):
        return
    one, other = pairs.T
    step = places[other] - places[one]
    far = np.hypot(*step.T)
    towards = step / np.maximum(far, 1e-9)[:, None]
    nearly = np.cos(np.radians(AHEAD_DEGREES))
    facing = ((ahead[one] * towards).sum(axis=1) >= nearly) & (-(ahead[other] * towards).sum(axis=1) >= nearly)
    close = (far <= CLOSE_WIDTHS * np.minimum(widths[one], widths[other])) & ((ahead[one] * ahead[other]).sum(axis=1) < 0)
    for i in np.flatnonzero(facing | close):
        yield float(far[i]), int(one[i]), int(other[i]), None


def _hits(places: Floats, ahead: Floats, own: list[int], numbers: list[int], lines: list[Floats], gap_m: float) -> Iterable[Join]:
    """Where ends meet another road straight on."""
    shapes = np.array([shapely.LineString(points) for points in lines], object)
    rays = shapely.linestrings(np.stack([places, places + ahead * gap_m], axis=1))
    which, line = shapely.STRtree(shapes).query(rays, predicate="intersects")
    for i, j in zip(which.tolist(), line.tolist(), strict=True):
        if numbers[j] == own[i]:
            continue
        met = shapely.get_coordinates(shapely.intersection(rays[i], shapes[j]))
        far = np.hypot(*(met - places[i]).T)
        first = int(far.argmin())
        along = float(shapely.line_locate_point(shapes[j], shapely.Point(met[first])))
        yield float(far[first]), i, numbers[j], (along, met[first])
