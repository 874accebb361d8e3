from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from errors import LabelFileError
from labeling.draw import geojson_of
from labeling.journal import Label, LabelJournal, Operation, open_journal
from labeling.label_set import (
    ATTRIBUTES,
    _Known,
    current_labels,
    kinds,
    label_set,
    outside,
    read_geopackage,
    sizes,
    style_qml,
    write_geopackage,
)
from workspace.classes import ClassDef, ClassSchema, starter_schema

TIME = "2024-05-01T10:00:00.000+00:00"


def row(
    geometry: shapely.Geometry, class_value: int = 2, object_id: str = "", origin: str = "drawn", width_m: float | None = None
) -> dict[str, object]:
    about = {"width_m": width_m, "origin": origin, "note": "", "created": TIME, "changed": TIME}
    return {"object_id": object_id or uuid.uuid4().hex, "class_value": class_value, "geometry": geometry, **about}


@pytest.fixture
def labels() -> gpd.GeoDataFrame:
    square = box(-116.5, 33.8, -116.499, 33.801)
    return label_set(
        [
            row(LineString([(-116.5, 33.8), (-116.49, 33.8)]), object_id="a", width_m=11.4),
            row(square, 1, object_id="b"),
            row(Point(-116.495, 33.805), object_id="c", origin="imported", width_m=3.0),
            row(MultiPolygon([square, shapely.transform(square, lambda xy: xy + 0.01)]), 255, object_id="d"),
        ]
    )


def test_an_empty_label_set_keeps_the_contract():
    empty = label_set()
    assert list(empty.columns) == [*ATTRIBUTES, "geometry"]
    assert empty.crs == "EPSG:4326"
    assert empty["class_value"].dtype == np.int64
    assert empty["width_m"].dtype == np.float64


