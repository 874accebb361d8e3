from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from shapely.geometry import GeometryCollection, LineString, MultiLineString, Point, Polygon, box

from errors import LabelFileError, UnknownClassError
from labeling.exchange import (
    NOTHING,
    ImportReport,
    inspect_file,
    labels_of,
    placed,
    read_file,
    read_labels,
    suggested_map,
    write_labels,
)
from labeling.label_set import label_set
from workspace.classes import starter_schema

SCHEMA = starter_schema()
ROAD = LineString([(-116.5, 33.8), (-116.49, 33.81)])
FIELD = box(-116.5, 33.8, -116.499, 33.801)


def table(
    values: list[Any], geometries: list[Any] | None = None, name: str = "classvalue", crs: str | None = "EPSG:4326"
) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({name: values}, geometry=geometries or [ROAD] * len(values), crs=crs)


def saved(frame: gpd.GeoDataFrame, path: Path) -> Path:
    frame.to_file(path)
    return path


def report_of(labels: gpd.GeoDataFrame) -> ImportReport:
    return labels.attrs["report"]


@pytest.mark.parametrize("name", ["roads.geojson", "roads.gpkg", "roads.shp", "roads.fgb"])
@pytest.mark.parametrize("epsg", [4326, 26911, 3857])
def test_any_kind_in_any_crs(tmp_path: Path, name: str, epsg: int):
    path = saved(table([2, 1]).to_crs(epsg), tmp_path / name)
    if epsg == 26911 and name.endswith("geojson"):
        assert '"crs"' in path.read_text()  # the member that RFC 7946 dropped, and everybody still writes
    labels = read_labels(path, class_field="classvalue", schema=SCHEMA)
    assert sorted(labels["class_value"]) == [1, 2]
    assert labels.crs == "EPSG:4326"
    assert labels.geometry.geom_equals_exact(shapely.geometry.LineString(ROAD), 1e-7).all()
    assert set(labels["origin"]) == {"imported"}
    assert labels["object_id"].is_unique


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1.0, 2.0], [1, 2]),
        (["1", " 2 "], [1, 2]),
        (["PAVED ROAD", "Unpaved  road"], [1, 2]),
        (["paved road", "255"], [1, 255]),
    ],
)
def test_a_class_field_may_hold_values_or_names(tmp_path: Path, values: list[Any], expected: list[int]):
    labels = read_labels(saved(table(values), tmp_path / "a.gpkg"), class_field=None, schema=SCHEMA)
    assert list(labels["class_value"]) == expected


@pytest.mark.parametrize("name", ["CLASSVALUE", "Value", "ClassName"])
def test_the_class_field_is_recognised_whatever_its_case(tmp_path: Path, name: str):
    path = saved(table([2], name=name), tmp_path / "a.gpkg")
    assert inspect_file(path).class_field == name
    assert list(read_labels(path, class_field=None, schema=SCHEMA)["class_value"]) == [2]
    assert list(read_labels(path, class_field=name.swapcase(), schema=SCHEMA)["class_value"]) == [2]


def test_values_are_mapped_and_left_out(tmp_path: Path):
    path = saved(table(["dirt", "tar", "ditch", None], name="surface"), tmp_path / "a.gpkg")
    value_map = {"dirt": 2, "tar": 1, "ditch": None, NOTHING: None}
    labels = read_labels(path, class_field="surface", value_map=value_map, schema=SCHEMA)
    assert list(labels["class_value"]) == [2, 1]
    assert "2 left out" in report_of(labels).sentence()


def test_without_a_class_field_everything_is_one_class(tmp_path: Path):
    path = saved(table([7, 8], [ROAD, FIELD], name="lanes"), tmp_path / "a.gpkg")
    assert inspect_file(path).class_field is None
    assert list(read_labels(path, class_field=None, value_map={NOTHING: 1}, schema=SCHEMA)["class_value"]) == [1, 1]


def test_values_that_mean_nothing_are_all_named(tmp_path: Path):
    path = saved(table(["dirt", "tar", "2"], name="surface"), tmp_path / "a.gpkg")
    with pytest.raises(UnknownClassError, match=r"dirt, tar.*2 \(Unpaved road\)"):
        read_labels(path, class_field="surface", schema=SCHEMA)


def test_a_field_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path):
    path = saved(table([2], name="surface"), tmp_path / "a.gpkg")
    with pytest.raises(LabelFileError, match="Its fields: surface"):
        read_labels(path, class_field="kind", schema=SCHEMA)


