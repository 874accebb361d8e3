"""What leaks from training into validation is found, and nothing else; the mark is in the words of a score."""

import numpy as np
import pytest
import rasterio

from tiles.apart import NOT_APART, by_pixels, by_place, clear_of, is_marked, leaks, one_sided_classes, scored_on


def changed(record, index, **changes):
    tiles = list(record.tiles)
    tiles[index] = tiles[index].model_copy(update=changes)
    return record.model_copy(update={"tiles": tuple(tiles)})


def moved(record, index, onto, *, east_m=0.0, north_m=0.0):
    a, b, c, d, e, f = record.tiles[onto].transform
    return changed(record, index, transform=(a, b, c + east_m, d, e, f + north_m))


def test_places_far_apart(tile_set):
    assert by_place(tile_set.record) == [] and leaks(tile_set) == []


@pytest.mark.parametrize(
    ("east_m", "harm"), [(0, "leak"), (15, "leak"), (16, "leak"), (16.5, "none"), (31.5, "none"), (32, None), (200, None)]
)
def test_tiles_of_16_m_may_not_overlap_or_touch(tile_set, east_m, harm):
    """A training tile is 16 m wide: at 16 m they touch, up to 32 m they are nearer than one tile."""
    findings = by_place(moved(tile_set.record, 2, 1, east_m=east_m))
    assert [f.harm for f in findings] == ([] if harm is None else [harm])
    assert all(f.file == "images/000000002.tif" and "images/000000001.tif" in f.found for f in findings)


def test_tiles_in_the_gap_are_nobodys_neighbours(tile_set):
    record = moved(tile_set.record, 2, 1)
    assert by_place(changed(record, 2, split="gap")) == []


def test_turned_tiles_are_compared_by_their_outline(tile_set):
    """A square standing on its corner reaches further, and leaves the corners of its box free."""
    across = 16 * np.sqrt(2)
    turn = tile_set.record.tiles[1].affine @ rasterio.Affine.rotation(45)
    record = changed(tile_set.record, 1, transform=tuple(turn)[:6])
    touching, free = (moved(record, 2, 1, east_m=0) for _ in range(2))
    touching = changed(touching, 2, transform=(0.5, 0, turn.c + across / 2 - 1, 0, -0.5, turn.f))
    free = changed(free, 2, transform=(0.5, 0, turn.c + across / 2 - 1, 0, -0.5, turn.f + 16 + 1))
    assert [f.harm for f in by_place(touching)] == ["leak"]
    assert [f.harm for f in by_place(free)] == ["none"]


def test_tiles_in_another_crs_are_compared_on_the_ground(tile_set):
    tile = tile_set.record.tiles[1]
    lon, lat = rasterio.warp.transform(tile.crs, "EPSG:4326", [tile.transform[2]], [tile.transform[5]])
    degrees = (5e-6, 0, lon[0], 0, -5e-6, lat[0])
    assert [f.harm for f in by_place(changed(tile_set.record, 2, crs="EPSG:4326", transform=degrees))] == ["leak"]


def test_tiles_that_lie_nowhere(tile_set):
    nowhere = changed(tile_set.record, 0, crs="", transform=(1, 0, 0, 0, 1, 0))
    (finding,) = by_place(nowhere)
    assert finding.harm == "leak" and "no place" in finding.found
    (finding,) = by_place(nowhere.model_copy(update={"made_division": True}))
    assert finding.harm == "none" and "cannot be checked" in finding.remedy


def test_places_without_a_crs_are_compared_in_their_own_units(tile_set):
    record = tile_set.record
    for index in range(4):
        record = changed(record, index, crs="")
    assert by_place(record) == []
    assert [f.harm for f in by_place(moved(record, 2, 1))] == ["leak"]


def test_the_same_pixels_on_both_sides(tile_set):
    a, b = (tile_set.folder / f"images/00000000{i}.tif" for i in (1, 3))
    with rasterio.open(a) as one, rasterio.open(b, "r+") as other:
        other.write(one.read())
    (finding,) = leaks(tile_set)
    assert (finding.file, finding.harm) == ("images/000000003.tif", "leak")
    assert "images/000000001.tif" in finding.found


def test_empty_tiles_are_no_twins(tile_set):
    assert by_pixels(tile_set.record, dict.fromkeys(t.image for t in tile_set.record.tiles)) == []


def test_a_class_of_one_side(tile_set):
    record = changed(changed(tile_set.record, 2, pixels={0: 5, 1: 9}), 3, pixels={0: 5, 1: 9})
    (finding,) = one_sided_classes(record)
    assert "'Unpaved road'" in finding.expected and "no score" in finding.remedy


def test_tiles_of_another_set_on_the_same_ground_are_left_out(tile_set):
    """Its first tile on the second one here, its third beside the fourth: both go."""
    record = tile_set.record
    other = moved(moved(record, 0, 1, east_m=8), 2, 3, north_m=16)
    far = changed(changed(other, 1, transform=(0.5, 0, 0, 0, -0.5, 0)), 3, transform=(0.5, 0, 900, 0, -0.5, 0))
    assert [t.name[-1] for t in clear_of(far.tiles, far, record.tiles, record)] == ["1", "3"]
    nowhere = changed(record, 0, crs="", transform=(1, 0, 0, 0, 1, 0))
    assert len(clear_of(far.tiles, far, nowhere.tiles, nowhere)) == len(clear_of(far.tiles, far, [], record)) == 4


def test_the_mark_is_in_the_words_of_a_score():
    assert scored_on("held-out tiles", apart=True) == "held-out tiles"
    marked = scored_on("held-out tiles", apart=False)
    assert marked == f"held-out tiles ({NOT_APART})"
    assert is_marked(marked) and not is_marked("held-out tiles")
