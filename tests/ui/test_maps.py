from __future__ import annotations

import json

import folium
import leafmap.foliumap as leafmap
import pytest

from ui.maps import add_shapes, add_tiles, flicker, map_document, new_map, swipe, tile_url, zoom_to

BOUNDS = (-116.52, 33.85, -116.51, 33.86)
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


def test_it_is_a_leafmap_map_and_nothing_comes_from_elsewhere():
    m = new_map(BOUNDS)
    assert isinstance(m, leafmap.Map)
    for cls in (folium.Map, leafmap.SideBySideLayers):
        assert all(not address.startswith("http") for _, address in [*cls.default_js, *cls.default_css])


def test_the_view_is_what_was_asked_for_last():
    m = new_map()
    assert map_document(m)["bounds"][0] < -100
    zoom_to(m, BOUNDS)
    assert map_document(m)["bounds"] == list(BOUNDS)


def test_addresses_are_relative_to_the_app():
    assert tile_url("token", "raster.abcd") == "tiles/token/raster.abcd/{z}/{x}/{y}"
    assert tile_url("token", "raster.abcd", "7f") == "tiles/token/raster.abcd/{z}/{x}/{y}?v=7f"


def test_the_document_says_what_to_draw_in_order():
    m = new_map(BOUNDS, basemap=False)
    add_tiles(m, tile_url("t", "raster.a"), "First", bounds=BOUNDS, opacity=0.5)
    add_tiles(m, tile_url("t", "raster.b"), "Second", show=False, max_native_zoom=18)
    first, second = map_document(m)["layers"]
    assert (first["name"], first["overlay"], first["show"], first["options"]["opacity"]) == ("First", True, True, 0.5)
    assert first["options"]["bounds"] == [[33.85, -116.52], [33.86, -116.51]]
    assert (second["show"], second["options"]["maxNativeZoom"]) == (False, 18)
    json.dumps(map_document(m))


def test_the_basemap_is_one_switchable_layer_below():
    layers = map_document(new_map(BOUNDS))["layers"]
    assert [layer["overlay"] for layer in layers] == [False, False]
    assert [layer["show"] for layer in layers] == [True, False]
    assert all(layer["url"].startswith("https://") and layer["options"]["attribution"] for layer in layers)


def test_a_layer_keeps_its_key_between_reruns_and_opacity_does_not_change_it():
    def keys(opacity: float) -> list[str]:
        m = new_map(BOUNDS)
        add_tiles(m, tile_url("t", "raster.a"), "A", opacity=opacity)
        add_shapes(m, {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": SQUARE}]}, "Blocks")
        return [layer["key"] for layer in map_document(m)["layers"]]

    assert keys(1.0) == keys(0.3)


def test_shapes_bring_their_style_and_text():
    features = [
        {"type": "Feature", "properties": {"name": "<b>A</b>", "style": {"color": "#ff0000"}}, "geometry": SQUARE},
        {"type": "Feature", "properties": None, "geometry": SQUARE},
    ]
    m = new_map(BOUNDS, basemap=False)
    add_shapes(m, {"type": "FeatureCollection", "features": features}, "Blocks", colour="#00ff00", tooltip="name")
    first, second = map_document(m)["layers"][0]["features"]
    assert (first["style"]["color"], first["text"]) == ("#ff0000", "<b>A</b>")
    assert (second["style"]["color"], second["text"]) == ("#00ff00", "")


def test_no_shapes_are_a_layer_too():
    m = new_map(BOUNDS, basemap=False)
    add_shapes(m, {"type": "FeatureCollection", "features": []}, "None")
    assert map_document(m)["layers"][0]["features"] == []


def test_a_swipe_names_the_layers_of_both_sides():
    m = new_map(BOUNDS)
    before = [add_tiles(m, tile_url("t", f"prediction.j.{i}.before"), f"Before {i}") for i in range(2)]
    after = [add_tiles(m, tile_url("t", f"prediction.j.{i}.after"), f"After {i}") for i in range(2)]
    swipe(m, before, after, ("Old", "New"))
    document = map_document(m)
    keys = {layer["key"] for layer in document["layers"]}
    assert document["swipe"]["labels"] == ["Old", "New"]
    assert len(document["swipe"]["left"]) == len(document["swipe"]["right"]) == 2
    assert {*document["swipe"]["left"], *document["swipe"]["right"]} <= keys
    with pytest.raises(ValueError, match="at least one"):
        swipe(m, [], [])


def test_a_side_of_a_comparison_may_be_bare_and_flicker_is_told_from_a_swipe():
    m = new_map(BOUNDS)
    after = add_tiles(m, tile_url("t", "prediction.j.a.after"), "After")
    flicker(m, [], [after], ("Picture", "New"))
    document = map_document(m)
    assert document["flicker"] == {"left": [], "right": [document["layers"][-1]["key"]], "labels": ["Picture", "New"]}
    assert document["swipe"] is None
    swipe(m, [], [after])
    assert map_document(m)["swipe"]["left"] == []


def test_what_the_canvas_cannot_draw_is_said():
    m = new_map(BOUNDS)
    folium.Marker([0, 0]).add_to(m)
    with pytest.raises(ValueError, match="Marker"):
        map_document(m)
