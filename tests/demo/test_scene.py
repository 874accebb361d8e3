"""The generated scene is reproducible and its truth agrees with itself."""

import geopandas as gpd
import numpy as np
import pytest
from numpy.typing import NDArray

from demo.cover import Cover
from demo.scene import Scene, SceneSettings, demo_scene, make_scene, road_mask

SMALL = SceneSettings(seed=3, width=384, height=320)


@pytest.fixture(scope="module")
def demo() -> Scene:
    """The bundled scene."""
    return demo_scene()


def codes_along(scene: Scene, roads: gpd.GeoDataFrame) -> NDArray[np.uint8]:
    """Read the cover every two metres along the centrelines, half a metre off their ends."""
    points = [line.interpolate(at) for line in roads.geometry for at in np.arange(0.5, max(line.length - 0.5, 0.6), 2.0)]
    x, y = np.array([(p.x, p.y) for p in points]).T
    cols, rows = ~scene.transform * (x, y)
    height, width = scene.cover.shape
    return scene.cover[np.clip(rows.astype(int), 0, height - 1), np.clip(cols.astype(int), 0, width - 1)]


def test_same_seed_gives_the_same_scene() -> None:
    first, second = make_scene(SMALL), make_scene(SMALL)
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.cover, second.cover)
    assert first.roads.equals(second.roads)


def test_another_seed_gives_another_scene() -> None:
    other = make_scene(SceneSettings(seed=4, width=384, height=320))
    assert not np.array_equal(other.rgb, make_scene(SMALL).rgb)


def test_arrays_have_the_asked_size_and_place() -> None:
    scene = make_scene(SMALL)
    assert scene.rgb.shape == (3, 320, 384)
    assert scene.rgb.dtype == np.uint8
    assert scene.cover.shape == (320, 384)
    assert scene.cover.dtype == np.uint8
    assert scene.transform * (0, 0) == SMALL.origin_xy
    assert scene.transform.a == -scene.transform.e == SMALL.resolution_m
    assert scene.roads.crs == SMALL.epsg


@pytest.mark.parametrize("setting", ["desert_edge", "suburb", "desert", "margins"])
@pytest.mark.parametrize("seed", [0, 1])
def test_centrelines_lie_on_their_surface(setting: str, seed: int) -> None:
    scene = make_scene(SceneSettings(seed=seed, width=512, height=512, setting=setting))
    check_centrelines(scene)


def test_centrelines_of_the_demo_lie_on_their_surface(demo: Scene) -> None:
    check_centrelines(demo)


def check_centrelines(scene: Scene) -> None:
    """Assert that sampled points of each surface fall on a pixel of that surface."""
    wanted = {"paved": [Cover.PAVED_ROAD], "unpaved": [Cover.UNPAVED_ROAD, Cover.TRAIL]}
    for surface, codes in wanted.items():
        roads = scene.roads[scene.roads.surface == surface]
        if len(roads):
            assert np.isin(codes_along(scene, roads), codes).mean() > 0.985


def test_roads_stay_inside_the_scene(demo: Scene) -> None:
    left, bottom, right, top = demo.roads.total_bounds
    height, width = demo.cover.shape
    west, north = demo.transform * (0, 0)
    east, south = demo.transform * (width, height)
    assert west <= left
    assert right <= east
    assert south <= bottom
    assert top <= north


def test_road_mask_follows_the_cover(demo: Scene) -> None:
    mask = road_mask(demo)
    assert np.array_equal(mask == 1, demo.cover == Cover.PAVED_ROAD)
    assert np.array_equal(mask == 2, np.isin(demo.cover, [Cover.UNPAVED_ROAD, Cover.TRAIL]))
    without = road_mask(demo, include_trails=False)
    assert np.array_equal(without == 2, demo.cover == Cover.UNPAVED_ROAD)


def test_demo_shows_every_cover(demo: Scene) -> None:
    assert set(np.unique(demo.cover)) == {int(code) for code in Cover}


def test_demo_has_both_surfaces_in_every_half(demo: Scene) -> None:
    mask = road_mask(demo)
    height, width = mask.shape
    halves = [
        mask[: height // 2],
        mask[height // 2 :],
        mask[:, : width // 2],
        mask[:, width // 2 :],
    ]
    for half in halves:
        assert (half == 1).mean() > 0.02
        assert (half == 2).mean() > 0.01


def test_demo_has_many_unpaved_ways(demo: Scene) -> None:
    unpaved = demo.roads[demo.roads.surface == "unpaved"]
    assert (unpaved.length > 60).sum() >= 8
