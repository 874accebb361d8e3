"""The Compare page from nothing to numbers, as a person uses it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import rasterio
import shapely
from streamlit.testing.v1 import AppTest

from imagery.library import add_copy, list_rasters, raster_source, remove_raster
from inference.report import REPORT_FILE, ClassArea, ClassCertainty, ScoreReport, read_report
from inference.run import compare_models
from inference.scores import scores_from
from inference.settings import PredictionSettings, read_settings
from inference.true_area import TrueArea
from labeling.journal import Label, Operation, open_journal
from models.catalogue import BUNDLES_FOLDER
from tests.inference.makers import PAVED, UNPAVED, UTM, saved_bundle, write_raster
from tiles.apart import scored_on
from ui import frame
from ui.scenes import outline
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.files import write_json
from workspace.jobs import JobStatus, job_status, run_job
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "preview_results.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    yield create_project(tmp_path / "projects", "One")
    frame.settings.cache_clear()


def add_scene(project: Project, tmp_path: Path, bands: int = 3) -> None:
    values = np.random.default_rng(0).integers(1, 255, (bands, 64, 80), np.uint8)
    add_copy(project, write_raster(tmp_path / "upload.tif", values), f"scene{bands}.tif")


def add_models(project: Project) -> None:
    """A base model that says paved everywhere, and one trained from it that says unpaved everywhere."""
    base = saved_bundle(project.models_folder / "starter", (PAVED,), always=1)
    run = project.runs_folder / "mine"
    saved_bundle(run / "model", (PAVED, UNPAVED), always=2)
    write_json(run / "settings.json", {"base": str(base), "tiles": str(project.tiles_folder / "gone")})


def open_page(project: Project, **address: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.query_params["project"] = project.id
    for name, value in address.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    shown = [*page.markdown, *page.caption, *page.info, *page.error]
    return "\n".join(str(one.value) for one in shown)


def press_predict(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press the button; the job then runs in this process."""
    monkeypatch.setattr("ui.comparison.form.start_job", lambda job, module: run_job(job, compare_models))
    page.button(key="preview_results:predict").click().run()
    assert not page.exception, page.exception


def test_without_imagery_or_a_trained_model_the_page_says_where_to_go(project, tmp_path):
    assert "no imagery yet" in words(open_page(project))
    add_scene(project, tmp_path)
    assert "no trained model" in words(open_page(project))


