"""The street grid of a town: a bent frame, its blocks and the streets between them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.ribbons import densify, offset
from demo.roads import Road

OPEN = "open"
UNBUILT = (OPEN, "field", "orchard")
STEP_M = 4.0


@dataclass(frozen=True)
class Frame:
    """A turned and bent coordinate frame: (u, v) in metres to (x, y) in pixels.

    Attributes:
        centre_px: Where (0, 0) lies.
        angle: Direction of u, radians from x towards y.
        bend_m: Amplitude of the bend.
        wave_m: Wave length of the bend.
        phase: Phases of the bend.
        resolution_m: Metres per pixel.
    """

    centre_px: tuple[float, float]
    angle: float
    bend_m: float
    wave_m: float
    phase: tuple[float, float]
    resolution_m: float

    def to_px(self, uv: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (..., 2) frame metres to pixels."""
        u, v = uv[..., 0], uv[..., 1]
        turn = 2 * np.pi / self.wave_m
        u2 = u + self.bend_m * np.sin(turn * v + self.phase[0])
        v2 = v + self.bend_m * np.sin(turn * u + self.phase[1])
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x = (cos * u2 - sin * v2) / self.resolution_m + self.centre_px[0]
        y = (sin * u2 + cos * v2) / self.resolution_m + self.centre_px[1]
        return np.stack([x, y], axis=-1)


@dataclass(frozen=True)
class Block:
    """Ground between streets: `kind` and its inner rectangle (u0, v0, u1, v1) in metres."""

    kind: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Town:
    """Grid lines in metres, half widths of the streets on them, and block kinds.

    Attributes:
        us, vs: Positions of the grid lines.
        half_u, half_v: Half width of the street on each line, sidewalks excluded.
        main_u, main_v: Indices of the lines that carry a main road through the whole scene.
        kinds: (len(us) - 1, len(vs) - 1) block kinds; `OPEN` is no town.
    """

    frame: Frame
    us: NDArray[np.float64]
    vs: NDArray[np.float64]
    half_u: NDArray[np.float64]
    half_v: NDArray[np.float64]
    main_u: tuple[int, ...]
    main_v: tuple[int, ...]
    kinds: NDArray[np.str_]
    sidewalk_m: float

    def blocks(self) -> Iterator[Block]:
        """Yield every town block with its inner rectangle, kerbs and sidewalks taken off."""
        inset = self.sidewalk_m + 0.6
        for i, j in np.ndindex(self.kinds.shape):
            if self.kinds[i, j] == OPEN:
                continue
            yield Block(
                str(self.kinds[i, j]),
                (
                    float(self.us[i] + self.half_u[i] + inset),
                    float(self.vs[j] + self.half_v[j] + inset),
                    float(self.us[i + 1] - self.half_u[i + 1] - inset),
                    float(self.vs[j + 1] - self.half_v[j + 1] - inset),
                ),
            )

    def runs(self) -> Iterator[tuple[str, int, int, int, bool]]:
        """Yield (axis, line, first, last, town) for unbroken stretches along the grid lines.

        `axis` "u" is a line of constant u, running from vs[first] to vs[last]. `town` is False
        for stretches with open ground on both sides.
        """
        built = ~np.isin(self.kinds, UNBUILT)
        none = np.zeros((1, built.shape[1]), bool)
        beside_u = np.vstack([none, built]) | np.vstack([built, none])
        none = np.zeros((built.shape[0], 1), bool)
        beside_v = (np.hstack([none, built]) | np.hstack([built, none])).T
        for axis, beside in (("u", beside_u), ("v", beside_v)):
            for line in range(beside.shape[0]):
                edges = np.flatnonzero(np.diff(beside[line].astype(int))) + 1
                stops = [0, *edges.tolist(), beside.shape[1]]
                for first, last in itertools.pairwise(stops):
                    yield axis, line, first, last, bool(beside[line, first])

    def line_px(self, axis: str, line: int, first: int, last: int) -> NDArray[np.float64]:
        """Return a stretch of a grid line as pixels (N, 2)."""
        if axis == "u":
            ends = [(self.us[line], self.vs[first]), (self.us[line], self.vs[last])]
        else:
            ends = [(self.us[first], self.vs[line]), (self.us[last], self.vs[line])]
        return self.frame.to_px(densify(np.array(ends, np.float64), STEP_M))


