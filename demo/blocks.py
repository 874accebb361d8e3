"""What fills a town block: houses, shops, parks, orchards, fields or bare lots."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.canvas import Colour, choose, jitter
from demo.cover import Cover
from demo.houses import CROWNS, LAWNS, Manner, Plot, Site, add_car, build_plot, build_row, flat_roof
from demo.look import Look
from demo.ribbons import densify
from demo.roads import Road
from demo.streets import Block, Frame

STUB_FROM_M = 105.0
BULB_M = 11.0
WHITE: Colour = (196, 196, 194)


@dataclass(frozen=True)
class Stub:
    """A cul-de-sac inside a block: from u = mouth_u to the middle of its turning circle at end_u.

    Attributes:
        half_m: Half width, sidewalk included.
        road: The street itself.
    """

    mouth_u: float
    end_u: float
    half_m: float
    road: Road


def draw_stub(block: Block, frame: Frame, rng: np.random.Generator, width_m: float, tone: Colour, walk: float) -> Stub | None:
    """Return the cul-de-sac that opens a deep block of houses; None for shallow blocks."""
    u0, v0, u1, v1 = block.box
    if block.kind != "houses" or v1 - v0 < STUB_FROM_M or u1 - u0 < 70:
        return None
    middle = (v0 + v1) / 2
    far = u1 - BULB_M - 22
    mouth, edge = u0, u0 - walk - 4
    if rng.random() < 0.5:
        mouth, edge, far = u1, u1 + walk + 4, u0 + BULB_M + 22
    line = frame.to_px(densify(np.array([[edge, middle], [far, middle]]), 4.0))
    road = Road(line, "paved", "street", width_m, tone, sidewalk_m=walk, bulb_m=BULB_M)
    return Stub(mouth, far, width_m / 2 + walk + 0.6, road)


def fill_block(
    site: Site,
    frame: Frame,
    block: Block,
    rng: np.random.Generator,
    manner: Manner,
    look: Look,
    stub: Stub | None,
) -> None:
    """Draw what stands on `block`; `stub` is its cul-de-sac, if any."""
    if block.kind == "houses":
        _houses(site, frame, block, rng, manner, stub)
    elif block.kind == "shops":
        _shops(site, frame, block, rng, look)
    elif block.kind == "bare":
        _bare(site, frame, block, rng, look)
    elif block.kind == "park":
        _park(site, frame, block, rng)
    elif block.kind == "orchard":
        _orchard(site, frame, block, rng)
    elif block.kind == "field":
        _field(site, frame, block, rng)


def box_px(frame: Frame, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return a frame rectangle (u0, v0, u1, v1) as a closed, densified pixel outline."""
    u0, v0, u1, v1 = box
    ring = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1], [u0, v0]])
    return frame.to_px(densify(ring, 6.0))


def _houses(
    site: Site,
    frame: Frame,
    block: Block,
    rng: np.random.Generator,
    manner: Manner,
    stub: Stub | None,
) -> None:
    u0, v0, u1, v1 = block.box
    site.ground.polygon(box_px(frame, block.box), manner.yard, Cover.SOIL)
    if stub is None:
        depth = (v1 - v0) / 2
        build_row(site, frame, rng, manner, (u0, u1), v0, depth, 1)
        build_row(site, frame, rng, manner, (u0, u1), v1, depth, -1)
        return
    middle = (v0 + v1) / 2
    depth = (v1 - v0 - 2 * stub.half_m) / 4
    build_row(site, frame, rng, manner, (u0, u1), v0, depth, 1)
    build_row(site, frame, rng, manner, (u0, u1), v1, depth, -1)
    way = 1.0 if stub.end_u > stub.mouth_u else -1.0
    inner = min(stub.mouth_u, stub.end_u - 10 * way), max(stub.mouth_u, stub.end_u - 10 * way)
    build_row(site, frame, rng, manner, inner, middle - stub.half_m, depth, -1)
    build_row(site, frame, rng, manner, inner, middle + stub.half_m, depth, 1)
    centre, ahead = frame.to_px(np.array([[stub.end_u, middle], [stub.end_u + way, middle]]))
    heading = np.arctan2(*(ahead - centre)[::-1])
    for turn in (-1.15, -0.4, 0.4, 1.15):
        outward = np.array([np.cos(heading + turn), np.sin(heading + turn)]) / frame.resolution_m
        plot = Plot(centre + (BULB_M + 2) * outward, np.array([-outward[1], outward[0]]), outward)
        build_plot(site, plot, rng, manner, 13.0, min(depth, 21.0))


def _bare(site: Site, frame: Frame, block: Block, rng: np.random.Generator, look: Look) -> None:
    soil = look.biome.soils[int(rng.integers(3))] if rng.random() < 0.6 else look.biome.compact
    site.lots.polygon(box_px(frame, block.box), jitter(rng, soil, 9), Cover.SOIL)


