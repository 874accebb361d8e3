"""A class for each feature, and for each cell of a picture."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from torch import nn

from errors import LabelFileError, NoOverlapError
from inference.objects.classify import classify_cells, classify_features
from models.architecture import SceneArchitecture
from tests.inference.makers import UTM, write_raster
from tests.inference.objects.finders import CAR, ROOF, object_card


class Brightest(nn.Module):
    """Class 1 where red is brighter than blue on average, else class 2; logits differ by ln 3: 75 against 25 percent. Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images.clone())
        red = images[:, 0].mean(dim=(1, 2)) > images[:, 2].mean(dim=(1, 2))
        return torch.stack([red.float(), (~red).float()], dim=1) * float(np.log(3))


@pytest.fixture
def halves(tmp_path):
    """Red on the left, blue on the right, black without imagery below row 128."""
    values = np.zeros((3, 192, 192), np.uint8)
    values[0, :128, :96], values[2, :128, 96:] = 200, 200
    return str(write_raster(tmp_path / "halves.tif", values, nodata=0))


def features(pixels, **columns) -> gpd.GeoDataFrame:
    placed = [shapely.transform(shape, lambda x, y: UTM @ (x, y), interleaved=False) for shape in pixels]
    return gpd.GeoDataFrame(columns, geometry=placed, crs="EPSG:32611")


def test_polygons_and_points_keep_their_fields_and_get_a_class(tmp_path, halves):
    table = features([shapely.box(10, 10, 20, 20), shapely.box(150, 60, 170, 90)], owner=["Ann", "Bo"], id=[7, 8]).to_crs("EPSG:4326")
    counts = classify_features(Brightest(), object_card(32), halves, table, tmp_path / "out.gpkg")
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert found["ClassLabel"].tolist() == ["Car", "Roof"] and found["Classvalue"].tolist() == [CAR.value, ROOF.value]
    assert found["Confidence"].tolist() == [0.75, 0.75] and found["owner"].tolist() == ["Ann", "Bo"] and found["id"].tolist() == [7, 8] and counts == {3: 1, 7: 1}
    assert found.crs.to_epsg() == 4326 and shapely.equals_exact(found.geometry, table.geometry.apply(lambda g: shapely.MultiPolygon([g])), 1e-9).all()
    points = features([shapely.Point(100, 20), shapely.Point(30, 30)])
    classify_features(Brightest(), object_card(32), halves, points, tmp_path / "points.geojson")
    assert gpd.read_file(tmp_path / "points.geojson")["ClassLabel"].tolist() == ["Roof", "Car"]


def test_the_crop_is_a_tile_about_the_middle_or_the_box_brought_to_the_tile_size(tmp_path, halves):
    table = features([shapely.box(86, 20, 102, 36)])  # of the tile about (94, 28) more is red
    for crop, share in (("tile", 18 / 32), ("box", None)):
        network = Brightest()
        classify_features(network, object_card(32), halves, table, tmp_path / "out.gpkg", crop=crop)
        [shown] = network.shown
        assert shown.shape == (1, 3, 32, 32)
        if share:
            assert (shown[0, 0] > 0).float().mean().item() == share
        else:
            assert (shown[0, 0, 16] > 100).sum().item() == pytest.approx(32 * 12 / 20, abs=2)  # 16 pixels and a tenth on both sides


def test_what_lies_beside_the_imagery_gets_no_class(tmp_path, halves):
    table = features([shapely.box(10, 10, 20, 20), shapely.box(500, 500, 520, 520), shapely.box(30, 170, 31, 171)])
    assert classify_features(Brightest(), object_card(16), halves, table, tmp_path / "out.gpkg") == {3: 1, 7: 0}
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert found["ClassLabel"].fillna("").tolist() == ["Car", "", ""] and found["Confidence"].isna().tolist() == [False, True, True]
    mixed = features([shapely.box(10, 10, 20, 20), shapely.Point(10, 10)])
    with pytest.raises(LabelFileError, match="several kinds"):
        classify_features(Brightest(), object_card(16), halves, mixed, tmp_path / "none.gpkg")
    with pytest.raises(NoOverlapError):
        classify_features(Brightest(), object_card(16), halves, table.iloc[1:2], tmp_path / "none.gpkg")
    assert not (tmp_path / "none.gpkg").exists()


def test_many_features_are_looked_at_in_batches_and_stay_in_order(tmp_path, halves, monkeypatch):
    monkeypatch.setattr("inference.objects.classify.FEATURES_AT_ONCE", 7)
    columns = np.random.default_rng(0).integers(8, 184, 40)
    table = features([shapely.Point(x, 40) for x in columns], number=range(40))
    classify_features(Brightest(), object_card(4), halves, table, tmp_path / "out.gpkg")
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert found["number"].tolist() == list(range(40)) and found["id"].tolist() == list(range(1, 41))
    assert (found["ClassLabel"] == "Car").tolist() == (columns < 96).tolist()


def test_a_model_that_may_say_several_classes_says_all_likely_ones(tmp_path, halves):
    class Each(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            there = images[:, [0, 2]].amax(dim=(2, 3)) > 100
            return torch.where(there, 2.0, -2.0)

    card = object_card(32, architecture=SceneArchitecture(several=True))
    table = features([shapely.Point(x, y) for x, y in ((30, 30), (96, 30), (150, 30))])
    assert classify_features(Each(), card, halves, table, tmp_path / "out.gpkg") == {3: 2, 7: 2}
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert found["ClassLabel"].tolist() == ["Car", "Car; Roof", "Roof"] and found["Confidence"].tolist() == [0.8808] * 3


def test_cells_cover_the_picture_and_end_with_it(tmp_path):
    values = np.zeros((3, 100, 130), np.uint8)
    values[0, :64, :64], values[2, :64, 64:] = 200, 200  # below row 64 no imagery
    scene = write_raster(tmp_path / "scene.tif", values, nodata=0)
    counts = classify_cells(Brightest(), object_card(64), str(scene), tmp_path / "cells.gpkg")
    found = gpd.read_file(tmp_path / "cells.gpkg", layer="cells")
    assert counts == {3: 1, 7: 2} and found["ClassLabel"].tolist() == ["Car", "Roof", "Roof"]
    pixels = shapely.bounds(shapely.transform(found.geometry.to_numpy(), lambda x, y: ~UTM @ (x, y), interleaved=False))
    assert pixels.round(6).tolist() == [[0, 0, 64, 64], [64, 0, 128, 64], [128, 0, 130, 64]]


def test_finer_imagery_is_shown_in_the_models_pixels(tmp_path):
    fine = UTM @ UTM.scale(0.25)
    values = np.zeros((3, 256, 256), np.uint8)
    values[0] = 200
    scene = write_raster(tmp_path / "fine.tif", values, transform=fine)
    network = Brightest()
    assert classify_cells(network, object_card(32), str(scene), tmp_path / "cells.gpkg") == {3: 4, 7: 0}
