from __future__ import annotations

from typing import Any

import pytest
import shapely
from shapely.geometry import LineString, Point, Polygon, box, mapping, shape

from errors import LabelError
from labeling.shapes import reshape

SQUARE = box(0, 0, 4, 4)
RING = Polygon(SQUARE.exterior.coords, [box(1, 1, 3, 3).exterior.coords])


def ask(tool: str, *shapes: shapely.Geometry, by: shapely.Geometry | None = None) -> dict[str, list[shapely.Geometry]]:
    raw: dict[str, Any] = {"tool": tool, "labels": [{"id": str(i), "geometry": mapping(one)} for i, one in enumerate(shapes)]}
    if by is not None:
        raw["with"] = mapping(by)
    return {one["id"]: [shape(g) for g in one["geometries"]] for one in reshape(raw)}


def test_a_line_parts_an_area_and_leaves_others_alone():
    parts = ask("split", SQUARE, box(10, 10, 11, 11), by=LineString([(1, -1), (1, 5)]))
    assert list(parts) == ["0"]
    assert sorted(part.area for part in parts["0"]) == pytest.approx([4, 12])


def test_a_line_through_a_hole_parts_the_ring():
    parts = ask("split", RING, by=LineString([(2, -1), (2, 5)]))["0"]
    assert [part.area for part in parts] == pytest.approx([6, 6])


def test_a_line_parts_a_line_where_they_cross():
    parts = ask("split", LineString([(0, 0), (4, 0)]), by=LineString([(1, -1), (1, 1)]))["0"]
    assert [part.length for part in parts] == pytest.approx([1, 3])


@pytest.mark.parametrize("line", [[(1, 1), (3, 3)], [(1, -1), (1, 3)], [(9, 9), (8, 8)]])
def test_a_line_that_does_not_part_anything_is_explained(line: list[tuple[float, float]]):
    with pytest.raises(LabelError, match="edge to edge"):
        ask("split", SQUARE, by=LineString(line))


def test_an_area_inside_another_becomes_a_hole():
    (left,) = ask("cut", SQUARE, by=box(1, 1, 3, 3))["0"]
    assert left.equals(RING)


def test_cutting_takes_away_a_side_parts_a_label_or_all_of_it():
    assert ask("cut", SQUARE, by=box(-1, -1, 1, 5))["0"][0].equals(box(1, 0, 4, 4))
    assert ask("cut", SQUARE, by=box(1, -1, 3, 5))["0"][0].geom_type == "MultiPolygon"
    assert ask("cut", LineString([(0, 0), (4, 0)]), by=box(1, -1, 3, 1))["0"][0].length == pytest.approx(2)
    assert ask("cut", SQUARE, by=box(-1, -1, 5, 5)) == {"0": []}


def test_a_cut_that_only_touches_changes_nothing():
    with pytest.raises(LabelError, match="on no label"):
        ask("cut", SQUARE, LineString([(4, 0), (4, 4)]), by=box(4, 4, 5, 5))


def test_areas_are_united_and_lines_joined_in_the_first():
    together = ask("merge", SQUARE, box(2, 0, 6, 4))
    assert together["0"][0].equals(box(0, 0, 6, 4)) and together["1"] == []
    (line,) = ask("merge", LineString([(0, 0), (1, 0)]), LineString([(2, 0), (1, 0)]))["0"]
    assert line.geom_type == "LineString" and line.length == pytest.approx(2)
    (apart,) = ask("merge", SQUARE, box(8, 8, 9, 9))["0"]
    assert apart.geom_type == "MultiPolygon"


def test_kinds_are_not_mixed_and_one_is_not_merged():
    with pytest.raises(LabelError, match="with each other"):
        ask("merge", SQUARE, Point(1, 1))
    with pytest.raises(LabelError, match="nothing to merge"):
        ask("merge", SQUARE)


def test_crossing_rings_are_mended_first():
    bow_tie = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    assert sum(part.area for part in ask("split", bow_tie, by=LineString([(1, -1), (1, 5)]))["0"]) == pytest.approx(8)


@pytest.mark.parametrize("raw", [{}, {"tool": "burn", "labels": []}, {"tool": "cut", "labels": [7]}, {"tool": "cut", "labels": [{"id": "a"}]}])
def test_what_makes_no_sense_is_refused(raw: dict[str, Any]):
    with pytest.raises(LabelError):
        reshape(raw)
