from __future__ import annotations

import geopandas as gpd
import networkx as nx
import numpy as np
import pytest
import shapely
from rasterio.features import rasterize

from inference.vectors import skeleton
from inference.vectors.make import make_shapes
from inference.vectors.roads import roads_of
from inference.vectors.settings import RoadSettings
from inference.vectors.skeleton import skeleton_of
from tests.inference.vectors.makers import class_map
from tiles.roads.scores import length_scores

TRUE = [
    shapely.LineString([(20, 150), (380, 150)]),
    shapely.LineString([(120, 150), (120, 20)]),
    shapely.LineString([(120, 40), (280, 40), (280, 280)]),
    shapely.LineString([(40, 280), (360, 250)]),
]
"""In pixels of half a metre."""


def roads(lines=TRUE, width: float = 7, shape=(300, 400), value: int = 1) -> np.ndarray:
    return rasterize([line.buffer(width / 2, cap_style="flat") for line in lines], shape, default_value=value, dtype="uint8")


def on_ground(lines) -> list[shapely.LineString]:
    return [shapely.transform(line, lambda p: np.column_stack([500_000 + p[:, 0] / 2, 3_700_000 - p[:, 1] / 2])) for line in lines]


def graph_of(table: gpd.GeoDataFrame) -> nx.MultiGraph:
    """What a reader sees: lines hang together where their ends are the very same point."""
    graph = nx.MultiGraph()
    for row in table.itertuples():
        graph.add_edge(row.geometry.coords[0], row.geometry.coords[-1], length=row.geometry.length, row=row)
    return graph


def nearest_node(graph: nx.MultiGraph, place) -> tuple[float, float]:
    return min(graph.nodes, key=lambda node: np.hypot(node[0] - place[0], node[1] - place[1]))


def test_middle_lines_lie_where_the_roads_are(tmp_path):
    found = roads_of(class_map(tmp_path, roads()), [1], RoadSettings())
    scores = length_scores(list(found.geometry), on_ground(TRUE), near_m=1.0)
    assert scores.completeness > 0.96 and scores.correctness > 0.97  # a middle line ends half a road's width early
    assert found.geometry.is_valid.all() and found.geometry.is_simple.all()
    assert found.width_m.between(3.25, 3.75).all()
    assert found.geometry.length.to_numpy() == pytest.approx(found.length_m.to_numpy(), rel=1e-3)
    assert shapely.get_num_coordinates(found.geometry.to_numpy()).sum() < 60


def test_ways_lead_through_the_written_network(tmp_path):
    made = tmp_path / "roads.gpkg"
    make_shapes({"map": class_map(tmp_path, roads())}, [1], RoadSettings(), made)
    graph = graph_of(gpd.read_file(made, layer="roads"))
    assert nx.number_connected_components(graph) == 1
    start, end = (nearest_node(graph, place) for place in ((500_010, 3_699_925), (500_020, 3_699_860)))
    # along the upper road to the third, and back on the lowest
    expected = (280 - 20 + 257 - 150 + 280 - 40) / 2
    assert nx.shortest_path_length(graph, start, end, weight="length") == pytest.approx(expected, rel=0.03)
    for one, other, row in graph.edges(data="row"):
        assert {row.from_node, row.to_node} == {graph_number(graph, one), graph_number(graph, other)}


def graph_number(graph: nx.MultiGraph, node) -> int:
    """The number that the table has for a place."""
    rows = [row for _, _, row in graph.edges(node, data="row")]
    return next(r.from_node if r.geometry.coords[0] == node else r.to_node for r in rows)


def test_a_crossing_is_one_node(tmp_path):
    cross = [shapely.LineString([(20, 100), (380, 190)]), shapely.LineString([(200, 20), (190, 280)])]
    found = roads_of(class_map(tmp_path, roads(cross, 11)), [1], RoadSettings())
    assert len(found) == 4
    assert sorted(dict(graph_of(found).degree).values()) == [1, 1, 1, 1, 4]


def test_bumps_make_no_roads_and_short_pieces_go(tmp_path):
    values = roads([TRUE[0]])
    values[145:148, 200:206] = 1
    values[154:166, 300:304] = 1  # 6 m
    values[20:24, 20:40] = 1  # 10 m, alone
    found = roads_of(class_map(tmp_path, values), [1], RoadSettings())
    assert len(found) == 1
    assert len(roads_of(class_map(tmp_path, values), [1], RoadSettings(spur_m=0, shortest_m=0))) > 1


