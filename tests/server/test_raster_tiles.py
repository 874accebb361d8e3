from __future__ import annotations

import io
import math

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.crs import CRS
from starlette.applications import Starlette
from starlette.testclient import TestClient

from imagery.grid import Grid
from imagery.inspect import inspect_here
from imagery.library import Raster, _save, set_display
from imagery.write import open_tiled_gtiff, to_cog
from inference.compare import CHANGE_COLOURS, FLIPPED, GAINED, LOST
from server import raster_tiles
from server.raster_tiles import TileCache, find_layer, render_tile
from server.tokens import issue_token
from tests.imagery.rasters import AT, rgb, write_raster
from workspace.project import create_project
from workspace.settings import Settings

Z = 19


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "data", (tmp_path,), False, 10**9, "cpu")


@pytest.fixture
def project(settings):
    return create_project(settings.projects_folder, "Test")


@pytest.fixture
def client(settings):
    return TestClient(Starlette(routes=raster_tiles.routes(settings)))


def add(project, path, **changes):
    """Into the list without the separate process, which other tests are about."""
    found = inspect_here(str(path), None, False)
    raster = Raster(
        id=f"{abs(hash(path.name)):08x}"[:8],
        name=path.name,
        kind="reference",
        source=str(path),
        info=found.info,
        bands=found.info.colour_bands,
        stretch=found.stretch,
    )
    _save(project, [raster])
    return raster.model_copy(update=changes)


def tile_at(raster, z=Z, lonlat=None):
    lon, lat = lonlat or raster.info.grid.centre_lonlat
    n = 2**z
    return int((lon + 180) / 360 * n), int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n)


def pixels(body):
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGBA")).astype(int)


def whole(project, raster, z=Z):
    """All tiles that could hold the raster, pasted together: (rows, columns, 4)."""
    west, south, east, north = raster.info.grid.lonlat_bounds
    x0, y0 = tile_at(raster, z, (west, north))
    x1, y1 = tile_at(raster, z, (east, south))
    layer = find_layer(project, f"raster.{raster.id}")
    empty = np.zeros((256, 256, 4), int)
    rows = []
    for y in range(y0, y1 + 1):
        row = [render_tile(layer, z, x, y) for x in range(x0, x1 + 1)]
        rows.append(np.concatenate([pixels(body) if body else empty for body in row], axis=1))
    return np.concatenate(rows, axis=0)


def test_status_codes(project, settings, client, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb()))
    token = issue_token(settings.data_folder, project.id, 60)
    x, y = tile_at(raster)
    good = client.get(f"/tiles/{token}/raster.{raster.id}/{Z}/{x}/{y}?v=1")
    assert (good.status_code, good.headers["content-type"]) == (200, "image/webp")
    assert "max-age=86400" in good.headers["cache-control"]
    assert client.get(f"/tiles/{token}/raster.{raster.id}/{Z}/{x}/{y}").content == good.content
    for path, status in {
        f"/tiles/{token}/raster.{raster.id}/{Z}/0/0": 204,
        f"/tiles/{token}/raster.nosuch/{Z}/{x}/{y}": 404,
        f"/tiles/{token}/secret/{Z}/{x}/{y}": 404,
        f"/tiles/{token}/raster.{raster.id}/3/9/0": 404,
        f"/tiles/{token}/raster.{raster.id}/99/0/0": 404,
        f"/tiles/{token}x/raster.{raster.id}/{Z}/{x}/{y}": 403,
        f"/tiles/{issue_token(settings.data_folder, 'other', 60)}/raster.{raster.id}/{Z}/{x}/{y}": 404,
        f"/tiles/{token}/prediction.job.{raster.id}.before/{Z}/{x}/{y}": 404,
        f"/tiles/{token}/prediction.%2e%2e.{raster.id}.before/{Z}/{x}/{y}": 404,
    }.items():
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (status, b""), path


def test_colours_and_place_are_right(project, tmp_path):
    values = np.zeros((3, 100, 100), np.uint8)
    values[0, :, :50], values[1, :, 50:] = 220, 220
    picture = whole(project, add(project, write_raster(tmp_path / "a.tif", values)))
    shown = picture[..., 3] > 128
    rows, columns = np.nonzero(shown)
    middle_row, left, right = int(np.median(rows)), columns.min(), columns.max()
    quarter = (right - left) // 4
    assert picture[middle_row, left + quarter, 0] > 190 > 60 > picture[middle_row, left + quarter, 1]
    assert picture[middle_row, right - quarter, 1] > 190 > 60 > picture[middle_row, right - quarter, 0]


