"""A window put together from squares is the window."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.export import patchwork
from labeling.export.patchwork import Patchwork

WHOLE = np.arange(40 * 50).reshape(40, 50)


@pytest.fixture
def made(monkeypatch):
    """Squares of 8 px of an image of 50 x 40, and the places at which they were made."""
    monkeypatch.setattr(patchwork, "SIDE", 8)
    places = []

    def make(column, row):
        places.append((column, row))
        square = np.full((8, 8), -1)
        inside = WHOLE[max(row, 0) : row + 8, max(column, 0) : column + 8] if min(row, column) > -8 else WHOLE[:0, :0]
        square[max(-row, 0) :, max(-column, 0) :][: inside.shape[0], : inside.shape[1]] = inside
        return square

    return Patchwork(make), places


@pytest.mark.parametrize(("column", "row", "columns", "rows"), [(0, 0, 8, 8), (3, 5, 9, 2), (7, 7, 20, 17), (16, 8, 8, 16), (49, 39, 1, 1)])
def test_windows(made, column, row, columns, rows):
    squares, _ = made
    window = np.empty((rows, columns), dtype=int)
    for square, part, here in squares.parts(column, row, columns, rows):
        window[here] = square[part]
    assert np.array_equal(window, WHOLE[row : row + rows, column : column + columns])


def test_windows_that_reach_over_the_edge(made):
    squares, _ = made
    window = np.empty((60, 70), dtype=int)
    for square, part, here in squares.parts(-10, -10, 70, 60):
        window[here] = square[part]
    assert np.array_equal(window[10:50, 10:60], WHOLE)
    assert (window[:10] == -1).all()
    assert (window[50:] == -1).all()


def test_each_is_made_once_until_it_is_left_behind(made):
    squares, places = made
    for row in (0, 4, 8):
        list(squares.parts(0, row, 12, 10))
    assert sorted(places) == [(0, 0), (0, 8), (0, 16), (8, 0), (8, 8), (8, 16)]
    assert [square[0, 0] for square in squares.leave(15)] == [WHOLE[0, 0], WHOLE[0, 8]]
    assert [square[0, 0] for square in squares] == [WHOLE[8, 0], WHOLE[8, 8], WHOLE[16, 0], WHOLE[16, 8]]
