"""Windows cover everything; blended windows add up."""

import numpy as np
import pytest

from tiles.windows import even_windows, tile_windows


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


SIDES = [(4096, 832, 96, 16), (60_000, 832, 128, 32), (100, 64, 16, 1), (130, 64, 63, 1), (65, 64, 0, 1), (64, 64, 20, 32), (33, 64, 0, 1), (1100, 512, 64, 32)]


@pytest.mark.parametrize(("length", "largest", "overlap", "multiple"), SIDES)
def test_windows_are_spread_evenly_and_share_what_they_should(length, largest, overlap, multiple):
    windows = even_windows(length, largest, overlap, multiple)
    steps = np.diff(windows.starts)
    assert windows.starts[0] == 0 and windows.starts[-1] + windows.size == length and windows.size <= largest
    assert (windows.size - steps >= overlap).all() and (steps > 0).all()
    assert np.ptp(steps) <= multiple if len(steps) else windows.size == length
    assert all(start % multiple == 0 for start in windows.starts)
    fewest = max(1, -(-(length - overlap) // (largest - overlap)))
    assert len(windows.starts) == fewest or (multiple > 1 and len(windows.starts) == fewest + 1)


def test_windows_too_small_for_the_multiple_start_anywhere():
    assert even_windows(130, 64, 40, 32).starts == (0, 22, 45, 67)


@pytest.mark.parametrize(("length", "largest", "overlap", "multiple"), SIDES)
def test_what_windows_have_to_say_adds_up_to_one_everywhere_up_to_the_ends(length, largest, overlap, multiple):
    windows = even_windows(length, largest, overlap, multiple)
    total = np.zeros(length)
    for start, share in zip(windows.starts, windows.shares(), strict=True):
        assert share.dtype == np.float32 and share.min() >= 0
        total[start : start + windows.size] += share
    np.testing.assert_allclose(total, 1, atol=1e-7)


def test_the_rim_of_a_window_is_left_to_its_neighbour():
    windows = even_windows(104, 64, 24)
    assert windows.starts == (0, 40) and windows.size == 64
    left, right = windows.shares()
    assert (left[:46] == 1).all() and (left[58:] == 0).all() and (right[:6] == 0).all() and (right[18:] == 1).all()
    assert (np.diff(left[46:58]) < 0).all() and np.abs(np.diff(left)).max() < 0.1


@pytest.mark.parametrize(("largest", "overlap"), [(64, 64), (64, -1), (0, 0)])
def test_impossible_even_windows_are_refused(largest, overlap):
    with pytest.raises(ValueError, match="No windows"):
        even_windows(100, largest, overlap)
