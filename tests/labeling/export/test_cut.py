"""Cutting: every pixel of every tile is that of the whole scene, each part of a raster is read once, and a killed export goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize

from errors import JobCancelled
from imagery.views import ViewReader
from labeling.export import cut, export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from tests.labeling.export.test_formats import HOUSE, SCHEMA, TREE, digests
from tests.labeling.export.test_make import X0, Y0, table, write_scene
from tiles.formats import FORMATS
from tiles.reader import read_tile

WIDTH, HEIGHT = 1301, 690
"""Beyond one square each way, and no multiple of anything."""
WITH_MASKS = sorted(name for name, form in FORMATS.items() if form.has_pixels)


def noise(path, dtype="uint8", bands=3, nodata=None, shape=(HEIGHT, WIDTH), **extra):
    """A raster of random numbers over all that its type holds; where `nodata` is set, holes of it."""
    rng = np.random.default_rng(4)
    size = (bands, *shape)
    values = (
        rng.normal(0, 1e6, size).astype(dtype) if dtype.startswith("float") else rng.integers(0, np.iinfo(dtype).max, size).astype(dtype)
    )
    if nodata is not None:
        values[:, 500:530, 480:600] = nodata
    profile = {"driver": "GTiff", "width": shape[1], "height": shape[0], "count": bands, "dtype": dtype, "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, nodata=nodata, transform=Affine(0.5, 0, X0, 0, -0.5, Y0), **extra) as file:
        file.write(values)
    return ImageSource(name=path.stem, source=str(path)), values


def polygons(count=400):
    """Slanted shapes of 1 to 80 m anywhere on the scene, over one another."""
    rng = np.random.default_rng(5)
    x, y, size, start = rng.random(count) * WIDTH / 2, rng.random(count) * HEIGHT / 2, rng.uniform(1, 40, count), rng.random(count)
    corners = np.linspace(0, 2 * np.pi, 5, endpoint=False)
    shapes = [
        shapely.Polygon(np.c_[X0 + a + s * np.cos(corners + b), Y0 - c - s * np.sin(corners + b)])
        for a, c, s, b in zip(x, y, size, start, strict=True)
    ]
    return table(*zip(rng.choice([HOUSE, TREE, 255], count, p=[0.5, 0.4, 0.1]).tolist(), shapes, strict=True))


def export(images, tmp_path, name="out", labels=None, **chosen):
    settings = ExportSettings(**{"tile_size": 128, "stride": 96, "tiles": "all"} | chosen)
    return export_tiles(images, polygons() if labels is None else labels, SCHEMA, settings, tmp_path / name)


def in_drawing_order(labels):
    """As the classes are drawn: Uncertain below all, the later class above."""
    order = {255: 0, HOUSE: 1, TREE: 2}
    return sorted(zip(labels.geometry, labels["class_value"].tolist(), strict=True), key=lambda one: order[one[1]])


@pytest.mark.parametrize("metadata_format", WITH_MASKS)
def test_a_mask_is_the_whole_scene_rasterised_and_cut_at_the_window(tmp_path, metadata_format):
    image, _ = noise(tmp_path / "scene.tif")
    labels = polygons()
    made = export([image], tmp_path, labels=labels, metadata_format=metadata_format)
    scene = {"out_shape": (HEIGHT, WIDTH), "transform": Affine(0.5, 0, X0, 0, -0.5, Y0), "dtype": "uint8"}
    whole = rasterize(in_drawing_order(labels), **scene)
    assert len(made.record.tiles) == 14 * 7
    for tile in made.record.tiles:
        here = whole[tile.row : tile.row + 128, tile.column : tile.column + 128]
        assert np.array_equal(read_tile(made, tile).label, here)
        assert tile.pixels == {int(v): int((here == v).sum()) for v in np.unique(here) if v != 255}


@pytest.mark.parametrize(
    ("dtype", "nodata", "extra"),
    [
        ("uint8", None, {"tiled": True, "blockxsize": 128, "blockysize": 128}),
        ("uint16", 0, {}),
        ("int16", -1, {"compress": "deflate"}),
        ("float32", np.nan, {}),
        ("float64", None, {}),
    ],
)
def test_values_come_through_to_the_last_bit_and_are_counted_once_for_each_tile(tmp_path, dtype, nodata, extra):
    image, values = noise(tmp_path / "scene.tif", dtype, nodata=nodata, **extra)
    made = export([image], tmp_path)
    counted = []
    for tile in made.record.tiles:
        pixels, here = read_tile(made, tile), np.s_[:, tile.row : tile.row + 128, tile.column : tile.column + 128]
        assert pixels.image.dtype == dtype
        if nodata is None:
            assert pixels.valid.all()
        assert np.array_equal(pixels.image[:, pixels.valid], values[here][:, pixels.valid])
        assert np.isfinite(pixels.image).all()
        counted.append(pixels.image[:, pixels.valid])
    seen = np.concatenate(counted, axis=1).astype(float)
    for band, found in enumerate(made.record.band_statistics):
        assert (found.count, found.min, found.max) == (seen.shape[1], seen[band].min(), seen[band].max())
        assert (found.mean, found.std) == pytest.approx((seen[band].mean(), seen[band].std()))
        assert [found.p2, found.p98] == pytest.approx(np.percentile(seen[band], [2, 98]), rel=0.02, abs=1)


def test_a_class_of_twenty_pixels_in_a_large_scene_is_there(tmp_path):
    image, _ = noise(tmp_path / "scene.tif", bands=1, shape=(2500, 3100))
    rare = shapely.box(X0 + 1001, Y0 - 702, X0 + 1003.5, Y0 - 700)
    labels = table(*zip([HOUSE] * 50, polygons(50).geometry, strict=True), (TREE, rare))
    for tiles in ("all", "features_only"):
        made = export([image], tmp_path, tiles, labels, tile_size=256, stride=256, tiles=tiles)
        assert made.record.class_pixels()[TREE] == 20
        assert sum(TREE in tile.pixels for tile in made.record.tiles) == 1


@pytest.mark.parametrize("strip_bytes", [cut.STRIP_BYTES, 1])
def test_each_pixel_is_read_once(tmp_path, monkeypatch, strip_bytes):
    """In strips narrower than the image, those that two strips share twice."""
    image, values = noise(tmp_path / "scene.tif", "uint16")
    read = np.zeros((HEIGHT, WIDTH), dtype=int)
    original = ViewReader.read

    def noted(self, column, row, width, height):
        read[row : row + height, column : column + width] += 1
        return original(self, column, row, width, height)

    monkeypatch.setattr(ViewReader, "read", noted)
    monkeypatch.setattr(cut, "STRIP_BYTES", strip_bytes)
    made = export([image], tmp_path)
    assert read.min() == 1
    assert read.max() == (1 if strip_bytes > 1 else 2)
    assert {(t.column, t.row) for t in made.record.tiles} == {
        (c, r) for c in [*range(0, 1173, 96), 1173] for r in [*range(0, 562, 96), 562]
    }
    for tile in made.record.tiles:
        assert np.array_equal(read_tile(made, tile).image, values[:, tile.row : tile.row + 128, tile.column : tile.column + 128])


def test_where_nothing_is_labelled_nothing_is_read(tmp_path, monkeypatch):
    image, _ = noise(tmp_path / "scene.tif")
    far = [(HOUSE, shapely.box(X0 + x, Y0 - 20, X0 + x + 10, Y0 - 10)) for x in (5, 600)]
    windows = []
    original = ViewReader.read
    monkeypatch.setattr(ViewReader, "read", lambda self, *window: windows.append(window) or original(self, *window))
    export([image], tmp_path, labels=table(*far), tiles="features_only")
    assert windows == [(0, 0, 512, 512), (1024, 0, 512, 512)]


def export_arguments(folder, metadata_format):
    """Two images of floats, whose statistics depend on the order in which they are counted."""
    images = [ImageSource(name=name, source=str(folder / f"{name}.tif")) for name in ("one", "two")]
    settings = ExportSettings(metadata_format=metadata_format, tile_size=96, stride=64)
    return images, polygons(), SCHEMA, settings, folder / "out"


def killed(folder, metadata_format, tile):
    """Export in a process that is killed when it comes to a tile."""

    def progress(stage, share):
        if stage.startswith(f"Cutting tile {tile} "):
            os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            export_tiles(*export_arguments(folder, metadata_format), progress)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("metadata_format", ["Classified_Tiles", "COCO_rectangles"])
def test_a_killed_export_goes_on_and_comes_out_the_same(tmp_path, monkeypatch, metadata_format):
    noise(tmp_path / "one.tif", "float32", nodata=np.nan, shape=(600, 700))
    noise(tmp_path / "two.tif", "float32", shape=(200, 300))
    monkeypatch.setattr(cut, "WINDOWS_TO_CHECKPOINT", 25)
    whole = digests(export_tiles(*export_arguments(tmp_path, metadata_format)[:-1], tmp_path / "whole").folder)
    stages = []
    for tile in (40, 80):
        killed(tmp_path, metadata_format, tile)
        assert not (tmp_path / "out").exists()
    made = export_tiles(*export_arguments(tmp_path, metadata_format), lambda stage, share: stages.append(stage))
    first = next(stage for stage in stages if stage.startswith("Cutting"))
    assert first.startswith("Cutting tile 76 "), first
    assert digests(made.folder) == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.tif", "out", "two.tif", "whole"]


@pytest.mark.parametrize("changed", ["labels", "settings", "raster", "file"])
def test_what_was_begun_from_something_else_is_cleared_away(tmp_path, monkeypatch, changed):
    noise(tmp_path / "one.tif", "float32", shape=(400, 500))
    noise(tmp_path / "two.tif", "float32", shape=(200, 300))
    monkeypatch.setattr(cut, "WINDOWS_TO_CHECKPOINT", 25)
    killed(tmp_path, "Classified_Tiles", 40)
    images, labels, schema, settings, out = export_arguments(tmp_path, "Classified_Tiles")
    (begun,) = tmp_path.glob(".out.*.part")
    if changed == "labels":
        labels = labels.iloc[:-1]
    elif changed == "settings":
        settings = settings.model_copy(update={"seed": 1})
    elif changed == "raster":
        os.utime(images[1].source, ns=(1, 1))
    else:
        (begun / "labels/000000003.tif").write_bytes(b"")
    stages = []
    made = export_tiles(images, labels, schema, settings, out, lambda stage, share: stages.append(stage))
    assert next(stage for stage in stages if stage.startswith("Cutting")).startswith("Cutting tile 1 ")
    again = export_tiles(images, labels, schema, settings, tmp_path / "again")
    assert digests(made.folder) == digests(again.folder)
    assert not list(tmp_path.glob(".*"))


def test_a_cancelled_export_leaves_nothing(tmp_path):
    image, _ = noise(tmp_path / "scene.tif", shape=(400, 500))

    def progress(stage, share):
        if stage.startswith("Cutting tile 20 "):
            raise JobCancelled("Cancelled.")

    with pytest.raises(JobCancelled):
        export_tiles([image], polygons(), SCHEMA, ExportSettings(tile_size=96, stride=64), tmp_path / "out", progress)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.tif"]


def test_turned_tiles_do_not_change_the_others(tmp_path):
    image, _ = noise(tmp_path / "scene.tif", "uint16", shape=(560, 600))
    plain, turned = (export([image], tmp_path, str(angle), rotation_angle=angle) for angle in (0, 120))
    upright = [tile for tile in turned.record.tiles if not tile.angle]
    assert len(turned.record.tiles) == 3 * len(plain.record.tiles) == 3 * len(upright)
    for one, two in zip(plain.record.tiles, upright, strict=True):
        assert (plain.folder / one.image).read_bytes() == (turned.folder / two.image).read_bytes()
        assert (plain.folder / one.label).read_bytes() == (turned.folder / two.label).read_bytes()


def test_a_raster_smaller_than_a_tile(tmp_path):
    images = [write_scene(tmp_path / f"{n}.tif", width=40, height=30, transform=Affine(1, 0, X0 + 5000 * n, 0, -1, Y0)) for n in range(2)]
    labels = table(*((HOUSE, shapely.box(X0 + 5000 * n, Y0 - 10, X0 + 5000 * n + 10, Y0)) for n in range(2)))
    made = export(images, tmp_path, labels=labels)
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        assert pixels.valid.sum() == pixels.valid[:30, :40].sum() == 1200
        assert tile.pixels == {0: 1100, HOUSE: 100}
