"""Houses and their plots, and what stands on the other blocks of a town."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from demo.canvas import Canvas, Colour, Layer, ShadowLayer, choose, jitter
from demo.cover import Cover
from demo.streets import Frame

TILE: Colour = (162, 122, 100)
ROOF_SETS: tuple[tuple[Colour, ...], ...] = (
    ((168, 150, 136), (160, 143, 130), (172, 156, 144), (152, 136, 122)),
    ((190, 190, 186), (180, 178, 172), (166, 164, 158), (176, 152, 140), (158, 150, 142)),
    (TILE, (170, 132, 110), (150, 112, 92), (164, 130, 112)),
    ((84, 84, 88), (104, 104, 106), (124, 120, 114), (98, 88, 82), (140, 136, 128), (70, 72, 78)),
    ((128, 112, 98), (146, 130, 114), (108, 96, 86), (164, 160, 152), (150, 84, 74), (90, 92, 96)),
)
LAWNS: tuple[Colour, ...] = (
    (74, 92, 56),
    (88, 102, 66),
    (64, 84, 50),
    (104, 108, 76),
    (96, 104, 62),
)
YARDS: tuple[Colour, ...] = ((140, 132, 116), (122, 116, 98), (150, 144, 132), (108, 106, 84))
CONCRETES: tuple[Colour, ...] = ((172, 168, 158), (160, 156, 147), (182, 178, 170), (150, 142, 132))
POOLS: tuple[Colour, ...] = ((92, 168, 184), (70, 140, 168), (110, 184, 190), (56, 104, 120))
CARS: tuple[Colour, ...] = (
    (200, 200, 200), (190, 191, 194), (64, 66, 70), (48, 50, 54), (120, 122, 126), (146, 148, 150),
    (140, 44, 40), (54, 72, 116), (150, 140, 122),
)  # fmt: skip
CROWNS: tuple[Colour, ...] = (
    (50, 64, 42), (60, 74, 48), (44, 56, 40), (70, 82, 54), (56, 66, 54), (80, 84, 60),
)  # fmt: skip


@dataclass(frozen=True)
class Manner:
    """How a neighbourhood builds and plants."""

    roofs: tuple[Colour, ...]
    lawn_share: float
    pool_share: float
    trees_per_plot: float
    hedges_per_plot: float
    plot_m: tuple[float, float]
    flat_share: float
    yard: Colour


@dataclass
class Site:
    """Everything the town painters draw into."""

    canvas: Canvas
    lots: Layer
    ground: Layer
    low: Layer
    roofs: Layer
    shadows: ShadowLayer
    trees: list[tuple[float, float, float, Colour]] = field(default_factory=list)


def random_manner(rng: np.random.Generator) -> Manner:
    """Draw the character of a neighbourhood."""
    low = rng.uniform(12, 22)
    return Manner(
        roofs=ROOF_SETS[int(rng.integers(len(ROOF_SETS)))],
        lawn_share=float(rng.beta(1.2, 1.0)),
        pool_share=float(rng.uniform(0, 0.55)),
        trees_per_plot=float(rng.gamma(1.8, 1.9)),
        hedges_per_plot=float(rng.uniform(1, 10)),
        plot_m=(float(low), float(low + rng.uniform(2, 8))),
        flat_share=float(rng.choice([0.0, 0.1, 0.7], p=[0.5, 0.35, 0.15])),
        yard=choose(rng, YARDS),
    )


DEMO_MANNER = Manner(
    roofs=(*ROOF_SETS[0], *ROOF_SETS[1]),
    lawn_share=0.35,
    pool_share=0.3,
    trees_per_plot=3.4,
    hedges_per_plot=6,
    plot_m=(17, 22),
    flat_share=0.12,
    yard=YARDS[0],
)


@dataclass(frozen=True)
class Plot:
    """A plot's own frame: x across in metres from its middle, y inwards from the street."""

    origin: NDArray[np.float64]
    right: NDArray[np.float64]
    inward: NDArray[np.float64]

    def at(self, x: float, y: float) -> NDArray[np.float64]:
        """Map plot metres to pixels."""
        return self.origin + x * self.right + y * self.inward

    def box(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
        """Corners (4, 2) in pixels of a rectangle in plot metres."""
        return np.array([self.at(x0, y0), self.at(x1, y0), self.at(x1, y1), self.at(x0, y1)])


def plot_at(frame: Frame, u: float, v: float, side: int) -> Plot:
    """Return the plot frame with its street side at (u, v); `side` 1 faces lower v, -1 higher."""
    spots = frame.to_px(np.array([[u, v], [u + 1.0, v]]))
    right = spots[1] - spots[0]
    right /= np.hypot(*right) * frame.resolution_m
    inward = np.array([-right[1], right[0]]) * side
    return Plot(spots[0], right, inward)


def build_row(
    site: Site,
    frame: Frame,
    rng: np.random.Generator,
    manner: Manner,
    span: tuple[float, float],
    v: float,
    depth: float,
    side: int,
) -> None:
    """Fill a row of plots along the street at `v` from u = span[0] to span[1]."""
    count = max(1, round((span[1] - span[0]) / rng.uniform(*manner.plot_m)))
    width = (span[1] - span[0]) / count
    for n in range(count):
        plot = plot_at(frame, span[0] + (n + 0.5) * width, v, side)
        if rng.random() < 0.03:
            continue
        build_plot(site, plot, rng, manner, width, depth)


def build_plot(site: Site, plot: Plot, rng: np.random.Generator, manner: Manner, width: float, depth: float) -> None:
    """Draw one plot: yard, lawn, drive, house, pool and trees."""
    half = width / 2
    drive_side = float(rng.choice([-1, 1]))
    setback = rng.uniform(5.0, 8.0)
    house_w = width - rng.uniform(2.4, 4.5)
    house_d = min(rng.uniform(10, 15), depth - setback - 5)
    _plot_ground(site, plot, rng, manner, half, depth, setback + house_d)
    drive_x = drive_side * (house_w / 2 - 3.2)
    drive = jitter(rng, choose(rng, CONCRETES), 4)
    site.ground.polygon(plot.box(drive_x - 2.8, -1.5, drive_x + 2.8, setback), drive, Cover.DRIVEWAY_OR_SIDEWALK)
    if rng.random() < 0.5:
        add_car(site, plot.at(drive_x + rng.uniform(-1.2, 1.2), setback - 2.9), plot.inward, rng)
    roof = jitter(rng, choose(rng, manner.roofs), 6)
    if rng.random() < manner.flat_share:
        flat_roof(site, plot.box(-house_w / 2, setback, house_w / 2, setback + house_d), roof, 3.6, rng)
    else:
        _house(site, plot, roof, (house_w, house_d, setback), drive_side, rng)
    if rng.random() < 0.25:
        shed = plot.box(half - 5, depth - 4.5, half - 1.2, depth - 1.2)
        pitched_roof(site, shed, jitter(rng, (150, 146, 138), 14), 2.4, rng.random() < 0.5)
    _plot_trees(site, plot, rng, manner, (half, depth, setback, house_d))


def _plot_ground(
    site: Site,
    plot: Plot,
    rng: np.random.Generator,
    manner: Manner,
    half: float,
    depth: float,
    back: float,
) -> None:
    ground = site.ground
    green = rng.random() < manner.lawn_share
    lawn = jitter(rng, choose(rng, LAWNS), 5)
    ground.polygon(plot.box(-half, 0, half, depth), jitter(rng, manner.yard, 7), Cover.SOIL)
    if green:
        ground.polygon(plot.box(-half + 0.4, 0.2, half - 0.4, back - 4), lawn, Cover.GRASS)
    if rng.random() < 0.25 + 0.5 * manner.lawn_share:
        x0, x1 = np.sort(rng.uniform(-half, half, 2))
        if x1 - x0 > 3:
            ground.polygon(plot.box(x0, back, x1, depth - 0.6), lawn, Cover.GRASS)
    patio = jitter(rng, choose(rng, CONCRETES), 5)
    reach = rng.uniform(2, 5)
    ground.polygon(plot.box(-half * 0.6, back - 1, half * 0.6, back + reach), patio, Cover.DRIVEWAY_OR_SIDEWALK)
    if rng.random() < manner.pool_share and depth - back > 8:
        _pool(site, plot, rng, rng.uniform(-0.4, 0.4) * half, (back + depth) / 2 + 1)
    fence = jitter(rng, (120, 112, 100), 12)
    ground.line(plot.box(-half, back, half, depth)[[1, 2, 3, 0]], fence, 0.5, Cover.SOIL)


def _pool(site: Site, plot: Plot, rng: np.random.Generator, x: float, y: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    long, short = rng.uniform(3.5, 5.2), rng.uniform(1.8, 2.6)
    bulge = 1 + rng.uniform(0, 0.25) * np.cos(2 * turn + rng.uniform(0, 6))
    for grow, colour, code in (
        (1.3, jitter(rng, CONCRETES[2], 4), Cover.DRIVEWAY_OR_SIDEWALK),
        (0.0, jitter(rng, choose(rng, POOLS), 6), Cover.WATER),
    ):
        ring = [plot.at(x + (long * b + grow) * np.cos(t), y + (short * b + grow) * np.sin(t)) for t, b in zip(turn, bulge, strict=True)]
        site.ground.polygon(np.array(ring), colour, code)


def _house(
    site: Site,
    plot: Plot,
    roof: Colour,
    size: tuple[float, float, float],
    drive_side: float,
    rng: np.random.Generator,
) -> None:
    width, depth, setback = size
    half, hip = width / 2, bool(rng.random() < 0.7)
    step = rng.uniform(1.5, 4.0)
    wing = min(rng.uniform(6.2, 8.0), width * 0.55)
    main = plot.box(-half, setback + step, half, setback + depth)
    x0, x1 = sorted((drive_side * half, drive_side * (half - wing)))
    garage = plot.box(x0, setback, x1, setback + step + depth * 0.45)
    parts = [main, garage]
    if rng.random() < 0.4:
        x0, x1 = sorted((-drive_side * half, -drive_side * (half - wing * 0.8)))
        parts.append(plot.box(x0, setback + depth * 0.6, x1, setback + depth + rng.uniform(2, 4)))
    height = 3.4 if rng.random() < 0.6 else 6.0
    for part in parts:
        pitched_roof(site, part, roof, height, hip)


def _plot_trees(
    site: Site,
    plot: Plot,
    rng: np.random.Generator,
    manner: Manner,
    size: tuple[float, float, float, float],
) -> None:
    half, depth, setback, house_d = size
    for _ in range(int(rng.poisson(manner.trees_per_plot))):
        spot = rng.random()
        if spot < 0.35:
            y = rng.uniform(-2.5, setback - 1)
        elif spot < 0.9:
            y = rng.uniform(setback + house_d + 1, depth)
        else:
            y = rng.uniform(0, depth)
        x, y = plot.at(rng.uniform(-half, half), y)
        site.trees.append((x, y, rng.gamma(2.6, 0.9) + 0.6, jitter(rng, choose(rng, CROWNS), 6)))
    for _ in range(int(rng.poisson(manner.hedges_per_plot))):
        along_fence = rng.random() < 0.6
        y = rng.uniform(setback + house_d, depth) if along_fence else rng.uniform(0.5, setback - 0.5)
        x = half * float(rng.choice([-1, 1])) * rng.uniform(0.9, 1.0) if along_fence else rng.uniform(-half, half)
        at = plot.at(x, y)
        site.trees.append((at[0], at[1], rng.uniform(0.5, 1.2), jitter(rng, choose(rng, CROWNS), 7)))


def pitched_roof(site: Site, corners: NDArray[np.float64], colour: Colour, height_m: float, hip: bool) -> None:
    """Draw a hip or gable roof over the rectangle `corners` (4, 2) and cast its shadow."""
    a, b, c, d = corners
    if np.hypot(*(b - a)) < np.hypot(*(d - a)):
        a, b, c, d = b, c, d, a
    long, short = np.hypot(*(b - a)), np.hypot(*(d - a))
    inset = min(short / 2, long * 0.45) / long if hip else 0.0
    start, end = (a + d) / 2, (b + c) / 2
    ridge0, ridge1 = start + inset * (end - start), end - inset * (end - start)
    toward = site.canvas.sun.toward
    for face, base in (
        ([a, b, ridge1, ridge0], a + b - c - d),
        ([c, d, ridge0, ridge1], c + d - a - b),
        ([b, c, ridge1], end - start),
        ([d, a, ridge0], start - end),
    ):
        facing = float(base @ toward / max(np.hypot(*base), 1e-6))
        lit = 1 + 0.15 * facing
        shaded = (colour[0] * lit, colour[1] * lit, colour[2] * lit)
        if hip or len(face) == 4:
            site.roofs.polygon(np.array(face), shaded, Cover.BUILDING)
    _shadow(site, corners, height_m)


def flat_roof(
    site: Site,
    corners: NDArray[np.float64],
    colour: Colour,
    height_m: float,
    rng: np.random.Generator,
) -> None:
    """Draw a flat roof with parapet and roof units over `corners` (4, 2)."""
    middle = corners.mean(axis=0)
    edge = (colour[0] * 0.86, colour[1] * 0.86, colour[2] * 0.86)
    site.roofs.polygon(corners, edge, Cover.BUILDING)
    site.roofs.polygon(middle + 0.955 * (corners - middle), colour, Cover.BUILDING)
    span, rise = corners[1] - corners[0], corners[3] - corners[0]
    area = np.hypot(*span) * np.hypot(*rise) * site.canvas.resolution_m**2
    for _ in range(int(rng.poisson(min(area / 130, 25)))):
        spot = corners[0] + rng.uniform(0.1, 0.9) * span + rng.uniform(0.1, 0.9) * rise
        size = site.canvas.px(rng.uniform(0.7, 1.6)) / 2
        unit = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size + spot
        dark = (colour[0] * 0.55, colour[1] * 0.55, colour[2] * 0.58)
        site.roofs.polygon(unit - site.canvas.sun.toward * size, dark, Cover.BUILDING)
        site.roofs.polygon(unit, jitter(rng, (170, 170, 168), 14), Cover.BUILDING)
    _shadow(site, corners, height_m)


def add_car(site: Site, centre: NDArray[np.float64], heading: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Draw a parked or moving car, with windows and shadow, heading along `heading`."""
    px = site.canvas.px
    ahead = heading / np.hypot(*heading)
    side = np.array([-ahead[1], ahead[0]])
    long, broad = px(rng.uniform(4.2, 5.2)) / 2, px(rng.uniform(1.8, 2.1)) / 2

    def part(from_: float, to: float, share: float) -> NDArray[np.float64]:
        lo, hi, w = centre + from_ * long * ahead, centre + to * long * ahead, share * broad * side
        return np.array([lo - w, hi - w, hi + w, lo + w])

    body = part(-1, 1, 1)
    paint = jitter(rng, choose(rng, CARS), 8)
    dim = (0.55 * paint[0] + 14, 0.55 * paint[1] + 15, 0.55 * paint[2] + 19)
    offset = site.canvas.sun.shadow_m(1.2) / site.canvas.resolution_m
    site.low.polygon(body + offset, (44, 45, 52), Cover.PARKING_OR_LOT)
    site.low.polygon(body, paint, Cover.PARKING_OR_LOT)
    site.low.polygon(part(0.2, 0.48, 0.85), dim, Cover.PARKING_OR_LOT)
    site.low.polygon(part(-0.75, -0.58, 0.8), dim, Cover.PARKING_OR_LOT)


def _shadow(site: Site, corners: NDArray[np.float64], height_m: float) -> None:
    site.shadows.prism(corners, site.canvas.sun.shadow_m(height_m) / site.canvas.resolution_m)
