"""Where tiles lie on the ground, in metres, whatever CRS each of them has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

LONLAT = CRS.from_epsg(4326)


def local_projection(lon: Sequence[float] | NDArray[np.float64], lat: Sequence[float] | NDArray[np.float64]) -> CRS:
    """An azimuthal equidistant projection in metres around the middle of some points (degrees, WGS 84).

    Within 500 km of the middle, lengths are right to 0.1 %. The middle is that of unit vectors, so the date line does not matter.
    """
    lambda_, phi = np.radians(np.asarray(lon, dtype=float)), np.radians(np.asarray(lat, dtype=float))
    x, y, z = np.mean([np.cos(phi) * np.cos(lambda_), np.cos(phi) * np.sin(lambda_), np.sin(phi)], axis=1)
    lon0, lat0 = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
    return CRS.from_proj4(f"+proj=aeqd +lat_0={lat0:.9f} +lon_0={lon0:.9f} +datum=WGS84 +units=m +no_defs")


def outlines(transforms: Sequence[Affine], crs: Sequence[str], sizes: Sequence[tuple[int, int]]) -> NDArray[np.object_] | None:
    """Outlines of tiles in one plane, to see which lie beside which; None where some do not say where they lie.

    Args:
        transforms: Affine of each tile; the identity for one that lies nowhere.
        crs: CRS of each tile, as text; where none has one (pictures with a world file only), their map units are taken as they are.
        sizes: (columns, rows) of each, pixels.

    Returns:
        (n,) shapely polygons, in metres where the CRS is known.
    """
    if not transforms or any(t.is_identity for t in transforms):
        return None
    if all(crs):
        return footprints_m(transforms, crs, sizes)
    if any(crs) or (len(transforms) > 1 and len(set(transforms)) == 1):  # one place for all is no place
        return None
    return shapely.polygons(_corners(transforms, sizes))


def footprints_m(transforms: Sequence[Affine], crs: Sequence[str], sizes: int | Sequence[tuple[int, int]]) -> NDArray[np.object_]:
    """Outlines of tiles in one common local projection, metres.

    Args:
        transforms: Affine of each tile.
        crs: CRS of each tile, as text; none may be empty.
        sizes: Side of all tiles, or (columns, rows) of each; pixels.

    Returns:
        (n,) shapely polygons.
    """
    corners = _corners(transforms, [(sizes, sizes)] * len(transforms) if isinstance(sizes, int) else sizes)
    lonlat = np.empty_like(corners)
    names = np.asarray(crs, dtype=object)
    for name in dict.fromkeys(crs):
        mine = names == name
        to_lonlat = Transformer.from_crs(CRS.from_user_input(name), LONLAT, always_xy=True)
        lonlat[mine, :, 0], lonlat[mine, :, 1] = to_lonlat.transform(corners[mine, :, 0], corners[mine, :, 1])
    local = local_projection(lonlat[..., 0].ravel(), lonlat[..., 1].ravel())
    x, y = Transformer.from_crs(LONLAT, local, always_xy=True).transform(lonlat[..., 0], lonlat[..., 1])
    return shapely.polygons(np.stack([x, y], axis=-1))


def _corners(transforms: Sequence[Affine], sizes: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """(n, 4, 2) x, y of the corners of tiles, (columns, rows) pixels large, each in its own CRS."""
    a, b, c, d, e, f = np.array([(t.a, t.b, t.c, t.d, t.e, t.f) for t in transforms]).reshape(-1, 6, 1).transpose(1, 0, 2)
    columns, rows = (np.array(sides, dtype=float)[:, None] * turn for sides, turn in zip(zip(*sizes, strict=True), _TURNS, strict=True))
    return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=-1)


_TURNS = np.array([(0, 1, 1, 0), (0, 0, 1, 1)])
