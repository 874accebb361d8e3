import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from models.architecture import Architecture
from models.bundle import load_bundle
from models.network import SegmentationNetwork
from tests.training.tile_sets import PAVED, UNPAVED, make_base, make_tile_set
from training.compute import Compute
from training.run import main, read_settings, run
from training.run_folder import read_found
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import cancel_job, events, job_status, start_job

FIRST_LOSSES = [2.29623, 2.26199, 2.22967]
"""Of the fixture below, in 32-bit numbers."""


@pytest.fixture
def place(tmp_path):
    """tiles/ (only unpaved drawn) and base/ (knows paved, badly)."""
    make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,))
    make_base(tmp_path / "base")
    return tmp_path


def a_run(place, folder="run", /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "epochs": 3, "batch_size": 3}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_a_frozen_run_leaves_the_encoder_bit_for_bit(place):
    folder = a_run(place)
    assert run(folder) == 0
    before, after = load_file(place / "base" / "model.safetensors"), weights(folder)
    encoder = [name for name in before if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("decoder."))
    epochs = events(folder)
    assert [e["epoch"] for e in epochs] == [1, 2, 3]
    assert {"loss", "validation_loss", "iou", "mean_iou", "old_classes_iou", "seconds"} <= epochs[0].keys()
    assert job_status(folder).state == "done"
    assert not (folder / "checkpoint.pt").exists()


@pytest.mark.parametrize("freeze", ["backbone", "features", "all_but_last_layer"])
def test_tiles_that_are_not_square_are_learnt_from(place, freeze):
    make_tile_set(place / "wide", rows=32, drawn=(UNPAVED,))
    make_base(place / "knows", classes=("Paved road", "Unpaved road"))
    folder = a_run(place, tiles=str(place / "wide"), base=str(place / "knows"), freeze=freeze)
    assert run(folder) == 0, job_status(folder).error
    assert load_bundle(folder / "model").card.input.tile_size == 64


def test_tiles_in_other_units_are_measured_anew_and_the_log_says_so(place, capsys):
    tiles = make_tile_set(place / "deep", drawn=(UNPAVED,), dtype=np.uint16)
    folder = a_run(place, tiles=str(tiles.folder), epochs=1)
    assert run(folder) == 0
    assert "Note: These tiles are uint16, the base model learnt from uint8" in capsys.readouterr().out
    seen = load_bundle(folder / "model").card.input
    assert seen.statistics == tiles.record.band_statistics
    assert seen.mean == tuple(band.mean for band in tiles.record.band_statistics)


@pytest.mark.parametrize("picture", ["PNG", "JPEG"])
@pytest.mark.parametrize("ours", [True, False])
def test_tiles_as_png_and_jpeg_are_learnt_from(place, picture, ours):
    """Made here, and as another program's, split by the places that lie beside the pictures."""
    tiles = make_tile_set(place / picture, drawn=(UNPAVED,), train=8, validation=4, picture=picture)
    if not ours:
        (tiles.folder / "terratune.json").unlink()
    folder = a_run(place, tiles=str(tiles.folder), epochs=1)
    assert run(folder) == 0
    assert job_status(folder).state == "done"
    assert 0 <= events(folder)[0]["mean_iou"] <= 1


def test_a_quick_run_fits_the_last_layer_alone(place):
    folder = a_run(place, freeze="all_but_last_layer")
    assert run(folder) == 0
    before, after = load_file(place / "base" / "model.safetensors"), weights(folder)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.0.weight", "head.0.bias"}
    assert events(folder) == []
    assert job_status(folder).state == "done"
    assert json.loads((folder / "result.json").read_text())["best_epoch"] == 0
    assert "only its last layer" in load_bundle(folder).card.summary


def test_a_base_without_a_last_layer_to_fit_is_told(place):
    make_base(place / "unet", architecture=Architecture(encoder="resnet10t", decoder="unet"))
    folder = a_run(place, freeze="all_but_last_layer", base=str(place / "unet"))
    assert run(folder) == 1
    assert "Thorough" in job_status(folder).remedy


