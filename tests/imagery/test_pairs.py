"""Two rasters of one place as a single one."""

from __future__ import annotations

import numpy as np
import pytest

from errors import InputMismatchError, NoOverlapError
from imagery.pairs import write_pair
from imagery.raster import describe
from imagery.read import open_raster, read_window
from tests.imagery.test_views import write

NAMES = lambda earlier, later: (*earlier, *(f"{name}_later" for name in later))  # noqa: E731
RNG = np.random.default_rng(0)


def read_all(path):
    with open_raster(path) as dataset:
        info = describe(dataset, "pair", None)
        return info, read_window(dataset, 0, 0, info.width, info.height, range(1, info.count + 1))


def test_both_lie_pixel_for_pixel_where_their_pixels_coincide(tmp_path):
    before = RNG.integers(1, 255, (3, 600, 530), dtype=np.uint8)
    after = RNG.integers(1, 255, (3, 620, 540), dtype=np.uint8)
    paths = write(tmp_path / "a.tif", before), write(tmp_path / "b.tif", after, x=-4, y=-6)
    shares = []
    write_pair(*paths, tmp_path / "pair.tif", NAMES, progress=shares.append)
    info, pixels = read_all(tmp_path / "pair.tif")
    assert info.band_names == ("red", "green", "blue", "red_later", "green_later", "blue_later")
    assert np.array_equal(pixels.values[:3], before)
    assert np.array_equal(pixels.values[3:], after[:, 6:606, 4:534])
    assert pixels.valid.all()
    assert shares[-1] == 1


def test_a_pixel_counts_where_both_have_imagery(tmp_path):
    before, after = np.full((1, 40, 40), 9, np.uint8), np.full((1, 40, 30), 7, np.uint8)
    before[0, :5] = 0
    after[0, :, :3] = 0
    write_pair(write(tmp_path / "a.tif", before, nodata=0), write(tmp_path / "b.tif", after, nodata=0), tmp_path / "pair.tif", NAMES)
    _, pixels = read_all(tmp_path / "pair.tif")
    expected = np.zeros((40, 40), bool)
    expected[5:, 3:30] = True
    assert np.array_equal(pixels.valid, expected)


def test_another_coordinate_system_is_fitted(tmp_path):
    before = np.full((1, 60, 60), 50, np.uint8)
    after = np.full((1, 400, 400), 80, np.uint8)
    paths = write(tmp_path / "a.tif", before, x=100, y=100), write(tmp_path / "b.tif", after, crs="EPSG:32611", size=0.7)
    write_pair(*paths, tmp_path / "pair.tif", NAMES)
    _, pixels = read_all(tmp_path / "pair.tif")
    assert pixels.valid.all()
    assert (pixels.values[0] == 50).all() and (pixels.values[1] == 80).all()


def test_other_types_and_other_places_are_refused(tmp_path):
    one = write(tmp_path / "a.tif", np.ones((1, 10, 10), np.uint8))
    with pytest.raises(InputMismatchError, match="uint16"):
        write_pair(one, write(tmp_path / "b.tif", np.ones((1, 10, 10), np.uint16)), tmp_path / "pair.tif", NAMES)
    with pytest.raises(NoOverlapError, match="nowhere"):
        write_pair(one, write(tmp_path / "c.tif", np.ones((1, 10, 10), np.uint8), x=1000), tmp_path / "pair.tif", NAMES)
    assert not list(tmp_path.glob("*pair*"))
