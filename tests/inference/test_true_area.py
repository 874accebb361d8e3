from __future__ import annotations

import numpy as np
import pytest

from inference.true_area import true_areas

# Olofsson et al. 2014, tables 7 and 8: deforestation, forest gain, stable forest, stable non-forest; map in rows, pixels of 0.09 ha
SAMPLE = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
MAPPED_HA = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09


def one_by_one(sample: np.ndarray) -> np.ndarray:
    """(units, n, n) truth down: each unit of the sample is a square of its own."""
    units = [(i, j) for i, row in enumerate(sample) for j, count in enumerate(row) for _ in range(count)]
    squares = np.zeros((len(units), len(sample), len(sample)), np.int64)
    for unit, (mapped, true) in enumerate(units):
        squares[unit, true, mapped] = 1
    return squares


def test_the_worked_example_of_the_paper():
    deforested = true_areas(one_by_one(SAMPLE), MAPPED_HA)[0]
    assert deforested.m2 == pytest.approx(21_158, abs=1)
    assert (deforested.high - deforested.low) / 2 == pytest.approx(6_158, rel=0.01)


def test_areas_add_up_and_a_perfect_map_is_believed():
    found = true_areas(one_by_one(SAMPLE), MAPPED_HA)
    assert sum(area.m2 for area in found) == pytest.approx(MAPPED_HA.sum())
    perfect = true_areas(one_by_one(np.diag([50, 20])), [900.0, 100.0])
    assert [(area.m2, area.low, area.high) for area in perfect] == [pytest.approx((900,) * 3), pytest.approx((100,) * 3)]


def test_pixels_that_are_wrong_together_count_as_one_square():
    """A hundred pixels in each square say no more than one does."""
    squares = one_by_one(SAMPLE)
    once, often = true_areas(squares, MAPPED_HA)[0], true_areas(squares * 100, MAPPED_HA)[0]
    assert often == pytest.approx(once)


def test_the_interval_holds_the_truth_in_about_95_of_100_samples():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        share = random.beta(2, 6, 60)  # of each square of 100 pixels
        true = random.binomial(100, share)
        missed, wrong = random.binomial(true, 0.3), random.binomial(100 - true, 0.05)
        squares = np.array([[[100 - t - w, w], [m, t - m]] for t, m, w in zip(true, missed, wrong, strict=True)])
        # the whole map: 0.25 are truly there; 0.7 of it found, 0.05 of the rest wrong
        mapped = 0.25 * 0.7 + 0.75 * 0.05
        area = true_areas(squares, [1 - mapped, mapped])[1]
        held += area.low <= 0.25 <= area.high
    assert 0.9 <= held / 400 <= 0.985


def test_what_the_sample_cannot_tell_is_not_told():
    squares = one_by_one(np.diag([50, 20]))
    without = np.pad(squares, ((0, 0), (0, 1), (0, 1)))
    assert true_areas(without, [900, 50, 50]) == [None, None, None]  # nothing is known of the ground of the third class
    little = true_areas(without, [900, 99.9, 0.1])
    assert little[0].m2 == pytest.approx(900) and little[2] is None
    assert true_areas(one_by_one(np.diag([50, 7])), [900.0, 100.0])[1] is None  # in too few squares