def test_the_new_model_carries_its_facts(place):
    folder = a_run(place, "named", name="My roads", publish_to=str(place / "models" / "my-roads"))
    assert run(folder) == 0
    card = load_bundle(folder).card
    assert card.title == "My roads"
    assert [c.name for c in card.classes] == ["Unpaved road", "Paved road"]
    assert card.input.mean == (70, 70, 70)
    assert card.base.name == "base"
    assert card.base.weights_sha256 == load_bundle(place / "base").card.weights_sha256
    assert {s.class_name for s in card.scores if s.on == "held-out tiles"} == {"Unpaved road"}
    published = load_bundle(place / "models" / "my-roads")
    assert published.card.name == "my-roads"
    assert published.card.weights_sha256 == card.weights_sha256
    result = json.loads((folder / "result.json").read_text())
    assert result["old_classes"] == ["Paved road"]
    assert [s["on"] for s in result["before"] if s["class"] == "Unpaved road"] == ["held-out tiles"]


def test_what_was_left_open_is_found_and_noted(place):
    make_tile_set(place / "tiles", train=16, drawn=(UNPAVED,))
    folder = a_run(place, learning_rate=None, batch_size=None, epochs=1)
    assert run(folder) == 0
    found = read_found(folder)
    assert found["batch_size"] == 2
    assert len(found["sweep"]["rates"]) == len(found["sweep"]["losses"]) > 10
    assert found["learning_rate"] == found["sweep"]["chosen"] > 0
    assert f"learning rate {found['learning_rate']:g}, batches of 2" in load_bundle(folder).card.made_by


