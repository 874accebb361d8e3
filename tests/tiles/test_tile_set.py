"""The record survives the disk; folders of other programs are understood."""

import json
import shutil

import pytest

from errors import EmptyTileSetError, SplitError, TileSetFormatError
from tests.tiles.conftest import write_tile_set
from tiles.apart import by_place
from tiles.layout import in_pixel_space
from tiles.reader import read_tile
from tiles.tile_set import list_tile_sets, open_tile_set, save_record


def as_another_program_left_it(folder):
    """No record, no checksums, no ignore masks, Windows line ends, stray side files."""
    write_tile_set(folder)
    for ours in ("terratune.json", "manifest.sha256"):
        (folder / ours).unlink()
    for path in (folder / "ignore").iterdir():
        path.unlink()
    (folder / "ignore").rmdir()
    (folder / "labels" / "000000000.tif.aux.xml").write_text("<PAMDataset/>")
    (folder / "images" / "000000000.tif.ovr").write_text("")
    text = (folder / "map.txt").read_text()
    (folder / "map.txt").write_bytes(text.replace("\n", "\r\n").encode())
    return folder


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_record_comes_back_as_it_was(tile_set):
    assert open_tile_set(tile_set.folder) == tile_set


def test_counts_per_side(tile_set):
    record = tile_set.record
    assert [t.name for t in tile_set.train] == ["000000000", "000000001"]
    assert [t.name for t in tile_set.validation] == ["000000002", "000000003"]
    assert record.class_pixels("train") == {0: 2 * 1024 - 32 - 64 - 64 - 2, 2: 64, 1: 32 + 64}
    assert record.class_pixels()[1] == 32 * (1 + 2 + 3 + 4)


def test_a_damaged_record_is_named(tile_set):
    (tile_set.folder / "terratune.json").write_text('{"classes": 3}')
    with pytest.raises(TileSetFormatError, match=r"terratune\.json"):
        open_tile_set(tile_set.folder)


