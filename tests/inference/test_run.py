import json
import shutil
import time

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from typer.testing import CliRunner

import inference.run
from errors import JobError
from imagery.stretch import Stretch
from inference.legend import joint_classes
from inference.report import old_classes, read_report
from inference.run import app, compare_models
from inference.settings import PredictionSettings, RasterToPredict, TruthRaster, read_settings
from models.card import read_card, write_card
from tests.inference.makers import PAVED, UNPAVED, saved_bundle, write_raster
from workspace.classes import ClassDef
from workspace.jobs import JobReporter, cancel_job, job_status, run_job, start_job

DIRT = ClassDef(value=1, name="Dirt road", colour="#ff9f1c")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "base": saved_bundle(folder / "base", (PAVED,), always=1),
        "new": saved_bundle(folder / "new", (DIRT, PAVED.model_copy(update={"value": 2})), always=1),
    }


def make_job(tmp_path, models, sizes=((64, 80),), **more):
    project = tmp_path / "project"
    job = project / "predictions" / "one"
    job.mkdir(parents=True)
    (project / "imagery").mkdir()
    rng = np.random.default_rng(0)
    rasters = []
    for index, (height, width) in enumerate(sizes):
        write_raster(project / "imagery" / f"{index}.tif", rng.integers(1, 255, (3, height, width), np.uint8), tiled=True, blockxsize=256, blockysize=256)
        rasters.append(RasterToPredict(id=f"aaa{index}", name=f"scene {index}", source=f"imagery/{index}.tif"))
    settings = PredictionSettings(title="Try", base=str(models["base"]), new=str(models["new"]), rasters=tuple(rasters), **more)
    (job / "settings.json").write_text(settings.model_dump_json())
    return job


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def test_two_models_over_two_rasters_make_maps_changes_and_a_report(tmp_path, models):
    job = make_job(tmp_path, models, sizes=((64, 80), (32, 40)))
    assert run_job(job, compare_models) == 0
    report = read_report(job)
    assert [(c.name, c.value) for c in report.classes] == [("Dirt road", 1), ("Paved road", 2)]
    # the base model's value 1 is paved; in its map it has the joint value 2, so that both maps read alike
    assert (read(job / "aaa0" / "before.tif") == 2).all() and (read(job / "aaa0" / "after.tif") == 1).all()
    assert (read(job / "aaa0" / "change.tif") == 3).all()
    pixels = 64 * 80 + 32 * 40
    assert report.total.pixels == ((0, 0, 0), (0, 0, 0), (0, pixels, 0))
    assert report.total.flipped_m2()[2] == pytest.approx(pixels * 0.25, rel=2e-3) == report.total.before_m2()[2] == report.total.after_m2()[1]
    assert report.total.gained_m2() == report.total.lost_m2() == [0, 0, 0]
    assert report.held_out is None and report.failed == ()
    assert (read(job / "aaa1" / "before_confidence.tif") > 90).all()
    with Image.open(job / "aaa0" / "before_after.gif") as picture:
        assert picture.n_frames > 5 and max(picture.size) <= 960


def test_a_rerun_keeps_what_is_finished(tmp_path, models):
    job = make_job(tmp_path, models, sizes=((64, 80), (32, 40)))
    assert run_job(job, compare_models) == 0
    kept = {path: path.stat().st_mtime_ns for path in (job / "aaa0").glob("*er.tif")}
    (job / "aaa1" / "after.tif").unlink()
    (job / "report.json").unlink()
    (job / "aaa1" / ".after.12345678.plain.tif").write_bytes(b"left by a kill")
    assert run_job(job, compare_models) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (job / "aaa1" / "after.tif").exists() and (job / "report.json").exists()
    assert not list(job.glob("*/.*"))


def test_a_raster_that_cannot_be_used_is_named_and_the_others_go_on(tmp_path, models):
    job = make_job(tmp_path, models, sizes=((32, 32), (32, 32), (32, 32)))
    imagery = job.parent.parent / "imagery"
    (imagery / "0.tif").unlink()
    write_raster(imagery / "1.tif", np.zeros((1, 32, 32), np.uint8))
    assert run_job(job, compare_models) == 0
    report = read_report(job)
    assert [r.id for r in report.rasters] == ["aaa2"]
    assert [p.raster for p in report.failed] == ["scene 0", "scene 1"] and "band" in report.failed[1].fact


def test_when_no_raster_can_be_used_the_job_says_why(tmp_path, models):
    job = make_job(tmp_path, models)
    (job.parent.parent / "imagery" / "0.tif").unlink()
    assert run_job(job, compare_models) == 1
    assert "0.tif" in job_status(job).error and not (job / "report.json").exists()


