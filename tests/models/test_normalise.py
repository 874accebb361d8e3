import numpy as np
import pytest

from models.normalise import normalised


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_every_value_of_a_small_type_is_scaled_exactly(dtype):
    values = np.array([0, 1, 255, 77], dtype)[None, None] if dtype == "uint8" else np.array([0, 1, 32767, -5 if dtype != "uint16" else 65535], dtype)[None, None]
    found = normalised(values, np.ones((1, 4), bool), [0.0], [1.0])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float64"])
def test_wide_types_lose_no_digit_before_the_mean_is_taken_off(dtype):
    values = np.array([2**30 + 1, 2**30 + 2, 2**30 + 3], dtype)[None, None]
    np.testing.assert_array_equal(normalised(values, np.ones((1, 3), bool), [2**30], [1.0])[0, 0], [1, 2, 3])


def test_pixels_without_imagery_are_zero_whatever_they_hold():
    values = np.array([np.nan, np.inf, 3e38, 7], np.float32)[None, None]
    valid = np.array([[False, False, False, True]])
    np.testing.assert_array_equal(normalised(values, valid, [5.0], [2.0])[0, 0], [0, 0, 0, 1])
