"""A tile set is there whole or not at all."""

import errno

import numpy as np
import pytest
import rasterio
from affine import Affine

from errors import DiskFullError, EmptyTileSetError, TileSetError
from tests.tiles.conftest import tile_arrays, write_tile_set
from tiles import file_queue
from tiles.tile_set import list_tile_sets, open_tile_set
from tiles.writer import TileSetWriter, remove_tile_set, require_space


def add_one(writer):
    image, valid, label = tile_arrays(0)
    return writer.add(image, valid, label, Affine(1, 0, 0, 0, -1, 0), "EPSG:32611", None)


def everything(folder):
    return sorted(p.name for p in folder.iterdir())


def test_files_of_a_finished_set(tile_set):
    assert everything(tile_set.folder) == [
        "esri_accumulated_stats.json",
        "esri_model_definition.emd",
        "ignore",
        "images",
        "labels",
        "manifest.sha256",
        "map.txt",
        "stats.txt",
        "terratune.json",
    ]
    assert everything(tile_set.folder / "images")[:2] == ["000000000.tfw", "000000000.tif"]
    assert everything(tile_set.folder / "labels") == everything(tile_set.folder / "images")
    assert everything(tile_set.folder.parent) == ["set"]


def test_label_files_never_hold_255(tile_set):
    for tile in tile_set.record.tiles:
        with rasterio.open(tile_set.folder / tile.label) as file:
            assert file.count == 1
            assert file.dtypes == ("uint8",)
            assert set(np.unique(file.read())) <= {0, 1, 2}
            assert file.crs == "EPSG:32611"
            assert file.transform == tile.affine


def test_a_pillow_reader_sees_the_same_pixels(tile_set):
    from PIL import Image

    tile = tile_set.record.tiles[0]
    with Image.open(tile_set.folder / tile.image) as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), tile_arrays(0)[0].transpose(1, 2, 0))
    with Image.open(tile_set.folder / tile.label) as picture:
        assert picture.mode == "L"


def test_an_error_halfway_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), TileSetWriter(tmp_path / "set") as writer:
        add_one(writer)
        raise RuntimeError
    assert everything(tmp_path) == []


def test_an_error_halfway_leaves_the_older_set(tmp_path):
    write_tile_set(tmp_path / "set")
    with pytest.raises(RuntimeError), TileSetWriter(tmp_path / "set") as writer:
        add_one(writer)
        raise RuntimeError
    assert len(open_tile_set(tmp_path / "set").record.tiles) == 4
    assert everything(tmp_path) == ["set"]


def test_what_is_being_written_is_not_listed(tmp_path):
    write_tile_set(tmp_path / "done")
    with TileSetWriter(tmp_path / "set") as writer:
        add_one(writer)
        hidden = next(p for p in tmp_path.iterdir() if p.name.startswith("."))
        (hidden / "terratune.json").write_text("{}")
        assert list_tile_sets(tmp_path) == [tmp_path / "done"]


def test_an_older_set_is_replaced(tmp_path):
    write_tile_set(tmp_path / "set")
    (tmp_path / "set" / "images" / "000000099.tif").touch()
    write_tile_set(tmp_path / "set")
    assert not (tmp_path / "set" / "images" / "000000099.tif").exists()
    assert everything(tmp_path) == ["set"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "letter.txt").touch()
    with pytest.raises(TileSetError, match="already holds other files"):
        TileSetWriter(tmp_path / "set")


def test_a_set_without_tiles_is_refused(tmp_path, tile_set):
    with pytest.raises(EmptyTileSetError), TileSetWriter(tmp_path / "empty") as writer:
        writer.finish(tile_set.record.model_copy(update={"tiles": ()}))
    assert not (tmp_path / "empty").exists()


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch, tile_set):
    def full(folder, files):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_queue, "_write", full)
    with pytest.raises(DiskFullError) as caught, TileSetWriter(tmp_path / "full") as writer:
        add_one(writer)
        writer.finish(tile_set.record)
    assert caught.value.remedy
    assert everything(tmp_path) == ["set"]


def test_too_little_room_is_told_before_the_start(tmp_path):
    with pytest.raises(DiskFullError, match="only"):
        require_space(tmp_path / "not yet there" / "set", 10**18)
    require_space(tmp_path / "set", 1000)


def test_remove(tmp_path):
    write_tile_set(tmp_path / "set")
    remove_tile_set(tmp_path / "set")
    assert everything(tmp_path) == []
    (tmp_path / "other").mkdir()
    with pytest.raises(TileSetError):
        remove_tile_set(tmp_path / "other")
    assert (tmp_path / "other").exists()


def test_the_reserve_is_named_where_it_is_what_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr("tiles.writer.shutil.disk_usage", lambda path: type("Usage", (), {"free": 37_000_000}))
    with pytest.raises(DiskFullError, match=r"about 2 MB and 67 MB must stay free.*only 37 MB are free"):
        require_space(tmp_path, 2_000_000)
