"""Where and how an image is cut: rectangles, numbers, masks, turns, resolution, several images as one, raw pixels."""

from __future__ import annotations

import json
import math

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pydantic import ValidationError
from shapely.geometry import LineString, box

from errors import EmptyTileSetError, InputMismatchError, LabelFileError, NoOverlapError
from imagery.raster import inspect_raster
from labeling.export import estimate_tiles, export_tiles
from labeling.export.area import read_mask
from labeling.export.settings import ExportSettings, ImageSource
from tiles.reader import read_labelled, read_tile
from tiles.tile_set import RECORD_FILE, open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import ClassSchema, starter_schema

X0, Y0 = 500_000.0, 4_000_000.0
UTM = "EPSG:32611"
PAVED = 1
WIDTH, HEIGHT = 640, 192
ENDS = [(PAVED, box(X0 + 10, Y0 - 60, X0 + 40, Y0 - 30)), (PAVED, box(X0 + 590, Y0 - 60, X0 + 620, Y0 - 30))]
"""A square at each end of the scene."""


def plane(width=WIDTH, height=HEIGHT, left=0.0):
    """(2, rows, columns) float32: x + 2 y, and 1000 more; x and y in pixels from the scene's corner."""
    y, x = np.mgrid[:height, :width] + 0.5
    one = x + left + 2 * y
    return np.stack([one, one + 1000]).astype(np.float32)


def write(path, values, *, left=0.0, size=1.0, crs=UTM, transform=None, nodata=None):
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    transform = transform or Affine(size, 0, X0 + left, 0, -size, Y0)
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as file:
        file.write(values)
    return ImageSource(name=path.stem, source=str(path))


def table(labels=ENDS, crs=UTM):
    return gpd.GeoDataFrame({"class_value": [v for v, _ in labels]}, geometry=[g for _, g in labels], crs=crs)


def settings(**chosen):
    return ExportSettings.model_validate({"tile_size": 64, "stride": 64, **chosen})


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path / "scene.tif", plane())


def export(tmp_path, images, chosen, labels=None, out="out", **more):
    """Exports, and makes sure that the estimate was right and nothing is wrong with the set."""
    images, labels = images if isinstance(images, list) else [images], table() if labels is None else labels
    estimate = estimate_tiles([inspect_raster(i.source) for i in images], labels, starter_schema(), chosen, **more)
    made = export_tiles(images, labels, starter_schema(), chosen, tmp_path / out, **more)
    assert estimate.tiles == len(made.record.tiles)
    assert estimate.learnable
    written = sum(p.stat().st_size for p in made.folder.glob("images/*.tif"))
    assert estimate.bytes >= sum(math.prod(made.record.size_of(t)) for t in made.record.tiles) * 2 * np.dtype(made.record.dtype).itemsize
    assert estimate.bytes > 0.7 * written
    assert [str(f) for f in validate_tile_set(made.folder) if f.harm == "grave"] == []
    return made


def emd(made):
    return json.loads((made.folder / "esri_model_definition.emd").read_text())


def burnt(tile, made, shapes=ENDS):
    """(rows, columns) what a tile's label must be: the class of what covers the middle of each pixel, found without rasterising."""
    columns, rows = made.record.size_of(tile)
    row, column = np.mgrid[:rows, :columns] + 0.5
    x, y = tile.affine @ (column, row)
    label = np.zeros((rows, columns), np.uint8)
    for value, shape in shapes:
        label[shapely.contains_xy(shape, x, y)] = value
    return label


# --- rectangles and names ------------------------------------------------------------------------------------------------------------------


def test_tiles_need_not_be_square(scene, tmp_path):
    made = export(tmp_path, scene, settings(tile_size_y=32, tiles="all"))
    assert len(made.record.tiles) == 10 * 6
    assert made.record.tile_sides == (64, 32)
    tile = made.record.tiles[13]
    assert (tile.column, tile.row) == (192, 32)
    assert np.array_equal(read_tile(made, tile).image, plane()[:, 32:64, 192:256])
    statistics = json.loads((made.folder / "esri_accumulated_stats.json").read_text())
    assert (statistics["TileSizeX"], statistics["TileSizeY"]) == (64, 32)
    assert (emd(made)["ImageWidth"], emd(made)["ImageHeight"]) == (64, 32)
    assert (made.folder / "stats.txt").read_text().startswith("images = 60 *2*64*32\n")


