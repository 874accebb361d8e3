"""Runs whose backbone learns through adapters."""

import pytest
import torch

from errors import TrainingError
from models.adapters import has_adapters
from models.architecture import Architecture
from models.bundle import load_bundle
from models.card import read_card
from tests.training.tile_sets import SMALL, UNPAVED, make_base, make_tile_set
from training import course
from training.inputs import check_choices
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import events

PVT = Architecture(encoder="pvt_v2_b0", decoder_channels=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    make_tile_set(folder / "tiles", train=4, validation=2, drawn=(UNPAVED,))
    make_base(folder / "base", architecture=PVT)
    return folder


def a_run(place, name, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "freeze": "adapters", "epochs": 3, "batch_size": 2, "device": "cpu"}
    write_json(place / name / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / name


def weights(folder):
    return load_bundle(folder).network.state_dict()


def test_the_new_model_is_an_ordinary_one_whose_attention_alone_moved(place):
    folder = a_run(place, "run", learning_rate=5e-3)
    assert run(folder) == 0
    bundle = load_bundle(folder)
    assert bundle.card.architecture == PVT
    assert "small additions to its attention" in bundle.card.summary
    assert not has_adapters(bundle.network)
    before, after = weights(place / "base"), weights(folder)
    moved = {name for name in before if name.startswith("encoder.") and not torch.equal(before[name], after[name])}
    assert moved
    assert all(".attn." in name and name.endswith(".weight") for name in moved)


def test_a_resumed_run_ends_like_an_uninterrupted_one(place, monkeypatch):
    whole = a_run(place, "whole")
    assert run(whole) == 0
    stopped = a_run(place, "stopped")
    save = course.save_checkpoint

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    monkeypatch.setattr(course, "save_checkpoint", save)
    assert run(stopped) == 0
    assert [e["loss"] for e in events(stopped)] == [e["loss"] for e in events(whole)]
    here, there = weights(stopped), weights(whole)
    assert all(torch.equal(here[name], there[name]) for name in there)


def test_a_backbone_without_attention_is_refused(place):
    settings = TrainingSettings(tiles="tiles", freeze="adapters")
    check_choices(settings, PVT)
    with pytest.raises(TrainingError, match="no transformer"):
        check_choices(settings, SMALL)
    assert read_card(place / "base").architecture == PVT
