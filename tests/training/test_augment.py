from dataclasses import replace

import pytest
import torch

from training.augment import Strengths, augment, crop, strengths_of, varied
from training.dataset import Batch
from training.settings import TrainingSettings

USUAL = Strengths()
MOVED_ONLY = Strengths(contrast=0, brightness=0, saturation=0)


def a_batch(n=6, rows=32, columns=32):
    """Tiles whose first band says where the class is."""
    target = torch.zeros(n, rows, columns, dtype=torch.int64)
    target[:, 4:12, 6:28] = 1
    target[:, 20:24, :8] = 2
    image = torch.stack([target.float() * 3, torch.zeros(n, rows, columns), torch.zeros(n, rows, columns)], dim=1)
    valid = torch.ones(n, 1, rows, columns, dtype=torch.bool)
    return Batch(image, valid, target)


def test_image_and_target_move_together():
    random = torch.Generator().manual_seed(0)
    for _ in range(8):
        out = augment(a_batch(), random, MOVED_ONLY)
        counted = out.target != 255
        seen = (out.image[:, 0] / 3).round().long()
        same = (seen == out.target)[counted].float().mean()
        assert same > 0.93  # bilinear edges
        assert out.image.shape == (6, 3, 32, 32)


def test_tiles_are_turned_differently():
    out = augment(a_batch(32), torch.Generator().manual_seed(1), USUAL)
    assert len({tuple(t.flatten().tolist()) for t in out.target}) >= 6


def test_what_lies_outside_is_ignored_and_zero():
    random = torch.Generator().manual_seed(0)
    outs = [augment(a_batch(), random, Strengths(zoom=2.0)) for _ in range(8)]
    outside = [(~o.valid[:, 0]) for o in outs]
    assert any(m.any() for m in outside)
    for out, mask in zip(outs, outside, strict=True):
        assert (out.target[mask] == 255).all()
        assert (out.image.abs().sum(dim=1)[mask] == 0).all()


def test_the_same_seed_gives_the_same_batch():
    one, two = (augment(a_batch(), torch.Generator().manual_seed(3), USUAL) for _ in range(2))
    assert torch.equal(one.image, two.image)
    assert not torch.equal(one.image, augment(a_batch(), torch.Generator().manual_seed(4), USUAL).image)


@pytest.mark.parametrize(("rows", "columns"), [(32, 48), (48, 32)])
def test_oblong_tiles_keep_their_shape(rows, columns):
    out = augment(a_batch(4, rows, columns), torch.Generator().manual_seed(0), USUAL)
    assert out.target.shape == (4, rows, columns)


def test_strengths_are_the_usual_ones_until_chosen():
    settings = TrainingSettings(tiles="x")
    assert strengths_of(settings) == USUAL
    assert strengths_of(settings.model_copy(update={"augment": "custom"})) == USUAL
    assert strengths_of(settings.model_copy(update={"augment": "none", "augment_zoom": 2.0})) is None
    assert strengths_of(TrainingSettings(tiles="x", augment="custom", augment_zoom=1.0)).zoom == 1.0
    assert strengths_of(settings.model_copy(update={"augment_turn": False})) == replace(USUAL, turn=False)


def test_without_any_change_tiles_stay_as_they_are():
    batch = a_batch()
    out = augment(batch, torch.Generator().manual_seed(0), Strengths(turn=False, zoom=1.0, contrast=0, brightness=0, saturation=0))
    assert torch.allclose(out.image, batch.image)
    assert torch.equal(out.target, batch.target)


def test_chips_are_squares_of_image_and_target_alike():
    batch = a_batch(20, 48, 64)
    out = crop(batch, 32, torch.Generator().manual_seed(0))
    assert out.image.shape == (20, 3, 32, 32) and out.valid.shape == (20, 1, 32, 32)
    assert torch.equal((out.image[:, 0] / 3).round().long(), out.target)
    assert len({tuple(t.flatten().tolist()) for t in out.target}) > 10, "each from a place of its own"


def test_a_tile_smaller_than_a_chip_stays_whole():
    batch = a_batch(2, 32, 48)
    assert crop(batch, 64, torch.Generator()).image.shape == (2, 3, 32, 48)
    assert crop(batch, 32, torch.Generator()).image.shape == (2, 3, 32, 32)


def test_settings_say_what_is_varied():
    plain = TrainingSettings(tiles="x", augment="none")
    batch = a_batch()
    assert next(varied([batch], plain, torch.Generator())) is batch
    chips = next(varied([a_batch(2, 64, 64)], plain.model_copy(update={"chip_size": 32}), torch.Generator()))
    assert chips.image.shape[-2:] == (32, 32)
