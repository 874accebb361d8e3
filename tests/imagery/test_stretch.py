from __future__ import annotations

import numpy as np
import pytest

from imagery import stretch as module
from imagery.read import open_raster
from imagery.stretch import Stretch, apply_stretch, compute_stretch, default_stretch, identity_stretch
from tests.imagery.rasters import rgb, write_raster


def test_percentiles_of_valid_pixels_only(tmp_path):
    values = np.arange(1, 10_001, dtype=np.uint16).reshape(1, 100, 100)
    values[0, :50] = 0
    with open_raster(write_raster(tmp_path / "a.tif", values, nodata=0)) as dataset:
        found = compute_stretch(dataset, [1], (0, 100))
    assert (found.low, found.high) == ((5001.0,), (10000.0,))


def test_8_bit_colour_stays_as_it_is_and_16_bit_does_not(tmp_path):
    with open_raster(write_raster(tmp_path / "a.tif", rgb())) as dataset:
        assert default_stretch(dataset, (1, 2, 3)) == identity_stretch(3)
        assert default_stretch(dataset, (1,)) != identity_stretch(1)
    with open_raster(write_raster(tmp_path / "b.tif", rgb().astype(np.uint16) * 100)) as dataset:
        assert default_stretch(dataset, (1, 2, 3)) != identity_stretch(3)


def test_large_rasters_without_overviews_are_sampled_all_over(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_BYTES", 64 * 64 * 16)
    ramp = np.broadcast_to(np.linspace(0, 60_000, 1024).astype(np.uint16)[:, None], (1024, 1024))[None]
    path = write_raster(tmp_path / "a.tif", np.ascontiguousarray(ramp), tiled=True, blockxsize=64, blockysize=64)
    with open_raster(path) as dataset:
        found = compute_stretch(dataset, [1])
    assert found.low[0] < 6_000
    assert found.high[0] > 54_000


def test_applying_clips_and_never_divides_by_zero():
    values = np.array([[[0, 100, 150, 200, 900]], [[7, 7, 7, 7, 7]]], np.uint16)
    out = apply_stretch(values, Stretch(low=(100, 7), high=(200, 7)))
    np.testing.assert_array_equal(out[0, 0], [0, 0, 128, 255, 255])
    assert (out[1] == 128).all()
    assert apply_stretch(np.array([[[np.nan, np.inf]]], np.float32), Stretch(low=(0,), high=(1,))).tolist() == [[[0, 255]]]


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="finite"):
        Stretch(low=(0, 1), high=(2,))
    with pytest.raises(ValueError, match="does not fit"):
        apply_stretch(np.zeros((2, 1, 1)), identity_stretch(3))


def test_nothing_valid_still_gives_a_stretch(tmp_path):
    with open_raster(write_raster(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint16), nodata=0)) as dataset:
        assert compute_stretch(dataset, [1]) == Stretch(low=(0,), high=(1,))
