"""Pairs of images, and unpaired collections: what lies where, how it is fitted, and that it is read back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from errors import EmptyTileSetError, NoOverlapError, SplitError, TileSetFormatError
from imagery.raster import inspect_raster
from labeling.export import estimate_tiles, export_tiles
from labeling.export.cut_imagery import Statistics
from labeling.export.plan import plan_export
from labeling.export.second import second_source, with_second
from labeling.export.settings import ExportSettings, ImageSource
from tests.labeling.export.test_make import UNPAVED, X0, Y0, table, two_tracks, write_scene
from tiles.reader import read_labelled, read_tile, require_pixels
from tiles.tile_set import TileSet, open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import starter_schema

PAIRED = ["Classified_Tiles", "Export_Tiles"]


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif")


def export(tmp_path, scene, metadata_format, second, name="out", labels=None, **chosen):
    source = second.source if isinstance(second, ImageSource) else second
    settings = ExportSettings(metadata_format=metadata_format, tile_size=64, stride=64, second_raster=source, **chosen)
    images = scene if isinstance(scene, list) else [scene]
    return export_tiles(images, two_tracks() if labels is None else labels, starter_schema(), settings, tmp_path / name)


def later(path, *, dtype="uint16", nodata=None, empty=None, **where):
    """The scene at another time: two bands of 16 bits whose values say where a pixel is."""
    width, height = where.pop("width", 640), where.pop("height", 192)
    rows, columns = np.mgrid[:height, :width]
    values = np.stack([1000 + columns, 2000 + rows]).astype(dtype)
    if empty is not None:
        values[(slice(None), *empty)] = nodata
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 2, "dtype": dtype, "crs": "EPSG:32611", "nodata": nodata}
    with rasterio.open(path, "w", **(profile | {"transform": Affine(1, 0, X0, 0, -1, Y0)} | where)) as file:
        file.write(values)
    return str(path)


@pytest.mark.parametrize("metadata_format", PAIRED)
def test_a_pair_on_the_same_pixels_has_the_very_values_of_both(tmp_path, scene, metadata_format):
    made = export(tmp_path, scene, metadata_format, later(tmp_path / "later.tif"))
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made
    assert sorted(p.name for p in made.folder.iterdir() if p.is_dir()) == sorted(
        ["images", "images2", *(["labels"] if metadata_format == "Classified_Tiles" else [])]
    )
    with rasterio.open(scene.source) as file:
        first = file.read()
    for tile in made.record.tiles:
        pixels = read_labelled(made, tile)[0]
        assert np.array_equal(pixels.image, first[:, tile.row : tile.row + 64, tile.column : tile.column + 64])
        assert np.array_equal(pixels.image2[0], np.broadcast_to(1000 + tile.column + np.arange(64), (64, 64)))
        assert np.array_equal(pixels.image2[1][:, 0], 2000 + tile.row + np.arange(64))
        with rasterio.open(made.folder / tile.image2) as file:
            assert file.transform == tile.affine
            assert file.crs == "EPSG:32611"


def test_side_files_tell_of_both_as_the_genuine_set_does(tmp_path, scene):
    made = export(tmp_path, scene, "Export_Tiles", later(tmp_path / "later.tif"))
    definition = json.loads((made.folder / "esri_model_definition.emd").read_text())
    accumulated = json.loads((made.folder / "esri_accumulated_stats.json").read_text())
    assert [len(definition[k]) for k in ("AllTilesStats", "AllTilesStats2")] == [3, 2]
    columns = np.concatenate([1000 + t.column + np.arange(64) for t in made.record.tiles])
    stats = definition["AllTilesStats2"][0]
    assert (stats["Min"], stats["Max"]) == (columns.min(), columns.max())
    assert stats["Mean"] == pytest.approx(columns.mean())
    assert stats["StdDev"] == pytest.approx(columns.std())
    assert accumulated["BandStatsState2"][0]["Num"] == 64 * 64 * len(made.record.tiles)
    assert accumulated["InputRastersProps2"]["BandNames"] == list(made.record.second.band_names)
    assert (made.folder / "map.txt").read_text().splitlines()[0] == r"images\000000000.tif images2\000000000.tif "
    assert made.record.second.dtype == "uint16"
    assert made.record.settings["second_raster"] == "later", "no path of the machine that made it"


@pytest.mark.shared_data
def test_the_keys_are_those_of_the_genuine_set(tmp_path, scene, shared_data):
    made = export(tmp_path, scene, "Export_Tiles", later(tmp_path / "later.tif"))
    genuine = shared_data / "arcgis_artefacts/export_tiles_roads"
    for name, ours_alone in (("esri_accumulated_stats.json", {"NextTileIndex"}), ("esri_model_definition.emd", set())):
        ours, theirs = (json.loads((folder / name).read_text()) for folder in (made.folder, genuine))
        placeholders = {k for k, v in theirs.items() if isinstance(v, str) and "optional" in v}
        assert set(theirs) - placeholders - ours_alone <= set(ours)
        assert [k for k in ours if k in theirs] == [k for k in theirs if k in ours] or name.endswith("emd")


@pytest.mark.parametrize("metadata_format", PAIRED)
def test_pairs_without_the_record_read_as_another_program_s(tmp_path, scene, metadata_format):
    made = export(tmp_path, scene, metadata_format, later(tmp_path / "later.tif"), tiles="all")
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert found.record.second.model_dump(exclude={"band_statistics"}) == made.record.second.model_dump(exclude={"band_statistics"})
    assert [t.image2 for t in found.record.tiles] == [t.image2 for t in made.record.tiles]
    for one, two in zip(found.record.second.band_statistics, made.record.second.band_statistics, strict=True):
        assert one.mean == pytest.approx(two.mean)
    ours, theirs = (read_labelled(s, s.record.tiles[3])[0] for s in (made, found))
    assert np.array_equal(ours.image2, theirs.image2)


@pytest.mark.parametrize(
    ("crs", "transform", "size", "off"),
    [
        ("EPSG:32611", Affine(0.4, 0, X0 - 3, 0, -0.4, Y0 + 2), (1700, 520), 0.6),
        ("EPSG:32611", Affine(3, 0, X0 - 9, 0, -3, Y0 + 9), (230, 80), 3.0),
        ("EPSG:3857", None, (900, 400), 2.0),
    ],
)
def test_another_grid_is_fitted_to_the_first(tmp_path, scene, crs, transform, size, off):
    """A second raster that holds its own UTM coordinates shows, in every tile, those of the tile's pixels."""
    if transform is None:
        x, y = Transformer.from_crs(32611, 3857, always_xy=True).transform(X0 - 20, Y0 + 20)
        transform = Affine(1, 0, x, 0, -1, y)
    columns, rows = size
    at = transform @ (np.arange(columns) + 0.5, 0.5), transform @ (0.5, np.arange(rows) + 0.5)
    xs, ys = np.meshgrid(at[0][0], at[1][1])
    east, south = Transformer.from_crs(crs, 32611, always_xy=True).transform(xs, ys)
    path = tmp_path / "grid.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=2, dtype="float32", crs=crs, transform=transform
    ) as file:
        file.write(np.stack([east - X0, Y0 - south]).astype("float32"))
    made = export(tmp_path, scene, "Classified_Tiles", str(path))
    assert len(made.record.tiles) == 2
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        wanted = np.stack(np.meshgrid(tile.column + np.arange(64) + 0.5, tile.row + np.arange(64) + 0.5))
        assert np.abs(pixels.image2 - wanted)[:, 4:-4, 4:-4].max() < off
        assert np.abs((pixels.image2 - wanted)[:, 4:-4, 4:-4].mean()) < 0.1, "not shifted"


