import pytest

from models.values import unlikeness

SENTINEL = [(200.0, 2500.0), (300.0, 3000.0)]


@pytest.mark.parametrize(
    ("here", "hopeless"),
    [
        ([(0.02, 0.25), (0.03, 0.3)], True),  # reflectance 0..1 against 0..10,000
        ([(5, 60), (8, 80)], True),  # 8 bit in a 16-bit file
        ([(1300, 16400), (2000, 19700)], False),  # stretched to 65,535: overlaps, but six times as large
        ([(7000, 9000), (8000, 9900)], False),  # snow: apart, of the same units
        ([(210, 600), (90, 250)], False),  # a lake
    ],
)
def test_other_numbers_are_unlike(here, hopeless):
    found = unlikeness(SENTINEL, here)
    assert found is not None and found.hopeless is hopeless
    assert (found.factor > 1) is (here[0][1] > 2500)


@pytest.mark.parametrize(
    "here",
    [
        SENTINEL,
        [(210, 900), (150, 800)],  # a forest: dark
        [(900, 1000), (1000, 1100)],  # a desert: plain, but within
    ],
)
def test_darker_or_plainer_pictures_are_not_unlike(here):
    assert unlikeness(SENTINEL, here) is None


def test_nothing_to_compare_is_not_unlike():
    assert unlikeness([], []) is None
    assert unlikeness([(0, 0)], [(0, 0)]) is None
