"""Windows cover everything; blended windows add up."""

import numpy as np
import pytest

from tiles.windows import blend_weights, tile_windows


@pytest.mark.parametrize(
    ("width", "height", "size", "stride"), [(600, 256, 256, 128), (257, 511, 256, 256), (300, 300, 64, 50), (64, 64, 64, 64)]
)
def test_every_pixel_is_covered_and_no_window_leaves_the_image(width, height, size, stride):
    covered = np.zeros((height, width), dtype=int)
    for column, row in tile_windows(width, height, size, stride):
        assert 0 <= column <= width - size
        assert 0 <= row <= height - size
        covered[row : row + size, column : column + size] += 1
    assert covered.min() >= 1


def test_the_last_column_is_shifted_in():
    assert tile_windows(600, 256, 256, 128) == [(0, 0), (128, 0), (256, 0), (344, 0)]


def test_an_image_smaller_than_a_tile_gets_one_window():
    assert tile_windows(100, 40, 256, 128) == [(0, 0)]


@pytest.mark.parametrize(("size", "stride"), [(64, 0), (64, 65), (0, 1)])
def test_impossible_windows_are_refused(size, stride):
    with pytest.raises(ValueError, match="No windows"):
        tile_windows(100, 100, size, stride)


def test_weights_are_smooth_never_zero_and_add_up_inside():
    weights = blend_weights(64)
    assert weights.dtype == np.float32
    assert weights.shape == (64, 64)
    assert weights.min() > 0
    assert weights[31, 31] == pytest.approx(1, abs=0.01)
    middle = weights[32]
    assert np.allclose(middle[:32] + middle[32:], 1, atol=0.02)
    assert np.abs(np.diff(middle)).max() < 0.06
