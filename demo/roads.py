"""Roads as lines with a surface, and how each surface is painted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from demo.canvas import Canvas, Colour
from demo.cover import Cover
from demo.look import Look
from demo.noise import line_noise, smooth_noise
from demo.ribbons import Ribbon, ribbon

SIDEWALK: Colour = (166, 163, 154)


@dataclass(frozen=True)
class Road:
    """One road.

    Attributes:
        line: (N, 2) centreline, x and y in pixels.
        surface: "paved" or "unpaved".
        kind: street, main_road, alley, graded_road, levee_road, service_road, track or trail.
        width_m: Mean width of the travelled surface.
        tone: Colour of the surface.
        contrast: For unpaved roads, how much the surface hides the soil, 0 to 1.
        crown: For unpaved roads, how much grows between the ruts, 0 to 1.
        edge_m: For unpaved roads, the width over which the surface fades into the ground.
        sidewalk_m: Width of the sidewalks; 0 for none.
        shoulder_m: Width of bare shoulders; 0 for none.
        marking: "none", "centre", "lanes" or "one_way".
        bulb_m: Radius of the turning circle at the line's last point; 0 for none.
    """

    line: NDArray[np.float64]
    surface: str
    kind: str
    width_m: float
    tone: Colour
    contrast: float = 1.0
    crown: float = 0.0
    edge_m: float = 1.5
    sidewalk_m: float = 0.0
    shoulder_m: float = 0.0
    marking: str = "none"
    bulb_m: float = 0.0

    @property
    def sidewalk_gap_m(self) -> float:
        """Width of the verge between roadway and sidewalk."""
        return 0.3 if self.sidewalk_m < 1.6 else 1.6

    @property
    def reach_m(self) -> float:
        """From the centreline to the outer edge of roadway or sidewalk."""
        return self.width_m / 2 + (self.sidewalk_gap_m + self.sidewalk_m if self.sidewalk_m else 0.0)


def paint_unpaved(canvas: Canvas, roads: list[Road], rng: np.random.Generator) -> None:
    """Paint tracks, trails and graded roads, and write their cover codes."""
    wobble = smooth_noise(rng, canvas.shape, canvas.px(2.2))
    patchy = smooth_noise(rng, canvas.shape, canvas.px(6.0))
    for road in roads:
        _paint_one_unpaved(canvas, road, rng, wobble, patchy)


def _paint_one_unpaved(
    canvas: Canvas,
    road: Road,
    rng: np.random.Generator,
    wobble: NDArray[np.float32],
    patchy: NDArray[np.float32],
) -> None:
    res = canvas.resolution_m
    band = ribbon(road.line, canvas.px(road.width_m * 0.8 + 2.5), canvas.shape)
    if band.rows.size == 0:
        return
    along, side = band.along * res, band.across * res
    away = np.abs(side)
    half = road.width_m / 2 * (1 + 0.14 * np.clip(line_noise(rng, along, 22), -1.6, 1.6))
    rough = wobble[band.rows, band.cols]
    patch = patchy[band.rows, band.cols]
    body = np.clip((half - away - 0.22 * rough) / road.edge_m + 0.5, 0, 1)
    strength = road.contrast * (1 + 0.22 * line_noise(rng, along, 35) + 0.16 * patch)
    length = float(np.hypot(*np.diff(road.line, axis=0).T).sum()) * res
    strength *= np.clip(0.3 + np.minimum(along, length - along) / 14, 0.3, 1)
    verge = np.exp(-((np.maximum(away - half, 0) / 1.1) ** 2)) * 0.22 * road.contrast
    alpha = np.clip(np.maximum(body * strength, verge), 0, 0.97)
    tone = np.array(road.tone)
    grain = 3.0 * rng.standard_normal(away.size) + 3.5 * line_noise(rng, along, 5) + 3 * rough
    canvas.blend_at(band.rows, band.cols, alpha, tone + grain[:, None])
    if road.kind == "trail":
        code = Cover.TRAIL
    else:
        code = Cover.UNPAVED_ROAD
        _paint_ruts(canvas, road, band, rng, body * strength)
    inside = away <= half
    canvas.cover[band.rows[inside], band.cols[inside]] = code


def _paint_ruts(
    canvas: Canvas,
    road: Road,
    band: Ribbon,
    rng: np.random.Generator,
    strength: NDArray[np.float64],
) -> None:
    res = canvas.resolution_m
    along, away = band.along * res, np.abs(band.across * res)
    drift = 0.15 * line_noise(rng, along, 18)
    gauge = min(0.85, road.width_m * 0.28)
    middle = np.exp(-(((band.across * res - drift) / 0.55) ** 2))
    grown = np.clip(road.crown * (0.8 + 0.5 * line_noise(rng, along, 12)), 0, 0.9)
    dull = np.array(road.tone) * 0.74
    canvas.blend_at(band.rows, band.cols, middle * grown * np.clip(strength, 0, 1), dull)
    wheel = np.exp(-(((away - gauge) / 0.42) ** 2)) * np.clip(strength, 0, 1)
    canvas.blend_at(band.rows, band.cols, 0.35 * wheel, np.array(road.tone) * 1.08)


def paint_paved(canvas: Canvas, roads: list[Road], look: Look, rng: np.random.Generator) -> None:
    """Paint sidewalks and shoulders, then asphalt, then markings; write the cover codes."""
    bands = [ribbon(r.line, canvas.px(_reach_m(r)), canvas.shape) for r in roads]
    blotch = smooth_noise(rng, canvas.shape, canvas.px(7))
    fine = smooth_noise(rng, canvas.shape, max(canvas.px(0.8), 1.2))
    for road, band in zip(roads, bands, strict=True):
        _paint_roadside(canvas, road, band, look, rng)
    crossings = np.zeros(canvas.shape, np.uint8)
    for road, band in zip(roads, bands, strict=True):
        _paint_asphalt(canvas, road, band, rng, blotch, fine)
        inside = np.abs(band.across) * canvas.resolution_m <= road.width_m / 2 + 1
        crossings[band.rows[inside], band.cols[inside]] += 1
    for road in roads:
        if road.bulb_m:
            _paint_bulb(canvas, road, blotch, fine)
    wide = max(3, int(canvas.px(7)))
    near_crossing = ndimage.maximum_filter(crossings, size=wide) > 1
    for road, band in zip(roads, bands, strict=True):
        _paint_markings(canvas, road, band, rng, near_crossing)


def _reach_m(road: Road) -> float:
    return road.width_m / 2 + max(2 * road.sidewalk_m + 1.0, road.shoulder_m * 1.5) + 1.5


def _paint_roadside(canvas: Canvas, road: Road, band: Ribbon, look: Look, rng: np.random.Generator) -> None:
    res = canvas.resolution_m
    away, along = np.abs(band.across) * res, band.along * res
    half = road.width_m / 2
    if road.shoulder_m:
        ragged = 1 + 0.25 * line_noise(rng, along, 14) + 0.1 * rng.standard_normal(away.size)
        bare = np.clip((half + road.shoulder_m * ragged - away) / 1.2, 0, 1) * 0.75
        tone = np.array(look.biome.compact) - 4
        canvas.blend_at(band.rows, band.cols, bare, tone + 3 * rng.standard_normal((away.size, 1)))
    if road.sidewalk_m:
        inner, outer = half + road.sidewalk_gap_m, road.reach_m
        alpha = np.clip((outer - away) / res + 0.5, 0, 1) * np.clip((away - inner) / res + 0.5, 0, 1)
        tone = np.array(SIDEWALK) + rng.normal(0, 6) + 2.5 * rng.standard_normal((away.size, 1))
        canvas.blend_at(band.rows, band.cols, alpha * 0.95, tone)
        kerb = np.clip((half + 0.35 - away) / res + 0.5, 0, 1)
        canvas.blend_at(band.rows, band.cols, kerb * 0.9, np.array(SIDEWALK) - 6.0)
        paved = alpha > 0.5
        canvas.cover[band.rows[paved], band.cols[paved]] = Cover.DRIVEWAY_OR_SIDEWALK


def _asphalt(
    road: Road,
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    blotch: NDArray[np.float32],
    fine: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Colour (N, 3) of the surface without what depends on the driving direction."""
    grey = 3.0 * blotch[rows, cols] + 2.0 * fine[rows, cols]
    return np.array(road.tone) + grey[:, None]


