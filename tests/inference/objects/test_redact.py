"""A copy of the imagery in which objects cannot be recognised and nothing else differs."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags

from errors import JobCancelled, LabelFileError, NoOverlapError, UnsupportedRasterError
from inference.objects.redact import blurred, pixelated, redact_raster
from tests.inference.makers import UTM, write_raster


def objects(*pixels, transform=UTM, crs="EPSG:32611") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=[shapely.transform(p, lambda x, y: transform @ (x, y), interleaved=False) for p in pixels], crs=crs)


def noise(shape=(3, 200, 300), dtype="uint8", seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(0, 1, shape).astype(dtype) if np.dtype(dtype).kind == "f" else random.integers(1, 250, shape).astype(dtype)


@pytest.mark.parametrize("method", ["pixelate", "blur"])
@pytest.mark.parametrize("dtype, nodata", [("uint8", None), ("uint8", 0), ("uint16", 65535), ("int16", -9999), ("float32", None)])
def test_values_change_in_the_objects_and_nowhere_else(tmp_path, method, dtype, nodata):
    values = noise(dtype=dtype)
    source = write_raster(tmp_path / "a.tif", values, nodata=nodata)
    assert redact_raster(str(source), objects(shapely.box(40, 50, 80, 70)), tmp_path / "b.tif", method=method) == 1
    with rasterio.open(source) as before, rasterio.open(tmp_path / "b.tif") as after:
        made = after.read()
        assert (after.dtypes, after.nodata, after.crs, after.transform) == (before.dtypes, before.nodata, before.crs, before.transform)
        assert after.profile["tiled"] and after.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    inside = np.zeros((200, 300), bool)
    inside[50:70, 40:80] = True
    assert np.array_equal(made[:, ~inside], values[:, ~inside])
    there = made[:, inside].astype(float)
    assert there.std() < 0.25 * values[:, inside].astype(float).std()
    assert abs(there.mean() - values.astype(float).mean()) < 0.15 * values.astype(float).std()


def test_cells_have_one_value_each_the_mean():
    values = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    valid = np.ones((4, 6), bool)
    valid[0, 0] = False
    made = pixelated(values, valid, 4)
    assert made[0, 0, 0] == round(np.delete(values[0, :, :4].ravel(), 0).mean()) and len(np.unique(made[0, :, :4])) == 1
    assert np.unique(made[0, :, 4:]).tolist() == [round(values[0, :, 4:].mean())]  # the last cell is smaller
    assert np.allclose(blurred(np.full((1, 9, 9), 7.0), np.ones((9, 9), bool), 2.0), 7.0)


@pytest.mark.parametrize("method", ["pixelate", "blur"])
def test_blocks_leave_no_seam(tmp_path, method, monkeypatch):
    source = write_raster(tmp_path / "a.tif", noise((3, 300, 300)))
    large = objects(shapely.box(20, 20, 280, 250))
    redact_raster(str(source), large, tmp_path / "whole.tif", method=method)
    monkeypatch.setattr("inference.objects.redact.BLOCK_PX", 128)
    redact_raster(str(source), large, tmp_path / "blocks.tif", method=method)
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "blocks.tif") as blocks:
        assert np.array_equal(whole.read(), blocks.read())


def test_overviews_show_no_object_either(tmp_path):
    values = np.full((3, 1200, 1200), 90, np.uint8)
    values[:, 500:516, 500:516] = np.indices((16, 16)).sum(axis=0) % 2 * 250  # a chequerboard
    source = write_raster(tmp_path / "a.tif", values)
    redact_raster(str(source), objects(shapely.box(500, 500, 516, 516)), tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif", overview_level=0) as small:
        assert np.ptp(small.read(1)[248:260, 248:260]) < 60


def test_a_margin_in_metres_and_points(tmp_path):
    values = noise((1, 100, 100))
    source = write_raster(tmp_path / "a.tif", values)
    with pytest.raises(LabelFileError, match="margin"):
        redact_raster(str(source), objects(shapely.Point(50, 50)), tmp_path / "b.tif")
    redact_raster(str(source), objects(shapely.Point(50, 50)), tmp_path / "b.tif", margin_m=5)  # ten pixels
    with rasterio.open(tmp_path / "b.tif") as after:
        changed = after.read(1) != values[0]
    rows, columns = np.indices((100, 100)) + 0.5
    far = np.hypot(rows - 50, columns - 50)
    assert not changed[far > 11.5].any() and changed[far < 9].mean() > 0.95


def test_in_degrees_a_metre_is_a_metre_both_ways(tmp_path):
    degrees = Affine(1e-5, 0, 10, 0, -1e-5, 60)  # 0.56 m across, 1.11 m down
    values = noise((1, 100, 100))
    source = write_raster(tmp_path / "a.tif", values, crs="EPSG:4326", transform=degrees)
    redact_raster(str(source), objects(shapely.Point(50, 50), transform=degrees, crs="EPSG:4326"), tmp_path / "b.tif", margin_m=10)
    with rasterio.open(tmp_path / "b.tif") as after:
        rows, columns = np.nonzero(after.read(1) != values[0])
    assert np.ptp(columns) == pytest.approx(36, abs=2.5) and np.ptp(rows) == pytest.approx(18, abs=2.5)


def test_bands_alpha_and_mask_stay_and_nothing_is_left_below_them(tmp_path):
    values = noise((4, 64, 64))
    values[3] = 255
    values[3, :, 32:] = 0
    source = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(source, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        dataset.descriptions = ("red", "green", "blue", "alpha")
        dataset.update_tags(TIFFTAG_COPYRIGHT="Somebody")
    redact_raster(str(source), objects(shapely.box(20, 20, 44, 44)), tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as after:
        made = after.read()
        assert after.descriptions == ("red", "green", "blue", "alpha") and after.colorinterp[3] == ColorInterp.alpha
        assert after.tags()["TIFFTAG_COPYRIGHT"] == "Somebody" and MaskFlags.alpha in after.mask_flag_enums[0]
    assert np.array_equal(made[3], values[3]) and (made[:3, 20:44, 32:44] == 0).all()
    assert np.array_equal(made[:3, :20], values[:3, :20])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        masked = write_raster(tmp_path / "c.tif", values[:3])
        with rasterio.open(masked, "r+") as dataset:
            dataset.write_mask(values[3])
    redact_raster(str(masked), objects(shapely.box(20, 20, 44, 44)), tmp_path / "d.tif")
    with rasterio.open(tmp_path / "d.tif") as after:
        assert np.array_equal(after.dataset_mask(), values[3])


def test_a_mean_never_becomes_no_imagery(tmp_path):
    values = np.zeros((1, 32, 32), np.uint8)
    values[0, ::2, ::2] = 1
    source = write_raster(tmp_path / "a.tif", values, nodata=0)
    values[0, 1, 1] = 1
    redact_raster(str(source), objects(shapely.box(0, 0, 32, 32)), tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as after:
        assert np.array_equal(after.read(1) > 0, rasterio.open(source).read(1) > 0)


def test_what_cannot_be_done_is_said_and_nothing_is_written(tmp_path):
    source = write_raster(tmp_path / "a.tif", noise((1, 64, 64)))
    with pytest.raises(NoOverlapError):
        redact_raster(str(source), objects(shapely.box(500, 500, 520, 520)), tmp_path / "b.tif")

    def stop(share: float) -> None:
        raise JobCancelled("Stopped.")

    with pytest.raises(JobCancelled):
        redact_raster(str(source), objects(shapely.box(5, 5, 20, 20)), tmp_path / "b.tif", progress=stop)
    with rasterio.open(source, "r+") as dataset:
        dataset.write_colormap(1, {1: (255, 0, 0)})
    with pytest.raises(UnsupportedRasterError, match="colours"):
        redact_raster(str(source), objects(shapely.box(5, 5, 20, 20)), tmp_path / "b.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
