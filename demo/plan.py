"""What a scene contains, as lines and blocks, before anything is painted."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.blocks import Stub, box_px, draw_stub
from demo.look import Look
from demo.paths import Ground, border_start, branch_start, free_share, wander
from demo.ribbons import densify, offset, smooth
from demo.roads import Road
from demo.streets import OPEN, Block, Frame, Town, lay_out, town_roads

BARRED_KINDS = ("houses", "shops", "park", "orchard", "field")


@dataclass(frozen=True)
class Recipe:
    """How a setting is composed.

    Attributes:
        kinds: Block kinds inside the town and their shares.
        outside: Block kinds outside the town and their shares.
        town_reach: Radii of the town's discs as shares of the scene's half diagonal.
        mains: Chance of a main road along v and along u.
        washes, rails, channels: Mean number of each.
        tracks_per_km2, trails_per_km2: Unpaved ways per square kilometre of open ground.
        graded_share: Chance that a grid line through open ground is a graded dirt road.
        levees: Mean number of embankments with a dirt road on top.
        service_share: Chance that a dirt road runs beside a railway or channel, for each side.
        lot_paths: Mean number of worn paths across a bare lot in town.
        track_m: Least and largest width of a track.
        track_contrast: How much a track or trail hides the soil: least, most.
    """

    kinds: dict[str, float]
    outside: dict[str, float]
    town_reach: tuple[float, ...]
    mains: tuple[float, float]
    washes: float
    rails: float
    channels: float
    tracks_per_km2: float
    trails_per_km2: float
    graded_share: float
    levees: float = 0.0
    service_share: float = 0.0
    lot_paths: float = 0.0
    track_m: tuple[float, float] = (2.6, 4.2)
    track_contrast: tuple[float, float] = (0.4, 0.95)


RECIPES = {
    "desert_edge": Recipe(
        kinds={"houses": 0.66, "shops": 0.1, "park": 0.05, "bare": 0.19},
        outside={OPEN: 0.985, "field": 0.005, "orchard": 0.01},
        town_reach=(0.5, 0.3),
        mains=(0.8, 0.8),
        washes=0.9,
        rails=0.3,
        channels=0.1,
        tracks_per_km2=26,
        trails_per_km2=26,
        graded_share=0.12,
    ),
    "suburb": Recipe(
        kinds={
            "houses": 0.64,
            "shops": 0.13,
            "park": 0.06,
            "bare": 0.12,
            "orchard": 0.02,
            "field": 0.03,
        },
        outside={OPEN: 1.0},
        town_reach=(9.0,),
        mains=(0.6, 0.6),
        washes=0.05,
        rails=0.12,
        channels=0.2,
        tracks_per_km2=40,
        trails_per_km2=30,
        graded_share=0.0,
        service_share=0.4,
        lot_paths=2.0,
        track_contrast=(0.5, 1.0),
    ),
    "desert": Recipe(
        kinds={"houses": 1.0},
        outside={OPEN: 0.9, "field": 0.06, "orchard": 0.04},
        town_reach=(),
        mains=(0.55, 0.35),
        washes=1.2,
        rails=0.25,
        channels=0.15,
        tracks_per_km2=40,
        trails_per_km2=40,
        graded_share=0.14,
        service_share=0.4,
        track_contrast=(0.4, 1.0),
    ),
    "margins": Recipe(
        kinds={"houses": 0.55, "shops": 0.1, "park": 0.05, "bare": 0.3},
        outside={OPEN: 0.97, "field": 0.02, "orchard": 0.01},
        town_reach=(0.35, 0.3),
        mains=(0.5, 0.5),
        washes=0.6,
        rails=0.6,
        channels=0.3,
        tracks_per_km2=80,
        trails_per_km2=60,
        graded_share=0.2,
        levees=0.8,
        service_share=0.6,
        lot_paths=2.0,
        track_m=(2.4, 7.0),
        track_contrast=(0.55, 1.0),
    ),
}


@dataclass(frozen=True)
class Plan:
    """Lines and blocks of a scene, in pixels unless said otherwise.

    Attributes:
        frame: The town's frame.
        blocks: Town blocks, each with its cul-de-sac, if any.
        paved, unpaved: Roads in painting order.
        washes: (line, width in metres) of the river beds.
        rails, channels: Lines.
        levees: (line, width in metres of the crest) of the embankments; the road on top is in `unpaved`.
        ground: Where built-up land lies.
    """

    frame: Frame
    blocks: list[tuple[Block, Stub | None]]
    paved: list[Road]
    unpaved: list[Road]
    washes: list[tuple[NDArray[np.float64], float]]
    rails: list[NDArray[np.float64]]
    channels: list[NDArray[np.float64]]
    levees: list[tuple[NDArray[np.float64], float]]
    ground: Ground = field(repr=False)


def draw_plan(
    shape: tuple[int, int],
    resolution_m: float,
    recipe: Recipe,
    look: Look,
    rng: np.random.Generator,
) -> Plan:
    """Compose a scene of (height, width) pixels."""
    town = _draw_town(shape, resolution_m, recipe, rng)
    tones = (look.street, look.main_road)
    paved = town_roads(town, rng, tones, divided_share=0.35)
    blocks: list[tuple[Block, Stub | None]] = []
    half = float(np.median(town.half_v))
    for block in town.blocks():
        stub = draw_stub(block, town.frame, rng, 2 * half, look.street, town.sidewalk_m)
        blocks.append((block, stub))
        if stub is not None:
            paved.append(stub.road)
    ground = _bar(shape, town.frame, blocks)
    for road in paved:
        ground.occupy(road.line, (road.width_m / 2 + 5) / resolution_m)
    washes = [_wash(_beside_town(ground, rng), resolution_m, rng) for _ in range(rng.poisson(recipe.washes))]
    rails = [_beside_town(ground, rng) for _ in range(rng.poisson(recipe.rails))]
    channels = [_beside_town(ground, rng) for _ in range(rng.poisson(recipe.channels))]
    for line in rails + channels:
        ground.occupy(line, 8 / resolution_m)
    unpaved = _graded_roads(town, look, recipe, rng)
    levees: list[tuple[NDArray[np.float64], float]] = []
    if recipe.levees:
        levees = [(_beside_town(ground, rng), float(rng.uniform(4, 17))) for _ in range(rng.poisson(recipe.levees))]
        unpaved += [_earth_road(line, width_m, "levee_road", look, rng) for line, width_m in levees]
    if recipe.service_share:
        unpaved += _service_roads(rails + channels, resolution_m, look, recipe, rng)
    if recipe.lot_paths:
        unpaved += [road for block, _ in blocks if block.kind == "bare" for road in _lot_paths(block, town.frame, look, recipe, rng)]
    for road in unpaved:
        ground.occupy(road.line, max(road.width_m / 2 + 6, 10) / resolution_m)
    unpaved += _worn_paths(ground, paved, resolution_m, recipe, look, rng)
    return Plan(town.frame, blocks, paved, unpaved, washes, rails, channels, levees, ground)


def _draw_town(shape: tuple[int, int], resolution_m: float, recipe: Recipe, rng: np.random.Generator) -> Town:
    height, width = shape
    reach = float(np.hypot(height, width)) / 2 * resolution_m
    centre = (width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6))
    turn = rng.normal(0, 0.08) if rng.random() < 0.45 else rng.uniform(-np.pi / 4, np.pi / 4)
    bend = 0.0 if rng.random() < 0.35 else rng.uniform(5, 26)
    wave, phase = rng.uniform(380, 700), rng.uniform(0, 2 * np.pi, 2)
    frame = Frame(
        centre,
        float(turn),
        float(bend),
        float(wave),
        (float(phase[0]), float(phase[1])),
        resolution_m,
    )
    kind_at = _town_field(recipe, reach, rng)
    mains = (int(rng.random() < recipe.mains[0]), int(rng.random() < recipe.mains[1]))
    return lay_out(rng, frame, reach * 1.25 + bend, kind_at, mains, (8.0, 12.5))


def _town_field(recipe: Recipe, reach: float, rng: np.random.Generator) -> Callable[[float, float], str]:
    """Return the function that names the block at (u, v): town discs in open ground."""
    angle = rng.uniform(0, 2 * np.pi)
    discs = [
        (
            reach * 0.62 * np.array([np.cos(angle + n * np.pi), np.sin(angle + n * np.pi)]),
            share * reach,
        )
        for n, share in enumerate(recipe.town_reach)
    ]

    def kind_at(u: float, v: float) -> str:
        inside = any(np.hypot(u - c[0], v - c[1]) < r for c, r in discs)
        options = recipe.kinds if inside else recipe.outside
        return str(rng.choice(list(options), p=list(options.values())))

    return kind_at


def _bar(shape: tuple[int, int], frame: Frame, blocks: list[tuple[Block, Stub | None]]) -> Ground:
    built = Image.new("L", shape[::-1])
    pen = ImageDraw.Draw(built)
    for block, _ in blocks:
        if block.kind in BARRED_KINDS:
            pen.polygon(list(map(tuple, box_px(frame, block.box).tolist())), fill=1)
    return Ground(np.asarray(built) > 0, np.zeros(shape, bool))


def _graded_roads(town: Town, look: Look, recipe: Recipe, rng: np.random.Generator) -> list[Road]:
    roads = []
    for axis, line, first, last, built in town.runs():
        mains = town.main_u if axis == "u" else town.main_v
        if built or line in mains or rng.random() > recipe.graded_share or last - first < 2:
            continue
        path = town.line_px(axis, line, first, last)
        tone = _worn_tone(look, rng)
        roads.append(
            Road(
                path,
                "unpaved",
                "graded_road",
                float(rng.uniform(4.5, 7)),
                tone,
                contrast=float(rng.uniform(0.75, 0.95)),
                crown=float(rng.uniform(0, 0.25)),
                edge_m=0.9,
            )
        )
    return roads


def _earth_road(line: NDArray[np.float64], width_m: float, kind: str, look: Look, rng: np.random.Generator) -> Road:
    """A dirt road that vehicles keep smooth, sharper at its edges than a track."""
    tone = _worn_tone(look, rng)
    contrast, crown = rng.uniform(0.7, 1.0), rng.uniform(0, 0.2)
    return Road(line, "unpaved", kind, width_m, tone, contrast=float(contrast), crown=float(crown), edge_m=0.8)


def _service_roads(
    lines: list[NDArray[np.float64]], resolution_m: float, look: Look, recipe: Recipe, rng: np.random.Generator
) -> list[Road]:
    """Dirt roads along railways and channels, on either side."""
    roads = []
    for line in lines:
        for side in (-1, 1):
            if rng.random() < recipe.service_share:
                width_m, gap_m = float(rng.uniform(2.6, 6.0)), rng.uniform(5, 12)
                beside = offset(line, side * (gap_m + width_m) / resolution_m)
                roads.append(_earth_road(beside, width_m, "service_road", look, rng))
    return roads


def _lot_paths(block: Block, frame: Frame, look: Look, recipe: Recipe, rng: np.random.Generator) -> list[Road]:
    """Short cuts that walkers and vehicles wear across a bare lot, from one side to another."""
    u0, v0, u1, v1 = block.box[0] + 2, block.box[1] + 2, block.box[2] - 2, block.box[3] - 2
    paths = []
    for _ in range(rng.poisson(recipe.lot_paths)):
        a, b = rng.uniform(0.08, 0.92, 2)
        corners = {0: (u0 + a * (u1 - u0), v0), 1: (u1, v0 + a * (v1 - v0)), 2: (u0 + b * (u1 - u0), v1), 3: (u0, v0 + b * (v1 - v0))}
        first, last = rng.choice(4, 2, replace=False)
        line = densify(np.array([corners[int(first)], corners[int(last)]], np.float64), 3.0)
        sway = smooth(rng.standard_normal((len(line), 2)), 6) * rng.uniform(0, 18)
        fade = np.sin(np.linspace(0, np.pi, len(line)))[:, None]
        kind = "track" if rng.random() < 0.5 else "trail"
        paths.append(_worn_road(frame.to_px(line + sway * fade), kind, look, recipe, rng))
    return paths


def _worn_paths(
    ground: Ground,
    paved: list[Road],
    resolution_m: float,
    recipe: Recipe,
    look: Look,
    rng: np.random.Generator,
) -> list[Road]:
    """Wear tracks first, then trails, each starting at the border, a road or another path."""
    open_km2 = float((~ground.barred).sum()) * resolution_m**2 / 1e6
    paths: list[Road] = []
    for kind, per_km2 in (("track", recipe.tracks_per_km2), ("trail", recipe.trails_per_km2)):
        wanted = int(np.ceil(per_km2 * open_km2))
        for _ in range(wanted * 6):
            if wanted == 0:
                break
            line = _try_path(ground, paved, paths, kind, resolution_m, rng)
            if line is None:
                continue
            paths.append(_worn_road(line, kind, look, recipe, rng))
            ground.occupy(line, (9 if kind == "track" else 6) / resolution_m)
            wanted -= 1
    return paths


def _try_path(
    ground: Ground,
    paved: list[Road],
    paths: list[Road],
    kind: str,
    resolution_m: float,
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    draw = rng.random()
    if draw < 0.4 or not (paved or paths):
        start, heading = border_start(rng, ground.shape)
    else:
        pool = paths if paths and (draw < 0.72 or not paved) else paved or paths
        start, heading = branch_start(rng, pool[int(rng.integers(len(pool)))].line)
    if not ground.is_open(start):
        return None
    restless = rng.uniform(0.1, 0.7) if kind == "track" else rng.uniform(0.3, 1.3)
    longest = rng.uniform(150, 900) / resolution_m
    line = wander(rng, ground, start, heading, float(restless), longest)
    length = np.hypot(*np.diff(line, axis=0).T).sum() * resolution_m
    clear = free_share(ground, line)
    return line if length > 55 and clear > 0.72 else None


def _worn_road(line: NDArray[np.float64], kind: str, look: Look, recipe: Recipe, rng: np.random.Generator) -> Road:
    tone = _worn_tone(look, rng)
    if kind == "track":
        width, contrast, crown = rng.uniform(*recipe.track_m), rng.uniform(*recipe.track_contrast), rng.uniform(0, 0.8)
    else:
        width, contrast, crown = rng.uniform(1.0, 2.2), rng.uniform(*recipe.track_contrast), 0.0
    return Road(line, "unpaved", kind, float(width), tone, contrast=float(contrast), crown=float(crown))


def _worn_tone(look: Look, rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = np.array(look.biome.compact) + rng.normal(0, 5) + rng.normal(0, 1.2, 3)
    return float(red), float(green), float(blue)


def _beside_town(ground: Ground, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the best of some lines through the scene: long, and clear of built-up land."""
    height, width = ground.shape

    def worth(line: NDArray[np.float64]) -> float:
        cols, rows = densify(line, 8).astype(int).T
        inside = (cols >= 0) & (rows >= 0) & (cols < width) & (rows < height)
        built = ground.barred[rows[inside], cols[inside]].sum()
        return min(int(inside.sum()) * 8 / (height + width), 0.4) - 0.02 * float(built)

    return max((_crossing(ground.shape, rng) for _ in range(10)), key=worth)


def _crossing(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A nearly straight line through the scene, with one gentle curve."""
    height, width = shape
    reach = float(np.hypot(height, width))
    angle = rng.uniform(0, np.pi)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-ahead[1], ahead[0]])
    middle = np.array([width, height]) * rng.uniform(0.15, 0.85, 2)
    t = np.linspace(-1, 1, 120)
    bow = rng.normal(0, 0.06) * reach * t**2
    return middle + reach * t[:, None] * ahead + bow[:, None] * side


def _wash(line: NDArray[np.float64], resolution_m: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Let `line` wander as a river bed does; return it and the bed's width in metres."""
    side = line[-1] - line[0]
    normal = np.array([-side[1], side[0]]) / np.hypot(*side)
    sway = smooth(rng.standard_normal((len(line), 1)), 5)[:, 0]
    sway *= rng.uniform(15, 55) / resolution_m / max(float(sway.std()), 1e-6)
    return line + sway[:, None] * normal, float(rng.lognormal(3.7, 0.45))
