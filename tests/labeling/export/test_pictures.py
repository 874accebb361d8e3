"""Tiles as PNG and JPEG: what is kept, what is refused, and that everything reads back; odd class lists in the formats that name files by them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from PIL import Image

from errors import LabelError, UnknownClassError, UnsupportedRasterError
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings
from tests.labeling.export.test_formats import EVERY, HOUSE, TREE, at, export, in_words, side_json
from tests.labeling.export.test_make import table, write_scene
from tiles.formats import FORMATS
from tiles.preview import read_sample
from tiles.reader import read_labelled, read_tile, require_pixels
from tiles.tile_set import open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import ClassDef, ClassSchema

PICTURES = [("PNG", ".png", ".pgw"), ("JPEG", ".jpg", ".jgw")]


@pytest.mark.parametrize("metadata_format", EVERY)
@pytest.mark.parametrize(("picture", "suffix", "world"), PICTURES)
def test_every_format_reads_back_from_png_and_jpeg(tmp_path, metadata_format, picture, suffix, world):
    """Labels as from TIFF; images the same, or nearly; the place of every tile is in files beside it."""
    plain = export(tmp_path, metadata_format, name="plain")
    made = export(tmp_path, metadata_format, image_format=picture)
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made
    assert {(made.folder / t.image).suffix for t in made.record.tiles} == {suffix}
    for one, two in zip(plain.record.tiles, made.record.tiles, strict=True):
        assert two.image == one.image.replace(".tif", suffix)
        assert (one.pixels, one.objects, one.split) == (two.pixels, two.objects, two.split)
        ours, theirs = read_labelled(plain, one), read_labelled(made, two)
        assert np.array_equal(ours[0].label, theirs[0].label)
        assert np.array_equal(ours[0].valid, theirs[0].valid)
        difference = np.abs(ours[0].image.astype(int) - theirs[0].image)[:, ours[0].valid]
        assert difference.max() <= (0 if picture == "PNG" else 40)
        assert difference.mean() <= (0 if picture == "PNG" else 4)
        assert in_words(plain, one) == in_words(made, two)
        with rasterio.open(made.folder / two.image) as file:
            assert file.transform.almost_equals(two.affine)
            assert file.crs == "EPSG:32611"
        assert (made.folder / two.image).with_suffix(world).is_file()
    labels = [p for t in made.record.tiles for p in (t.label, *t.masks.values()) if p]
    assert all(p.endswith((".png", ".xml", ".txt", ".json")) for p in labels)
    assert not list(made.folder.glob("labels*/**/*.aux.xml"))


@pytest.mark.parametrize("metadata_format", EVERY)
@pytest.mark.parametrize("picture", ["PNG", "JPEG"])
def test_png_and_jpeg_without_the_record_are_split_by_place(tmp_path, metadata_format, picture):
    made = export(tmp_path, metadata_format, tiles="all", image_format=picture)
    ours = {t.image: in_words(made, t) for t in made.record.tiles}
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert {t.crs for t in found.record.tiles} == {"EPSG:32611"}
    assert not any(t.place in {"first tiles", "last tiles"} for t in found.record.tiles), "by place, or as it came: not by number"
    for tile in found.record.tiles:
        assert in_words(found, tile) == ours[tile.image]
    if FORMATS[metadata_format].has_pixels:
        require_pixels(found)
        first = found.record.tiles[0]
        same = next(t for t in made.record.tiles if t.image == first.image)
        learnt = read_tile(made, same).label
        assert np.array_equal(read_tile(found, first).label, np.where(learnt == 255, 0, learnt)), "without our ignore masks"


def test_lists_name_the_files_there_are(tmp_path):
    made = export(tmp_path, "Classified_Tiles", image_format="JPEG")
    assert (made.folder / "map.txt").read_text().splitlines()[0] == "images\\000000000.jpg  labels\\000000000.png "
    voc = export(tmp_path, "PASCAL_VOC_rectangles", name="voc", image_format="JPEG")
    assert "<filename>000000000.jpg</filename>" in (voc.folder / "labels/000000000.xml").read_text()
    coco = export(tmp_path, "COCO_rectangles", name="coco", image_format="PNG")
    assert side_json(coco, "labels.json")["images"][0]["file_name"] == "000000000.png"
    yolo = export(tmp_path, "YOLO_rectangles", name="yolo", image_format="PNG")
    assert (yolo.folder / "train.txt").read_text().splitlines()[0].endswith(".png")


def test_other_programs_open_the_pictures(tmp_path):
    """Pillow, which ArcGIS's library reads three bands with."""
    for picture, suffix in (("PNG", "png"), ("JPEG", "jpg")):
        made = export(tmp_path, "Classified_Tiles", name=picture, image_format=picture)
        image, label = Image.open(made.folder / f"images/000000000.{suffix}"), Image.open(made.folder / "labels/000000000.png")
        assert (image.size, image.mode, image.format) == ((64, 64), "RGB", picture)
        assert (label.mode, label.format) == ("L", "PNG")
        assert np.array_equal(np.asarray(label), np.where((known := read_tile(made, made.record.tiles[0]).label) == 255, 0, known))