def test_likely_meanings_are_suggested():
    assert suggested_map(["paved", "UNPAVED", "2", "uncertain", "road", "ditch"], SCHEMA) == {
        "paved": 1,
        "UNPAVED": 2,
        "2": 2,
        "uncertain": 255,
        "road": None,  # two classes are roads
        "ditch": None,
    }


def test_an_unknown_crs_is_asked_for(tmp_path: Path):
    path = saved(table([2]).to_crs(26911), tmp_path / "a.shp")
    path.with_suffix(".prj").unlink()
    assert inspect_file(path).crs is None
    with pytest.raises(LabelFileError, match="EPSG code"):
        read_labels(path, class_field=None, schema=SCHEMA)
    with pytest.raises(LabelFileError, match="not a coordinate system"):
        read_labels(path, class_field=None, schema=SCHEMA, crs="EPSG:nonsense")
    for given in ("EPSG:26911", "26911"):
        labels = read_labels(path, class_field=None, schema=SCHEMA, crs=given)
        assert labels.geometry.geom_equals_exact(ROAD, 1e-6).all()


def test_metres_passed_off_as_degrees_are_noticed_and_mended_by_the_crs(tmp_path: Path):
    path = saved(table([2]).to_crs(26911), tmp_path / "a.geojson")
    content = json.loads(path.read_text())
    del content["crs"]
    path.write_text(json.dumps(content))
    with pytest.raises(LabelFileError, match="not longitudes and latitudes"):
        read_labels(path, class_field=None, schema=SCHEMA)
    assert read_labels(path, class_field=None, schema=SCHEMA, crs="EPSG:26911").geometry.geom_equals_exact(ROAD, 1e-6).all()


def test_a_stated_crs_wins_over_the_one_given(tmp_path: Path):
    path = saved(table([2]).to_crs(26911), tmp_path / "a.gpkg")
    assert read_labels(path, class_field=None, schema=SCHEMA, crs="EPSG:32633").geometry.geom_equals_exact(ROAD, 1e-7).all()


def test_shapes_are_taken_apart_mended_or_left_out_with_a_count(tmp_path: Path):
    bow_tie = Polygon([(0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    shapes = [MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3)]]), GeometryCollection([Point(1, 1), FIELD]), bow_tie, None, Polygon()]
    path = saved(table([2, 2, 2, 2, 2], shapes), tmp_path / "a.geojson")
    labels = read_labels(path, class_field=None, schema=SCHEMA)
    assert sorted(labels.geometry.geom_type) == ["LineString", "LineString", "MultiPolygon", "Point", "Polygon"]
    assert labels.geometry.is_valid.all()
    assert (report_of(labels).imported, report_of(labels).repaired) == (5, 1)
    assert sum(report_of(labels).left_out.values()) == 2


def test_all_layers_of_a_geopackage_are_read(tmp_path: Path):
    path = tmp_path / "a.gpkg"
    table([2]).to_file(path, layer="one")
    table([1], [FIELD]).to_crs(3857).to_file(path, layer="two")
    assert sorted(read_labels(path, class_field=None, schema=SCHEMA)["class_value"]) == [1, 2]


@pytest.mark.parametrize("name", ["roads.geojson", "roads.gpkg", "roads.shp", "roads.fgb"])
@pytest.mark.parametrize(("field", "values"), [("width_m", [11.4, None, 6.0]), ("WIDTH", [11.4, 0, 6]), ("Width_M", ["11.4", "wide", "6"])])
def test_a_width_in_metres_is_kept(tmp_path: Path, name: str, field: str, values: list[Any]):
    lines = shapely.geometry.MultiLineString([ROAD, shapely.transform(shapely.geometry.LineString(ROAD), lambda xy: xy + 0.01)])
    source = gpd.GeoDataFrame({"classvalue": [1, 2, 255], field: values}, geometry=[lines, ROAD, Point(-116.5, 33.8)], crs=4326)
    path = tmp_path / name
    source = source if name != "roads.shp" else source.iloc[:2]  # one kind of shape a file
    source.to_crs(26911).to_file(path)
    labels = read_labels(path, class_field="classvalue", schema=SCHEMA)
    assert labels["width_m"].dtype == float
    widths = {c: rows["width_m"].fillna(0).tolist() for c, rows in labels.groupby("class_value")}
    assert widths == {1: [11.4, 11.4], 2: [0.0]} | ({} if name == "roads.shp" else {255: [6.0]})
    assert report_of(labels).widths_ignored == 0


def test_a_width_that_cannot_be_one_is_said_and_areas_have_none(tmp_path: Path):
    source = gpd.GeoDataFrame({"classvalue": [1, 2, 1], "width": [-3.0, 900.0, 5.0]}, geometry=[ROAD, ROAD, FIELD], crs=4326)
    labels = read_labels(saved(source, tmp_path / "roads.gpkg"), class_field="classvalue", schema=SCHEMA)
    assert labels["width_m"].isna().all()
    assert "2 without their width" in report_of(labels).sentence()


