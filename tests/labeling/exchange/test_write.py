"""Labels out: every format comes back as it went, with names, values and colours."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import shapely
from shapely.geometry import LineString, Point, Polygon, box

from labeling.exchange import STYLED, SUFFIXES, chosen_labels, read_file, read_labels, stated_crs, values_found, write_labels
from labeling.label_set import label_set
from workspace.class_files import read_class_file
from workspace.classes import starter_schema, with_class

SCHEMA = with_class(starter_schema(), 2, name="=Unpaved & rough")
ROAD = LineString([(-116.5, 33.8), (-116.49, 33.81)])
HOLED = Polygon([(0, 0), (0.01, 0), (0.01, 0.01), (0, 0.01)], [[(0.002, 0.002), (0.004, 0.002), (0.004, 0.004)]])
TWO = shapely.MultiPolygon([box(1, 1, 1.01, 1.01), box(2, 2, 2.01, 2.01)])
SHAPES = [(ROAD, 2, 6.5), (HOLED, 1, None), (Point(-116.5, 33.8), 255, 3.0), (TWO, 1, None)]


def labels(shapes=SHAPES):
    about = {"origin": "drawn", "note": "-dubious\x01", "created": "2024-05-01T10:00:00.000+00:00", "changed": "2024-05-01T10:00:00.000+00:00"}
    return label_set({"object_id": f"id{i}", "class_value": c, "width_m": w, "geometry": g, **about} for i, (g, c, w) in enumerate(shapes))


@pytest.mark.parametrize("styles", [False, True])
@pytest.mark.parametrize("file_format", list(SUFFIXES))
def test_every_format_comes_back(tmp_path: Path, file_format: Any, styles: bool):
    if styles and file_format not in STYLED:
        return
    path = tmp_path / f"labels{'.zip' if styles else SUFFIXES[file_format]}"
    write_labels(labels(), SCHEMA, path, file_format, styles=styles)
    crs = "EPSG:4326" if file_format == "CSV" else None
    field = "Classvalue"
    back = read_labels(path, class_field=field, schema=SCHEMA, crs=crs).sort_values("class_value", ignore_index=True)
    assert sorted(back["class_value"]) == [1, 1, 1, 2, 255]
    assert sorted(back["width_m"].dropna()) == [3.0, 6.5]
    for shape, class_value, _ in SHAPES:
        parts = shapely.union_all(back.geometry[back["class_value"] == class_value].to_numpy())
        assert shapely.hausdorff_distance(shapely.intersection(parts, shape.buffer(1e-6)), shape) < 1e-7
    names = read_labels(path, class_field="Classname", schema=SCHEMA, crs=crs)
    assert sorted(names["class_value"]) == [1, 1, 1, 2, 255]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("file_format", ["GeoJSON", "FlatGeobuf", "CSV", "Shapefile"])
def test_qgis_finds_a_style_beside_each_file(tmp_path: Path, file_format: Any):
    path = tmp_path / "labels.zip"
    write_labels(labels(), SCHEMA, path, file_format, styles=True)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for kind in ("polygons", "lines", "points"):
            assert any(name.startswith(f"label_{kind}") and not name.endswith(".qml") for name in names)
            listed = read_class_file("a.qml", archive.read(f"label_{kind}.qml"))
            assert [(c.name, c.value, c.colour) for c in listed] == [(c.name, c.value, c.colour) for c in SCHEMA.classes]


def test_kml_has_the_class_colours(tmp_path: Path):
    write_labels(labels(), SCHEMA, tmp_path / "a.kml", "KML")
    root = ElementTree.parse(tmp_path / "a.kml").getroot()
    name = {"k": "http://www.opengis.net/kml/2.2"}
    style = root.find(".//k:Style[@id='class2']/k:LineStyle/k:color", name)
    assert style is not None and style.text == "ff1c9fff"  # #ff9f1c, as opacity, blue, green, red
    assert {one.text for one in root.findall(".//k:styleUrl", name)} == {"#class1", "#class2", "#class255"}
    assert len(root.findall(".//k:innerBoundaryIs", name)) == 1


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path):
    write_labels(labels(), SCHEMA, tmp_path / "a.csv", "CSV")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["Classname"] for row in rows} == {"'=Unpaved & rough", "Paved road", "Uncertain"}
    assert rows[0]["WKT"].startswith("LINESTRING") and rows[0]["RED"] == "255"
    assert not any(str(cell).startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_files_of_one_kind_keep_their_type(tmp_path: Path):
    write_labels(labels(SHAPES[:1]), SCHEMA, tmp_path / "a.fgb", "FlatGeobuf")
    file = read_file(tmp_path / "a.fgb")
    assert stated_crs(file) == "WGS 84" and file.features == 1


def test_labels_of_some_classes_and_scenes():
    every = labels()
    assert chosen_labels(every)["object_id"].tolist() == ["id0", "id1", "id2", "id3"]
    assert chosen_labels(every, {1})["object_id"].tolist() == ["id1", "id3"]
    assert chosen_labels(every, None, [box(-117, 33, -116, 34)])["object_id"].tolist() == ["id0", "id2"]
    assert chosen_labels(every, {2}, [box(-117, 33, -116, 34)])["object_id"].tolist() == ["id0"]
    assert chosen_labels(every, {2}, [box(50, 50, 51, 51)]).empty


@pytest.mark.parametrize("field", ["Classvalue", "Classname"])
@pytest.mark.parametrize("file_format", list(SUFFIXES))
def test_fully_labelled_areas_come_back_from_every_format(tmp_path: Path, file_format: Any, field: str):
    path = tmp_path / f"labels{SUFFIXES[file_format]}"
    write_labels(labels([(box(0, 0, 0.01, 0.01), 0, None), (HOLED, 1, None)]), SCHEMA, path, file_format)
    crs = "EPSG:4326" if file_format == "CSV" else None
    back = read_labels(path, class_field=field, schema=SCHEMA, crs=crs)
    assert sorted(back["class_value"]) == [0, 1]
    assert shapely.normalize(back.geometry[back["class_value"] == 0].iloc[0]).equals_exact(shapely.normalize(box(0, 0, 0.01, 0.01)), 1e-9)
    [offered] = [one for one in values_found(read_file(path), field, SCHEMA) if one.means == 0]
    assert (offered.count, offered.offered) == (1, None)


def test_fully_labelled_areas_are_chosen_like_a_class():
    both = labels([(box(0, 0, 1, 1), 0, None), (HOLED, 1, None)])
    assert chosen_labels(both, {0})["class_value"].tolist() == [0]
    assert chosen_labels(both, {1})["class_value"].tolist() == [1]
