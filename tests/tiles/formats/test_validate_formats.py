"""What is wrong in a set of any format is named with its file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio

from errors import TileSetFormatError
from tests.labeling.export.test_formats import export
from tiles.tile_set import open_tile_set
from tiles.validate import validate_tile_set


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def change_mask(path, change):
    with rasterio.open(path) as file:
        mask = change(file.read(1))
    with rasterio.open(path, "w", driver="GTiff", width=mask.shape[1], height=mask.shape[0], count=1, dtype="uint8") as file:
        file.write(mask, 1)


def change_coco(folder, change):
    path = folder / "labels.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


HOUSES = "labels/House/000000000.tif"
DAMAGES = [
    ("PASCAL_VOC_rectangles", lambda f: rewrite(f / "labels/000000000.xml", "<name>7<", "<name>House<"), "labels/000000000.xml", "'House'"),
    ("PASCAL_VOC_rectangles", lambda f: rewrite(f / "labels/000000000.xml", ">64.00<", ">80.00<"), "labels/000000000.xml", "80"),
    ("PASCAL_VOC_rectangles", lambda f: (f / "labels/000000000.xml").write_text("<"), "labels/000000000.xml", "damaged"),
    ("PASCAL_VOC_rectangles", lambda f: (f / "labels/000000000.xml").unlink(), "images/000000000.tif", "none"),
    ("PASCAL_VOC_rectangles", lambda f: shutil.copy(f / "labels/000000000.xml", f / "labels/9.xml"), "labels/9.xml", "none named 9"),
    ("PASCAL_VOC_rectangles", lambda f: shutil.rmtree(f / "labels"), "labels", "no such folder"),
    ("PASCAL_VOC_rectangles", lambda f: (f / "images/000000000.jpg").write_bytes(b""), "images/000000000.jpg", "2, with different endings"),
    ("RCNN_Masks", lambda f: change_mask(f / HOUSES, lambda m: m[:32]), HOUSES, "64 x 32"),
    ("RCNN_Masks", lambda f: change_mask(f / HOUSES, lambda m: np.where(m == 2, 9, m).astype(np.uint8)), HOUSES, "3 in place of 2"),
    ("RCNN_Masks", lambda f: change_mask(f / HOUSES, lambda m: m * 0), HOUSES, "none"),
    ("RCNN_Masks", lambda f: (f / "labels/House").rename(f / "labels/7"), "labels/7", "no class"),
    ("KITTI_rectangles", lambda f: rewrite(f / "labels/000000001.txt", "7 0.00 0 ", "9 0.00 0 "), "labels/000000001.txt", "'9'"),
    ("KITTI_rectangles", lambda f: (f / "labels/000000001.txt").write_text("7 1 2\n"), "labels/000000001.txt", "3 columns, not 15"),
    ("KITTI_rectangles", lambda f: rewrite(f / "labels/000000001.txt", "6.25", "-"), "labels/000000001.txt", "is not 'class"),
    ("YOLO_rectangles", lambda f: (f / "labels/000000001.txt").write_text("2 0.5 0.5 0.1 0.1\n"), "labels/000000001.txt", "'2'"),
    ("YOLO_rectangles", lambda f: (f / "labels/000000001.txt").write_text("0 0.5 0.5 1.5 0.1\n"), "labels/000000001.txt", "-16, 28.8"),
    ("MultiLabeled_Tiles", lambda f: rewrite(f / "labels/000000001.xml", ">House<", ">7<"), "labels/000000001.xml", "'7'"),
    ("MultiLabeled_Tiles", lambda f: rewrite(f / "labels/000000001.xml", ">House<", "><"), "labels/000000001.xml", "none"),
    ("Export_Tiles", lambda f: (f / "images/000000001.tif").write_bytes(b""), "images/000000001.tif", "damaged"),
    ("Panoptic_Segmentation", lambda f: shutil.rmtree(f / "labels2"), "labels2", "no such folder"),
    ("Panoptic_Segmentation", lambda f: (f / "labels2/House").rename(f / "labels2/Hut"), "labels2/Hut", "no class"),
    (
        "Panoptic_Segmentation",
        lambda f: rewrite(f / "esri_model_definition.emd", '"Panoptic_Segmentation_Instance_Classes"', '"Other"'),
        "esri_model_definition.emd",
        "none",
    ),
    ("Labeled_Tiles", lambda f: rewrite(f / "labels/000000001.xml", "<name>7<", "<name>House<"), "labels/000000001.xml", "'House'"),
    ("Labeled_Tiles", lambda f: (f / "labels/000000001.xml").write_text("<annotation/>"), "labels/000000001.xml", "0"),
    ("Imagenet", lambda f: (f / "images/House").rename(f / "images/7"), "images/7", "no class"),
    ("Imagenet", lambda f: shutil.copy(f / "images/House/000000000.tif", f / "images/9.tif"), "images/9.tif", "it in none"),
    ("PASCAL_VOC_rectangles", lambda f: rewrite(f / "labels/000000000.xml", ">54.00<", ">40.00<"), "labels/000000000.xml", "40, 2, 40, 6"),
    ("PASCAL_VOC_rectangles", lambda f: shutil.copy(f / "map.txt", f / "labels/9.tif.aux.xml"), "labels/9.tif.aux.xml", "facts on a picture"),
    ("COCO_rectangles", lambda f: (f / "labels.json").unlink(), "labels.json", "is missing"),
    ("COCO_rectangles", lambda f: change_coco(f, lambda c: c.pop("images")), "labels.json", "is damaged"),
    ("COCO_rectangles", lambda f: change_coco(f, lambda c: c["annotations"][0].update(category_id=9)), "labels.json", "9"),
    ("COCO_rectangles", lambda f: change_coco(f, lambda c: c["annotations"][0].update(id=2)), "labels.json", "1 used again"),
    ("COCO_rectangles", lambda f: change_coco(f, lambda c: c["annotations"][0].update(bbox=[60, 0, 9, 5])), "labels.json", "60, 0, 69, 5"),
]


@pytest.mark.parametrize(("metadata_format", "damage", "file", "found"), DAMAGES)
def test_each_damage_is_named(tmp_path, metadata_format, damage, file, found):
    made = export(tmp_path, metadata_format)
    damage(made.folder)
    findings = validate_tile_set(made.folder)
    assert any(f.file == file and found in f.found for f in findings), [str(f) for f in findings]


def test_a_class_that_is_not_in_the_list_stops_a_foreign_set_with_its_file(tmp_path):
    made = export(tmp_path, "PASCAL_VOC_rectangles")
    (made.folder / "terratune.json").unlink()
    rewrite(made.folder / "labels/000000000.xml", "<name>7<", "<name>House<")
    with pytest.raises(TileSetFormatError, match=r"labels/000000000\.xml holds the value 'House'"):
        open_tile_set(made.folder)
