import numpy as np
import pytest

from inference.mosaic import BlockRows, Lattice, StripMosaic, decide
from inference.regrid import strips_onto
from tiles.windows import blend_weights, tile_windows

VALUES = np.array([0, 4], np.uint8)


def strips(windows: list[tuple[int, int]], shape: tuple[int, int], window: int, strip: int) -> list[Lattice]:
    return [part.lattice for part in strips_onto(windows, shape, shape, window, strip)]


def taken(mosaic: StripMosaic, until: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and confidence of the rows up to `until`."""
    pieces = [decide(blend, VALUES) for blend in mosaic.take(until)]
    return np.concatenate([classes for classes, _ in pieces]), np.concatenate([confidence for _, confidence in pieces])


def run(truth: np.ndarray, window: int, stride: int, strip: int) -> tuple[np.ndarray, np.ndarray]:
    """Feed the probability of class 1 per pixel through windows and strips; put the strips together again."""
    height, width = truth.shape
    classes, confidence = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    weights = blend_weights(window)
    for part in strips(tile_windows(width, height, window, stride), truth.shape, window, strip):
        mosaic = StripMosaic(2, part.left, part.right - part.left, window)
        for row, below in zip(part.rows, [*part.rows[1:], height], strict=True):
            for column in part.columns:
                share = truth[row : row + window, column : column + window].astype(np.float32)
                rows, columns = share.shape
                mosaic.add(column, row, np.stack([1 - share, share]), weights[:rows, :columns], np.isfinite(share))
            start = mosaic.top
            classes[start:below, part.left : part.right], confidence[start:below, part.left : part.right] = taken(mosaic, below)
    return classes, confidence


@pytest.mark.parametrize(("shape", "window", "stride", "strip"), [((50, 70), 16, 12, 32), ((33, 17), 16, 16, 32), ((10, 9), 16, 8, 32), ((40, 40), 16, 5, 16)])
def test_windows_put_together_give_back_what_went_in(shape, window, stride, strip):
    truth = np.random.default_rng(0).random(shape)
    classes, confidence = run(truth, window, stride, strip)
    assert np.array_equal(classes, np.where(truth > 0.5, 4, 0))
    assert np.abs(confidence.astype(int) - np.rint(np.maximum(truth, 1 - truth) * 100)).max() <= 1


def test_strips_of_any_width_blend_to_the_same_values():
    window = 16
    rng = np.random.default_rng(1)
    windows = tile_windows(60, 20, window, 10)
    said = {where: rng.random((window, window)).astype(np.float32) for where in windows}  # windows that disagree where they overlap

    def result(strip: int) -> np.ndarray:
        out = np.zeros((20, 60), np.uint8)
        for part in strips(windows, (20, 60), window, strip):
            mosaic = StripMosaic(2, part.left, part.right - part.left, window)
            for row, below in zip(part.rows, [*part.rows[1:], 20], strict=True):
                for column in part.columns:
                    share = said[column, row]
                    mosaic.add(column, row, np.stack([1 - share, share]), blend_weights(window), np.ones((window, window), bool))
                start = mosaic.top
                out[start:below, part.left : part.right] = taken(mosaic, below)[1]
        return out

    assert np.array_equal(result(64), result(16)) and np.array_equal(result(64), result(32))


def test_pixels_no_window_saw_have_no_class():
    mosaic = StripMosaic(2, 0, 4, 4)
    valid = np.array([[True, False, True, True]] * 4)
    mosaic.add(0, 0, np.full((2, 4, 4), 0.5, np.float32), np.ones((4, 4), np.float32), valid)
    classes, confidence = taken(mosaic, 4)
    assert classes[0].tolist() == [0, 255, 0, 0] and confidence[0].tolist() == [50, 255, 50, 50]


def test_rows_are_handed_on_in_whole_blocks_and_the_rest_at_the_end():
    gathered = BlockRows(4)
    rows = np.arange(11, dtype=np.uint8)[:, None]
    assert gathered.add(rows[:3]) is None
    start, block = gathered.add(rows[3:9])
    assert start == 0 and block[:, 0].tolist() == list(range(8))
    start, block = gathered.add(rows[9:], last=True)
    assert start == 8 and block[:, 0].tolist() == [8, 9, 10]
