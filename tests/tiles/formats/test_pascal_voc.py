"""Annotations byte for byte as ArcGIS writes them, and read back."""

from __future__ import annotations

import pytest

from errors import TileSetFormatError
from tiles.formats.base import LabelFiles
from tiles.formats.pascal_voc import PascalVoc, annotation, read_annotation
from tiles.tile_set import TileClass

PALM = (TileClass(value=1, name="Palm", colour="#ff0000"),)
FILES = LabelFiles("labels/1.xml")


def write(folder, text):
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels/1.xml").write_text(text)
    return folder


@pytest.mark.shared_data
def test_genuine_annotations_come_out_as_they_were(shared_data):
    folder = shared_data / "arcgis_artefacts/pascal_voc_palms"
    paths = sorted((folder / "labels").glob("*.xml"))
    assert len(paths) == 12
    for path in paths:
        size, entries = read_annotation(folder, f"labels/{path.name}")
        assert size == (448, 448)
        ours = annotation(f"{path.stem}.jpg", size, 3, entries)
        assert ours == path.read_text().replace("ArcGIS Pro 2.1", "Terratune")
        assert list(PascalVoc().check(folder, f"images/{path.stem}.jpg", LabelFiles(f"labels/{path.name}"), size, {1: "Palm"})) == []


def test_boxes_are_read_by_class_value_and_clipped(tmp_path):
    write(tmp_path, annotation("1.tif", (32, 64), 4, [("1", (-2.0, 3.5, 70.0, 9.25))]))
    (one,) = PascalVoc().read(tmp_path, "images/1.tif", FILES, (32, 64), PALM).objects
    assert (one.value, one.box) == (1, (0.0, 3.5, 64.0, 9.25))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (annotation("1.tif", (32, 64), 3, [("Palm", (0, 0, 5, 5))]), "'Palm'"),
        (annotation("1.tif", (32, 64), 3, [("1", (0, 0, 65, 5))]), "0, 0, 65, 5"),
        (annotation("1.tif", (32, 64), 3, [("1", (9, 0, 5, 5))]), "9, 0, 5, 5"),
        (annotation("1.tif", (64, 64), 3, []), "64 x 64"),
        ("<annotation><object><name>1</name></object></annotation>", "no complete bndbox"),
        ("<annotation>", "damaged"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, found):
    folder = write(tmp_path, text)
    findings = list(PascalVoc().check(folder, "images/1.tif", FILES, (32, 64), {1: "Palm"}))
    assert len(findings) == 1
    assert findings[0].file == "labels/1.xml"
    assert found in findings[0].found


def test_a_name_in_place_of_the_value_is_refused(tmp_path):
    folder = write(tmp_path, annotation("1.tif", (32, 64), 3, [("Palm", (0, 0, 5, 5))]))
    with pytest.raises(TileSetFormatError, match=r"labels/1\.xml holds the value 'Palm'"):
        PascalVoc().read(folder, "images/1.tif", FILES, (32, 64), PALM)
