"""Step by step from the last layer to everything."""

import json

import pytest
import torch
from safetensors.torch import load_file

from models.architecture import Architecture
from models.freezing import is_frozen
from models.network import build_network
from tests.training.tile_sets import make_base, make_tile_set
from training import course
from training.ladder import RUNGS, TITLES, last_stage, let_learn
from training.run import run
from training.run_folder import read_result
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import events, job_status

SMALL = Architecture(encoder="resnet10t", decoder_channels=16, encoder_levels=3)


@pytest.fixture
def place(tmp_path):
    make_tile_set(tmp_path / "tiles")
    make_base(tmp_path / "base", classes=("Paved road", "Unpaved road"))
    return tmp_path


def a_run(place, folder="run", /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "freeze": "ladder", "epochs": 2, "batch_size": 3, "device": "cpu"}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


def epochs(folder):
    return [e for e in events(folder) if e["kind"] == "epoch"]


def test_what_learns_on_each_rung():
    network = build_network(SMALL, 3, 2)
    names = {id(p): name for name, p in network.encoder.named_parameters()}
    let_learn(network, "backbone")
    assert is_frozen(network.encoder)
    let_learn(network, "early_stages")
    learning = {names[id(p)].split(".")[0] for p in network.encoder.parameters() if p.requires_grad}
    assert learning == {"layer2"}
    network.train()
    assert not any(part.training for part in network.encoder.modules()), "the statistics stay"
    let_learn(network, "nothing")
    assert all(p.requires_grad for p in network.encoder.parameters()) and network.encoder.training


@pytest.mark.parametrize("decoder", ["light", "unet"])
def test_the_last_stage_is_found_whatever_wraps_the_encoder(decoder):
    encoder = build_network(Architecture(encoder="resnet10t", decoder=decoder, encoder_levels=4), 3, 2).encoder
    names = {id(p): name.removeprefix("model.") for name, p in encoder.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in last_stage(encoder)} == {"layer3"}


def test_each_step_is_told_and_the_best_of_all_is_kept(place):
    folder = a_run(place)
    assert run(folder) == 0, job_status(folder).error
    history = epochs(folder)
    assert [e["epoch"] for e in history] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["rung"] for e in history] == [TITLES[RUNGS[0]], *(TITLES[rung] for rung in RUNGS[1:] for _ in range(2))]
    best = read_result(folder)["best_epoch"]
    assert history[best - 1]["mean_iou"] == max(e["mean_iou"] for e in history)
    assert "step by step" in json.loads((folder / "model" / "card.json").read_text())["summary"]


def test_a_base_that_knows_no_class_begins_with_the_decoder(place):
    make_base(place / "blank", classes=())
    folder = a_run(place, base=str(place / "blank"), epochs=1)
    assert run(folder) == 0, job_status(folder).error
    assert [e["rung"] for e in epochs(folder)] == [TITLES[rung] for rung in RUNGS[1:]]


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_killed_climb_ends_like_an_uninterrupted_one(place, monkeypatch, killed_after):
    whole, cut = a_run(place, "whole"), a_run(place, "cut")
    assert run(whole) == 0
    save = course.save_checkpoint
    saved = []

    def dies(*args, **kwargs):
        save(*args, **kwargs)
        saved.append(1)
        if len(saved) == killed_after:
            raise SystemExit(9)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(course, "save_checkpoint", dies)
        run(cut)
    assert run(cut) == 0, job_status(cut).error
    for e, f in zip(epochs(whole), epochs(cut), strict=True):
        assert {k: v for k, v in e.items() if k not in ("seconds", "time")} == {k: v for k, v in f.items() if k not in ("seconds", "time")}
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
