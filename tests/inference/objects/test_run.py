"""The job: objects raster by raster, copies without them, a report; stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch

from inference.objects import run
from inference.objects.report import read_object_report
from inference.objects.run import find_objects
from inference.objects.settings import ObjectSettings
from inference.settings import RasterToPredict
from models.architecture import DetectorArchitecture, SceneArchitecture
from models.bundle import ModelBundle, save_bundle
from models.network import build_network
from tests.inference.makers import PAVED, saved_bundle, write_raster
from tests.inference.objects.finders import BrightSquares, object_card, squares_scene
from tests.inference.objects.test_classify import Brightest
from workspace.files import write_text
from workspace.jobs import job_status, run_job

SQUARES = [(10, 10, 10, 10), (60, 20, 8, 12), (100, 90, 20, 20)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "imagery").mkdir(parents=True)
    return tmp_path / "project"


def job_of(project: Path, *scenes: Path, **settings) -> Path:
    rasters = tuple(RasterToPredict(id=f"scene{i}", name=scene.name, source=f"imagery/{scene.name}") for i, scene in enumerate(scenes))
    job = project / "objects" / "one"
    write_text(job / "settings.json", ObjectSettings(title="Cars", model="models/finder", rasters=rasters, **settings).model_dump_json())
    return job


def use(monkeypatch, network, **card) -> None:
    bundle = ModelBundle(network.eval(), object_card(**card), Path("finder"))
    monkeypatch.setattr(run, "load_bundle", lambda folder, kind: bundle)


def test_objects_of_each_picture_with_a_report(project, monkeypatch):
    use(monkeypatch, BrightSquares())
    scenes = [squares_scene(project / "imagery" / "a.tif", SQUARES), squares_scene(project / "imagery" / "b.tif", SQUARES[:1])]
    job = job_of(project, *scenes)
    assert run_job(job, find_objects) == 0
    report = read_object_report(job)
    assert [r.counts for r in report.rasters] == [{3: 3, 7: 0}, {3: 1, 7: 0}] and report.count(3) == 4
    assert report.task == "object detection" and report.model == "Finder" and not report.failed
    assert len(gpd.read_file(job / "scene0" / "objects.gpkg", layer="objects")) == 3
    assert not (job / "scene0" / "unrecognisable.tif").exists()


def test_a_copy_without_the_objects_where_that_is_asked_for(project, monkeypatch):
    use(monkeypatch, BrightSquares())
    scenes = [squares_scene(project / "imagery" / "a.tif", SQUARES), squares_scene(project / "imagery" / "b.tif", [])]
    job = job_of(project, *scenes, redact="pixelate", margin_m=2)
    assert run_job(job, find_objects) == 0
    assert [r.copied for r in read_object_report(job).rasters] == [True, False]
    with rasterio.open(job / "scene0" / "unrecognisable.tif") as copy, rasterio.open(scenes[0]) as scene:
        assert copy.read(1)[10:20, 10:20].max() < 200 and (copy.read(1)[40:80] == scene.read(1)[40:80]).all()


def test_what_is_finished_is_kept_when_the_job_goes_on(project, monkeypatch):
    use(monkeypatch, BrightSquares())
    scenes = [squares_scene(project / "imagery" / f"{n}.tif", SQUARES) for n in "ab"]
    job = job_of(project, *scenes)
    finished = run.detect_raster

    def stopped(network, card, source, out, **more):
        if "b.tif" in source:
            (job / "cancel").touch()
        return finished(network, card, source, out, **more)

    monkeypatch.setattr(run, "detect_raster", stopped)
    monkeypatch.setattr(run, "SECONDS_BETWEEN_REPORTS", 0)
    assert run_job(job, find_objects) == 3
    assert [p.parent.name for p in job.glob("*/objects.gpkg")] == ["scene0"]
    (job / "cancel").unlink()
    searched = []
    monkeypatch.setattr(run, "detect_raster", lambda network, card, source, out, **more: searched.append(source) or finished(network, card, source, out, **more))
    assert run_job(job, find_objects) == 0
    assert [Path(s).name for s in searched] == ["b.tif"]
    assert [r.counts[3] for r in read_object_report(job).rasters] == [3, 3]


def test_a_picture_that_does_not_fit_is_told_and_the_others_are_searched(project, monkeypatch):
    use(monkeypatch, BrightSquares())
    wide = write_raster(project / "imagery" / "wide.tif", np.ones((3, 64, 64), np.uint16))
    job = job_of(project, wide, squares_scene(project / "imagery" / "a.tif", SQUARES))
    assert run_job(job, find_objects) == 0
    report = read_object_report(job)
    assert [r.id for r in report.rasters] == ["scene1"] and "uint16" in report.failed[0].fact
    other = job_of(project, wide)
    assert run_job(other, find_objects) == 1 and "None of the pictures" in job_status(other).error


def test_of_labels_of_several_kinds_the_areas_are_given_a_class_but_not_fully_labelled_ones(project, monkeypatch):
    use(monkeypatch, Brightest(), architecture=SceneArchitecture())
    scene = squares_scene(project / "imagery" / "a.tif", SQUARES)
    square = shapely.box(500_005, 3_699_955, 500_045, 3_699_995)
    names, shapes = ["Roof", "Fully labelled area", "Way"], [square, square.buffer(4), square.exterior]
    gpd.GeoDataFrame({"Classname": names}, geometry=shapes, crs="EPSG:32611").to_file(project / "labels.geojson")
    job = job_of(project, scene, features="labels.geojson")
    assert run_job(job, find_objects) == 0
    assert len(gpd.read_file(job / "scene0" / "objects.gpkg", layer="objects")) == 1
    assert "1 lines and points are left out" in read_object_report(job).notes[-1].fact


def test_scene_models_give_cells_or_features_a_class(project, monkeypatch):
    use(monkeypatch, Brightest(), architecture=SceneArchitecture())
    values = np.zeros((3, 128, 128), np.uint8)
    values[0, :, :64], values[2, :, 64:] = 200, 200
    scene = write_raster(project / "imagery" / "a.tif", values)
    cells = job_of(project, scene)
    assert run_job(cells, find_objects) == 0
    assert read_object_report(cells).rasters[0].counts == {3: 2, 7: 2}
    gpd.GeoDataFrame({"name": ["x"]}, geometry=gpd.points_from_xy([500_010], [3_699_990]), crs="EPSG:32611").to_file(project / "places.gpkg")
    (cells / "scene0" / "objects.gpkg").unlink()
    assert run_job(job_of(project, scene, features="places.gpkg"), find_objects) == 0
    assert read_object_report(cells).rasters[0].counts == {3: 1, 7: 0}


def test_a_real_detector_from_a_bundle_and_a_model_for_maps(project):
    torch.manual_seed(0)
    card = object_card(architecture=DetectorArchitecture(encoder_levels=3))
    network = build_network(card.architecture, 3, card.outputs).eval()
    save_bundle(project / "models" / "finder", network, card)
    scene = squares_scene(project / "imagery" / "a.tif", SQUARES, (100, 120))
    job = job_of(project, scene, threshold=0.0)
    assert run_job(job, find_objects) == 0, job_status(job)
    found = gpd.read_file(job / "scene0" / "objects.gpkg", layer="objects")
    assert found["Confidence"].between(0, 1).all() and set(found["Classname"]) <= {"Car", "Roof"}
    saved_bundle(project / "models" / "finder", (PAVED,))
    assert run_job(job, find_objects) == 1 and "semantic segmentation" in job_status(job).error
    assert json.loads((job / "settings.json").read_text())["title"] == "Cars"
