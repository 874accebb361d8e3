"""How much is labelled, as the pages tell it."""

from __future__ import annotations

from shapely.geometry import box

from labeling.coverage import coverage
from labeling.label_set import label_set
from ui.label_coverage import by_class, by_picture
from workspace.classes import starter_schema

ABOUT = {"origin": "drawn", "note": "", "created": "", "changed": ""}
IMAGE = box(10.0, 50.0, 10.01, 50.01)


def test_tables_are_in_the_order_of_the_classes_and_name_removed_ones():
    half = box(10.0, 50.0, 10.005, 50.01)
    rows = [(9, half), (1, half), (2, half), (2, box(10.0, 50.0, 10.001, 50.01)), (0, half)]
    labels = label_set({"object_id": str(i), "class_value": value, "geometry": shape, **ABOUT} for i, (value, shape) in enumerate(rows))
    found = coverage(labels, {"a": IMAGE, "b": box(0, 0, 1, 1)})
    names = {"a": "One", "b": "Two"}
    table = by_class(found, names, starter_schema())
    assert table[["Picture", "Class", "Objects"]].to_numpy().tolist() == [
        ["One", "Unpaved road", 2],
        ["One", "Paved road", 1],
        ["One", "(removed class)", 1],
    ]
    pictures = by_picture(found, names)
    assert pictures["Fully labelled"].round(0).tolist() == [50, 0]
    assert pictures["Objects"].tolist() == [4, 0]
