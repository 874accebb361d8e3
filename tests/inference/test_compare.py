import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from imagery.grid import Grid
from inference.compare import change, compare_rasters, pixel_area_m2
from tests.inference.makers import PAVED, UNPAVED, write_raster

BEFORE = np.array([[0, 0, 1, 1, 1, 255, 2]], np.uint8)
AFTER = np.array([[0, 2, 0, 1, 2, 1, 255]], np.uint8)


def test_change_names_what_became_of_each_pixel():
    assert change(BEFORE, AFTER).tolist() == [[0, 1, 2, 0, 3, 255, 255]]


def test_area_of_a_utm_pixel_is_its_size_over_the_squared_scale_factor():
    grid = Grid(1000, 1000, Affine(2, 0, 500_000 - 1000, 0, -2, 3_700_000), CRS.from_epsg(32611))
    assert pixel_area_m2(grid) == pytest.approx(4 / 0.9996**2, rel=1e-6)


def test_turning_a_grid_does_not_change_the_area():
    straight = Grid(100, 100, Affine(0.6, 0, 500_000, 0, -0.6, 3_700_000), CRS.from_epsg(32611))
    turned = Grid(100, 100, straight.transform @ Affine.rotation(33), straight.crs)
    assert pixel_area_m2(turned) == pytest.approx(pixel_area_m2(straight), rel=1e-5)


def test_a_skewed_pixel_is_the_parallelogram_not_the_product_of_its_sides():
    skewed = Grid(10, 10, Affine(2, 2, 500_000, 0, -2, 3_700_000), CRS.from_epsg(32611))
    assert pixel_area_m2(skewed) == pytest.approx(4 / 0.9996**2, rel=1e-5)


def test_area_of_a_geographic_pixel_shrinks_with_the_cosine_of_latitude():
    def at(latitude: float) -> float:
        return pixel_area_m2(Grid(1, 1, Affine(1e-5, 0, 10, 0, -1e-5, latitude), CRS.from_epsg(4326)))

    assert at(0) == pytest.approx(1.113195 * 1.105743, rel=1e-4)
    assert at(60) / at(0) == pytest.approx(0.5 * 1.0117, rel=5e-3)


def test_two_rasters_give_a_change_raster_and_a_table_in_ground_units(tmp_path):
    first = write_raster(tmp_path / "before.tif", BEFORE[None], nodata=255)
    second = write_raster(tmp_path / "after.tif", AFTER[None], nodata=255)
    found = compare_rasters(first, second, (UNPAVED, PAVED), tmp_path / "change.tif")
    # rows before, columns after; background, unpaved (2), paved (1)
    assert found.pixels.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert found.area_m2.sum() == pytest.approx(5 * 0.25, rel=2e-3)
    with rasterio.open(tmp_path / "change.tif") as file:
        assert file.read(1).tolist() == [[0, 1, 2, 0, 3, 255, 255]]
        assert file.nodata == 255 and file.crs.to_epsg() == 32611 and file.colormap(1)[1][:3] == (46, 196, 112)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_rasters_on_different_grids_are_not_compared(tmp_path):
    first = write_raster(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    second = write_raster(tmp_path / "b.tif", np.zeros((1, 4, 5), np.uint8))
    with pytest.raises(ValueError, match="different grids"):
        compare_rasters(first, second, (PAVED,), tmp_path / "change.tif")
    assert not (tmp_path / "change.tif").exists()
