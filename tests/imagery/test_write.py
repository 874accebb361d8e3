from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio._err import CPLE_AppDefinedError

from errors import DiskFullError
from imagery import write
from imagery.grid import Grid
from imagery.write import open_tiled_gtiff, to_cog
from tests.imagery.rasters import AT

GRID = Grid(1300, 1100, AT, rasterio.crs.CRS.from_epsg(26911))
CLASSES = np.arange(1100 * 1300, dtype=np.int64).reshape(1100, 1300) // 500_000


def written(path):
    with open_tiled_gtiff(path, GRID, 1, "uint8", 255) as dataset:
        dataset.write(CLASSES.astype(np.uint8), 1)
    return path


def test_a_class_raster_becomes_a_cog_with_its_colours(tmp_path):
    out = tmp_path / "out.tif"
    to_cog(written(tmp_path / "raw.tif"), out, overview_resampling="mode", colours={0: (0, 0, 0), 1: (255, 159, 28), 2: (1, 2, 3)})
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(1), CLASSES)
        assert dataset.colormap(1)[1] == (255, 159, 28, 255)
        assert (dataset.transform, dataset.crs, dataset.nodata) == (GRID.transform, GRID.crs, 255)
        assert dataset.overviews(1)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(np.unique(dataset.read(1, out_shape=(137, 162)))) <= {0, 1, 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tif", "raw.tif"]


@pytest.mark.parametrize("error", [rasterio.errors.RasterioIOError("write error"), CPLE_AppDefinedError(3, 1, "IO error writing tag data")])
def test_a_full_disk_leaves_the_old_result(tmp_path, monkeypatch, error):
    out = tmp_path / "out.tif"
    out.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise error

    raw = written(tmp_path / "raw.tif")
    monkeypatch.setattr(rasterio.shutil, "copy", fail)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0})())
    with pytest.raises(DiskFullError, match="full"):
        to_cog(raw, out, overview_resampling="nearest")
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tif", "raw.tif"]
