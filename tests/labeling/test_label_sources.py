"""Layers, fields and rasters of class values make one set of labels and one list of classes."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box

from errors import LabelFileError
from labeling.label_sources import LabelSource, derived_schema, label_sources, labels_of_rasters, read_sources
from tests.labeling.test_class_raster import write_classes
from workspace.classes import ClassDef, ClassSchema

X0, Y0 = 500_000.0, 4_000_000.0


def write(path, values, field="classvalue", layer=None, **columns):
    table = gpd.GeoDataFrame({field: values, **columns}, geometry=[box(X0 + 9 * i, Y0 - 5, X0 + 9 * i + 5, Y0) for i in range(len(values))])
    table.set_crs("EPSG:32611").to_file(path, **({"layer": layer} if layer else {}))
    return path


def read(*files, fields=(), classes=None):
    return read_sources(label_sources([str(f) for f in files], fields), classes, None)


def test_known_names_become_the_road_classes():
    schema, numbers = derived_schema(["paved", "Unpaved road", "ignore", ""])
    assert numbers == {"paved": 1, "Unpaved road": 2, "ignore": 255, "": None}
    assert [c.name for c in schema.learnt] == ["Unpaved road", "Paved road"]


def test_other_names_are_numbered_and_numbers_stay():
    assert derived_schema(["tree", "House"])[1] == {"House": 1, "tree": 2}
    schema, numbers = derived_schema(["10", "2", "255", "0"])
    assert numbers == {"0": None, "255": 255, "2": 2, "10": 10}
    assert [c.value for c in schema.classes] == [2, 10, 255]
    assert schema.classes[-1].ignore


@pytest.mark.parametrize("values", [[], ["0", ""], ["300"], ["-4"]])
def test_fields_without_usable_classes(values):
    with pytest.raises(LabelFileError):
        derived_schema(values)


def test_numbers_keep_their_value_beside_names():
    assert derived_schema(["2", "parcel", "1", "field"])[1] == {"1": 1, "2": 2, "field": 3, "parcel": 4}


def test_names_that_differ_by_case_are_one_class():
    schema, numbers = derived_schema(["Tree", "tree", "Old  house", "x" * 90])
    assert numbers == {"Old  house": 1, "Tree": 2, "tree": 2, "x" * 90: 3}
    assert [c.name for c in schema.learnt] == ["Old house", "Tree", "x" * 60]


def test_a_raster_class_that_is_called_uncertain_stays_a_class(tmp_path):
    raster = write_classes(tmp_path / "map.tif", np.array([[3, 4]]), names={3: "Uncertain", 4: "Water"})
    assert {c.value: c.name for c in read(raster)[1].learnt} == {3: "Uncertain 3", 4: "Water"}


def test_one_layer_of_a_file(tmp_path):
    path = write(tmp_path / "all.gpkg", [1, 2], layer="roads")
    gpd.GeoDataFrame({"classvalue": [7]}, geometry=[box(X0, Y0, X0 + 5, Y0 + 5)], crs="EPSG:32611").to_file(path, layer="Houses")
    assert sorted(read(path)[0]["class_value"]) == [1, 2, 7], "all layers"
    assert read(f"{path}::houses")[0]["class_value"].tolist() == [7]
    with pytest.raises(LabelFileError, match="no layer 'fields'") as caught:
        read(f"{path}::fields")
    assert "roads, Houses" in caught.value.remedy


def test_a_field_for_each_file(tmp_path):
    files = write(tmp_path / "a.gpkg", ["x", "y"], "kind"), write(tmp_path / "b.gpkg", [5], "code")
    labels, schema, notes = read(*files, fields=["kind", "CODE"])
    assert {c.name: c.value for c in schema.learnt} == {"x": 1, "y": 2, "5": 5}
    assert labels["class_value"].tolist() == [1, 2, 5]
    assert notes == []
    with pytest.raises(LabelFileError, match="2 label files, but 3 class fields"):
        label_sources([str(f) for f in files], ["a", "b", "c"])


def test_without_a_class_field_a_file_is_one_class(tmp_path):
    """As ArcGIS does; named by the file, so that two files are two classes."""
    files = write(tmp_path / "houses.geojson", ["a", "b"], "owner"), write(tmp_path / "trees.geojson", ["c"], "owner")
    labels, schema, notes = read(*files)
    assert {c.name: c.value for c in schema.learnt} == {"houses": 1, "trees": 2}
    assert labels["class_value"].tolist() == [1, 1, 2]
    assert "houses.geojson has no class field, so all of it is the class 'houses'." in notes[0]


def test_shapes_and_a_raster_of_classes_share_a_class_list(tmp_path):
    raster = write_classes(tmp_path / "map.tif", np.array([[0, 4], [7, 7]]), names={4: "Water", 7: "Wood"}, colours={4: (0, 0, 255)})
    labels, schema, _ = read(raster, write(tmp_path / "more.gpkg", ["water", "House"]))
    assert {c.name: c.value for c in schema.learnt} == {"Water": 4, "Wood": 7, "House": 1}
    assert schema.by_value(4).colour == "#0000ff"
    assert sorted(labels["class_value"]) == [0, 1, 4, 4, 7]
    assert labels.crs == "EPSG:4326"


def test_a_class_list_that_is_given_wins(tmp_path):
    raster = write_classes(tmp_path / "map.tif", np.array([[0, 4]]), names={4: "Water"})
    given = ClassSchema(classes=(ClassDef(value=4, name="Lake", colour="#123456"),))
    (tmp_path / "classes.json").write_text(given.model_dump_json())
    assert read(raster, classes=tmp_path / "classes.json")[1] == given


def test_a_raster_has_no_layers_and_no_field():
    assert label_sources(["a.tif", "b.gpkg"], ["kind"]) == [LabelSource(Path("a.tif")), LabelSource(Path("b.gpkg"), class_field="kind")]
    with pytest.raises(LabelFileError, match="has no layers"):
        read("a.tif::roads")


def test_maps_of_classes_take_names_from_those_that_are_known(tmp_path):
    known = ClassSchema(classes=(ClassDef(value=1, name="Paved road", colour="#112233"), ClassDef(value=4, name="Water", colour="#445566")))
    one = write_classes(tmp_path / "one.tif", [[1, 0], [3, 255]])
    two = write_classes(tmp_path / "two.tif", [[1, 5], [5, 5]], names={1: "Forest", 5: "Field"}, colours={1: (1, 2, 3), 5: (7, 8, 9)})
    nothing = write_classes(tmp_path / "nothing.tif", np.zeros((2, 2)))
    labels, schema = labels_of_rasters([one, nothing], known)
    assert [(c.value, c.name) for c in schema.learnt] == [(1, "Paved road"), (3, "3")]
    assert schema.by_value(1).colour == "#112233"
    assert sorted(labels["class_value"].tolist()) == [0, 0, 1, 3], "what they say is background is fully labelled"
    assert labels.crs == "EPSG:4326"
    _, schema = labels_of_rasters([two], known)
    assert [(c.value, c.name, c.colour) for c in schema.learnt] == [(1, "Forest", "#010203"), (5, "Field", "#070809")], "its own names win"
    with pytest.raises(LabelFileError, match="nothing but background"):
        labels_of_rasters([nothing], known)
