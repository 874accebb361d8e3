from __future__ import annotations

import pytest
from affine import Affine
from rasterio.crs import CRS

from imagery.grid import Grid

UTM = Grid(100, 50, Affine(0.6, 0, 544000, 0, -0.6, 3746000), CRS.from_epsg(26911))


def test_resolution_in_metres_whatever_the_crs() -> None:
    assert UTM.resolution_m == pytest.approx(0.6, rel=1e-3)
    degrees = Grid(100, 100, Affine(1e-5, 0, -116.5, 0, -1e-5, 60.0), CRS.from_epsg(4326))
    across, down = degrees.pixel_size_m
    assert down == pytest.approx(1.114, rel=1e-2)
    assert across == pytest.approx(down / 2, rel=1e-2)  # cos 60 degrees
    mercator = Grid(100, 100, Affine(1, 0, 0, 0, -1, 8399737.9), CRS.from_epsg(3857))  # latitude 60
    assert mercator.resolution_m == pytest.approx(0.5, rel=1e-2)


def test_a_window_stays_in_place_even_on_a_rotated_grid() -> None:
    rotated = Grid(10, 10, Affine.translation(100, 200) @ Affine.rotation(30) @ Affine.scale(2, -2), CRS.from_epsg(26911))
    part = rotated.window(3, 4, 2, 2)
    assert part.transform @ (0, 0) == pytest.approx(rotated.transform @ (3, 4))
    assert part.shape == (2, 2)


def test_bounds_and_lonlat() -> None:
    assert UTM.bounds == (544000, 3745970, 544060, 3746000)
    west, south, east, north = UTM.lonlat_bounds
    lon, lat = UTM.centre_lonlat
    assert west < lon < east and south < lat < north
    assert -116.6 < lon < -116.5