def test_steps_across_and_down(scene, tmp_path):
    made = export(tmp_path, scene, settings(stride=32, stride_y=64, tiles="all"))
    assert len(made.record.tiles) == 19 * 3
    assert settings(tile_size=128, tile_size_y=64, stride=64).strides == (64, 32)


def test_rectangles_open_as_a_set_of_another_program(scene, tmp_path):
    made = export(tmp_path, scene, settings(tile_size_y=32, tiles="all"))
    (made.folder / RECORD_FILE).unlink()
    opened = open_tile_set(made.folder)
    assert opened.record.tile_sides == (64, 32)
    assert read_tile(opened, opened.record.tiles[0]).label.shape == (32, 64)


def test_rectangles_in_coco_and_around_objects(scene, tmp_path):
    coco = export(tmp_path, scene, settings(tile_size_y=32, metadata_format="COCO_rectangles"), out="coco")
    listed = json.loads((coco.folder / "labels.json").read_text())
    assert {(i["width"], i["height"]) for i in listed["images"]} == {(64, 32)}
    around = export(tmp_path, scene, settings(tile_size_y=96, metadata_format="Labeled_Tiles"), out="around")
    assert [(t.column, t.row) for t in around.record.tiles] == [(0, 0), (573, 0)]
    assert read_labelled(around, around.record.tiles[0])[0].image.shape == (2, 96, 64)


def test_names_begin_where_one_wants(scene, tmp_path):
    made = export(tmp_path, scene, settings(start_index=41_000))
    assert [t.name for t in made.record.tiles] == ["000041000", "000041001"]
    assert (made.folder / "images" / "000041001.tif").exists()


# --- masks -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_only_tiles_completely_inside_the_mask(scene, tmp_path, crs):
    areas = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 128, X0 + 127.5, Y0), box(X0 + 570, Y0 - 140, X0 + 640, Y0 + 50)], crs=UTM)
    made = export(tmp_path, scene, settings(tiles="all"), mask=areas.to_crs(crs))
    assert [(t.column, t.row) for t in made.record.tiles] == [(0, 0), (576, 0), (0, 64), (576, 64)]


def test_a_mask_that_spans_the_earth_allows_everything(scene, tmp_path):
    everywhere = gpd.GeoDataFrame(geometry=[box(-180, -90, 180, 90)], crs="EPSG:4326")
    assert len(export(tmp_path, scene, settings(tiles="all"), mask=everywhere).record.tiles) == 30


def test_a_mask_without_room_for_a_tile_is_told(scene, tmp_path):
    small = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 60, X0 + 60, Y0)], crs=UTM)
    with pytest.raises(EmptyTileSetError, match="completely inside the mask"):
        export_tiles([scene], table(), starter_schema(), settings(), tmp_path / "out", mask=small)


def test_only_inside_fully_labelled_areas(scene, tmp_path):
    labels = table([*ENDS, (0, box(X0, Y0 - 64, X0 + 130, Y0)), (0, box(X0 + 500, Y0 - 192, X0 + 640, Y0))])
    made = export(tmp_path, scene, settings(inside_fully_labelled=True), labels)
    assert sorted((t.column, t.row) for t in made.record.tiles) == [
        (0, 0),
        (64, 0),
        (512, 0),
        (512, 64),
        (512, 128),
        (576, 0),
        (576, 64),
        (576, 128),
    ]
    with pytest.raises(EmptyTileSetError, match="none is marked"):
        export_tiles([scene], table(), starter_schema(), settings(inside_fully_labelled=True), tmp_path / "none")


