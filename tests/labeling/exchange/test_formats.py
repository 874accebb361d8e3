"""Kinds of files besides those GDAL writes by itself: geodatabases, KMZ, CSV, TopoJSON, EsriJSON, VOC, COCO; and the CRS guess."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import LineString, Point, Polygon, box

from errors import DiskFullError, LabelFileError
from imagery.grid import Grid
from labeling.exchange import (
    NOTHING,
    VectorFile,
    footprints_of,
    guessed_crs,
    labels_of,
    likely_field,
    outside_imagery,
    picture_grids,
    placed,
    read_file,
    read_labels,
    read_safely,
    stated_crs,
    values_found,
)
from labeling.label_set import label_set
from workspace.classes import starter_schema

SCHEMA = starter_schema()
ROAD = LineString([(-116.5, 33.8), (-116.49, 33.81)])
FIELD = box(-116.5, 33.8, -116.499, 33.801)
GRID = Grid(200, 100, Affine(0.5, 0, 500_000, 0, -0.5, 3_740_000), CRS.from_epsg(26911))
"""100 m by 50 m in UTM zone 11."""
ON_GRID = box(500_010, 3_739_960, 500_020, 3_739_980)


def two_classes(crs: object = 4326) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"Classvalue": [2, 1]}, geometry=[ROAD, FIELD], crs=4326).to_crs(crs)


def zipped(path: Path, *files: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"{inside}{file.name}")
    return path


def saved(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# --- containers and formats ------------------------------------------------------------------------------------------------------------


def test_a_file_geodatabase_is_read_as_folder_and_zipped(tmp_path: Path):
    database = tmp_path / "samples.gdb"
    pyogrio.write_dataframe(two_classes(26911).iloc[:1], database, driver="OpenFileGDB", layer="lines")
    pyogrio.write_dataframe(two_classes(26911).iloc[1:], database, driver="OpenFileGDB", layer="areas", append=True)
    files = sorted(database.iterdir())
    for path in (
        database,
        zipped(tmp_path / "a.zip", *files, inside="samples.gdb/"),
        zipped(tmp_path / "b.zip", *files, inside="deep/samples.gdb/"),
        zipped(tmp_path / "c.zip", *files),
    ):
        labels = read_labels(path, class_field=None, schema=SCHEMA)
        assert sorted(labels["class_value"]) == [1, 2], path.name
        assert labels.total_bounds == pytest.approx([-116.5, 33.8, -116.49, 33.81], abs=1e-7)


def test_a_zip_of_anything_readable_is_read_and_files_beside_it_are_passed_over(tmp_path: Path):
    two_classes().to_file(tmp_path / "labels.gpkg")
    (tmp_path / "readme.txt").write_text("about")
    (tmp_path / "labels.gpkg.xml").write_text("<metadata/>")
    path = zipped(tmp_path / "a.zip", *sorted(tmp_path.iterdir()), inside="made by hand/")
    assert sorted(read_labels(path, class_field=None, schema=SCHEMA)["class_value"]) == [1, 2]


def test_a_full_disk_is_not_taken_for_a_damaged_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inside = tmp_path / "a.geojson"
    inside.write_text("{}")
    path = zipped(tmp_path / "a.zip", inside)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labeling.exchange.files._extract", full)
    with pytest.raises(DiskFullError):
        read_labels(path, class_field=None, schema=SCHEMA)


def test_a_zip_cannot_write_outside_its_folder(tmp_path: Path):
    path = tmp_path / "deep" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../../escaped.geojson", two_classes().to_json())
    assert read_file(path).features == 2
    assert not list(tmp_path.rglob("escaped*")) and not list(tmp_path.parent.glob("escaped*"))


def test_a_kmz_is_its_kml(tmp_path: Path):
    two_classes().assign(Name=["paved", "unpaved"]).to_file(tmp_path / "doc.kml", driver="LIBKML")
    labels = read_labels(zipped(tmp_path / "a.kmz", tmp_path / "doc.kml"), class_field="Name", value_map={"paved": 1, "unpaved": 2}, schema=SCHEMA)
    assert labels["class_value"].tolist() == [1, 2]


def test_gml_is_read_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "a.gml"
    two_classes(26911).to_file(path, driver="GML")
    path.with_suffix(".xsd").unlink()
    labels = read_labels(path, class_field="Classvalue", schema=SCHEMA)
    assert labels.total_bounds == pytest.approx([-116.5, 33.8, -116.49, 33.81], abs=1e-6)
    assert [one.name for one in tmp_path.iterdir()] == ["a.gml"]


def test_the_parts_of_a_shapefile_may_be_chosen_together(tmp_path: Path):
    two_classes(26911).iloc[:1].to_file(tmp_path / "roads.shp")
    file = read_file(sorted(tmp_path.iterdir()))
    assert stated_crs(file) == "NAD83 / UTM zone 11N"
    with pytest.raises(LabelFileError, match="only a part of a shapefile"):
        read_file(tmp_path / "roads.dbf")


def test_topojson_and_esrijson_mean_their_own_crs(tmp_path: Path):
    arcs = [[[-116.5, 33.8], [-116.49, 33.81]]]
    shapes = {"roads": {"type": "LineString", "arcs": [0], "properties": {"class": "paved"}}}
    topology = saved(tmp_path / "a.topojson", {"type": "Topology", "arcs": arcs, "objects": shapes})
    esri = {
        "geometryType": "esriGeometryPolyline",
        "spatialReference": {"wkid": 26911},
        "fields": [{"name": "class", "type": "esriFieldTypeString", "length": 9}],
        "features": [{"attributes": {"class": "paved"}, "geometry": {"paths": [[[500000, 3740000], [500100, 3740000]]]}}],
    }
    for path, west in ((topology, -116.5), (saved(tmp_path / "b.json", esri), -117.0)):
        labels = read_labels(path, class_field="class", value_map={"paved": 1}, schema=SCHEMA)
        assert labels.total_bounds[0] == pytest.approx(west, abs=1e-6)


# --- tables ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "crs", "expected"),
    [
        ('WKT,class\n"POINT (-117 33.8)",paved\n', "EPSG:4326", (-117.0, 33.8)),
        ("geometry;class\nSRID=26911;POINT (500000 3740000);paved\n".replace("SRID=26911;", ""), "26911", (-117.0, 33.8)),
        ("class,lat,lon\npaved,33.8,-117\n", None, (-117.0, 33.8)),
        ("x;y;class\n500000,0;3740000,0;paved\n", "26911", (-117.0, 33.8)),
        ("\ufeffPOINT_X\tPOINT_Y\tclass\n500000\t3740000\tpaved\n", "EPSG:26911", (-117.0, 33.8)),
    ],
)
def test_a_csv_may_hold_wkt_or_two_columns(tmp_path: Path, text: str, crs: str | None, expected: tuple[float, float]):
    path = saved(tmp_path / "a.csv", text)
    labels = read_labels(path, class_field="class", value_map={"paved": 1}, schema=SCHEMA, crs=crs)
    assert (labels.geometry.x[0], labels.geometry.y[0]) == pytest.approx(expected, abs=2e-3)
    if crs is not None:
        with pytest.raises(LabelFileError, match="EPSG code"):
            read_labels(path, class_field="class", value_map={"paved": 1}, schema=SCHEMA)


def test_a_csv_with_ewkt_states_its_crs_and_bad_rows_are_counted(tmp_path: Path):
    rows = ["SRID=26911;POINT Z (500000 3740000 12)", "SRID=26911;POINT (nonsense", ""]
    file = read_file(saved(tmp_path / "a.csv", "id,wkt\n" + "".join(f'{i},"{row}"\n' for i, row in enumerate(rows))))
    assert stated_crs(file) == "NAD83 / UTM zone 11N"
    report = labels_of(placed(file), None, {NOTHING: 1}, SCHEMA).attrs["report"]
    assert report.sentence() == (
        "1 label read, 1 without heights and measures, 1 left out (a shape that cannot be read), 1 left out (without a shape)."
    )
    assert report.table().to_dict("records") == [
        {"layer": "a", "row": 1, "what": "changed", "why": "without heights and measures"},
        {"layer": "a", "row": 2, "what": "left out", "why": "a shape that cannot be read"},
        {"layer": "a", "row": 3, "what": "left out", "why": "without a shape"},
    ]


def test_numbers_that_are_none_are_counted(tmp_path: Path):
    path = saved(tmp_path / "a.csv", "lon,lat\n-117,33.8\nnan,33.8\n-117,\n")
    report = read_labels(path, class_field=None, value_map={NOTHING: 1}, schema=SCHEMA).attrs["report"]
    assert report.left_out == {"coordinates that are no numbers": 2}


# --- pixels of pictures ----------------------------------------------------------------------------------------------------------------

VOC = """<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>
<object><name>{cls}</name><bndbox><xmin>20</xmin><ymin>40</ymin><xmax>40.0</xmax><ymax>80</ymax></bndbox></object></annotation>"""


def assert_on_grid(labels: gpd.GeoDataFrame) -> None:
    """Pixels 20..40 and 40..80 of `GRID` are 10..20 m east and 20..40 m south of its corner."""
    back = labels.to_crs(26911).geometry.iloc[0]
    assert back.bounds == pytest.approx(ON_GRID.bounds, abs=1e-3)


@pytest.mark.parametrize("name", ["scene.tif", "SCENE.JPG", "folder\\scene.tif", "scene"])
def test_voc_boxes_lie_on_the_picture_of_their_name(tmp_path: Path, name: str):
    path = saved(tmp_path / "x.xml", VOC.format(name=name, width=200, height=100, cls="1"))
    labels = read_labels(path, class_field=None, schema=SCHEMA, scenes={"scene.tif": GRID})
    assert labels["class_value"].tolist() == [1]  # ArcGIS writes the class value where others write the name
    assert_on_grid(labels)


def test_voc_of_a_half_size_picture_is_fitted_and_of_another_form_left_out(tmp_path: Path):
    half = VOC.format(name="scene", width=100, height=50, cls="1")
    for edge, small in (("20<", "10<"), ("40<", "20<"), ("40.0<", "20<"), ("80<", "40<")):
        half = half.replace(f">{edge}", f">{small}", 1) if edge != "40<" else half.replace("<ymin>40<", "<ymin>20<")
    for name, text in (("a", half), ("b", VOC.format(name="scene", width=100, height=100, cls="1"))):
        saved(tmp_path / f"{name}.xml", text)
    saved(tmp_path / "c.xml", VOC.format(name="other.tif", width=200, height=100, cls="1"))
    labels = labels_of(placed(read_file(sorted(tmp_path.iterdir())), scenes={"scene.tif": GRID}), "class", {}, SCHEMA)
    assert_on_grid(labels)
    assert labels.attrs["report"].sentence() == (
        "1 label read, 1 fitted to a picture of another size, 1 left out (their picture has another size here), "
        "1 left out (their picture is not in this project)."
    )


def test_coco_outlines_boxes_and_masks(tmp_path: Path):
    ring = [20, 40, 40, 40, 40, 80, 20, 80]
    annotations = [
        {"image_id": 7, "category_id": 3, "segmentation": [ring], "bbox": [0, 0, 1, 1]},
        {"image_id": 7, "category_id": 4, "bbox": [20, 40, 20, 40]},
        {"image_id": 7, "category_id": 5, "segmentation": {"counts": "abc", "size": [100, 200]}, "bbox": [20, 40, 20, 40]},
    ]
    categories = [{"id": 3, "name": "tree"}, {"id": 4, "name": "shed"}, {"id": 5, "name": "pond"}]
    pictures = [{"id": 7, "file_name": "train/scene.png", "width": 200, "height": 100}]
    path = saved(tmp_path / "a.json", {"images": pictures, "annotations": annotations, "categories": categories})
    values = {"tree": 1, "shed": 2, "pond": 255}
    labels = read_labels(path, class_field="class", value_map=values, schema=SCHEMA, scenes={"scene.tif": GRID})
    assert labels["class_value"].tolist() == [1, 2, 255]
    for i in range(3):
        assert_on_grid(labels.iloc[[i]])
    assert "1 drawn as the box of a mask" in labels.attrs["report"].sentence()


def test_a_table_of_boxes_names_its_pictures(tmp_path: Path):
    path = saved(tmp_path / "a.csv", "image_path,xmin,ymin,xmax,ymax,label\nscene.tif,20,40,40,80,paved\n")
    assert_on_grid(read_labels(path, class_field="label", value_map={"paved": 1}, schema=SCHEMA, scenes={"scene.tif": GRID}))


def test_a_name_that_two_scenes_share_is_not_guessed():
    scenes = {"a/scene.tif": GRID, "scene.png": GRID}
    assert picture_grids(["scene.jpg"], scenes) == {}
    assert set(picture_grids(["scene.png"], scenes)) == {"scene.png"}
    assert picture_grids(["scene.tif"], {"a/scene.tif": GRID, "b/scene.tif": GRID}) == {}


@pytest.mark.parametrize("content", [b"<annotation><object>", b'<!DOCTYPE x [<!ENTITY a "b">]><annotation/>', b"<html/>"])
def test_bad_annotations_are_explained(tmp_path: Path, content: bytes):
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    with pytest.raises(LabelFileError) as refused:
        read_file(path)
    assert refused.value.remedy


@pytest.mark.shared_data
def test_real_voc_boxes_lie_in_their_pictures(shared_data: Path):
    import rasterio

    folder = shared_data / "trees_neon"
    scenes = {}
    for path in sorted((folder / "images").glob("*.tif")):
        with rasterio.open(path) as file:
            scenes[path.name] = Grid(file.width, file.height, file.transform, file.crs)
    labels = labels_of(placed(read_file(sorted((folder / "annotations").glob("*.xml"))), scenes=scenes), None, {NOTHING: 1}, SCHEMA)
    assert len(labels) == 316
    inside = shapely.union_all(footprints_of(scenes)).buffer(1e-7)
    assert labels.within(inside).all()


# --- where is it? ----------------------------------------------------------------------------------------------------------------------


def file_of(tmp_path: Path, shapes: list, crs: object = None) -> VectorFile:
    path = tmp_path / "a.gpkg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file without a CRS is what is wanted
        pyogrio.write_dataframe(gpd.GeoDataFrame({"class": ["a"] * len(shapes)}, geometry=shapes, crs=crs), path)
    return read_file(path)


@pytest.mark.parametrize(("epsg", "swapped"), [(26911, False), (4326, False), (4326, True), (3857, False), (32611, False)])
def test_the_crs_is_guessed_from_the_imagery(tmp_path: Path, epsg: int, swapped: bool):
    scene = Grid(2000, 1000, Affine(0.5, 0, 500_000, 0, -0.5, 3_740_000), CRS.from_epsg(4326 if epsg == 99 else 26911))
    there = gpd.GeoSeries([ON_GRID], crs=26911).to_crs(epsg).iloc[0]
    shape = shapely.transform(there, lambda xy: xy[:, ::-1]) if swapped else there
    guess = guessed_crs(file_of(tmp_path, [shape]), {"scene.tif": scene})
    assert guess is not None
    alike = {26911: ("EPSG:26911",), 32611: ("EPSG:26911", "EPSG:32611")}.get(epsg, (f"EPSG:{epsg}",))
    assert guess.crs in alike and guess.swapped is swapped
    assert "100% of the shapes lie on the imagery" in guess.reason
    labels = labels_of(placed(read_file(tmp_path / "a.gpkg"), guess.crs, swapped=guess.swapped), None, {NOTHING: 1}, SCHEMA)
    assert labels.to_crs(26911).total_bounds == pytest.approx(ON_GRID.bounds, abs=2.0)


def test_without_imagery_only_degrees_are_told(tmp_path: Path):
    guess = guessed_crs(file_of(tmp_path, [ROAD]), {})
    assert guess is not None and guess.crs == "EPSG:4326" and "look like" in guess.reason
    assert guessed_crs(file_of(tmp_path, [ON_GRID]), {}) is None


def test_shapes_that_fit_nowhere_are_not_guessed(tmp_path: Path):
    assert guessed_crs(file_of(tmp_path, [Point(1e7, 1e7)]), {"scene.tif": GRID}) is None


def test_a_stated_crs_may_be_overridden_when_that_is_asked_for(tmp_path: Path):
    file = file_of(tmp_path, [ON_GRID], crs=32633)
    assert labels_of(placed(file, "EPSG:26911", override=True), None, {NOTHING: 1}, SCHEMA).total_bounds[0] == pytest.approx(-117, abs=0.01)


# --- which class, and what is left out -------------------------------------------------------------------------------------------------


def test_values_are_counted_and_new_classes_offered(tmp_path: Path):
    frame = gpd.GeoDataFrame({"kind": ["trail", "unpaved", "trail", None, "0", "7", "ignore"]}, geometry=[ROAD] * 7, crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    found = {one.value: one for one in values_found(read_file(tmp_path / "a.gpkg"), "kind", SCHEMA)}
    assert next(iter(found)) == "trail" and found["trail"].count == 2
    assert found["trail"].means is None and found["trail"].offered is not None
    assert (found["trail"].offered.name, found["trail"].offered.value) == ("trail", 3)
    assert found["unpaved"].means == 2 and found["unpaved"].offered is None
    assert found[NOTHING].offered is None and found["0"].offered is None
    assert (found["7"].offered.value, found["7"].offered.name) == (7, "Class 7")  # type: ignore[union-attr]


def test_training_samples_bring_name_value_and_colour(tmp_path: Path):
    columns = {"Classname": ["Water", "Roof"], "Classvalue": [10, 2], "RED": [0, 255], "GREEN": [77, 0], "BLUE": [168, 1]}
    gpd.GeoDataFrame(columns, geometry=[FIELD, FIELD], crs=4326).to_file(tmp_path / "a.gpkg")
    file = read_file(tmp_path / "a.gpkg")
    water, roof = (one.offered for one in values_found(file, "Classname", SCHEMA))
    assert water is not None and (water.value, water.name, water.colour) == (10, "Water", "#004da8")
    assert roof is not None and (roof.value, roof.colour) == (3, "#ff0001")  # 2 is taken here
    by_value = [one.offered for one in values_found(file, "Classvalue", SCHEMA)]
    assert by_value[0] is not None and by_value[0].name == "Water"


def test_names_of_places_are_not_taken_for_classes(tmp_path: Path):
    streets = gpd.GeoDataFrame({"name": ["Elm", "Oak", "Ash"], "surface": ["paved", "unpaved", "paved"]}, geometry=[ROAD] * 3, crs=4326)
    streets.to_file(tmp_path / "a.gpkg")
    assert likely_field(read_file(tmp_path / "a.gpkg"), SCHEMA) == "surface"


def test_what_lies_outside_the_imagery_or_is_there_already_is_left_out(tmp_path: Path):
    there = gpd.GeoSeries([ON_GRID], crs=26911).to_crs(4326).iloc[0]
    file = file_of(tmp_path, [there, shapely.affinity.translate(there, 1, 0), shapely.affinity.translate(there, 0.0001, 0), there], 4326)
    rows, footprints = placed(file), footprints_of({"scene.tif": GRID})
    assert outside_imagery(rows, footprints).tolist() == [False, True, False, False]
    first = labels_of(rows, None, {NOTHING: 1}, SCHEMA, within=footprints)
    assert first.attrs["report"].left_out == {"outside the imagery": 1, "the same shape and class again": 1}
    again = labels_of(rows, None, {NOTHING: 1}, SCHEMA, existing=first.iloc[:1])
    assert again.attrs["report"].left_out == {"already among the labels": 2}
    other_class = labels_of(rows, None, {NOTHING: 2}, SCHEMA, existing=first)
    assert len(other_class) == 3


def test_many_rows_are_read_in_seconds(tmp_path: Path):
    corners = np.random.default_rng(0).uniform(0, 0.1, (20_000, 2))
    frame = gpd.GeoDataFrame({"class": ["paved"] * 20_000}, geometry=shapely.box(*corners.T, *(corners + 1e-4).T), crs=4326)
    frame.to_file(tmp_path / "a.fgb")
    labels = read_labels(tmp_path / "a.fgb", class_field="class", value_map={"paved": 1}, schema=SCHEMA)
    assert len(labels) == 20_000
    assert len(label_set()) == 0


# --- in a process of its own -----------------------------------------------------------------------------------------------------------


def test_reading_safely_gives_the_same(tmp_path: Path):
    frame = gpd.GeoDataFrame({"class": ["a", None]}, geometry=[Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 5)]), None], crs=26911)
    frame.to_file(tmp_path / "a.gpkg")
    safe, here = read_safely([tmp_path / "a.gpkg"]), read_file(tmp_path / "a.gpkg")
    assert (safe.name, safe.fields, safe.features) == (here.name, here.fields, here.features)
    assert safe.layers[0].crs == here.layers[0].crs and safe.layers[0].notes == here.layers[0].notes
    assert safe.values("class") == here.values("class") == ["a", NOTHING]
    assert shapely.equals(safe.layers[0].table.geometry[0], here.layers[0].table.geometry[0])


def test_reading_safely_has_limits(tmp_path: Path):
    path = saved(tmp_path / "a.geojson", two_classes().to_json())
    with pytest.raises(LabelFileError, match="too long"):
        read_safely([path], seconds=0.01)
    with pytest.raises(LabelFileError, match="memory"):
        read_safely([path], memory_bytes=64 * 2**20)
    with pytest.raises(LabelFileError, match="damaged"):
        read_safely([saved(tmp_path / "b.geojson", "{")])
