import pytest

from errors import TooFewTilesError, TrainingError
from tests.training.tile_sets import UNPAVED, make_tile_set
from training.monitor import check_classes, f1, selection
from training.settings import TrainingSettings

FACTS = {
    "validation_loss": 0.7,
    "iou": {"Paved road": 0.2, "Unpaved road": 0.6},
    "mean_iou": 0.4,
    "old_classes_iou": 0.8,
    "old_classes_f1": 0.9,
    "reminded": False,
}


def watching(monitor, **changes):
    return TrainingSettings(tiles="x", monitor=monitor, **changes)


@pytest.mark.parametrize(
    ("settings", "score"),
    [
        (watching("mean_iou"), 0.4),
        (watching("class_iou", monitor_class="unpaved road"), 0.6),
        (watching("class_iou", monitor_class="Track"), -1.0),
        (watching("f1"), (1 / 3 + 0.75) / 2),
        (watching("loss"), -0.7),
    ],
)
def test_the_number_that_is_watched(settings, score):
    assert selection(FACTS, settings) == pytest.approx((score, -0.7))


@pytest.mark.parametrize(("monitor", "score"), [("mean_iou", 0.6), ("f1", ((1 / 3 + 0.75) / 2 + 0.9) / 2)])
def test_old_classes_on_reminder_tiles_weigh_as_much(monitor, score):
    assert selection(FACTS | {"reminded": True}, watching(monitor))[0] == pytest.approx(score)


def test_an_unknown_score_is_the_worst():
    nothing = FACTS | {"iou": {}, "mean_iou": None, "old_classes_iou": None}
    assert selection(nothing, watching("mean_iou"))[0] == selection(nothing, watching("f1"))[0] == -1.0


def test_f1_by_hand():
    assert f1(0.5) == pytest.approx(2 / 3)  # 2 hits, 1 false alarm, 1 missed
    assert (f1(0.0), f1(1.0)) == (0.0, 1.0)


def test_a_class_to_watch_must_be_there(tmp_path):
    tiles = make_tile_set(tmp_path / "tiles")
    check_classes(tiles, watching("class_iou", monitor_class="paved road"))
    check_classes(tiles, watching("class_iou", monitor_class="Roof"), ["Roof"])
    for name in ("Roof", ""):
        with pytest.raises(TrainingError) as caught:
            check_classes(tiles, watching("class_iou", monitor_class=name))
        assert "Unpaved road" in caught.value.remedy
    with pytest.raises(TrainingError):
        check_classes(tiles, watching("class_iou", monitor_class="Paved road", ignore_classes=("paved road",)))


def test_something_must_be_left_to_learn(tmp_path):
    tiles = make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,))
    check_classes(tiles, watching("mean_iou", ignore_classes=("Paved road",)))
    with pytest.raises(TooFewTilesError, match="without Unpaved road"):
        check_classes(tiles, watching("mean_iou", ignore_classes=("Unpaved road",)))
