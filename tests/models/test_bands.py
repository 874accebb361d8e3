import pytest

from models.bands import meanings, unnamed


@pytest.mark.parametrize("name", ["nir", "NIR", "Near Infrared", "near_infrared", "NIR1", "nir_1", "NearInfrared_1", "B08", "Infrared"])
def test_one_band_goes_by_many_names(name):
    assert meanings([name]) == ("nir",)


def test_two_bands_never_get_the_same_meaning():
    assert meanings(["nir_1", "nir_2"]) == ("nir", "nir2")
    assert meanings(["nir1", "NIR"]) == ("nir1", "nir")
    assert meanings(["B08", "infrared"]) == ("nir", "infrared")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["B2", "B3", "B4", "B8"], ("blue", "green", "red", "nir")),
        (["B2", "B3", "B4", "B5", "B8", "B8A"], ("blue", "green", "red", "b05", "nir", "b8a")),
        (["B1", "B2", "B3", "B4", "B8", "B8A", "B9", "B11"], ("coastal", "blue", "green", "red", "nir", "b8a", "b09", "b11")),
        (["B01", "B05", "B11"], ("coastal", "b05", "b11")),
        (["B2", "B3", "B4", "B5", "B8"], ("b2", "b3", "b4", "b5", "b8")),
        (["B1", "B2", "B3", "B4"], ("b1", "b2", "b3", "b4")),
    ],
)
def test_plain_numbers_of_satellites_only_mean_something_together(names, expected):
    """Landsat 8 also has B2, B3, B4 and B8, where B8 is panchromatic; its B5 tells."""
    assert meanings(names) == expected


def test_numbers_are_no_names():
    assert unnamed(["band_1", "2", "Band 3"])
    assert not unnamed(["band_1", "red"])