def test_codes_are_not_mixed_when_the_nearest_is_taken(tmp_path, scene):
    codes = np.random.default_rng(0).choice([7, 250], (1, 300, 900)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "codes.tif",
        "w",
        driver="GTiff",
        width=900,
        height=300,
        count=1,
        dtype="uint8",
        crs="EPSG:32611",
        transform=Affine(0.77, 0, X0, 0, -0.77, Y0),
    ) as file:
        file.write(codes)
    for way, kept in (("nearest", True), ("smooth", False)):
        made = export(tmp_path, scene, "Export_Tiles", str(tmp_path / "codes.tif"), name=way, second_resampling=way)
        seen = set(np.unique(read_labelled(made, made.record.tiles[0])[0].image2))
        assert (seen == {7, 250}) is kept


def test_what_only_one_of_the_two_shows_is_not_learnt(tmp_path, scene):
    """Without imagery in the second: never learnt. Tiles that it does not show at all are left out."""
    second = later(tmp_path / "later.tif", width=600, nodata=0, empty=(slice(0, 40), slice(0, 20)))
    made = export(tmp_path, scene, "Classified_Tiles", second, tiles="all")
    assert max(t.column for t in made.record.tiles) == 576
    first = next(t for t in made.record.tiles if (t.column, t.row) == (0, 0))
    pixels = read_tile(made, first)
    assert not pixels.valid[:40, :20].any()
    assert (pixels.label[:40, :20] == 255).all()
    assert (pixels.label[30, 20:60] == UNPAVED).all()
    edge = read_tile(made, next(t for t in made.record.tiles if (t.column, t.row) == (576, 0)))
    assert np.array_equal(edge.valid.all(axis=0), np.arange(64) < 24)
    assert made.record.band_statistics[0].count > made.record.second.band_statistics[0].count
    assert [f for f in validate_tile_set(made.folder) if f.harm != "none"] == []
    short = later(tmp_path / "short.tif", width=576)
    with pytest.raises(SplitError, match=r"place|validation"):
        export(tmp_path, scene, "Classified_Tiles", short, name="one_place")