def _shops(site: Site, frame: Frame, block: Block, rng: np.random.Generator, look: Look) -> None:
    u0, v0, u1, v1 = block.box
    tone = jitter(rng, look.street if rng.random() < 0.5 else look.main_road, 8, hue=1.0)
    site.ground.polygon(box_px(frame, block.box), tone, Cover.PARKING_OR_LOT)
    deep = (v1 - v0) * rng.uniform(0.35, 0.55)
    low = rng.random() < 0.5
    at = u0 + 4.0
    while at < u1 - 18:
        wide = min(rng.uniform(16, 60), u1 - 3 - at)
        hall = (at, v0 + 3, at + wide, v0 + deep) if low else (at, v1 - deep, at + wide, v1 - 3)
        corners = frame.to_px(np.array([[hall[0], hall[1]], [hall[2], hall[1]],
                                        [hall[2], hall[3]], [hall[0], hall[3]]]))  # fmt: skip
        roof = choose(rng, (WHITE, (186, 184, 178), (150, 148, 142), (120, 118, 116), (200, 199, 196)))
        flat_roof(site, corners, jitter(rng, roof, 6), rng.uniform(4.5, 8), rng)
        at += wide + (0.0 if rng.random() < 0.4 else rng.uniform(4, 22))
    lot = (u0 + 3, v0 + deep + 4, u1 - 3, v1 - 3) if low else (u0 + 3, v0 + 3, u1 - 3, v1 - deep - 4)
    _stalls(site, frame, lot, rng)


def _stalls(
    site: Site,
    frame: Frame,
    lot: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> None:
    """Draw rows of parking stalls with cars and trees."""
    u0, v0, u1, v1 = lot
    filled = rng.uniform(0.1, 0.8)
    v = v0 + 1.0
    while v + 5 < v1:
        for u in np.arange(u0 + 4, u1 - 4, 2.7):
            ends = frame.to_px(np.array([[u, v], [u, v + 4.8]]))
            site.low.line(ends, (168, 168, 164), 0.5, Cover.PARKING_OR_LOT)
            if rng.random() < filled:
                spot = frame.to_px(np.array([u + 1.35, v + 2.4]))
                add_car(site, spot, ends[1] - ends[0], rng)
            elif rng.random() < 0.03:
                x, y = frame.to_px(np.array([u + 1.3, v + 2.4]))
                site.trees.append((x, y, rng.uniform(1.2, 2.8), jitter(rng, CROWNS[0], 6)))
        v += 11.5 if rng.random() < 0.6 else 5.2


def _park(site: Site, frame: Frame, block: Block, rng: np.random.Generator) -> None:
    u0, v0, u1, v1 = block.box
    green = jitter(rng, choose(rng, LAWNS), 6)
    site.ground.polygon(box_px(frame, block.box), green, Cover.GRASS)
    stripe = (green[0] * 0.94, green[1] * 0.95, green[2] * 0.94)
    if rng.random() < 0.5:
        for u in np.arange(u0, u1 - 5, 10.0):
            site.ground.polygon(box_px(frame, (u, v0, u + 5, v1)), stripe, Cover.GRASS)
    for _ in range(int(rng.integers(0, 4))):
        ends = np.array([[rng.uniform(u0, u1), v0], [rng.uniform(u0, u1), (v0 + v1) / 2],
                         [rng.uniform(u0, u1), v1]])  # fmt: skip
        line = frame.to_px(_curve(ends))
        walk = jitter(rng, (168, 164, 154), 6)
        site.ground.line(line, walk, site.canvas.px(rng.uniform(1.5, 2.6)), Cover.DRIVEWAY_OR_SIDEWALK)
    for _ in range(int((u1 - u0) * (v1 - v0) / rng.uniform(150, 900))):
        x, y = frame.to_px(np.array([rng.uniform(u0, u1), rng.uniform(v0, v1)]))
        site.trees.append((x, y, rng.gamma(4, 0.8) + 1, jitter(rng, choose(rng, CROWNS), 6)))


def _orchard(site: Site, frame: Frame, block: Block, rng: np.random.Generator) -> None:
    u0, v0, u1, v1 = block.box
    colour, size = jitter(rng, choose(rng, CROWNS), 6), rng.uniform(1.4, 2.6)
    step = size * rng.uniform(2.2, 3.2)
    if rng.random() < 0.4:
        ground = jitter(rng, (96, 100, 70), 8)
        site.ground.polygon(box_px(frame, block.box), ground, Cover.GRASS)
    for u in np.arange(u0 + 3, u1 - 3, step):
        for v in np.arange(v0 + 3, v1 - 3, step):
            if rng.random() < 0.93:
                x, y = frame.to_px(np.array([u, v]))
                site.trees.append((x, y, size * rng.uniform(0.8, 1.15), jitter(rng, colour, 4)))


def _field(site: Site, frame: Frame, block: Block, rng: np.random.Generator) -> None:
    u0, v0, u1, v1 = block.box
    base = choose(rng, ((70, 92, 50), (92, 104, 62), (122, 112, 88), (138, 128, 102), (84, 80, 62)))
    tone = jitter(rng, base, 6)
    code = Cover.GRASS if base[1] > base[0] else Cover.SOIL
    site.ground.polygon(box_px(frame, block.box), tone, code)
    row = rng.uniform(1.5, 6)
    dark = (tone[0] * 0.93, tone[1] * 0.93, tone[2] * 0.93)
    for v in np.arange(v0, v1, 2 * row):
        site.ground.polygon(box_px(frame, (u0, v, u1, min(v + row, v1))), dark, code)


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bend a path of three points (3, 2) into a smooth curve."""
    t = np.linspace(0, 1, 30)[:, None]
    return (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
