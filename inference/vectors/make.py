"""Class maps to a file of shapes: one call for the command and the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import geopandas as gpd
from pyproj import CRS

from inference.vectors.areas import polygons_of
from inference.vectors.buildings import buildings_of
from inference.vectors.class_map import ClassMap
from inference.vectors.roads import roads_of
from inference.vectors.settings import BuildingSettings, PolygonSettings, RoadSettings
from inference.vectors.write import Kind, write_shapes

GEOMETRY: dict[str, Kind] = {"polygons": "area", "buildings": "area", "roads": "line"}
"""What each kind of shapes is."""
AnyShapes = PolygonSettings | BuildingSettings | RoadSettings


def make_shapes(
    maps: Mapping[str, ClassMap],
    wanted: Sequence[int],
    settings: AnyShapes,
    path: Path,
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> int:
    """Make shapes of class maps and write them as a GeoPackage: in the CRS of the maps, or in longitude and latitude where they have several.

    Args:
        maps: Class maps by the name of their picture, which each shape gets as `picture` where there are several.
        wanted: Class values.
        settings: Polygons, buildings or roads.
        path: `.gpkg`, replaced when everything is written.
        progress: Told the share done; may raise to stop.

    Returns:
        How many shapes there are.

    Raises:
        UnsupportedRasterError: a map is too ragged to be made into shapes at once.
        ImageryError: a map cannot be read.
        DiskFullError: nothing was changed.
    """
    first = next(iter(maps.values()))
    same = all(one.grid.crs == first.grid.crs for one in maps.values())
    legend = {value: (value, name, colour) for one in maps.values() for value, name, colour in one.legend(wanted)}
    tables = _all_tables(maps, wanted, settings, progress)
    return write_shapes(tables, path, GEOMETRY[settings.kind], list(legend.values()), crs=None if same else CRS.from_epsg(4326))


def _all_tables(
    maps: Mapping[str, ClassMap], wanted: Sequence[int], settings: AnyShapes, progress: Callable[[float], None]
) -> Iterator[gpd.GeoDataFrame]:
    total, done, nodes = sum(one.grid.width * one.grid.height for one in maps.values()), 0, 0
    for name, one in maps.items():
        pixels = one.grid.width * one.grid.height
        before, part = done / total, pixels / total
        for table in _tables(one, wanted, settings, lambda share, before=before, part=part: progress(before + part * share)):  # type: ignore[misc]
            if len(maps) > 1:
                table.insert(0, "picture", name)
            if settings.kind == "roads":
                table[["from_node", "to_node"]] += nodes
                nodes = max(nodes, int(table[["from_node", "to_node"]].to_numpy().max(initial=-1)) + 1)
            yield table
        done += pixels


def _tables(one: ClassMap, wanted: Sequence[int], settings: AnyShapes, progress: Callable[[float], None]) -> Iterator[gpd.GeoDataFrame]:
    if isinstance(settings, PolygonSettings):
        yield from polygons_of(one, wanted, settings, progress=progress)
    elif isinstance(settings, BuildingSettings):
        yield from buildings_of(one, wanted, settings, progress=progress)
    else:
        yield roads_of(one, wanted, settings, progress=progress)
