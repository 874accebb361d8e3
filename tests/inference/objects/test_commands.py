"""The commands, as typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from inference.objects import __main__ as commands
from inference.objects import run
from models.architecture import SceneArchitecture
from models.bundle import ModelBundle
from tests.inference.makers import write_raster
from tests.inference.objects.finders import BrightSquares, object_card, squares_scene
from tests.inference.objects.test_class_change import AFTER, BEFORE, class_map
from tests.inference.objects.test_classify import Brightest

SQUARES = [(10, 10, 10, 10), (60, 20, 8, 12), (100, 90, 20, 20)]


def typed(*words) -> str:
    result = CliRunner().invoke(commands.app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words) -> str:
    result = CliRunner().invoke(commands.app, [str(word) for word in words])
    assert result.exit_code != 0 and not isinstance(result.exception, (ValueError, KeyError, TypeError))
    return result.output


@pytest.fixture
def finder(monkeypatch):
    def use(network, **card):
        bundle = ModelBundle(network.eval(), object_card(**card), Path("finder"))
        monkeypatch.setattr(run, "load_bundle", lambda folder, kind: bundle)
        monkeypatch.setattr(commands, "find_model", Path)

    use(BrightSquares())
    return use


def test_detect_then_accuracy_then_redact(tmp_path, finder):
    scene = squares_scene(tmp_path / "scene.tif", SQUARES)
    found = tmp_path / "found.gpkg"
    assert typed("detect", "--model", "m", "--image", scene, "--out", found, "--overlap-px", 20).strip() == str(found)
    truth = gpd.read_file(found, layer="found").iloc[:2]
    truth.to_file(tmp_path / "truth.geojson")
    scores = json.loads(typed("accuracy", "--found", found, "--truth", tmp_path / "truth.geojson"))
    assert (scores["total"]["recall"], scores["total"]["precision"], scores["classes"][0]["class_name"]) == (1.0, pytest.approx(2 / 3), "Car")
    assert "3 objects" in typed("redact", "--image", scene, "--objects", found, "--out", tmp_path / "a.tif", "--method", "blur")
    assert "3 objects" in typed("redact", "--image", scene, "--model", "m", "--out", tmp_path / "b.tif", "--cell-m", 8)
    with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(tmp_path / "b.tif") as other:
        assert one.read(1).max() < 240 and other.read(1).max() < 240


def test_classify_cells_and_features(tmp_path, finder):
    values = np.zeros((3, 64, 128), np.uint8)
    values[0, :, :64], values[2, :, 64:] = 200, 200
    scene = write_raster(tmp_path / "scene.tif", values)
    assert "object detection" in refused("classify", "--model", "m", "--image", scene, "--out", tmp_path / "cells.gpkg")
    finder(Brightest(), architecture=SceneArchitecture())
    typed("classify", "--model", "m", "--image", scene, "--out", tmp_path / "cells.gpkg")
    cells = gpd.read_file(tmp_path / "cells.gpkg", layer="cells")
    assert cells["ClassLabel"].tolist() == ["Car", "Roof"]
    typed("classify", "--model", "m", "--image", scene, "--features", tmp_path / "cells.gpkg", "--crop", "box", "--out", tmp_path / "again.geojson")
    assert gpd.read_file(tmp_path / "again.geojson")["ClassLabel"].tolist() == ["Car", "Roof"]
    assert "scene classification" in refused("detect", "--model", "m", "--image", scene, "--out", tmp_path / "x.gpkg")


def test_change_as_a_table(tmp_path):
    first, second = class_map(tmp_path / "a.tif", BEFORE), class_map(tmp_path / "b.tif", AFTER)
    shown = typed("change", "--before", first, "--after", second, "--out", tmp_path / "c.tif")
    typed("change", "--before", first, "--after", second, "--out", tmp_path / "c.tif", "--table", tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text().strip() == shown.strip() and next(csv.reader([shown.splitlines()[1]]))[1:4] == ["Tree", "Background", "2"]


def test_mistakes_are_told(tmp_path, finder):
    scene = squares_scene(tmp_path / "scene.tif", SQUARES)
    assert "gpkg" in refused("detect", "--model", "m", "--image", scene, "--out", tmp_path / "x.txt")
    assert "smaller than" in refused("detect", "--model", "m", "--image", scene, "--out", tmp_path / "x.gpkg", "--overlap-px", 64)
    assert "one of" in refused("redact", "--image", scene, "--out", tmp_path / "x.tif")
    assert "band numbers" in refused("detect", "--model", "m", "--image", scene, "--out", tmp_path / "x.gpkg", "--bands", "a")
    assert "not there" in refused("change", "--before", tmp_path / "no.tif", "--after", scene, "--out", tmp_path / "x.tif")


def test_detect_gives_rotated_boxes_where_asked(tmp_path, finder):
    finder(BrightSquares(True))
    scene, found = squares_scene(tmp_path / "scene.tif", SQUARES), tmp_path / "found.gpkg"
    typed("detect", "--model", "m", "--image", scene, "--out", found, "--shape", "rotated")
    assert set(gpd.read_file(found, layer="found")["angle"] % 90) == {0}
    assert "outline" in refused("detect", "--model", "m", "--image", scene, "--out", found, "--shape", "round")