def lay_out(
    rng: np.random.Generator,
    frame: Frame,
    reach_m: float,
    kind_at: Callable[[float, float], str],
    mains: tuple[int, int],
    street_m: tuple[float, float],
) -> Town:
    """Draw a street grid over a square of half side `reach_m`.

    Args:
        rng: Source of randomness.
        frame: Where the grid lies.
        reach_m: How far it extends from the frame's origin.
        kind_at: Kind of the block with its centre at (u, v) metres.
        mains: Number of main roads along v and along u.
        street_m: Bounds of the street width.
    """
    us = _positions(rng, reach_m, (95, 130, 170, 220))
    vs = _positions(rng, reach_m, (74, 78, 84, 142))
    street = rng.uniform(*street_m)
    half_u, half_v = np.full(us.size, street / 2), np.full(vs.size, street / 2)
    kinds = np.array([[kind_at((u0 + u1) / 2, (v0 + v1) / 2) for v0, v1 in itertools.pairwise(vs)] for u0, u1 in itertools.pairwise(us)])
    built = ~np.isin(kinds, UNBUILT)
    main_u, main_v = _inner(rng, us, reach_m, mains[0], built), _inner(rng, vs, reach_m, mains[1], built.T)
    half_u[list(main_u)] = rng.uniform(7.5, 10)
    half_v[list(main_v)] = rng.uniform(7.0, 11)
    sidewalk = float(rng.choice([0.0, 1.3, 1.5, 2.2], p=[0.15, 0.45, 0.2, 0.2]))
    return Town(frame, us, vs, half_u, half_v, main_u, main_v, kinds, sidewalk)


def town_roads(
    town: Town,
    rng: np.random.Generator,
    tones: tuple[tuple[float, float, float], tuple[float, float, float]],
    divided_share: float,
) -> list[Road]:
    """Return the streets beside town blocks and the main roads through the whole scene.

    Args:
        town: The grid.
        rng: Source of randomness.
        tones: Colours of streets and main roads.
        divided_share: Chance that a main road has two carriageways.
    """
    roads: list[Road] = []
    for axis, line, first, last, built in town.runs():
        mains = town.main_u if axis == "u" else town.main_v
        if line in mains or not built:
            continue
        half = (town.half_u if axis == "u" else town.half_v)[line]
        tone = np.array(tones[0]) + rng.normal(0, 6)
        path = town.line_px(axis, line, first, last)
        marking = "centre" if rng.random() < 0.12 else "none"
        roads.append(
            Road(
                path,
                "paved",
                "street",
                2 * half,
                tuple(tone.tolist()),
                sidewalk_m=town.sidewalk_m,
                marking=marking,
            )
        )
    for axis, mains, halves in (("u", town.main_u, town.half_u), ("v", town.main_v, town.half_v)):
        last = (town.vs if axis == "u" else town.us).size - 1
        for line in mains:
            path = town.line_px(axis, line, 0, last)
            roads += main_road(path, 2 * float(halves[line]), tones[1], rng, divided_share,
                               town.frame.resolution_m)  # fmt: skip
    return roads


def main_road(
    path: NDArray[np.float64],
    width_m: float,
    tone: tuple[float, float, float],
    rng: np.random.Generator,
    divided_share: float,
    resolution_m: float,
) -> list[Road]:
    """Return a main road along `path` (pixels): one carriageway, or two with a median."""
    shade = np.array(tone) + rng.normal(0, 4)
    colour = (float(shade[0]), float(shade[1]), float(shade[2]))
    shoulder = float(rng.uniform(0.8, 3.5))
    if width_m > 14 and rng.random() < divided_share:
        lane = width_m / 2 - 2
        shift = (width_m / 2 - lane / 2) / resolution_m
        return [
            Road(
                offset(path, side * shift)[:: int(side)],
                "paved",
                "main_road",
                lane,
                colour,
                shoulder_m=shoulder,
                marking="one_way",
            )
            for side in (1, -1)
        ]
    marking = "lanes" if width_m > 11 else "centre"
    return [Road(path, "paved", "main_road", width_m, colour, shoulder_m=shoulder, marking=marking)]


def _positions(rng: np.random.Generator, reach_m: float, steps: tuple[int, ...]) -> NDArray[np.float64]:
    at = [-reach_m - rng.uniform(0, 60)]
    while at[-1] < reach_m:
        at.append(at[-1] + rng.choice(steps) * rng.uniform(0.92, 1.1))
    return np.array(at)


def _inner(rng: np.random.Generator, lines: NDArray[np.float64], reach_m: float, count: int, built: NDArray[np.bool_]) -> tuple[int, ...]:
    """Pick lines near the middle, preferring those with many town blocks beside them."""
    inside = np.flatnonzero(np.abs(lines) < 0.55 * reach_m)
    if inside.size == 0:
        inside = np.array([lines.size // 2])
    beside = built.sum(axis=1)
    weight = 0.2 + np.concatenate([[0], beside])[inside] + np.concatenate([beside, [0]])[inside]
    picked = rng.choice(inside, size=min(count, inside.size), replace=False, p=weight / weight.sum())
    return tuple(sorted(int(i) for i in picked))
