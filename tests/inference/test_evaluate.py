import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely.geometry import LineString, box, shape
from typer.testing import CliRunner

from errors import LabelFileError, NoOverlapError, UnknownClassError, UnplacedRasterError
from inference.evaluate import app, evaluate
from inference.legend import write_legend
from tests.inference.makers import UTM, write_raster


@pytest.fixture
def prediction(tmp_path):
    values = np.zeros((1, 40, 60), np.uint8)
    values[0, 10:20, :] = 1
    values[0, 30:, :30] = 2
    values[0, :, 50:] = 255
    path = write_raster(tmp_path / "p.tif", values, nodata=255)
    write_legend(path, {0: "Background", 1: "Paved road", 2: "Unpaved road"}, {0: (0, 0, 0), 1: (1, 1, 1), 2: (2, 2, 2)})
    return path


def test_a_mask_on_the_same_grid_is_scored_pixel_by_pixel(tmp_path, prediction):
    truth = np.zeros((1, 40, 60), np.uint8)
    truth[0, 15:25, :] = 1
    truth[0, :, :10] = 255
    scores = evaluate(prediction, write_raster(tmp_path / "t.tif", truth))
    assert scores.pixels == 40 * 40  # without the ignored columns and those without imagery
    assert (scores.of(1).iou, scores.of(1).precision, scores.of(1).recall) == (pytest.approx(1 / 3), 0.5, 0.5)
    assert (scores.of(2).iou, scores.of(2).recall, scores.of(2).predicted_pixels) == (0.0, None, 200)


def test_a_mask_on_a_coarser_shifted_grid_is_aligned_and_scored_only_where_it_lies(tmp_path, prediction):
    with rasterio.open(prediction) as file:
        values = file.read(1)
    coarse = values[::2, ::2][:, 5:20]  # pixels of 1 m, ten prediction columns further right
    grid = UTM @ Affine.translation(10, 0) @ Affine.scale(2)
    scores = evaluate(prediction, write_raster(tmp_path / "t.tif", coarse[None], transform=grid))
    assert scores.pixels == 40 * 30
    assert scores.accuracy == 1.0


def test_a_mask_with_nodata_zero_still_has_background(tmp_path, prediction):
    truth = np.zeros((1, 40, 60), np.uint8)
    scores = evaluate(prediction, write_raster(tmp_path / "t.tif", truth, nodata=0))
    assert scores.of(1).precision == 0.0 and scores.pixels == 40 * 50


def test_values_of_the_truth_are_translated(tmp_path, prediction):
    truth = np.zeros((1, 40, 60), np.int16)
    truth[0, 10:20, :] = 900
    path = write_raster(tmp_path / "t.tif", truth)
    with pytest.raises(UnknownClassError, match="900"):
        evaluate(prediction, path)
    assert evaluate(prediction, path, mapping={"900": 1}).of(1).iou == 1.0


def test_labels_in_longitude_and_latitude_are_widened_in_metres(tmp_path, prediction):
    # rows 10..20 of 0.5 m: a line along row 15 reaching 2.5 m to each side covers exactly them
    middle = LineString([UTM @ (-5, 15), UTM @ (70, 15)])
    area = box(*(UTM @ (0, 40)), *(UTM @ (30, 30)))
    lonlat = [shape(transform_geom(CRS.from_epsg(32611), CRS.from_epsg(4326), g.__geo_interface__)) for g in (middle, area)]
    labels = gpd.GeoDataFrame({"kind": ["paved ROAD", "dirt"]}, geometry=lonlat, crs=4326)
    labels.to_file(tmp_path / "l.geojson")
    with pytest.raises(UnknownClassError, match="dirt"):
        evaluate(prediction, tmp_path / "l.geojson", class_field="kind", buffer_m=2.5)
    scores = evaluate(prediction, tmp_path / "l.geojson", class_field="kind", buffer_m=2.5, mapping={"dirt": 2})
    assert scores.of(1).iou == 1.0 and scores.of(2).iou > 0.95
    with pytest.raises(LabelFileError, match="width"):
        evaluate(prediction, tmp_path / "l.geojson", class_field="kind", mapping={"dirt": 2})
    with pytest.raises(LabelFileError, match="kind"):
        evaluate(prediction, tmp_path / "l.geojson", class_field="klass", buffer_m=2.5)


def test_without_a_class_field_everything_is_the_only_class(tmp_path, prediction):
    area = box(*(UTM @ (0, 20)), *(UTM @ (60, 10)))
    gpd.GeoDataFrame(geometry=[area], crs=32611).to_file(tmp_path / "l.gpkg")
    with pytest.raises(LabelFileError, match="2 classes"):
        evaluate(prediction, tmp_path / "l.gpkg")
    write_legend(prediction, {0: "Background", 1: "Paved road"}, {0: (0, 0, 0), 1: (1, 1, 1)})
    assert evaluate(prediction, tmp_path / "l.gpkg").of(1).iou == 1.0