def test_turned_and_coarser_pairs_stay_together(tmp_path, scene):
    made = export(tmp_path, scene, "Export_Tiles", later(tmp_path / "later.tif"), rotation_angle=90)
    assert {t.angle for t in made.record.tiles} == {0, 90, 180, 270}
    for tile in made.record.tiles:
        pixels = read_labelled(made, tile)[0]
        x, y = tile.affine @ (10.5, 20.5)
        assert pixels.image2[0, 20, 10] == pytest.approx(1000 + x - X0 - 0.5, abs=1)
        assert pixels.image2[1, 20, 10] == pytest.approx(2000 + Y0 - y - 0.5, abs=1)
    coarse = export(tmp_path, scene, "Export_Tiles", later(tmp_path / "later2.tif"), name="coarse", cell_size_m=2.0, tiles="all")
    for tile in coarse.record.tiles:
        pixels = read_labelled(coarse, tile)[0]
        x, _ = tile.affine @ (10.5, 20.5)
        if pixels.valid[20, 10]:
            assert pixels.image2[0, 20, 10] == pytest.approx(1000 + x - X0 - 0.5, abs=1)


def test_a_second_image_of_elsewhere_is_refused(tmp_path, scene):
    far = later(tmp_path / "far.tif", transform=Affine(1, 0, X0 + 90_000, 0, -1, Y0))
    with pytest.raises(NoOverlapError, match="The second image, far, lies at longitude") as caught:
        export(tmp_path, scene, "Classified_Tiles", far)
    assert "same place" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_the_second_image_is_not_cut_as_a_first_one(tmp_path, scene):
    other = ImageSource(name="later", source=later(tmp_path / "later.tif"))
    made = export(tmp_path, [scene, other], "Export_Tiles", other)
    assert {t.raster for t in made.record.tiles} == {"scene"}
    with pytest.raises(EmptyTileSetError, match="only image chosen is the second"):
        export(tmp_path, [other], "Export_Tiles", other, name="none")


def test_pairs_can_be_trained_on_where_both_are_of_one_type(tmp_path, scene):
    made = export(tmp_path, scene, "Classified_Tiles", later(tmp_path / "later.tif"))
    with pytest.raises(TileSetFormatError, match="cannot be learnt") as caught:
        require_pixels(made)  # the later one is of 16 bits
    assert "type of values" in caught.value.remedy
    alike = made.record.second.model_copy(update={"dtype": "uint8"})
    require_pixels(TileSet(made.folder, made.record.model_copy(update={"second": alike})))


@pytest.mark.parametrize("defect", ["missing", "size", "damaged"])
def test_the_validator_tells_what_is_wrong_with_second_images(tmp_path, scene, defect):
    made = export(tmp_path, scene, "Classified_Tiles", later(tmp_path / "later.tif"))
    victim = made.folder / made.record.tiles[1].image2
    if defect == "missing":
        victim.unlink()
    elif defect == "damaged":
        victim.write_bytes(b"no picture")
    else:
        later(victim, width=30, height=64)
    said = {"missing": "second image of the same name", "size": "64 x 64 pixels, as the first image", "damaged": "readable raster"}
    found = [f for f in validate_tile_set(made.folder) if said[defect] in f.expected]
    assert [f.harm for f in found] == ["grave"]
    if defect == "missing":
        (made.folder / "terratune.json").unlink()
        with pytest.raises(TileSetFormatError, match="no second image"):
            open_tile_set(made.folder)


@pytest.mark.parametrize(
    ("metadata_format", "second", "said"),
    [
        ("RCNN_Masks", "a.tif", "no second image. These have one: Classified_Tiles, Export_Tiles, CycleGAN"),
        ("CycleGAN", None, "needs a second image"),
    ],
)
def test_choices_that_do_not_go_together(metadata_format, second, said):
    with pytest.raises(ValueError, match=said):
        ExportSettings(metadata_format=metadata_format, second_raster=second)


