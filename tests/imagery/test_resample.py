import numpy as np
import pytest
from affine import Affine
from rasterio.enums import ColorInterp

from imagery.raster import describe
from imagery.read import Pixels, gdal_environment, open_raster, read_window
from imagery.resample import resampled, scaled_grid
from tests.imagery.rasters import rgb, write_raster


def read(path, factor: float, bands=(1, 2, 3), window_px: int | None = None) -> Pixels:
    """All of a raster in pixels `factor` times as large, in one piece or in windows of `window_px`."""
    with open_raster(path) as dataset, gdal_environment():
        grid = scaled_grid(describe(dataset, "x", None).grid, factor)
        with resampled(dataset, grid) as view:
            if window_px is None:
                return read_window(view, 0, 0, grid.width, grid.height, bands)
            rows = []
            for row in range(0, grid.height, window_px):
                height = min(window_px, grid.height - row)
                columns = range(0, grid.width, window_px)
                parts = [read_window(view, column, row, min(window_px, grid.width - column), height, bands) for column in columns]
                rows.append(Pixels(np.concatenate([p.values for p in parts], axis=2), np.concatenate([p.valid for p in parts], axis=1)))
            return Pixels(np.concatenate([p.values for p in rows], axis=1), np.concatenate([p.valid for p in rows]))


def test_the_scaled_grid_covers_the_same_place(tmp_path):
    with open_raster(write_raster(tmp_path / "a.tif", rgb(41, 59))) as dataset:
        grid = describe(dataset, "x", None).grid
    for factor in (3.7, 0.4):
        scaled = scaled_grid(grid, factor)
        np.testing.assert_allclose(scaled.bounds, grid.bounds, rtol=1e-12)
        assert scaled.resolution_m / grid.resolution_m == pytest.approx(factor, rel=0.05)
    assert scaled_grid(grid, 1000).shape == (1, 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_larger_pixel_is_the_mean_of_what_it_covers_in_the_same_type(tmp_path, dtype):
    values = rgb(40, 60).astype(dtype) * (200 if dtype == "uint16" else 1) - (100 if dtype == "int16" else 0)
    found = read(write_raster(tmp_path / "a.tif", values.astype(dtype)), 4)
    mean = values.astype(np.float64).reshape(3, 10, 4, 15, 4).mean(axis=(2, 4))
    assert found.values.dtype == dtype
    assert np.abs(found.values - mean).max() <= (0.5 if dtype != "float32" else 1e-4)
    assert found.valid.all()


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:26911", Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000) @ Affine.rotation(30)),
        ("EPSG:26911", Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000)),
        ("EPSG:4326", Affine(1e-5, 0, 179.9998, 0, -1e-5, 36)),
        ("EPSG:3031", Affine(10, 0, -300, 0, -10, 200)),
    ],
    ids=["turned", "south up", "antimeridian", "pole"],
)
def test_wherever_and_however_it_lies(tmp_path, crs, transform):
    found = read(write_raster(tmp_path / "a.tif", rgb(40, 60), crs=crs, transform=transform), 4)
    assert found.valid.all()
    assert np.abs(found.values - rgb(40, 60).astype(np.float64).reshape(3, 10, 4, 15, 4).mean(axis=(2, 4))).max() <= 0.5


@pytest.mark.parametrize("factor", [2.7, 0.3])
def test_windows_join_without_seams(tmp_path, factor):
    noise = np.random.default_rng(0).integers(0, 65535, (3, 97, 131)).astype(np.uint16)
    path = write_raster(tmp_path / "a.tif", noise)
    whole, parts = read(path, factor), read(path, factor, window_px=17)
    np.testing.assert_array_equal(whole.values, parts.values)
    np.testing.assert_array_equal(whole.valid, parts.valid)


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask", "float nodata", "float nan"])
def test_what_is_not_imagery_takes_no_part_in_a_mean(tmp_path, kind):
    """The upper left 6 x 6 pixels are no imagery: one pixel of four is empty, the next hold what is left."""
    inside = np.full((40, 60), 255, np.uint8)
    inside[:6, :6] = 0
    values = rgb(40, 60) + np.uint8(1)
    fill = {"nodata": 0, "float nodata": -9999, "float nan": np.nan}.get(kind, 77)
    hidden = np.where(inside > 0, values, np.asarray(fill, np.float32 if "float" in kind else np.uint8))
    options = {"nodata": {"nodata": 0}, "mask": {"mask": inside}, "float nodata": {"nodata": -9999}}.get(kind, {})
    if kind == "alpha":
        hidden = np.concatenate([hidden, inside[None]])
        options = {"colorinterp": [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]}
    found = read(write_raster(tmp_path / "a.tif", hidden, **options), 4)
    assert np.argwhere(~found.valid).tolist() == [[0, 0]]
    left = np.where(inside > 0, values.astype(np.float64), np.nan)
    mean = np.nanmean(left[:, :4, 4:8], axis=(1, 2))
    np.testing.assert_allclose(found.values[:, 0, 1], mean, atol=0.51)


def test_a_zero_in_one_band_is_a_value_where_zero_means_no_imagery(tmp_path):
    values = rgb(8, 8) + np.uint8(1)
    values[0, :4, :4] = 0
    values[0, 0, 0] = 200
    found = read(write_raster(tmp_path / "a.tif", values, nodata=0), 4)
    assert found.valid.all()
    assert found.values[0, 0, 0] == round(200 / 16)


def test_smaller_pixels_lie_between_their_neighbours(tmp_path):
    found = read(write_raster(tmp_path / "a.tif", rgb(40, 60).astype(np.uint16) * 100), 0.25)
    assert found.values.shape == (3, 160, 240) and found.valid.all()
    assert np.array_equal(found.values[0, 5, 2:8], [50, 150, 250, 350, 450, 550])
