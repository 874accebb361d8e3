"""The project's rasters on a map: where they lie and how far they can be zoomed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import folium
import geopandas as gpd
import leafmap.foliumap as leafmap
import streamlit as st
from shapely.geometry import Polygon

from imagery.library import Raster
from imagery.raster import RasterInfo
from ui import maps


@lru_cache(maxsize=4096)
def leaflet_bounds(raster: Raster) -> maps.LonLatBounds:
    """(west, south, east, north); a raster across the 180th meridian is not limited sideways."""
    west, south, east, north = raster.info.grid.lonlat_bounds
    south, north = max(south, -85.05), min(north, 85.05)
    return (west, south, east, north) if west < east else (-180.0, south, 180.0, north)


@lru_cache(maxsize=4096)
def outline(info: RasterInfo) -> Polygon:
    """Outline of a raster in EPSG:4326."""
    return gpd.GeoSeries([Polygon(info.grid.corners())], crs=info.crs).to_crs("EPSG:4326").iloc[0]


def bounds_of(rasters: Sequence[Raster]) -> maps.LonLatBounds | None:
    """What shows all of them; None for none."""
    boxes = [leaflet_bounds(raster) for raster in rasters]
    if not boxes:
        return None
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def native_zoom(raster: Raster) -> int:
    """The zoom at which a screen pixel is half a ground pixel; beyond it the browser enlarges."""
    latitude = math.radians(min(abs(raster.info.grid.centre_lonlat[1]), 80.0))
    zoom = math.log2(156543.034 * math.cos(latitude) / max(raster.info.resolution_m, 1e-3)) + 1
    return int(min(max(math.ceil(zoom), 1), maps.MAX_ZOOM))


def far_apart(rasters: Sequence[Raster]) -> bool:
    """Would the rasters be specks on a map that shows them all?"""
    if len(rasters) < 2:
        return False
    whole = bounds_of(rasters)
    assert whole is not None
    widest = max(max(b[2] - b[0], b[3] - b[1]) for b in map(leaflet_bounds, rasters))
    return max(whole[2] - whole[0], whole[3] - whole[1]) > 12 * widest


def go_to(rasters: Sequence[Raster], *, key: str) -> Sequence[Raster]:
    """A box to choose which raster the map shows first; those that lie far apart begin with the first one.

    Returns:
        The rasters to zoom to: all, or the one chosen.
    """
    if len(rasters) < 2:
        return rasters
    names = {r.id: r.name for r in rasters}
    options = [None, *names]
    picked = st.selectbox(
        "Go to",
        options,
        index=1 if far_apart(rasters) else 0,
        format_func=lambda i: f"All {len(names)} pictures" if i is None else names[i],
        key=f"{key}:{hash(tuple(names))}",
        label_visibility="collapsed",
    )
    return [r for r in rasters if picked in (None, r.id)]


def add_raster(m: leafmap.Map, token: str, raster: Raster) -> folium.TileLayer:
    """Show a raster of the project as its bands and stretch say; the address changes with them, so browsers may keep tiles."""
    url = maps.tile_url(token, f"raster.{raster.id}", raster.version)
    return maps.add_tiles(m, url, raster.name, bounds=leaflet_bounds(raster), max_native_zoom=native_zoom(raster))