def test_gaps_are_joined_straight_ahead_and_to_a_road_beside_but_not_across(tmp_path):
    values = roads([TRUE[0], shapely.LineString([(200, 170), (200, 290)]), shapely.LineString([(20, 200), (150, 200)])])
    values[:, 100:120] = 0  # a tree over two of them: 10 m
    found = roads_of(class_map(tmp_path, values), [1], RoadSettings(gap_m=15))
    graph = graph_of(found)
    assert nx.number_connected_components(graph) == 2
    ends = 3 * 3.5  # a middle line ends up to half a road's width early, on both sides of a gap
    assert 30 <= found.gap_m.sum() <= 30 + ends + 1  # two through the tree, one from the side road to the middle of the main road
    alone = roads_of(class_map(tmp_path, values), [1], RoadSettings(gap_m=0, shortest_m=10))
    assert nx.number_connected_components(graph_of(alone)) == 5 and alone.gap_m.sum() == 0


def test_two_classes_are_one_network_and_lines_say_what_most_of_them_is(tmp_path):
    values = roads([TRUE[0]])
    values[values > 0] = 1
    side = roads([shapely.LineString([(200, 150), (200, 290)])], value=2)
    values = np.where(values > 0, values, side)
    sure = np.where(values == 2, 50, 90)
    found = roads_of(class_map(tmp_path, values, sure), [1, 2], RoadSettings()).sort_values("Classvalue")
    assert found.Classvalue.tolist() == [1, 1, 2]
    assert found.Classname.tolist() == ["Paved road", "Paved road", "Unpaved road"]
    assert found.confidence.iloc[0] == pytest.approx(0.9, abs=0.01) and found.confidence.iloc[2] == pytest.approx(0.5, abs=0.03)
    assert nx.is_connected(graph_of(found))


def test_roads_reach_the_side_of_the_map(tmp_path):
    found = roads_of(class_map(tmp_path, roads([shapely.LineString([(-20, 100), (420, 130)])])), [1], RoadSettings())
    assert found.geometry.iloc[0].bounds[0] == pytest.approx(500_000, abs=0.01)
    assert found.geometry.iloc[0].bounds[2] == pytest.approx(500_200, abs=0.01)


@pytest.mark.parametrize("width", [4, 9, 25])
def test_blocks_leave_no_trace(tmp_path, width, monkeypatch):
    values = roads(width=width)
    one = class_map(tmp_path, values)
    whole = skeleton_of(one, [1])
    monkeypatch.setattr(skeleton, "AROUND_PX", 64)
    parts = skeleton_of(one, [1], block_px=96)
    np.testing.assert_array_equal(parts.row, whole.row)
    np.testing.assert_array_equal(parts.column, whole.column)
    np.testing.assert_allclose(parts.half_m, whole.half_m)


def test_a_map_without_roads_gives_an_empty_table(tmp_path):
    assert not len(roads_of(class_map(tmp_path, np.zeros((50, 60))), [1], RoadSettings()))


def test_a_ring_road_stays(tmp_path):
    ring = shapely.Point(200, 150).buffer(80).exterior
    found = roads_of(class_map(tmp_path, rasterize([ring.buffer(3)], (300, 400), dtype="uint8")), [1], RoadSettings())
    assert len(found) == 1 and found.geometry.iloc[0].is_ring
    assert found.length_m.iloc[0] == pytest.approx(2 * np.pi * 40, rel=0.02)


@pytest.mark.shared_data
def test_hand_drawn_roads_are_found_again_in_their_masks(shared_data):
    from inference.vectors.class_map import read_class_map

    name = "long_beach_2020_13"
    one = read_class_map(shared_data / "naip_roads" / "masks" / f"{name}.tif")
    drawn = gpd.read_file(shared_data / "naip_roads" / "labels" / f"{name}.geojson")
    inside = [line.intersection(shapely.box(*one.grid.bounds)) for line in drawn[drawn.geom_type == "LineString"].geometry]
    scores = length_scores(list(roads_of(one, [1, 2], RoadSettings()).geometry), inside)
    assert scores.completeness > 0.97 and scores.correctness > 0.97
