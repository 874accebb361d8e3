import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from labeling.prompt.outline import burnt, outline, to_lonlat, to_pixels

AT = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0)
UTM = CRS.from_epsg(26911)


def disc(radius=30, side=100):
    y, x = np.mgrid[:side, :side]
    return (x - 50) ** 2 + (y - 50) ** 2 <= radius**2


def test_a_rectangle_comes_back_exactly():
    mask = np.zeros((40, 60), bool)
    mask[5:25, 10:50] = True
    found = outline(mask)
    assert found.bounds == (10, 5, 50, 25)
    assert found.area == 800
    assert len(found.exterior.coords) == 5


def test_a_disc_is_smooth_and_keeps_its_area():
    found = outline(disc())
    assert found.area == pytest.approx(disc().sum(), rel=0.02)
    assert len(found.exterior.coords) < 60


def test_holes_stay_and_pinholes_and_crumbs_go():
    mask = disc()
    mask[40:60, 40:60] = False
    mask[30, 50] = False
    mask[2:4, 2:4] = True
    found = outline(mask)
    assert found.geom_type == "Polygon"
    assert len(found.interiors) == 1
    assert found.is_valid


def test_parts_that_touch_at_a_corner_are_valid():
    mask = np.zeros((40, 40), bool)
    mask[5:20, 5:20] = mask[20:35, 20:35] = True
    found = outline(mask)
    assert found.is_valid and found.area == pytest.approx(450, abs=2)


def test_nothing_and_one_pixel():
    mask = np.zeros((8, 8), bool)
    assert outline(mask).is_empty
    mask[3, 4] = True
    assert outline(mask).bounds == (4, 3, 5, 4)


def test_there_and_back_on_the_map():
    found = outline(disc())
    lonlat = to_lonlat(found, AT, UTM)
    west, south, east, north = lonlat.bounds
    assert -117.01 < west < east < -116.99 and 36.1 < south < north < 36.2
    assert lonlat.is_valid
    mask = burnt(to_pixels(lonlat, AT, UTM), 100, 100)
    assert (mask & disc()).sum() / (mask | disc()).sum() > 0.97