def test_memory_that_runs_out_in_the_middle_costs_no_epoch(place, monkeypatch):
    plain, tight = a_run(place, "plain", augment="none"), a_run(place, "tight", augment="none")
    assert run(plain) == 0
    steps = []
    decode = SegmentationNetwork.decode

    def runs_out(self, features, size):
        steps.append(self.training)
        if self.training and sum(steps) > 5 and len(features[0]) > 2:  # in the second epoch
            raise torch.OutOfMemoryError("out of memory")
        return decode(self, features, size)

    monkeypatch.setattr(SegmentationNetwork, "decode", runs_out)
    assert run(tight) == 0
    losses = [[e["loss"] for e in events(f)] for f in (plain, tight)]
    assert len(losses[1]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_time_is_told_before_the_first_epoch(place, monkeypatch):
    from workspace.jobs import JobReporter

    told = []
    monkeypatch.setattr(JobReporter, "progress", lambda self, stage, fraction, left=None: told.append((stage, left)))
    assert run(a_run(place)) == 0
    first = next(i for i, (stage, _) in enumerate(told) if stage.startswith("Epoch"))
    assert told[first - 1][0] == "Starting 3 epochs"
    assert told[first - 1][1] > 0 and told[first][1] > 0


def test_classes_left_out_are_neither_learnt_nor_scored(place):
    make_tile_set(place / "tiles")
    make_base(place / "base", classes=("Roof",))
    folder = a_run(place, ignore_classes=("paved road",), keep_old_classes=False, epochs=1)
    assert run(folder) == 0
    assert [c.name for c in load_bundle(folder).card.classes] == ["Unpaved road"]
    assert {s["class"] for s in json.loads((folder / "result.json").read_text())["after"]} == {"Unpaved road"}


def test_runs_from_before_there_were_three_ways_to_vary_are_read(place):
    folder = a_run(place)
    old = json.loads((folder / "settings.json").read_text())
    for value, now in ((True, "default"), (False, "none")):
        write_json(folder / "settings.json", old | {"augment": value})
        assert read_settings(folder).augment == now


def test_it_learns(place):
    make_tile_set(place / "tiles", train=10, validation=3)
    folder = a_run(place, freeze="nothing", epochs=12, learning_rate=1e-2)
    assert run(folder) == 0
    result = json.loads((folder / "result.json").read_text())
    after = {s["class"]: s["iou"] for s in result["after"]}
    assert after["Unpaved road"] > 0.6
    assert after["Paved road"] > 0.6


def test_same_settings_same_weights(place):
    for name in ("one", "two"):
        assert run(a_run(place, name, epochs=2)) == 0
    one, two = weights(place / "one"), weights(place / "two")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert run(a_run(place, "three", epochs=2, seed=1)) == 0
    three = weights(place / "three")
    assert any(not torch.equal(one[k], three[k]) for k in one)


def test_the_defaults_learn_as_they_always_did(place, monkeypatch):
    """Numbers of the first release: what a setting adds must leave them alone."""
    monkeypatch.setattr("training.prepare.choose_compute", lambda wanted: Compute(torch.device("cpu"), None))
    folder = a_run(place)
    assert run(folder) == 0
    assert [e["loss"] for e in events(folder)] == pytest.approx(FIRST_LOSSES, rel=2e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze": "features"},
        {"freeze": "features", "chip_size": 32, "batch_size": None, "learning_rate": None},
        {"freeze": "nothing"},
        {"schedule": "one_cycle", "loss": "tversky", "monitor": "f1"},
        {"learning_rate": None, "batch_size": None, "chip_size": 32},
        {"augment": "custom", "augment_zoom": 1.0, "loss": "lovasz", "monitor": "loss"},
        {"augment": "none", "loss": "focal", "ignore_classes": ("Paved road",), "monitor": "class_iou", "monitor_class": "Unpaved road"},
    ],
    ids=lambda changes: " ".join(changes) or "defaults",
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(place, monkeypatch, changes):
    """The power fails between the second epoch's checkpoint and its event."""
    whole, cut = a_run(place, "whole", **changes), a_run(place, "cut", **changes)
    assert run(whole) == 0

    from workspace.jobs import JobReporter

    said = JobReporter.event

    def power_cut(self, **facts):
        if facts["epoch"] == 2:
            raise SystemExit("power cut")
        said(self, **facts)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(JobReporter, "event", power_cut)
        run(cut)
    assert [e["epoch"] for e in events(cut)] == [1]
    assert run(cut) == 0
    assert [e["epoch"] for e in events(cut)] == [1, 2, 3]
    facts = [[{k: v for k, v in e.items() if k not in {"time", "seconds"}} for e in events(f)] for f in (whole, cut)]
    assert facts[0] == facts[1]
    one, two = weights(whole), weights(cut)
    assert all(torch.equal(one[k], two[k]) for k in one)


def wait_for(what, seconds=90.0):
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def test_a_killed_job_goes_on_and_a_cancelled_one_stops(place):
    folder = a_run(place, epochs=400, stop_early_after=0)
    start_job(folder, "training.run")
    wait_for(lambda: len(events(folder)) >= 2)
    os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGKILL)
    wait_for(lambda: job_status(folder).state == "interrupted")
    reached = len(events(folder))
    assert load_bundle(folder).card.classes
    start_job(folder, "training.run")
    wait_for(lambda: len(events(folder)) > reached)
    cancel_job(folder)
    asked = time.monotonic()
    wait_for(lambda: job_status(folder).ended, 20)
    assert time.monotonic() - asked < 5
    assert job_status(folder).state == "cancelled"
    assert [e["epoch"] for e in events(folder)] == list(range(1, len(events(folder)) + 1))
    assert "Going on after epoch" in (folder / "log.txt").read_text()


def test_a_full_disk_keeps_the_best_so_far(place, monkeypatch):
    folder = a_run(place)
    from training import course

    saved = course.save_checkpoint

    def full(folder, fingerprint, progress, *rest):
        if progress.epoch == 2:
            raise OSError(28, "No space left on device")
        saved(folder, fingerprint, progress, *rest)

    def as_written(*arguments):
        from workspace.files import disk_full_explained

        with disk_full_explained(folder / "checkpoint.pt"):
            full(*arguments)

    monkeypatch.setattr(course, "save_checkpoint", as_written)
    assert run(folder) == 1
    status = job_status(folder)
    assert status.state == "failed"
    assert "disk is full" in status.error
    assert status.remedy
    assert load_bundle(folder).card.classes
    monkeypatch.undo()
    assert run(folder) == 0
    assert [e["epoch"] for e in events(folder)] == [1, 2, 3]