def test_the_newest_model_and_the_one_it_came_from_are_chosen_and_compared(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    assert page.selectbox(key="preview_results:new").value.folder == project.runs_folder / "mine" / "model"
    assert page.selectbox(key="preview_results:base:mine").value.folder == project.models_folder / "starter"
    press_predict(page, monkeypatch)
    [job] = project.predictions_folder.iterdir()
    asked = read_settings(job)
    assert (asked.base, asked.new) == ("models/starter", "runs/mine/model") and asked.rasters[0].source.startswith("imagery/")
    raster_id = list_rasters(project)[0].id
    assert {p.name for p in (job / raster_id).glob("*.tif")} == {"before.tif", "after.tif", "change.tif", "before_confidence.tif", "after_confidence.tif"}
    later = open_page(project)  # another tab, a reload, another day
    assert later.dataframe[0].value["After"].tolist() == ["0 m²", "1,281 m²"] and later.dataframe[0].value["Became another"].tolist() == ["1,281 m²", "0 m²"]
    assert "No held-out places" in words(later) and "before_after.gif" in words(later)


def test_two_trained_models_are_compared_each_listed_once(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    copytree(project.runs_folder / "mine" / "model", project.models_folder / "mine")  # what a training leaves at its end
    second = project.runs_folder / "second"
    saved_bundle(second / "model", (PAVED, UNPAVED), always=1)
    write_json(second / "settings.json", {"base": str(project.models_folder / "mine"), "tiles": "gone"})
    page = open_page(project)
    box = page.selectbox(key="preview_results:base:second")
    assert box.value.folder == project.runs_folder / "mine" / "model"  # what it was trained from, by its copy
    assert len(box.options) == len(list(BUNDLES_FOLDER.glob("*/card.json"))) + 2  # besides 'starter' and 'mine' of the project
    monkeypatch.setattr("ui.comparison.choices.job_status", lambda run: JobStatus(state="running" if run == second else "done"))
    assert "still training" in open_page(project).selectbox(key="preview_results:new").options[0]
    assert sum("comes with Terratune" in option for option in box.options) == len(box.options) - 2


def test_what_is_found_can_be_made_more_or_surer(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    [slider] = page.select_slider  # the base knows the other class
    assert "Unpaved road" in slider.label
    slider.set_value(2.0).run()
    page.checkbox(key="preview_results:test_time_augmentation").check().run()
    page.checkbox(key="preview_results:probabilities").check().run()
    page.radio(key="preview_results:merge_policy").set_value("max").run()
    page.checkbox(key="preview_results:predict_background").uncheck().run()
    [limits] = [box for box in page.multiselect if box.label == "How likely a class must be"]
    limits.set_value([2]).run()
    page.slider(key="preview_results:threshold:2:Unpaved road").set_value(70).run()
    press_predict(page, monkeypatch)
    [job] = project.predictions_folder.iterdir()
    asked = read_settings(job)
    assert asked.find_more == {2: 2.0} and asked.test_time_augmentation and asked.probabilities and asked.title.endswith("find more, eight looks")
    assert (asked.merge_policy, asked.predict_background, asked.thresholds) == ("max", False, {2: 0.7})


def test_the_fields_begin_as_the_command_does_and_are_worded_by_the_settings(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    for name in ("test_time_augmentation", "predict_background", "probabilities"):
        field, box = PredictionSettings.model_fields[name], page.checkbox(key=f"preview_results:{name}")
        assert (box.label, box.help, box.value) == (field.title, field.description, field.default)
    press_predict(page, monkeypatch)
    [job] = project.predictions_folder.iterdir()
    asked = read_settings(job)
    assert (asked.merge_policy, asked.predict_background, asked.thresholds, asked.area) == ("mean", True, {}, None)


def test_only_the_fully_labelled_areas_are_predicted_and_the_next_comparison_can_be_made_in_the_same(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    [raster] = list_rasters(project)
    whole = outline(raster.info)
    west, south, east, north = whole.bounds
    label = Label(geometry=shapely.geometry.mapping(shapely.box(west, south, (west + east) / 2, north)), class_value=FULLY_LABELLED_VALUE)
    open_journal(project.journal_file).append([Operation(operation_id="1", kind="upsert", object_id="one", label=label)])
    page = open_page(project)
    page.selectbox(key="preview_results:area").set_value("complete").run()
    press_predict(page, monkeypatch)
    [job] = project.predictions_folder.iterdir()
    with rasterio.open(job / raster.id / "after.tif") as made:
        values = made.read(1)
    assert (values[:, :39] == 2).all() and (values[:, 41:] == 255).all()
    assert read_settings(job).title.endswith("only in part")
    again = open_page(project, comparison="new")
    again.selectbox(key="preview_results:area").set_value(job.name).run()
    press_predict(again, monkeypatch)
    [other] = [folder for folder in project.predictions_folder.iterdir() if folder != job]
    assert (other / "area.geojson").read_bytes() == (job / "area.geojson").read_bytes()


def test_areas_from_a_file_leave_out_what_lies_beside_them(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    page.selectbox(key="preview_results:area").set_value("file").run()
    assert page.button(key="preview_results:predict").disabled, "no file yet"
    assert "Choose the file" in words(page)
    square = json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}).encode()
    page.file_uploader(key="preview_results:area_file").upload("far.geojson", square, "application/geo+json").run()
    assert "1 picture outside the areas" in words(page) and page.button(key="preview_results:predict").disabled
    page.file_uploader(key="preview_results:area_file").upload("bad.geojson", b"{", "application/geo+json").run()
    assert not page.exception and page.error


def test_a_comparison_can_be_deleted(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    [job] = project.predictions_folder.iterdir()
    page = open_page(project)
    page.button(key=f"preview_results:delete:{job.name}").click().run()
    assert not page.exception
    assert list(project.predictions_folder.iterdir()) == []
    assert not page.button(key="preview_results:predict").disabled


def test_imagery_that_does_not_fit_the_models_is_named_before_anything_runs(project, tmp_path):
    add_scene(project, tmp_path, bands=1)
    add_models(project)
    page = open_page(project)
    assert "red" in words(page) and page.button(key="preview_results:predict").disabled


def test_how_many_pictures_do_not_fit_is_told_even_where_not_every_reason_is(project, tmp_path):
    add_models(project)
    for number in range(5):
        add_copy(project, write_raster(tmp_path / "upload.tif", np.full((1, 64, 80), number + 1, np.uint8)), f"grey{number}.tif")
    page = open_page(project)
    assert "2 further pictures cannot be predicted" in words(page) and page.button(key="preview_results:predict").disabled


@pytest.mark.parametrize(("state", "said"), [("failed", "The disk is full"), ("cancelled", "You stopped"), ("interrupted", "without finishing")])
def test_a_comparison_that_ended_early_says_so_and_can_go_on(project, tmp_path, monkeypatch, state, said):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    monkeypatch.setattr("ui.comparison.form.start_job", lambda job, module: None)
    page.button(key="preview_results:predict").click().run()
    [job] = project.predictions_folder.iterdir()
    written = "running" if state == "interrupted" else state  # nobody is left to write that one
    error = "The disk is full." if state == "failed" else ""
    write_json(job / "status.json", JobStatus(state=written, error=error, started=time.time() - 60).model_dump())
    page = open_page(project)
    assert said in words(page)
    monkeypatch.setattr("ui.comparison.progress.start_job", lambda job, module: run_job(job, compare_models))
    next(b for b in page.button if b.label == "Resume").click().run()
    assert not page.exception and job_status(job).state == "done"


def test_a_new_comparison_can_always_be_started(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    page = open_page(project, comparison="new")
    assert not page.button(key="preview_results:predict").disabled


def test_a_model_for_other_bands_is_compared_with_the_base_it_came_from(project, tmp_path, monkeypatch):
    """The base model cannot read this imagery by itself: it is shown it as the new model is."""
    values = np.random.default_rng(0).integers(1, 9000, (1, 64, 80), np.uint16)
    add_copy(project, write_raster(tmp_path / "upload.tif", values), "grey.tif")
    base = saved_bundle(project.models_folder / "starter", (PAVED,), always=1)
    run = project.runs_folder / "mine"
    saved_bundle(run / "model", (PAVED, UNPAVED), always=2, bands=("gray",), dtype="uint16")
    write_json(run / "settings.json", {"base": str(base), "tiles": "gone"})
    page = open_page(project)
    assert "cannot read" in words(page)
    press_predict(page, monkeypatch)
    page = open_page(project)
    assert not page.error
    assert page.dataframe[0].value["Before"].tolist() == ["1,281 m²", "0 m²"]
    assert "fitted to" in words(page)


def test_a_comparison_that_failed_can_be_deleted(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    monkeypatch.setattr("ui.comparison.form.start_job", lambda job, module: None)
    page.button(key="preview_results:predict").click().run()
    [job] = project.predictions_folder.iterdir()
    write_json(job / "status.json", JobStatus(state="failed", error="The disk is full.", started=time.time() - 60).model_dump())
    page = open_page(project)
    page.button(key=f"preview_results:delete:{job.name}").click().run()
    assert not page.exception
    assert list(project.predictions_folder.iterdir()) == []


def test_scores_that_are_no_honest_test_say_so(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    [job] = project.predictions_folder.iterdir()
    report = read_report(job)
    none = scores_from(np.zeros((3, 3), np.int64), report.classes)
    for apart in (True, False):
        scores = ScoreReport(on=scored_on("the held-out places", apart=apart), before=none, after=none)
        write_json(job / REPORT_FILE, report.model_copy(update={"held_out": scores}).model_dump(mode="json"))
        page = open_page(project)
        assert ("No honest test" in "\n".join(w.value for w in page.warning)) is not apart
        assert ("pixels the model has not learnt from" in words(page)) is apart


@pytest.fixture
def compared(project, tmp_path, monkeypatch) -> Path:
    """A finished comparison: paved everywhere before, unpaved everywhere after."""
    add_scene(project, tmp_path)
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    return next(project.predictions_folder.iterdir())


def titles(page: AppTest, place: str) -> list[str]:
    return next(box for box in page.selectbox if box.label == place).options


def test_any_two_of_what_there_is_are_laid_left_and_right(project, compared, tmp_path):
    copytree(compared, compared.with_name("earlier"))
    write_json(compared.with_name("earlier") / "settings.json", read_settings(compared).model_copy(update={"title": "Last week"}).model_dump(mode="json"))
    values = np.zeros((3, 64, 80), np.uint8) + 90
    add_copy(project, write_raster(tmp_path / "later.tif", values), "later.tif")  # the same ground at another date
    away = UTM @ UTM.translation(5000, 0)
    add_copy(project, write_raster(tmp_path / "away.tif", values, transform=away), "away.tif")
    page = open_page(project, comparison=compared.name)
    offered = titles(page, "Left")
    assert offered == titles(page, "Right")
    assert [title.split(" ·")[0] for title in offered] == [
        "Picture alone", "Before: Tiny", "After: Tiny", "How sure the model before is", "How sure the model after is",
        "Earlier: Last week", "Other picture: later.tif",
    ]  # fmt: skip


def test_what_was_chosen_stays_when_the_page_runs_again(project, compared):
    page = open_page(project)
    next(box for box in page.selectbox if box.label == "Left").set_value("picture").run()
    page.segmented_control(key="preview_results:view").set_value("Side by side").run()
    page.run()
    assert next(box for box in page.selectbox if box.label == "Left").value == "picture"
    assert page.segmented_control(key="preview_results:view").value == "Side by side"
    page.button(key="preview_results:widen").click().run()
    assert not page.tabs and next(box for box in page.selectbox if box.label == "Left").value == "picture"
    page.button(key="preview_results:narrow").click().run()
    assert page.tabs and not page.exception


def test_changes_are_told_by_kind_and_class_with_their_area(project, compared):
    page = open_page(project)
    page.segmented_control(key="preview_results:view").set_value("Changes").run()
    assert "Became another 1,281 m²" in html_of(page) and "Gained 0 m²" in html_of(page)
    assert "Gained: background in &#x27;Before&#x27;, a class in &#x27;After&#x27;" in html_of(page)
    page.multiselect[0].set_value([2]).run()
    assert "Became another 1,281 m²" in html_of(page)
    page.button_group(key="preview_results:kinds").set_value([1]).run()
    assert "Became another" not in html_of(page)
    assert not page.exception


def test_changes_are_those_between_the_two_sides_that_were_chosen(project, compared):
    [raster, *_] = list_rasters(project)
    west, south, east, north = outline(raster.info).bounds
    half = Label(geometry=shapely.geometry.mapping(shapely.box(west, south, (west + east) / 2, north)), class_value=2)
    open_journal(project.journal_file).append([Operation(operation_id="1", kind="upsert", object_id="one", label=half)])
    page = open_page(project)
    page.segmented_control(key="preview_results:view").set_value("Changes").run()
    assert not any("Picture" in title or "How sure" in title for title in titles(page, "Left"))
    next(box for box in page.selectbox if box.label == "Right").set_value("labels").run()
    assert not page.exception
    said = html_of(page)  # before is paved everywhere, the western half is labelled as unpaved
    assert "Lost 641 m²" in said and "Became another 641 m²" in said, said
    table = next(frame.value for frame in page.dataframe if "Labels" in frame.value)
    assert table["Class"].tolist() == ["Paved road", "Unpaved road"] and table["Labels"].tolist() == ["0 m²", "641 m²"]
    assert "what is not drawn counts as background" in words(page)


def test_a_comparison_is_there_without_its_picture(project, compared):
    raster = list_rasters(project)[0]
    Path(raster_source(project, raster)).unlink()
    page = open_page(project)
    assert "Not there any more: scene3.tif" in words(page) and not page.error
    remove_raster(project, raster.id)
    add_scene_named(project, compared.parent.parent, "other.tif")
    page = open_page(project)
    assert "Not there any more: scene3.tif" in words(page) and not page.error
    assert titles(page, "Left")[:3] == ["Picture alone", "Before: Tiny", "After: Tiny"]


def html_of(page: AppTest) -> str:
    return "\n".join(one.proto.body for one in page.main if one.type == "html")


def add_scene_named(project: Project, folder: Path, name: str) -> None:
    add_copy(project, write_raster(folder / "upload.tif", np.full((3, 64, 80), 90, np.uint8)), name)


def test_the_places_that_differ_most_are_gone_to_and_labelled(project, compared, monkeypatch):
    page = open_page(project)
    assert "**1** · 100 % of the square: 1,025 m² became another" in words(page)  # 64 x 64 pixels, a tile of the model
    page.button(key="preview_results:go:by_area.0").click().run()
    assert not page.exception
    gone = page.session_state[f"preview_results:gone:{compared.name}"]
    assert gone["bounds"][0] < gone["bounds"][2] and gone["name"] == "by_area.0"

    assert "preview_results:went_to" not in page.session_state  # all pictures are shown
    monkeypatch.setattr("ui.comparison.places.ALL_AT_ONCE", 0)
    page.run()
    page.button(key="preview_results:go:by_area.0").click().run()
    assert page.session_state["preview_results:went_to"] == list_rasters(project)[0].id  # else another one would be shown

    label = AppTest.from_file(str(PAGE.with_name("draw_labels.py")), default_timeout=120)
    label.query_params.update({"project": project.id, "over": compared.name, "place": "by_area.0"})
    label.run()
    assert not label.exception
    assert "The two models differ on 100 % of the red square" in words(label)


def test_an_older_comparison_is_searched_when_asked_for(project, compared, monkeypatch):
    (compared / "differences.json").unlink()
    page = open_page(project)
    monkeypatch.setattr("ui.comparison.places.start_job", lambda job, module: run_job(job, compare_models))
    page.button(key=f"preview_results:look_for:{compared.name}").click().run()
    assert not page.exception and "1,025 m² became another" in words(page)


def test_ground_that_two_pictures_show_is_said_to_count_twice(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_scene_named(project, tmp_path, "again.tif")
    add_models(project)
    press_predict(open_page(project), monkeypatch)
    assert "counts twice" in words(open_page(project))


def test_areas_are_corrected_by_the_held_out_places_where_these_allow_it(project, compared):
    report = read_report(compared)
    none = scores_from(np.zeros((3, 3), np.int64), report.classes)
    known = ClassArea(value=2, area=TrueArea(30_000.0, 20_000.0, 41_000.0))
    for areas, said in (
        ((known, ClassArea(value=1, area=None)), "**Unpaved road**: 3.0 ha, likely between 2.0 ha and 4.1 ha (the map says 1,281 m²)"),
        ((ClassArea(value=2, area=None),), "cannot be told from the held-out places"),
        ((), "only where everything is drawn there"),
    ):
        scores = ScoreReport(on="the held-out places", before=none, after=none, areas=areas)
        write_json(compared / REPORT_FILE, report.model_copy(update={"held_out": scores}).model_dump(mode="json"))
        page = open_page(project)
        assert said in words(page)


def test_each_class_is_said_to_differ_by_more_than_chance_or_not(project, compared):
    report = read_report(compared)
    counts = np.array([[90, 0, 10], [0, 0, 0], [5, 0, 50]])
    scores, gain = scores_from(counts, report.classes), (0.1, 0.3)
    sure = tuple(ClassCertainty(value=c.value, blocks=20, before=gain, after=gain, gain=gain) for c in report.classes)
    held_out = ScoreReport(on="the held-out places", before=scores, after=scores, certainty=sure)
    write_json(compared / REPORT_FILE, report.model_copy(update={"held_out": held_out}).model_dump(mode="json"))
    assert "the new model is better, by more than chance (IoU +0.10 to +0.30" in words(open_page(project))


def test_pictures_report_and_qgis_project_are_made_when_asked_for(project, compared):
    raster_id = list_rasters(project)[0].id
    made = {
        f"before_after.webp:{raster_id}": compared / raster_id / "before_after.webp",
        f"figure.png:{raster_id}": compared / raster_id / "figure.png",
        f"report.html:{raster_id}": compared / "report.html",
        f"comparison.qgs:{raster_id}": compared / "comparison.qgs",
    }
    page = open_page(project)
    page.text_input(key="preview_results:credit").set_value("City of Somewhere").run()
    for key, path in made.items():
        assert path.name not in words(page) and not path.exists()
        page.button(key=f"preview_results:make:{key}").click().run()
        assert not page.exception and not page.error and path.exists()
    assert "City of Somewhere" in made[f"report.html:{raster_id}"].read_text(encoding="utf-8")
    shown = words(page)
    assert all(f"files/predictions/{compared.name}/{path.relative_to(compared).as_posix()}" in shown for key, path in made.items() if "qgs" not in key)
    assert "[QGIS project (ZIP)](api/" in shown and f"predictions/{compared.name}.zip" in shown


def test_two_comparisons_that_read_alike_are_told_apart(project, compared):
    copytree(compared, compared.with_name("again"))
    page = open_page(project)
    first = page.selectbox[0].value
    assert len(set(page.selectbox[0].options)) == 3
    page.run()
    page.segmented_control(key="preview_results:view").set_value("Changes").run()
    assert page.selectbox[0].value == first