def test_jpeg_quality_makes_larger_and_truer_files(tmp_path):
    sizes = {}
    for quality in (30, 95):
        made = export(tmp_path, "Export_Tiles", name=str(quality), image_format="JPEG", jpeg_quality=quality)
        sizes[quality] = sum(p.stat().st_size for p in (made.folder / "images").glob("*.jpg"))
        assert made.record.settings["jpeg_quality"] == quality
    assert sizes[95] > 1.3 * sizes[30]


def test_sixteen_bits_and_values_without_imagery_in_png(tmp_path):
    image = write_scene(tmp_path / "deep.tif", dtype="uint16", add=4000, nodata=0, empty=(slice(0, 8), slice(0, 64)))
    made = export(tmp_path, "Classified_Tiles", images=[image], image_format="PNG")
    tile = next(t for t in made.record.tiles if (t.column, t.row) == (0, 0))
    pixels = read_tile(made, tile)
    assert pixels.image.dtype == np.uint16
    assert pixels.image[0, 20, 5] == 4015
    assert not pixels.valid[:8].any()
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert not read_tile(found, next(t for t in found.record.tiles if t.name == tile.name)).valid[:8].any(), "told beside the picture"


@pytest.mark.parametrize(
    ("picture", "scene"), [("PNG", {"bands": 5}), ("JPEG", {"bands": 2}), ("JPEG", {"dtype": "uint16"}), ("PNG", {"dtype": "float32"})]
)
def test_what_a_picture_cannot_hold_is_refused_before_anything_is_written(tmp_path, picture, scene):
    with pytest.raises(UnsupportedRasterError, match=f"a {picture} picture holds") as caught:
        export(tmp_path, "Classified_Tiles", images=[write_scene(tmp_path / "scene.tif", **scene)], image_format=picture)
    assert "TIFF" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("picture", ["PNG", "JPEG"])
def test_png_and_jpeg_sets_can_be_trained_on(tmp_path, picture):
    made = export(tmp_path, "Classified_Tiles", image_format=picture)
    require_pixels(made)
    (made.folder / "terratune.json").unlink()
    require_pixels(open_tile_set(made.folder))


def test_chosen_classes_have_instances(tmp_path):
    made = export(tmp_path, "Panoptic_Segmentation", instance_classes=(TREE,))
    definition = side_json(made, "esri_model_definition.emd")
    assert [c["Name"] for c in definition["Panoptic_Segmentation_Instance_Classes"]] == ["Old_tree"]
    assert [c["Name"] for c in definition["Classes"]] == ["House", "Old_tree"]
    assert [p.name for p in (made.folder / "labels2").iterdir()] == ["Old_tree"]
    assert {v for t in made.record.tiles for v in t.masks} == {TREE}
    assert {v for t in made.record.tiles for v in t.pixels} >= {HOUSE, TREE}, "the areas of all classes stay"
    assert side_json(made, "esri_accumulated_stats.json")["FeatureStats"]["NumFeaturesPerClass"] == [0, 3]
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made
    drawn = read_sample(made, next(t for t in made.record.tiles if (t.column, t.row) == (0, 0)))
    assert not np.array_equal(drawn.labelled[12, 12], drawn.picture[12, 12]), "areas without objects are seen, too"
    words = {t.image: in_words(made, t) for t in made.record.tiles}
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert {t.image: in_words(found, t) for t in found.record.tiles} == words
    (made.folder / "labels2" / "Old_tree").rename(made.folder / "labels2" / "House")
    assert any(f.file == "labels2/House" for f in validate_tile_set(made.folder))


