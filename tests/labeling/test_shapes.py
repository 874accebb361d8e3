from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import LineString, Point, Polygon, box, mapping, shape

from errors import LabelError
from labeling.shapes import METRES_PER_DEGREE, reshape, squared

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


@pytest.mark.parametrize(
    "raw", [{}, {"tool": "burn", "labels": []}, {"tool": "cut", "labels": [7]}, {"tool": "cut", "labels": [{"id": "a"}]}]
)
def test_what_makes_no_sense_is_refused(raw: dict[str, Any]):
    with pytest.raises(LabelError):
        reshape(raw)


# --- right angles -----------------------------------------------------------------------------------------------------------------------

ROOF = box(0, 0, 12, 8)
ELL = Polygon([(0, 0), (12, 0), (12, 5), (6, 5), (6, 9), (0, 9)])
COURTYARD = Polygon(box(0, 0, 20, 20).exterior.coords, [box(6, 6, 14, 14).exterior.coords])


def on_earth(metres: shapely.Geometry, degrees: float = 0.0) -> shapely.Geometry:
    """A shape in metres, turned, at 27.6 degrees north."""
    turned = shapely.affinity.rotate(metres, degrees, origin=(0, 0))
    scale = np.array([METRES_PER_DEGREE * math.cos(math.radians(27.6)), METRES_PER_DEGREE])
    return shapely.transform(turned, lambda xy: xy / scale + [85.5, 27.6])


def jagged(metres: shapely.Geometry, seed: int = 0) -> shapely.Geometry:
    """As traced along pixels: a vertex every half metre, up to 20 cm off."""
    random = np.random.default_rng(seed)

    def moved(ring: Any) -> Any:
        places = np.asarray(ring.coords)[:-1]
        return places + random.uniform(-0.2, 0.2, places.shape)

    fine = shapely.segmentize(metres, 0.5)
    return Polygon(moved(fine.exterior), [moved(hole) for hole in fine.interiors])


def angles(area: shapely.Geometry) -> list[float]:
    """Corners of the outer ring in degrees, on the ground."""
    scale = np.array([math.cos(math.radians(27.6)), 1])
    ring = np.asarray(area.exterior.coords)[:-1] * scale
    before, after = np.roll(ring, 1, axis=0) - ring, np.roll(ring, -1, axis=0) - ring
    cosines = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    return [math.degrees(math.acos(max(-1, min(1, one)))) for one in cosines]


@pytest.mark.parametrize("degrees", [0, 7, 30, 44, 61])
@pytest.mark.parametrize(("area", "corners", "holes"), [(ROOF, 4, 0), (ELL, 6, 0), (COURTYARD, 4, 1)])
def test_a_jagged_outline_gets_square_corners(area: Polygon, corners: int, holes: int, degrees: float):
    (square,) = ask("square", on_earth(jagged(area), degrees))["0"]
    assert angles(square) == pytest.approx([90] * corners, abs=0.1)
    assert len(square.interiors) == holes
    truth = on_earth(area, degrees)
    assert square.intersection(truth).area > 0.95 * square.union(truth).area


def test_round_shapes_triangles_lines_and_points_are_left_alone():
    circle, triangle = Point(0, 0).buffer(8), Polygon([(0, 0), (10, 0), (5, 9)])
    for one in (on_earth(circle), on_earth(triangle), on_earth(LineString([(0, 0), (3, 4)])), on_earth(Point(0, 0))):
        assert squared(one) is None
    with pytest.raises(LabelError, match="no right angles"):
        ask("square", on_earth(circle))
    assert list(ask("square", on_earth(circle), on_earth(jagged(ROOF)))) == ["1"]


def test_parts_and_tiny_areas_are_squared_too():
    two = shapely.MultiPolygon([jagged(ROOF), shapely.affinity.translate(jagged(ROOF), 30, 0)])
    (square,) = ask("square", on_earth(two, 20))["0"]
    assert [len(part.exterior.coords) for part in square.geoms] == [5, 5]
    assert squared(on_earth(box(0, 0, 0.05, 0.05))) is not None