@pytest.mark.parametrize(("file_format", "name"), [("GeoJSON", "l.geojson"), ("GeoPackage", "l.gpkg"), ("Shapefile", "l.zip")])
def test_what_is_exported_can_be_imported(tmp_path: Path, file_format: Any, name: str):
    about = {"origin": "drawn", "note": "", "created": "2024-05-01T10:00:00.000+00:00", "changed": "2024-05-01T10:00:00.000+00:00"}
    rows = [(ROAD, 2), (FIELD, 1), (Point(-116.5, 33.8), 255)]
    widths = (6.5, None, 3.0)
    labels = label_set(
        {"object_id": f"id{i}", "class_value": c, "width_m": w, "geometry": g, **about}
        for i, ((g, c), w) in enumerate(zip(rows, widths, strict=True))
    )
    path = tmp_path / name
    write_labels(labels, SCHEMA, path, file_format)
    back = read_labels(path, class_field="Classvalue", schema=SCHEMA).sort_values("class_value", ignore_index=True)
    assert list(back["class_value"]) == [1, 2, 255]
    assert back["width_m"].fillna(0).tolist() == [0.0, 6.5, 3.0]
    for found, (shape, _) in zip(back.geometry, sorted(rows, key=lambda r: r[1]), strict=True):
        assert shapely.equals_exact(shapely.normalize(found), shapely.normalize(shape), 1e-8)
    by_name = read_labels(path, class_field="Classname", schema=SCHEMA)
    assert sorted(by_name["class_value"]) == [1, 2, 255]
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.geojson", b""),
        ("a.geojson", b'{"type": "FeatureCollection", "features": ['),
        ("a.geojson", b'{"type": "Topical"}'),
        ("a.geojson", b'{"type": "FeatureCollection", "features": []}'),
        ("a.geojson", b"[" * 100_000),
        ("a.json", b'{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read /etc/passwd"}'),
        (
            "a.geojson",
            b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>',
        ),
        ("a.kml", b"<OGRVRTDataSource/>"),
        ("a.gpkg", b"SQLite format 3\0 and then nothing"),
        ("a.gpkg", b"PK not a geopackage"),
        ("a.shp", b"\x00\x00\x27\x0a" + b"\x00" * 20),
        ("a.zip", b"PK\x03\x04 but cut off"),
        ("a.fgb", b"fgb\x03fgb\x00" + b"\xff" * 64),
        ("a.exe", b"MZ"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    for attempt in (lambda: inspect_file(path), lambda: read_labels(path, class_field=None, value_map={NOTHING: 2}, schema=SCHEMA)):
        with pytest.raises(LabelFileError) as refused:
            attempt()
        assert refused.value.remedy
        assert name in refused.value.fact


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(LabelFileError, match="cannot be opened"):
        inspect_file(tmp_path / "gone.gpkg")


def test_a_zip_without_a_shapefile_or_with_far_too_much_is_refused(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no")
    with pytest.raises(LabelFileError, match="no vector file"):
        inspect_file(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.shp", b"\0" * 20_000_000)
    with pytest.raises(LabelFileError, match="unpacks"):
        inspect_file(path)


UNREADABLE = {
    "gdal/csv/oddname.csv": "no column that says where",
    "gdal/csv/testnull.csv": "no column that says where",
    "gdal/flatgeobuf/invalid_compoundcurve_non_contiguous_curves.fgb": "cannot be read",
    "gdal/flatgeobuf/invalid_multisurface_of_polyhedralsurface.fgb": "features",
    "gdal/flatgeobuf/invalid_polyhedralsurface_of_curvepolygon.fgb": "cannot be read",
    "gdal/gml/too_nested.gml": "holds no shapes",
    "gdal/gpkg/domains.gpkg": "is empty",
    "gdal/kml/junk_content_after_valid_doc.kml": "cannot be read",
    "gdal/shp/buggymultiline.shp": "cannot be read",
    "gdal/shp/buggymultipoly2.shp": "cannot be read",
    "gdal/shp/buggypoint.shp": "cannot be read",
    "gdal/shp/empty.shp": "is empty",
    "made/truncated.geojson": "damaged",
    "sf/nospatial.gpkg": "holds no shapes",
}
"""Odd files that hold nothing to read, and what is said of them."""
NO_LABEL = {
    "gdal/esrijson/esripolygonempty.json",
    "gdal/geojson/sparse_fields.geojson",
    "gdal/geojson/test_type_promotion.json",
    "gdal/kml/emptylayers.kml",
    "gdal/kml/emptylayers_without_folder.kml",
    "gdal/shp/emptymultipoly.shp",
}
"""Odd files whose rows have no shape."""


@pytest.mark.shared_data
def test_all_odd_files_are_read_right_or_refused_with_a_remedy(shared_data: Path):
    folder = shared_data / "odd_vectors"
    with (folder / "index.csv").open() as file:
        index = list(csv.DictReader(file))
    assert len(index) == 87
    for row in index:
        name = row["file"]
        try:
            found = read_file(folder / name)
        except LabelFileError as error:
            assert UNREADABLE[name] in error.fact, name
            assert error.remedy and str(folder) not in str(error), name
            continue
        assert name not in UNREADABLE, name
        if row["geopandas_read"] == "ok" and len(found.layers) == 1:
            assert found.features == int(row["n_features"]), name
        rows = placed(found, "EPSG:3857" if "gml" in name else "EPSG:26911")
        try:
            labels = labels_of(rows, None, {NOTHING: 2}, SCHEMA)
        except LabelFileError as error:
            assert name in NO_LABEL and "without a shape" in error.remedy, name
            continue
        assert name not in NO_LABEL, name
        report = report_of(labels)
        assert report.rows == found.features == report.kept + sum(report.left_out.values()), name
        assert labels.geometry.is_valid.all() and not labels.geometry.is_empty.any() and not labels.has_z.any(), name


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fiona/test_tin.shp", "1 label read, 1 flattened from a 3D surface, 1 without heights and measures."),
        ("gdal/shp/pointnan.shp", "1 label read, 1 left out (without a shape)."),
        ("gdal/shp/testpoly.shp", "13 labels read, 1 left out (an area has no extent)."),
        ("gdal/topojson/topojson2.topojson", "1 label read, 1 left out (the same shape and class again)."),
        ("made/bowtie_polygon.geojson", "2 labels read, 1 mended (outlines that crossed themselves)."),
        ("made/mixed_geometry_types.geojson", "5 labels read, 1 taken apart into single shapes."),
        ("made/null_and_empty_geometry.geojson", "1 label read, 3 left out (without a shape)."),
        ("made/three_d_lines.geojson", "1 label read, 1 without heights and measures."),
        ("made/unclosed_ring.geojson", "1 label read, 1 with an open outline closed."),
        ("pyogrio/multisurface.gpkg", "1 label read, 1 with curves turned into short lines."),
        ("pyogrio/line_zm.gpkg", "1 label read, 1 without heights and measures."),
        ("sf/storms_xyzm.shp", "71 labels read, 71 without heights and measures."),
    ],
)
def test_what_was_done_to_odd_shapes_is_said(shared_data: Path, name: str, said: str):
    rows = placed(read_file(shared_data / "odd_vectors" / name), "EPSG:26911")
    assert report_of(labels_of(rows, None, {NOTHING: 2}, SCHEMA)).sentence() == said


@pytest.mark.shared_data
def test_real_road_labels_lie_on_their_image(shared_data: Path):
    """The crs member of these files is the old one; the same lines lie beside them in longitude and latitude."""
    name = "palm_springs_2020_64"
    path = shared_data / "naip_roads" / "labels" / f"{name}.geojson"
    surfaces = inspect_file(path).fields["surface"]
    labels = read_labels(path, class_field="surface", value_map=suggested_map(surfaces, SCHEMA), schema=SCHEMA)
    truth = gpd.read_file(shared_data / "naip_roads" / "roads_wgs84.geojson").query("chip == @name")
    assert len(labels) == len(truth)
    assert labels.total_bounds == pytest.approx(truth.total_bounds, abs=2e-6)


def test_zero_is_a_fully_labelled_area_only_where_it_is_named_so(tmp_path: Path):
    rows = table([1, 0, 0], [ROAD, FIELD, ROAD]).assign(Classname=["Paved road", "Background", "Fully labelled area"])
    path = saved(rows, tmp_path / "mixed.geojson")
    with pytest.raises(UnknownClassError, match="0"):
        read_labels(path, class_field="classvalue", schema=SCHEMA)
    assert len(read_labels(path, class_field="classvalue", value_map={"0": None}, schema=SCHEMA)) == 1

    named = saved(rows.iloc[[0, 2]].assign(Classname=["x", "fully LABELLED area"]), tmp_path / "line.geojson")
    read = read_labels(named, class_field="classvalue", value_map={"0": None}, schema=SCHEMA)
    assert read["class_value"].tolist() == [1]
    assert "cannot be a line or a point" in report_of(read).sentence()
