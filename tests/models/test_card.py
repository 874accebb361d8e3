import pytest
from pydantic import ValidationError

from errors import InputMismatchError
from models.card import ModelCard, ModelInput, Score, band_order, check_input
from tests.models.cards import a_card


def test_fitting_imagery_has_no_warning():
    assert check_input(a_card(), ["red", "GREEN", "blue", "NIR"], "uint8", 0.6) == []


@pytest.mark.parametrize(("resolution", "word"), [(1.2, "coarser"), (0.2, "finer")])
def test_another_resolution_is_warned_about(resolution, word):
    (warning,) = check_input(a_card(), ["Red", "Green", "Blue"], "uint8", resolution)
    assert word in warning


def test_missing_bands_are_named():
    with pytest.raises(InputMismatchError, match="Green, Blue") as caught:
        check_input(a_card(), ["Red", "NIR"], "uint8", 0.5)
    assert caught.value.remedy


def test_another_dtype_is_refused():
    with pytest.raises(InputMismatchError, match="uint16"):
        check_input(a_card(), ["Red", "Green", "Blue"], "uint16", 0.5)


def test_bands_are_found_by_name():
    assert band_order(a_card().input, ["NIR", "Blue", "Green", "Red"]) == [3, 2, 1]


def test_normalisation_needs_one_number_per_band():
    with pytest.raises(ValidationError, match="one number per band"):
        ModelInput(band_names=("a", "b"), mean=(1,), std=(1, 1), resolution_m=1, tile_size=64)
    with pytest.raises(ValidationError, match="above 0"):
        ModelInput(band_names=("a",), mean=(1,), std=(0,), resolution_m=1, tile_size=64)


def test_scores_survive_json():
    card = a_card(scores=(Score(on="demo", class_name="Paved road", iou=0.5),))
    text = card.model_dump_json(by_alias=True)
    assert '"class":"Paved road"' in text
    assert ModelCard.model_validate_json(text) == card


def test_bands_without_names_are_taken_in_order_and_said_so():
    assert band_order(a_card().input, ["band_1", "band_2", "band_3", "band_4"]) == [0, 1, 2]
    (warning,) = check_input(a_card(), ["1", "2", "3"], "uint8", None)
    assert "in order" in warning
    with pytest.raises(InputMismatchError):
        band_order(a_card().input, ["band_1"])
