import numpy as np
import pytest
import torch

from models.card import ModelInput
from tests.training.objects.squares import POOL, ROOF, make_squares, squares_of
from tiles.tile_set import IGNORE_LABEL
from training.objects.data import ObjectData

INPUT = ModelInput(band_names=("red", "green", "blue"), mean=(70, 70, 70), std=(40, 40, 40), tile_size=64)


def data_of(tile_set, outlines=False, left_out=()):
    lookup = np.zeros(256, np.uint8)
    lookup[[ROOF, POOL]] = 1, 2
    lookup[list(left_out)] = IGNORE_LABEL
    return ObjectData(tile_set, tile_set.record.tiles, INPUT, lookup, outlines)


def known(i):
    return sorted(({ROOF: 1, POOL: 2}[value], *map(float, box)) for value, box in squares_of(i))


def told(target):
    return sorted((label, *box) for label, box in zip(target["labels"].tolist(), target["boxes"].tolist(), strict=True))


BOXES = ("PASCAL_VOC_rectangles", "KITTI_rectangles", "COCO_rectangles", "YOLO_rectangles", "RCNN_Masks", "Panoptic_Segmentation")


@pytest.mark.parametrize("metadata_format", BOXES)
def test_every_format_tells_the_same_boxes(tmp_path, metadata_format):
    data = data_of(make_squares(tmp_path / "t", metadata_format, train=3, validation=2))
    batch = data.batch(range(5))
    assert [told(t) for t in batch.targets] == [known(i) for i in range(5)]
    assert batch.image.shape == (5, 3, 64, 64)
    assert not len(batch.targets[4]["boxes"])  # an empty tile stays, as one without objects
    assert data.objects() == 8 and data.objects(2) == 4


def test_masks_cover_their_objects(tmp_path):
    data = data_of(make_squares(tmp_path / "t", "RCNN_Masks", train=1, validation=1), outlines=True)
    target = data.batch([0]).targets[0]
    for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
        left, top, right, bottom = box
        assert mask[top:bottom, left:right].all()
        assert int(mask.sum()) == (right - left) * (bottom - top)


def test_uncertain_objects_are_blanked(tmp_path):
    batch = data_of(make_squares(tmp_path / "t", train=1, validation=1, hidden=(POOL,))).batch([0])
    ((_, left, top, right, bottom),) = [one for one in known(0) if one[0] == 2]
    inside = (..., slice(int(top), int(bottom)), slice(int(left), int(right)))
    assert told(batch.targets[0]) == [one for one in known(0) if one[0] == 1]
    assert (batch.image[0][inside] == 0).all() and not batch.valid[0][inside].any()
    assert int((~batch.valid[0]).sum()) == (right - left) * (bottom - top)


def test_classes_left_out_are_blanked_not_taught_as_nothing(tmp_path):
    tile_set = make_squares(tmp_path / "t", train=1, validation=1)
    assert torch.equal(
        data_of(tile_set, left_out=(POOL,)).batch([0]).image,
        data_of(make_squares(tmp_path / "u", train=1, validation=1, hidden=(POOL,))).batch([0]).image,
    )


def test_held_in_memory_it_is_the_same(tmp_path):
    tile_set = make_squares(tmp_path / "t", "RCNN_Masks", train=2, validation=1)
    fresh, held = data_of(tile_set, outlines=True), data_of(tile_set, outlines=True)
    held.hold(lambda share: None)
    one, other = fresh.batch([0, 1]), held.batch([0, 1])
    assert torch.equal(one.image, other.image)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(one.targets, other.targets, strict=True) for k in ("boxes", "labels", "masks"))
