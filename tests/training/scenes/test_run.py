"""Whole runs on tiles that each have a class."""

import pytest
import torch
from safetensors.torch import load_file

from models.architecture import SceneArchitecture
from models.bundle import load_bundle
from models.network import SceneNetwork
from tests.training.scenes.makers import FIELD, TOWN, WATER, make_scenes
from tests.training.tile_sets import make_base
from training.run import run
from training.run_folder import read_result
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import events, job_status


@pytest.fixture
def place(tmp_path):
    """tiles/ and base/ (a road model that learnt nothing)."""
    make_scenes(tmp_path / "tiles")
    make_base(tmp_path / "base")
    return tmp_path


def a_run(place, folder="run", /, **changes):
    chosen = {"tiles": str(place / "tiles"), "base": str(place / "base"), "epochs": 12, "batch_size": 6, "learning_rate": 0.01, "device": "cpu"}
    write_json(place / folder / "settings.json", TrainingSettings.model_validate(chosen | changes).model_dump())
    return place / folder


def test_what_tiles_show_is_learnt_over_a_frozen_backbone(place):
    folder = a_run(place)
    assert run(folder) == 0, job_status(folder).error
    bundle = load_bundle(folder / "model", SceneNetwork)
    assert bundle.card.task == "scene classification"
    assert [c.name for c in bundle.card.classes] == ["Water", "Field", "Town"]
    before, after = load_file(place / "base" / "model.safetensors"), load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("encoder."))
    history = [e for e in events(folder) if e["kind"] == "epoch"]
    assert history[-1]["accuracy"] > 0.85 > 0.6 > history[0]["accuracy"] or history[-1]["accuracy"] == 1
    assert {s["class"]: s["tiles"] for s in read_result(folder)["after"]} == {"Water": 3, "Field": 3, "Town": 3}
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "How well it tells tiles apart" in report and "too few to tell" in report


def test_an_untrained_model_does_not_know(place):
    folder = a_run(place, epochs=1, learning_rate=1e-9)
    assert run(folder) == 0
    assert max(e["accuracy"] for e in events(folder) if e["kind"] == "epoch") < 0.7


def test_a_model_that_knows_the_classes_starts_with_what_it_knows(place):
    first = a_run(place)
    assert run(first) == 0
    again = a_run(place, "again", base=str(first / "model"), epochs=1, learning_rate=1e-9)
    assert run(again) == 0
    before, after, learnt = ([(s["class"], s["recall"], s["precision"]) for s in scores] for scores in (*map(read_result(again).get, ("before", "after")), read_result(first)["after"]))
    assert before == after == learnt


def test_a_tile_may_have_several_classes(place):
    make_scenes(place / "both", metadata_format="MultiLabeled_Tiles", shown=lambda i: [(WATER,), (FIELD, TOWN), (WATER, TOWN), (FIELD,)][i % 4])
    folder = a_run(place, tiles=str(place / "both"), epochs=20)
    assert run(folder) == 0, job_status(folder).error
    bundle = load_bundle(folder / "model", SceneNetwork)
    assert isinstance(bundle.card.architecture, SceneArchitecture) and bundle.card.architecture.several
    history = [e for e in events(folder) if e["kind"] == "epoch"]
    assert history[-1]["score"] > 0.85


def test_the_best_epoch_may_go_by_one_class(place):
    folder = a_run(place, monitor="class_iou", monitor_class="town", epochs=4, stop_early_after=0)
    assert run(folder) == 0, job_status(folder).error
    history = [(e["by_class"]["Town"], -e["validation_loss"]) for e in events(folder)]
    assert read_result(folder)["best_epoch"] == history.index(max(history)) + 1
    nowhere = a_run(place, "nowhere", monitor="class_iou", monitor_class="Forest")
    assert run(nowhere) == 1
    assert "no class 'Forest'" in job_status(nowhere).error


def test_one_class_alone_is_refused(place):
    make_scenes(place / "water", shown=lambda i: (WATER,))
    folder = a_run(place, tiles=str(place / "water"))
    assert run(folder) == 1
    assert "nothing to tell apart" in job_status(folder).error


def test_there_is_no_quick_training(place):
    folder = a_run(place, freeze="all_but_last_layer")
    assert run(folder) == 1
    assert "Thorough" in job_status(folder).remedy