def test_a_mask_is_read_from_a_file(tmp_path):
    areas = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 100, X0 + 100, Y0), LineString([(X0, Y0), (X0 + 1, Y0)])], crs=UTM)
    areas.to_file(tmp_path / "mask.gpkg")
    mask = read_mask(tmp_path / "mask.gpkg")
    assert len(mask) == 1
    assert mask.to_crs(UTM).geometry[0].area == pytest.approx(10_000, rel=1e-6)
    areas[1:].to_file(tmp_path / "line.gpkg")
    with pytest.raises(LabelFileError, match="holds no area"):
        read_mask(tmp_path / "line.gpkg")


# --- turns -----------------------------------------------------------------------------------------------------------------------------------

MIDDLE = [(PAVED, box(X0 + 78, Y0 - 84, X0 + 110, Y0 - 75)), (PAVED, box(X0 + 580, Y0 - 120, X0 + 600, Y0 - 80))]


def test_each_tile_is_repeated_at_every_turn(scene, tmp_path):
    made = export(tmp_path, scene, settings(rotation_angle=45, tiles="all"))
    assert len(made.record.tiles) == 30 * 8
    assert len({t.image for t in made.record.tiles}) == len(list(made.folder.glob("images/*.tif"))) == 240
    assert sorted({t.angle for t in made.record.tiles}) == [0, 45, 90, 135, 180, 225, 270, 315]
    assert settings(rotation_angle=50).angles == (0, 50, 100, 150, 200, 250, 300, 350)


def test_a_turned_tile_shows_what_lies_there_corners_included(scene, tmp_path):
    """The scene is a plane, so what bilinear interpolation gives is known to the last digit; tiles at its edge have no imagery beyond."""
    made = export(tmp_path, scene, settings(rotation_angle=30, tiles="all"), table(MIDDLE))
    inside = [t for t in made.record.tiles if 64 <= t.column <= 512 and t.row == 64]
    assert len(inside) == 8 * 12
    for tile in inside:
        pixels = read_tile(made, tile)
        row, column = np.mgrid[:64, :64] + 0.5
        x, y = tile.affine @ (column, row)
        assert pixels.valid.all()
        assert np.allclose(pixels.image[0], (x - X0) + 2 * (Y0 - y), atol=2e-3)
    corner = next(t for t in made.record.tiles if (t.column, t.row, t.angle) == (0, 0, 30))
    x, y = corner.affine @ (np.mgrid[:64, :64][1] + 0.5, np.mgrid[:64, :64][0] + 0.5)
    assert np.array_equal(read_tile(made, corner).valid, (x > X0) & (y < Y0))


def test_labels_of_turned_tiles_are_burnt_there(scene, tmp_path):
    made = export(tmp_path, scene, settings(rotation_angle=30), table(MIDDLE))
    seen = 0
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        assert np.array_equal(pixels.label[pixels.valid], burnt(tile, made, MIDDLE)[pixels.valid])
        seen += int((pixels.label == PAVED).sum())
    assert seen > 12 * 32 * 9 * 0.9


def test_world_files_and_pictures_of_turned_tiles_say_where_they_lie(scene, tmp_path):
    made = export(tmp_path, scene, settings(rotation_angle=60), table(MIDDLE))
    turned = [t for t in made.record.tiles if t.angle == 60]
    assert turned
    for tile in turned:
        with rasterio.open(made.folder / tile.image) as file:
            assert np.allclose(tuple(file.transform), tuple(tile.affine))
            assert file.crs == UTM
        a, d, b, e, x, y = map(float, (made.folder / "images" / f"{tile.name}.tfw").read_text().split())
        assert np.allclose((a, b, d, e), (tile.affine.a, tile.affine.b, tile.affine.d, tile.affine.e), atol=1e-9)
        assert np.allclose((x, y), tile.affine @ (0.5, 0.5), atol=1e-6)
        assert tile.affine.a == pytest.approx(0.5)
        assert tile.affine @ (32, 32) == pytest.approx((X0 + tile.column + 32, Y0 - tile.row - 32))
    assert emd(made)["MinCellSize"]["x"] == pytest.approx(1)