def _paint_asphalt(
    canvas: Canvas,
    road: Road,
    band: Ribbon,
    rng: np.random.Generator,
    blotch: NDArray[np.float32],
    fine: NDArray[np.float32],
) -> None:
    res = canvas.resolution_m
    side, along = band.across * res, band.along * res
    half = road.width_m / 2
    edge = 0.0 if road.sidewalk_m else 0.25 * line_noise(rng, along, 4)
    alpha = np.clip((half + edge - np.abs(side)) / res + 0.5, 0, 1)
    tone = _asphalt(road, band.rows, band.cols, blotch, fine)
    lane = 3.5 if road.width_m > 6 else road.width_m / 2
    wheels = np.cos(2 * np.pi * side / lane) * rng.normal(0, 2.5)
    worn = 2.5 * line_noise(rng, along, 60) + 1.5 * line_noise(rng, along, 9)
    seam = np.where(side > 0, rng.normal(0, 1.5), 0)
    tone += (wheels + worn + seam)[:, None]
    tone += (_patches(rng, along, side, half) + _cracks(rng, along, side, half, res))[:, None]
    canvas.blend_at(band.rows, band.cols, alpha, tone)
    inside = np.abs(side) <= half
    canvas.cover[band.rows[inside], band.cols[inside]] = Cover.PAVED_ROAD


