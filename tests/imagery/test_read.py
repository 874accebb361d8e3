from __future__ import annotations

import numpy as np
import pytest
import rasterio

from errors import UnsupportedRasterError
from imagery import limits
from imagery.read import open_raster, read_window
from tests.imagery.rasters import rgb, write_raster


def test_a_window_over_the_edge_is_padded_and_invalid(tmp_path):
    values = rgb()
    with open_raster(write_raster(tmp_path / "a.tif", values)) as dataset:
        pixels = read_window(dataset, -2, 35, 10, 8, [2, 1])
    assert pixels.values.shape == (2, 8, 10)
    assert pixels.values.dtype == np.uint8
    np.testing.assert_array_equal(pixels.values[:, :5, 2:], values[[1, 0], 35:40, 0:8])
    assert pixels.valid[:5, 2:].all()
    assert pixels.valid.sum() == 5 * 8


def test_a_window_outside_is_all_invalid(tmp_path):
    with open_raster(write_raster(tmp_path / "a.tif", rgb())) as dataset:
        pixels = read_window(dataset, 500, 0, 4, 4, [1])
    assert not pixels.valid.any()


def test_integer_nodata_counts_only_in_all_bands(tmp_path):
    values = np.full((3, 2, 2), 9, np.uint8)
    values[:, 0, 0] = 0
    values[0, 0, 1] = 0
    with open_raster(write_raster(tmp_path / "a.tif", values, nodata=0)) as dataset:
        np.testing.assert_array_equal(read_window(dataset, 0, 0, 2, 2, [1, 2, 3]).valid, [[False, True], [True, True]])
        np.testing.assert_array_equal(read_window(dataset, 0, 0, 2, 2, [1]).valid, [[False, False], [True, True]])


def test_float_nodata_and_nan_spoil_a_pixel_in_any_band(tmp_path):
    values = np.ones((2, 1, 3), np.float32)
    values[0, 0, 0], values[1, 0, 1] = np.nan, -9999
    with open_raster(write_raster(tmp_path / "a.tif", values, nodata=-9999)) as dataset:
        np.testing.assert_array_equal(read_window(dataset, 0, 0, 3, 1, [1, 2]).valid, [[False, False, True]])


def test_nodata_that_the_dtype_cannot_hold_is_nowhere(tmp_path):
    path = write_raster(tmp_path / "a.tif", rgb())
    with rasterio.open(path) as dataset:
        assert dataset.nodata is None
    from imagery.read import _equals

    assert not _equals(np.array([0, 255], np.uint8), -9999.0).any()
    assert not _equals(np.array([0, 255], np.uint8), 0.5).any()
    assert _equals(np.array([-1.2676506002282294e30]), -1.2676506e30).all()


def test_alpha_and_masks_say_what_is_imagery(tmp_path):
    inside = np.zeros((40, 60), np.uint8)
    inside[10:20, 5:50] = 255
    four = np.concatenate([rgb(), inside[None]])
    with open_raster(write_raster(tmp_path / "a.tif", four, photometric="RGB", alpha="YES")) as dataset:
        np.testing.assert_array_equal(read_window(dataset, 0, 0, 60, 40, [1, 2, 3]).valid, inside > 0)
    with open_raster(write_raster(tmp_path / "m.tif", rgb(), mask=inside)) as dataset:
        np.testing.assert_array_equal(read_window(dataset, 0, 0, 60, 40, [1, 2, 3]).valid, inside > 0)


def test_declared_sizes_are_judged_before_reading(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "a.tif", rgb(), tiled=False, blockysize=40)
    monkeypatch.setattr(limits, "MAX_BLOCK_BYTES", 60 * 40 * 3 - 1)
    with pytest.raises(UnsupportedRasterError, match="tiled GeoTIFF"), open_raster(path):
        pytest.fail("opened")


def test_a_sparse_giant_is_refused_at_once(tmp_path):
    path = tmp_path / "giant.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=300_000,
        height=300_000,
        count=3,
        dtype="uint8",
        tiled=True,
        SPARSE_OK=True,
        bigtiff="yes",
        blockxsize=4096,
        blockysize=4096,
    ):
        pass
    with pytest.raises(UnsupportedRasterError, match="only"), open_raster(path):
        pytest.fail("opened")
