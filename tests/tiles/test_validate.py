"""The validator names the file, what was expected, what was found, and what comes of it."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from tests.tiles.conftest import write_tile_set
from tests.tiles.test_tile_set import as_another_program_left_it
from tiles.tile_set import open_tile_set, save_record
from tiles.validate import app, quick_findings, validate_tile_set

STATS, DEFINITION, RECORD = "esri_accumulated_stats.json", "esri_model_definition.emd", "terratune.json"
IMAGE, LABEL = "images/000000002.tif", "labels/000000002.tif"


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_record(folder, change):
    path = folder / RECORD
    content = json.loads(path.read_text())
    change(content["tiles"])
    path.write_text(json.dumps(content))


def first_band(folder, file, key, **changes):
    bands = json.loads((folder / file).read_text())[key]
    change_json(folder / file, **{key: [bands[0] | changes, *bands[1:]]})


def write_raster(path, array, dtype="uint8"):
    with rasterio.open(path) as file:
        profile = {"crs": file.crs, "transform": file.transform}
    with rasterio.open(
        path, "w", driver="GTiff", width=array.shape[2], height=array.shape[1], count=len(array), dtype=dtype, **profile
    ) as file:
        file.write(array)


def change_pixels(path, change, dtype="uint8"):
    write_raster(path, change(rasterio.open(path).read()), dtype)


def as_numbers(folder, dtype, fill):
    """Every image in numbers of another type, `fill` in one pixel of the third."""
    for path in (folder / "images").glob("*.tif"):
        change_pixels(path, lambda pixels: pixels.astype(dtype), dtype)
    pixels = rasterio.open(folder / IMAGE).read()
    pixels[0, 3, 3] = fill
    write_raster(folder / IMAGE, pixels, dtype)


def rename_key(folder, file, key):
    (folder / file).write_text((folder / file).read_text().replace(f'"{key}"', '"Other"'))


def rename(folder, old, new):
    for part in ("images", "labels"):
        for path in (folder / part).glob(f"{old}.*"):
            path.rename(path.with_name(path.name.replace(old, new)))
    (folder / "map.txt").write_text((folder / "map.txt").read_text().replace(old, new))


def emd_class(**changes):
    """The first class in the .emd, changed; None takes a key away."""

    def damage(folder):
        first, second = json.loads((folder / DEFINITION).read_text())["Classes"]
        first = {k: v for k, v in (first | changes).items() if v is not None}
        change_json(folder / DEFINITION, Classes=[first, second])

    return damage


OURS = [
    (lambda f: (f / "map.txt").write_text(""), "map.txt", "none", "elsewhere"),
    (lambda f: (f / "map.txt").unlink(), "map.txt", "no such file", "elsewhere"),
    (lambda f: (f / "stats.txt").unlink(), "stats.txt", "no such file", "none"),
    (lambda f: (f / STATS).write_text("{"), STATS, "cannot be read as JSON", "elsewhere"),
    (lambda f: shutil.rmtree(f / "images"), "images", "no such folder", "grave"),
    (lambda f: shutil.rmtree(f / "labels"), "labels", "no such folder", "grave"),
    (lambda f: (f / LABEL).unlink(), RECORD, "no such file", "grave"),
    (lambda f: (f / "ignore/000000000.tif").write_bytes(b"x"), "ignore/000000000.tif", "damaged", "grave"),
    (lambda f: (f / RECORD).write_text("{}"), RECORD, "damaged", "grave"),
    (lambda f: change_record(f, lambda tiles: tiles.append(tiles[0])), RECORD, "two", "grave"),
    (lambda f: change_record(f, lambda tiles: tiles[2].update(transform=tiles[0]["transform"])), IMAGE, "overlaps or touches", "leak"),
    (lambda f: change_record(f, lambda tiles: tiles[2].update(crs="", transform=[1, 0, 0, 0, 1, 0])), "images", "no place", "leak"),
    (lambda f: change_record(f, lambda tiles: tiles[2]["transform"].__setitem__(2, 500_020)), IMAGE, "nearer than that", "none"),
    (lambda f: shutil.copy(f / "images/000000001.tif", f / IMAGE), IMAGE, "the training tile images/000000001.tif", "leak"),
]
THEIRS = [
    (lambda f: (f / "map.txt").unlink(), "map.txt", "no such file", "grave"),
    (lambda f: (f / STATS).unlink(), STATS, "no such file", "grave"),
    (lambda f: (f / DEFINITION).unlink(), DEFINITION, "no such file", "grave"),
    (lambda f: (f / "stats.txt").unlink(), "stats.txt", "no such file", "none"),
    (lambda f: (f / STATS).write_text("{"), STATS, "cannot be read as JSON", "grave"),
    (lambda f: change_json(f / STATS, MetaDataMode="KITTI"), STATS, "'KITTI'", "grave"),
    (lambda f: change_json(f / DEFINITION, MetaDataMode="RCNN_Masks"), DEFINITION, "'RCNN_Masks'", "elsewhere"),
    # map.txt
    (lambda f: (f / "map.txt").write_text(""), "map.txt", "none", "grave"),
    (lambda f: (f / "map.txt").write_text("images\\9.tif  labels\\9.tif \n"), "map.txt", "no such file", "elsewhere"),
    (lambda f: (f / "map.txt").open("a").write("images\\9.tif  labels\\9.tif \n"), "map.txt", "no such file", "none"),
    (lambda f: (f / "map.txt").write_text((f / "map.txt").read_text() * 2), "map.txt", "several; 3 more like it", "none"),
    # classes
    (lambda f: change_json(f / DEFINITION, Classes=[]), DEFINITION, "[]", "grave"),
    (emd_class(Color=None), DEFINITION, "None", "elsewhere"),
    (emd_class(Name=""), DEFINITION, "''", "grave"),
    (emd_class(Name="Paved road"), DEFINITION, "'Paved road'", "grave"),
    (emd_class(Value=1), DEFINITION, "1", "grave"),
    (emd_class(Value=255), DEFINITION, "255", "grave"),
    (emd_class(Value=7), STATS, "[2, 1]", "elsewhere"),
    (emd_class(Value=7), "labels/000000000.tif", "the value 2", "grave"),
    # numbers
    (lambda f: change_json(f / STATS, NumTiles=9), STATS, "9", "elsewhere"),
    (lambda f: rename_key(f, STATS, "ClassPixelStats"), STATS, "neither", "none"),
    (lambda f: (rename_key(f, DEFINITION, "AllTilesStats"), as_numbers(f, "uint16", 3)), DEFINITION, "none", "elsewhere"),
    (lambda f: change_json(f / STATS, NumBands=4), STATS, "4", "elsewhere"),
    (lambda f: change_json(f / STATS, TileSizeX=64), STATS, "64 x 32", "elsewhere"),
    (lambda f: change_json(f / STATS, NumClasses=3), STATS, "2", "elsewhere"),
    (lambda f: first_band(f, DEFINITION, "AllTilesStats", Max=10), DEFINITION, "10, not above 10", "elsewhere"),
    (lambda f: first_band(f, STATS, "BandStatsState", Max=10), STATS, "10, not above 10", "elsewhere"),
    (lambda f: change_json(f / DEFINITION, AllTilesStats=[{"Min": 0, "Max": 1}]), DEFINITION, "1", "elsewhere"),
    (lambda f: change_json(f / DEFINITION, InputRastersProps={"BandNames": ["Red"]}), DEFINITION, "1", "elsewhere"),
    # names
    (lambda f: (f / "labels/000000002.tif").unlink(), IMAGE, "none", "none"),
    (lambda f: (f / "images/000000002.tif").unlink(), LABEL, "none named 000000002", "none"),
    (lambda f: shutil.copy(f / IMAGE, f / "images/000000002.png"), IMAGE, "2, with different endings", "grave"),
    (lambda f: rename(f, "000000002", "tile 2"), "images/tile 2.tif", "one with; 1 more like it", "elsewhere"),
    (lambda f: (f / "labels/9.tif.aux.xml").write_text("<PAMDataset/>"), "labels/000000000.tif.aux.xml", "1 more like it", "none"),
    (lambda f: (f / "labels/9.xml").write_text("<annotation/>"), "labels/9.xml", "an XML file that is none", "elsewhere"),
    (lambda f: (f / "labels/Thumbs.db").write_bytes(b""), "labels/Thumbs.db", "a file that is none", "none"),
    # pixels
    (lambda f: (f / IMAGE).write_bytes(b"x"), IMAGE, "damaged", "grave"),
    (lambda f: (f / LABEL).write_bytes(b"x"), LABEL, "damaged", "grave"),
    (lambda f: write_raster(f / LABEL, np.full((1, 32, 32), 255, np.uint8)), LABEL, "255", "grave"),
    (lambda f: write_raster(f / LABEL, np.zeros((1, 16, 16), np.uint8)), LABEL, "16 x 16", "grave"),
    (lambda f: write_raster(f / LABEL, np.zeros((3, 32, 32), np.uint8)), LABEL, "3", "grave"),
    (lambda f: change_pixels(f / LABEL, lambda p: p.astype(np.uint16), "uint16"), LABEL, "uint16", "elsewhere"),
    (lambda f: change_pixels(f / IMAGE, lambda p: p[:1]), IMAGE, "1 band", "grave"),
    (lambda f: change_pixels(f / IMAGE, lambda p: p[:, :16]), IMAGE, "32 x 16", "grave"),
    (lambda f: change_pixels(f / IMAGE, lambda p: p.astype(np.uint16), "uint16"), IMAGE, "uint16", "grave"),
    (lambda f: change_pixels(f / IMAGE, lambda p: p * 0), IMAGE, "one value in every pixel", "none"),
    (lambda f: as_numbers(f, "float32", np.nan), IMAGE, "NaN", "elsewhere"),
    (lambda f: change_pixels(f / IMAGE, lambda p: rasterio.open(f / "images/000000001.tif").read()), IMAGE, "the same pixels", "none"),
]


def other_program(folder):
    """A good set that another program left, with one harmless thing: an .aux.xml among the labels."""
    return as_another_program_left_it(folder)


@pytest.mark.parametrize(("damage", "file", "found", "harm"), OURS)
def test_each_damage_of_a_set_of_ours_is_named(tile_set, damage, file, found, harm):
    damage(tile_set.folder)
    named(tile_set.folder, file, found, harm)


@pytest.mark.parametrize(("damage", "file", "found", "harm"), THEIRS)
def test_each_damage_of_a_set_made_elsewhere_is_named(tmp_path, damage, file, found, harm):
    folder = other_program(tmp_path / "set")
    damage(folder)
    named(folder, file, found, harm)


def named(folder, file, found, harm):
    findings = validate_tile_set(folder)
    hits = [f for f in findings if f.file == file and found in f.found and f.harm == harm]
    assert hits, [str(f) for f in findings]
    assert all(f.remedy for f in findings), [str(f) for f in findings if not f.remedy]
    result = CliRunner().invoke(app, [str(folder)])
    assert file in result.output
    assert (result.exit_code == 0) == all(f.harm == "none" for f in findings)


def test_a_good_set_of_ours(tile_set):
    assert validate_tile_set(tile_set.folder) == quick_findings(tile_set.folder) == []
    result = CliRunner().invoke(app, [str(tile_set.folder)])
    assert result.exit_code == 0
    assert "nothing to complain about" in result.output


def test_a_good_set_made_elsewhere(tmp_path):
    findings = validate_tile_set(other_program(tmp_path / "set"))
    assert [(f.file, f.harm) for f in findings] == [("labels/000000000.tif.aux.xml", "none")]


def test_a_class_that_only_one_side_shows(tile_set):
    change_record(tile_set.folder, lambda tiles: [t["pixels"].pop("2") for t in tiles if t["split"] == "validation"])
    (finding,) = quick_findings(tile_set.folder)
    assert (finding.found, finding.harm) == ("it only in training", "none")
    assert "no score" in finding.remedy


@pytest.mark.parametrize(("part", "meant"), [("images", "set"), ("..", "set")])
def test_the_folder_above_or_below_the_one_meant(tmp_path, part, meant):
    folder = write_tile_set(tmp_path / "parent" / "set").folder
    (finding,) = validate_tile_set((folder / part).resolve())
    assert meant in finding.found
    assert finding.remedy == f"Give '{meant}'."


def test_images_one_folder_deeper(tmp_path):
    folder = other_program(tmp_path / "set")
    (folder / "images").rename(folder / "inner")
    (folder / "images").mkdir()
    (folder / "inner").rename(folder / "images" / "images")
    named(folder, "images", "images/images", "grave")


def test_quick_findings_open_no_picture(tile_set):
    (tile_set.folder / IMAGE).write_bytes(b"x")
    assert quick_findings(tile_set.folder) == []
    assert validate_tile_set(tile_set.folder)


def test_the_worst_comes_first(tile_set):
    (tile_set.folder / "stats.txt").unlink()
    (tile_set.folder / "map.txt").unlink()
    (tile_set.folder / IMAGE).write_bytes(b"x")
    assert [f.harm for f in validate_tile_set(tile_set.folder)] == ["grave", "elsewhere", "none"]


def test_it_can_be_stopped(tile_set):
    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate_tile_set(tile_set.folder, stop)


def test_a_folder_that_is_not_there(tmp_path):
    assert validate_tile_set(tmp_path / "no")[0].found == "nothing"


def test_a_record_kept_of_a_set_made_elsewhere(tmp_path):
    folder = other_program(tmp_path / "set")
    save_record(open_tile_set(folder))
    assert [f.harm for f in validate_tile_set(folder)] == ["none"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["pascal_voc_palms", "export_tiles_roads", "classified_tiles_buildings"])
def test_genuine_side_files_raise_no_alarm_but_for_the_pictures_they_lack(shared_data, name):
    lacking = {"map.txt", "images", "labels", "NumTiles"}
    for finding in validate_tile_set(shared_data / "arcgis_artefacts" / name):
        assert finding.file in lacking or any(word in finding.expected for word in ("NumTiles", "image of the same name")), str(finding)