def test_unpaired_collections_have_side_files_of_their_own(tmp_path, scene):
    """The second raster lies elsewhere, on other pixels, with other bands."""
    far = later(tmp_path / "far.tif", width=200, height=70, transform=Affine(2, 0, X0 + 90_000, 0, -2, Y0))
    made = export(tmp_path, scene, "CycleGAN", far)
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made
    assert sorted(p.name for p in made.folder.iterdir() if p.is_dir()) == ["A", "B"]
    names = {part: [t.image for t in made.record.tiles if t.image.startswith(part)] for part in ("A", "B")}
    assert names == {
        "A": [f"A/images/{n:09d}.tif" for n in range(2)],
        "B": [f"B/images/{n:09d}.tif" for n in range(8)],
    }
    for part, bands, first in (("A", 3, 10), ("B", 2, 1000)):
        assert sorted(p.name for p in (made.folder / part).iterdir() if p.is_file()) == [
            "esri_accumulated_stats.json",
            "esri_model_definition.emd",
            "map.txt",
            "stats.txt",
        ]
        definition = json.loads((made.folder / part / "esri_model_definition.emd").read_text())
        accumulated = json.loads((made.folder / part / "esri_accumulated_stats.json").read_text())
        assert definition["MetaDataMode"] == accumulated["MetaDataMode"] == "CycleGAN"
        assert accumulated["NumTiles"] == len(names[part])
        assert len(definition["AllTilesStats"]) == accumulated["NumBands"] == bands
        assert definition["AllTilesStats"][0]["Min"] == first
        assert "AllTilesStats2" not in definition
        assert (made.folder / part / "map.txt").read_text().splitlines()[0] == "images\\000000000.tif "
    tile = next(t for t in made.record.tiles if t.image == "B/images/000000001.tif")
    pixels = read_labelled(made, tile)[0]
    assert pixels.image[0, 0, 0] == 1064
    assert {t.split for t in made.record.tiles} >= {"train", "validation"}


def test_unpaired_collections_without_the_record_and_without_labels(tmp_path, scene):
    far = later(tmp_path / "far.tif", width=400, height=70, transform=Affine(2, 0, X0 + 90_000, 0, -2, Y0))
    made = export(tmp_path, scene, "CycleGAN", far, labels=table(crs="EPSG:32611"))
    assert sum(t.image.startswith("A") for t in made.record.tiles) == 30, "all of it"
    (made.folder / "terratune.json").unlink()
    found = open_tile_set(made.folder)
    assert found.record.metadata_format == "CycleGAN"
    assert found.record.second.model_dump(exclude={"band_statistics"}) == made.record.second.model_dump(exclude={"band_statistics"})
    assert sorted(t.image for t in found.record.tiles) == sorted(t.image for t in made.record.tiles)
    assert [f for f in validate_tile_set(made.folder) if f.harm != "none"] == []
    (made.folder / "B" / "map.txt").unlink()
    assert any(f.file == "B/map.txt" for f in validate_tile_set(made.folder))


def test_the_estimate_counts_both(tmp_path, scene):
    second = later(tmp_path / "later.tif")
    info, other = inspect_raster(scene.source), inspect_raster(second)
    settings = ExportSettings(metadata_format="Classified_Tiles", tile_size=64, stride=64, second_raster=second)
    one = estimate_tiles([info], two_tracks(), starter_schema(), settings.model_copy(update={"second_raster": None}))
    pair = estimate_tiles([info], two_tracks(), starter_schema(), settings, second=other)
    assert pair.tiles == one.tiles == 2
    assert pair.bytes - one.bytes == 2 * 64 * 64 * 2 * 2
    unpaired = estimate_tiles(
        [info],
        two_tracks(),
        starter_schema(),
        ExportSettings(metadata_format="CycleGAN", tile_size=64, stride=64, second_raster=second),
        second=other,
    )
    assert unpaired.tiles == 4


def test_the_statistics_of_both_can_be_taken_up_again(tmp_path, scene):
    settings = ExportSettings(metadata_format="Classified_Tiles", tile_size=64, stride=64, second_raster=later(tmp_path / "later.tif"))
    planned = plan_export([scene], two_tracks(), starter_schema(), settings, None)
    source = second_source(settings)
    pairs = with_second(planned, source, inspect_raster(source.source), two_tracks(), starter_schema(), settings, None)
    noted, taken_up = Statistics(pairs, 0), Statistics(pairs, 0)
    everywhere = np.ones((8, 8), dtype=bool)
    noted.first.add(np.full((3, 8, 8), 7, np.uint8), everywhere)
    noted.second.add(np.arange(128, dtype=np.uint16).reshape(2, 8, 8), everywhere)
    taken_up.restore(noted.state())
    assert taken_up.first.result() == noted.first.result()
    assert taken_up.second.result() == noted.second.result()
    assert noted.second.result()[1].max == 127
