"""Picture files say the same values and the same place again when GDAL reads them, as QGIS does."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from errors import UnsupportedRasterError
from tiles.pictures import PICTURE_KINDS, encoded, require_holds, side_files

TURNED = Affine.translation(500_000.123456789, 4_000_000.3) @ Affine.rotation(17) @ Affine.scale(0.6, -0.6)
PLACES = [
    ("EPSG:32611", Affine(0.6, 0, 500_000, 0, -0.6, 4_000_000)),
    ("EPSG:32611", TURNED),
    ("EPSG:4326", Affine(1.1e-6, 0, 85.5277, 0, -1.1e-6, 27.6297)),
    ("", Affine.identity()),
]


def write(folder, suffix, values, transform=PLACES[0][1], crs="EPSG:32611", nodata=None, *, image=True):
    path = folder / f"000000000{suffix}"
    path.write_bytes(encoded(suffix, values, transform, crs, nodata, image=image))
    for name, text in side_files(path.name, transform, crs, nodata, len(values), image=image).items():
        (folder / name).write_text(text)
    return path


def noise(bands, dtype="uint8", top=256):
    return np.random.default_rng(1).integers(0, top, (bands, 32, 40)).astype(dtype)


@pytest.mark.parametrize(("crs", "transform"), PLACES)
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_the_place_is_kept(tmp_path, suffix, crs, transform):
    path = write(tmp_path, suffix, noise(3), transform, crs)
    with rasterio.open(path) as file:
        assert file.crs == (CRS.from_user_input(crs) if crs else None)
        assert np.allclose(tuple(file.transform), tuple(transform), rtol=1e-9, atol=1e-9)
    world = {".tif": ".tfw", ".png": ".pgw", ".jpg": ".jgw"}[suffix]
    if not crs:
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        return
    assert (
        path.with_suffix(world).read_text().splitlines()[0] == f"{transform.a:.15f}" if abs(transform.a) < 0.001 else f"{transform.a:.10f}"
    )


@pytest.mark.parametrize(
    ("suffix", "bands", "dtype", "top"),
    [(".png", 3, "uint8", 256), (".png", 1, "uint16", 65536), (".png", 3, "uint16", 65536), (".tif", 5, "float32", 99)],
)
def test_values_are_kept(tmp_path, suffix, bands, dtype, top):
    values = noise(bands, dtype, top)
    with rasterio.open(write(tmp_path, suffix, values)) as file:
        assert np.array_equal(file.read(), values)
        assert file.dtypes[0] == dtype


def test_a_jpeg_looks_the_same_and_is_small(tmp_path):
    smooth = np.broadcast_to(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8), (3, 64, 64))
    path = write(tmp_path, ".jpg", smooth)
    with rasterio.open(path) as file:
        assert np.abs(file.read().astype(int) - smooth).max() <= 4
    assert len(encoded(".jpg", noise(3), PLACES[0][1], "", quality=95)) > len(encoded(".jpg", noise(3), PLACES[0][1], "", quality=50))


def test_values_without_imagery_are_told_where_they_are_kept(tmp_path):
    for suffix, told in ((".tif", 7.0), (".png", 7.0), (".jpg", None)):
        with rasterio.open(write(tmp_path, suffix, noise(3), nodata=7)) as file:
            assert set(file.nodatavals) == {told}


def test_beside_labels_lies_no_xml(tmp_path):
    write(tmp_path, ".png", noise(1), image=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000.pgw", "000000000.png"]


@pytest.mark.parametrize(
    ("kind", "bands", "dtype"),
    [("PNG", 4, "uint8"), ("PNG", 2, "uint8"), ("JPEG", 3, "uint16"), ("PNG", 1, "float32"), ("JPEG", 1, "int16")],
)
def test_what_a_picture_cannot_hold_is_refused(kind, bands, dtype):
    with pytest.raises(UnsupportedRasterError, match=rf"scene has {bands} bands? of {dtype}.*{kind} picture holds") as caught:
        require_holds(kind, "scene", bands, dtype)
    assert "TIFF" in caught.value.remedy


def test_labels_are_never_written_with_loss():
    assert {kind.label_suffix for kind in PICTURE_KINDS.values()} == {".tif", ".png"}
    for kind, bands, dtype in (("TIFF", 9, "float64"), ("PNG", 3, "uint16"), ("JPEG", 1, "uint8")):
        require_holds(kind, "scene", bands, dtype)
