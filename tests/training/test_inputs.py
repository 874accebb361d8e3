import numpy as np
import pytest

from errors import InputMismatchError, TooFewTilesError, TrainingError
from models.architecture import ArcGISArchitecture, Architecture
from models.card import ModelInput
from tests.models.cards import a_card
from tests.training.tile_sets import make_tile_set
from tiles.resolution import resolution_range_m
from tiles.tile_set import TileSet
from training.dataset import TileData
from training.inputs import check_enough, check_quick, check_replay, check_start, input_for, measured_anew, reminders_apart, warnings_on
from training.settings import TrainingSettings
from training.tasks import starting_card


def test_another_dtype_takes_the_tile_sets_statistics(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", dtype=np.uint16)
    made = input_for(a_card(), tile_set, frozen=True)
    assert made.dtype == "uint16"
    assert made.mean == pytest.approx([b.mean for b in tile_set.record.band_statistics])
    image = TileData(tile_set, tile_set.train, made, np.zeros(256, np.uint8)).batch(range(6)).image
    assert abs(float(image.mean())) < 0.1


def test_a_frozen_backbone_keeps_its_bands_a_learning_one_takes_all(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", bands=("red", "green", "blue", "nir"))
    assert [n.casefold() for n in input_for(a_card(), tile_set, frozen=True).band_names] == ["red", "green", "blue"]
    learning = input_for(a_card(), tile_set, frozen=False)
    assert [n.casefold() for n in learning.band_names] == ["red", "green", "blue", "nir"]
    assert learning.mean[:3] == (1, 2, 3)
    assert learning.mean[3] == pytest.approx(tile_set.record.band_statistics[3].mean)


def test_missing_bands_are_refused_only_when_frozen(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", bands=("red", "nir"))
    with pytest.raises(InputMismatchError, match="Green, Blue") as caught:
        input_for(a_card(), tile_set, frozen=True)
    assert "train 'Everything'" in caught.value.remedy
    assert input_for(a_card(), tile_set, frozen=False).band_names == ("red", "nir")


def test_a_backbone_that_knows_nothing_is_never_frozen(tmp_path):
    base, network = a_card(title="Photographs: MobileNet"), ArcGISArchitecture(backbone="resnet18")
    everything, *others = (TrainingSettings(tiles="t", freeze=freeze) for freeze in ("nothing", "backbone", "ladder", "all_but_last_layer"))
    for settings in others:
        with pytest.raises(TrainingError, match="'Photographs: MobileNet' has no plain ResNet") as caught:
            check_start(settings, base, network)
        assert "ResNet-18" in caught.value.remedy and "'Everything'" in caught.value.remedy
        check_start(settings, a_card(architecture=Architecture(encoder="resnet18", encoder_levels=5)), network)
        check_start(settings, a_card(architecture=network), network)
    check_start(everything, base, network)
    assert any("starts from nothing" in words for words in warnings_on(starting_card(base, network), make_tile_set(tmp_path / "t")))


def test_a_quick_training_wants_a_model_that_has_learnt_something():
    check_quick("Paved roads", True)
    with pytest.raises(TrainingError, match="'Photographs' knows no class yet") as caught:
        check_quick("Photographs", False)
    assert "Thorough" in caught.value.remedy


@pytest.mark.parametrize(("train", "validation", "words"), [(0, 2, "0 tiles for training"), (3, 0, "0 for validation")])
def test_both_sides_are_needed(tmp_path, train, validation, words):
    with pytest.raises(TooFewTilesError, match=words) as caught:
        check_enough(make_tile_set(tmp_path / "t", train=train, validation=validation))
    assert "Label" in caught.value.remedy


def test_tiles_without_any_class_teach_nothing(tmp_path):
    with pytest.raises(TooFewTilesError, match="Unpaved road"):
        check_enough(make_tile_set(tmp_path / "t", drawn=()))


def test_reminder_tiles_must_be_readable(tmp_path):
    wanted = ModelInput(band_names=("red", "green", "blue"), mean=(0, 0, 0), std=(1, 1, 1), resolution_m=0.5, tile_size=64)
    check_replay(make_tile_set(tmp_path / "good"), wanted)
    with pytest.raises(InputMismatchError, match="uint16"):
        check_replay(make_tile_set(tmp_path / "deep", dtype=np.uint16), wanted)
    with pytest.raises(InputMismatchError, match="blue"):
        check_replay(make_tile_set(tmp_path / "two", bands=("red", "green")), wanted)


def deep_base(mean: float, std: float):
    """A base model of 16-bit imagery."""
    seen = ModelInput(band_names=("red", "green", "blue"), dtype="uint16", mean=(mean,) * 3, std=(std,) * 3, resolution_m=0.5, tile_size=64)
    return a_card(input=seen)


def test_the_new_input_carries_the_facts_of_the_tiles(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", bands=("blue", "green", "red"))
    made = input_for(a_card(), tile_set, frozen=True)
    assert made.statistics == tuple(reversed(tile_set.record.band_statistics))
    assert (made.crs, made.nodata, made.resolution_m) == ("EPSG:32611", None, 0.5)


def test_values_in_another_range_are_measured_anew_and_that_is_said(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", dtype=np.uint16)  # about 4,000 to 21,000
    assert measured_anew(deep_base(9000, 6000), tile_set) == ""
    assert input_for(deep_base(9000, 6000), tile_set, frozen=True).mean == (9000,) * 3
    assert "another range" in measured_anew(deep_base(100, 50), tile_set)
    assert input_for(deep_base(100, 50), tile_set, frozen=True).mean == pytest.approx([b.mean for b in tile_set.record.band_statistics])
    assert "uint16" in measured_anew(a_card(), tile_set)


def test_reminder_tiles_in_other_units_are_refused(tmp_path):
    replay = make_tile_set(tmp_path / "t", dtype=np.uint16)
    with pytest.raises(InputMismatchError, match="another range"):
        check_replay(replay, deep_base(100, 50).input)


def test_tiles_of_another_ground_resolution_are_told_with_a_way_out(tmp_path):
    tile_set = make_tile_set(tmp_path / "t")
    assert warnings_on(a_card(), tile_set) == []
    fine = a_card(input=a_card().input.model_copy(update={"resolution_m": 2.0}))
    (warning,) = warnings_on(fine, tile_set)
    assert "much finer" in warning and "about 2 m" in warning
    coarse = a_card(input=a_card().input.model_copy(update={"resolution_m": 0.1}))
    (warning,) = warnings_on(coarse, tile_set)
    assert "much coarser" in warning


def test_tiles_of_several_resolutions_are_told(tmp_path):
    tile_set = make_tile_set(tmp_path / "t")
    first, *rest = tile_set.record.tiles
    a, b, c, d, e, f = first.transform
    coarse = first.model_copy(update={"raster": "y", "transform": (3 * a, b, c, d, 3 * e, f)})
    mixed = TileSet(tile_set.folder, tile_set.record.model_copy(update={"tiles": (coarse, *rest)}))
    assert resolution_range_m(mixed.record) == pytest.approx((0.5, 1.5), rel=0.01)
    for base in (a_card(), None):  # also for an encoder that is not fetched yet
        (warning,) = warnings_on(base, mixed)
        assert "0.5 to 1.5 m" in warning


def test_tiles_without_band_names_are_told(tmp_path):
    (warning,) = warnings_on(a_card(), make_tile_set(tmp_path / "t", bands=("band_1", "band_2", "band_3")))
    assert "Imagery page" in warning


def test_reminder_tiles_on_the_ground_of_the_test_are_left_out(tmp_path):
    """Both sets have their tiles a kilometre apart from the same point on: numbers 3 and 4 are learnt from there, scored on here."""
    here = make_tile_set(tmp_path / "here", train=3, validation=2)
    replay = make_tile_set(tmp_path / "replay", train=5, validation=2)
    learnt, tested = reminders_apart(replay, here)
    assert [t.name[-1] for t in learnt] == ["0", "1", "2"]
    assert [t.name[-1] for t in tested] == ["5", "6"]
    assert [t.name[-1] for t in reminders_apart(here, replay)[1]] == []
    with pytest.raises(TooFewTilesError, match="would spoil it"):
        reminders_apart(make_tile_set(tmp_path / "other", train=2), make_tile_set(tmp_path / "tested", train=0, validation=2))
