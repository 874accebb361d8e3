"""QGIS itself is not at hand: the project is well-formed, all that it names is there and opens, and styles say what the legends say."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree as ET

import pyogrio
import pytest
import rasterio
from affine import Affine
from shapely.geometry import LineString, Polygon

from inference.qgis import PROJECT_FILE, make_qgis_project
from inference.report import read_report
from inference.settings import read_settings
from labeling.label_set import label_set, write_geopackage
from tests.inference.comparison import finished_comparison
from tests.inference.makers import PAVED, UNPAVED, UTM
from workspace.classes import starter_schema


@pytest.fixture
def job(tmp_path):
    rows = [
        {"object_id": str(i), "class_value": 2, "origin": "drawn", "note": "", "created": "2026", "changed": "2026", "geometry": shape}
        for i, shape in enumerate((LineString([(-117, 33.4), (-116.9, 33.4)]), Polygon([(0, 0), (1, 0), (1, 1)])))
    ]
    write_geopackage(label_set(rows), starter_schema(), tmp_path / "labels.gpkg")
    return finished_comparison(tmp_path, (("aaaa", "EPSG:32611", UTM), ("bbbb", "EPSG:4326", Affine(5e-6, 0, -117.0, 0, -5e-6, 33.43))))


def written(job):
    make_qgis_project(job, read_settings(job), read_report(job))
    return ET.parse(job / PROJECT_FILE).getroot()


def test_everything_it_names_is_there_and_opens_elsewhere_too(job, tmp_path):
    written(job)
    elsewhere = tmp_path / "unpacked"
    shutil.copytree(job, elsewhere)
    shutil.rmtree(job)
    shutil.rmtree(tmp_path / "imagery")
    project = ET.parse(elsewhere / PROJECT_FILE).getroot()
    assert project.tag == "qgis" and project.findtext("properties/Paths/Absolute") == "false"
    layers = project.findall("projectlayers/maplayer")
    listed = project.findall(".//layer-tree-layer")
    assert [one.findtext("id") for one in layers] == [one.get("id") for one in listed] == [one.get("id") for one in project.findall("layerorder/layer")]
    assert [one.findtext("datasource") for one in layers] == [one.get("source") for one in listed]
    assert len({one.get("id") for one in listed}) == len(listed) == 2 + 2 * 4  # lines and areas; change, after, before, picture of two rasters
    for layer in layers:
        source, code = layer.findtext("datasource"), layer.findtext("srs/spatialrefsys/authid")
        assert source.startswith("./") and ".." not in source
        path, _, name = source.partition("|layername=")
        if layer.get("type") == "vector":
            assert layer.findtext("provider") == "ogr" and pyogrio.read_info(elsewhere / path, layer=name)["features"] == 1 and code == "EPSG:4326"
        else:
            with rasterio.open(elsewhere / path) as file:
                assert layer.findtext("provider") == "gdal" and code == f"EPSG:{file.crs.to_epsg()}"


def test_maps_and_labels_have_the_colours_of_their_classes(job):
    project = written(job)
    after = project.find("projectlayers/maplayer[id='after_aaaa']//rasterrenderer")
    entries = {entry.get("value"): (entry.get("color"), entry.get("label"), entry.get("alpha")) for entry in after.iter("paletteEntry")}
    assert entries["2"] == (UNPAVED.colour, "Unpaved road", "255") and entries["1"] == (PAVED.colour, "Paved road", "255")
    assert entries["0"][2] == "0"  # background is seen through
    change = project.find("projectlayers/maplayer[id='change_bbbb']//rasterrenderer")
    assert [entry.get("label") for entry in change.iter("paletteEntry")] == ["same", "gained", "lost", "flipped"]
    picture = project.find("projectlayers/maplayer[id='imagery_aaaa']//rasterrenderer")
    assert (picture.get("type"), picture.get("redBand"), picture.get("blueBand")) == ("multibandcolor", "1", "3")
    lines = project.find("projectlayers/maplayer[id='label_lines']")
    assert lines.get("geometry") == "Line" and lines.find("renderer-v2").get("attr") == "Classvalue"
    assert "Classvalue" in pyogrio.read_info(job / "labels.gpkg", layer="label_lines")["fields"]


def test_the_view_shows_all_maps_in_the_crs_of_the_first(job):
    project = written(job)
    assert project.findtext("projectCrs/spatialrefsys/authid") == "EPSG:32611"
    west, south, east, north = (float(project.findtext(f"mapcanvas/extent/{tag}")) for tag in ("xmin", "ymin", "xmax", "ymax"))
    assert west == pytest.approx(500_000, abs=100) and east > west + 50 and south < north <= 3_700_100


def test_a_project_without_labels_or_picture_still_opens(job, tmp_path):
    (tmp_path / "labels.gpkg").unlink()
    (tmp_path / "imagery" / "scene 0.tif").unlink()
    project = written(job)
    assert [one.findtext("id") for one in project.findall("projectlayers/maplayer")] == [
        "change_aaaa", "change_bbbb", "after_aaaa", "after_bbbb", "before_aaaa", "before_bbbb", "imagery_bbbb",
    ]  # fmt: skip
    assert "Labels" not in [group.get("name") for group in project.iter("layer-tree-group")]


def test_the_pictures_take_no_second_room_on_the_disk(job, tmp_path):
    written(job)
    assert (job / "imagery" / "scene 0.tif").stat().st_ino == (tmp_path / "imagery" / "scene 0.tif").stat().st_ino
    written(job)  # and it can be made anew
