"""Each metadata format: objects land on the right pixels, side files agree, and what was written is read back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.geometry import LineString, MultiPolygon, Point, box
from shapely.ops import transform as polygon_transform

from errors import TileSetFormatError
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from tests.labeling.export.test_make import X0, Y0, table, write_scene
from tiles.formats import FORMATS
from tiles.preview import shape_of
from tiles.reader import read_labelled, read_tile, require_pixels
from tiles.tile_set import TileSet, open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import ClassDef, ClassSchema

HOUSE, TREE = 7, 3
SCHEMA = ClassSchema(
    classes=(
        ClassDef(value=HOUSE, name="House", colour="#e71d36"),
        ClassDef(value=TREE, name="Old tree", colour="#2ec4b6"),
        ClassDef(value=255, name="Uncertain", colour="#9aa0a6", ignore=True),
    )
)


def at(left: float, top: float, right: float, bottom: float):
    """A rectangle in pixels of the scene (1 m each)."""
    return box(X0 + left, Y0 - bottom, X0 + right, Y0 - top)


def village() -> gpd.GeoDataFrame:
    """Four tiles of 64 px with objects, in two places. Whole pixels except where it says so."""
    return table(
        (HOUSE, at(10, 10, 20, 30)),
        (HOUSE, at(18, 20, 30, 40)),  # over the first one: the later house wins its pixels
        (TREE, at(15, 25, 25, 35)),  # over both, of another class
        (HOUSE, at(60, 50, 70.25, 60.5)),  # 4 of 10.25 columns in the first tile
        (TREE, MultiPolygon([at(40, 2, 44, 6), at(50, 2, 54, 6)])),  # one object of two parts
        (255, at(0, 55, 30, 64)),
        (HOUSE, at(580, 10, 600, 30)),
        (TREE, at(610, 10, 620, 20)),
    )


def export(tmp_path: Path, metadata_format: str, labels=None, name: str = "out", images=None, **chosen) -> TileSet:
    images = images or [write_scene(tmp_path / "scene.tif")]
    if FORMATS[metadata_format].parts and "second_raster" not in chosen:
        chosen["second_raster"] = write_scene(tmp_path / "other_kind.tif", width=320, height=128, bands=1, add=5).source
    settings = ExportSettings(metadata_format=metadata_format, tile_size=64, stride=64, **chosen)
    return export_tiles(images, village() if labels is None else labels, SCHEMA, settings, tmp_path / name)


def tile_at(tile_set: TileSet, column: int):
    return next(t for t in tile_set.record.tiles if (t.column, t.row) == (column, 0))


def boxes(tile_set: TileSet, column: int) -> list[tuple[int, tuple[float, float, float, float]]]:
    return [(one.value, one.box) for one in read_labelled(tile_set, tile_at(tile_set, column))[1].objects]


def in_words(tile_set: TileSet, tile) -> tuple:
    """What the labels of a tile say, apart from pixels."""
    labels = read_labelled(tile_set, tile)[1]
    return [(one.value, one.box) for one in labels.objects], labels.classes


def side_json(tile_set: TileSet, name: str):
    """Of the first part, where there are several."""
    return json.loads((tile_set.folder.joinpath(*tile_set_parts(tile_set)[:1]) / name).read_text())


def tile_set_parts(tile_set: TileSet):
    return FORMATS[tile_set.record.metadata_format].parts


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


EVERY = sorted(FORMATS)
FIRST_TILE = [
    (HOUSE, (10.0, 10.0, 20.0, 30.0)),
    (HOUSE, (18.0, 20.0, 30.0, 40.0)),
    (HOUSE, (60.0, 50.0, 64.0, 60.5)),
    (TREE, (15.0, 25.0, 25.0, 35.0)),
    (TREE, (40.0, 2.0, 54.0, 6.0)),
]


@pytest.mark.parametrize("metadata_format", EVERY)
def test_what_was_written_is_valid_and_reads_back(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format)
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made
    for name in ("esri_accumulated_stats.json", "esri_model_definition.emd"):
        assert side_json(made, name)["MetaDataMode"] == metadata_format
    assert made.record.settings["metadata_format"] == metadata_format


@pytest.mark.parametrize("metadata_format", EVERY)
def test_two_exports_are_the_same_byte_for_byte(tmp_path, metadata_format):
    first, second = (export(tmp_path, metadata_format, name=name) for name in ("one", "two"))
    assert digests(first.folder) == digests(second.folder)


@pytest.mark.parametrize("metadata_format", EVERY)
def test_without_the_record_it_reads_as_another_program_s(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format, tiles="all")
    ours = {t.image: in_words(made, t) for t in made.record.tiles}
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert found.record.made_elsewhere
    assert found.record.metadata_format == metadata_format
    assert {c.value for c in found.record.classes} == ({HOUSE, TREE} if FORMATS[metadata_format].has_classes else set())
    assert found.record.tiles
    for tile in found.record.tiles:
        assert in_words(found, tile) == ours[tile.image]


@pytest.mark.parametrize("metadata_format", [n for n in EVERY if FORMATS[n].has_pixels])
def test_pixels_are_those_of_classified_tiles(tmp_path, metadata_format):
    plain, other = export(tmp_path, "Classified_Tiles", name="plain"), export(tmp_path, metadata_format)
    assert [t.image for t in plain.record.tiles] == [t.image for t in other.record.tiles]
    for one, two in zip(plain.record.tiles, other.record.tiles, strict=True):
        assert np.array_equal(read_tile(plain, one).label, read_tile(other, two).label)
        assert one.pixels == two.pixels
    require_pixels(other)


@pytest.mark.parametrize("metadata_format", [n for n in EVERY if not FORMATS[n].has_pixels])
def test_what_a_pixel_model_cannot_learn_from_says_what_to_do(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format)
    for refused in (lambda: require_pixels(made), lambda: read_tile(made, made.record.tiles[0])):
        with pytest.raises(TileSetFormatError, match="cannot train") as caught:
            refused()
        assert "A class for each pixel" in caught.value.remedy


BOXES = ["PASCAL_VOC_rectangles", "KITTI_rectangles", "COCO_rectangles", "YOLO_rectangles"]


@pytest.mark.parametrize("metadata_format", BOXES)
def test_boxes_read_back_are_those_of_the_objects(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format)
    assert boxes(made, 0) == FIRST_TILE
    assert boxes(made, 64) == [(HOUSE, (0.0, 50.0, 6.25, 60.5))]
    assert boxes(made, 576) == [(HOUSE, (4.0, 10.0, 24.0, 30.0)), (TREE, (34.0, 10.0, 44.0, 20.0))]
    assert tile_at(made, 0).objects == {TREE: 2, HOUSE: 3}


def test_kitti_lines(tmp_path):
    made = export(tmp_path, "KITTI_rectangles")
    lines = (made.folder / "labels/000000001.txt").read_text()
    assert lines == "7 0.00 0 0.00 0.00 50.00 6.25 60.50 0.00 0.00 0.00 0.00 0.00 0.00 0.00\n"
    assert (made.folder / "map.txt").read_text().splitlines()[1] == "images\\000000001.tif  labels\\000000001.txt "


def test_yolo_lines_and_the_file_for_a_trainer(tmp_path):
    made = export(tmp_path, "YOLO_rectangles")
    assert (made.folder / "labels/000000001.txt").read_text() == "0 0.048828 0.863281 0.097656 0.164062\n"
    assert (made.folder / "data.yaml").read_text() == 'train: train.txt\nval: val.txt\nnames:\n  0: "House"\n  1: "Old tree"\n'
    for name, tiles in (("train", made.train), ("val", made.validation)):
        assert tiles
        assert (made.folder / f"{name}.txt").read_text().split() == [f"./{t.image}" for t in tiles]


def test_coco_has_outlines_and_run_lengths_for_holes(tmp_path):
    ring = at(10, 10, 20, 20).difference(at(12, 12, 18, 18))
    labels = table((HOUSE, ring), (TREE, MultiPolygon([at(40, 2, 44, 6), at(50, 2, 54, 6)])), (HOUSE, at(580, 10, 600, 30)))
    made = export(tmp_path, "COCO_rectangles", labels)
    content = side_json(made, "labels.json")
    assert content["categories"] == [{"id": 7, "name": "House", "supercategory": ""}, {"id": 3, "name": "Old tree", "supercategory": ""}]
    assert content["images"][0] == {"id": 1, "file_name": "000000000.tif", "width": 64, "height": 64}
    house, tree, other = content["annotations"]
    assert (house["id"], house["image_id"], house["bbox"], house["area"], house["iscrowd"]) == (1, 1, [10, 10, 10, 10], 64, 0)
    assert house["segmentation"]["counts"][:4] == [64 * 10 + 10, 10, 54, 10]
    assert (tree["category_id"], tree["area"], len(tree["segmentation"])) == (3, 32, 2)
    assert sorted(map(tuple, np.reshape(other["segmentation"][0], (4, 2)))) == [(4, 10), (4, 30), (24, 10), (24, 30)]
    read = read_labelled(made, tile_at(made, 0))[1].objects
    wanted = np.zeros((64, 64), dtype=bool)
    wanted[10:20, 10:20] = True
    wanted[12:18, 12:18] = False
    assert np.array_equal(shape_of(read[0], (64, 64)), wanted)
    assert shape_of(read[1], (64, 64)).sum() == 32


def test_multi_labelled_tiles_name_their_classes(tmp_path):
    made = export(tmp_path, "MultiLabeled_Tiles", tiles="all")
    named = {t.column: read_labelled(made, t)[1].classes for t in made.record.tiles}
    assert named == {0: (HOUSE, TREE), 64: (HOUSE,), 576: (HOUSE, TREE)}, "tiles without a class are left out"
    text = (made.folder / "labels/000000000.xml").read_text()
    assert text.count("<object>") == 1
    assert "<name>House,Old tree</name>" in text
    assert side_json(made, "esri_accumulated_stats.json")["ClassPixelStats"]["NumImagesPerClass"] == [3, 2]


@pytest.mark.shared_data
def test_images_only_have_the_side_files_of_genuine_ones(tmp_path, shared_data):
    made = export(tmp_path, "Export_Tiles")
    genuine = shared_data / "arcgis_artefacts/export_tiles_roads"
    assert sorted(p.name for p in made.folder.iterdir() if p.is_dir()) == ["ignore", "images"]
    ours, theirs = side_json(made, "esri_accumulated_stats.json"), json.loads((genuine / "esri_accumulated_stats.json").read_text())
    second_image = {"InputRastersProps2", "BandStatsState2", "NextTileIndex"}
    assert set(ours) == set(theirs) - second_image
    assert ours["FeatureStats"].keys() == theirs["FeatureStats"].keys()
    for key in ("NumClasses", "OutputFeatures", "MetaDataMode"):
        assert ours[key] == theirs[key]
    assert (made.folder / "stats.txt").read_text().splitlines()[1:] == (genuine / "stats.txt").read_text().splitlines()[1:]
    assert (made.folder / "map.txt").read_text().splitlines()[0] == "images\\000000000.tif "


def test_panoptic_has_pixels_and_instances(tmp_path):
    made = export(tmp_path, "Panoptic_Segmentation")
    masks = export(tmp_path, "RCNN_Masks", name="masks")
    listed = side_json(made, "esri_model_definition.emd")
    assert listed["Panoptic_Segmentation_Instance_Classes"] == listed["Classes"]
    for one, two in zip(made.record.tiles, masks.record.tiles, strict=True):
        assert one.objects == two.objects
        for value, path in one.masks.items():
            assert path == two.masks[value].replace("labels/", "labels2/")
            assert (made.folder / path).read_bytes() == (masks.folder / two.masks[value]).read_bytes()
    assert (made.folder / "map.txt").read_text().splitlines()[1] == (
        r"images\000000001.tif  labels\000000001.tif  labels2\House\000000001.tif "
    )
    text = (made.folder / "stats.txt").read_text()
    assert "Class feature statistics:" in text
    assert "Class pixel statistics:" in text


AROUND = ["Labeled_Tiles", "Imagenet"]


@pytest.mark.parametrize("metadata_format", AROUND)
def test_a_tile_of_the_tile_size_around_each_object(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format)
    windows = [(t.column, t.row) for t in made.record.tiles]
    # the middle of each label less half a tile, moved onto the raster: from above, without the uncertain one
    assert windows == [(0, 0), (0, 0), (0, 0), (15, 0), (558, 0), (576, 0), (33, 23)]
    assert [read_labelled(made, t)[1].classes for t in made.record.tiles] == [(v,) for v in (HOUSE, HOUSE, TREE, TREE, HOUSE, TREE, HOUSE)]
    with rasterio.open(tmp_path / "scene.tif") as file:
        scene = file.read()
    tile = made.record.tiles[6]
    assert np.array_equal(read_labelled(made, tile)[0].image, scene[:, 23:87, 33:97])
    assert tile.affine == Affine(1, 0, X0 + 33, 0, -1, Y0 - 23)
    assert side_json(made, "esri_accumulated_stats.json")["FeatureStats"]["NumFeaturesPerClass"] == [4, 3]
    assert side_json(made, "esri_model_definition.emd")["CropTileMode"] == "Fixed_Size"


def test_labelled_tiles_have_one_object_with_its_value_and_box(tmp_path):
    made = export(tmp_path, "Labeled_Tiles")
    (one,) = read_labelled(made, made.record.tiles[6])[1].objects
    assert (one.value, one.box) == (HOUSE, (27.0, 27.0, 37.25, 37.5))
    text = (made.folder / "labels/000000006.xml").read_text()
    assert text.count("<object>") == 1
    assert "<name>7</name>" in text


def test_imagenet_folders(tmp_path):
    made = export(tmp_path, "Imagenet")
    assert [t.image for t in made.record.tiles][:3] == [
        "images/House/000000000.tif",
        "images/House/000000001.tif",
        "images/Old_tree/000000002.tif",
    ]
    assert (made.folder / "images/House/000000000.tfw").exists()
    assert (made.folder / "map.txt").read_text().splitlines()[2] == r"images\Old_tree\000000002.tif "
    assert not (made.folder / "labels").exists()


@pytest.mark.parametrize("metadata_format", AROUND)
def test_tiles_as_large_as_their_objects(tmp_path, metadata_format):
    made = export(tmp_path, metadata_format, crop_mode="bounding_box")
    assert [(t.column, t.row, t.size) for t in made.record.tiles if t.column < 100] == [
        (40, 2, (14, 4)),
        (10, 10, (10, 20)),
        (18, 20, (12, 20)),
        (15, 25, (10, 10)),
        (60, 50, (11, 11)),
    ]
    for tile in made.record.tiles:
        assert read_labelled(made, tile)[0].image.shape[1:] == tile.size[::-1]
    assert side_json(made, "esri_model_definition.emd")["CropTileMode"] == "Variable_Size"
    assert validate_tile_set(made.folder) == []
    (made.folder / "terratune.json").unlink()
    assert [t.size for t in open_tile_set(made.folder).record.tiles] == [t.size for t in sorted(made.record.tiles, key=lambda t: t.image)]


def test_black_around_the_object(tmp_path):
    made = export(tmp_path, "Labeled_Tiles", blacken_around_feature=True)
    tile = made.record.tiles[0]
    pixels = read_labelled(made, tile)[0]
    inside = np.zeros((64, 64), dtype=bool)
    inside[10:30, 10:20] = True
    assert (pixels.image[:, ~inside] == 0).all()
    assert (pixels.image[:, inside] > 0).all()
    assert np.array_equal(pixels.valid, inside)
    assert tile.pixels == {HOUSE: 200}
    assert made.record.band_statistics[0].min == 10, "black is not counted"
    assert side_json(made, "esri_model_definition.emd")["BlackenAroundFeature"] is True


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"metadata_format": "RCNN_Masks", "crop_mode": "bounding_box"}, "cut in rows"),
        ({"metadata_format": "Imagenet", "blacken_around_feature": True}, "nothing can be made black"),
        ({"metadata_format": "KITTI"}, "not among the metadata formats"),
    ],
)
def test_choices_that_do_not_go_together(chosen, said):
    with pytest.raises(ValueError, match=said):
        ExportSettings(**chosen)


def test_voc_annotations(tmp_path):
    made = export(tmp_path, "PASCAL_VOC_rectangles")
    text = (made.folder / "labels/000000000.xml").read_text()
    assert "<filename>000000000.tif</filename>" in text
    assert "<depth>3</depth>" in text
    assert text.count("<name>7</name>") == 3, "the class value, not its name"
    assert "<ymax>60.50</ymax>" in text
    assert (made.folder / "map.txt").read_text().splitlines()[0] == "images\\000000000.tif  labels\\000000000.xml "


def test_feature_statistics(tmp_path):
    made = export(tmp_path, "PASCAL_VOC_rectangles")
    accumulated = side_json(made, "esri_accumulated_stats.json")
    assert accumulated["OutputFeatures"] is True
    stats = accumulated["FeatureStats"]
    assert [c["ClassValue"] for c in accumulated["Classes"]] == [HOUSE, TREE]
    assert stats["NumFeaturesPerClass"] == [5, 3]
    assert stats["NumFeaturesTotal"] == 8
    assert stats["NumImagesPerClass"] == [3, 2]
    assert stats["FeatureAreaPerClass"][0]["Min"] == pytest.approx(4 * 10.5)
    assert stats["FeatureAreaPerClass"][1]["Sum"] == pytest.approx(100 + 32 + 100)
    assert (made.folder / "stats.txt").read_text().splitlines()[1] == "features = 8"


def test_slivers_are_left_out_when_asked(tmp_path):
    """39 % of the house on the border lies in the first tile, 61 % in the next."""
    kept = export(tmp_path, "PASCAL_VOC_rectangles", min_polygon_overlap_ratio=0.4)
    assert boxes(kept, 0) == [b for b in FIRST_TILE if b[1][0] != 60.0]
    assert boxes(kept, 64) == [(HOUSE, (0.0, 50.0, 6.25, 60.5))]
    none = export(tmp_path, "PASCAL_VOC_rectangles", name="none", min_polygon_overlap_ratio=0.62)
    assert {t.column for t in none.record.tiles} == {0, 576}
    pixels = export(tmp_path, "Classified_Tiles", name="pixels", min_polygon_overlap_ratio=0.4)
    assert not (read_tile(pixels, tile_at(pixels, 0)).label[50:60, 60:] == HOUSE).any()


def test_rcnn_masks_are_the_whole_scene_cut_at_the_window(tmp_path):
    """Instance numbers differ by tile, so pixels are compared object by object; class by class nothing hides anything."""
    labels = village()
    made = export(tmp_path, "RCNN_Masks", labels)
    scene = {"out_shape": (192, 640), "transform": Affine(1, 0, X0, 0, -1, Y0)}
    for value, folder in ((HOUSE, "House"), (TREE, "Old_tree")):
        shapes = [(g, i + 1) for i, g in enumerate(labels.geometry[labels["class_value"] == value])]
        whole = rasterize(shapes, dtype="uint8", **scene)
        for tile in made.record.tiles:
            cut = whole[tile.row : tile.row + 64, tile.column : tile.column + 64]
            assert (value in tile.masks) == bool(cut.any())
            if value in tile.masks:
                assert tile.masks[value] == f"labels/{folder}/{tile.name}.tif"
                with rasterio.open(made.folder / tile.masks[value]) as file:
                    mask = file.read(1)
                    assert file.transform == tile.affine
                    assert file.crs == "EPSG:32611"
                seen, numbers = np.unique(cut, return_inverse=True)
                assert np.array_equal(mask, numbers.reshape(cut.shape) + (0 if seen[0] == 0 else 1))
                assert tile.objects[value] == mask.max()


def test_rcnn_side_files_name_classes_as_the_folders(tmp_path):
    made = export(tmp_path, "RCNN_Masks")
    assert sorted(p.name for p in (made.folder / "labels").iterdir()) == ["House", "Old_tree"]
    assert [c["Name"] for c in side_json(made, "esri_model_definition.emd")["Classes"]] == ["House", "Old_tree"]
    assert [c.name for c in made.record.classes] == ["House", "Old tree"]
    first = (made.folder / "map.txt").read_text().splitlines()[0]
    assert first == r"images\000000000.tif  labels\Old_tree\000000000.tif  labels\House\000000000.tif "


def test_an_object_under_another_of_its_class_is_not_counted(tmp_path):
    labels = table((HOUSE, at(10, 10, 20, 20)), (HOUSE, at(5, 5, 25, 25)), (HOUSE, at(30, 30, 31, 31)), (HOUSE, at(580, 5, 590, 15)))
    made = export(tmp_path, "RCNN_Masks", labels)
    mask = rasterio.open(made.folder / tile_at(made, 0).masks[HOUSE]).read(1)
    assert set(np.unique(mask)) == {0, 1, 2}
    assert (mask == 2).sum() == 1
    assert tile_at(made, 0).objects == {HOUSE: 2}


def test_more_than_255_objects_need_16_bits(tmp_path):
    dots = [(HOUSE, at(c, r, c + 1, r + 1)) for r in range(0, 60, 2) for c in range(0, 60, 2)]
    made = export(tmp_path, "RCNN_Masks", table(*dots, (HOUSE, at(580, 5, 590, 15))))
    with rasterio.open(made.folder / tile_at(made, 0).masks[HOUSE]) as file:
        assert file.dtypes == ("uint16",)
        assert np.array_equal(np.unique(file.read(1)), np.arange(901))
    with rasterio.open(made.folder / tile_at(made, 576).masks[HOUSE]) as file:
        assert file.dtypes == ("uint8",)
    assert validate_tile_set(made.folder) == []


def test_lines_and_points_are_widened_into_objects(tmp_path):
    labels = table((HOUSE, LineString([(X0 + 10, Y0 - 20), (X0 + 30, Y0 - 20)])), (TREE, Point(X0 + 600, Y0 - 32)))
    made = export(tmp_path, "PASCAL_VOC_rectangles", labels, buffer_m=3.0)
    assert boxes(made, 0) == [(HOUSE, (7.0, 17.0, 33.0, 23.0))]
    assert boxes(made, 576) == [(TREE, (21.0, 29.0, 27.0, 35.0))]


def pixels_to_map(transform: Affine, *boxes_in_pixels):
    return [polygon_transform(lambda x, y: transform @ (x, y), box(*b)) for b in boxes_in_pixels]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32611", Affine.translation(X0, Y0) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)),
        ("EPSG:4326", Affine(1e-5, 0, -117.0, 0, -1e-5, 36.0)),
    ],
)
def test_rasters_that_are_turned_or_in_degrees(tmp_path, crs, transform):
    image = write_scene(tmp_path / "turned.tif", crs=crs, transform=transform)
    wanted = [(10.0, 20.0, 30.0, 44.0), (50.0, 5.0, 70.0, 9.0), (580.0, 8.0, 590.0, 20.0)]
    labels = table(*((HOUSE, g) for g in pixels_to_map(transform, *wanted)), crs=crs)
    made = export(tmp_path, "PASCAL_VOC_rectangles", labels, images=[image])
    assert boxes(made, 0) == [(HOUSE, (10.0, 20.0, 30.0, 44.0)), (HOUSE, (50.0, 5.0, 64.0, 9.0))]
    area = side_json(made, "esri_accumulated_stats.json")["FeatureStats"]["FeatureAreaPerClass"][0]
    assert area["Sum"] == pytest.approx((20 * 24 + 20 * 4 + 10 * 12) * abs(transform.determinant))
    masks = export(tmp_path, "RCNN_Masks", labels, "masks", [image])
    assert tile_at(masks, 0).pixels[HOUSE] == 20 * 24 + 14 * 4
    around = export(tmp_path, "Imagenet", labels, "around", [image], crop_mode="bounding_box")
    assert [(t.column, t.row, t.size) for t in around.record.tiles] == [(50, 5, (20, 4)), (580, 8, (10, 12)), (10, 20, (20, 24))]


@pytest.mark.parametrize("metadata_format", EVERY)
def test_rasters_smaller_than_a_tile(tmp_path, metadata_format):
    """Two pictures of 40 x 30 pixels, far from each other; what lies beyond their edge is no imagery."""
    images = [
        write_scene(tmp_path / f"{i}.tif", width=40, height=30, transform=Affine(1, 0, X0 + 5000 * i, 0, -1, Y0), add=i) for i in range(2)
    ]
    labels = table(*((HOUSE, box(X0 + 5000 * i + 20, Y0 - 25, X0 + 5000 * i + 60, Y0 - 5)) for i in range(2)))
    made = export(tmp_path, metadata_format, labels, images=images)
    assert validate_tile_set(made.folder) == []
    assert len([t for t in made.record.tiles if not t.image.startswith("B/")]) == 2
    pixels, found = read_labelled(made, made.record.tiles[0])
    assert pixels.image.shape == (3, 64, 64)
    assert np.array_equal(np.argwhere(pixels.valid)[-1], (29, 39))
    assert made.record.tiles[0].pixels[HOUSE] == 20 * 20
    assert [one.box for one in found.objects] in ([], [(20.0, 5.0, 40.0, 25.0)]), "boxes end where the picture does"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_labels_in_another_crs_land_to_the_pixel(tmp_path, crs):
    made = export(tmp_path, "PASCAL_VOC_rectangles", village().to_crs(crs))
    for (value, found), (wanted, expected) in zip(boxes(made, 0), FIRST_TILE, strict=True):
        assert value == wanted
        assert found == pytest.approx(expected, abs=0.011)
    masks = export(tmp_path, "RCNN_Masks", village().to_crs(crs), "masks"), export(tmp_path, "RCNN_Masks", name="same")
    for one, two in zip(*(m.record.tiles for m in masks), strict=True):
        assert np.array_equal(read_tile(masks[0], one).label, read_tile(masks[1], two).label)


def test_objects_where_there_is_no_imagery_are_left_out(tmp_path):
    image = write_scene(tmp_path / "holes.tif", nodata=0, empty=(slice(0, 8), slice(0, 64)))
    made = export(tmp_path, "PASCAL_VOC_rectangles", images=[image])
    assert boxes(made, 0) == FIRST_TILE[:4]
    masks = export(tmp_path, "RCNN_Masks", name="masks", images=[image])
    assert tile_at(masks, 0).objects == {HOUSE: 3, TREE: 1}
    assert read_tile(masks, tile_at(masks, 0)).label[3, 42] == 255


@pytest.mark.shared_data
def test_real_roads_with_widths(shared_data, tmp_path):
    """NAIP, four bands, labels of another CRS with a width each: RCNN masks say the same pixels as Classified Tiles."""
    folder = shared_data / "naip_roads"
    image = ImageSource(name="claremont", source=str(folder / "images" / "claremont_2020_2.tif"))
    roads = gpd.read_file(folder / "roads_wgs84.geojson").assign(class_value=HOUSE)
    sets = []
    for name in ("Classified_Tiles", "RCNN_Masks", "Panoptic_Segmentation"):
        settings = ExportSettings(metadata_format=name, tile_size=64, stride=64)
        sets.append(export_tiles([image], roads, SCHEMA, settings, tmp_path / name))
        assert validate_tile_set(sets[-1].folder) == []
    for plain, *others in zip(*(one.record.tiles for one in sets), strict=True):
        for tile_set, other in zip(sets[1:], others, strict=True):
            assert np.array_equal(read_tile(sets[0], plain).label, read_tile(tile_set, other).label)
            assert plain.pixels == other.pixels


@pytest.mark.shared_data
@pytest.mark.parametrize("metadata_format", ["PASCAL_VOC_rectangles", "RCNN_Masks", "COCO_rectangles"])
def test_real_footprints(shared_data, tmp_path, metadata_format):
    """Four neighbouring pictures of Banepa: as many objects as footprints touch the tiles, each box around its footprint."""
    folder = shared_data / "buildings_oam_banepa"
    names = [f"OAM-{x}-{y}-19" for x in (386690, 386692) for y in (220241, 220243)]
    images = [ImageSource(name=n, source=str(folder / "images" / f"{n}.tif")) for n in names]
    footprints = gpd.read_file(folder / "labels.geojson").assign(class_value=HOUSE)
    settings = ExportSettings(metadata_format=metadata_format, tile_size=128, stride=128)
    made = export_tiles(images, footprints, SCHEMA, settings, tmp_path / "out")
    assert validate_tile_set(made.folder) == []
    assert sum(made.record.class_objects().values()) > 20
    by_crs: dict[str, gpd.GeoDataFrame] = {}
    for tile in made.record.tiles:
        local = by_crs.setdefault(tile.crs, footprints.to_crs(tile.crs))
        corner, far = tile.affine @ (0, 0), tile.affine @ (128, 128)
        inside = local.geometry.intersection(box(corner[0], far[1], far[0], corner[1]))
        inside = inside[shapely.area(inside.to_numpy()) > 0]
        if metadata_format != "RCNN_Masks":
            expected = sorted((~tile.affine @ (b[0], b[3])) + (~tile.affine @ (b[2], b[1])) for b in inside.bounds.to_numpy())
            found = sorted(one.box for one in read_labelled(made, tile)[1].objects)
            assert np.allclose(found, expected, atol=0.011)
        else:
            assert 0 < tile.objects[HOUSE] <= len(inside)


@pytest.mark.parametrize("metadata_format", BOXES)
def test_a_hair_that_reaches_into_a_tile_is_no_object(tmp_path, metadata_format):
    """As where a box in pixels ends at the edge of a tile, but for rounding on its way through degrees."""
    labels = table((HOUSE, at(30, 10, 64 + 1e-6, 20)), (HOUSE, at(70, 10, 80, 20)), (HOUSE, at(580, 10, 600, 30)))
    made = export(tmp_path, metadata_format, labels)
    assert boxes(made, 64) == [(HOUSE, (6.0, 10.0, 16.0, 20.0))]
    assert validate_tile_set(made.folder) == []
