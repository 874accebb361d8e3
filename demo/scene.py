"""Generated aerial scenes: an image, its land cover and its road centrelines, all in agreement."""

from dataclasses import dataclass
from typing import Literal

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from shapely import LineString, box, line_merge, unary_union
from shapely.geometry.base import BaseGeometry

from demo.blocks import fill_block
from demo.canvas import Canvas, Layer, ShadowLayer
from demo.corridors import paint_channel, paint_levee, paint_rail
from demo.cover import Cover
from demo.houses import DEMO_MANNER, Site, add_car, random_manner
from demo.look import DEMO_LOOK, Look, develop, random_look
from demo.noise import smooth_noise
from demo.plan import RECIPES, Plan, draw_plan
from demo.plants import gather, scatter_shrubs, stamp
from demo.ribbons import densify, offset, tangents
from demo.roads import Road, paint_paved, paint_unpaved
from demo.terrain import paint_soil, paint_wash

__all__ = ["Cover", "Scene", "SceneSettings", "demo_scene", "make_scene", "road_mask"]

SHORTEST_M = 4.0


@dataclass(frozen=True)
class SceneSettings:
    """What to generate.

    Attributes:
        seed: Same seed and settings, same scene to the last bit.
        width: Pixels across.
        height: Pixels down.
        resolution_m: Metres per pixel.
        epsg: Code of a projected CRS in metres.
        origin_xy: Map x and y of the top left corner, metres.
        setting: Town beside open ground, town, open ground, ground full of dirt roads, or one of these by chance.
        randomise_look: Draw light, colours and camera from the seed; False gives the demo's look.
    """

    seed: int = 0
    width: int = 1024
    height: int = 1024
    resolution_m: float = 0.5
    epsg: int = 26911
    origin_xy: tuple[float, float] = (540000.0, 3748000.0)
    setting: Literal["desert_edge", "suburb", "desert", "margins", "random"] = "random"
    randomise_look: bool = True


@dataclass(frozen=True)
class Scene:
    """A generated scene.

    Attributes:
        rgb: (3, H, W) uint8, red green blue.
        cover: (H, W) uint8 codes of `Cover`; roads keep their code under crowns and vehicles.
        roads: LineString centrelines inside the scene, in `epsg`, with columns surface ("paved"
            or "unpaved"), kind (see `Road`) and width_m.
        transform: Pixel (col, row) to map (x, y) in metres.
        epsg: Code of the CRS.
    """

    rgb: NDArray[np.uint8]
    cover: NDArray[np.uint8]
    roads: gpd.GeoDataFrame
    transform: Affine
    epsg: int


def make_scene(settings: SceneSettings) -> Scene:
    """Generate the scene that `settings` describe."""
    rngs = [np.random.default_rng([settings.seed, stage]) for stage in range(6)]
    setting: str = settings.setting
    if setting == "random":
        setting = str(rngs[0].choice(["suburb", "desert_edge", "desert", "margins"], p=[0.3, 0.2, 0.15, 0.35]))
    look = random_look(rngs[1]) if settings.randomise_look else DEMO_LOOK
    shape = (settings.height, settings.width)
    plan = draw_plan(shape, settings.resolution_m, RECIPES[setting], look, rngs[2])
    canvas = Canvas.blank(shape, settings.resolution_m, look.sun)
    _paint(canvas, plan, look, rngs[3], settings.randomise_look)
    step = settings.resolution_m
    transform = Affine(step, 0, settings.origin_xy[0], 0, -step, settings.origin_xy[1])
    rgb = develop(canvas.rgb, look, rngs[4])
    return Scene(rgb, canvas.cover, _centrelines(plan, settings, transform), transform, settings.epsg)


def demo_scene() -> Scene:
    """Generate the scene bundled with the app: the edge of a desert town, 2048 by 1536 pixels."""
    return make_scene(SceneSettings(seed=228, width=2048, height=1536, setting="desert_edge", randomise_look=False))


def road_mask(scene: Scene, include_trails: bool = True) -> NDArray[np.uint8]:
    """Return the true roads of `scene`, also where trees or vehicles hide them.

    Args:
        scene: A generated scene.
        include_trails: Count trails as unpaved roads, otherwise as background.

    Returns:
        (H, W) uint8: 0 background, 1 paved, 2 unpaved.
    """
    classes = np.zeros(max(Cover) + 1, np.uint8)
    classes[Cover.PAVED_ROAD] = 1
    classes[Cover.UNPAVED_ROAD] = 2
    classes[Cover.TRAIL] = 2 if include_trails else 0
    return classes[scene.cover]