def test_all_turns_of_a_place_are_on_one_side(scene, tmp_path):
    made = export(tmp_path, scene, settings(rotation_angle=45, tiles="all", stride=32))
    sides = {}
    for tile in made.record.tiles:
        sides.setdefault((tile.column, tile.row), set()).add((tile.split, tile.place))
    assert {len(s) for s in sides.values()} == {1}
    assert {"train", "validation"} <= {t.split for t in made.record.tiles}


def test_boxes_and_masks_of_turned_tiles(scene, tmp_path):
    voc = export(tmp_path, scene, settings(rotation_angle=90, metadata_format="PASCAL_VOC_rectangles"), table(MIDDLE), out="voc")
    quarter = next(t for t in voc.record.tiles if (t.column, t.row, t.angle) == (64, 64, 90))
    (one,) = read_labelled(voc, quarter)[1].objects
    assert one.box == (11.0, 18.0, 20.0, 50.0)  # 14 to 46 across and 11 to 20 down, before it was turned
    masks = export(tmp_path, scene, settings(rotation_angle=45, metadata_format="RCNN_Masks"), table(MIDDLE), out="masks")
    for tile in masks.record.tiles:
        assert np.array_equal(read_tile(masks, tile).label == PAVED, (burnt(tile, masks, MIDDLE) == PAVED) & read_tile(masks, tile).valid)


def test_tiles_around_objects_can_be_turned(scene, tmp_path):
    made = export(tmp_path, scene, settings(rotation_angle=90, metadata_format="Imagenet"), table(MIDDLE))
    assert [t.angle for t in made.record.tiles] == [0, 90, 180, 270] * 2
    assert len({t.affine @ (32, 32) for t in made.record.tiles}) == 2


def test_each_turn_must_lie_inside_the_mask(scene, tmp_path):
    ends = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 64, X0 + 64, Y0), box(X0 + 576, Y0 - 64, X0 + 640, Y0)], crs=UTM)
    made = export(tmp_path, scene, settings(rotation_angle=45, tiles="all"), mask=ends)
    assert [(t.column, t.angle) for t in made.record.tiles] == [(c, a) for c in (0, 576) for a in (0, 90, 180, 270)]


# --- resolution ------------------------------------------------------------------------------------------------------------------------------


def test_tiles_at_a_coarser_resolution_hold_means(scene, tmp_path):
    metres = inspect_raster(scene.source).resolution_m
    made = export(tmp_path, scene, settings(tile_size=32, stride=32, cell_size_m=2 * metres, tiles="all"))
    assert len(made.record.tiles) == 10 * 3
    assert made.record.resolution_m == pytest.approx(2 * metres, rel=1e-3)
    means = plane().reshape(2, HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(2, 4))
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        assert np.allclose(pixels.image, means[:, tile.row : tile.row + 32, tile.column : tile.column + 32], atol=1e-3)
        assert np.array_equal(pixels.label, burnt(tile, made))
        assert tile.affine.a == pytest.approx(2)


def test_tiles_at_a_finer_resolution(scene, tmp_path):
    made = export(tmp_path, scene, settings(cell_size_m=inspect_raster(scene.source).resolution_m / 2))
    tile = made.record.tiles[0]
    assert tile.affine.a == pytest.approx(0.5)
    assert np.array_equal(read_tile(made, tile).label, burnt(tile, made))
    row, column = np.mgrid[8:56, 8:56] + 0.5
    x, y = tile.affine @ (column, row)
    if tile.column > 8 and tile.row > 8:
        assert np.allclose(read_tile(made, tile).image[0, 8:56, 8:56], (x - X0) + 2 * (Y0 - y), atol=0.01)


def test_a_resolution_much_finer_than_the_image_is_refused(scene, tmp_path):
    with pytest.raises(InputMismatchError, match=r"pixels of 1 m.*Choose 0.066 m or more"):
        export_tiles([scene], table(), starter_schema(), settings(cell_size_m=0.01), tmp_path / "out")


