import numpy as np
import pytest
import torch

from errors import TileSetFormatError
from tests.models.cards import a_card
from tests.training.tile_sets import CLASSES, PAVED, UNPAVED, a_tile, make_tile_set
from tiles.tile_set import TileSet
from training.dataset import TileData
from training.inputs import input_for
from training.targets import plan_outputs


def data_of(tile_set: TileSet, card=None):
    card = card or a_card()
    plan = plan_outputs(card, tile_set.record.classes, keep_old=True)
    return TileData(tile_set, tile_set.train, input_for(card, tile_set, frozen=True), plan.lookup(tile_set.record.classes))


def test_a_batch_is_normalised_with_the_cards_numbers(tmp_path):
    data = data_of(make_tile_set(tmp_path / "t"))
    image, label = a_tile(1)
    batch = data.batch([1])
    mean, std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0])
    expected = (torch.from_numpy(image.astype(np.float32)) - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(batch.image[0], expected)
    assert torch.equal(batch.target[0], torch.from_numpy(np.array([0, 2, 1])[label]))


def test_ignored_pixels_reach_the_target(tmp_path):
    batch = data_of(make_tile_set(tmp_path / "t")).batch([0])
    assert (batch.target[0, :4, :4] == 255).all()
    assert int((batch.target == 255).sum()) == 16


def test_held_and_lazy_tiles_are_the_same(tmp_path, monkeypatch):
    tile_set = make_tile_set(tmp_path / "t")
    held, lazy = data_of(tile_set), data_of(tile_set)
    held.hold()
    assert held._held is not None
    monkeypatch.setattr("training.dataset.MEMORY_LIMIT_BYTES", 10)
    lazy.hold()
    assert lazy._held is None
    assert torch.equal(held.batch([3, 1]).image, lazy.batch([3, 1]).image)


def test_bands_are_taken_by_name(tmp_path):
    tile_set = make_tile_set(tmp_path / "t", bands=("nir", "blue", "green", "red"))
    data = data_of(tile_set)
    image = a_tile(0, bands=4)[0]
    assert np.array_equal(data.raw(0)[0], image[[3, 2, 1]])


def test_a_damaged_tile_is_named(tmp_path):
    tile_set = make_tile_set(tmp_path / "t")
    data = data_of(tile_set)
    (tile_set.folder / tile_set.train[2].image).write_bytes(b"no")
    with pytest.raises(TileSetFormatError, match="000000002"):
        data.hold()


def test_pixels_are_counted_per_output(tmp_path):
    data = data_of(make_tile_set(tmp_path / "t", classes=CLASSES))
    counts = data.pixels_per_output(3)
    assert counts[1:].tolist() == [6 * 8 * 64, 6 * 8 * 64]
    assert counts.sum() == 6 * 64 * 64 - 16
    assert {PAVED, UNPAVED} == {1, 2}
