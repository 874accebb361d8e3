import numpy as np
import pytest
from pyproj import Transformer

from inference.suggest import FILE, LEAST_UNSURE, NODATA, SIDES, read_suggestions, spread_out, square_side, suggest, unsure_shares
from tests.inference.makers import PAVED, UTM, card, write_raster


def test_the_share_of_unsure_pixels_is_counted_square_by_square(tmp_path):
    confidence = np.full((20, 30), 90, np.uint8)
    confidence[:8, :8] = 40  # the first square: all of it
    confidence[8:12, 16:24] = 69  # half of the third square of the second row
    confidence[0:8, 8:16] = NODATA  # no imagery
    confidence[0:8, 16:21] = NODATA  # mostly none
    path = write_raster(tmp_path / "c.tif", confidence[None], nodata=NODATA)
    expected = np.array([[1, np.nan, np.nan, np.nan], [0, 0, 0.5, 0], [0, 0, 0, np.nan]])
    expected[0, 3] = 0  # 6 of 8 columns lie on the raster: enough
    expected[2, 3] = np.nan  # 6 x 4 pixels are less than half a square
    assert np.array_equal(unsure_shares(path, 8), expected, equal_nan=True)


def test_squares_are_spread_out_and_sure_ones_left_out():
    first = np.array([[0.9, 0.8, 0.1], [0.7, 0.6, 0.2], [0.0, np.nan, LEAST_UNSURE]])
    second = np.array([[0.85, 0.0]])
    assert spread_out([first, second], 3) == [(0, 0, 0), (1, 0, 0), (0, 1, 2)]
    assert spread_out([first, second], 6)[3:] == [(0, 0, 1), (0, 1, 0), (0, 1, 1)]  # neighbours, when nothing else is left
    assert (0, 2, 0) not in spread_out([first, second], 99) and (0, 2, 1) not in spread_out([first, second], 99)


def test_the_squares_of_a_comparison_lie_where_the_map_is_unsure(tmp_path):
    confidence = np.full((16, 24), 95, np.uint8)
    confidence[8:, 16:] = 30
    (tmp_path / "aaaa").mkdir()
    write_raster(tmp_path / "aaaa" / "after_confidence.tif", confidence[None], nodata=NODATA)
    suggest(tmp_path, {"aaaa": 8})
    (square,) = read_suggestions(tmp_path)
    assert (square.raster, square.unsure) == ("aaaa", 1.0)
    to_lonlat = Transformer.from_crs(32611, 4326, always_xy=True)
    corners = [UTM @ p for p in ((16, 8), (24, 8), (24, 16), (16, 16), (16, 8))]
    assert np.allclose(square.corners, [to_lonlat.transform(*p) for p in corners])


@pytest.mark.parametrize("content", [None, b"{", b'{"squares": [{"raster": 1}]}'])
def test_without_a_readable_file_there_are_none(tmp_path, content):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert read_suggestions(tmp_path) == ()


def test_a_square_is_as_large_on_the_ground_as_the_models_tiles():
    model = card((PAVED,)).input  # 64 pixels of 0.5 m
    assert square_side(model, 0.5) == 64 and square_side(model, 0.25) == 128 and square_side(model, None) == 64
    assert square_side(model, 100.0) == SIDES[0] and square_side(model, 0.001) == SIDES[1]
