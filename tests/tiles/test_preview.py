"""Pictures of tiles and places."""

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from tiles.objects import TileObject
from tiles.preview import (
    IGNORED_KINDS,
    choose_tiles,
    draw_objects,
    mark_ignored,
    overlay,
    pick_samples,
    picture,
    places_geojson,
    read_sample,
    shown_bands,
)
from tiles.reader import read_tile
from tiles.tile_set import TileClass


def test_samples_are_distinct_seeded_and_from_used_tiles(tile_set):
    record = tile_set.record
    first = pick_samples(record, 3)
    assert len({t.name for t in first}) == 3
    assert first == pick_samples(record, 3)
    assert len(pick_samples(record, 99)) == 4
    gap = record.model_copy(
        update={"tiles": tuple(t.model_copy(update={"split": "gap"}) if t.name[-1] == "0" else t for t in record.tiles)}
    )
    assert "000000000" not in {t.name for t in pick_samples(gap, 99)}


def test_a_rare_class_is_among_few_samples(tile_set):
    record = tile_set.record
    tiles = tuple(t.model_copy(update={"pixels": {0: 5, 1: 5} if i else {0: 5, 2: 5}}) for i, t in enumerate(record.tiles))
    assert record.tiles[0].name in {t.name for t in pick_samples(record.model_copy(update={"tiles": tiles}), 2)}


def test_labels_lie_over_the_picture_in_their_colours(tile_set):
    pixels = read_tile(tile_set, tile_set.record.tiles[0])
    rgb = picture(pixels.image, pixels.valid, tile_set.record)
    assert rgb.shape == (32, 32, 3)
    assert rgb[5, 5].tolist() == [10, 20, 30]
    shown = overlay(rgb, pixels.label, tile_set.record.classes, 0.5)
    assert shown[5, 5].tolist() == [10, 20, 30], "background is clear"
    assert shown[10, 5].tolist() == [(10 + 255) // 2, round((20 + 159) / 2), (30 + 28) // 2]


def test_each_reason_not_to_learn_has_its_own_stripes():
    rgb = np.full((32, 32, 3), 100, dtype=np.uint8)
    kinds = np.zeros((32, 32), dtype=np.uint8)
    kinds[:8], kinds[8:16], kinds[16:24] = list(IGNORED_KINDS)
    drawn = mark_ignored(rgb, kinds, opacity=1.0)
    for top, kind in zip((0, 8, 16), IGNORED_KINDS.values(), strict=True):
        assert {tuple(p) for p in drawn[top : top + 8].reshape(-1, 3).tolist()} == set(kind.stripes)
    assert (drawn[24:] == 100).all(), "what is learnt from stays as it is"


def test_a_sample_says_what_is_not_learnt_from_and_why(tile_set):
    sample = read_sample(tile_set, tile_set.record.tiles[0])
    assert sample.picture.shape == sample.labelled.shape == (32, 32, 3)
    assert sum(sample.ignored.values()) == tile_set.record.tiles[0].ignored_pixels
    assert set(sample.ignored) <= set(IGNORED_KINDS)


def test_tiles_to_look_at_are_chosen_and_ordered(tile_set):
    record = tile_set.record
    amounts = ({0: 9}, {0: 5, 1: 4}, {0: 1, 1: 8}, {0: 5, 2: 4})
    changes = [{"pixels": p, "ignored_pixels": i, "place": "A" if i < 2 else "B"} for i, p in enumerate(amounts)]
    changes[3]["split"] = "gap"
    record = record.model_copy(update={"tiles": tuple(t.model_copy(update=c) for t, c in zip(record.tiles, changes, strict=True))})

    def names(**asked):
        found = choose_tiles(record, **{"shows": None, "split": None, "place": None, "order": "cut"} | asked)
        return [int(t.name) for t in found]

    assert names() == [0, 1, 2, 3]
    assert names(order="ignored") == [3, 2, 1, 0]
    assert names(shows=1, order="class") == [2, 1]
    assert names(shows=0) == [0], "nothing but background"
    assert names(place="B") == [2, 3]
    assert names(split="gap") == [3]
    assert sorted(names(order="mixed")) == [0, 1, 2, 3], "every tile can be reached"


def test_sixteen_bit_is_stretched_and_one_band_is_grey(tile_set):
    stats = tile_set.record.band_statistics[0].model_copy(update={"p2": 1000.0, "p98": 3000.0})
    record = tile_set.record.model_copy(update={"band_names": ("band_1",), "band_statistics": (stats,), "dtype": "uint16"})
    image = np.array([[[1000, 2000, 3000, 9000]]], dtype=np.uint16)
    valid = np.array([[True, True, True, False]])
    rgb = picture(image, valid, record)
    assert rgb[0, :, 0].tolist() == pytest.approx([0, 128, 255, 0], abs=1)
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_bands_to_show():
    assert shown_bands(("nir", "red", "green", "blue")) == (1, 2, 3)
    assert shown_bands(("a", "b", "c", "d")) == (0, 1, 2)
    assert shown_bands(("pan",)) == (0,)


def test_places_on_the_ground(tile_set):
    collection = places_geojson(tile_set.record)
    assert [(f["properties"]["place"], f["properties"]["split"]) for f in collection["features"]] == [
        ("place 1", "train"),
        ("place 2", "validation"),
    ]
    assert collection["features"][1]["properties"]["text"] == "place 2: validation, 2 tiles"
    west, south, east, north = shape(collection["features"][0]["geometry"]).bounds
    assert -117.01 < west < east < -116.98
    assert 36.14 < south < north < 36.15
    nowhere = tile_set.record.model_copy(update={"tiles": tuple(t.model_copy(update={"crs": ""}) for t in tile_set.record.tiles)})
    assert places_geojson(nowhere)["features"] == []


def test_objects_are_framed_or_filled():
    """A box only has its frame drawn; a mask is tinted and edged, except along the side of the tile."""
    classes = (TileClass(value=1, name="House", colour="#ff0000"),)
    rgb = np.zeros((16, 16, 3), dtype=np.uint8)
    framed = draw_objects(rgb, [TileObject(1, (2.0, 3.0, 6.2, 8.0))], classes)
    red = framed[..., 0] == 255
    assert red.sum() == 5 * 5 - 3 * 3
    assert red[3:8, 2:7].sum() == red.sum()
    mask = np.zeros((16, 16), dtype=bool)
    mask[4:9, :5] = True
    filled = draw_objects(rgb, [TileObject(1, (0.0, 4.0, 5.0, 9.0), mask=mask)], classes)[..., 0]
    assert (filled[4:9, :5] == 255).sum() == 5 + 4 + 4
    assert filled[6, 0] == round(0.35 * 255)
    outline = TileObject(1, (0.0, 4.0, 5.0, 9.0), outline=shapely.box(0, 4, 5, 9))
    assert np.array_equal(draw_objects(rgb, [outline], classes)[..., 0], filled)
