"""A division that another program made is used where nothing leaks across it."""

import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine

from errors import TileSetFormatError
from tests.tiles.test_tile_set import as_another_program_left_it, change_json
from tiles.division import divided_folders, made_division
from tiles.reader import read_tile
from tiles.tile_set import TileSet, open_tile_set, save_record
from tiles.validate import quick_findings, validate_tile_set

IMAGES = [f"images/{i}.tif" for i in range(5)]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "lists",
    [
        {"train.txt": "images/0.tif\nimages/1.tif\n", "val.txt": "images/2.tif\nimages/3.tif"},
        {"train.txt": "./images/0.tif\n./images/1.tif", "valid.txt": "/home/x/set/images/2.tif\n/home/x/set/images/3.tif"},
        {"train.txt": "images\\0.tif\r\nimages\\1.tif\r\n", "validation.txt": "2.tif\r\n3.tif\r\n"},
        {"data.yaml": "path: .\ntrain: 'a.txt'  # ours\nval: \"b.txt\"\n", "a.txt": "0.tif\n1.tif", "b.txt": "2.tif\n3.tif"},
    ],
)
def test_lists_of_files(tmp_path, lists):
    for name, text in lists.items():
        write(tmp_path / name, text)
    assert made_division(tmp_path, IMAGES) == ["train", "train", "validation", "validation", "gap"]


def test_folders_in_a_yolo_file(tmp_path):
    write(tmp_path / "data.yaml", "train: ../set/train/images\nval: images/val\nnames:\n  0: Road\n")
    images = ["train/images/a.tif", "images/val/b.tif", "images/c.tif"]
    assert made_division(tmp_path, images) == ["train", "validation", "gap"]


@pytest.mark.parametrize("text", ["", "names: []", "train: none.txt\nval: none.txt\n"])
def test_no_division(tmp_path, text):
    write(tmp_path / "data.yaml", text)
    assert made_division(tmp_path, IMAGES) is None
    assert made_division(tmp_path / "no", IMAGES) is None


def without_places(folder):
    for part in ("images", "labels"):
        for path in (folder / part).glob("*.tif"):
            pixels = rasterio.open(path).read()
            path.with_suffix(".tfw").unlink(missing_ok=True)
            with rasterio.open(path, "w", driver="GTiff", width=32, height=32, count=len(pixels), dtype="uint8") as file:
                file.write(np.asarray(pixels))
    return folder


def listed(folder):
    (folder / "train.txt").write_text("images/000000003.tif\nimages/000000002.tif\n")
    (folder / "val.txt").write_text("images/000000000.tif\n")
    return folder


@pytest.mark.parametrize("placed", [True, False])
def test_a_set_with_its_own_lists(tmp_path, placed):
    folder = listed(as_another_program_left_it(tmp_path / "set"))
    record = open_tile_set(folder if placed else without_places(folder)).record
    assert record.made_division
    assert [t.split for t in record.tiles] == ["validation", "gap", "train", "train"]
    findings = [f for f in validate_tile_set(folder) if "aux" not in f.file]
    assert [f.harm for f in findings] == ([] if placed else ["none"])
    assert placed or "divided by who made them" in findings[0].found


def test_lists_that_leak_are_not_used(tmp_path):
    folder = listed(as_another_program_left_it(tmp_path / "set"))
    with rasterio.open(folder / "images/000000003.tif") as one, rasterio.open(folder / "images/000000000.tif", "r+") as other:
        other.write(one.read())
    record = open_tile_set(folder).record
    assert not record.made_division


@pytest.fixture
def two_folders(tmp_path):
    """A folder with a complete export for each side, far from each other, with the same file names."""
    for side, east in (("train", 0), ("val", 50_000)):
        folder = as_another_program_left_it(tmp_path / "both" / side)
        for path in (*(folder / "images").glob("*.tif"), *(folder / "labels").glob("*.tif")):
            with rasterio.open(path, "r+") as file:
                file.transform = Affine.translation(east, 0) @ file.transform
                if side == "val" and file.count == 3:
                    file.write(file.read() + 90)
    return tmp_path / "both"


def test_folders_train_and_val_are_one_set(two_folders):
    assert [p.name for p in divided_folders(two_folders)] == ["train", "val"]
    found = open_tile_set(two_folders)
    assert found.record.made_division
    assert [t.image for t in found.train] == [f"train/images/00000000{i}.tif" for i in range(4)]
    assert len({t.name for t in found.record.tiles}) == 8
    assert [read_tile(found, t).label[0, 0] for t in (found.train[0], found.validation[0])] == [1, 1]
    assert {f.harm for f in validate_tile_set(two_folders)} == {"none"}


def test_folders_that_share_ground_are_split_by_place(two_folders):
    for path in (two_folders / "val/images").glob("*.tif"):
        with rasterio.open(path, "r+") as file:
            file.transform = Affine.translation(-50_000, 0) @ file.transform
    record = open_tile_set(two_folders).record
    assert not record.made_division
    splits = {t.name: t.split for t in record.tiles}
    assert all(splits[f"train-00000000{i}"] == splits[f"val-00000000{i}"] for i in range(4))


def test_a_leak_between_folders_is_told_at_once_where_there_is_a_record(two_folders):
    found = open_tile_set(two_folders)
    onto = found.train[0].transform
    moved = tuple(t.model_copy(update={"transform": onto}) if t == found.validation[0] else t for t in found.record.tiles)
    save_record(TileSet(two_folders, found.record.model_copy(update={"tiles": moved})))
    assert [f.file for f in quick_findings(two_folders) if f.harm == "leak"] == ["val/images/000000000.tif"]


def test_folders_that_differ_are_refused(two_folders):
    change_json(
        two_folders / "val/esri_model_definition.emd",
        Classes=[{"Value": v, "Name": n, "Color": [1, 2, 3]} for v, n in ((1, "A"), (2, "B"))],
    )
    with pytest.raises(TileSetFormatError, match="differ"):
        open_tile_set(two_folders)
    assert any("differ" in f.found and f.harm == "grave" for f in validate_tile_set(two_folders))


def test_damage_in_one_folder_is_named_with_it(two_folders):
    (two_folders / "val/images/000000001.tif").write_bytes(b"x")
    assert validate_tile_set(two_folders)[0].file == "val/images/000000001.tif"


def test_one_folder_alone_is_an_ordinary_set(two_folders):
    shutil.rmtree(two_folders / "val")
    assert divided_folders(two_folders) == []
    with pytest.raises(TileSetFormatError, match="train"):
        open_tile_set(two_folders)
