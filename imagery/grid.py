"""Grid: where an array of pixels lies. Pixel <-> map <-> longitude/latitude. No file access."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

_LONLAT = CRS.from_epsg(4326)


@dataclass(frozen=True)
class Grid:
    """Shape, place and CRS of an array.

    `transform` maps (column, row) in pixels, counted from the outer corner of the top-left pixel, to (x, y) in `crs` units.
    It may be rotated.
    """

    width: int
    height: int
    transform: Affine
    crs: CRS

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    def window(self, column: int, row: int, width: int, height: int) -> Grid:
        """The part that starts at (column, row); it may reach over the edge."""
        t = self.transform
        start = (
            t.a * column + t.b * row + t.c,
            t.d * column + t.e * row + t.f,
        )  # as t @ Affine.translation(column, row), at a tenth of its cost
        return Grid(width, height, Affine(t.a, t.b, start[0], t.d, t.e, start[1]), self.crs)

    def corners(self) -> NDArray[np.float64]:
        """(4, 2) map coordinates (x, y) of the corners: top left, top right, bottom right, bottom left."""
        corners = [(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]
        return np.array([self.transform @ corner for corner in corners])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(min x, min y, max x, max y) in `crs` units."""
        low, high = self.corners().min(axis=0), self.corners().max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in degrees, WGS 84."""
        to_lonlat = Transformer.from_crs(self.crs, _LONLAT, always_xy=True)
        west, south, east, north = to_lonlat.transform_bounds(*self.bounds, densify_pts=21)
        return west, south, east, north

    @property
    def centre_lonlat(self) -> tuple[float, float]:
        """(longitude, latitude) of the centre, degrees."""
        lon, lat = Transformer.from_crs(self.crs, _LONLAT, always_xy=True).transform(*(self.transform @ (self.width / 2, self.height / 2)))
        return float(lon), float(lat)

    @property
    def resolution_m(self) -> float:
        """Ground size of a pixel in metres (geometric mean of its two sides), measured at the centre of the grid.

        Projected CRS: its units times their length in metres, divided by the projection's point scale where that is large
        (Web Mercator). Geographic CRS: degrees turned into metres on the ellipsoid.
        """
        x, y = self.pixel_size_m
        return math.sqrt(x * y)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """(across, down) ground size of the centre pixel in metres, geodesic on WGS 84."""
        from pyproj import Geod

        to_lonlat = Transformer.from_crs(self.crs, _LONLAT, always_xy=True)
        column, row = self.width / 2, self.height / 2
        points = [self.transform @ p for p in ((column, row), (column + 1, row), (column, row + 1))]
        (lon0, lat0), (lon1, lat1), (lon2, lat2) = [to_lonlat.transform(*p) for p in points]
        geod = Geod(ellps="WGS84")
        return abs(geod.inv(lon0, lat0, lon1, lat1)[2]), abs(geod.inv(lon0, lat0, lon2, lat2)[2])
