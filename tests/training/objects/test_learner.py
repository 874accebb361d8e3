import json

import pytest
import torch
from safetensors.torch import load_file

from errors import JobCancelled
from models.architecture import Architecture, DetectorArchitecture
from models.bundle import load_bundle
from models.detection import DetectionNetwork
from tests.training.objects.squares import POOL, ROOF, make_squares
from tests.training.tile_sets import make_base
from training import course
from training.run import run
from training.settings import TrainingSettings
from training.tasks import prepared
from workspace.files import write_json
from workspace.jobs import events, job_status

ENCODER = Architecture(encoder="resnet10t", decoder_channels=16)


@pytest.fixture
def place(tmp_path):
    """base/ (an encoder that knows no class)."""
    make_base(tmp_path / "base", classes=(), architecture=ENCODER)
    return tmp_path


def a_run(place, tile_set, folder="run", /, **changes):
    chosen = {"tiles": str(tile_set.folder), "base": str(place / "base"), "batch_size": 2, "augment": "none", "learning_rate": 1e-3}
    settings = TrainingSettings.model_validate(chosen | {"epochs": 1, "freeze": "nothing", "stop_early_after": 0} | changes)
    write_json(place / folder / "settings.json", settings.model_dump())
    return place / folder, settings


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(("detector", "epochs"), [("fasterrcnn", 5), ("maskrcnn", 6), ("ssd", 5)])
def test_squares_are_found_after_training_and_not_before(place, detector, epochs):
    metadata_format = "RCNN_Masks" if detector == "maskrcnn" else "PASCAL_VOC_rectangles"
    tile_set = make_squares(place / "tiles", metadata_format, train=16, validation=4, values=(ROOF, ROOF))
    folder, settings = a_run(place, tile_set, network=detector, epochs=epochs)
    untrained, _ = prepared(settings, lambda what, share: None).score(lambda: None)
    assert untrained["score"] < 0.3
    assert run(folder) == 0, job_status(folder).error
    (score,) = result(folder)["after"]
    assert score["ap50"] > 0.8
    assert score["average_precision"] > 0.1
    assert (score["class"], score["on"], score["objects"]) == ("Roof", "held-out tiles", 6)
    card = load_bundle(folder, DetectionNetwork).card
    assert card.task == ("instance segmentation" if detector == "maskrcnn" else "object detection")
    assert card.scores[0].ap50 == score["ap50"]
    assert [e["by_class"]["Roof"] for e in events(folder)] == [e["score"] for e in events(folder)]
    report = (folder / "report.html").read_text()
    assert "AP50" in report and "<svg" in report


@pytest.mark.parametrize("detector", ["retinanet", "fcos"])
def test_other_detectors_begin_to_learn(place, detector):
    folder, _ = a_run(place, make_squares(place / "tiles", train=6, validation=2), network=detector, epochs=3)
    assert run(folder) == 0, job_status(folder).error
    losses = [e["loss"] for e in events(folder)]
    assert losses[-1] < losses[0]
    assert load_bundle(folder, DetectionNetwork).card.architecture.detector == detector


def test_a_frozen_backbone_stays_bit_for_bit(place):
    folder, _ = a_run(place, make_squares(place / "tiles", train=4, validation=1), network="ssd", freeze="backbone", augment="default")
    assert run(folder) == 0, job_status(folder).error
    before, after = load_file(place / "base" / "model.safetensors"), load_file(folder / "model" / "model.safetensors")
    encoder = {name.removeprefix("encoder."): value for name, value in before.items() if name.startswith("encoder.")}
    assert any("running_mean" in name for name in encoder)
    assert all(torch.equal(value, after[f"detector.backbone.encoder.{name}"]) for name, value in encoder.items())


def test_a_run_that_goes_on_equals_the_uninterrupted_one(place, monkeypatch):
    tile_set = make_squares(place / "tiles", train=3, validation=1)
    through, _ = a_run(place, tile_set, "through", network="fasterrcnn", epochs=3, augment="default")
    stopped, _ = a_run(place, tile_set, "stopped", network="fasterrcnn", epochs=3, augment="default")
    assert run(through) == 0
    saved = course.save_checkpoint

    def dies(folder, fingerprint, progress, *rest):
        saved(folder, fingerprint, progress, *rest)
        if progress.epoch == 2:
            raise JobCancelled("Stopped.")

    with monkeypatch.context() as patched:
        patched.setattr(course, "save_checkpoint", dies)
        assert run(stopped) == 3
    assert run(stopped) == 0
    one, other = (load_file(f / "model" / "model.safetensors") for f in (through, stopped))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert [{k: v for k, v in e.items() if k not in {"time", "seconds"}} for e in events(through)] == [
        {k: v for k, v in e.items() if k not in {"time", "seconds"}} for e in events(stopped)
    ]


def test_a_detector_goes_on_with_what_it_knew(place):
    tile_set = make_squares(place / "tiles", train=8, validation=2, values=(POOL, POOL))
    folder, _ = a_run(place, tile_set, "first", network="ssd", epochs=4)
    assert run(folder) == 0, job_status(folder).error
    both = make_squares(place / "both", train=2, validation=2)
    again, _ = a_run(place, both, "again", base=str(folder), network="auto", learning_rate=1e-6, freeze="backbone")
    assert run(again) == 0, job_status(again).error
    found = result(again)
    assert found["old_classes"] == ["Pool"]
    (before,) = found["before"]
    after = {s["class"]: s["ap50"] for s in found["after"]}
    assert before["class"] == "Pool" and before["ap50"] > 0.8
    assert after["Pool"] == pytest.approx(before["ap50"], abs=0.1)
    assert after["Roof"] < 0.5  # hardly anything was learnt
    card = load_bundle(again, DetectionNetwork).card
    assert card.architecture == load_bundle(folder, DetectionNetwork).card.architecture
    assert [c.name for c in card.classes] == ["Roof", "Pool"]


def test_all_bands_are_learnt_where_everything_learns(place):
    tile_set = make_squares(place / "tiles", train=3, validation=1, bands=4)
    folder, _ = a_run(place, tile_set, network="ssd")
    assert run(folder) == 0, job_status(folder).error
    assert load_bundle(folder, DetectionNetwork).card.input.band_names == ("red", "green", "blue", "nir")


def test_the_smallest_boxes_looked_for_are_as_large_as_small_objects(place):
    _, settings = a_run(place, make_squares(place / "tiles", train=6, validation=1), network="fasterrcnn")
    assert prepared(settings, lambda what, share: None).architecture == DetectorArchitecture(encoder="resnet10t", smallest_px=16)


@pytest.mark.parametrize(
    ("changes", "remedy"), [({"freeze": "all_but_last_layer"}, "Thorough"), ({"replay_tiles": "/anywhere"}, "no reminder tiles")]
)
def test_what_only_pixel_models_can_do_is_refused(place, changes, remedy):
    folder, _ = a_run(place, make_squares(place / "tiles", train=2, validation=1), **changes)
    assert run(folder) == 1
    assert remedy in job_status(folder).remedy
