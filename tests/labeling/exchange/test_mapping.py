"""Which field of a file is suggested as the one that tells the class."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import Point

from labeling.exchange import likely_field, read_file, values_found
from workspace.classes import ClassDef, ClassSchema

Columns = dict[str, list[str]]
ROADS: Columns = {
    "id": ["1", "2", "3", "4", "5", "6"],
    "chip": ["north", "north", "south", "south", "west", "west"],
    "surface": ["uncertain", "paved", "unpaved", "unpaved", "paved", "uncertain"],
    "kind": ["road", "track", "trail", "road", "road", "path"],
    "width_m": ["2.4", "", "3", "3", "4", "1"],
}
BUILDINGS: Columns = {"osm_id": ["11", "12", "13"], "osm_type": ["way"] * 3, "building": ["yes", "yes", "school"]}


def schema(*names: str) -> ClassSchema:
    return ClassSchema(classes=tuple(ClassDef(value=i, name=name, colour="#ff0000") for i, name in enumerate(names, 1)))


@pytest.mark.parametrize(
    ("columns", "classes", "expected"),
    [
        (ROADS, ["Unpaved road"], "surface"),  # one of its values is a class
        (ROADS, ["Unpaved road", "Paved road"], "surface"),
        (ROADS, ["Tree"], "surface"),  # no value is a class, but the field is one for kinds of things
        (BUILDINGS, ["Building"], "building"),  # named like a class
        (BUILDINGS, ["Water"], "building"),
        ({"id": ["1", "2"], "height": ["3.1", "4"], "street": ["Elm", "Oak"]}, ["Building"], None),
        ({"code": ["1", "2", "1"], "lanes": ["2", "2", "2"]}, ["Unpaved road", "Paved road"], "code"),
        ({"Type": ["tree", "tree", "shrub"], "plot": ["a", "b", "c"]}, ["Tree"], "Type"),
        ({"type": ["a1", "b2", "c3"], "plot": ["x", "y", "y"]}, ["Tree"], None),  # every row another: names, not kinds
        ({"landuse": ["", "", ""], "natural": ["wood", "wood", "scrub"]}, ["Tree"], "natural"),
    ],
)
def test_the_field_that_tells_the_class_is_suggested(tmp_path: Path, columns: Columns, classes: list[str], expected: str | None):
    frame = gpd.GeoDataFrame(columns, geometry=[Point(i, 0) for i in range(len(next(iter(columns.values()))))], crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    assert likely_field(read_file(tmp_path / "a.gpkg"), schema(*classes)) == expected


def test_values_of_a_field_named_like_a_class_mean_that_class(tmp_path: Path):
    columns = {"building": ["yes", "yes", "school", "no", "water"]}
    gpd.GeoDataFrame(columns, geometry=[Point(i, 0) for i in range(5)], crs=4326).to_file(tmp_path / "a.gpkg")
    found = values_found(read_file(tmp_path / "a.gpkg"), "building", schema("Water", "Building"))
    assert [(one.value, one.means, one.offered and one.offered.name) for one in found] == [
        ("yes", 2, None),
        ("school", 2, "school"),
        ("no", None, None),
        ("water", 1, None),
    ]