def test_labels_come_from_the_journal_in_the_order_they_were_made(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.journal"
    journal = LabelJournal(path)
    for one in labels.to_dict("records"):
        width = None if np.isnan(one["width_m"]) else one["width_m"]
        label = Label(geojson_of(one["geometry"]), one["class_value"], width_m=width)
        journal.append([Operation(uuid.uuid4().hex, "upsert", one["object_id"], label)])
    found = current_labels(path)
    assert list(found["class_value"]) == [2, 1, 2, 255]
    assert found["width_m"].equals(labels["width_m"])
    assert found.geometry.geom_equals_exact(labels.geometry, 0).all()
    assert list(found.columns) == [*ATTRIBUTES, "geometry"]


def test_a_project_without_a_journal_has_no_labels_and_gets_none_made(tmp_path: Path):
    path = tmp_path / "labels.journal"
    assert current_labels(path).empty
    assert not path.exists()


def test_kinds_and_sizes(labels: gpd.GeoDataFrame):
    assert list(kinds(labels)) == ["line", "area", "point", "area"]
    found = list(sizes(labels))
    # one hundredth of a degree of longitude at 33.8 degrees, and a thousandth squared, on WGS 84
    assert found[0] == pytest.approx(926.1, abs=1)
    assert found[1] == pytest.approx(92.61 * 110.92, rel=1e-3)
    assert found[2] == 0
    assert found[3] == pytest.approx(2 * found[1], rel=1e-3)


def test_which_labels_lie_outside_all_imagery(labels: gpd.GeoDataFrame):
    assert list(outside(labels, [box(-116.5005, 33.7995, -116.4985, 33.8015)])) == [False, False, True, False]
    assert list(outside(labels, [])) == [True] * 4
    assert list(outside(label_set(), [])) == []


def test_the_geopackage_gives_back_the_same_labels(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.gpkg"
    write_geopackage(labels, starter_schema(), path)
    found = read_geopackage(path)
    assert found[list(ATTRIBUTES)].equals(labels[list(ATTRIBUTES)])
    assert found.geometry.geom_equals_exact(labels.geometry, 0).all()
    assert list(tmp_path.iterdir()) == [path]


def test_other_programs_find_arcgis_fields_in_the_geopackage(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.gpkg"
    write_geopackage(labels, starter_schema(), path)
    lines = gpd.read_file(path, layer="label_lines")
    assert lines.crs == "EPSG:4326"
    assert lines.loc[0, ["Classname", "Classvalue", "RED", "GREEN", "BLUE"]].tolist() == ["Unpaved road", 2, 255, 159, 28]
    assert lines["WIDTH_M"].tolist() == [11.4]
    assert gpd.read_file(path, layer="label_polygons")["WIDTH_M"].isna().all()


def test_a_geopackage_from_before_widths_is_read(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.gpkg"
    write_geopackage(labels, starter_schema(), path)
    for layer in ("label_polygons", "label_lines", "label_points"):
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"ALTER TABLE {layer} DROP COLUMN WIDTH_M")
    found = read_geopackage(path)
    assert found["object_id"].tolist() == ["a", "b", "c", "d"]
    assert found["width_m"].isna().all()


def test_each_layer_is_there_even_when_empty(tmp_path: Path):
    path = tmp_path / "labels.gpkg"
    write_geopackage(label_set(), starter_schema(), path)
    assert {"label_polygons", "label_lines", "label_points"} <= set(pyogrio.list_layers(path)[:, 0])
    assert read_geopackage(path).empty


def test_qgis_finds_a_style_for_each_layer(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.gpkg"
    schema = ClassSchema(classes=(*starter_schema().classes, ClassDef(value=3, name='Ditch & "dam" <x>', colour="#123456")))
    write_geopackage(labels, schema, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        styles = connection.execute("SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles").fetchall()
        registered = connection.execute("SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'").fetchone()
    assert registered == ("attributes",)
    assert {(table, column, default) for table, column, default, _ in styles} == {
        (layer, "geom", 1) for layer in ("label_polygons", "label_lines", "label_points")
    }
    for *_, qml in styles:
        tree = ElementTree.fromstring(qml[qml.index("<qgis") :])
        categories = {c.get("value"): (c.get("label"), c.get("symbol")) for c in tree.iter("category")}
        assert categories["3"][0] == 'Ditch & "dam" <x>'
        symbol = next(s for s in tree.iter("symbol") if s.get("name") == categories["3"][1])
        assert any("18,52,86" in str(option.get("value")) for option in symbol.iter("Option"))


def test_a_removed_class_does_not_hide_its_labels(tmp_path: Path, labels: gpd.GeoDataFrame):
    path = tmp_path / "labels.gpkg"
    write_geopackage(labels, ClassSchema(classes=(ClassDef(value=1, name="Only", colour="#000000"),)), path)
    assert len(read_geopackage(path)) == 4


def test_writing_over_keeps_the_old_file_when_it_fails(tmp_path: Path, labels: gpd.GeoDataFrame, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "labels.gpkg"
    write_geopackage(labels, starter_schema(), path)
    before = path.read_bytes()
    monkeypatch.setattr("labeling.label_set._add_styles", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("disk I/O error")))
    with pytest.raises(sqlite3.OperationalError):
        write_geopackage(labels.iloc[:1], starter_schema(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_geopackage_of_others_is_not_taken_for_labels(tmp_path: Path):
    path = tmp_path / "other.gpkg"
    gpd.GeoDataFrame({"a": [1]}, geometry=[Polygon([(0, 0), (1, 0), (1, 1)])], crs="EPSG:4326").to_file(path)
    with pytest.raises(LabelFileError, match="Import it"):
        read_geopackage(path)


def test_current_labels_follow_every_kind_of_edit_in_order(tmp_path: Path):
    """Read again and again, they are what a first reading gives."""
    path = tmp_path / "labels.journal"

    def put(object_id: str, class_value: int = 2) -> Operation:
        return Operation(uuid.uuid4().hex, "upsert", object_id, Label({"type": "Point", "coordinates": [1.0, 2.0]}, class_value))

    def gone(object_id: str) -> Operation:
        return Operation(uuid.uuid4().hex, "delete", object_id)

    journal = open_journal(path)
    edits = [[put("b"), put("a")], [put("b", 1)], [gone("b"), put("c")], [put("b")], [], [put("d"), gone("a")], [gone("nobody")]]
    seen = []
    for batch in edits:
        journal.append(batch)
        now = current_labels(path)
        seen.append("".join(now["object_id"]))
        assert_geodataframe_equal(now, _Known(path).now())
    assert seen == ["ba", "ba", "ac", "bac", "bac", "bcd", "bcd"]


def test_changing_what_was_given_does_not_change_the_labels(tmp_path: Path):
    path = tmp_path / "labels.journal"
    open_journal(path).append([Operation("one", "upsert", "a", Label({"type": "Point", "coordinates": [1.0, 2.0]}, 2))])
    current_labels(path)["class_value"] = 7
    assert current_labels(path)["class_value"].tolist() == [2]


def test_fully_labelled_areas_go_through_journal_and_geopackage(tmp_path: Path):
    area = box(-116.5, 33.8, -116.49, 33.81)
    journal = open_journal(tmp_path / "labels.journal")
    journal.append([Operation("one", "upsert", "area", Label(geojson_of(area), 0)), Operation("two", "upsert", "roof", Label(geojson_of(area), 1))])
    assert journal.counts() == {0: 1, 1: 1}
    write_geopackage(current_labels(tmp_path / "labels.journal"), starter_schema(), tmp_path / "labels.gpkg")
    stored = gpd.read_file(tmp_path / "labels.gpkg", layer="label_polygons")
    assert stored[["Classname", "Classvalue"]].to_numpy().tolist() == [["Fully labelled area", 0], ["Paved road", 1]]
    back = read_geopackage(tmp_path / "labels.gpkg")
    assert back[["object_id", "class_value"]].to_numpy().tolist() == [["area", 0], ["roof", 1]]
    assert back.geometry.iloc[0].equals(area)


def test_qgis_shows_fully_labelled_areas_dashed_and_unfilled():
    tree = ElementTree.fromstring((qml := style_qml("area", starter_schema()))[qml.index("<qgis") :])
    category = next(c for c in tree.iter("category") if c.get("value") == "0")
    symbol = next(s for s in tree.iter("symbol") if s.get("name") == category.get("symbol"))
    assert {("style", "no"), ("outline_style", "dash")} <= {(o.get("name"), o.get("value")) for o in symbol.iter("Option")}
    assert 'value="0"' not in style_qml("line", starter_schema())