def test_pixels_without_imagery_are_transparent(project, tmp_path):
    values = np.full((3, 100, 100), 200, np.uint8)
    values[:, :, :50] = 0
    share = (whole(project, add(project, write_raster(tmp_path / "a.tif", values, nodata=0)))[..., 3] > 0).sum()
    full = (whole(project, add(project, write_raster(tmp_path / "b.tif", values)))[..., 3] > 0).sum()
    assert share / full == pytest.approx(0.5, abs=0.03)


def test_nan_is_transparent_even_when_the_header_does_not_say_so(project, tmp_path):
    values = np.ones((1, 100, 100), np.float32)
    values[:, :, :50] = np.nan
    share = (whole(project, add(project, write_raster(tmp_path / "a.tif", values)))[..., 3] > 0).sum()
    full = (whole(project, add(project, write_raster(tmp_path / "b.tif", np.nan_to_num(values))))[..., 3] > 0).sum()
    assert share / full == pytest.approx(0.5, abs=0.03)


def test_a_palette_shows_its_own_colours(project, tmp_path):
    values = np.full((1, 60, 60), 2, np.uint8)
    path = write_raster(tmp_path / "a.tif", values, colormap={0: (0, 0, 0, 255), 2: (10, 200, 30, 255)})
    picture = whole(project, add(project, path))
    shown = picture[picture[..., 3] > 0]
    assert (np.unique(shown[:, :3], axis=0) == [[10, 200, 30]]).all()


def test_a_rotated_raster_lies_turned_with_clear_corners(project, tmp_path):
    turned = Affine.translation(5e5, 4e6) @ Affine.rotation(45) @ Affine.scale(0.5, -0.5)
    raster = add(project, write_raster(tmp_path / "a.tif", np.full((3, 100, 100), 200, np.uint8), transform=turned))
    shown = whole(project, raster)[..., 3] > 0
    rows, columns = np.nonzero(shown)
    box = shown[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert box.mean() == pytest.approx(0.5, abs=0.04)
    assert not box[0, 0] and not box[0, -1] and not box[-1, 0] and not box[-1, -1]
    assert box[box.shape[0] // 2, box.shape[1] // 2]


def test_a_raster_upside_down_is_put_right(project, tmp_path):
    values = np.zeros((3, 100, 100), np.uint8)
    values[0, :50], values[1, 50:] = 220, 220
    up = Affine(0.5, 0, 5e5, 0, 0.5, 4e6)
    picture = whole(project, add(project, write_raster(tmp_path / "a.tif", values, transform=up)))
    rows, columns = np.nonzero(picture[..., 3] > 0)
    top, column = int(rows.min() + len(set(rows)) * 0.25), int(np.median(columns))
    assert picture[top, column, 1] > picture[top, column, 0]


def test_the_stored_stretch_is_used_and_a_change_shows(project, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 60).astype(np.uint16) * 40))
    before = whole(project, raster)
    set_display(project, raster.id, (3,), None)
    after = whole(project, raster)
    shown = after[..., 3] > 0
    assert (after[shown][:, 0] == after[shown][:, 1]).all()
    assert not np.array_equal(before, after)


def test_low_zooms_are_cheap_and_specks_are_not_drawn(project, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb()))
    layer = find_layer(project, f"raster.{raster.id}")
    assert render_tile(layer, 3, *tile_at(raster, 3)) == b""
    assert render_tile(layer, 14, *tile_at(raster, 14))