def test_no_imagery_stays_none_at_another_resolution(tmp_path):
    values = plane().astype(np.uint16)
    values[:, :, 300:340] = 9
    image = write(tmp_path / "holes.tif", values, nodata=9)
    made = export(
        tmp_path, image, settings(tile_size=32, stride=32, cell_size_m=2 * inspect_raster(image.source).resolution_m, tiles="all")
    )
    middle = next(t for t in made.record.tiles if (t.column, t.row) == (128, 0))
    valid = read_tile(made, middle).valid
    assert valid[:, :22].all()
    assert not valid[:, 22:].any()


# --- several images as one ------------------------------------------------------------------------------------------------------------------------


def test_tiles_go_on_across_the_seams_of_a_mosaic(scene, tmp_path):
    parts = [write(tmp_path / f"{i}.tif", plane()[:, :, a:b], left=a) for i, (a, b) in enumerate(((0, 150), (150, 420), (420, 640)))]
    labels = table([*ENDS, (PAVED, box(X0 + 140, Y0 - 100, X0 + 160, Y0 - 20))])
    whole = export(tmp_path, scene, settings(tiles="all"), labels, out="whole")
    made = export(tmp_path, parts, settings(tiles="all", processing_mode="mosaic"), labels)
    assert [(t.column, t.row, t.split) for t in made.record.tiles] == [(t.column, t.row, t.split) for t in whole.record.tiles]
    for one, other in zip(made.record.tiles, whole.record.tiles, strict=True):
        mine, theirs = read_tile(made, one), read_tile(whole, other)
        assert np.array_equal(mine.image, theirs.image)
        assert np.array_equal(mine.label, theirs.label)
        assert one.affine == other.affine
    assert made.record.band_statistics == whole.record.band_statistics
    assert {t.raster for t in made.record.tiles} == {"0 and 2 more"}


def test_between_distant_images_of_a_mosaic_nothing_is_cut(tmp_path):
    far = [write(tmp_path / "a.tif", plane(64, 64)), write(tmp_path / "b.tif", plane(64, 64), left=64_000)]
    labels = table([ENDS[0], (PAVED, box(X0 + 64_010, Y0 - 40, X0 + 64_030, Y0 - 20))])
    made = export(tmp_path, far, settings(tiles="all", processing_mode="mosaic"), labels)
    assert [t.column for t in made.record.tiles] == [0, 64_000]


def test_images_that_make_no_mosaic_are_refused(scene, tmp_path):
    other = write(tmp_path / "other.tif", plane(), crs="EPSG:32612")
    with pytest.raises(InputMismatchError, match="different coordinate systems"):
        export_tiles([scene, other], table(), starter_schema(), settings(processing_mode="mosaic"), tmp_path / "out")


# --- raw pixels ----------------------------------------------------------------------------------------------------------------------------------


def test_tiles_in_pixel_space_say_nothing_of_a_place(scene, tmp_path):
    made = export(tmp_path, scene, settings(tiles="all", reference_system="pixel_space"))
    assert emd(made)["ImageSpaceUsed"] == "PIXEL_SPACE"
    assert "MinCellSize" not in emd(made)
    assert list(made.folder.rglob("*.tfw")) == []
    with rasterio.open(made.folder / made.record.tiles[3].image) as file:
        assert file.crs is None
        assert file.transform.is_identity
    tile = made.record.tiles[3]
    assert np.array_equal(read_tile(made, tile).image, plane()[:, tile.row : tile.row + 64, tile.column : tile.column + 64])
    assert {"train", "validation"} <= {t.split for t in made.record.tiles}
    (made.folder / RECORD_FILE).unlink()
    assert open_tile_set(made.folder).record.crs == ""


def test_map_space_is_what_is_written_else(scene, tmp_path):
    assert emd(export(tmp_path, scene, settings()))["ImageSpaceUsed"] == "MAP_SPACE"


