"""Builds leafmap maps and turns them into the document that ui/canvas.py draws.

Every address is relative to the app's own base, so maps work on any port and behind a proxy with a base path. Scripts and
styles are the app's own copies below ui/assets/vendor; a missing network only costs the basemap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import folium
import leafmap.foliumap as leafmap
import xyzservices.providers as providers
from branca.element import MacroElement

LonLatBounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees, WGS 84."""

MAX_ZOOM = 24
_WORLD: LonLatBounds = (-170.0, -55.0, 170.0, 70.0)
_VENDOR = "assets/vendor"
_TOOLTIP = "terratune_tooltip_property"
_BASEMAPS = (
    ("Streets (OpenStreetMap)", providers.OpenStreetMap.Mapnik),
    ("Satellite (Esri)", providers.Esri.WorldImagery),
)


class Swipe(leafmap.SideBySideLayers):  # type: ignore[misc]
    """A divider over the map; layers of `left` show to its left, those of `right` to its right."""

    def __init__(self, left: Sequence[folium.TileLayer], right: Sequence[folium.TileLayer], labels: tuple[str, str]) -> None:
        super().__init__(layer_left=[*left, *right][0], layer_right=[*right, *left][0])
        self.left, self.right, self.labels = list(left), list(right), labels


class Flicker(MacroElement):
    """Layers of `left` and of `right` shown in turns at the same place."""

    def __init__(self, left: Sequence[folium.TileLayer], right: Sequence[folium.TileLayer], labels: tuple[str, str]) -> None:
        super().__init__()
        self.left, self.right, self.labels = list(left), list(right), labels


def _serve_own_copies() -> None:
    """Point folium and leafmap at the vendored scripts instead of content delivery networks."""
    folium.Map.default_js = [("leaflet", f"{_VENDOR}/leaflet/leaflet.js")]
    folium.Map.default_css = [("leaflet_css", f"{_VENDOR}/leaflet/leaflet.css")]
    leafmap.SideBySideLayers.default_js = [("leaflet.sidebyside", f"{_VENDOR}/side-by-side/leaflet-side-by-side.js")]
    leafmap.SideBySideLayers.default_css = [
        ("leaflet.sidebyside.layout", f"{_VENDOR}/side-by-side/layout.css"),
        ("leaflet.sidebyside.range", f"{_VENDOR}/side-by-side/range.css"),
    ]


_serve_own_copies()


def new_map(bounds_lonlat: LonLatBounds | None = None, *, basemap: bool = True) -> leafmap.Map:
    """An empty map with a scale bar, a layer list and the basemaps to choose from.

    Args:
        bounds_lonlat: What to show at first; None shows the inhabited world.
        basemap: Offer OpenStreetMap and Esri imagery below everything else.
    """
    m = leafmap.Map(tiles=None, fullscreen_control=False, max_zoom=MAX_ZOOM, scale_control=True, layers_control=True)
    if basemap:
        for shown, (name, provider) in enumerate(_BASEMAPS):
            folium.TileLayer(
                tiles=provider.build_url(),
                attr=provider.get("html_attribution", provider.attribution),
                name=name,
                overlay=False,
                show=shown == 0,
                max_zoom=MAX_ZOOM,
                max_native_zoom=int(provider.get("max_zoom", 18)),
            ).add_to(m)
    zoom_to(m, bounds_lonlat or _WORLD)
    return m


def zoom_to(m: leafmap.Map, bounds_lonlat: LonLatBounds) -> None:
    """Show this area at first. A map already on screen keeps its view unless this value changes."""
    west, south, east, north = bounds_lonlat
    m.fit_bounds([[south, west], [north, east]])


def tile_url(token: str, layer: str, version: str = "") -> str:
    """Address of a layer of the tile route, relative to the app's base.

    Args:
        token: From `server.tokens.issue_token`.
        layer: `raster.<raster id>`, `prediction.<job id>.<raster id>.<what>` ...
        version: Changes with the picture (`Raster.version`); browsers keep tiles whose address has one.
    """
    return f"tiles/{token}/{layer}/{{z}}/{{x}}/{{y}}" + (f"?v={version}" if version else "")


def add_tiles(
    m: leafmap.Map,
    url: str,
    name: str,
    *,
    opacity: float = 1.0,
    bounds: LonLatBounds | None = None,
    max_native_zoom: int = 22,
    show: bool = True,
    attribution: str = "",
) -> folium.TileLayer:
    """Add an overlay of XYZ tiles; later layers lie above earlier ones.

    Args:
        m: From `new_map`.
        url: From `tile_url`, or any XYZ template.
        name: Shown in the layer list (plain text).
        opacity: 0..1.
        bounds: Tiles outside (west, south, east, north) are not asked for.
        max_native_zoom: Tiles of this zoom are enlarged beyond it.
        show: Switched on at first.
        attribution: Shown in the corner of the map (plain text).
    """
    limits: dict[str, Any] = {} if bounds is None else {"bounds": [[bounds[1], bounds[0]], [bounds[3], bounds[2]]]}
    layer = folium.TileLayer(
        tiles=url,
        attr=attribution or " ",
        name=name,
        overlay=True,
        show=show,
        opacity=opacity,
        max_zoom=MAX_ZOOM,
        max_native_zoom=max_native_zoom,
        **limits,
    )
    layer.add_to(m)
    return layer


