"""Several rasters read as one: each pixel from the first that has imagery there."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from errors import InputMismatchError
from imagery import views
from imagery.grid import Grid
from imagery.raster import inspect_raster
from imagery.views import ViewReader, plan_view, view_onto

X0, Y0 = 500_000.0, 4_000_000.0


def write(path, values, *, x=0.0, y=0.0, size=1.0, crs="EPSG:32611", nodata=None):
    """(bands, rows, columns) whose upper left corner lies `x`, `y` metres right of and below the origin."""
    transform = Affine(size, 0, X0 + x, 0, -size, Y0 - y)
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as file:
        file.write(values)
    return str(path)


def planned(paths, resolution_m=None):
    infos = [inspect_raster(path) for path in paths]
    return plan_view(paths, [i.grid for i in infos], [i.image_bands for i in infos], resolution_m)


def read(view, *window):
    with ViewReader(view) as reader:
        return reader.read(*(window or (0, 0, view.grid.width, view.grid.height)))


def test_neighbours_become_one_picture(tmp_path):
    whole = np.random.default_rng(0).integers(0, 255, (3, 40, 100), dtype=np.uint8)
    left, right = write(tmp_path / "l.tif", whole[:, :, :60]), write(tmp_path / "r.tif", whole[:, :, 60:], x=60)
    for view in (planned([left, right]), planned([right, left])):
        assert (view.grid.width, view.grid.height) == (100, 40)
        assert tuple(view.grid.transform)[:6] == (1, 0, X0, 0, -1, Y0)
        assert np.array_equal(read(view).values, whole)
        assert np.array_equal(read(view, 50, 10, 20, 20).values, whole[:, 10:30, 50:70])


def test_the_first_lies_on_top_and_its_holes_show_the_next(tmp_path):
    upper, lower = np.full((1, 20, 20), 7, np.uint8), np.full((1, 30, 30), 9, np.uint8)
    upper[0, 5:10, 5:10] = 0
    view = planned([write(tmp_path / "u.tif", upper, nodata=0), write(tmp_path / "o.tif", lower, x=-5, y=-5)])
    seen = read(view)
    assert seen.valid.all()
    assert (seen.values[0, 5:25, 5:25] == np.where(upper[0] == 0, 9, 7)).all()
    assert (seen.values[0, :5] == 9).all()


def test_where_no_raster_is_nothing_is_valid(tmp_path):
    a, b = write(tmp_path / "a.tif", np.ones((1, 10, 10), np.uint8)), write(tmp_path / "b.tif", np.ones((1, 10, 10), np.uint8), x=20, y=20)
    view = planned([a, b])
    seen = read(view)
    assert seen.valid.sum() == 200
    assert not seen.valid[:10, 10:].any()
    assert not read(view, 12, 0, 5, 5).valid.any()


def test_a_view_in_larger_pixels_holds_means(tmp_path):
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    view = planned([write(tmp_path / "f.tif", values)], resolution_m=2 * inspect_raster(str(tmp_path / "f.tif")).resolution_m)
    assert view.grid.shape == (4, 4)
    assert np.allclose(read(view).values, values.reshape(1, 4, 2, 4, 2).mean(axis=(2, 4)))


def test_a_coarser_neighbour_comes_onto_the_grid_of_the_first(tmp_path):
    fine = write(tmp_path / "fine.tif", np.full((1, 20, 20), 50, np.uint8))
    coarse = write(tmp_path / "coarse.tif", np.full((1, 10, 10), 80, np.uint8), x=20, size=2.0)
    seen = read(planned([fine, coarse]))
    assert seen.values.shape == (1, 20, 40)
    assert seen.valid.all()
    assert (seen.values[0, :, :20] == 50).all()
    assert (seen.values[0, :, 20:] == 80).all()


def test_other_coordinate_systems_are_refused(tmp_path):
    a = write(tmp_path / "a.tif", np.ones((1, 10, 10), np.uint8))
    with pytest.raises(InputMismatchError, match="different coordinate systems"):
        planned([a, write(tmp_path / "b.tif", np.ones((1, 10, 10), np.uint8), crs="EPSG:32612")])


def test_only_so_many_rasters_are_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(views, "OPEN_AT_ONCE", 2)
    paths = [write(tmp_path / f"{i}.tif", np.full((1, 8, 8), i + 1, np.uint8), x=8 * i) for i in range(5)]
    with ViewReader(planned(paths)) as reader:
        assert reader.read(0, 0, 40, 8).values[0, 0, ::8].tolist() == [1, 2, 3, 4, 5]
        assert reader.read(0, 0, 8, 8).values[0, 0, 0] == 1
        assert len(reader._open) <= 2


def onto(base, path, **how):
    info = inspect_raster(path)
    return view_onto(base, path, info.grid, info.image_bands, **how)


def test_another_raster_on_the_pixels_of_an_image(tmp_path):
    """Shifted by whole pixels: its very own values, where it lies."""
    base = inspect_raster(write(tmp_path / "base.tif", np.zeros((1, 40, 60), np.uint8) + 1)).grid
    values = np.random.default_rng(0).integers(0, 60000, (2, 30, 30)).astype(np.uint16)
    view = onto(base, write(tmp_path / "other.tif", values, x=50, y=-10))
    assert view.layers[0].as_it_is
    seen = read(view)
    assert np.array_equal(seen.values[:, :20, 50:], values[:, 10:, :10])
    assert np.array_equal(np.argwhere(seen.valid)[[0, -1]], [(0, 50), (19, 59)])
    assert onto(base, write(tmp_path / "far.tif", values, x=60)) is None


@pytest.mark.parametrize("size", [1.0, 0.5, 3.0])
def test_other_pixels_are_fitted(tmp_path, size):
    """A plane that rises to the east is the same plane on the image's pixels; what lies outside it is not valid."""
    base = inspect_raster(write(tmp_path / "base.tif", np.ones((1, 40, 60), np.uint8))).grid
    count = round(30 / size)
    east = (np.arange(count) + 0.5) * size + 10.3
    values = np.broadcast_to(east.astype(np.float32), (1, count, count))
    view = onto(base, write(tmp_path / "other.tif", values, x=10.3, y=5.6, size=size))
    assert not view.layers[0].as_it_is
    seen = read(view)
    rows, columns = np.nonzero(seen.valid)
    assert rows.min() in {5, 6}
    assert columns.min() == 10
    assert seen.valid.sum() == pytest.approx(930, abs=40)
    inner = seen.values[0, 10:30, 14:36]
    assert np.allclose(inner, np.arange(14, 36) + 0.5, atol=0.02 if size < 3 else 1.6)


