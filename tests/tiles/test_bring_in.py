"""Tiles made elsewhere come in whole, checked, and never write or read outside their own folder."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from errors import TerratuneError, TileSetFormatError
from tests.tiles.conftest import write_tile_set
from tiles import bring_in
from tiles.bring_in import BringIn, bring_in_jobs, brought_in, is_tile_set, set_within, start_bring_in, tile_sets_below, work
from tiles.reader import read_tile
from tiles.tile_set import RECORD_FILE, list_tile_sets, open_tile_set
from workspace.files import write_json
from workspace.jobs import JobReporter, job_status


@pytest.fixture
def foreign(tmp_path) -> Path:
    """Tiles as another program leaves them: no record, no ignore masks."""
    folder = write_tile_set(tmp_path / "elsewhere" / "Our roads").folder
    (folder / RECORD_FILE).unlink()
    shutil.rmtree(folder / "ignore", ignore_errors=True)
    return folder


@pytest.fixture
def tiles(tmp_path) -> Path:
    folder = tmp_path / "project" / "tiles"
    folder.mkdir(parents=True)
    return folder


def zipped(folder: Path, target: Path, below: str = "", **more: bytes) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, below + path.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return target


def job(tiles: Path, upload: Path | None = None, source: Path | None = None, name: str = "Our roads") -> Path:
    folder = tiles / ".incoming" / "1-a"
    folder.mkdir(parents=True)
    if upload:
        upload.replace(folder / "upload.zip")
    write_json(folder / "settings.json", BringIn(name=name, source=None if source is None else str(source)).model_dump())
    return folder


def refused(tiles: Path, upload: Path) -> TerratuneError:
    folder = job(tiles, upload)
    with pytest.raises(TerratuneError) as caught:
        work(JobReporter(folder))
    assert list_tile_sets(tiles) == []
    assert [p.name for p in tiles.iterdir()] == [".incoming"]
    assert {p.name for p in folder.iterdir()} <= {"settings.json", "upload.zip", "status.json"}
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("below", ["", "one/", "one/two/"])
def test_a_zip_becomes_a_tile_set_of_the_project_however_deep_it_lies(foreign, tiles, tmp_path, below):
    folder = job(tiles, zipped(foreign, tmp_path / "a.zip", below))
    work(JobReporter(folder))
    (made,) = list_tile_sets(tiles)
    assert brought_in(folder) == ("our-roads", [])
    tile_set = open_tile_set(made)
    assert tile_set.record.made_elsewhere
    assert len(tile_set.record.tiles) == 4
    with rasterio.open(foreign / tile_set.record.tiles[0].image) as file:
        np.testing.assert_array_equal(read_tile(tile_set, tile_set.record.tiles[0]).image, file.read())
    assert not (folder / "upload.zip").exists()


def test_a_server_folder_is_copied_and_stays_as_it_is(foreign, tiles):
    before = {p: p.read_bytes() for p in foreign.rglob("*") if p.is_file()}
    (foreign / "link.tif").symlink_to("/etc/passwd")
    work(JobReporter(job(tiles, source=foreign)))
    (made,) = list_tile_sets(tiles)
    assert {p: p.read_bytes() for p in before} == before
    assert not (made / "link.tif").exists()
    assert not (foreign / RECORD_FILE).exists()


def test_an_export_of_ours_keeps_its_record(tiles, tmp_path):
    ours = write_tile_set(tmp_path / "ours")
    work(JobReporter(job(tiles, zipped(ours.folder, tmp_path / "a.zip"))))
    assert open_tile_set(list_tile_sets(tiles)[0]).record == ours.record


def test_what_is_not_as_the_format_asks_is_told(foreign, tiles, tmp_path):
    (foreign / "images" / "000000009.tif").write_bytes((foreign / "images" / "000000000.tif").read_bytes())
    folder = job(tiles, zipped(foreign, tmp_path / "a.zip"))
    work(JobReporter(folder))
    name, findings = brought_in(folder)
    assert any("000000009.tif" in finding for finding in findings)
    assert (tiles / name / "images").is_dir()


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_a_name_that_leads_outside_is_refused(foreign, tiles, tmp_path, name):
    assert "outside" in refused(tiles, zipped(foreign, tmp_path / "a.zip", **{name: b"x"})).fact
    assert not list(tmp_path.rglob("evil.txt"))


def test_links_hidden_and_strange_files_are_left_out(foreign, tiles, tmp_path):
    archive = zipped(
        foreign, tmp_path / "a.zip", **{".hidden/a.txt": b"x", "__MACOSX/a.txt": b"x", "run.sh": b"x", "images/a.vrt": b"<VRTDataset/>"}
    )
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("labels/link.tif")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    work(JobReporter(job(tiles, archive)))
    names = {p.name for p in list_tile_sets(tiles)[0].rglob("*")}
    assert not names & {"link.tif", "a.txt", "run.sh", "a.vrt"}


def test_a_picture_that_points_elsewhere_is_refused(foreign, tiles, tmp_path):
    (foreign / "images" / "000000000.tif").write_text('<VRTDataset rasterXSize="32" rasterYSize="32"></VRTDataset>')
    assert "virtual raster" in refused(tiles, zipped(foreign, tmp_path / "a.zip")).fact


def test_a_record_that_names_files_elsewhere_is_refused(tiles, tmp_path):
    ours = write_tile_set(tmp_path / "ours").folder
    record = json.loads((ours / RECORD_FILE).read_text())
    record["tiles"][0]["image"] = "../../../secret.tif"
    (ours / RECORD_FILE).write_text(json.dumps(record))
    assert "outside the set" in refused(tiles, zipped(ours, tmp_path / "a.zip")).fact


def test_too_much_is_refused_before_it_is_unpacked(foreign, tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(bring_in, "MAX_BYTES", 1000)
    assert "more than can be brought in" in refused(tiles, zipped(foreign, tmp_path / "a.zip")).fact


def test_something_else_is_told_as_such(tiles, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("hello")
    assert "no training tiles" in refused(tiles, zipped(other, tmp_path / "a.zip")).fact


def test_two_sets_in_one_archive(foreign, tmp_path):
    shutil.copytree(foreign, foreign.parent / "second")
    with pytest.raises(TileSetFormatError, match="2 tile sets"):
        set_within(foreign.parent)


def test_a_damaged_archive(foreign, tiles, tmp_path):
    path = zipped(foreign, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    assert "damaged" in refused(tiles, path).fact


def test_tile_sets_are_found_below_a_folder(foreign, tmp_path):
    assert is_tile_set(foreign)
    assert tile_sets_below([tmp_path]) == [foreign]


def test_as_a_process(foreign, tiles, tmp_path):
    with pytest.raises(TileSetFormatError, match="not a ZIP"):
        start_bring_in(tiles, "a.zip", upload=foreign / "map.txt")
    folder = start_bring_in(tiles, "A.zip", upload=zipped(foreign, tmp_path / "a.zip"))
    end = time.monotonic() + 60
    while not job_status(folder).ended and time.monotonic() < end:
        time.sleep(0.1)
    assert job_status(folder).state == "done", (folder / "log.txt").read_text()
    assert bring_in_jobs(tiles) == [folder]
    assert [p.name for p in list_tile_sets(tiles)] == ["a"]
