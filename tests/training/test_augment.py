import pytest
import torch

from training.augment import augment
from training.dataset import Batch


def a_batch(n=6, rows=32, columns=32):
    """Tiles whose first band says where the class is."""
    target = torch.zeros(n, rows, columns, dtype=torch.int64)
    target[:, 4:12, 6:28] = 1
    target[:, 20:24, :8] = 2
    image = torch.stack([target.float() * 3, torch.zeros(n, rows, columns), torch.zeros(n, rows, columns)], dim=1)
    valid = torch.ones(n, 1, rows, columns, dtype=torch.bool)
    return Batch(image, valid, target)


def test_image_and_target_move_together(monkeypatch):
    for name in ("CONTRAST", "BRIGHTNESS", "BAND_SHIFT", "SATURATION"):
        monkeypatch.setattr(f"training.augment.{name}", 0.0)
    random = torch.Generator().manual_seed(0)
    for _ in range(8):
        out = augment(a_batch(), random)
        counted = out.target != 255
        seen = (out.image[:, 0] / 3).round().long()
        same = (seen == out.target)[counted].float().mean()
        assert same > 0.93  # bilinear edges
        assert out.image.shape == (6, 3, 32, 32)


def test_tiles_are_turned_differently():
    out = augment(a_batch(32), torch.Generator().manual_seed(1))
    assert len({tuple(t.flatten().tolist()) for t in out.target}) >= 6


def test_what_lies_outside_is_ignored_and_zero(monkeypatch):
    monkeypatch.setattr("training.augment.ZOOM", 2.0)
    random = torch.Generator().manual_seed(0)
    outs = [augment(a_batch(), random) for _ in range(8)]
    outside = [(~o.valid[:, 0]) for o in outs]
    assert any(m.any() for m in outside)
    for out, mask in zip(outs, outside, strict=True):
        assert (out.target[mask] == 255).all()
        assert (out.image.abs().sum(dim=1)[mask] == 0).all()


def test_the_same_seed_gives_the_same_batch():
    one, two = (augment(a_batch(), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.image, two.image)
    assert not torch.equal(one.image, augment(a_batch(), torch.Generator().manual_seed(4)).image)


@pytest.mark.parametrize(("rows", "columns"), [(32, 48), (48, 32)])
def test_oblong_tiles_keep_their_shape(rows, columns):
    out = augment(a_batch(4, rows, columns), torch.Generator().manual_seed(0))
    assert out.target.shape == (4, rows, columns)