def test_too_little_room_is_said_before_anything_is_written(tmp_path, models, monkeypatch):
    job = make_job(tmp_path, models)
    monkeypatch.setattr("inference.run.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert run_job(job, compare_models) == 1
    assert job_status(job).error == "The maps may need 15 kB, and the disk has 1 kB left."
    assert not list(job.glob("aaa0/*"))


def test_exact_truth_shows_what_was_forgotten(tmp_path, models):
    truth = write_raster(tmp_path / "truth.tif", np.full((1, 64, 80), 7, np.uint8))
    meaning = (PAVED.model_copy(update={"value": 7}),)
    job = make_job(tmp_path, models, truths=(TruthRaster(raster_id="aaa0", path=str(truth), classes=meaning),))
    assert run_job(job, compare_models) == 0
    report = read_report(job)
    assert (report.truth.before.of(2).iou, report.truth.after.of(2).iou) == (1.0, 0.0)
    [paved] = old_classes(report, report.truth)
    assert paved.forgotten and paved.truth_pixels == 64 * 80


def test_the_process_can_be_cancelled_at_once_and_leaves_no_half_map(tmp_path, models):
    job = make_job(tmp_path, models, sizes=((3000, 3000),))
    start_job(job, "inference.run")
    deadline = time.time() + 60
    while not job_status(job).stage.startswith("Classifying") and time.time() < deadline:
        time.sleep(0.1)
    asked = time.time()
    cancel_job(job)
    while not job_status(job).ended and time.time() < asked + 20:
        time.sleep(0.05)
    assert job_status(job).state == "cancelled", (job / "log.txt").read_text()
    assert time.time() - asked < 4  # under two on an idle machine
    assert not list(job.glob("aaa0/*after*.tif")) and not list(job.glob("aaa0/.*"))


def test_the_command_reports_a_missing_folder():
    done = CliRunner().invoke(app, ["no-such-folder"])
    assert done.exit_code == 2 and "no-such-folder" in done.output


def test_settings_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(JobError):
        read_settings(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"base": "a", "new": "b", "rasters": [], "more": 1}))
    with pytest.raises(JobError):
        read_settings(tmp_path)


def test_joint_classes_never_share_a_value():
    found = joint_classes((DIRT,), (PAVED, UNPAVED, ClassDef(value=9, name="DIRT road", colour="#000000")))
    assert [(c.name, c.value) for c in found] == [("Dirt road", 1), ("Paved road", 2), ("Unpaved road", 3)]


def test_the_reporter_is_told_a_rising_fraction(tmp_path, models, monkeypatch):
    monkeypatch.setattr("inference.run.SECONDS_BETWEEN_REPORTS", 0.0)
    job = make_job(tmp_path, models, sizes=((600, 600),))
    reporter = JobReporter(job)
    told = []
    monkeypatch.setattr(reporter, "progress", lambda stage, fraction, seconds_left=None: told.append(fraction))
    compare_models(reporter)
    assert told == sorted(told) and told[0] < 0.5 and told[-1] == 1.0


def test_a_base_model_for_other_bands_is_fitted_to_those_of_the_new_one(tmp_path, models):
    """One grey band of 16 bits, which the base model alone would refuse."""
    values = np.random.default_rng(1).integers(1, 255, (1, 64, 80), np.uint16) * 257
    models = models | {"new": saved_bundle(tmp_path / "grey", (DIRT,), always=1, bands=("gray",), dtype="uint16")}
    job = make_job(tmp_path, models)
    write_raster(job.parent.parent / "imagery" / "0.tif", values)
    asked = read_settings(job)
    grey = asked.rasters[0].model_copy(update={"shown_bands": (1,), "stretch": Stretch(low=(1.0,), high=(65535.0,))})
    (job / "settings.json").write_text(asked.model_copy(update={"rasters": (grey,)}).model_dump_json())
    assert run_job(job, compare_models) == 0
    report = read_report(job)
    assert report.failed == ()
    assert (read(job / "aaa0" / "before.tif") == 2).all() and (read(job / "aaa0" / "after.tif") == 1).all()
    assert "red, green, blue" in report.notes[0].fact and "fitted to" in report.notes[0].fact


def test_imagery_that_the_new_model_cannot_read_is_still_refused(tmp_path, models):
    job = make_job(tmp_path, models)
    write_raster(job.parent.parent / "imagery" / "0.tif", np.ones((2, 64, 80), np.uint8))
    assert run_job(job, compare_models) == 1
    assert "needs the bands" in job_status(job).error


def test_a_map_that_another_comparison_made_is_taken_over(tmp_path, models, monkeypatch):
    first = make_job(tmp_path, models)
    assert run_job(first, compare_models) == 0
    made = []
    real = inference.run.make_map
    monkeypatch.setattr(inference.run, "make_map", lambda bundle, request, out, *rest, **more: (made.append(out.name), real(bundle, request, out, *rest, **more)))

    def again(name, **changes):
        made.clear()
        job = first.parent / name
        job.mkdir()
        (job / "settings.json").write_text(read_settings(first).model_copy(update=changes).model_dump_json())
        assert run_job(job, compare_models) == 0
        return job

    same = again("same")
    assert made == []
    for part in ("before.tif", "before.tif.aux.xml", "before.qml", "before_confidence.tif", "after.tif"):
        assert (same / "aaa0" / part).read_bytes() == (first / "aaa0" / part).read_bytes()
    again("finds more", find_more={1: 2.0})
    assert made == ["after.tif"]
    again("eight looks", test_time_augmentation=True)
    assert made == ["after.tif", "before.tif"]
    raster = first.parent.parent / "imagery" / "0.tif"
    write_raster(raster, np.full((3, 64, 80), 9, np.uint8))
    again("another picture")
    assert made == ["after.tif", "before.tif"]
    again("the other way round", base=str(models["new"]), new=str(models["base"]))
    assert made == ["after.tif", "before.tif"]  # paved is 1 in these maps and was 2 in the others


