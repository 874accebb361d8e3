"""Masks to clean polygons, and polygons to masks. Pure."""

from __future__ import annotations

import functools

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize, shapes
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

SMOOTH_PX = 0.8
"""Simplification; the stairs of a slanting line deviate by at most 0.71."""
CRUMB_PX = 12
"""Parts and holes with fewer pixels are dropped ..."""
CRUMB_SHARE = 0.02
"""... and parts smaller than this share of the largest."""
DECIMALS = 8
"""Of degrees: about a millimetre."""
_LONLAT = CRS.from_epsg(4326)


def outline(mask: NDArray[np.bool_], *, smooth_px: float = SMOOTH_PX) -> Polygon | MultiPolygon:
    """The outline of a mask, in its pixels ((x, y) from the outer corner of the top-left one).

    Parts that hang together by corners only are apart; holes stay; crumbs and pinholes go; valid. Empty for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Polygon()
    # only where something is: ten times as quick for a small thing in a chip
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    at = Affine.translation(columns[0], rows[0])
    whole = [shape(found) for found, _ in shapes(part.astype(np.uint8), mask=part, connectivity=4, transform=at)]
    largest = max(part.area for part in whole)
    enough = max(min(CRUMB_PX, largest), CRUMB_SHARE * largest)
    clean = [_smoothed(part, smooth_px) for part in whole if part.area >= enough]
    joined = shapely.union_all(clean)
    return joined if isinstance(joined, Polygon | MultiPolygon) else _polygons(joined)


def to_lonlat(geometry: BaseGeometry, transform: Affine, crs: CRS) -> BaseGeometry:
    """Pixels -> EPSG:4326 (longitude, latitude), valid.

    Args:
        geometry: In pixels.
        transform: Pixels to `crs`.
        crs: Of the raster.
    """
    to_degrees = _to_degrees(crs)

    def move(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = pixels[:, 0], pixels[:, 1]
        lon, lat = to_degrees.transform(transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f)
        return np.round(np.column_stack([lon, lat]), DECIMALS)

    moved = shapely.transform(geometry, move)
    return moved if moved.is_valid else _polygons(shapely.make_valid(moved, method="structure", keep_collapsed=False))


def to_pixels(geometry: BaseGeometry, transform: Affine, crs: CRS) -> BaseGeometry:
    """EPSG:4326 (longitude, latitude) -> pixels; the reverse of `to_lonlat`."""
    to_map, back = _to_map(crs), ~transform

    def move(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = to_map.transform(degrees[:, 0], degrees[:, 1])
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    return shapely.transform(geometry, move)


@functools.lru_cache(maxsize=32)
def _to_degrees(crs: CRS) -> Transformer:
    return Transformer.from_crs(crs, _LONLAT, always_xy=True)


@functools.lru_cache(maxsize=32)
def _to_map(crs: CRS) -> Transformer:
    return Transformer.from_crs(_LONLAT, crs, always_xy=True)


def burnt(geometry: BaseGeometry, rows: int, columns: int) -> NDArray[np.bool_]:
    """The (rows, columns) pixels whose middle a geometry (in those pixels) covers."""
    if geometry.is_empty:
        return np.zeros((rows, columns), np.bool_)
    return np.asarray(rasterize([geometry], (rows, columns)) > 0)


def _smoothed(part: Polygon, smooth_px: float) -> BaseGeometry:
    kept = Polygon(part.exterior, [hole for hole in part.interiors if Polygon(hole).area >= CRUMB_PX])
    simple = kept.simplify(smooth_px, preserve_topology=True)
    return simple if simple.is_valid else shapely.make_valid(simple, method="structure", keep_collapsed=False)


def _polygons(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    parts = [part for part in shapely.get_parts(geometry) if isinstance(part, Polygon) and not part.is_empty]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