def test_classes_that_cannot_have_instances(tmp_path):
    with pytest.raises(UnknownClassError, match="Class value 99"):
        export(tmp_path, "Panoptic_Segmentation", instance_classes=(99,))
    with pytest.raises(LabelError, match="never learnt"):
        export(tmp_path, "Panoptic_Segmentation", instance_classes=(255,))
    with pytest.raises(ValueError, match="leave instance_classes empty"):
        ExportSettings(metadata_format="RCNN_Masks", instance_classes=(1,))


ODD = ClassSchema(
    classes=tuple(
        ClassDef(value=v, name=n, colour="#123456")
        for v, n in ((200, "A B"), (3, "A_B"), (17, "a,b"), (18, "a b!"), (250, 'Kiefer & "Fichte" <süß>'), (4, "道路"), (90, "CON"))
    )
)


@pytest.mark.parametrize("metadata_format", [n for n in EVERY if FORMATS[n].has_classes])
@pytest.mark.parametrize("picture", ["TIFF", "PNG"])
def test_odd_names_and_values_with_gaps(tmp_path, metadata_format, picture):
    """Names that would be one folder, or no folder; values from 3 to 250. All come back as they were."""
    places = [(10, 10), (30, 10), (10, 40), (40, 40), (50, 8), (28, 28), (4, 30)]
    far = [(x + 576, y) for x, y in places]
    labels = table(*((c.value, at(x, y, x + 8, y + 8)) for where in (places, far) for c, (x, y) in zip(ODD.classes, where, strict=True)))
    settings = ExportSettings(metadata_format=metadata_format, tile_size=64, stride=64, image_format=picture)
    made = export_tiles([write_scene(tmp_path / "scene.tif")], labels, ODD, settings, tmp_path / "out")
    grave = [f for f in validate_tile_set(made.folder) if f.harm not in {"none", "leak"}]
    assert grave == [], "but for the scene, which is the same every 50 columns"
    assert open_tile_set(made.folder) == made

    def values(tile_set):
        found: dict[str, set[int]] = {}
        for tile in tile_set.record.tiles:
            pixels, words = read_labelled(tile_set, tile)
            seen = {one.value for one in words.objects} | set(words.classes) | ({int(v) for v in np.unique(pixels.label)} - {0, 255})
            found[tile.image] = seen
        return found

    ours = values(made)
    assert set().union(*ours.values()) == {c.value for c in ODD.classes}
    if not FORMATS[metadata_format].per_object:
        assert all(seen == {c.value for c in ODD.classes} for seen in ours.values())
    (made.folder / "terratune.json").unlink()
    assert values(open_tile_set(made.folder)) == ours
    lines = (made.folder / "map.txt").read_text(encoding="utf-8").splitlines()
    assert all(len(line.split()) == len(line.rstrip().split("  ")) for line in lines), "no blanks in names"


def test_more_than_255_objects_in_png(tmp_path):
    dots = [(HOUSE, at(c, r, c + 1, r + 1)) for r in range(0, 60, 2) for c in range(0, 60, 2)]
    made = export(tmp_path, "RCNN_Masks", table(*dots, (HOUSE, at(580, 5, 590, 15))), image_format="PNG")
    first = next(t for t in made.record.tiles if (t.column, t.row) == (0, 0))
    with rasterio.open(made.folder / first.masks[HOUSE]) as file:
        assert file.dtypes == ("uint16",)
        assert np.array_equal(np.unique(file.read(1)), np.arange(901))
    assert first.objects == {HOUSE: 900}
    (made.folder / "terratune.json").unlink()
    assert max(t.objects[HOUSE] for t in open_tile_set(made.folder).record.tiles) == 900