# --- without labels --------------------------------------------------------------------------------------------------------------------------------


def test_images_only_need_no_labels(scene, tmp_path):
    nothing = table([])
    chosen = settings(metadata_format="Export_Tiles")
    estimate = estimate_tiles([inspect_raster(scene.source)], nothing, ClassSchema(classes=()), chosen)
    made = export_tiles([scene], nothing, ClassSchema(classes=()), chosen, tmp_path / "out")
    assert len(made.record.tiles) == estimate.tiles == 30
    assert estimate.learnable
    assert [str(f) for f in validate_tile_set(made.folder) if f.harm == "grave"] == []


def test_all_of_the_images_is_cut_wherever_labels_lie(scene, tmp_path):
    elsewhere = table([(PAVED, box(X0 + 9000, Y0, X0 + 9010, Y0 + 10))])
    chosen = settings(metadata_format="Export_Tiles", tiles="all")
    assert len(export_tiles([scene], elsewhere, starter_schema(), chosen, tmp_path / "all").record.tiles) == 30
    with pytest.raises(NoOverlapError):
        export_tiles([scene], elsewhere, starter_schema(), settings(metadata_format="Export_Tiles"), tmp_path / "labelled")


# --- what does not go together ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"tile_size": 50}, "multiple of 32"),
        ({"tile_size_y": 48}, "multiple of 32"),
        ({"tile_size_y": 32, "stride_y": 64}, r"larger than the tile height \(32\).*at most 32"),
        ({"rotation_angle": 2}, "5 or more"),
        ({"rotation_angle": 45, "metadata_format": "Imagenet", "crop_mode": "bounding_box"}, "cannot be turned.*fixed_size"),
        ({"reference_system": "pixel_space", "rotation_angle": 90}, "not turned.*map_space"),
        ({"reference_system": "pixel_space", "cell_size_m": 2, "processing_mode": "mosaic"}, "not of several.*map_space"),
        ({"cell_size_m": 0}, "greater than 0"),
        ({"start_index": -1}, "greater than or equal to 0"),
    ],
)
def test_unsuitable_settings_are_refused_with_a_remedy(chosen, words):
    with pytest.raises(ValidationError, match=words):
        settings(**chosen)


# --- all at once ----------------------------------------------------------------------------------------------------------------------------


def test_turned_rectangles_of_a_coarser_mosaic_in_a_mask(scene, tmp_path):
    parts = [write(tmp_path / f"{i}.tif", plane()[:, :, a:b], left=a) for i, (a, b) in enumerate(((0, 300), (300, 640)))]
    mask = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 192, X0 + 250, Y0), box(X0 + 390, Y0 - 192, X0 + 640, Y0)], crs=UTM)
    chosen = settings(tile_size_y=32, stride=32, rotation_angle=90, cell_size_m=2, processing_mode="mosaic", tiles="all", start_index=7)
    made = export(tmp_path, parts, chosen, mask=mask)
    assert {t.angle for t in made.record.tiles} == {0, 90, 180, 270}
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        row, column = np.mgrid[:32, :64] + 0.5
        x, y = tile.affine @ (column, row)
        assert (x > X0).all() and (x < X0 + 640).all() and not ((x > X0 + 250) & (x < X0 + 390)).any()
        assert np.array_equal(pixels.label, burnt(tile, made))
        assert np.abs(pixels.image[0] - ((x - X0) + 2 * (Y0 - y))).max() < 0.1  # 2 m are not quite two pixels


def test_two_exports_are_the_same_to_the_byte(scene, tmp_path):
    chosen = settings(rotation_angle=45, cell_size_m=1.7, tile_size=32, stride=32)
    one, other = (export(tmp_path, scene, chosen, out=out) for out in ("one", "other"))
    files = sorted(p.relative_to(one.folder) for p in one.folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(other.folder) for p in other.folder.rglob("*") if p.is_file())
    assert all((one.folder / f).read_bytes() == (other.folder / f).read_bytes() for f in files)
