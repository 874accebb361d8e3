import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from imagery.grid import Grid
from inference.compare import change, compare_rasters, row_areas_m2
from tests.inference.makers import PAVED, UNPAVED, write_raster

BEFORE = np.array([[0, 0, 1, 1, 1, 255, 2]], np.uint8)
AFTER = np.array([[0, 2, 0, 1, 2, 1, 255]], np.uint8)


def pixel_area_m2(grid: Grid) -> float:
    """Of the pixel in the middle of the grid."""
    return float(row_areas_m2(grid.window(0, (grid.height - 1) // 2, grid.width, 1))[0])


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


@pytest.mark.parametrize(
    ("epsg", "transform", "size"),
    [
        (4326, Affine(0.05, 0, 10, 0, -0.05, 68), (40, 400)),  # 48 to 68 degrees north
        (3857, Affine(5000, 0, 1_000_000, 0, -5000, 9_000_000), (40, 400)),  # 47 to 62 degrees north
        (32611, Affine(500, 0, 400_000, 0, -500, 3_900_000), (400, 400)),
    ],
    ids=["longitude and latitude", "Web Mercator", "UTM"],
)
def test_pixels_of_a_large_raster_add_up_to_its_true_area(epsg, transform, size):
    columns, rows = size
    grid = Grid(columns, rows, transform, CRS.from_epsg(epsg))
    found = (row_areas_m2(grid) * columns).sum()
    edge = np.linspace(0, 1, 2000)
    ring = [(edge * columns, edge * 0), (columns + edge * 0, edge * rows), ((1 - edge) * columns, rows + edge * 0), (edge * 0, (1 - edge) * rows)]
    x, y = (np.concatenate(part) for part in zip(*ring, strict=True))
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(*(transform @ (x, y)))
    true = abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
    assert found == pytest.approx(true, rel=2e-5 if epsg != 32611 else 2e-4)


def test_classes_in_the_north_of_a_geographic_raster_are_smaller(tmp_path):
    """One class in the upper, one in the lower row: the same pixels, half the ground."""
    transform = Affine(1, 0, 0, 0, -60, 90)  # rows in the middle of 60 and 0 degrees north
    first = write_raster(tmp_path / "a.tif", np.zeros((1, 2, 4), np.uint8), crs="EPSG:4326", transform=transform)
    second = write_raster(tmp_path / "b.tif", np.array([[[1] * 4, [2] * 4]], np.uint8), crs="EPSG:4326", transform=transform)
    area = compare_rasters(first, second, (PAVED, UNPAVED), tmp_path / "change.tif").area_m2[0]
    assert area[1] / area[2] == pytest.approx(0.5, rel=0.02)


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