def test_the_nearest_pixel_makes_up_no_value(tmp_path):
    base = inspect_raster(write(tmp_path / "base.tif", np.ones((1, 40, 60), np.uint8))).grid
    codes = np.random.default_rng(0).choice([3, 200], (1, 20, 20)).astype(np.uint8)
    path = write(tmp_path / "codes.tif", codes, x=10.3, y=5.6, size=1.3)
    for nearest, kept in ((True, True), (False, False)):
        seen = read(onto(base, path, nearest=nearest))
        assert (set(np.unique(seen.values[0][seen.valid])) == {3, 200}) is kept


def test_another_coordinate_system_and_a_turned_image(tmp_path):
    """Degrees under a UTM image, and a turned image: the value at a place is the value at that place."""
    lon = write_lonlat(tmp_path / "degrees.tif")
    turned = Grid(50, 40, Affine.translation(X0, Y0) @ Affine.rotation(20) @ Affine.scale(1, -1), rasterio.CRS.from_epsg(32611))
    for base in (turned, Grid(50, 40, Affine(1, 0, X0, 0, -1, Y0), rasterio.CRS.from_epsg(32611))):
        seen = read(onto(base, lon))
        assert seen.valid.all()
        x, y = base.transform @ (20.5, 10.5)
        there = Transformer.from_crs(32611, 4326, always_xy=True).transform(x, y)[0]
        assert seen.values[0, 10, 20] == pytest.approx((there + 117) * 1e6, abs=0.6)


def write_lonlat(path):
    """Holds its own longitude, in millionths of a degree east of -117."""
    transform = Affine(5e-6, 0, -117.001, 0, -5e-6, 36.1455)
    values = np.broadcast_to((np.arange(500) + 0.5) * 5 - 1000, (1, 400, 500)).astype(np.float32)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=400, width=500, dtype="float32", crs="EPSG:4326", transform=transform
    ) as file:
        file.write(values)
    return str(path)
