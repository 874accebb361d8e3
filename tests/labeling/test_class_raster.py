"""A raster of class values becomes labels that give its own pixels back."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from errors import LabelFileError, UnplacedRasterError
from imagery.grid import Grid
from labeling import class_raster
from labeling.burn import burn, shapes_on, unlabelled
from labeling.class_raster import read_class_raster
from workspace.classes import ClassDef, ClassSchema

X0, Y0 = 500_000.0, 4_000_000.0
TRANSFORM = Affine(1, 0, X0, 0, -1, Y0)
SCHEMA = ClassSchema(classes=tuple(ClassDef(value=v, name=f"c{v}", colour="#000000") for v in range(1, 255)))


def write_classes(path, values, *, transform=TRANSFORM, crs="EPSG:32611", nodata=None, dtype="uint8", names=None, colours=None, vat=False):
    """A class raster, perhaps with an attribute table (GDAL's, or ArcGIS's `vat`) or, without names, a colour table."""
    values = np.asarray(values, dtype=dtype)
    bands = values[None] if values.ndim == 2 else values
    profile = {"driver": "GTiff", "width": bands.shape[2], "height": bands.shape[1], "count": len(bands), "dtype": dtype}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as file:
        file.write(bands)
        if colours and not names:
            file.write_colormap(1, {v: (*rgb, 255) for v, rgb in colours.items()})
    rows = [(v, n, *(colours or {}).get(v, (1, 2, 3))) for v, n in (names or {}).items()]
    if vat:
        table = gpd.pd.DataFrame(rows, columns=["Value", "ClassName", "Red", "Green", "Blue"])
        import pyogrio

        pyogrio.write_dataframe(table, path.with_name("vat.dbf"), driver="ESRI Shapefile")
        path.with_name("vat.dbf").rename(path.with_name(f"{path.name}.vat.dbf"))
    elif rows:
        fields = "".join(f"<FieldDefn><Name>{n}</Name></FieldDefn>" for n in ("OID", "Value", "Class", "Red", "Green", "Blue"))
        cells = "".join(f"<Row>{''.join(f'<F>{v}</F>' for v in (i, *row))}</Row>" for i, row in enumerate(rows))
        table = f"<GDALRasterAttributeTable>{fields}{cells}</GDALRasterAttributeTable>"
        path.with_name(f"{path.name}.aux.xml").write_text(f'<PAMDataset><PAMRasterBand band="1">{table}</PAMRasterBand></PAMDataset>')
    return path


def burnt(found, grid):
    shapes = shapes_on(grid, found.labels, SCHEMA, 0.0)
    label = burn(shapes, grid)
    return label, unlabelled(shapes, grid, label)


def noisy(rows=120, columns=150, seed=3):
    """Blobs and single pixels of classes 0, 3, 200 and 255."""
    rng = np.random.default_rng(seed)
    blobs = np.kron(rng.choice([0, 3, 200, 255], (rows // 10, columns // 10)), np.ones((10, 10)))
    single = rng.random((rows, columns)) < 0.05
    return np.where(single, rng.choice([0, 3, 200], (rows, columns)), blobs).astype(np.uint8)


def test_on_its_own_grid_the_very_same_pixels_come_back(tmp_path):
    values = noisy()
    label, unknown = burnt(
        read_class_raster(write_classes(tmp_path / "c.tif", values)), Grid(150, 120, TRANSFORM, rasterio.CRS.from_epsg(32611))
    )
    assert np.array_equal(label, np.where(values == 255, 0, values))
    assert np.array_equal(unknown, values == 255)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32611", Affine(0.37, 0, X0 + 3.1, 0, -0.37, Y0 - 2.2)),
        ("EPSG:32611", Affine.translation(X0 + 40, Y0 - 10) @ Affine.rotation(23) @ Affine.scale(1.7, -1.7)),
        ("EPSG:4326", Affine(6e-6, 0, -117.0 + 1e-4, 0, -6e-6, 36.144718)),
    ],
)
def test_on_another_grid_it_is_the_nearest_neighbour(tmp_path, crs, transform):
    values = noisy()
    grid = Grid(90, 60, transform, rasterio.CRS.from_string(crs))
    expected = np.full(grid.shape, 255, dtype=np.uint8)
    reproject(
        values,
        expected,
        src_transform=TRANSFORM,
        src_crs="EPSG:32611",
        dst_transform=transform,
        dst_crs=crs,
        src_nodata=255,
        dst_nodata=255,
        resampling=Resampling.nearest,
        tolerance=0.0,
    )
    assert (expected != 255).mean() > 0.3
    label, unknown = burnt(read_class_raster(write_classes(tmp_path / "c.tif", values)), grid)
    same = np.where(unknown, 255, label) == expected
    assert same.mean() > 0.998, "but for centres that lie on the edge of two pixels"


def test_no_data_and_255_are_not_known(tmp_path):
    found = read_class_raster(write_classes(tmp_path / "c.tif", [[0, 1, 9], [1, 1, 255]], nodata=9))
    label, unknown = burnt(found, Grid(4, 2, TRANSFORM, rasterio.CRS.from_epsg(32611)))
    assert label.tolist() == [[0, 1, 0, 0], [1, 1, 0, 0]]
    assert unknown.tolist() == [[False, False, True, True], [False, False, True, True]], "nor is what lies beyond the raster"


def test_each_connected_area_is_an_object(tmp_path):
    found = read_class_raster(write_classes(tmp_path / "c.tif", [[5, 0, 5], [0, 5, 5], [2, 2, 0]]))
    counts = found.labels["class_value"].value_counts().to_dict()
    assert counts == {5: 2, 2: 1, 0: 1}
    assert found.values == (2, 5)


@pytest.mark.parametrize("vat", [True, False])
def test_names_and_colours_of_an_attribute_table(tmp_path, vat):
    names = {3: "Water", 200: "Wood  land", 9: "Not there"}
    path = write_classes(tmp_path / "c.tif", noisy(), dtype="int32", names=names, colours={3: (0, 0, 255)}, vat=vat)
    found = read_class_raster(path)
    assert found.names == {3: "Water", 200: "Wood land"}
    assert found.colours == {3: (0, 0, 255), 200: (1, 2, 3)}


def test_colours_of_a_colour_table(tmp_path):
    found = read_class_raster(write_classes(tmp_path / "c.tif", noisy(), colours={3: (0, 0, 255), 200: (9, 9, 9), 7: (1, 1, 1)}))
    assert found.names == {}
    assert found.colours == {3: (0, 0, 255), 200: (9, 9, 9)}


@pytest.mark.parametrize(
    ("values", "dtype", "said"),
    [
        (np.zeros((3, 4, 4)), "uint8", "3 bands of uint8"),
        (np.ones((4, 4)), "float32", "1 band of float32"),
        (np.full((4, 4), 300), "int16", "the value 300"),
        (np.full((4, 4), -2), "int16", "the value -2"),
        ([[0, 255], [0, 0]], "uint8", "holds no class"),
    ],
)
def test_what_is_no_class_raster_is_refused(tmp_path, values, dtype, said):
    with pytest.raises(LabelFileError, match=said):
        read_class_raster(write_classes(tmp_path / "c.tif", values, dtype=dtype))


def test_noise_is_refused_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(class_raster, "MOST_AREAS", 50)
    with pytest.raises(LabelFileError, match="more than 50 separate areas") as caught:
        read_class_raster(write_classes(tmp_path / "c.tif", noisy()))
    assert "Sieve" in caught.value.remedy


def test_a_raster_without_a_place_needs_one(tmp_path):
    path = write_classes(tmp_path / "c.tif", noisy(), crs=None)
    with pytest.raises(UnplacedRasterError):
        read_class_raster(path)
    assert read_class_raster(path, "EPSG:32611").labels.crs == "EPSG:32611"
