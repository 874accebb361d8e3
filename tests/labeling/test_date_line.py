"""Labels at the date line and around the poles land right, or are refused with what to do."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from shapely.geometry import LineString, MultiPolygon, Polygon, box

from errors import LabelError
from imagery.grid import Grid
from labeling.burn import burn, shapes_on
from labeling.export import export_tiles
from labeling.export.area import allowed_area
from labeling.export.settings import ExportSettings, ImageSource
from tiles.preview import places_geojson
from tiles.reader import read_tile
from workspace.classes import starter_schema

UTM60 = "EPSG:32660"
SOUTH_POLE = "EPSG:3031"


def around(crs, lon, lat, *, pixel=1.0, side=200):
    """A square image whose middle lies at a longitude and latitude."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    return Grid(side, side, Affine(pixel, 0, x - side * pixel / 2, 0, -pixel, y + side * pixel / 2), CRS.from_user_input(crs))


def table(*shapes, crs="EPSG:4326"):
    return gpd.GeoDataFrame({"class_value": [1] * len(shapes)}, geometry=list(shapes), crs=crs)


def burnt(grid, labels):
    return burn(shapes_on(grid, labels, starter_schema(), 2.0), grid) == 1


def middle_square(grid):
    """Columns and rows 50 to 150 of a grid as degrees, east of 180 beyond it."""
    corners = [grid.transform @ corner for corner in ((50, 50), (150, 50), (150, 150), (50, 150))]
    lonlat = [Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(*corner) for corner in corners]
    return Polygon([(lon if lon > 0 else lon + 360, lat) for lon, lat in lonlat])


def cut_at_180(shape):
    """As GeoJSON (RFC 7946) asks."""
    west, east = shape.intersection(box(0, -90, 180, 90)), shape.intersection(box(180, -90, 360, 90))
    return MultiPolygon([west, shapely.transform(east, lambda xy: xy - (360, 0))])


@pytest.mark.parametrize("cut", [False, True])
def test_across_the_date_line(cut):
    grid = around(UTM60, 180, 10)
    square = middle_square(grid)
    found = burnt(grid, table(cut_at_180(square) if cut else square))
    wanted = np.zeros((200, 200), bool)
    wanted[50:150, 50:150] = True
    assert np.array_equal(found, wanted)


def test_a_line_on_the_other_side_is_as_wide_as_it_should_be():
    grid = around(UTM60, 180, 10)
    track = LineString([grid.transform @ (160, 20), grid.transform @ (160, 180)])
    found = burnt(grid, table(track, crs=UTM60).to_crs("EPSG:4326"))
    assert set(found[50:150].sum(axis=1)) == {4}


@pytest.mark.parametrize("start", [179.99, -180.01])
def test_an_image_in_degrees_beyond_180(start):
    grid = Grid(200, 200, Affine(1e-4, 0, start, 0, -1e-4, 10), CRS.from_epsg(4326))
    square = cut_at_180(box(179.995, 9.985, 180.005, 9.995))
    wanted = np.zeros((200, 200), bool)
    wanted[50:150, 50:150] = True
    assert np.array_equal(burnt(grid, table(square)), wanted)


def test_what_is_not_cut_at_the_date_line_is_refused():
    uncut = Polygon([(179.9999, 9.9999), (-179.9999, 9.9999), (-179.9999, 10.0001), (179.9999, 10.0001)])
    with pytest.raises(LabelError, match=r"Label 2 .*date line.*Cut it at longitude 180"):
        burnt(around(UTM60, 180, 10), table(box(1, 1, 2, 2), uncut))
    assert not burnt(around(UTM60, 180, 40), table(uncut)).any()  # far from the image it is not asked about


def test_labels_at_a_pole():
    grid = around(SOUTH_POLE, 0, -90, pixel=1000.0)
    square = box(-50_000, -50_000, 50_000, 50_000)
    wanted = np.zeros((200, 200), bool)
    wanted[50:150, 50:150] = True
    assert np.array_equal(burnt(grid, table(square, crs=SOUTH_POLE)), wanted)
    slices = [square.intersection(box(*b)) for b in ((-9e5, -9e5, 0, 0), (0, -9e5, 9e5, 0), (-9e5, 0, 0, 9e5), (0, 0, 9e5, 9e5))]
    aside = gpd.GeoSeries([shapely.transform(s, lambda xy: xy * 0.999 + np.sign(xy.mean(axis=0)) * 20) for s in slices], crs=SOUTH_POLE)
    assert np.array_equal(burnt(grid, table(*aside.to_crs("EPSG:4326"))), wanted)


@pytest.mark.parametrize("shape", [box(-180, -90, 180, -89), Polygon([(-135, -89.5), (-45, -89.5), (45, -89.5), (135, -89.5)])])
def test_what_goes_around_a_pole_is_refused(shape):
    with pytest.raises(LabelError, match=r"goes around a pole.*into slices"):
        burnt(around(SOUTH_POLE, 0, -90, pixel=1000.0), table(shape))


@pytest.mark.parametrize("cut", [False, True])
def test_a_mask_across_the_date_line(cut):
    grid = around(UTM60, 180, 10)
    square = middle_square(grid)
    mask = gpd.GeoDataFrame(geometry=[cut_at_180(square) if cut else square], crs="EPSG:4326")
    allowed = allowed_area(grid, shapes_on(grid, table(), starter_schema(), 2.0), ExportSettings(), mask)
    assert allowed.area == pytest.approx(10_000, rel=1e-6)


def test_tiles_across_the_date_line(tmp_path):
    grid = around(UTM60, 180, 10, side=640)
    profile = {"driver": "GTiff", "width": 640, "height": 640, "count": 1, "dtype": "uint8", "crs": UTM60, "transform": grid.transform}
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (1, 640, 640), dtype=np.uint8))
    squares = [box(*(grid.transform @ (c, r + 40)), *(grid.transform @ (c + 40, r))) for c in (20, 580) for r in (20, 580)]
    labels = table(*squares, crs=UTM60).to_crs("EPSG:4326")
    images = [ImageSource(name="scene", source=str(tmp_path / "scene.tif"))]
    made = export_tiles(images, labels, starter_schema(), ExportSettings(tile_size=64, stride=64), tmp_path / "out")
    assert sum(int((read_tile(made, t).label == 1).sum()) for t in made.record.tiles) == 4 * 40 * 40
    assert {"train", "validation"} <= {t.split for t in made.record.tiles}
    assert places_geojson(made.record)["features"]