def test_predictions_show_classes_without_background(project, settings, client, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    folder = project.predictions_folder / "job-1" / raster.id
    grid = Grid(100, 100, AT, CRS.from_epsg(26911))
    classes = np.zeros((100, 100), np.uint8)
    classes[:, 50:], classes[:10] = 2, 255
    for kind, colours in (("before", {0: (0, 0, 0), 2: (255, 159, 28)}), ("after_confidence", None)):
        with open_tiled_gtiff(tmp_path / "raw.tif", grid, 1, "uint8", 255) as dataset:
            dataset.write(np.where(classes == 255, 255, np.where(classes == 2, 100, 0)).astype(np.uint8) if colours is None else classes, 1)
        to_cog(tmp_path / "raw.tif", folder / f"{kind}.tif", overview_resampling="nearest", colours=colours)
    token = issue_token(settings.data_folder, project.id, 60)
    x, y = tile_at(raster, 17)
    found = {}
    for kind in ("before", "after_confidence"):
        answer = client.get(f"/tiles/{token}/prediction.job-1.{raster.id}.{kind}/17/{x}/{y}")
        assert answer.status_code == 200
        picture = pixels(answer.content)
        found[kind] = {tuple(p) for p in picture[picture[..., 3] > 0]}
    assert found["before"] == {(255, 159, 28, 255)}
    assert found["after_confidence"] == {(0, 0, 4, 255), (252, 253, 191, 255)}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("change", {GAINED, LOST, FLIPPED}),
        ("changes.123.all", {GAINED, LOST, FLIPPED}),
        ("changes.1.all", {GAINED}),
        ("changes.23.all", {LOST, FLIPPED}),
        ("changes.123.1", {GAINED, FLIPPED}),  # class 1 was gained, and became class 2
        ("changes.12.1", {GAINED}),
        ("changes.123.2", {LOST, FLIPPED}),
        ("changes.12.1_2", {GAINED, LOST}),
    ],
)
def test_changes_are_shown_by_kind_and_class(project, settings, client, tmp_path, asked, shown):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    before, after = np.repeat([0, 0, 2, 1], 25), np.repeat([0, 1, 0, 2], 25)  # same, gained 1, lost 2, 1 became 2
    maps = {"before": before, "after": after, "change": np.repeat([0, 1, 2, 3], 25)}
    for name, row in maps.items():
        with open_tiled_gtiff(tmp_path / f"{name}.tif", Grid(100, 100, AT, CRS.from_epsg(26911)), 1, "uint8", 255) as dataset:
            dataset.write(row.astype(np.uint8)[None].repeat(100, axis=0), 1)
        to_cog(
            tmp_path / f"{name}.tif",
            project.predictions_folder / "job" / raster.id / f"{name}.tif",
            overview_resampling="nearest",
            colours=CHANGE_COLOURS,
        )
    x, y = tile_at(raster, 17)
    token = issue_token(settings.data_folder, project.id, 60)
    sides = f"job~{raster.id}~before.job~{raster.id}~after"
    layer = f"prediction.job.{raster.id}.change" if asked == "change" else asked.replace("changes.", f"changes.{sides}.")
    picture = pixels(client.get(f"/tiles/{token}/{layer}/17/{x}/{y}").content)
    assert {tuple(p[:3]) for p in picture[picture[..., 3] > 0]} == {CHANGE_COLOURS[value] for value in shown}


def test_a_raster_that_is_gone_gives_no_trace(project, settings, client, tmp_path):
    path = write_raster(tmp_path / "a.tif", rgb())
    raster = add(project, path)
    path.unlink()
    token = issue_token(settings.data_folder, project.id, 60)
    x, y = tile_at(raster)
    answer = client.get(f"/tiles/{token}/raster.{raster.id}/{Z}/{x}/{y}")
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_cache_is_bounded_by_bytes():
    cache = TileCache(10_000)
    for i in range(100):
        cache.put(i, bytes(1000))
    assert cache.get(0) is None
    assert cache.get(99) == bytes(1000)
    assert sum(cache.get(i) is not None for i in range(100)) <= 9
    cache.put(99, b"x")
    assert cache.get(99) == b"x"


@pytest.mark.parametrize("z", [Z - 6, Z - 3, Z - 1, Z])
def test_zoomed_out_tiles_come_from_the_overviews_and_lie_where_the_raster_lies(project, tmp_path, z):
    """Red, but blue in the overviews: far out blue is shown, in the same place."""
    raster = add(project, with_other_overviews(tmp_path / "a.tif", 1024))
    picture = whole(project, raster, z)
    shown = picture[..., 3] > 128
    west, _, east, _ = raster.info.grid.lonlat_bounds
    side = (east - west) / 360 * 2**z * 256
    assert shown.any(axis=0).sum() == pytest.approx(side, abs=2) and shown.any(axis=1).sum() == pytest.approx(side, rel=0.1, abs=2)
    assert (picture[shown][:, 2].mean() > 128) == (z < Z - 1)


def with_other_overviews(path, side):
    """Red everywhere at full resolution, blue in every overview."""
    values = np.zeros((3, side, side), np.uint8)
    values[0] = 220
    write_raster(path, values)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8, 16])
    for level in range(4):
        with rasterio.open(path, "r+", overview_level=level) as small:
            blue = np.zeros((3, small.height, small.width), np.uint8)
            blue[2] = 220
            small.write(blue)
    return path
