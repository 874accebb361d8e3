"""Arrays come back as they were given."""

import numpy as np
import pytest
import rasterio

from errors import TileSetFormatError
from tests.tiles.conftest import tile_arrays
from tiles.reader import read_tile


@pytest.mark.parametrize("number", [0, 3])
def test_image_validity_and_label(tile_set, number):
    image, valid, label = tile_arrays(number)
    found = read_tile(tile_set, tile_set.record.tiles[number])
    assert np.array_equal(found.image, image)
    assert np.array_equal(found.valid, valid)
    assert np.array_equal(found.label, np.where(valid, label, 255))
    assert found.label.dtype == np.uint8
    assert found.image.dtype == np.uint8


def test_a_missing_file_is_named(tile_set):
    (tile_set.folder / "labels/000000001.tif").unlink()
    with pytest.raises(TileSetFormatError, match=r"labels/000000001.tif .* is missing"):
        read_tile(tile_set, tile_set.record.tiles[1])


def test_a_damaged_file_is_named(tile_set):
    path = tile_set.folder / "images/000000001.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TileSetFormatError, match=r"images/000000001.tif .* is damaged"):
        read_tile(tile_set, tile_set.record.tiles[1])


def test_a_label_of_another_size_is_named(tile_set):
    with rasterio.open(tile_set.folder / "labels/000000001.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8") as file:
        file.write(np.zeros((1, 8, 8), dtype=np.uint8))
    with pytest.raises(TileSetFormatError, match="8 x 8"):
        read_tile(tile_set, tile_set.record.tiles[1])
