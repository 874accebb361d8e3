"""GeoTIFFs made from a header that GDAL wrote once are what GDAL would have written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile

from tiles.geotiff import geotiff

NORTH_UP = Affine(0.5, 0, 500_000.25, 0, -0.5, 4_000_000.125)
TURNED = Affine.translation(500_000.25, 4_000_000.125) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_values_come_back_to_the_last_bit(dtype, bands, compress):
    values = np.random.default_rng(1).integers(0, 255, (bands, 31, 47)).astype(dtype) / (3 if dtype.startswith("float") else 1)
    values = values.astype(dtype)
    with MemoryFile(geotiff(values, NORTH_UP, "EPSG:32611", 7, compress=compress)) as memory, memory.open() as file:
        assert file.dtypes == (dtype,) * bands
        assert np.array_equal(file.read(), values)
        assert (file.crs, file.transform, file.nodata) == ("EPSG:32611", NORTH_UP, 7)
        assert file.compression == (None if not compress else file.compression)
        assert "alpha" not in [colour.name for colour in file.colorinterp]


@pytest.mark.parametrize("first", [NORTH_UP, TURNED])
def test_each_has_its_own_place(first):
    """The header is taken over; the place is not."""
    for move in ((0, 0), (0.125, 0), (-1e6, 1e7)):
        transform = Affine.translation(*move) @ first
        with MemoryFile(geotiff(np.ones((1, 20, 30), np.uint8), transform, "EPSG:32611", None)) as memory, memory.open() as file:
            assert tuple(file.transform) == pytest.approx(tuple(transform), rel=1e-15)
            assert (file.transform.c, file.transform.f) == (transform.c, transform.f)
            assert file.nodata is None


def test_without_a_place():
    with MemoryFile(geotiff(np.ones((3, 20, 30), np.uint8), Affine.identity(), "", None)) as memory, memory.open() as file:
        assert file.crs is None
        assert file.transform == Affine.identity()


@pytest.mark.parametrize("compress", [False, True])
def test_pillow_reads_them(compress):
    values = np.random.default_rng(1).integers(0, 255, (3, 31, 47)).astype(np.uint8)
    for bands, mode in ((3, "RGB"), (1, "L")):
        with Image.open(io.BytesIO(geotiff(values[:bands], NORTH_UP, "EPSG:32611", None, compress=compress))) as picture:
            assert picture.mode == mode
            assert np.array_equal(np.asarray(picture).reshape(31, 47, bands), values[:bands].transpose(1, 2, 0))


def test_labels_shrink():
    label = np.zeros((1, 256, 256), np.uint8)
    label[0, 30:60, 40:90] = 1
    assert len(geotiff(label, NORTH_UP, "EPSG:32611", None, compress=True)) < 2000
