"""The Train page under Streamlit's AppTest: what it refuses, what it starts, what it shows of a run on disk."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from demo.replay import TITLE as REPLAY_TITLE
from models.architecture import Architecture, OnnxArchitecture
from models.card import read_card, write_card
from tests.models.cards import a_card
from tests.training.objects.squares import make_squares
from tests.training.tile_sets import CLASSES, UNPAVED, make_base, make_tile_set
from tiles.tile_set import TileSet, save_record
from training.run import read_settings
from training.runs import read_run
from training.settings import TrainingSettings
from ui import frame
from ui.training_comparison import line_rows
from ui.training_view import accuracy_told
from workspace.files import write_json
from workspace.jobs import JobStatus, cancel_job, job_status
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "train_model.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    monkeypatch.setattr("models.catalogue.choices.BUNDLES_FOLDER", tmp_path / "no bundles")
    frame.settings.cache_clear()
    made = create_project(tmp_path / "projects", "One")
    make_base(made.models_folder / "base", summary="A small test model.", licence="CC0")
    yield made
    frame.settings.cache_clear()


def open_page(project: Project, run: str | None = None) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"] = project.id
    if run:
        page.query_params["run"] = run
    page.run()
    assert not page.exception, page.exception
    return page


def text_of(elements) -> str:
    return "\n".join(e.value for e in elements)


def start_button(page: AppTest):
    return next(b for b in page.button if b.label == "Train")


FURTHER = {
    f.title for f in TrainingSettings.model_fields.values() if isinstance(f.json_schema_extra, dict) and "group" in f.json_schema_extra
}
"""Titles under "More options"."""


def labels_of(page: AppTest) -> set[str]:
    return {
        w.label
        for w in [*page.number_input, *page.text_input, *page.checkbox, *page.selectbox, *page.radio, *page.multiselect, *page.slider]
    }


def a_run(project: Project, name="first", state="done", **changes) -> Path:
    """A run as it lies on disk, with two epochs and scores."""
    folder = project.runs_folder / name
    chosen = TrainingSettings(tiles=str(project.tiles_folder / "tracks"), base=str(project.models_folder / "base"), name=name, **changes)
    write_json(folder / "settings.json", chosen.model_dump())
    write_json(
        folder / "status.json",
        JobStatus(state=state, stage="Epoch 2 of 20", fraction=0.1, seconds_left=30, error="It broke.", remedy="Do this.").model_dump(),
    )
    facts = {
        "kind": "epoch",
        "loss": 1.0,
        "validation_loss": 1.1,
        "iou": {"Unpaved road": 0.4},
        "mean_iou": 0.4,
        "old_classes_iou": 0.9,
        "seconds": 1.0,
    }
    (folder / "events.jsonl").write_text("".join(json.dumps(facts | {"epoch": e}) + "\n" for e in (1, 2)))
    score = {"on": "held-out tiles", "class": "Unpaved road", "iou": 0.4, "precision": 0.5, "recall": 0.66, "pixels": 10}
    old = {"on": "held-out reminder tiles", "class": "Paved road", "iou": 0.74, "precision": 0.8, "recall": 0.9, "pixels": 10}
    write_json(
        folder / "result.json",
        {
            "best_epoch": 2,
            "before": [score | {"iou": 0.0, "recall": 0.0, "precision": None}, old],
            "after": [score, old | {"iou": 0.6}],
            "old_classes": ["Paved road"],
            "training_tiles": 6,
            "held_out_tiles": 2,
        },
    )
    (folder / "log.txt").write_text("epoch 1/20 loss 1.0\n")
    return folder


def test_without_tiles_it_says_where_to_go(project):
    page = open_page(project)
    assert "no tiles yet" in text_of(page.info)
    assert not [b for b in page.button if b.label == "Train"]


def test_train_starts_a_run_and_shows_what_came_out(project):
    tiles = make_tile_set(project.tiles_folder / "tracks", drawn=(UNPAVED,))
    page = open_page(project)
    assert "6 tiles to learn from, 2 kept" in text_of(page.caption)
    assert page.button_group(key="train_model:freeze").value == "backbone"
    page.number_input(key="train_model:epochs").set_value(2)
    page.text_input(key="train_model:name").set_value("Fire roads")
    start_button(page).click().run()
    assert not page.exception
    folder = project.runs_folder / "fire-roads"
    assert page.query_params["run"] in ("fire-roads", ["fire-roads"])
    wanted = read_settings(folder)
    assert (wanted.tiles, wanted.epochs, wanted.freeze, wanted.name) == (str(tiles.folder), 2, "backbone", "Fire roads")
    assert start_button(page).disabled
    limit = time.monotonic() + 120
    while not job_status(folder).ended and time.monotonic() < limit:
        time.sleep(0.2)
    assert job_status(folder).state == "done", (folder / "log.txt").read_text()
    page = open_page(project, "fire-roads")
    assert "The new model is ready" in text_of(page.success)
    assert (project.models_folder / "fire-roads" / "card.json").exists()
    assert page.number_input(key="train_model:epochs").value == 2, "the last choice is on disk"
    assert page.selectbox(key="train_model:base").value == "base"


def test_scores_and_forgetting_in_words(project):
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project)
    page = open_page(project, "first")
    words = text_of(page.markdown)
    assert "**Unpaved road**, held-out tiles: 66 % of it is found (before: 0 %)." in words
    assert "IoU 74 % → 60 %: some of it was forgotten" in words
    tables = [d.value for d in page.dataframe if "IoU after" in d.value]
    assert [table["IoU after"].tolist() for table in tables] == [[40.0], [60.0]]
    assert "**Held-out tiles**" in words and "**Held-out reminder tiles**" in words
    assert "epoch 1/20" in text_of(page.code)


@pytest.mark.parametrize(
    ("state", "words", "button"),
    [
        ("failed", "It broke.", "Try again"),
        ("cancelled", "Stopped as you asked", "Resume"),
        ("running", "stopped without finishing", "Resume"),
    ],
)
def test_a_run_that_stopped_can_go_on(project, state, words, button):
    """'running' with no process is what a kill or a power cut leaves."""
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project, state=state)
    page = open_page(project)
    assert words in text_of(page.error) + text_of(page.warning) + text_of(page.info)
    assert [b for b in page.button if b.label == button]
    assert "The best so far is epoch 2" in text_of(page.caption)


def test_a_quick_training_offers_only_what_it_uses(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = open_page(project)
    assert {"Learning rate", "Chip size", "Stop early after"} <= labels_of(page) and "curves" in text_of(page.markdown)
    page.pills(key="train_model:freeze").set_value("all_but_last_layer").run()
    assert page.number_input(key="train_model:epochs").disabled
    assert labels_of(page) & FURTHER == {"What is learnt", "Leave out classes", "Balance classes", "Seed"}
    assert "curves" not in text_of(page.markdown) and not start_button(page).disabled
    assert page.text_input(key="train_model:name").placeholder.endswith("1 quick")
    page.selectbox(key="train_model:base").set_value("imagenet-resnet18d").run()
    assert "knows no class yet" in text_of(page.error) and start_button(page).disabled


def test_further_settings_are_asked_for_where_they_have_a_part(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = open_page(project)
    assert FURTHER - labels_of(page) == {
        "Turn and mirror",
        "Zoom",
        "Brightness",
        "Contrast",
        "Colourfulness",
        "Class to watch",
    }
    assert "Not as usual" not in text_of(page.caption)
    page.radio(key="train_model:augment").set_value("custom").run()
    assert "Not as usual: Vary the tiles." in text_of(page.caption)
    page.selectbox(key="train_model:monitor").set_value("class_iou").run()
    assert labels_of(page) >= FURTHER
    page.text_input(key="train_model:learning_rate").set_value("")
    page.text_input(key="train_model:chip_size").set_value("32")
    page.radio(key="train_model:monitor_class").set_value("Paved road")
    page.multiselect(key="train_model:ignore_classes").set_value(["Paved road"])
    page.selectbox(key="train_model:loss").set_value("tversky").run()
    assert not page.error, "the base model knows it, and keeps it"
    page.toggle(key="train_model:keep").set_value(False).run()
    assert "no class 'Paved road' to tell the best epoch by" in text_of(page.error)
    page.radio(key="train_model:monitor_class").set_value("Unpaved road")
    page.number_input(key="train_model:epochs").set_value(1).run()
    start_button(page).click().run()
    assert not page.exception
    (folder,) = project.runs_folder.iterdir()
    asked = read_settings(folder)
    assert (asked.learning_rate, asked.chip_size, asked.augment, asked.loss) == (None, 32, "custom", "tversky")
    assert (asked.monitor_class, asked.ignore_classes) == ("Unpaved road", ("Paved road",))
    cancel_job(folder)
    wait_for_end(folder)


def wait_for_end(folder: Path) -> None:
    limit = time.monotonic() + 120
    while not job_status(folder).ended and time.monotonic() < limit:
        time.sleep(0.2)


def test_what_settings_refuse_is_said_before(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = open_page(project)
    page.text_input(key="train_model:chip_size").set_value("33").run()
    assert "Chip size" in text_of(page.warning) and start_button(page).disabled
    page.text_input(key="train_model:chip_size").set_value("").run()
    page.text_input(key="train_model:learning_rate").set_value("much").run()
    assert "Learning rate" in text_of(page.warning) and start_button(page).disabled


def test_a_run_can_be_repeated_as_it_was(project):
    make_tile_set(project.tiles_folder / "tracks")
    first = a_run(project, "first", learning_rate=0.01)
    page = open_page(project)
    next(b for b in page.button if b.label == "Train again").click().run()
    assert not page.exception
    folder = project.runs_folder / "first-again"
    assert page.query_params["run"] in ("first-again", ["first-again"])
    assert read_settings(folder).model_copy(update={"name": "first", "publish_to": None}) == read_settings(first)
    cancel_job(folder)
    wait_for_end(folder)


def test_a_run_fills_the_form(project):
    make_tile_set(project.tiles_folder / "tracks")
    make_tile_set(project.tiles_folder / "later")
    a_run(
        project,
        "first",
        epochs=7,
        freeze="nothing",
        learning_rate=0.01,
        schedule="one_cycle",
        replay_tiles=str(project.tiles_folder / "later"),
    )
    a_run(project, "second")
    page = open_page(project, "first")
    assert page.number_input(key="train_model:epochs").value == 20 and page.selectbox(key="train_model:tiles").value == "later"
    page.number_input(key="train_model:epochs").set_value(3).run()
    next(b for b in page.button if b.label == "Change and train").click().run()
    assert "Filled in as for **first**" in text_of(page.caption)
    assert page.number_input(key="train_model:1:epochs").value == 7
    assert page.button_group(key="train_model:1:freeze").value == "nothing"
    assert page.text_input(key="train_model:1:learning_rate").value == "0.01"
    assert page.radio(key="train_model:1:schedule").value == "one_cycle"
    assert page.selectbox(key="train_model:1:tiles").value == "tracks"
    assert page.selectbox(key="train_model:1:replay").value == "later"


def test_two_runs_side_by_side(project):
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project, "first")
    second = a_run(project, "second", learning_rate=0.01, schedule="one_cycle")
    found = json.loads((second / "result.json").read_text())
    found["after"][0]["iou"] = 0.5
    write_json(second / "result.json", found)
    page = open_page(project, "first")
    next(b for b in page.selectbox if b.label == "Compare with").select("second").run()
    assert not page.exception
    differing = next(d.value for d in page.dataframe if "Setting" in d.value)
    assert differing.to_numpy().tolist() == [["Learning rate", "0.0005", "0.01"], ["Course of the learning rate", "Usual", "One cycle"]]
    scores = next(d.value for d in page.dataframe if "Difference" in d.value)
    assert scores.to_numpy().tolist() == [["Unpaved road", 40.0, 50.0, 10.0]]
    next(b for b in page.selectbox if b.label == "Compare with").select("").run()
    assert [b for b in page.button if b.label == "Train again"]


def test_runs_of_different_tiles_are_not_compared_straight(project):
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project, "first")
    second = a_run(project, "second")
    write_json(second / "settings.json", json.loads((second / "settings.json").read_text()) | {"tiles": "tiles/others"})
    page = open_page(project, "first")
    next(b for b in page.selectbox if b.label == "Compare with").select("second").run()
    assert "Scored on different tiles" in text_of(page.warning)


def test_all_runs_are_listed(project):
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project, "first")
    a_run(project, "second", state="cancelled", freeze="all_but_last_layer")
    (project.runs_folder / "second" / "settings.json").write_text("{")
    page = open_page(project)
    rows = {row["Run"]: row for row in next(d.value for d in page.dataframe if "State" in d.value).to_dict("records")}
    assert rows["first"] | {"When": 0} == {
        "Run": "first",
        "State": "done",
        "When": 0,
        "How": "Thorough",
        "Score": pytest.approx(40.0),
        "Measure": "IoU",
        "Took": "2 s",
        "Tiles": "tracks",
        "Base model": "Base",
        "Notes": "",
    }
    assert (rows["second"]["State"], rows["second"]["How"]) == ("cancelled", "")


def test_a_run_is_deleted_when_that_is_confirmed(project):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project)
    page = open_page(project, "first")
    next(b for b in page.button if b.label == "Yes, delete it").click().run()
    assert not page.exception and not folder.exists()
    assert "curves appear here" in text_of(page.markdown)


def test_notes_are_kept_with_the_run(project):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project)
    page = open_page(project)
    page.text_area[0].set_value("Too few tracks [north].").run()
    assert (folder / "notes.txt").read_text() == "Too few tracks [north]."
    assert "Too few tracks" in text_of(open_page(project).caption)


def test_the_trial_of_the_learning_rate_is_shown(project):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project, learning_rate=None)
    write_json(folder / "found.json", {"learning_rate": 0.002, "sweep": {"rates": [0.001, 0.02], "losses": [2.0, 1.0], "chosen": 0.002}})
    assert "Learning rate found: 0.002" in [e.label for e in open_page(project).expander]


@pytest.mark.parametrize(
    ("freeze", "words"), [("all_but_last_layer", "A quick training keeps nothing"), ("backbone", "Nothing is kept before")]
)
def test_stopping_promises_only_what_is_kept(project, freeze, words):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project, state="cancelled", freeze=freeze)
    (folder / "result.json").unlink()
    assert words in text_of(open_page(project).info)
    write_json(folder / "model" / "card.json", {})
    assert "The best epoch so far is kept" in text_of(open_page(project).info)


def test_runs_can_be_chosen(project):
    make_tile_set(project.tiles_folder / "tracks")
    a_run(project, "first")
    a_run(project, "second", state="cancelled")
    page = open_page(project, "first")
    box = next(b for b in page.selectbox if b.label == "Run")
    assert box.value == "first"
    assert set(box.options) == {"first", "second (cancelled)"}
    box.select("second").run()
    assert "Stopped as you asked" in text_of(page.info)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation": 0}, "0 for validation"),
        ({"drawn": ()}, "No training tile"),
        ({"bands": ("red", "nir")}, "needs the bands green, blue"),
    ],
)
def test_what_cannot_be_trained_is_explained_before(project, changes, words):
    make_tile_set(project.tiles_folder / "tracks", **changes)
    page = open_page(project)
    assert words in text_of(page.error)
    assert start_button(page).disabled


def test_a_damaged_tile_set_is_explained(project):
    (make_tile_set(project.tiles_folder / "tracks").folder / "terratune.json").write_text("{")
    page = open_page(project)
    assert "damaged" in text_of(page.error)
    assert not [b for b in page.button if b.label == "Train"]


def test_a_damaged_model_is_named(project):
    make_tile_set(project.tiles_folder / "tracks")
    (project.models_folder / "base" / "card.json").write_text("{")
    assert "'base'" in text_of(open_page(project).error)


def test_reminder_tiles_are_offered_and_checked(project):
    make_tile_set(project.tiles_folder / "town", classes=CLASSES[1:], shown=(1,))
    make_tile_set(project.tiles_folder / "tracks", drawn=(UNPAVED,))
    page = open_page(project)
    assert page.selectbox(key="train_model:replay").options == ["None", "town", REPLAY_TITLE]
    page.selectbox(key="train_model:replay").select("town").run()
    assert page.slider(key="train_model:share").value == 30
    assert not start_button(page).disabled


def test_a_class_that_was_not_learnt_is_said_with_what_to_do(project):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project)
    found = json.loads((folder / "result.json").read_text())
    found["after"][0] |= {"iou": 0.0, "recall": 0.01}
    found["held_out_tiles"] = 1
    write_json(folder / "result.json", found)
    page = open_page(project, "first")
    assert "**Unpaved road** is hardly found yet. Train for more epochs" in text_of(page.warning)
    assert "1 tile in" in text_of(page.caption)
    write_json(folder / "result.json", found | {"best_epoch": 0})
    assert "Choose 'Thorough' instead of quick" in text_of(open_page(project, "first").warning)


def test_tiles_on_their_way_are_announced(project):
    job = project.tiles_folder / ".exports" / "1-a"
    write_json(job / "settings.json", {})
    write_json(job / "status.json", JobStatus(state="running", started=time.time()).model_dump())
    assert "being exported" in text_of(open_page(project).info)


def test_other_numbers_do_not_hide_the_other_warnings(project):
    make_tile_set(project.tiles_folder / "tracks", dtype="uint16")
    card = read_card(project.models_folder / "base")
    write_card(project.models_folder / "base", card.model_copy(update={"input": card.input.model_copy(update={"resolution_m": 0.03})}))
    page = open_page(project)
    assert "measured anew" in text_of(page.caption)
    assert "much coarser" in text_of(page.warning)
    assert not start_button(page).disabled


def test_tiles_without_labels_say_what_to_export_instead(project):
    tiles = make_tile_set(project.tiles_folder / "pictures")
    save_record(TileSet(tiles.folder, tiles.record.model_copy(update={"metadata_format": "Export_Tiles"})))
    page = open_page(project)
    assert "Terratune cannot train on them" in text_of(page.error)
    assert "A class for each pixel" in text_of(page.error)
    assert not [b for b in page.button if b.label == "Train"]


def test_the_newest_tiles_that_can_be_learnt_from_are_suggested(project):
    make_tile_set(project.tiles_folder / "pixels")
    pictures = make_tile_set(project.tiles_folder / "pictures")  # newer
    save_record(TileSet(pictures.folder, pictures.record.model_copy(update={"metadata_format": "Export_Tiles"})))
    page = open_page(project)
    assert page.selectbox(key="train_model:tiles").value == "pixels"
    assert not page.error


def test_tiles_with_boxes_are_learnt_as_boxes(project):
    make_squares(project.tiles_folder / "squares", train=2, validation=1)
    page = open_page(project)
    assert "Learns: **A box around each object: Faster R-CNN**" in text_of(page.caption)
    assert "Roof 2, Pool 2 to learn from" in text_of(page.caption)
    assert not {"Reminder tiles", "Loss", "Balance classes"} & labels_of(page)
    assert not [t for t in page.toggle if t.key == "train_model:keep"]
    assert "Quick (seconds)" not in page.button_group(key="train_model:freeze").options
    box = page.selectbox(key="train_model:network")
    assert box.options[0] == "As the tiles ask" and "A box around each object: SSD" in box.options and len(box.options) == 5
    box.set_value("ssd").run()
    assert "Learns: **A box around each object: SSD**" in text_of(page.caption)
    page.number_input(key="train_model:epochs").set_value(1).run()
    start_button(page).click().run()
    assert not page.exception
    (folder,) = project.runs_folder.iterdir()
    wait_for_end(folder)
    page = open_page(project, folder.name)
    assert job_status(folder).state == "done"
    assert "AP50" in text_of(page.caption) and "IoU" not in text_of(page.caption)
    assert "of the objects are found" in text_of(page.markdown)


def test_masks_can_teach_pixels_boxes_or_outlines(project):
    make_squares(project.tiles_folder / "squares", "RCNN_Masks", train=2, validation=1)
    page = open_page(project)
    assert "Learns: **A class for each pixel: small and quick**" in text_of(page.caption)
    page.selectbox(key="train_model:network").set_value("maskrcnn").run()
    assert "Learns: **An outline of each object: Mask R-CNN**" in text_of(page.caption)
    assert not start_button(page).disabled


def test_what_only_predicts_is_no_base_model(project):
    make_tile_set(project.tiles_folder / "tracks")
    write_card(project.models_folder / "finished", a_card(title="Finished graph", architecture=OnnxArchitecture(size_bytes=1)))
    page = open_page(project)
    box = page.selectbox(key="train_model:base")
    assert "Finished graph" not in box.options and len(box.options) > 3
    assert "Not in the list: Finished graph." in text_of(page.caption)


def test_a_network_that_arcgis_can_open(project):
    """Over a plain ResNet at once; over anything else only from nothing, which has to be chosen and is said."""
    make_tile_set(project.tiles_folder / "tracks", drawn=(UNPAVED,))
    page = open_page(project)
    page.selectbox(key="train_model:network").set_value("arcgis_unet").run()
    assert "Learns: **A class for each pixel: U-Net that ArcGIS can open**" in text_of(page.caption)
    assert "no plain ResNet" in text_of(page.error) and start_button(page).disabled
    page.pills(key="train_model:freeze").set_value("nothing").run()
    assert "starts from nothing" in text_of(page.warning) and not start_button(page).disabled
    page.pills(key="train_model:freeze").set_value("backbone").run()
    page.selectbox(key="train_model:base").set_value("imagenet-resnet18").run()
    assert not page.error and not page.exception
    assert "starts from nothing" not in text_of(page.warning) and not start_button(page).disabled


def overlapping(tiles: TileSet, *, by_m: float = 0.0) -> TileSet:
    """The same set with its first validation tile `by_m` metres east of the first training tile."""
    first, tested = tiles.train[0], tiles.validation[0]
    place = (*first.transform[:2], first.transform[2] + by_m, *first.transform[3:])
    moved = tested.model_copy(update={"transform": place})
    changed = TileSet(
        tiles.folder, tiles.record.model_copy(update={"tiles": tuple(moved if t is tested else t for t in tiles.record.tiles)})
    )
    save_record(changed)
    return changed


def finished_check(project: Project) -> AppTest:
    """The page, once the tiles are looked through."""
    limit = time.monotonic() + 30
    page = open_page(project)
    while "Looking through" in text_of(page.caption) and time.monotonic() < limit:
        page = open_page(project)
    return page


def test_good_tiles_are_not_spoken_of(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = finished_check(project)
    assert not page.error and not page.warning
    assert not [e for e in page.expander if "worth knowing" in e.label]


def test_a_grave_finding_keeps_training_from_starting(project):
    tiles = make_tile_set(project.tiles_folder / "tracks")
    (tiles.folder / tiles.train[0].label).unlink()
    page = finished_check(project)
    assert "cannot be trained on" in text_of(page.error) and "1 thing in them" in text_of(page.error)
    assert "labels/000000000.tif" in text_of(page.markdown) and "Bring the file back" in text_of(page.markdown)
    assert start_button(page).disabled


def test_a_finding_in_the_pixels_comes_when_they_are_looked_through(project):
    tiles = make_tile_set(project.tiles_folder / "tracks")
    for tile in tiles.train[:5]:
        (tiles.folder / tile.image).write_bytes(b"x")
    page = finished_check(project)
    assert "5 things" in text_of(page.error)
    assert text_of(page.markdown).count("a damaged file") == 1 and "4 more like it" in text_of(page.markdown)
    assert [e for e in page.expander if e.label == "All 5"]
    assert start_button(page).disabled


def test_what_does_no_harm_only_informs(project):
    tiles = make_tile_set(project.tiles_folder / "tracks")
    (tiles.folder / "map.txt").unlink()
    (tiles.folder / "stats.txt").unlink()
    page = finished_check(project)
    assert not page.error and not start_button(page).disabled
    assert [e for e in page.expander if e.label == "2 things worth knowing about these tiles"]
    table = next(d.value for d in page.dataframe if "What to do" in d.value)
    assert set(table["File"]) == {"map.txt", "stats.txt"}


def test_a_leak_is_trained_on_only_by_who_insists(project):
    tiles = overlapping(make_tile_set(project.tiles_folder / "tracks"))
    page = finished_check(project)
    assert "not apart from those to learn from" in text_of(page.warning)
    assert tiles.validation[0].image in text_of(page.markdown)
    assert start_button(page).disabled
    box = next(c for c in page.checkbox if c.label == "Train all the same")
    box.check().run()
    page.number_input(key="train_model:epochs").set_value(1)
    page.text_input(key="train_model:name").set_value("Mine")
    start_button(page).click().run()
    folder = project.runs_folder / "mine"
    assert read_settings(folder).train_despite_leak
    limit = time.monotonic() + 120
    while not job_status(folder).ended and time.monotonic() < limit:
        time.sleep(0.2)
    page = open_page(project, "mine")
    assert "No honest test" in text_of(page.warning)
    assert "not kept apart from training" in text_of(page.markdown)
    assert next(c for c in page.checkbox if c.label == "Train all the same").value, "the last choice is on disk"


def test_how_sure_the_scores_are_is_said_and_the_report_can_be_taken_away(project):
    make_tile_set(project.tiles_folder / "tracks")
    folder = a_run(project)
    found = json.loads((folder / "result.json").read_text())
    page = open_page(project, "first")
    assert "could be chance" not in text_of(page.caption) and not page.get("download_button")
    (folder / "report.html").write_text("<p>what was learnt</p>")
    for extra, said in (
        ({"blocks": 12, "likely_gain_range": [-0.02, 0.3]}, "(−0.02 to +0.30) could be chance"),
        ({"blocks": 3, "likely_gain_range": None}, "lies in only 3 squares"),
    ):
        write_json(folder / "result.json", found | {"after": [found["after"][0] | extra, *found["after"][1:]]})
        page = open_page(project, "first")
        assert said in text_of(page.caption)
    assert [button.proto.label for button in page.get("download_button")] == ["Report"]


def test_roads_are_told_by_length_and_by_the_ways_along_them(project):
    make_tile_set(project.tiles_folder / "tracks")
    lines = {"completeness": 0.9, "correctness": 0.8, "apls": 0.6, "length_m": 1200.0}
    for name, found in (("first", lines), ("second", lines | {"apls": 0.7})):
        folder = a_run(project, name)
        result = json.loads((folder / "result.json").read_text())
        write_json(folder / "result.json", result | {"after": [result["after"][0] | found, *result["after"][1:]]})
    page = open_page(project, "first")
    assert "**As lines**" in text_of(page.markdown)
    table = next(d.value for d in page.dataframe if "Ways after" in d.value)
    assert table.to_dict("records") == [{"Class": "Unpaved road", "Found after": 90.0, "Right after": 80.0, "Ways after": 60.0}]
    rows = line_rows(read_run(project.runs_folder / "first"), read_run(project.runs_folder / "second"), ("one", "two"))
    assert [(row["Class"], round(row["Difference"])) for row in rows] == [("Unpaved road: found", 0), ("Unpaved road: right", 0), ("Unpaved road: ways", 10)]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ""),
        ({"accuracy": 0.9}, "**90 %** of the tiles are given exactly their classes; the squares of ground they lie in are too few to tell how much of that is chance."),
        ({"accuracy": 0.9, "accuracy_range": [0.8, 0.95]}, "**90 %** of the tiles are given exactly their classes (likely 80 to 95 %)."),
        (
            {"accuracy": 0.9, "accuracy_range": [0.8, 0.95], "accuracy_gain_range": [-0.1, 0.2]},
            "**90 %** of the tiles are given exactly their classes (likely 80 to 95 %); against the base model -10 to +20 points: could be chance.",
        ),
    ],
)
def test_how_sure_an_accuracy_is(facts, said):
    assert accuracy_told([{"epoch": 1}, {"epoch": 2} | facts], 2) == said


def test_adapters_are_offered_where_the_backbone_is_a_transformer(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = open_page(project)
    assert "Adapters" not in page.pills(key="train_model:freeze").options
    make_base(project.models_folder / "attentive", architecture=Architecture(encoder="pvt_v2_b0", decoder_channels=8))
    page = open_page(project)
    assert page.selectbox(key="train_model:base").value == "attentive"
    assert "Adapters" in page.pills(key="train_model:freeze").options
    page.pills(key="train_model:freeze").set_value("adapters").run()
    assert not page.error and not page.exception


def test_networks_for_roads_are_offered_in_plain_words(project):
    make_tile_set(project.tiles_folder / "tracks", drawn=(UNPAVED,))
    page = open_page(project)
    page.selectbox(key="train_model:network").set_value("roads_hourglass").run()
    assert "roads, and which way each leads" in text_of(page.caption)
    assert "no backbone" in text_of(page.error) and start_button(page).disabled
    page.pills(key="train_model:freeze").set_value("nothing").run()
    assert not page.error and not start_button(page).disabled


def test_a_model_chosen_on_the_models_page_is_the_base_and_its_licence_is_told(project):
    make_tile_set(project.tiles_folder / "tracks")
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["project"], page.query_params["base"] = project.id, "fmow-rgb-resnet50-gassl"
    page.run()
    assert not page.exception, page.exception
    base = page.selectbox(key="train_model:base")
    assert base.value == "fmow-rgb-resnet50-gassl"
    assert "Training fetches it (94 MB); starting one accepts its licence: not stated by its publisher." in text_of(page.caption)
    base.select("dinov3-convnext-tiny").run()
    assert "[DINOv3 License](https://ai.meta.com/" in text_of(page.caption)
    assert len(base.options) < 10, "the others are on the Models page"