def test_a_damaged_or_half_deleted_map_is_not_taken_over(tmp_path, models):
    first = make_job(tmp_path, models)
    assert run_job(first, compare_models) == 0
    (first / "aaa0" / "before.tif").unlink()
    (first / "aaa0" / "after.key").write_bytes(b"\xff\xfe")
    second = first.parent / "two"
    second.mkdir()
    (second / "settings.json").write_text((first / "settings.json").read_text())
    assert run_job(second, compare_models) == 0
    assert (second / "aaa0" / "before.tif").stat().st_nlink == (second / "aaa0" / "after.tif").stat().st_nlink == 1


def test_a_much_finer_raster_is_resampled_and_the_report_says_so(tmp_path, models):
    job = make_job(tmp_path, models)
    fine = np.random.default_rng(0).integers(1, 255, (3, 200, 200), np.uint8)
    write_raster(tmp_path / "project" / "imagery" / "0.tif", fine, transform=Affine(0.1, 0, 500_000, 0, -0.1, 3_700_000))
    assert run_job(job, compare_models) == 0
    report = read_report(job)
    assert "it is resampled to 0.5 m for the model" in report.notes[0].fact
    assert read(job / "aaa0" / "before.tif").shape == read(job / "aaa0" / "after.tif").shape == (200, 200)


def test_a_base_model_for_another_resolution_is_shown_what_it_knows(tmp_path, models):
    """It is not fitted: it sees the picture at its own resolution."""
    job = make_job(tmp_path, models)
    base, rest = read_card(models["base"]), tmp_path / "coarse"
    shutil.copytree(models["base"], rest)
    write_card(rest, base.model_copy(update={"input": base.input.model_copy(update={"resolution_m": 2.0})}))
    settings = read_settings(job).model_copy(update={"base": str(rest)})
    (job / "settings.json").write_text(settings.model_dump_json())
    assert run_job(job, compare_models) == 0
    (note,) = read_report(job).notes
    assert "old model" in note.fact and "resampled to 2 m" in note.fact


def test_what_a_person_says_the_bands_are_goes_into_the_maps(tmp_path, models):
    job = make_job(tmp_path, models)
    settings = read_settings(job)
    named = settings.rasters[0].model_copy(update={"band_names": ("blue", "green", "red")})
    (job / "settings.json").write_text(settings.model_copy(update={"rasters": (named,)}).model_dump_json())
    assert run_job(job, compare_models) == 0
    assert "red is band 3" in read_report(job).notes[0].fact
    odd = named.model_copy(update={"band_names": ("blue", "green")})
    (job / "settings.json").write_text(settings.model_copy(update={"rasters": (odd,)}).model_dump_json())
    assert run_job(job, compare_models) == 1
    assert "2 bands were named" in job_status(job).error


def test_what_was_chosen_goes_into_both_maps_and_another_choice_makes_them_anew(tmp_path, models):
    job = make_job(tmp_path, models, probabilities=True, thresholds={1: 0.999, 2: 0.999}, predict_background=False, merge_policy="max")
    assert run_job(job, compare_models) == 0
    for side in ("before", "after"):
        assert (read(job / "aaa0" / f"{side}.tif") == 0).all()  # neither model is so sure
        with rasterio.open(job / "aaa0" / f"{side}_probabilities.tif") as file:
            assert file.count == len(file.descriptions) > 1 and file.read().max() in range(90, 100)
    less = job.parent / "less"
    less.mkdir()
    (less / "settings.json").write_text(read_settings(job).model_copy(update={"thresholds": {}, "probabilities": False}).model_dump_json())
    assert run_job(less, compare_models) == 0
    assert (read(less / "aaa0" / "after.tif") == 1).all() and not list(less.glob("*/*probabilities*"))


def test_only_the_areas_of_a_file_are_predicted_and_pictures_beside_them_are_named(tmp_path, models):
    job = make_job(tmp_path, models, sizes=((64, 80), (64, 80)), area="areas.gpkg")
    elsewhere = Affine(0.5, 0, 600_000, 0, -0.5, 3_700_000)
    write_raster(tmp_path / "project" / "imagery" / "1.tif", np.full((3, 64, 80), 9, np.uint8), transform=elsewhere)
    box = shapely.box(500_000, 3_700_000 - 16, 500_000 + 20, 3_700_000)  # rows 0 to 32, columns 0 to 40
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32611").to_file(tmp_path / "project" / "areas.gpkg")
    assert run_job(job, compare_models) == 0
    inside = np.zeros((64, 80), bool)
    inside[:32, :40] = True
    assert np.array_equal(read(job / "aaa0" / "after.tif") != 255, inside)
    report = read_report(job)
    assert np.sum(report.total.pixels) == 32 * 40 and "areas.gpkg" in report.failed[0].fact
