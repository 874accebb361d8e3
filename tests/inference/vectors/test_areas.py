from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine

from errors import InputMismatchError, UnknownClassError, UnsupportedRasterError
from inference.vectors import areas
from inference.vectors.areas import polygons_of
from inference.vectors.buildings import buildings_of
from inference.vectors.class_map import read_class_map
from inference.vectors.settings import BuildingSettings, PolygonSettings
from tests.inference.makers import write_raster
from tests.inference.vectors.makers import HALF_METRE, class_map

PLAIN = PolygonSettings(smallest_m2=0, holes_m2=0, slivers=False, smooth_px=0)


def table(found) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(pd.concat(list(found), ignore_index=True))


def test_an_area_has_its_name_its_size_on_the_ground_and_its_mean_confidence(tmp_path):
    values = np.zeros((20, 30))
    values[5:15, 10:20] = 1
    values[5:15, 20] = 2
    values[0, 0] = 255
    sure = np.full((20, 30), 80)
    sure[5:10, 10:20] = 40
    found = table(polygons_of(class_map(tmp_path, values, sure), [1], PLAIN, rows=3))
    assert found.crs.to_epsg() == 32611
    assert found[["Classname", "Classvalue"]].to_numpy().tolist() == [["Paved road", 1]]
    assert found.area_m2[0] == pytest.approx(25, rel=2e-3)  # 100 pixels of 0.25 m² on the map; the scale of UTM makes a little of it
    assert found.confidence[0] == pytest.approx(0.6)
    assert found.geometry[0].bounds == (500_005, 3_699_992.5, 500_010, 3_699_997.5)


def test_areas_in_degrees_are_those_on_the_ellipsoid(tmp_path):
    degree = 1e-5
    transform = Affine(degree, 0, 12, 0, -degree, 60)
    found = table(polygons_of(class_map(tmp_path, np.ones((100, 100)), crs="EPSG:4326", transform=transform), [1], PLAIN))
    length = math.pi / 180 * 6378137.0
    assert found.area_m2[0] == pytest.approx((100 * degree * length) ** 2 * math.cos(math.radians(60)), rel=6e-3)
    assert np.isnan(found.confidence[0])


def test_smallest_area_is_in_square_metres_on_the_ground(tmp_path):
    values = np.zeros((20, 30))
    values[2:4, 2:6] = 1  # 2 m²
    values[10:14, 2:6] = 1  # 4 m²
    found = table(polygons_of(class_map(tmp_path, values), [1], PLAIN.model_copy(update={"smallest_m2": 3})))
    assert len(found) == 1


def test_a_map_without_the_class_gives_an_empty_table_with_all_columns(tmp_path):
    found = table(polygons_of(class_map(tmp_path, np.zeros((20, 30))), [1], PLAIN))
    assert not len(found) and list(found.columns) == ["Classname", "Classvalue", "area_m2", "confidence", "geometry"]


def test_a_patchwork_beyond_what_fits_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(areas, "MOST_BORDERS", 50)
    with pytest.raises(UnsupportedRasterError, match="Choose fewer classes"):
        table(polygons_of(class_map(tmp_path, np.random.default_rng(0).integers(1, 3, (64, 64))), [1, 2], PLAIN, rows=16))


def test_buildings_say_whether_they_are_regular(tmp_path):
    values = np.zeros((80, 120))
    values[10:40, 10:50] = 3
    values[10:20, 10:20] = 0
    rows, columns = np.mgrid[:80, :120]
    values[(rows - 40) ** 2 + (columns - 90) ** 2 < 15**2] = 3
    found = table(buildings_of(class_map(tmp_path, values), [3], BuildingSettings())).sort_values("regular", ascending=False)
    assert found.regular.tolist() == [1, 0]
    assert found.corners.tolist()[0] == 6
    assert found.agreement.min() > 0.9
    assert found.geometry.is_valid.all()
    assert found.geometry.iloc[0].area == pytest.approx((30 * 40 - 100) / 4, rel=0.02)


def test_classes_are_found_by_name_and_value(tmp_path):
    one = class_map(tmp_path, np.ones((4, 4)))
    assert one.value_of("unpaved ROAD") == 2 and one.value_of("3") == 3
    with pytest.raises(UnknownClassError, match=r"1 \(Paved road\), 2 \(Unpaved road\)"):
        one.value_of("river")
    assert one.values() == [1, 2, 3]
    assert class_map(tmp_path, np.array([[0, 4], [9, 255]]), named=False, name="bare.tif").values() == [4, 9]


def test_other_rasters_and_other_grids_are_refused(tmp_path):
    picture = write_raster(tmp_path / "picture.tif", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(UnsupportedRasterError, match="3 bands of uint8"):
        read_class_map(picture)
    one = write_raster(tmp_path / "one.tif", np.zeros((1, 8, 8), np.uint8))
    moved = write_raster(tmp_path / "moved.tif", np.zeros((1, 8, 8), np.uint8), transform=HALF_METRE * Affine.translation(1, 0))
    with pytest.raises(InputMismatchError, match="does not lie on the grid"):
        read_class_map(one, moved)


def test_pixels_of_polygons_lie_on_a_turned_grid(tmp_path):
    turned = Affine.translation(500_000, 3_700_000) * Affine.rotation(30) * Affine.scale(0.5, -0.5)
    values = np.zeros((10, 10))
    values[2:5, 3:8] = 1
    found = table(polygons_of(class_map(tmp_path, values, transform=turned), [1], PLAIN))
    expected = shapely.Polygon([turned @ corner for corner in ((3, 2), (8, 2), (8, 5), (3, 5))])
    assert found.geometry[0].equals_exact(expected.normalize(), 1e-6) or found.geometry[0].symmetric_difference(expected).area < 1e-6
