"""The command does what the page does, from files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import LineString, MultiLineString, box
from typer.testing import CliRunner

from labeling.export.command import app
from labeling.export.settings import ExportSettings
from tiles.reader import read_labelled, read_tile
from tiles.tile_set import open_tile_set
from workspace.classes import ClassDef, ClassSchema

X0, Y0 = 500_000.0, 4_000_000.0
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 640, "height": 64, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(1, 0, X0, 0, -1, Y0)) as file:
        file.write(np.full((3, 64, 640), 80, dtype=np.uint8))
    return path


def line(east, south=30.0, length=50.0):
    return LineString([(X0 + east, Y0 - south), (X0 + east + length, Y0 - south)])


def write_labels(path, values, geometries, field="classvalue", crs="EPSG:32611", **columns):
    gpd.GeoDataFrame({field: values, **columns}, geometry=geometries, crs=crs).to_file(path)
    return path


def export(scene, labels, out, *more):
    paths = [labels] if isinstance(labels, Path) else labels
    given = [a for p in paths for a in ("--labels", str(p))]
    return CliRunner().invoke(app, ["--image", str(scene), *given, "--tile-size", "64", "--stride", "64", "--out", str(out), *more])


def width_in_pixels(tile_set, east, value):
    tile = next(t for t in tile_set.record.tiles if t.column <= east < t.column + 64)
    return int((read_tile(tile_set, tile).label[:, east - tile.column] == value).sum())


def test_values_of_a_geopackage(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1, 2, 0], [line(5), line(580), line(200)])
    result = export(scene, labels, tmp_path / "out", "--buffer-m", "3")
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert [(c.value, c.name) for c in made.record.classes] == [(1, "1"), (2, "2")]
    assert len(made.record.tiles) == 2, "class 0 is background and makes no tile"
    assert width_in_pixels(made, 20, 1) == 6
    assert "2 tiles of 64 pixels" in result.output


def test_names_old_style_crs_and_own_widths(scene, tmp_path):
    """As the NAIP roads come: names in a field, UTM metres behind a `crs` member, a width for each line."""
    path = tmp_path / "roads.geojson"
    features = [
        {"type": "Feature", "properties": {"surface": s, "width_m": w}, "geometry": line(e).__geo_interface__}
        for s, w, e in (("paved", 11.0, 5), ("unpaved", None, 580), ("uncertain", 20.0, 5))
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32611"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    result = export(scene, path, tmp_path / "out", "--class-field", "surface")
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert [c.name for c in made.record.classes] == ["Unpaved road", "Paved road"]
    assert width_in_pixels(made, 20, 1) == pytest.approx(11, abs=1)
    assert width_in_pixels(made, 20, 255) == pytest.approx(9, abs=1)
    assert width_in_pixels(made, 600, 2) == 4


def test_widths_of_files_without_a_crs_and_of_multi_lines(scene, tmp_path):
    path = write_labels(tmp_path / "l.shp", [1, 2], [MultiLineString([line(5), line(5, 50)]), line(580)], width_m=[10.0, 8.0])
    path.with_suffix(".prj").unlink()
    result = export(scene, path, tmp_path / "out", "--labels-crs", "EPSG:32611")
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert width_in_pixels(made, 20, 1) == 20
    assert width_in_pixels(made, 600, 2) == 8


def test_several_label_files_and_a_class_list(scene, tmp_path):
    first = write_labels(tmp_path / "a.gpkg", ["track"], [line(5)], field="kind")
    second = write_labels(tmp_path / "b.gpkg", ["9"], [line(580)], field="kind", crs="EPSG:32611")
    schema = ClassSchema(classes=(ClassDef(value=9, name="Wash", colour="#123456"), ClassDef(value=4, name="Track", colour="#654321")))
    (tmp_path / "classes.json").write_text(schema.model_dump_json())
    result = export(scene, [first, second], tmp_path / "out", "--class-field", "kind", "--classes", str(tmp_path / "classes.json"))
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert made.record.class_pixels()[4] > 0
    assert made.record.class_pixels()[9] > 0


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--class-field", "surface"], 1, "no field 'surface'"),
        (["--format", "Tiles"], 2, "not among the metadata formats"),
        (["--tile-size", "100"], 2, "--tile-size"),
        (["--rotation-angle", "2"], 2, "5 or more"),
        (["--stride", "128"], 2, "larger than the tile size"),
    ],
)
def test_wrong_choices_are_explained(scene, tmp_path, more, code, said):
    labels = write_labels(tmp_path / "l.gpkg", [1, 2], [line(5), line(580)])
    result = export(scene, labels, tmp_path / "out", *more)
    assert result.exit_code == code
    assert said in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_labels_elsewhere_end_with_a_message_and_no_trace(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1], [LineString([(10, 50), (10.1, 50)])], crs="EPSG:4326")
    result = export(scene, labels, tmp_path / "out")
    assert result.exit_code == 1
    assert "No label touches the imagery" in result.output
    assert "Traceback" not in result.output


def test_it_runs_as_a_module(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1, 2], [line(5), line(580)])
    command = [sys.executable, "-m", "labeling.export", "--image", str(scene), "--labels", str(labels), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--tile-size", "64", "--stride", "64"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "map.txt").exists()


def test_another_format_and_its_choices(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1, 2], [line(5), line(580)])
    chosen = ("--format", "Labeled_Tiles", "--crop-mode", "bounding_box", "--blacken-around-feature", "--min-polygon-overlap-ratio", "0.5")
    result = export(scene, labels, tmp_path / "out", *chosen)
    assert result.exit_code == 0, result.output
    record = open_tile_set(tmp_path / "out").record
    assert record.metadata_format == "Labeled_Tiles"
    assert record.settings["min_polygon_overlap_ratio"] == 0.5
    assert [t.size for t in record.tiles] == [(54, 4), (54, 4)]
    assert "1 objects for" in result.output
    refused = export(scene, labels, tmp_path / "other", "--crop-mode", "bounding_box")
    assert refused.exit_code == 2
    assert "cut in rows" in refused.output.replace("\n", " ")


@pytest.mark.parametrize("field", ["classvalue", "classname"])
def test_fully_labelled_areas_of_a_file_count(scene, tmp_path, field):
    """Outside them, what is not drawn is not background."""
    half = box(X0, Y0 - 64, X0 + 320, Y0)
    names = ["Paved road", "Paved road", "Fully labelled area"]
    labels = write_labels(tmp_path / "l.gpkg", [1, 1, 0], [line(5).buffer(2), line(580).buffer(2), half], classname=names)
    result = export(scene, labels, tmp_path / "out", "--class-field", field)
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert {tile.column: 0 in tile.pixels for tile in made.record.tiles} == {0: True, 64: True, 128: True, 192: True, 256: True, 576: False}


def test_a_classified_raster_as_labels(scene, tmp_path):
    """Its pixels come back; each connected area is an object in formats of objects."""
    values = np.zeros((64, 640), dtype=np.uint8)
    values[10:20, 5:30], values[40:50, 5:30], values[10:20, 600:620] = 4, 4, 9
    with rasterio.open(
        tmp_path / "map.tif",
        "w",
        driver="GTiff",
        width=640,
        height=64,
        count=1,
        dtype="uint8",
        crs="EPSG:32611",
        transform=Affine(1, 0, X0, 0, -1, Y0),
    ) as file:
        file.write(values, 1)
        file.write_colormap(1, {4: (10, 20, 30, 255), 9: (1, 2, 3, 255)})
    result = export(scene, tmp_path / "map.tif", tmp_path / "out", "--tiles", "all")
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert [(c.value, c.colour) for c in made.record.classes] == [(4, "#0a141e"), (9, "#010203")]
    for tile in made.record.tiles:
        assert np.array_equal(read_tile(made, tile).label, values[:, tile.column : tile.column + 64])
    result = export(scene, tmp_path / "map.tif", tmp_path / "boxes", "--format", "PASCAL_VOC_rectangles")
    assert result.exit_code == 0, result.output
    assert open_tile_set(tmp_path / "boxes").record.class_objects() == {4: 2, 9: 1}


def test_layers_and_fields_of_several_files(scene, tmp_path):
    path = write_labels(tmp_path / "all.gpkg", ["a"], [line(5)], field="kind")
    gpd.GeoDataFrame({"code": [8]}, geometry=[line(580)], crs="EPSG:32611").to_file(path, layer="tracks")
    result = export(scene, [f"{path}::all", f"{path}::tracks"], tmp_path / "out", "--class-field", "kind", "--class-field", "code")
    assert result.exit_code == 0, result.output
    assert [(c.value, c.name) for c in open_tile_set(tmp_path / "out").record.classes] == [(1, "a"), (8, "8")]


def test_where_and_how_tiles_are_cut(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1, 1], [line(5), line(580)])
    mask = tmp_path / "mask.geojson"
    ends = [box(X0, Y0 - 64, X0 + 64, Y0), box(X0 + 576, Y0 - 64, X0 + 640, Y0)]
    gpd.GeoDataFrame(geometry=ends, crs="EPSG:32611").to_crs("EPSG:4326").to_file(mask)
    more = ["--tile-size-y", "32", "--rotation-angle", "180", "--start-index", "700", "--mask", str(mask), "--tiles", "all"]
    result = export(scene, labels, tmp_path / "out", *more)
    assert result.exit_code == 0, result.output
    assert "8 tiles of 64 x 32 pixels" in result.output
    tiles = open_tile_set(tmp_path / "out").record.tiles
    assert [(t.name, t.column, t.row, t.angle) for t in tiles[:3]] == [
        ("000000700", 0, 0, 0),
        ("000000701", 0, 0, 180),
        ("000000702", 576, 0, 0),
    ]


def test_images_alone_need_no_labels(scene, tmp_path):
    chosen = ["--image", str(scene), "--out", str(tmp_path / "out"), "--tile-size", "64", "--stride", "64"]
    refused = CliRunner().invoke(app, chosen)
    assert refused.exit_code == 2
    assert "--labels" in refused.output
    result = CliRunner().invoke(app, [*chosen, "--format", "Export_Tiles", "--reference-system", "pixel_space"])
    assert result.exit_code == 0, result.output
    assert "10 tiles of 64 pixels" in result.output


def test_every_setting_is_an_option(scene):
    said = CliRunner().invoke(app, ["--help"]).output
    for name in ExportSettings.model_fields:
        assert f"--{'format' if name == 'metadata_format' else name.replace('_', '-')}" in said


def test_bands_are_named_for_all_images_or_for_each(scene, tmp_path):
    labels = write_labels(tmp_path / "l.gpkg", [1, 2], [line(5), line(580)])
    other = Path(shutil.copy(scene, tmp_path / "other.tif"))

    def exported(*names):
        more = [text for name in names for text in ("--band-names", name)]
        result = export(scene, labels, tmp_path / "out", "--image", str(other), *more)
        assert result.exit_code == 0, result.output
        return open_tile_set(tmp_path / "out").record.band_names

    assert exported("NIR, red ,Green") == ("nir", "red", "green")
    assert exported("nir,red,green", "nir,red,green") == ("nir", "red", "green")
    for names in (["nir,red"], ["red,red,green"], ["nir,,red"], ["a,b,c"] * 3):
        wrong = export(scene, labels, tmp_path / "wrong", "--image", str(other), *(text for name in names for text in ("--band-names", name)))
        assert wrong.exit_code == 2
        assert "--band-names" in wrong.output
    assert not (tmp_path / "wrong").exists()


def test_boxes_in_pixels_lie_on_the_picture_that_they_name(scene, tmp_path):
    """PASCAL VOC, as another program writes it."""
    places = (10, 20, 30, 44), (580, 8, 590, 20)
    corners = "".join(
        f"<object><name>Tree</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in places
    )
    size = "<size><width>640</width><height>64</height></size>"
    (tmp_path / "boxes.xml").write_text(f"<annotation><filename>scene.tif</filename>{size}{corners}</annotation>")
    result = export(scene, tmp_path / "boxes.xml", tmp_path / "out", "--format", "KITTI_rectangles")
    assert result.exit_code == 0, result.output
    made = open_tile_set(tmp_path / "out")
    assert [c.name for c in made.record.classes] == ["Tree"]
    boxes = [one.box for t in made.record.tiles for one in read_labelled(made, t)[1].objects]
    assert boxes == [(10.0, 20.0, 30.0, 44.0), (4.0, 8.0, 14.0, 20.0)]