def test_old_knowledge_is_measured_on_reminder_tiles(place):
    make_tile_set(place / "reminders", shown=(PAVED,), size=96)
    folder = a_run(place, replay_tiles=str(place / "reminders"), replay_share=0.5, epochs=2)
    assert run(folder) == 0
    result = json.loads((folder / "result.json").read_text())
    for when in ("before", "after"):
        assert ("held-out reminder tiles", "Paved road") in {(s["on"], s["class"]) for s in result[when]}
    assert all(e["old_classes_iou"] is not None for e in events(folder))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: make_tile_set(p / "tiles", validation=0), "validation"),
        (lambda p: make_tile_set(p / "tiles", drawn=()), "No training tile"),
        (lambda p: make_tile_set(p / "tiles", bands=("red", "nir")), "needs the band"),
        (lambda p: (p / "base" / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda p: (p / "tiles" / "terratune.json").write_text("{"), "damaged"),
        (lambda p: (p / "base" / "card.json").unlink(), "There is no model"),
    ],
)
def test_bad_input_ends_with_a_clear_status(place, make, words):
    make(place)
    folder = a_run(place)
    assert run(folder) == 1
    status = job_status(folder)
    assert status.state == "failed"
    assert words in status.error
    assert status.remedy


def test_the_command_writes_a_run_that_repeats(place):
    out = place / "by-hand"
    arguments = ["--tiles", str(place / "tiles"), "--base", str(place / "base"), "--freeze", "backbone", "--epochs", "1", "--out", str(out)]
    ran = call(*arguments)
    assert ran.exit_code == 0, ran.output
    assert "epoch 1/1" in ran.output
    first = weights(out)
    assert read_settings(out).epochs == 1
    assert read_settings(out) == TrainingSettings(tiles=str(place / "tiles"), base=str(place / "base"), epochs=1)
    assert call(str(out)).exit_code == 0
    assert all(torch.equal(first[k], t) for k, t in weights(out).items())


def test_the_command_takes_every_setting(place):
    out = place / "by-hand"
    words = {"tiles": place / "tiles", "base": place / "base", "epochs": 1, "learning-rate": "auto", "batch-size": "auto"}
    words |= {"schedule": "one_cycle", "loss": "dice", "ignore-class": "Paved road", "chip-size": 32, "augment": "custom", "monitor": "f1"}
    ran = call(*(str(part) for name, value in words.items() for part in (f"--{name}", value)), "--no-augment-turn", "--out", str(out))
    assert ran.exit_code == 0, ran.output
    asked = read_settings(out)
    assert (asked.learning_rate, asked.batch_size, asked.chip_size) == (None, None, 32)
    assert (asked.schedule, asked.loss, asked.augment, asked.augment_turn, asked.monitor) == ("one_cycle", "dice", "custom", False, "f1")
    assert asked.ignore_classes == ("Paved road",)


def test_the_command_has_an_option_for_each_setting():
    import inspect

    assert set(inspect.signature(main).parameters) >= set(TrainingSettings.model_fields) - {"publish_to"}


def test_the_command_refuses_a_folder_with_another_run(place):
    a_run(place, "run")
    ran = call("--tiles", str(place / "tiles"), "--base", str(place / "base"), "--epochs", "7", "--out", str(place / "run"))
    assert ran.exit_code == 1
    assert "other settings" in ran.output


@pytest.mark.parametrize(
    "arguments", [[], ["--out", "x"], ["--tiles", "x", "--out", "y", "--epochs", "0"], ["--tiles", "x", "--out", "y", "--freeze", "some"]]
)
def test_the_command_explains_what_is_missing(arguments):
    ran = call(*arguments)
    assert ran.exit_code == 2
    assert "Error" in ran.output


def test_settings_refuse_what_they_do_not_know(place):
    folder = a_run(place)
    write_json(folder / "settings.json", {"tiles": "x", "surprise": 1})
    assert run(folder) == 1
    assert "surprise" in job_status(folder).error


def call(*arguments):
    import typer

    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, list(arguments))