def test_truth_from_elsewhere_is_named_as_such(tmp_path, prediction):
    far = write_raster(tmp_path / "t.tif", np.zeros((1, 9, 9), np.uint8), transform=UTM @ Affine.translation(9000, 0))
    with pytest.raises(NoOverlapError):
        evaluate(prediction, far)
    gpd.GeoDataFrame({"v": [1]}, geometry=[box(10, 10, 11, 11)], crs=4326).to_file(tmp_path / "l.geojson")
    with pytest.raises(NoOverlapError):
        evaluate(prediction, tmp_path / "l.geojson", class_field="v")


def test_a_mask_without_a_place_must_have_the_predictions_size(tmp_path, prediction):
    from PIL import Image

    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / "same.png")
    Image.fromarray(np.zeros((40, 61), np.uint8)).save(tmp_path / "other.png")
    assert evaluate(prediction, tmp_path / "same.png").pixels == 40 * 50
    with pytest.raises(UnplacedRasterError):
        evaluate(prediction, tmp_path / "other.png")


def test_the_command_prints_json(tmp_path, prediction):
    truth = write_raster(tmp_path / "t.tif", np.ones((1, 40, 60), np.uint8))
    done = CliRunner().invoke(app, ["--prediction", str(prediction), "--truth", str(truth), "--ignore", "255"])
    found = json.loads(done.stdout)
    assert found["classes"]["1"] == {"name": "Paved road", "iou": 0.25, "precision": 1.0, "recall": 0.25, "pixels": 2000, "predicted_pixels": 500}
    failed = CliRunner().invoke(app, ["--prediction", str(prediction), "--truth", str(tmp_path / "none.tif")])
    assert failed.exit_code == 1 and "none.tif" in failed.output


@pytest.mark.shared_data
def test_a_real_mask_against_its_own_vector_labels(tmp_path, shared_data):
    data = shared_data / "naip_roads"
    found = evaluate(data / "masks" / "palm_springs_2020_64.tif", data / "masks" / "palm_springs_2020_64.tif")
    assert found.accuracy == 1.0 and found.of(2).truth_pixels > 0


def on_pixels(left, top, right, bottom):
    """A box by columns and rows of the prediction."""
    corners = [UTM @ corner for corner in ((left, top), (right, bottom))]
    return box(*corners[0], *corners[1]).envelope


@pytest.mark.parametrize("field", ["Classvalue", "Classname"])
def test_outside_fully_labelled_areas_only_what_is_drawn_is_scored_and_uncertain_nowhere(tmp_path, prediction, field):
    rows = [
        ("Paved road", 1, on_pixels(0, 15, 40, 20)),
        ("Uncertain", 255, on_pixels(0, 0, 10, 5)),
        ("Fully labelled area", 0, on_pixels(0, 0, 20, 30)),
    ]
    names, values, shapes = zip(*rows, strict=True)
    labels = gpd.GeoDataFrame({"Classname": names, "Classvalue": values}, geometry=list(shapes), crs="EPSG:26911")
    labels.to_file(tmp_path / "labels.gpkg")
    scores = evaluate(prediction, tmp_path / "labels.gpkg", class_field=field)
    assert scores.pixels == 20 * 30 - 10 * 5 + 20 * 5
    assert (scores.of(1).truth_pixels, scores.of(1).predicted_pixels, scores.of(1).recall) == (200, 20 * 10 + 20 * 5, 1.0)
    labels[labels["Classvalue"] != 0].to_file(tmp_path / "whole.gpkg")
    assert evaluate(prediction, tmp_path / "whole.gpkg", class_field=field).pixels == 40 * 50 - 10 * 5


def test_all_layers_of_the_labels_are_scored(tmp_path, prediction):
    """labels.gpkg keeps areas and lines apart."""
    area = gpd.GeoDataFrame({"Classname": ["Fully labelled area"], "Classvalue": [0]}, geometry=[on_pixels(0, 0, 40, 30)], crs="EPSG:26911")
    road = LineString([UTM @ (-10, 15), UTM @ (34, 15)])
    line = gpd.GeoDataFrame({"Classname": ["Paved road"], "Classvalue": [1]}, geometry=[road], crs="EPSG:26911")
    area.to_file(tmp_path / "labels.gpkg", layer="label_polygons")
    line.to_crs(4326).to_file(tmp_path / "labels.gpkg", layer="label_lines")
    scores = evaluate(prediction, tmp_path / "labels.gpkg", class_field="Classvalue", buffer_m=2.5)
    assert scores.pixels == 40 * 30
    assert (scores.of(1).recall, scores.of(1).predicted_pixels) == (1.0, 400)
    assert 340 <= scores.of(1).truth_pixels <= 400
