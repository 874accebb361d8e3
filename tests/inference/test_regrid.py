import numpy as np
import pytest

from inference.mosaic import Blend
from inference.regrid import RowsOntoRaster, strips_onto
from tiles.windows import even_windows


def onto(share: np.ndarray, raster: tuple[int, int], strip_px: int = 10_000, rows: int = 10_000, seen: np.ndarray | None = None) -> np.ndarray:
    """The probability of class 1 on the raster's pixels (NaN where not seen), from working pixels fed `rows` at a time."""
    seen = np.ones(share.shape, bool) if seen is None else seen
    out = np.full(raster, np.nan)
    for strip in strips_onto(even_windows(share.shape[1], 16, 0), share.shape, raster, strip_px):
        part = RowsOntoRaster(share.shape, raster, strip)
        columns = np.s_[strip.lattice.left : strip.lattice.right]
        for row in range(0, len(share), rows):
            piece = share[row : row + rows, columns]
            top = part.top
            for blend in part.add(Blend(np.stack([1 - piece, piece]).astype(np.float32), seen[row : row + rows, columns])):
                assert blend.probabilities.sum(axis=0)[blend.seen] == pytest.approx(1, abs=1e-5)
                out[top : top + len(blend.seen), strip.left : strip.right] = np.where(blend.seen, blend.probabilities[1], np.nan)
                top += len(blend.seen)
        assert part.top == raster[0]
    return out


@pytest.mark.parametrize(("work", "raster"), [((20, 30), (100, 150)), ((21, 31), (100, 150)), ((100, 150), (33, 50)), ((97, 130), (40, 61)), ((1, 1), (9, 7))])
def test_strips_and_pieces_leave_no_seam(work, raster, monkeypatch):
    share = np.random.default_rng(0).random(work)
    whole = onto(share, raster)
    assert np.isfinite(whole).all()
    monkeypatch.setattr("inference.regrid.PIECE_BYTES", 4 * 16 * 2 * 3)
    np.testing.assert_allclose(onto(share, raster, strip_px=16, rows=5), whole, atol=1e-6)


def test_the_same_pixels_are_handed_on_untouched():
    share = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    np.testing.assert_array_equal(onto(share, (20, 30), strip_px=7), share)


def test_finer_working_pixels_are_averaged():
    share = np.random.default_rng(0).random((40, 60))
    np.testing.assert_allclose(onto(share, (10, 15)), share.reshape(10, 4, 15, 4).mean(axis=(1, 3)), atol=1e-6)


def test_a_slope_stays_a_slope_on_smaller_pixels():
    slope = np.broadcast_to(np.linspace(0, 1, 11), (8, 11))
    found = onto(slope, (80, 110))
    np.testing.assert_allclose(np.diff(found[40, 5:-5]), 0.01, atol=1e-5)


def test_what_was_not_seen_takes_no_part():
    seen = np.ones((8, 8), bool)
    seen[:, 4:] = False
    found = onto(np.where(seen, 0.8, 0.1), (32, 32), seen=seen)
    np.testing.assert_allclose(found[:, :16], 0.8, atol=1e-6)
    assert np.isnan(found[:, 18:]).all()
