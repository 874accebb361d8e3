import numpy as np
import pytest

from inference.mosaic import Blend, Rule, StripMosaic, decide, percentages
from inference.regrid import strips_onto
from tiles.windows import Windows, even_windows

RULE = Rule(np.array([0, 4], np.uint8), np.zeros(2, np.float32))


def blended(said, shape: tuple[int, int], columns: Windows, rows: Windows, strip: int) -> np.ndarray:
    """Feed `said(column, row)`, the probability of class 1 in a window (NaN without imagery), through windows and strips; put the strips together again."""
    out = np.full(shape, np.nan, np.float32)
    across, down = columns.shares(), rows.shares()
    for part in strips_onto(columns, shape, shape, strip):
        left, right = part.lattice.left, part.lattice.right
        mosaic = StripMosaic(2, left, right - left, rows.size)
        for i, (row, below) in enumerate(zip(rows.starts, [*rows.starts[1:], shape[0]], strict=True)):
            for column in part.lattice.columns:
                share = said(column, row).astype(np.float32)
                ours = down[i][:, None] * across[columns.starts.index(column)]
                known = np.nan_to_num(share)
                mosaic.add(column, row, np.stack([1 - known, known]), ours, np.isfinite(share))
            top = mosaic.top
            for blend in mosaic.take(below):
                out[top : top + len(blend.seen), left:right] = np.where(blend.seen, blend.probabilities[1], np.nan)
                top += len(blend.seen)
    return out


@pytest.mark.parametrize(("shape", "window", "overlap", "strip"), [((50, 70), 16, 4, 32), ((33, 17), 16, 0, 32), ((10, 9), 16, 8, 32), ((40, 40), 16, 11, 16)])
def test_windows_put_together_give_back_what_went_in(shape, window, overlap, strip):
    truth = np.random.default_rng(0).random(shape)
    columns, rows = even_windows(shape[1], window, overlap), even_windows(shape[0], window, overlap)
    found = blended(lambda c, r: truth[r : r + rows.size, c : c + columns.size], shape, columns, rows, strip)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_strips_of_any_width_blend_to_the_same_values():
    rng = np.random.default_rng(1)
    columns, rows = even_windows(60, 16, 6), even_windows(20, 16, 6)
    said = {(c, r): rng.random((rows.size, columns.size)) for c in columns.starts for r in rows.starts}  # windows that disagree where they overlap

    def result(strip: int) -> np.ndarray:
        return blended(lambda c, r: said[c, r], (20, 60), columns, rows, strip)

    assert np.array_equal(result(64), result(16)) and np.array_equal(result(64), result(32))


def test_a_row_taken_up_again_blends_to_the_same_values():
    rng = np.random.default_rng(2)
    rows, shares = even_windows(40, 16, 6), even_windows(40, 16, 6).shares()
    said = rng.random((len(rows.starts), 2, rows.size, 5)).astype(np.float32)

    def taken(first: int) -> np.ndarray:
        begin = next(i for i, start in enumerate(rows.starts) if start + rows.size > first)
        mosaic = StripMosaic(2, 0, 5, rows.size, rows.starts[begin], first)
        found = []
        for i in range(begin, len(rows.starts)):
            mosaic.add(0, rows.starts[i], said[i], np.repeat(shares[i][:, None], 5, 1), np.ones((rows.size, 5), bool))
            found += [blend.probabilities.copy() for blend in mosaic.take([*rows.starts, 40][i + 1])]
        return np.concatenate(found, axis=1)

    whole = taken(0)
    for first in range(1, 40):
        assert np.array_equal(taken(first), whole[:, first:])


def test_pixels_no_window_saw_have_no_class():
    mosaic = StripMosaic(2, 0, 4, 4)
    mosaic.add(0, 0, np.full((2, 4, 4), 0.5, np.float32), np.ones((4, 4), np.float32), np.array([[True, False, True, True]] * 4))
    blend = next(mosaic.take(4))
    classes, confidence = decide(blend, RULE)
    assert classes[0].tolist() == [0, 255, 0, 0] and confidence[0].tolist() == [50, 255, 50, 50]


def row(*pixels: tuple[float, ...]) -> Blend:
    """One row of pixels, each its probabilities."""
    return Blend(np.array(pixels, np.float32).T[:, None], np.ones((1, len(pixels)), bool))


def test_a_class_is_given_only_where_it_reaches_its_threshold():
    rule = Rule(np.array([0, 3, 7], np.uint8), np.array([0, 0.6, 0.3], np.float32))
    classes, confidence = decide(row((0.1, 0.6, 0.3), (0.15, 0.5, 0.35), (0.25, 0.5, 0.25), (0.5, 0.2, 0.3)), rule)
    assert classes.tolist() == [[3, 7, 0, 0]] and confidence.tolist() == [[60, 35, 25, 50]]


def test_background_is_not_given_for_being_likeliest_where_it_is_not_wanted():
    never = Rule(np.array([0, 3, 7], np.uint8), np.array([2, 0, 0], np.float32))
    assert decide(row((0.9, 0.04, 0.06), (0.5, 0.5, 0)), never)[0].tolist() == [[7, 3]]
    unless = Rule(np.array([0, 3, 7], np.uint8), np.array([2, 0.5, 0.5], np.float32))
    assert decide(row((0.9, 0.04, 0.06), (0.5, 0.5, 0)), unless)[0].tolist() == [[0, 3]]


def test_percentages_are_those_of_each_output_and_255_without_imagery():
    blend = row((0.1, 0.606, 0.294), (1, 0, 0))
    blend.seen[0, 1] = False
    assert percentages(blend)[:, 0].tolist() == [[10, 255], [61, 255], [29, 255]]
