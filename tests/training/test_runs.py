import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file

from errors import JobError, TrainingError
from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from training.run import run
from training.run_folder import read_notes, read_settings, write_notes, write_settings
from training.runs import delete_run, differences, in_words, list_runs, new_run, read_run, run_again
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import JobStatus, events, start_job
from workspace.project import create_project


@pytest.fixture
def project(tmp_path):
    made = create_project(tmp_path / "projects", "One")
    make_tile_set(made.tiles_folder / "tracks", drawn=(UNPAVED,))
    make_base(made.models_folder / "base")
    return made


def settings_in(project, **changes):
    chosen = {"tiles": str(project.tiles_folder / "tracks"), "base": str(project.models_folder / "base"), "name": "Fire roads", "epochs": 2}
    return TrainingSettings.model_validate(chosen | changes)


def test_a_copied_project_trains_on_its_own_tiles_and_base(project, tmp_path):
    folder = new_run(project, settings_in(project))
    noted = json.loads((folder / "settings.json").read_text())
    assert (noted["tiles"], noted["base"], noted["publish_to"]) == ("tiles/tracks", "models/base", "models/fire-roads")
    copy = tmp_path / "projects" / "copy"
    project.folder.rename(copy)
    asked = read_settings(copy / "runs" / "fire-roads")
    assert (asked.tiles, asked.base) == (str(copy / "tiles" / "tracks"), str(copy / "models" / "base"))
    assert run(copy / "runs" / "fire-roads") == 0
    assert (copy / "models" / "fire-roads" / "card.json").exists()


def test_runs_with_absolute_folders_are_read_where_the_project_lies_now(project, tmp_path):
    folder = project.runs_folder / "old"
    write_json(folder / "settings.json", settings_in(project, publish_to=str(project.models_folder / "old")).model_dump(mode="json"))
    copy = tmp_path / "moved"
    project.folder.rename(copy)
    asked = read_settings(copy / "runs" / "old")
    assert (asked.tiles, asked.base) == (str(copy / "tiles" / "tracks"), str(copy / "models" / "base"))
    assert asked.publish_to == str(copy / "models" / "old")


def test_the_name_of_a_base_model_stays_a_name(project):
    folder = new_run(project, settings_in(project, base="paved-roads-starter"))
    assert read_settings(folder).base == "paved-roads-starter"


def test_a_copied_run_goes_on_where_it_was(project, tmp_path, monkeypatch):
    from workspace.jobs import JobReporter

    folder = new_run(project, settings_in(project))

    def power_cut(self, **facts):
        raise SystemExit("power cut")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(JobReporter, "event", power_cut)
        run(folder)
    copy = tmp_path / "copy"
    shutil.copytree(project.folder, copy)
    shutil.rmtree(project.folder)
    told = []
    monkeypatch.setattr("typer.echo", lambda text, **_: told.append(text))
    assert run(copy / "runs" / folder.name) == 0
    assert "Going on after epoch 1." in told


def test_a_run_never_takes_the_folder_of_a_model_that_is_there(project):
    first = new_run(project, settings_in(project))
    (project.models_folder / "fire-roads").mkdir()
    delete_run(first)
    second = new_run(project, settings_in(project))
    assert second.name == "fire-roads-2"
    assert read_settings(second).publish_to == str(project.models_folder / "fire-roads-2")


def test_what_the_list_says(project):
    folder = new_run(project, settings_in(project))
    assert [(r.name, r.tiles, r.base, r.status.state, r.score, r.seconds) for r in list_runs(project)] == [
        ("Fire roads", "tracks", "Base", "waiting", None, None)
    ]
    assert run(folder) == 0
    found = read_run(folder)
    assert found.score == pytest.approx(max(e["mean_iou"] for e in events(folder)))
    assert found.measure == "IoU"
    assert found.seconds == pytest.approx(sum(e["seconds"] for e in events(folder)))
    assert found.is_honest
    assert len(found.epochs) == 2


def test_damaged_settings_leave_the_rest_of_the_list(project):
    folder = new_run(project, settings_in(project))
    other = new_run(project, settings_in(project, name="Other"))
    (folder / "settings.json").write_text("{")
    assert {(r.name, r.settings is None, r.base) for r in list_runs(project)} == {("fire-roads", True, ""), ("Other", False, "Base")}
    assert other.name == "other"


def test_a_quick_run_took_from_start_to_end(project):
    folder = new_run(project, settings_in(project, freeze="all_but_last_layer"))
    write_json(folder / "status.json", JobStatus(state="done", started=100.0, updated=104.5).model_dump())
    assert read_run(folder).seconds == 4.5


def test_again_comes_to_the_same_numbers(project):
    first = new_run(project, settings_in(project, learning_rate=None, batch_size=None))
    assert run(first) == 0
    second = run_again(project, read_run(first))
    assert read_settings(second).learning_rate == json.loads((first / "found.json").read_text())["learning_rate"]
    assert read_settings(second).name == "Fire roads again"
    assert run(second) == 0
    assert [e["loss"] for e in events(first)] == [e["loss"] for e in events(second)]
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert read_settings(run_again(project, read_run(second))).name == "Fire roads again 2"


def test_again_without_readable_settings_is_refused(project):
    folder = new_run(project, settings_in(project))
    (folder / "settings.json").write_text("{")
    with pytest.raises(TrainingError):
        run_again(project, read_run(folder))


def test_deleting_leaves_the_model_and_refuses_what_is_at_work(project):
    folder = new_run(project, settings_in(project))
    assert run(folder) == 0
    model = project.models_folder / "fire-roads" / "card.json"
    delete_run(folder)
    assert not folder.exists() and model.exists()
    busy = new_run(project, settings_in(project, epochs=1000, stop_early_after=0))
    start_job(busy, "training.run")
    try:
        with pytest.raises(JobError, match="still running"):
            delete_run(busy)
    finally:
        from workspace.jobs import cancel_job, process_alive

        cancel_job(busy)
        while process_alive(busy):
            time.sleep(0.05)


def test_what_two_runs_differ_in_is_in_the_words_of_the_form(project):
    one = settings_in(project)
    other = settings_in(project, name="Other", learning_rate=None, augment="none", keep_old_classes=False, ignore_classes=("Roof", "Wall"))
    assert differences(one, other) == [
        ("Keep what the base model knows", "on", "off"),
        ("Leave out classes", "None: learn all", "Roof, Wall"),
        ("Vary the tiles", "As usual", "Off"),
        ("Learning rate", "0.0005", "found by a trial"),
    ]
    assert differences(one, one.model_copy(update={"publish_to": "x"})) == []
    assert in_words("tiles", "/a/tiles/tracks") == "tracks"
    assert in_words("freeze", "backbone") == "Thorough"


def test_notes_are_plain_text_in_the_run_folder(project):
    folder = new_run(project, settings_in(project))
    assert read_notes(folder) == ""
    write_notes(folder, "Too few tracks in the north.")
    assert (folder / "notes.txt").read_text(encoding="utf-8") == read_notes(folder) == "Too few tracks in the north."


def test_a_run_outside_any_project_keeps_absolute_folders(project, tmp_path):
    folder = tmp_path / "by" / "hand" / "run"
    write_settings(folder, settings_in(project))
    assert json.loads((folder / "settings.json").read_text())["tiles"] == str(project.tiles_folder / "tracks")
