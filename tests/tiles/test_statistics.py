"""Streamed statistics equal those of everything at once."""

import numpy as np
import pytest

from tiles.statistics import RunningStatistics, pixels_per_class


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_streaming_gives_what_numpy_gives(dtype):
    rng = np.random.default_rng(1)
    low = -3000 if dtype == "int16" else 5
    tiles = [(rng.normal(100 + 40 * i, 30, (2, 40, 50)).clip(low, 250)).astype(dtype) for i in range(4)]
    valid = [rng.random((40, 50)) > 0.3 for _ in tiles]
    running = RunningStatistics(2, dtype)
    for image, mask in zip(tiles, valid, strict=True):
        running.add(image, mask)
    for band, found in enumerate(running.result()):
        values = np.concatenate([image[band][mask] for image, mask in zip(tiles, valid, strict=True)]).astype(float)
        assert found.count == values.size
        assert (found.min, found.max) == (values.min(), values.max())
        assert found.mean == pytest.approx(values.mean())
        assert found.std == pytest.approx(values.std())
        assert [found.p2, found.p98] == pytest.approx(np.percentile(values, [2, 98]), abs=1)


def test_large_offsets_do_not_spoil_the_deviation():
    running = RunningStatistics(1, "float64")
    values = np.array([[[1e9 + 1, 1e9 + 2, 1e9 + 3]]])
    running.add(values, np.ones((1, 3), dtype=bool))
    running.add(values, np.ones((1, 3), dtype=bool))
    assert running.result()[0].std == pytest.approx(np.sqrt(2 / 3), rel=1e-6)


def test_nan_is_left_out_and_a_band_without_pixels_is_zero():
    running = RunningStatistics(2, "float32")
    image = np.array([[[1.0, np.nan]], [[np.nan, np.inf]]], dtype=np.float32)
    running.add(image, np.ones((1, 2), dtype=bool))
    first, second = running.result()
    assert (first.count, first.mean) == (1, 1.0)
    assert (second.count, second.mean, second.std) == (0, 0.0, 0.0)


def test_the_sample_of_floats_is_uniform_over_all_tiles(monkeypatch):
    monkeypatch.setattr("tiles.statistics.SAMPLE_SIZE", 500)
    running = RunningStatistics(1, "float32")
    for start in range(10):
        running.add(np.full((1, 50, 50), start, dtype=np.float32), np.ones((50, 50), dtype=bool))
    _keys, values = running._samples[0]
    assert len(values) == 500
    assert np.bincount(values.astype(int), minlength=10).min() > 25


def test_pixels_per_class_leaves_ignored_pixels_out():
    assert pixels_per_class(np.array([[0, 1, 1], [2, 255, 255]], dtype=np.uint8)) == {0: 1, 1: 2, 2: 1}


def test_pixels_of_many_classes_are_counted_alike():
    label = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    assert pixels_per_class(label) == {v: int((label == v).sum()) for v in range(255)}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_pixel_counts_as_often_as_is_said(dtype):
    image = np.random.default_rng(1).integers(0, 200, (3, 20, 30)).astype(dtype).transpose(0, 2, 1)  # not in one piece in memory
    times = np.random.default_rng(2).integers(0, 5, (30, 20)).astype(np.uint16)
    running = RunningStatistics(3, dtype)
    running.add(image, times)
    for band, found in zip(image, running.result(), strict=True):
        values = np.repeat(band.ravel(), times.ravel()).astype(float)
        assert (found.count, found.min, found.max) == (values.size, values.min(), values.max())
        assert [found.mean, found.std] == pytest.approx([values.mean(), values.std()])
