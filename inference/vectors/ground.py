"""Pixels to the map, and how large shapes are on the ground. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from imagery.grid import Grid

LONGEST_EDGE = 64
"""Pixels: longer edges get points in between before they are measured in another projection."""
_GEOD = Geod(ellps="WGS84")


def on_map(shapes: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Shapes in pixels (x, y from the outer corner of the top left one) in the CRS of the grid."""
    t = grid.transform
    return np.asarray(
        shapely.transform(shapes, lambda p: np.column_stack([t.a * p[:, 0] + t.b * p[:, 1] + t.c, t.d * p[:, 0] + t.e * p[:, 1] + t.f]))
    )


def areas_m2(shapes: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    """Ground area of polygons in pixels of the grid: in Lambert's azimuthal equal-area projection about its middle, on WGS 84."""
    lon, lat = grid.centre_lonlat
    equal_area = CRS.from_dict({"proj": "laea", "lon_0": lon, "lat_0": lat, "datum": "WGS84", "units": "m"})
    to_metres = Transformer.from_crs(grid.crs, equal_area, always_xy=True)
    placed = on_map(shapely.segmentize(shapes, LONGEST_EDGE), grid)
    return np.asarray(shapely.area(shapely.transform(placed, lambda p: np.column_stack(to_metres.transform(p[:, 0], p[:, 1])))), np.float64)


def lengths_m(lines: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    """Length of lines in pixels of the grid: geodesic on WGS 84, point to point."""
    to_lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    points, of = shapely.get_coordinates(on_map(lines, grid), return_index=True)
    lon, lat = to_lonlat.transform(points[:, 0], points[:, 1])
    within = of[1:] == of[:-1]
    steps = np.asarray(_GEOD.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2])
    return np.asarray(np.bincount(of[1:][within], steps[within], len(lines)), np.float64)


def in_metres(shapes: Any, grid: Grid) -> Any:
    """Shapes in pixels with pixels as large as they are on the ground in the middle of the grid: right angles and lengths are those of the ground."""
    across, down = grid.pixel_size_m
    return shapely.transform(shapes, lambda p: p * [across, down])


def in_pixels(shapes: Any, grid: Grid) -> Any:
    """The reverse of `in_metres`."""
    across, down = grid.pixel_size_m
    return shapely.transform(shapes, lambda p: p / [across, down])
