import pytest
import torch

from training.augment import Strengths
from training.objects.augment import augment, crop, turn, zoom
from training.objects.data import ObjectBatch

BOX = (4.0, 6.0, 12.0, 10.0)


def batch(rows=32, columns=32, boxes=(BOX,)):
    """Every object is a bright rectangle, and has a mask."""
    image, masks = torch.zeros(1, 3, rows, columns), torch.zeros(len(boxes), rows, columns, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        inside = (..., slice(int(top), int(bottom)), slice(int(left), int(right)))
        image[inside] = 5.0
        mask[inside] = 1
    target = {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.ones(len(boxes), dtype=torch.int64), "masks": masks}
    return ObjectBatch(image, torch.ones(1, 1, rows, columns, dtype=torch.bool), [target])


def bright_box(image):
    """Around what is bright: left, top, right, bottom."""
    rows, columns = torch.nonzero(image[0] > 2.5, as_tuple=True)
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_boxes_turn_with_the_picture(quarters, flip):
    plain = batch(rows=20, columns=32)
    image = torch.rot90(plain.image[0], quarters, (-2, -1))
    image = image.flip(-1) if flip else image
    target = turn(plain.targets[0], quarters, flip, (20, 32))
    assert target["boxes"][0].tolist() == bright_box(image)
    assert torch.equal(target["masks"][0] > 0, image[0] > 2.5)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, (-0.4, -0.3)), (1.6, (0.2, 0.1)), (1.0, (0.5, 0.0))])
def test_boxes_move_with_the_window(scale, shift):
    seen = zoom(batch(rows=64, columns=64, boxes=((20.0, 24.0, 36.0, 32.0),)), torch.tensor([scale]), torch.tensor([shift]))
    assert seen.targets[0]["boxes"][0].tolist() == pytest.approx(bright_box(seen.image[0]), abs=1.01)
    left, top, right, bottom = seen.targets[0]["boxes"][0].tolist()
    assert int(seen.targets[0]["masks"].sum()) == pytest.approx((right - left) * (bottom - top), rel=0.15)


def test_what_leaves_the_tile_is_no_object():
    seen = zoom(batch(boxes=((0.0, 0.0, 4.0, 4.0), (20.0, 20.0, 28.0, 28.0))), torch.tensor([0.5]), torch.tensor([[0.5, 0.5]]))
    assert len(seen.targets[0]["boxes"]) == len(seen.targets[0]["labels"]) == len(seen.targets[0]["masks"]) == 1


def test_a_chip_has_what_lies_in_it():
    chips = [crop(batch(), 8, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(c.image.shape == (1, 3, 8, 8) for c in chips)
    held = [c for c in chips if len(c.targets[0]["boxes"])]
    assert held and len(held) < len(chips)
    assert all(c.targets[0]["boxes"][0].tolist() == bright_box(c.image[0]) for c in held)
    assert not any((c.image > 2.5).any() for c in chips if not len(c.targets[0]["boxes"]))


def test_the_same_seed_changes_alike_and_empty_tiles_stay_empty():
    one, other = (augment(batch(boxes=()), torch.Generator().manual_seed(3), Strengths()) for _ in range(2))
    assert torch.equal(one.image, other.image)
    assert one.targets[0]["boxes"].shape == (0, 4)
    assert one.targets[0]["masks"].shape[0] == 0
