import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from imagery.grid import Grid
from imagery.resample import scaled_grid
from inference.held_out import MapPair, locate, on_held_out_places, on_truth_rasters
from tests.inference.makers import PAVED, UNPAVED, UTM, write_raster
from tiles.apart import is_marked
from tiles.reader import tells_unlabelled
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord

CLASSES = (UNPAVED, PAVED)


def tile(name: str, column: int, row: int, place: str = "a", split: str = "validation", crs: str = "EPSG:32611") -> TileRecord:
    where = UTM @ Affine.translation(column, row)
    return TileRecord(
        name=name, raster="scene.tif", column=column, row=row, crs=crs, transform=tuple(where)[:6], place=place, split=split,
        pixels={}, image=f"images/{name}.tif", label=f"labels/{name}.tif",
    )  # fmt: skip


def tile_set(folder, tiles: list[TileRecord], labels: np.ndarray, size: int = 8) -> TileSet:
    """A tile set cut out of `labels`; its class values are not those of the maps (there: unpaved 2, paved 1)."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for one in tiles:
        part = labels[one.row : one.row + size, one.column : one.column + size]
        part = np.pad(part, ((0, size - part.shape[0]), (0, size - part.shape[1])))
        write_raster(folder / one.image, np.ones((3, size, size), np.uint8), transform=one.affine)
        write_raster(folder / one.label, part[None].astype(np.uint8), transform=one.affine)
    record = TileSetRecord(
        settings={"made": "here"}, classes=(TileClass(value=5, name="unpaved ROAD", colour="#ff9f1c"), TileClass(value=2, name="Paved road", colour="#4361ee")),
        band_names=("red", "green", "blue"), dtype="uint8", band_statistics=(), resolution_m=0.5, crs="EPSG:32611", tile_size=size, stride=size, seed=0,
        tiles=tuple(tiles),
    )  # fmt: skip
    return TileSet(folder, record)


@pytest.fixture
def maps(tmp_path):
    before, after = np.zeros((2, 20, 30), np.uint8)
    before[:, :4] = 1  # paved
    after[:, :4] = 1
    after[10:, 10:14] = 2  # unpaved
    paths = [write_raster(tmp_path / f"{name}.tif", values[None], nodata=255) for name, values in (("before", before), ("after", after))]
    return MapPair("scene.tif", *paths)


def test_only_held_out_tiles_count_and_shared_pixels_count_once(tmp_path, maps):
    labels = np.zeros((20, 30), np.uint8)
    labels[:, :4] = 2  # paved, as the tile set writes it
    labels[8:, 10:14] = 5  # unpaved
    tiles = [tile("1", 0, 0), tile("2", 4, 0), tile("3", 8, 8, place="b"), tile("4", 12, 8, place="b"), tile("5", 20, 10, split="train")]
    found, elsewhere = on_held_out_places(tile_set(tmp_path / "tiles", tiles, labels), [maps], CLASSES)
    assert elsewhere == 0
    assert found.after.pixels == 2 * 12 * 8  # each pair of tiles covers 12 columns
    assert found.before.of(1).iou == found.after.of(1).iou == 1.0
    assert found.before.of(2).recall == 0.0
    assert (found.after.of(2).recall, found.after.of(2).truth_pixels) == (6 / 8, 8 * 4)
    assert [(p.place, p.raster, p.after.pixels) for p in found.places] == [("a", "scene.tif", 96), ("b", "scene.tif", 96)]


def test_scores_say_where_a_set_leaks(tmp_path, maps):
    labels = np.zeros((20, 30), np.uint8)
    alone = [tile("1", 0, 0)]
    apart, _ = on_held_out_places(tile_set(tmp_path / "apart", [*alone, tile("2", 20, 0, split="train")], labels), [maps], CLASSES)
    assert not is_marked(apart.on)
    leaking, _ = on_held_out_places(tile_set(tmp_path / "leaking", [*alone, tile("2", 4, 0, split="train")], labels), [maps], CLASSES)
    assert leaking.on == f"{apart.on.replace('apart', 'leaking')} (not kept apart from training)"


def test_tiles_at_another_resolution_are_scored_in_their_own_pixels(tmp_path, maps):
    fine = Grid(30, 20, UTM, CRS.from_epsg(32611))
    coarse = scaled_grid(fine, 2.0)
    labels = np.zeros((10, 15), np.uint8)
    labels[:, :2] = 2  # paved
    one = tile("1", 0, 0).model_copy(update={"transform": tuple(coarse.transform)[:6]})
    made = tile_set(tmp_path / "tiles", [one], labels)
    made = TileSet(made.folder, made.record.model_copy(update={"settings": {"cell_size_m": 2 * fine.resolution_m}}))
    found, elsewhere = on_held_out_places(made, [maps], CLASSES)
    assert (elsewhere, found.after.pixels) == (0, 64)
    assert found.after.of(1).iou == 1.0


def test_turns_of_a_tile_are_neither_counted_nor_missed(tmp_path, maps):
    labels = np.zeros((20, 30), np.uint8)
    turned = [tile(name, 0, 0).model_copy(update={"angle": angle}) for name, angle in (("2", 45.0), ("3", 90.0))]
    found, elsewhere = on_held_out_places(tile_set(tmp_path / "tiles", [tile("1", 0, 0), *turned], labels), [maps], CLASSES)
    assert (elsewhere, found.after.pixels) == (0, 64)


def test_a_tile_over_the_edge_or_elsewhere_is_handled(tmp_path, maps):
    labels = np.zeros((20, 30), np.uint8)
    tiles = [tile("1", 26, 16), tile("2", 300, 0), tile("3", 0, 0, crs="EPSG:32612")]
    found, elsewhere = on_held_out_places(tile_set(tmp_path / "tiles", tiles, labels), [maps], CLASSES)
    assert elsewhere == 2 and found.after.pixels == 16
    alone, missing = on_held_out_places(tile_set(tmp_path / "other", tiles[1:], labels), [maps], CLASSES)
    assert alone is None and missing == 2


def test_a_tile_is_found_by_its_coordinates_and_only_on_the_same_pixels():
    grid = Grid(100, 100, UTM, CRS.from_epsg(32611))
    assert locate(tile("1", 7, 9), 8, grid) == (7, 9)
    half = tile("1", 7, 9).model_copy(update={"transform": tuple(UTM @ Affine.translation(7.5, 9))[:6]})
    coarse = tile("1", 7, 9).model_copy(update={"transform": tuple(UTM @ Affine.scale(2))[:6]})
    assert locate(half, 8, grid) is None and locate(coarse, 8, grid) is None and locate(tile("1", -8, 0), 8, grid) is None


def test_exact_truth_is_scored_whole(tmp_path, maps):
    truth = np.zeros((20, 30), np.uint8)
    truth[:, :4] = 9
    path = write_raster(tmp_path / "truth.tif", truth[None])
    found = on_truth_rasters({maps: (path, (PAVED.model_copy(update={"value": 9}),))}, CLASSES)
    assert found.before.of(1).iou == 1.0 and found.after.of(2).precision == 0.0 and found.after.pixels == 600


def test_how_sure_a_score_is_comes_from_squares_of_ground_of_a_tile_each(tmp_path):
    """Twelve squares with a road in each, found whole in half of them; overlapping tiles of one square are one block."""
    labels = np.zeros((16, 48), np.uint8)
    labels[2::8] = 5
    after = np.where(labels == 5, 2, 0).astype(np.uint8)
    after[:, ::16] = after[:, 1::16] = 0
    paths = [write_raster(tmp_path / f"{name}.tif", v[None], nodata=255) for name, v in (("before", np.zeros_like(after)), ("after", after))]
    tiles = [tile(f"{i}", column, row) for i, (column, row) in enumerate((c, r) for r in (0, 8) for c in range(0, 41, 4))]
    found, _ = on_held_out_places(tile_set(tmp_path / "tiles", tiles, labels), [MapPair("scene.tif", *paths)], CLASSES)
    sure = found.certainty_of(2)
    assert sure.blocks == 12
    assert sure.after.low < found.after.of(2).iou < sure.after.high < 1
    assert sure.before == (0.0, 0.0) and sure.gain.low > 0
    absent = found.certainty_of(1)
    assert (absent.blocks, absent.gain) == (0, None)


def test_true_areas_are_told_only_where_the_tiles_say_what_nobody_labelled(tmp_path, maps):
    labels = np.zeros((20, 30), np.uint8)
    labels[:, :4] = 2
    alone = [tile("1", 0, 0), tile("2", 20, 0, split="train")]
    made = tile_set(tmp_path / "drawn", alone, labels)
    mapped = (100.0, 50.0, 50.0)
    assert on_held_out_places(made, [maps], CLASSES, mapped_m2=mapped)[0].areas == ()
    (made.folder / "ignore").mkdir()
    for value, told in ((1, False), (3, True)):  # uncertain; nobody labelled it
        write_raster(made.folder / "ignore" / "1.tif", np.full((1, 8, 8), value, np.uint8), transform=alone[0].affine)
        marked = [alone[0].model_copy(update={"ignore": "ignore/1.tif"}), alone[1]]
        known = TileSet(made.folder, made.record.model_copy(update={"tiles": tuple(marked)}))
        assert tells_unlabelled(known) is told
    complete = TileSet(made.folder, made.record.model_copy(update={"fully_labelled": True}))
    assert tells_unlabelled(complete), "even where no pixel lies outside such an area"
    inside = TileSet(made.folder, made.record.model_copy(update={"settings": {"inside_fully_labelled": True}}))
    assert [one.value for one in on_held_out_places(inside, [maps], CLASSES, mapped_m2=mapped)[0].areas] == [2, 1]
