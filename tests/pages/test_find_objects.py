"""Finding objects on the Compare page, from a model to a map of objects."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from imagery.library import add_copy, list_rasters
from inference.objects import run
from inference.objects.report import read_object_report
from inference.objects.run import find_objects
from inference.objects.settings import read_object_settings
from models.architecture import Architecture, DetectorArchitecture, SceneArchitecture
from models.bundle import ModelBundle, save_bundle
from models.card import paired
from models.network import SegmentationNetwork, build_network
from tests.inference.makers import write_raster
from tests.inference.objects.finders import BrightSquares, object_card, squares_scene
from tests.inference.objects.test_classify import Brightest
from ui import frame
from ui.objects import MAPS_VIEW, MODULE, OBJECTS_VIEW, _surest
from workspace.jobs import run_job
from workspace.project import Project, create_project

PAGE = Path(__file__).resolve().parents[2] / "pages" / "preview_results.py"
SQUARES = [(10, 10, 10, 10), (60, 20, 8, 12), (100, 90, 20, 20)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    frame.settings.cache_clear()
    yield create_project(tmp_path / "projects", "One")
    frame.settings.cache_clear()


def add_model(project: Project, monkeypatch, network, architecture) -> None:
    """A saved model whose network is one with known answers when the job loads it."""
    card = object_card(architecture=architecture)
    torch.manual_seed(0)
    save_bundle(project.models_folder / "finder", build_network(architecture, 3, card.outputs), card)
    monkeypatch.setattr(run, "load_bundle", lambda folder, kind: ModelBundle(network.eval(), card, folder))
    monkeypatch.setattr("ui.objects.start_job", lambda job, module: run_job(job, find_objects))


def add_finder(project: Project, monkeypatch) -> None:
    add_model(project, monkeypatch, BrightSquares(), DetectorArchitecture(encoder_levels=3))


def open_page(project: Project, **address: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=120)
    page.query_params["project"] = project.id
    for name, value in address.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*page.markdown, *page.caption, *page.info, *page.error])


def test_without_a_model_for_objects_nothing_of_it_is_shown(project, tmp_path):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    page = open_page(project)
    assert not page.button_group and "no trained model" in words(page)


def test_objects_are_found_shown_and_offered(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    add_finder(project, monkeypatch)
    page = open_page(project)
    assert "Looks for Car, Roof." in words(page)  # there are no maps to compare: it is shown at once
    page.slider(key="objects:threshold").set_value(0.7).run()
    page.button(key="objects:start").click().run()
    assert not page.exception, page.exception
    [job] = project.objects_folder.iterdir()
    asked = read_object_settings(job)
    assert (asked.threshold, asked.model, asked.redact) == (0.7, "models/finder", "") and asked.rasters[0].source.startswith("imagery/")
    later = open_page(project)  # a reload, another day
    assert "**3 objects** on 1 picture" in words(later)
    assert later.dataframe[0].value["Objects"].tolist() == [3, 0]
    raster_id = list_rasters(project)[0].id
    assert f"objects/{job.name}/{raster_id}/objects.gpkg" in words(later)


def test_models_of_outlines_are_asked_for_a_shape_models_of_boxes_are_not(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    add_finder(project, monkeypatch)
    assert not [radio for radio in open_page(project).radio if radio.key == "objects:shape"]
    add_model(project, monkeypatch, BrightSquares(True), DetectorArchitecture(encoder_levels=3, detector="maskrcnn"))
    page = open_page(project)
    page.radio(key="objects:shape").set_value("rotated").run()
    page.button(key="objects:start").click().run()
    [job] = project.objects_folder.iterdir()
    [raster] = list_rasters(project)
    assert "angle" in gpd.read_file(job / raster.id / "objects.gpkg", layer="objects")
    again = open_page(project)
    assert "**3 objects**" in words(again)


def test_a_copy_without_the_objects_is_offered_where_it_was_asked_for(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    add_finder(project, monkeypatch)
    page = open_page(project)
    page.radio(key="objects:redact").set_value("blur").run()
    page.number_input(key="objects:margin_m").set_value(1.5).run()
    page.button(key="objects:start").click().run()
    [job] = project.objects_folder.iterdir()
    assert (read_object_settings(job).redact, read_object_settings(job).margin_m) == ("blur", 1.5)
    assert "unrecognisable.tif" in words(open_page(project)) and read_object_report(job).rasters[0].copied


def test_scene_models_look_at_cells(project, tmp_path, monkeypatch):
    values = np.zeros((3, 128, 128), np.uint8)
    values[0, :, :64], values[2, :, 64:] = 200, 200
    add_copy(project, write_raster(tmp_path / "up.tif", values), "scene.tif")
    add_model(project, monkeypatch, Brightest(), SceneArchitecture(encoder_levels=2))
    page = open_page(project)
    page.button(key="objects:start").click().run()
    assert not page.exception, page.exception
    assert open_page(project).dataframe[0].value["Objects"].tolist() == [2, 2]


def test_only_the_surest_are_drawn_and_that_is_said(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    add_finder(project, monkeypatch)
    open_page(project).button(key="objects:start").click().run()
    monkeypatch.setattr("ui.objects.MOST_SHOWN", 2)
    assert "The 2 surest of 3 objects are drawn" in words(open_page(project))
    [file] = project.objects_folder.glob("*/*/objects.gpkg")
    shown, count = _surest(file, 0, 2, {3: "#e71d36"})
    assert (len(shown["features"]), count) == (2, 3)
    assert shown["features"][0]["properties"] == {"text": "Car, 94% sure", "style": {"color": "#e71d36", "fillColor": "#e71d36"}}
    west, south, east, north = gpd.GeoDataFrame.from_features(shown["features"]).total_bounds
    assert -120 < west < east < -100 and 30 < south < north < 40


def test_maps_and_objects_stand_side_by_side_and_a_search_can_be_deleted(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "up.tif", SQUARES), "scene.tif")
    add_finder(project, monkeypatch)
    page = open_page(project)
    page.button_group[0].set_value(MAPS_VIEW).run()
    assert "no trained model to compare" in words(page)
    page.button_group[0].set_value(OBJECTS_VIEW).run()
    page.button(key="objects:start").click().run()
    [job] = project.objects_folder.iterdir()
    page = open_page(project, search=job.name)
    page.button(key=f"objects:delete:{job.name}").click().run()
    assert not list(project.objects_folder.glob("[!.]*")) and not page.exception
    assert run.__name__ == MODULE


class Differs(SegmentationNetwork):
    """Changed where the later image is brighter by far."""

    def __init__(self):
        super().__init__(nn.Identity(), nn.Identity(), nn.Identity(), stride=1, bands=6, outputs=3)

    def forward(self, image):
        brighter = (image[:, 3:] - image[:, :3]).mean(dim=1)
        return torch.stack([torch.zeros_like(brighter), brighter - 1, torch.full_like(brighter, -9.0)], dim=1)


def test_change_asks_for_the_picture_before_and_the_one_after(project, tmp_path, monkeypatch):
    add_copy(project, squares_scene(tmp_path / "one.tif", SQUARES[:1]), "before.tif")
    card = object_card(architecture=Architecture(images=2))
    card = card.model_copy(update={"input": paired(card.input)})
    save_bundle(project.models_folder / "finder", build_network(card.architecture, 6, card.outputs), card)
    monkeypatch.setattr(run, "load_bundle", lambda folder, kind: ModelBundle(Differs().eval(), card, folder))
    monkeypatch.setattr("ui.objects.start_job", lambda job, module: run_job(job, find_objects))
    page = open_page(project)
    assert "add the other one on the Imagery page" in words(page)
    assert page.button(key="objects:start").disabled
    add_copy(project, squares_scene(tmp_path / "two.tif", SQUARES), "after.tif")
    page = open_page(project)
    rasters = {raster.name: raster.id for raster in list_rasters(project)}
    page.selectbox(key="objects:before").set_value(rasters["before.tif"]).run()
    page.button(key="objects:start").click().run()
    assert not page.exception, page.exception
    [job] = project.objects_folder.iterdir()
    assert read_object_settings(job).later.name == "after.tif"
    assert open_page(project).dataframe[0].value["Objects"].tolist() == [2, 0], "the square that was there is no change"
