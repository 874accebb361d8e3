from __future__ import annotations

import json
import sqlite3
import zipfile

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from typer.testing import CliRunner

from errors import DiskFullError
from inference.vectors import write
from inference.vectors.command import app
from inference.vectors.make import make_shapes
from inference.vectors.settings import PolygonSettings
from tests.inference.makers import write_raster
from tests.inference.vectors.makers import class_map
from tests.inference.vectors.test_roads import roads


def values() -> np.ndarray:
    found = np.zeros((60, 80), np.uint8)
    found[10:50, 10:40] = 1
    found[10:50, 40:70] = 2
    return found


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".zip"])
def test_every_format_can_be_read_again(tmp_path, suffix):
    one = class_map(tmp_path, values(), np.full((60, 80), 70))
    out = tmp_path / "out" / f"areas{suffix}"
    done = run("polygons", "--map", one.path, "--confidence", one.confidence, "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 polygons" in done.output
    found = gpd.read_file(out, layer="areas")
    assert sorted(found.Classname) == ["Paved road", "Unpaved road"]
    assert found.confidence.tolist() == [0.7, 0.7]
    assert found.crs.to_epsg() == (4326 if suffix == ".geojson" else 32611)
    assert found.to_crs(32611).geometry.area.to_numpy() == pytest.approx([300, 300], rel=1e-4)
    assert {type(shape) for shape in found.geometry} == {shapely.Polygon}
    assert not list(out.parent.glob(".*"))  # nothing unfinished is left


def test_geojson_says_no_crs_and_turns_rings_to_the_left(tmp_path):
    out = tmp_path / "areas.geojson"
    run("polygons", "--map", class_map(tmp_path, values()).path, "--out", out)
    document = json.loads(out.read_text())
    assert "crs" not in document  # RFC 7946
    assert all(shapely.is_ccw(shapely.geometry.shape(f["geometry"]).exterior) for f in document["features"])
    assert (tmp_path / "areas.qml").exists()


def test_a_shapefile_keeps_its_field_names_and_brings_its_style(tmp_path):
    out = tmp_path / "streets.zip"
    done = run("roads", "--map", class_map(tmp_path, roads()).path, "--class", "paved road", "--out", out)
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as archive:
        assert {"streets.shp", "streets.dbf", "streets.shx", "streets.prj", "streets.cpg", "streets.qml"} == set(archive.namelist())
        assert b'value="60,90,230,255"' in archive.read("streets.qml")
    assert list(gpd.read_file(out).columns) == [
        *("Classname", "Classvalue", "length_m", "width_m", "confidence", "gap_m", "from_node", "to_node", "geometry")
    ]


def test_a_geopackage_has_the_class_colours_in_it(tmp_path):
    out = tmp_path / "areas.gpkg"
    run("polygons", "--map", class_map(tmp_path, values()).path, "--out", out)
    assert pyogrio.list_layers(out)[:, 0].tolist() == ["areas", "layer_styles"]
    with sqlite3.connect(out) as connection:
        ((layer, style, default),) = connection.execute("SELECT f_table_name, styleQML, useAsDefault FROM layer_styles").fetchall()
    assert (layer, default) == ("areas", 1)
    assert 'label="Unpaved road"' in style and 'value="255,140,20,255"' in style


def test_a_map_without_shapes_gives_a_file_without_rows(tmp_path):
    out = tmp_path / "none.fgb"
    done = run("buildings", "--map", class_map(tmp_path, values()).path, "--class", "Building", "--out", out)
    assert done.exit_code == 0, done.output
    found = gpd.read_file(out)
    assert not len(found) and "agreement" in found.columns


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("polygons", "--out", "areas.doc"), "'.doc' is not a kind of file"),
        (("polygons", "--class", "river", "--out", "areas.gpkg"), "has no class 'river'"),
        (("roads", "--out", "roads.gpkg"), "has several classes: 1 (Paved road), 2 (Unpaved road), 3 (Building)"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(tmp_path, arguments, told):
    done = run(*arguments[:-1], tmp_path / arguments[-1], "--map", class_map(tmp_path, values()).path)
    assert done.exit_code == 1 and told in done.output
    assert not (tmp_path / arguments[-1]).exists()


def test_a_map_of_nothing_is_refused(tmp_path):
    path = write_raster(tmp_path / "bare.tif", np.zeros((1, 8, 8), np.uint8))
    done = run("polygons", "--map", path, "--out", tmp_path / "areas.gpkg")
    assert done.exit_code == 1 and "shows no class" in done.output


def test_a_full_disk_leaves_the_older_file(tmp_path, monkeypatch):
    out = tmp_path / "areas.gpkg"
    out.write_bytes(b"older")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.pyogrio, "write_dataframe", full)
    with pytest.raises(DiskFullError):
        make_shapes({"map": class_map(tmp_path, values())}, [1], PolygonSettings(), out)
    assert out.read_bytes() == b"older"


def test_maps_in_several_crs_become_one_file_in_degrees_that_names_the_picture(tmp_path):
    one = class_map(tmp_path, values())
    other = class_map(tmp_path, values(), crs="EPSG:32610", name="other.tif")
    count = make_shapes({"one": one, "other": other}, [1], PolygonSettings(), tmp_path / "areas.gpkg")
    found = gpd.read_file(tmp_path / "areas.gpkg", layer="areas")
    assert count == len(found) == 2
    assert found.crs.to_epsg() == 4326 and found.picture.tolist() == ["one", "other"]


def test_nodes_of_several_maps_have_numbers_of_their_own(tmp_path):
    from inference.vectors.settings import RoadSettings

    maps = {name: class_map(tmp_path, roads(), name=f"{name}.tif") for name in ("a", "b")}
    make_shapes(maps, [1], RoadSettings(), tmp_path / "roads.gpkg")
    found = gpd.read_file(tmp_path / "roads.gpkg", layer="roads")
    ends = {name: set(rows.from_node) | set(rows.to_node) for name, rows in found.groupby("picture")}
    assert not ends["a"] & ends["b"]
