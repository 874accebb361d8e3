from __future__ import annotations

from typing import Any

import pytest
import shapely

from errors import LabelError, UnknownClassError
from labeling.draw import MAX_VERTICES, geojson_of, geometry_of, operation_from_map, repaired
from workspace.classes import starter_schema


def sent(geometry: Any, **changes: Any) -> dict[str, Any]:
    feature = {"type": "Feature", "geometry": geometry, "properties": {"class_value": 2, "origin": "drawn"} | changes.pop("properties", {})}
    return {"operation_id": "op-1", "kind": "upsert", "object_id": "object-1", "feature": feature} | changes


def polygon(*ring: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(at) for at in ring]]}


def test_a_valid_shape_is_stored_as_it_was_drawn():
    ring = [(0.0, 0.0), (0.0, 0.123456789), (0.5, 0.5), (0.0, 0.0)]  # clockwise: its vertices stay where they are
    operation = operation_from_map(sent(polygon(*ring)), starter_schema())
    assert operation.label is not None
    assert operation.label.geometry == polygon(*ring)
    assert (operation.label.class_value, operation.label.origin, operation.object_id) == (2, "drawn", "object-1")


def test_coordinates_are_rounded_to_a_tenth_of_a_millimetre():
    point = repaired(geometry_of({"type": "Point", "coordinates": [-116.51234567891, 33.1, 250.0]}))
    assert geojson_of(point) == {"type": "Point", "coordinates": [-116.512345679, 33.1]}


def test_a_ring_that_crosses_itself_becomes_two_areas():
    bow_tie = repaired(geometry_of(polygon((0, 0), (1, 1), (1, 0), (0, 1), (0, 0))))
    assert bow_tie.geom_type == "MultiPolygon"
    assert bow_tie.is_valid
    assert bow_tie.area == pytest.approx(0.5)


def test_a_spike_leaves_only_the_area():
    spiked = repaired(geometry_of(polygon((0, 0), (1, 0), (1, 1), (2, 1), (1, 1), (0, 1), (0, 0))))
    assert spiked.geom_type == "Polygon"
    assert spiked.area == pytest.approx(1)


def test_repeated_vertices_of_a_line_are_dropped():
    line = repaired(geometry_of({"type": "LineString", "coordinates": [[0, 0], [1, 1], [1, 1], [2, 0]]}))
    assert shapely.get_num_coordinates(line) == 3


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        [],
        {"type": "Point"},
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": ["a", "b"]},
        {"type": "Point", "coordinates": [float("nan"), 0]},
        {"type": "Point", "coordinates": [float("inf"), 0]},
        {"type": "Point", "coordinates": [181, 0]},
        {"type": "Point", "coordinates": [0, -90.001]},
        {"type": "Circle", "coordinates": [0, 0]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "LineString", "coordinates": [[0, 0]]},
        {"type": "LineString", "coordinates": [[0, 0], [0, 0]]},
        {"type": "LineString", "coordinates": [[0, 0], [1e-11, 0]]},
        {"type": "LineString", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
        {"type": "Polygon", "coordinates": {"a": 1}},
        {"type": "LineString", "coordinates": [[i * 1e-4 % 90, 0] for i in range(MAX_VERTICES + 1)]},
    ],
    ids=lambda geometry: str(geometry)[:60],
)
def test_what_cannot_be_a_label_is_refused_with_a_remedy(geometry: Any):
    with pytest.raises(LabelError) as refused:
        operation_from_map(sent(geometry), starter_schema())
    assert refused.value.remedy


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "delete everything",
        {},
        {"operation_id": "a", "object_id": "b", "kind": "drop"},
        {"operation_id": 7, "object_id": "b", "kind": "delete"},
        {"operation_id": "a", "object_id": "../../etc", "kind": "delete"},
        {"operation_id": "a" * 65, "object_id": "b", "kind": "delete"},
        {"operation_id": "a", "object_id": "b", "kind": "upsert"},
        {"operation_id": "a", "object_id": "b", "kind": "upsert", "feature": {"geometry": None}},
        sent({"type": "Point", "coordinates": [0, 0]}, properties={"class_value": "2"}),
        sent({"type": "Point", "coordinates": [0, 0]}, properties={"class_value": True}),
        sent({"type": "Point", "coordinates": [0, 0]}, properties={"origin": "stolen"}),
        sent({"type": "Point", "coordinates": [0, 0]}, properties={"note": "x" * 1001}),
    ],
    ids=lambda raw: str(raw)[:70],
)
def test_a_malformed_operation_is_refused_with_a_remedy(raw: Any):
    with pytest.raises(LabelError) as refused:
        operation_from_map(raw, starter_schema())
    assert refused.value.remedy


def test_lines_and_points_carry_a_width_areas_do_not():
    line, point = {"type": "LineString", "coordinates": [[0, 0], [1, 0]]}, {"type": "Point", "coordinates": [0, 0]}
    area = polygon((0, 0), (1, 0), (1, 1), (0, 0))
    for geometry, width, expected in ((line, 4, 4.0), (line, 200, 200.0), (line, None, None), (point, 2.5, 2.5), (area, 4.0, None)):
        label = operation_from_map(sent(geometry, properties={"width_m": width}), starter_schema()).label
        assert label is not None
        assert label.width_m == expected
    assert operation_from_map(sent(line), starter_schema()).label.width_m is None  # type: ignore[union-attr]


@pytest.mark.parametrize("width", [0, -1, 200.1, float("nan"), float("inf"), "4", True, [4]])
def test_a_width_that_cannot_be_one_is_refused_with_a_remedy(width: Any):
    with pytest.raises(LabelError) as refused:
        operation_from_map(sent({"type": "LineString", "coordinates": [[0, 0], [1, 0]]}, properties={"width_m": width}), starter_schema())
    assert "200" in refused.value.remedy


def test_a_class_that_does_not_exist_is_named():
    with pytest.raises(UnknownClassError, match="Class value 7"):
        operation_from_map(sent({"type": "Point", "coordinates": [0, 0]}, properties={"class_value": 7}), starter_schema())


def test_deleting_needs_no_shape():
    operation = operation_from_map({"operation_id": "a", "kind": "delete", "object_id": "b"}, starter_schema())
    assert (operation.kind, operation.label) == ("delete", None)


def test_a_fully_labelled_area_is_a_label_though_no_class():
    operation = operation_from_map(sent(polygon((0, 0), (1, 0), (1, 1), (0, 0)), properties={"class_value": 0}), starter_schema())
    assert operation.label is not None and operation.label.class_value == 0
    for thin in ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, {"type": "Point", "coordinates": [0, 0]}):
        with pytest.raises(LabelError, match="cannot be a line or a point"):
            operation_from_map(sent(thin, properties={"class_value": 0}), starter_schema())
