import pytest
from pydantic import ValidationError

from errors import InputMismatchError
from models.architecture import Architecture, DetectorArchitecture, SceneArchitecture
from models.card import ModelCard, ModelInput, Score, band_order, check_input, read_card, reading_factor, write_card
from models.values import BandStatistics
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


def with_values(dtype: str = "uint16", **facts) -> ModelCard:
    """Learnt from red, green, blue between 200 and 3,000."""
    band = BandStatistics(min=100, max=4000, mean=1500, std=700, p2=200, p98=3000, count=9)
    return a_card(input=a_card().input.model_copy(update={"dtype": dtype, "statistics": (band,) * 3, **facts}))


def test_bands_by_other_names_and_in_another_order_are_found_and_said():
    model = a_card().input.model_copy(update={"band_names": ("red", "green", "nir")})
    assert band_order(model, ["B02", "B03", "B04", "B08"]) == [2, 1, 3]
    (note,) = check_input(a_card(), ["blue", "green", "red"], "uint8", None)
    assert "Red is band 3, Green is band 2, Blue is band 1" in note


@pytest.mark.parametrize(("resolution", "factor"), [(0.9, 1), (0.3, 1), (0.1, 5), (1.5, 1 / 3)])
def test_beyond_twice_the_resolution_imagery_is_read_at_the_models(resolution, factor):
    assert reading_factor(a_card().input, resolution) == pytest.approx(factor)


@pytest.mark.parametrize(("resolution", "words"), [(2.5, "too coarse"), (0.01, "too fine"), (99.7, "100 m per pixel"), (1113.2, "1,113 m per pixel")])
def test_hopeless_resolutions_are_refused_with_a_way_out(resolution, words):
    with pytest.raises(InputMismatchError, match=words) as caught:
        check_input(a_card(), ["Red", "Green", "Blue"], "uint8", resolution)
    assert "tiles of this imagery" in caught.value.remedy


def test_values_of_other_units_are_refused_unlike_ones_told():
    bands = ["Red", "Green", "Blue"]
    assert check_input(with_values(), bands, "uint16", None, [(150, 2000)] * 3) == []
    with pytest.raises(InputMismatchError, match=r"between 10 and 100, in training between 200 and 3,000 \(30 times smaller\)") as caught:
        check_input(with_values(), bands, "uint16", None, [(10, 100)] * 3)
    assert "other units" in caught.value.remedy
    (note,) = check_input(with_values(), bands, "uint16", None, [(900, 19000)] * 3)
    assert "Expect poor results" in note
    (note,) = check_input(with_values("uint8"), bands, "uint8", None, [(2, 9)] * 3)  # a dark picture: 8 bits have no other units
    assert "unlike" in note


def test_only_known_ranges_are_compared_and_older_cards_have_none():
    assert check_input(with_values(), ["Red", "Green", "Blue"], "uint16", None, [None, None, None]) == []
    assert check_input(a_card(), ["Red", "Green", "Blue"], "uint8", None, [(0, 1)] * 3) == []


def test_nodata_that_is_not_marked_is_told():
    (note,) = check_input(with_values(nodata=0.0), ["Red", "Green", "Blue"], "uint16", None, [(0, 3000)] * 3)
    assert "meant 'no imagery' in training" in note


def test_statistics_are_for_each_band():
    with pytest.raises(ValidationError, match="for each band"):
        ModelInput(band_names=("a", "b"), mean=(1, 1), std=(1, 1), tile_size=64, statistics=with_values().input.statistics)


@pytest.mark.parametrize(
    ("architecture", "task", "outputs"),
    [
        (Architecture(), "semantic segmentation", 2),
        (Architecture(images=2), "change detection", 2),
        (DetectorArchitecture(), "object detection", 2),
        (DetectorArchitecture(detector="maskrcnn"), "instance segmentation", 2),
        (SceneArchitecture(), "scene classification", 1),
    ],
)
def test_the_architecture_tells_the_task(tmp_path, architecture, task, outputs):
    write_card(tmp_path, a_card(architecture=architecture))
    again = read_card(tmp_path)
    assert (again.architecture, again.task, again.outputs) == (architecture, task, outputs)


def test_a_score_says_what_is_measured():
    of = {"on": "held-out tiles", "class_name": "House"}
    assert Score(**of, iou=0.5, precision=0.8).measured == ("IoU", 0.5)
    assert Score(**of, objects=9, ap50=0.7, average_precision=0.3).measured == ("AP50", 0.7)
    assert Score(**of, tiles=4, precision=0.5, recall=1.0).measured == ("F1", pytest.approx(2 / 3))
    assert Score(**of, tiles=4, precision=None, recall=0.0).measured == ("F1", 0.0)
