"""The validator names the file, what was expected and what was found."""

import json

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from tiles.validate import app, validate_tile_set


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_raster(path, array):
    with rasterio.open(path, "w", driver="GTiff", width=array.shape[2], height=array.shape[1], count=len(array), dtype="uint8") as file:
        file.write(array)


def test_a_good_set(tile_set):
    assert validate_tile_set(tile_set.folder) == []
    result = CliRunner().invoke(app, [str(tile_set.folder)])
    assert result.exit_code == 0
    assert "nothing to complain about" in result.output


@pytest.mark.parametrize(
    ("damage", "file", "found"),
    [
        (lambda f: (f / "map.txt").unlink(), "map.txt", "no such file"),
        (lambda f: (f / "map.txt").write_text(""), "map.txt", "none"),
        (lambda f: (f / "map.txt").write_text("images\\9.tif  labels\\9.tif \n"), "map.txt", "no such file"),
        (lambda f: (f / "stats.txt").unlink(), "stats.txt", "no such file"),
        (lambda f: (f / "esri_accumulated_stats.json").write_text("{"), "side file", "cannot be read as JSON"),
        (lambda f: change_json(f / "esri_accumulated_stats.json", MetaDataMode="KITTI"), "esri_accumulated_stats.json", "'KITTI'"),
        (lambda f: change_json(f / "esri_accumulated_stats.json", NumTiles=9), "esri_accumulated_stats.json", "9"),
        (lambda f: change_json(f / "esri_model_definition.emd", Classes=[{"Value": 1, "Name": "R"}]), "esri_model_definition.emd", "None"),
        (lambda f: change_json(f / "esri_model_definition.emd", Classes=[]), "esri_model_definition.emd", "[]"),
        (lambda f: (f / "labels/000000002.tif").unlink(), "images/000000002.tif", "none"),
        (lambda f: (f / "images/000000002.tif").write_bytes(b"x"), "images/000000002.tif", "damaged"),
        (lambda f: write_raster(f / "labels/000000002.tif", np.full((1, 32, 32), 255, np.uint8)), "labels/000000002.tif", "255"),
        (lambda f: write_raster(f / "labels/000000002.tif", np.zeros((1, 16, 16), np.uint8)), "labels/000000002.tif", "16 x 16"),
        (lambda f: write_raster(f / "images/000000002.tif", np.zeros((1, 32, 32), np.uint8)), "images/000000002.tif", "1"),
        (lambda f: (f / "terratune.json").write_text("{}"), "terratune.json", "damaged"),
    ],
)
def test_each_damage_is_named(tile_set, damage, file, found):
    damage(tile_set.folder)
    findings = validate_tile_set(tile_set.folder)
    assert any(f.file == file and found in f.found for f in findings), findings
    result = CliRunner().invoke(app, [str(tile_set.folder)])
    assert result.exit_code == 1
    assert file in result.output


def test_a_folder_that_is_not_there(tmp_path):
    assert validate_tile_set(tmp_path / "no")[0].found == "nothing"
