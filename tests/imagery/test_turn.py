"""Turned windows show what lies below them."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from imagery.read import Pixels
from imagery.turn import box_around, sample, turned_grid


def below(image, valid, column, row, columns, rows, angle):
    """A turned window of an image, read through the box around it, as an export does; outside the image nothing is valid."""
    to_image = turned_grid(column, row, columns, rows, angle)
    left, top, wide, high = box_around(to_image, columns, rows)
    margin = 200
    image = np.pad(image, ((0, 0), (margin, margin), (margin, margin)))
    valid = np.pad(valid, margin)
    part = np.s_[top + margin : top + margin + high, left + margin : left + margin + wide]
    return sample(Pixels(image[(slice(None), *part)], valid[part]), Affine.translation(-left, -top) @ to_image, (rows, columns))


@pytest.fixture
def image():
    return np.random.default_rng(1).normal(0, 1000, (2, 96, 96)).astype(np.float32)


@pytest.mark.parametrize(("angle", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_quarter_turns_keep_every_value(image, angle, turns):
    turned = below(image, np.ones((96, 96), bool), 32, 16, 32, 32, angle)
    assert np.array_equal(turned.values, np.rot90(image[:, 16:48, 32:64], turns, (1, 2)))
    assert turned.valid.all()


def test_a_quarter_turn_of_a_rectangle_shows_what_lies_crosswise(image):
    turned = below(image, np.ones((96, 96), bool), 16, 32, 64, 32, 90)
    assert np.array_equal(turned.values, np.rot90(image[:, 16:80, 32:64], 1, (1, 2)))


@pytest.mark.parametrize("angle", [13.0, 45.0, 200.0])
def test_a_plane_stays_that_plane(angle):
    """Bilinear interpolation of 3 x + 5 y is exact, also where a turned corner sticks out of the unturned window."""
    y, x = np.mgrid[:96, :96] + 0.5
    turned = below((3 * x + 5 * y)[None], np.ones((96, 96), bool), 32, 32, 32, 32, angle)
    rows, columns = np.mgrid[:32, :32] + 0.5
    there = turned_grid(32, 32, 32, 32, angle) @ (columns, rows)
    assert turned.valid.all()
    assert np.allclose(turned.values[0], 3 * there[0] + 5 * there[1], atol=1e-4)


def test_a_turn_is_clockwise_on_the_image(image):
    x, y = turned_grid(0, 0, 32, 32, 45) @ (32, 16)  # the middle of the right edge
    assert (x, y) == pytest.approx((16 + 16 / np.sqrt(2), 16 + 16 / np.sqrt(2)))


def test_what_is_not_imagery_takes_no_part(image):
    image = np.full((1, 96, 96), 100, np.uint16)
    valid = np.ones((96, 96), bool)
    valid[:, 48:] = False
    image[:, ~valid] = 9000
    turned = below(image, valid, 32, 32, 32, 32, 30)
    assert set(turned.values[0][turned.valid]) == {100}
    assert set(turned.values[0][~turned.valid]) == {0}
    assert 0.4 < turned.valid.mean() < 0.6


def test_beyond_the_image_nothing_is_valid(image):
    turned = below(image, np.ones((96, 96), bool), 0, 0, 32, 32, 45)
    assert not turned.valid[0, 0]
    assert turned.valid[16, 16]
