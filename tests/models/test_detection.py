import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from models.architecture import DetectorArchitecture
from models.bundle import load_bundle, save_bundle
from models.detection import DetectionNetwork, empty_targets, take_detector
from models.freezing import freeze
from models.network import build_network
from tests.models.cards import a_card
from workspace.classes import ClassDef

EVERY = ("fasterrcnn", "maskrcnn", "retinanet", "fcos", "ssd")


def small(detector, bands=4, outputs=3):
    torch.manual_seed(0)
    return build_network(DetectorArchitecture(encoder="resnet10t", detector=detector), bands, outputs)


@pytest.mark.parametrize("detector", EVERY)
def test_losses_of_images_with_and_without_objects_can_be_learnt_from(detector):
    network = small(detector).train()
    masks = torch.zeros(1, 64, 96, dtype=torch.uint8)
    masks[:, 8:40, 8:40] = 1
    there = {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([2]), "masks": masks}
    nothing = empty_targets() | {"masks": torch.zeros(0, 64, 96, dtype=torch.uint8)}
    losses = network.losses(torch.randn(2, 4, 64, 96), [there, nothing])
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.parameters())


@pytest.mark.parametrize("detector", EVERY)
def test_boxes_lie_in_the_image_at_its_own_size(detector):
    network = small(detector).eval()
    with torch.no_grad():
        found = network(torch.randn(2, 4, 70, 101))
    assert len(found) == 2
    for one in found:
        assert one.keys() >= {"boxes", "scores", "labels"}
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= torch.tensor([101.0, 70, 101, 70])).all()
        assert ((one["labels"] >= 1) & (one["labels"] <= 2)).all()
        if detector == "maskrcnn":
            assert one["masks"].shape[1:] == (1, 70, 101)


@pytest.mark.parametrize("detector", EVERY)
def test_frozen_statistics_do_not_move_in_a_step(detector):
    network = small(detector)
    freeze(network.encoder)
    before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    network.train()
    there = {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1]), "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
    sum(network.losses(torch.randn(1, 4, 64, 64), [there]).values()).backward()
    assert all(torch.equal(v, before[k]) for k, v in network.encoder.state_dict().items())
    assert all(p.grad is None for p in network.encoder.parameters())


@pytest.mark.parametrize("detector", EVERY)
def test_classes_keep_what_was_learnt_of_them_at_another_place(detector):
    old, new = small(detector, outputs=3), small(detector, outputs=4)
    with torch.no_grad():
        for parameter in [*old.parameters(), *new.parameters()]:
            parameter.copy_(torch.randn_like(parameter) * 0.02)
    take_detector(new, old, ["House", "Tree"], ["Pond", "tree", "House"])
    image = torch.randn(1, 4, 64, 64)
    for network in (old, new):
        network.eval()
    logits = [class_logits(network, image) for network in (old, new)]
    assert torch.allclose(logits[1][..., 2], logits[0][..., 2], atol=1e-5)  # Tree
    assert torch.allclose(logits[1][..., 3], logits[0][..., 1], atol=1e-5)  # House
    assert torch.allclose(logits[1][..., 0], logits[0][..., 0], atol=1e-5)
    assert not torch.allclose(logits[1][..., 1], logits[0][..., 1], atol=1e-5)


@torch.no_grad()
def class_logits(network, image):
    """(n, outputs) of the heads, at fixed places."""
    detector = network.detector
    if hasattr(detector, "roi_heads"):
        seen = detector.roi_heads.box_head(torch.randn(5, 128, 7, 7, generator=torch.Generator().manual_seed(0)))
        scores, boxes = detector.roi_heads.box_predictor(seen)
        return scores + boxes.view(5, -1, 4).sum(dim=-1)
    features = list(detector.backbone(image).values())
    return (detector.head(features))["cls_logits"][0]


def test_ssd_looks_for_things_of_the_same_size_in_images_of_any_size():
    network = build_network(DetectorArchitecture(encoder="resnet10t", detector="ssd", smallest_px=16), 3, 2).eval()
    for side in (64, 256):
        image = torch.zeros(1, 3, side, side)
        features = list(network.detector.backbone(image).values())
        boxes = network.detector.anchor_generator(ImageList(image, [(side, side)]), features)[0]
        assert float((boxes[:, 2] - boxes[:, 0])[0]) == pytest.approx(16)


def test_a_detector_is_kept_as_a_bundle(tmp_path):
    network = small("fasterrcnn", bands=3, outputs=2).eval()
    classes = (ClassDef(value=1, name="House", colour="#4361ee"),)
    card = a_card(architecture=DetectorArchitecture(encoder="resnet10t"), classes=classes)
    assert card.task == "object detection"
    save_bundle(tmp_path / "houses", network, card)
    again = load_bundle(tmp_path / "houses", DetectionNetwork)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image)[0]["scores"], again.network(image)[0]["scores"])