def test_a_folder_that_arcgis_wrote(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    found = open_tile_set(folder)
    record = found.record
    assert record.made_elsewhere
    assert [c.name for c in record.classes] == ["Unpaved road", "Paved road"]
    assert record.classes[0].colour == "#ff9f1c"
    assert record.band_names == ("red", "green", "nir")
    assert record.resolution_m == pytest.approx(0.5, rel=1e-3)
    assert record.tile_size == 32
    assert [t.image for t in record.tiles] == [f"images/00000000{i}.tif" for i in range(4)]
    assert {"train", "validation"} == {t.split for t in record.tiles}
    assert record.band_statistics[0].max == 13
    label = read_tile(found, record.tiles[0]).label
    assert set(label.ravel().tolist()) == {0, 1, 2}
    save_record(found)
    assert open_tile_set(folder) == found


@pytest.mark.parametrize(("space", "raw"), [("PIXEL_SPACE", True), ("MAP_SPACE", False)])
def test_tiles_of_another_program_in_the_raw_picture_stay_so(tmp_path, space, raw):
    folder = as_another_program_left_it(tmp_path / "genuine")
    emd = folder / "esri_model_definition.emd"
    emd.write_text(json.dumps(json.loads(emd.read_text()) | {"ImageSpaceUsed": space}))
    assert in_pixel_space(open_tile_set(folder).record) == raw


def test_chips_that_lie_nowhere_are_split_by_number(tmp_path):
    import numpy as np
    import rasterio

    folder = as_another_program_left_it(tmp_path / "genuine")
    for part in ("images", "labels"):
        for path in (folder / part).glob("*.tif"):
            pixels = rasterio.open(path).read()
            path.with_suffix(".tfw").unlink()
            with rasterio.open(path, "w", driver="GTiff", width=32, height=32, count=len(pixels), dtype="uint8") as file:
                file.write(np.asarray(pixels))
    record = open_tile_set(folder).record
    assert [t.split for t in record.tiles] == ["train", "train", "gap", "validation"]
    assert record.resolution_m is None


def with_world_files_alone(folder, crs=True):
    """JPEG chips as ArcGIS writes them: the place is in a .jgw, the CRS (of newer versions) in the side files."""
    import rasterio

    for path in sorted((folder / "images").glob("*.tif")):
        with rasterio.open(path) as file:
            pixels, t = file.read(), file.transform
        with rasterio.open(path.with_suffix(".jpg"), "w", driver="JPEG", width=32, height=32, count=3, dtype="uint8") as file:
            file.write(pixels)
        path.with_suffix(".jgw").write_text("\n".join(map(str, (t.a, t.d, t.b, t.e, t.c + t.a / 2, t.f + t.e / 2))))
        path.unlink()
        path.with_suffix(".tfw").unlink(missing_ok=True)
        path.with_suffix(".jpg.aux.xml").unlink(missing_ok=True)
    if not crs:
        for name in ("esri_accumulated_stats.json", "esri_model_definition.emd"):
            change_json(folder / name, MinCellSize=None, MaxCellSize=None)
    return folder


@pytest.mark.parametrize("crs", [True, False])
def test_chips_with_world_files_alone_are_split_by_place(tmp_path, crs):
    folder = with_world_files_alone(as_another_program_left_it(tmp_path / "genuine"), crs)
    record = open_tile_set(folder).record
    assert {t.crs for t in record.tiles} == ({"EPSG:32611"} if crs else {""})
    assert record.resolution_m == (pytest.approx(0.5, rel=1e-3) if crs else None)
    assert {t.place for t in record.tiles} <= {f"place {i}" for i in range(1, 5)}
    assert not [f for f in by_place(record) if f.harm == "leak"]


def test_chips_of_one_place_alone_open_and_are_told_to_leak(tmp_path):
    """They could not be split by place: to look at them is allowed, to train only for who insists."""
    import rasterio

    folder = as_another_program_left_it(tmp_path / "genuine")
    for i, path in enumerate(sorted((folder / "images").glob("*.tif"))):
        with rasterio.open(path, "r+") as file:
            file.transform = rasterio.Affine(0.5, 0, 500_000 + 4 * i, 0, -0.5, 4_000_000)
        path.with_suffix(".tfw").unlink(missing_ok=True)
    record = open_tile_set(folder).record
    assert [t.split for t in record.tiles] == ["train", "train", "gap", "validation"]
    assert [f.harm for f in by_place(record)] == ["leak"]


@pytest.mark.shared_data
def test_scenes_that_lie_nowhere_have_every_class_on_both_sides(tmp_path, shared_data):
    """Seven pictures of each of two classes, as folders: the last of each is kept, with one between used by neither."""
    folder = as_another_program_left_it(tmp_path / "scenes")
    for part in ("images", "labels"):
        shutil.rmtree(folder / part)
    for name in ("forest", "runway"):
        (folder / "images" / name).mkdir(parents=True)
        for path in sorted((shared_data / "scenes_ucmerced" / name).glob("*.tif")):
            (folder / "images" / name / path.name).write_bytes(path.read_bytes())
    classes = [{"Value": i, "Name": name, "Color": [-1, -1, -1]} for i, name in enumerate(("forest", "runway"), 1)]
    change_json(folder / "esri_model_definition.emd", Classes=classes, MetaDataMode="Imagenet")
    change_json(folder / "esri_accumulated_stats.json", MetaDataMode="Imagenet")
    record = open_tile_set(folder).record
    assert [t.split for t in record.tiles] == (["train"] * 5 + ["gap", "validation"]) * 2
    assert [f.harm for f in by_place(record)] == ["leak"]


@pytest.mark.parametrize("name", ["map.txt", "esri_accumulated_stats.json", "esri_model_definition.emd"])
def test_a_missing_side_file_is_named(tmp_path, name):
    folder = as_another_program_left_it(tmp_path / "genuine")
    (folder / name).unlink()
    with pytest.raises(TileSetFormatError, match=name):
        open_tile_set(folder)


def test_a_missing_stats_txt_does_no_harm(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    (folder / "stats.txt").unlink()
    assert len(open_tile_set(folder).record.tiles) == 4


def test_another_metadata_format_is_named(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    change_json(folder / "esri_accumulated_stats.json", MetaDataMode="Point_Cloud")
    with pytest.raises(TileSetFormatError, match="Point_Cloud"):
        open_tile_set(folder)


def test_a_class_without_a_value_is_named(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    change_json(folder / "esri_model_definition.emd", Classes=[{"Name": "Road", "Color": [1, 2, 3]}])
    with pytest.raises(TileSetFormatError, match="Class 1"):
        open_tile_set(folder)


def test_a_label_value_that_is_no_class_is_named_with_its_file(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    change_json(folder / "esri_model_definition.emd", Classes=[{"Value": 1, "Name": "Road", "Color": [-1, -1, -1]}])
    with pytest.raises(TileSetFormatError, match=r"labels/000000000.tif holds the value 2"):
        open_tile_set(folder)


def test_images_without_labels(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    for path in (folder / "labels").iterdir():
        path.unlink()
    with pytest.raises(EmptyTileSetError):
        open_tile_set(folder)


def test_two_tiles_that_lie_nowhere_cannot_be_split(tmp_path):
    folder = as_another_program_left_it(tmp_path / "genuine")
    for number in (1, 2, 3):
        (folder / f"images/00000000{number}.tif").unlink()
    with pytest.raises(SplitError):
        open_tile_set(folder)


def test_list_is_newest_first(tmp_path):
    import os

    for age, name in ((100, "old"), (1, "new")):
        write_tile_set(tmp_path / name)
        os.utime(tmp_path / name / "terratune.json", (1_700_000_000 - age, 1_700_000_000 - age))
    assert [p.name for p in list_tile_sets(tmp_path)] == ["new", "old"]


@pytest.mark.shared_data
def test_genuine_side_files_are_understood_up_to_the_chips_they_lack(shared_data):
    """The stored genuine set has no chips, so the error must be about them, not about its side files."""
    with pytest.raises(TileSetFormatError, match="labels"):
        open_tile_set(shared_data / "arcgis_artefacts" / "classified_tiles_buildings")
    with pytest.raises(EmptyTileSetError, match="No image"):
        open_tile_set(shared_data / "arcgis_artefacts" / "pascal_voc_palms")