def add_shapes(
    m: leafmap.Map,
    geojson: Mapping[str, Any],
    name: str,
    *,
    colour: str = "#1f7a5c",
    weight: float = 2.0,
    fill_opacity: float = 0.0,
    tooltip: str | None = None,
    show: bool = True,
) -> folium.GeoJson:
    """Add outlines (scene footprints, blocks, test places) that cannot be edited.

    Args:
        m: From `new_map`.
        geojson: A FeatureCollection in EPSG:4326. A feature's own `style` property (`color`, `weight`, `fillColor`,
            `fillOpacity`, `dashArray`) wins over the arguments.
        name: Shown in the layer list (plain text).
        colour: Line and fill, #rrggbb.
        weight: Line width in screen pixels.
        fill_opacity: 0..1.
        tooltip: Property whose value is shown under the pointer (as plain text).
        show: Switched on at first.
    """
    base = {"color": colour, "weight": weight, "fillColor": colour, "fillOpacity": fill_opacity}
    features = [
        {**f, "properties": {**(f.get("properties") or {}), "style": {**base, **((f.get("properties") or {}).get("style") or {})}}}
        for f in geojson["features"]
    ]
    layer = folium.GeoJson({"type": "FeatureCollection", "features": features}, name=name, show=show, style_function=_own_style)
    setattr(layer, _TOOLTIP, tooltip)
    layer.add_to(m)
    return layer


def _own_style(feature: Mapping[str, Any]) -> dict[str, Any]:
    return dict(feature["properties"]["style"])


def swipe(
    m: leafmap.Map,
    left_layers: Sequence[folium.TileLayer],
    right_layers: Sequence[folium.TileLayer],
    labels: tuple[str, str] = ("Before", "After"),
) -> None:
    """Compare layers already on `m` with a divider that is dragged. A side without a layer shows what lies below.

    Raises:
        ValueError: neither side has one.
    """
    if not left_layers and not right_layers:
        raise ValueError("A swipe needs at least one layer.")
    Swipe(left_layers, right_layers, labels).add_to(m)


def flicker(
    m: leafmap.Map,
    left_layers: Sequence[folium.TileLayer],
    right_layers: Sequence[folium.TileLayer],
    labels: tuple[str, str] = ("Before", "After"),
) -> None:
    """Show layers already on `m` in turns, switched by a key, by a click or by time. A side without a layer shows what lies below."""
    Flicker(left_layers, right_layers, labels).add_to(m)


def map_document(m: leafmap.Map) -> dict[str, Any]:
    """What the canvas needs to draw `m`, as plain JSON (no script is run in the browser).

    Layers have a `key` that stays the same between reruns as long as the layer does: only what changed is redrawn.

    Raises:
        ValueError: the map holds something the canvas cannot draw.
    """
    keys: dict[str, str] = {}
    document: dict[str, Any] = {"bounds": None, "maxZoom": MAX_ZOOM, "layers": [], "swipe": None, "flicker": None}
    for element in m._children.values():
        if isinstance(element, folium.TileLayer):
            layer = _tile_layer(element)
        elif isinstance(element, folium.GeoJson):
            layer = _shape_layer(element)
        elif isinstance(element, folium.FitBounds):
            (south, west), (north, east) = element.bounds
            document["bounds"] = [west, south, east, north]
            continue
        elif isinstance(element, Swipe | Flicker):
            document["swipe" if isinstance(element, Swipe) else "flicker"] = {
                "left": [keys[one.get_name()] for one in element.left],
                "right": [keys[one.get_name()] for one in element.right],
                "labels": list(element.labels),
            }
            continue
        elif isinstance(element, folium.LayerControl):
            continue
        else:
            raise ValueError(f"The canvas draws tiles, shapes and swipes, not {type(element).__name__}.")
        keys[element.get_name()] = layer["key"]
        document["layers"].append(layer)
    return document


def _tile_layer(layer: folium.TileLayer) -> dict[str, Any]:
    options = layer.options
    kept = {
        "attribution": str(options.get("attribution") or "").strip(),
        "maxNativeZoom": options["max_native_zoom"],
        "opacity": options.get("opacity", 1.0),
    }
    if "bounds" in options:
        kept["bounds"] = options["bounds"]
    return {
        "key": f"tiles:{layer.tile_name}:{layer.tiles}",
        "kind": "tiles",
        "name": layer.tile_name,
        "url": layer.tiles,
        "overlay": layer.overlay,
        "show": layer.show,
        "options": kept,
    }


def _shape_layer(layer: folium.GeoJson) -> dict[str, Any]:
    features = [
        {"geometry": f["geometry"], "style": layer.style_function(f), "text": _text(f, getattr(layer, _TOOLTIP, None))}
        for f in layer.data["features"]
    ]
    digest = hashlib.sha256(json.dumps(features, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "key": f"shapes:{layer.layer_name}:{digest}",
        "kind": "shapes",
        "name": layer.layer_name,
        "overlay": True,
        "show": layer.show,
        "features": features,
    }


def _text(feature: Mapping[str, Any], field: str | None) -> str:
    value = (feature.get("properties") or {}).get(field) if field else None
    return "" if value is None else str(value)
