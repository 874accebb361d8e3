from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from errors import UnplacedRasterError, UnreadableRasterError, UnsupportedRasterError
from imagery.raster import RasterInfo, inspect_raster
from tests.imagery.rasters import AT, rgb, write_raster


def test_facts_of_a_plain_picture(tmp_path):
    info = inspect_raster(str(write_raster(tmp_path / "a.tif", rgb(), photometric="RGB")))
    assert (info.driver, info.width, info.height, info.count, info.dtype) == ("GTiff", 60, 40, 3, "uint8")
    assert info.crs == "EPSG:26911"
    assert info.band_names == ("red", "green", "blue")
    assert info.colour_bands == (1, 2, 3)
    assert info.resolution_m == pytest.approx(0.5, rel=1e-3)
    assert (info.mask_kind, info.nodata, info.palette, info.rotated, info.has_overviews) == ("none", None, False, False, False)
    assert info.grid.transform == AT
    assert info.bytes == (tmp_path / "a.tif").stat().st_size


def test_facts_survive_json_even_nan(tmp_path):
    values = np.full((1, 4, 4), 7, np.float32)
    info = inspect_raster(str(write_raster(tmp_path / "a.tif", values, nodata=np.nan)))
    again = RasterInfo.model_validate_json(info.model_dump_json())
    assert np.isnan(again.nodata)
    assert again.model_copy(update={"nodata": None}) == info.model_copy(update={"nodata": None})


def test_band_names_come_from_descriptions_and_stay_distinct(tmp_path):
    values = np.ones((4, 4, 4), np.uint16)
    path = write_raster(tmp_path / "a.tif", values, descriptions=("Blue", "Green", "Red", "Red"))
    info = inspect_raster(str(path))
    assert info.band_names == ("blue", "green", "red", "band_4")
    assert info.colour_bands == (3, 2, 1)


def test_palette_alpha_and_rotation_are_recognised(tmp_path):
    palette = write_raster(tmp_path / "p.tif", np.eye(4, dtype=np.uint8)[None], colormap={0: (0, 0, 0, 255), 1: (9, 8, 7, 255)})
    assert inspect_raster(str(palette)).palette
    four = np.full((4, 4, 4), 255, np.uint8)
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    alpha = inspect_raster(str(write_raster(tmp_path / "a.tif", four, colorinterp=colours)))
    assert (alpha.mask_kind, alpha.image_bands) == ("alpha", (1, 2, 3))
    turned = write_raster(tmp_path / "r.tif", rgb(), transform=Affine.translation(5e5, 4e6) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5))
    assert inspect_raster(str(turned)).rotated


def test_without_place_or_crs_it_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(UnplacedRasterError, match="where on Earth"):
        inspect_raster(str(write_raster(tmp_path / "a.tif", rgb(), crs=None, transform=None)))
    path = str(write_raster(tmp_path / "b.tif", rgb(), crs=None))
    with pytest.raises(UnplacedRasterError, match="EPSG"):
        inspect_raster(path)
    assert inspect_raster(path, "26911").crs == "EPSG:26911"
    with pytest.raises(UnplacedRasterError, match="not a known coordinate system"):
        inspect_raster(path, "banana")


def test_control_points_complex_numbers_and_empty_pictures_are_refused(tmp_path):
    points = [GroundControlPoint(row, column, 5e5 + column, 4e6 - row) for row, column in ((0, 0), (0, 9), (9, 0))]
    gcp = write_raster(tmp_path / "g.tif", rgb(), crs=None, transform=None)
    with rasterio.open(gcp, "r+") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(26911))
    with pytest.raises(UnsupportedRasterError, match="Warp it first"):
        inspect_raster(str(gcp))
    with pytest.raises(UnsupportedRasterError, match="complex"):
        inspect_raster(str(write_raster(tmp_path / "c.tif", np.ones((1, 4, 4), np.complex64))))
    with pytest.raises(UnsupportedRasterError, match="no imagery"):
        inspect_raster(str(write_raster(tmp_path / "e.tif", np.zeros((3, 4, 4), np.uint8), nodata=0)))


def test_coordinates_off_the_earth_are_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", rgb(), crs="EPSG:4326", transform=Affine(1, 0, 5e5, 0, -1, 4e6))
    with pytest.raises(UnplacedRasterError, match="not a place on Earth"):
        inspect_raster(str(path))


def test_damaged_missing_and_foreign_files_are_named(tmp_path):
    whole = write_raster(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8), compress="deflate")
    cut = tmp_path / "cut.tif"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableRasterError, match=r"cut\.tif is damaged"):
        inspect_raster(str(cut))
    with pytest.raises(UnreadableRasterError, match="not there"):
        inspect_raster(str(tmp_path / "none.tif"))
    (tmp_path / "t.tif").write_text("hello")
    with pytest.raises(UnsupportedRasterError, match="not in a picture format"):
        inspect_raster(str(tmp_path / "t.tif"))
    with pytest.raises(UnreadableRasterError, match="folder"):
        inspect_raster(str(tmp_path))


def test_a_vrt_cannot_lead_to_other_files(tmp_path):
    secret = write_raster(tmp_path / "secret.tif", rgb())
    vrt = tmp_path / "a.tif"
    vrt.write_text(
        f'<VRTDataset rasterXSize="60" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UnsupportedRasterError, match="virtual raster"):
        inspect_raster(str(vrt))


def test_side_files_place_a_picture(tmp_path):
    path = write_raster(tmp_path / "a.tif", rgb(), crs=None, transform=None)
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n500000.25\n3999999.75\n")
    assert inspect_raster(str(path), "EPSG:26911").grid.transform.almost_equals(AT)


@pytest.mark.shared_data
def test_real_side_files_are_honoured(shared_data):
    path = sorted((shared_data / "buildings_oam_banepa" / "images").glob("*.tif"))[0]
    info = inspect_raster(str(path))
    assert info.crs == "EPSG:4326"
    assert 0.1 < info.resolution_m < 0.16
