"""Class lists of other programs."""

from __future__ import annotations

import json

import pytest

from errors import LabelError
from labeling.label_set import style_qml
from workspace.class_files import ListedClass, merged, read_class_file, write_class_file
from workspace.classes import ClassDef, ClassSchema, starter_schema, with_class

SCHEMA = with_class(starter_schema(), 2, description="=gravel, earth; \"two-track\"")


@pytest.mark.parametrize("file_format", ["CSV", "ArcGIS"])
def test_what_is_written_is_read_again(file_format):
    listed = read_class_file({"CSV": "a.csv", "ArcGIS": "a.ecs"}[file_format], write_class_file(SCHEMA, file_format))
    schema, said = merged(ClassSchema(), listed)
    assert schema == SCHEMA
    assert said == []


@pytest.mark.parametrize("kind", ["area", "line", "point"])
def test_a_qgis_style_gives_names_values_and_colours(kind):
    listed = read_class_file("a.qml", style_qml(kind, SCHEMA).encode())
    assert [(c.name, c.value, c.colour, c.ignore) for c in listed] == [(c.name, c.value, c.colour, c.ignore) for c in SCHEMA.classes]


def test_no_cell_of_a_csv_is_a_formula():
    assert b",=gravel" not in write_class_file(SCHEMA, "CSV")
    assert b"'=gravel" in write_class_file(SCHEMA, "CSV")


EMD = {"Framework": "", "Classes": [{"Value": 1, "Name": "Road", "Color": [255, 0, 0]}, {"Value": 2, "Name": "River", "Color": [-1, -1, -1]}]}
ECD = {"Definitions": [{"NumberClasses": 1, "Classes": [{"ClassValue": 7, "ClassName": "Water", "Red": 0, "Green": 77, "Blue": 168}]}]}
NESTED = {"Name": "NLCD", "Classes": [{"Name": "Water", "Code": "10", "Classes": [{"Name": "Open water", "Code": "11"}]}]}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.emd", json.dumps(EMD), [("Road", 1, "#ff0000"), ("River", 2, None)]),
        ("a.ecd", json.dumps(ECD), [("Water", 7, "#004da8")]),
        ("a.ecs", "\ufeff" + json.dumps(NESTED), [("Water", 10, None), ("Open water", 11, None)]),
        ("a.csv", "Classname;Classvalue;RED;GREEN;BLUE\nRoof;3;1;2;3\nBackground;0;0;0;0\n", [("Roof", 3, "#010203")]),
        ("a.csv", "name,color\nTrail,#ABC\n Trail ,#000000\n", [("Trail", None, "#aabbcc")]),
        (
            "a.qml",
            '<!DOCTYPE qgis PUBLIC "x" "SYSTEM"><qgis><renderer-v2 attr="k"><categories><category value="dirt" symbol="0" label="Dirt road"/>'
            '<category value="" symbol="0" label=""/></categories><symbols><symbol name="0"><layer><prop k="line_color" v="1,2,3,255"/>'
            "</layer></symbol></symbols></renderer-v2></qgis>",
            [("Dirt road", None, "#010203")],
        ),
        (
            "a.qml",
            '<qgis><pipe><rasterrenderer><colorPalette><paletteEntry value="0" label="0" color="#000000"/>'
            '<paletteEntry value="4" label="Shed" color="#0102ff"/></colorPalette></rasterrenderer></pipe></qgis>',
            [("Shed", 4, "#0102ff")],
        ),
    ],
)
def test_lists_of_other_programs(name, content, expected):
    assert [(c.name, c.value, c.colour) for c in read_class_file(name, content.encode())] == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ecs", b"{"),
        ("a.ecs", b"[" * 100_000),
        ("a.ecs", b"{}"),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.csv", b""),
        ("a.qml", b"<qgis>"),
        ("a.qml", b'<!DOCTYPE q [<!ENTITY a "b">]><qgis/>'),
        ("a.docx", b"PK"),
        ("a.csv", b"\xff\xfe\x00"),
    ],
)
def test_a_bad_list_is_explained(name, content):
    with pytest.raises(LabelError) as refused:
        read_class_file(name, content)
    assert refused.value.remedy and name in refused.value.fact


def test_classes_with_labels_keep_their_value_and_new_ones_get_a_free_one():
    listed = [ListedClass("PAVED road", 5, "#000001", "tar"), ListedClass("Trail", 2, None), ListedClass("Ignore", 9, "#777777", ignore=True)]
    schema, said = merged(starter_schema(), listed)
    paved = schema.by_name("paved road")
    assert paved is not None and (paved.value, paved.colour, paved.description, paved.name) == (1, "#000001", "tar", "Paved road")
    assert (schema.by_name("Trail").value, schema.by_name("Ignore").value) == (3, 4)  # type: ignore[union-attr]
    assert any("keeps its value 1" in one for one in said) and any("'Trail' got the value 3" in one for one in said)


def test_classes_nobody_uses_may_go():
    schema, said = merged(starter_schema(), [ListedClass("Trail", 1, None)], keep=[1])
    assert [(c.name, c.value) for c in schema.classes] == [("Paved road", 1), ("Trail", 2)]
    assert sum("removed" in one for one in said) == 2


def test_a_schema_of_before_descriptions_opens():
    old = {"classes": [{"value": 1, "name": "Road", "colour": "#000000", "ignore": False}]}
    assert ClassSchema.model_validate(old).classes == (ClassDef(value=1, name="Road", colour="#000000"),)