def _paint(canvas: Canvas, plan: Plan, look: Look, rng: np.random.Generator, varied: bool) -> None:
    density = paint_soil(canvas, look, rng)
    for line, width_m in plan.washes:
        plain = paint_wash(canvas, look, rng, line, width_m)
        density[plain] = np.clip(density[plain] * 1.6, 0, 1)
        density[canvas.cover == Cover.WASH] *= 0.06
    for line in plan.channels:
        paint_channel(canvas, rng, line)
    for line in plan.rails:
        paint_rail(canvas, rng, line)
    for line, crest_m in plan.levees:
        paint_levee(canvas, rng, line, crest_m)
    lots, ground, low, roofs = (Layer(canvas.shape) for _ in range(4))
    site = Site(canvas, lots, ground, low, roofs, ShadowLayer(canvas.shape))
    manner = random_manner(rng) if varied else DEMO_MANNER
    for block, stub in plan.blocks:
        if varied and rng.random() < 0.15:
            manner = random_manner(rng)
        fill_block(site, plan.frame, block, rng, manner, look, stub)
    scraped = 0.45 + 0.3 * smooth_noise(rng, canvas.shape, canvas.px(11))
    site.lots.lay_over(canvas, _texture(canvas, rng, 0.05), np.clip(scraped, 0, 0.95))
    site.ground.lay_over(canvas, texture=_texture(canvas, rng, 0.055 * look.texture))
    paint_unpaved(canvas, plan.unpaved, rng)
    paint_paved(canvas, plan.paved, look, rng)
    density[ndimage.binary_dilation(plan.ground.barred, iterations=3)] = 0
    biome = look.biome
    shrubs = scatter_shrubs(canvas, rng, density, biome.shrubs_per_ha, biome.shrubs)
    stamp(canvas, shrubs, rng, look.shadow)
    _place_cars(site, plan.paved, rng)
    site.shadows.cast(canvas, look.shadow)
    site.low.lay_over(canvas)
    site.roofs.lay_over(canvas, texture=_texture(canvas, rng, 0.03 * look.texture))
    stamp(canvas, gather(site.trees), rng, look.shadow)


def _texture(canvas: Canvas, rng: np.random.Generator, amount: float) -> NDArray[np.float32]:
    fine = rng.standard_normal(canvas.shape, dtype=np.float32)
    coarse = smooth_noise(rng, canvas.shape, canvas.px(2.5))
    return 1 + np.float32(amount) * (0.7 * fine + coarse)


def _place_cars(site: Site, roads: list[Road], rng: np.random.Generator) -> None:
    """Park cars along the streets and put some on the main roads."""
    px = site.canvas.px
    busy = rng.gamma(1.2, 0.35)
    for road in roads:
        line = densify(road.line, px(7))
        lanes = (1.2,) if road.kind == "street" else (road.width_m / 2 - 1.8, road.width_m / 2 - 5.3)
        chance = min(0.25 * busy, 0.5) if road.kind == "street" else 0.03
        for side in (-1, 1):
            for lane in lanes:
                shift = side * px(road.width_m / 2 - lane if road.kind == "street" else lane)
                spots, ahead = offset(line, shift), tangents(line)
                for n in np.flatnonzero(rng.random(len(line)) < chance).tolist():
                    add_car(site, spots[n], ahead[n], rng)


def _centrelines(plan: Plan, settings: SceneSettings, transform: Affine) -> gpd.GeoDataFrame:
    """Clip the roads to the scene; unpaved ones end where a paved road or its sidewalk begins."""
    frame = box(0, 0, settings.width, settings.height)
    pavement = unary_union([LineString(r.line).buffer(r.reach_m / settings.resolution_m) for r in plan.paved])
    records, lines = [], []
    for road in [*plan.paved, *plan.unpaved]:
        line = LineString(road.line).intersection(frame)
        if road.surface == "unpaved":
            line = line.difference(pavement)
        for part in _parts(line):
            if part.length * settings.resolution_m < SHORTEST_M:
                continue
            xy = np.column_stack(transform * np.asarray(part.coords).T)
            lines.append(LineString(xy))
            records.append((road.surface, road.kind, round(road.width_m, 2)))
    surface, kind, width_m = zip(*records, strict=True) if records else ((), (), ())
    columns = {"surface": list(surface), "kind": list(kind), "width_m": list(width_m)}
    return gpd.GeoDataFrame(columns, geometry=lines, crs=settings.epsg)


def _parts(geometry: BaseGeometry) -> list[LineString]:
    """Split any intersection result into its lines."""
    if geometry.geom_type == "MultiLineString":
        geometry = line_merge(geometry)
    members = getattr(geometry, "geoms", [geometry])
    return [part for part in members if part.geom_type == "LineString" and not part.is_empty]