def _patches(
    rng: np.random.Generator,
    along: NDArray[np.float64],
    side: NDArray[np.float64],
    half: float,
) -> NDArray[np.float64]:
    grey = np.zeros(along.size)
    if along.size == 0:
        return grey
    for _ in range(int(rng.poisson((along.max() - along.min()) / 90))):
        start, length = rng.uniform(along.min(), along.max()), rng.lognormal(1.8, 0.6)
        left, breadth = rng.uniform(-half, half), rng.uniform(1.0, half)
        here = (along > start) & (along < start + length) & (side > left) & (side < left + breadth)
        grey[here] += rng.normal(-6, 7)
    return grey


def _cracks(
    rng: np.random.Generator,
    along: NDArray[np.float64],
    side: NDArray[np.float64],
    half: float,
    res: float,
) -> NDArray[np.float64]:
    """Tar-sealed cracks: one or two wandering lines along, some across."""
    grey = np.zeros(along.size)
    if along.size == 0 or rng.random() < 0.35:
        return grey
    depth = rng.uniform(3, 16)
    for _ in range(int(rng.integers(1, 3))):
        path = rng.uniform(-half, half) * 0.8 + 0.35 * line_noise(rng, along, 7)
        grey -= depth * np.clip(1 - np.abs(side - path) / res, 0, 1)
    spacing = rng.uniform(6, 20)
    bend = 0.5 * line_noise(rng, side, 1.5)
    phase = np.abs((along + bend + 2 * np.sin(along / 31)) % spacing - spacing / 2)
    return grey - 0.7 * depth * np.clip(1 - phase / res, 0, 1)


def _paint_bulb(canvas: Canvas, road: Road, blotch: NDArray[np.float32], fine: NDArray[np.float32]) -> None:
    res = canvas.resolution_m
    centre = road.line[-1]
    reach = canvas.px(road.bulb_m + 3.5)
    height, width = canvas.shape
    x0, x1 = (int(np.clip(centre[0] + s * reach, 0, width)) for s in (-1, 1))
    y0, y1 = (int(np.clip(centre[1] + s * reach, 0, height)) for s in (-1, 1))
    if x1 <= x0 or y1 <= y0:
        return
    rows, cols = (a.ravel() for a in np.mgrid[y0:y1, x0:x1])
    away = np.hypot(cols + 0.5 - centre[0], rows + 0.5 - centre[1]) * res
    on_road = canvas.cover[rows, cols] == Cover.PAVED_ROAD
    rim = np.clip((road.bulb_m + 2.0 - away) / res + 0.5, 0, 1) * ~on_road
    canvas.blend_at(rows, cols, rim * 0.95, np.array(SIDEWALK) - 3.0)
    walk = (rim > 0.5) & (away > road.bulb_m)
    canvas.cover[rows[walk], cols[walk]] = Cover.DRIVEWAY_OR_SIDEWALK
    alpha = np.clip((road.bulb_m - away) / res + 0.5, 0, 1)
    canvas.blend_at(rows, cols, alpha, _asphalt(road, rows, cols, blotch, fine))
    inside = away <= road.bulb_m
    canvas.cover[rows[inside], cols[inside]] = Cover.PAVED_ROAD


def _paint_markings(
    canvas: Canvas,
    road: Road,
    band: Ribbon,
    rng: np.random.Generator,
    near_crossing: NDArray[np.bool_],
) -> None:
    if road.marking == "none" or band.rows.size == 0:
        return
    res, half = canvas.resolution_m, road.width_m / 2
    side, along = band.across * res, band.along * res
    clear = ~near_crossing[band.rows, band.cols]
    wear = np.clip(0.75 + 0.25 * line_noise(rng, along, 15), 0.2, 1) * clear
    white, yellow = np.array([196.0, 196.0, 190.0]), np.array([184.0, 152.0, 72.0])
    for at, colour, dashed in _stripes(road.marking, half):
        line = np.clip((0.16 - np.abs(side - at)) / res + 0.5, 0, 1)
        drawn = (along % 12 < 3.6) if dashed else np.ones(along.size, bool)
        paint = yellow if colour == "yellow" else white
        canvas.blend_at(band.rows, band.cols, line * wear * drawn, paint)


def _stripes(marking: str, half: float) -> list[tuple[float, str, bool]]:
    """Return (offset in metres, colour, dashed) of every stripe."""
    if marking == "centre":
        return [(-0.15, "yellow", False), (0.15, "yellow", False), (half - 0.4, "white", False),
                (0.4 - half, "white", False)]  # fmt: skip
    if marking == "lanes":
        turn = 1.7
        lanes = [(s * (turn + 3.4), "white", True) for s in (-1, 1) if half > turn + 5.5]
        edges = [(s * (half - 0.6), "white", False) for s in (-1, 1)]
        return [(-turn, "yellow", False), (turn, "yellow", False), *lanes, *edges]
    inner = [(-half + 0.5, "yellow", False), (half - 0.5, "white", False)]
    return inner + [(-half + 0.5 + 3.6 * n, "white", True) for n in range(1, int(2 * half / 3.6))]
