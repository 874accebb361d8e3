"""Tiles of several CRS in one plane of metres."""

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Geod, Transformer

from tiles.footprints import footprints_m, local_projection


def test_tiles_of_two_utm_zones_keep_their_true_distance():
    """Two tiles either side of the border between zones 10 and 11 (120 degrees west)."""
    places = {"EPSG:32610": (-120.01, 34.0), "EPSG:32611": (-119.99, 34.0)}
    transforms = []
    for crs, (lon, lat) in places.items():
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        transforms.append(Affine(0.5, 0, x, 0, -0.5, y))
    outlines = footprints_m(transforms, list(places), 64)
    true = Geod(ellps="WGS84").inv(-120.01, 34.0, -119.99, 34.0)[2]
    assert shapely.distance(*shapely.points([o.exterior.coords[0] for o in outlines])) == pytest.approx(true, rel=1e-3)
    assert [o.area for o in outlines] == pytest.approx([32 * 32] * 2, rel=2e-3)


def test_degrees_and_rotation():
    angle = 30.0
    pixel = 0.5 / 111_000
    outline = footprints_m([Affine.translation(9, 0) * Affine.rotation(angle) * Affine.scale(pixel, -pixel)], ["EPSG:4326"], 100)[0]
    assert outline.area == pytest.approx(50 * 50, rel=0.02)
    x, y = outline.exterior.coords[0], outline.exterior.coords[1]
    assert np.degrees(np.arctan2(y[1] - x[1], y[0] - x[0])) == pytest.approx(angle, abs=0.5)


def test_the_date_line_does_not_pull_the_middle_away():
    crs = local_projection([179.9, -179.9], [10.0, 10.0])
    x, _ = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform([179.9, -179.9], [10.0, 10.0])
    assert np.abs(x).max() < 12_000
