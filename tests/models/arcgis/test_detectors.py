"""What ArcGIS's detectors find: against torchvision's own where they are torchvision's, else against answers known beforehand."""

import pytest
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from models.arcgis.networks import from_arcgis, spelt_as_now, to_arcgis
from models.arcgis.resnet import resnet_children
from models.arcgis.retinanet import change_to, changed
from models.arcgis.ssd import Step, at_side, layout
from models.architecture import ArcGISDetectorArchitecture
from models.bundle import adapt_bands
from models.detection import empty_targets, take_detector
from models.network import build_network
from tests.models.arcgis.test_networks import BOXES, MASKS, RETINA, SSD

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
CHIP = 96


def detector_of(architecture, outputs=3, bands=3):
    torch.manual_seed(0)
    return build_network(architecture, bands, outputs).eval()


def torchvisions(architecture):
    """As arcgis.learn puts them together."""
    sizes = {"min_size": 1.5 * CHIP, "max_size": 2 * CHIP}
    if architecture.backbone == "resnet50":
        return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, **sizes).eval()
    body = resnet_children("resnet18", 3)
    body.out_channels = 512
    kind = MaskRCNN if architecture.model == "MaskRCNN" else FasterRCNN
    return kind(body, 3, rpn_anchor_generator=AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),)), **sizes).eval()


@pytest.mark.parametrize(
    "architecture",
    [MASKS, MASKS.model_copy(update={"model": "FasterRCNN"}), MASKS.model_copy(update={"backbone": "resnet50"})],
    ids=lambda a: f"{a.model} {a.backbone}",
)
def test_torchvisions_own_find_the_very_same(architecture):
    """They are shown values / 255, which they normalise themselves; ours are shown normalised ones."""
    torch.manual_seed(3)
    theirs = torchvisions(architecture)
    with torch.no_grad():
        for name, buffer in theirs.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(20)  # so that some are sure
    ours = detector_of(architecture)
    wanted = to_arcgis(architecture, ours.state_dict())
    state = spelt_as_now(architecture, theirs.state_dict(), wanted)
    assert state.keys() == wanted.keys()
    ours.load_state_dict(from_arcgis(architecture, state, ours.state_dict()))
    image = torch.rand(3, CHIP, CHIP)
    with torch.inference_mode():
        expected = theirs([image])[0]
        found = ours(((image - MEAN) / STD)[None])[0]
    count = min(len(expected["boxes"]), len(found["boxes"]))
    assert count > 5
    for name in expected:
        one, other = found[name][:count].float(), expected[name][:count].float()
        if name == "masks":  # laid on whole pixels: a box that rounds the other way moves its edge
            assert (one - other).abs().mean() < 1e-3
        else:
            assert torch.allclose(one, other, atol=2e-3)


def test_names_of_older_versions_are_read():
    older = {
        "rpn.head.conv.0.0.weight": "rpn.head.conv.weight",
        "roi_heads.mask_head.2.0.bias": "roi_heads.mask_head.mask_fcn3.bias",
        "backbone.fpn.inner_blocks.3.0.weight": "backbone.fpn.inner_blocks.3.weight",
    }
    network = detector_of(MASKS.model_copy(update={"backbone": "resnet50"}))
    wanted = to_arcgis(MASKS, network.state_dict())
    state = {older.get(name, name): tensor for name, tensor in wanted.items()} | {"backbone.body.bn1.num_batches_tracked": torch.tensor(5)}
    assert set(older.values()) < state.keys()
    assert spelt_as_now(MASKS, state, wanted).keys() == wanted.keys()


@pytest.mark.parametrize("architecture", [BOXES.model_copy(update={"backbone": "resnet18"}), RETINA, SSD], ids=lambda a: a.model)
def test_weights_go_out_and_come_in_and_find_the_same(architecture):
    """Other than torch's, boxes have no tolerance: the numbers are the same."""
    network = lively(detector_of(architecture))
    other = build_network(architecture, 3, 3).eval()
    other.load_state_dict(from_arcgis(architecture, to_arcgis(architecture, network.state_dict()), other.state_dict()))
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before, after = network(image)[0], other(image)[0]
    assert len(before["boxes"]) > 0
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(before["labels"].tolist()) <= {1, 2}
    assert float(before["boxes"].min()) >= 0
    assert float(before["boxes"].max()) <= 96


def lively(network):
    """Fresh heads say nothing; this one does."""
    with torch.no_grad():
        for name, value in network.named_parameters():
            if any(part in name for part in (".oconv1.", "classifier.4.", "cls_score")):
                value.normal_(0, 0.05) if value.ndim > 1 else value.zero_()
    return network


def test_retinanets_boxes_span_four_cells_at_each_place():
    network = detector_of(RETINA.model_copy(update={"scales": (1.0, 0.5), "ratios": (4.0,)}))
    with torch.inference_mode():
        _, _, boxes = network.detector.answers(torch.zeros(1, 3, 64, 128))
    assert len(boxes) == 2 * (8 * 16 + 4 * 8 + 2 * 4 + 1 * 2 + 1 * 1)
    assert boxes[:2].tolist() == [[4, 4, 64, 16], [4, 4, 32, 8]]  # stride 8, twice as high and half as wide as four cells
    assert boxes[2].tolist() == [4, 12, 64, 16]
    assert boxes[-2].tolist() == [32, 64, 512, 256]  # one cell for the whole picture


def test_retinanets_changes_move_by_tenths_and_grow_by_fifths():
    box = torch.tensor([[10.0, 20.0, 40.0, 80.0]])
    assert changed(box, torch.tensor([[1.0, -1.0, 0.0, 0.0]])).tolist() == [[14.0, 12.0, 40.0, 80.0]]
    assert changed(box, torch.tensor([[0.0, 0.0, 5.0, 0.0]]))[0, 2].item() == pytest.approx(40 * 2.718281828, rel=1e-6)
    wanted = torch.tensor([[13.0, 25.0, 30.0, 100.0]])
    assert torch.allclose(changed(box, change_to(box, wanted)), wanted)


@pytest.mark.parametrize(
    ("grids", "version", "side", "stages", "steps"),
    [
        ((4, 2, 1), 2, 224, 4, [Step(3, 2, 1), Step(3, 1, 0), Step(2, 1, 0)]),
        ((4, 2, 1), 1, 224, 4, [Step(3, 2, 1), Step(3, 1, 0), Step(2, 1, 0)]),
        ((9, 5, 2), 2, 256, 4, [Step(3, 1, 1, enlarged=9), Step(3, 2, 1), Step(3, 2, 0)]),
        ((16, 8, 1), 2, 224, 3, [Step(3, 1, 1, enlarged=16), Step(3, 2, 1), Step(8, 1, 0)]),
        ((1,), 2, 224, 4, [Step(7, 1, 0)]),
    ],
)
def test_the_way_from_grid_to_grid(grids, version, side, stages, steps):
    found = ArcGISDetectorArchitecture(model="SingleShotDetector", grids=grids, ssd_version=version, side=side)
    assert layout(found) == (stages, steps)


def test_a_way_that_there_is_not_is_said():
    with pytest.raises(ValueError, match="from 7 to 16 cells"):
        layout(SSD.model_copy(update={"grids": (16,), "ssd_version": 1}))


def test_other_tiles_make_another_network_only_with_the_same_weights():
    assert at_side(SSD, 256).side == 256
    whole = SSD.model_copy(update={"grids": (1,)})
    assert at_side(whole, 256) == whole  # 8 x 8 cells instead of 7 x 7 in one convolution
    assert at_side(RETINA, 512) == RETINA


def test_ssds_boxes_are_cells_moved_by_half_of_them_at_most():
    network = detector_of(SSD.model_copy(update={"grids": (2,), "box_shapes": ((1.0, 0.5),), "side": 64}), outputs=2)
    head = network.detector[1].oconvs[0]
    with torch.no_grad():
        for conv in (head.oconv1, head.oconv2):
            conv.weight.zero_()
        head.oconv1.bias.copy_(torch.tensor([9.0, 2.0]))
        head.oconv2.bias.copy_(torch.tensor([0.0, 99.0, 0.0, -99.0]))
    with torch.inference_mode():
        found = network(torch.randn(1, 3, 64, 64))[0]
        larger = network(torch.randn(1, 3, 128, 128))[0]
    # centres at 16 and 48, moved right by half a cell of 32; half as wide as a cell, then half of that
    assert sorted(found["boxes"].tolist()) == [[28, 0, 36, 32], [28, 32, 36, 64], [60, 0, 64, 32], [60, 32, 64, 64]]
    assert found["scores"].tolist() == pytest.approx([1 / (1 + 2.718281828**-2)] * 4)
    assert sorted(larger["boxes"].tolist()) == [[56, 0, 72, 64], [56, 64, 72, 128], [120, 0, 128, 64], [120, 64, 128, 128]]


@pytest.mark.parametrize("architecture", [RETINA, SSD.model_copy(update={"side": 64})], ids=lambda a: a.model)
def test_it_learns_a_square_and_that_there_is_none(architecture):
    network = detector_of(architecture)
    torch.manual_seed(1)
    image = torch.randn(2, 3, 64, 64) * 0.1
    image[0, :, 8:40, 16:48] += 2
    targets = [{"boxes": torch.tensor([[16.0, 8.0, 48.0, 40.0]]), "labels": torch.tensor([2])}, empty_targets()]
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-4)
    seen = []
    for _ in range(12):
        losses = network.losses(image, targets)
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append({name: value.item() for name, value in losses.items()})
    assert all(seen[-1][name] < 0.5 * seen[0][name] for name in ("classification", "bbox_regression"))


@pytest.mark.parametrize("architecture", [BOXES.model_copy(update={"backbone": "resnet18"}), RETINA, SSD], ids=lambda a: a.model)
def test_classes_that_stay_keep_what_is_known_of_them(architecture):
    base, new = lively(detector_of(architecture)), detector_of(architecture, outputs=4)
    take_detector(new, base, ["House", "Pool"], ["Car", "POOL", "Tree"])
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        if architecture.model == "FasterRCNN":
            features = torch.randn(5, 1024)
            before, after = (n.detector.roi_heads.box_predictor(features)[0] for n in (base, new))
            shift = 0
        else:
            image = torch.randn(1, 3, 224, 224)
            before, after = (n.detector.answers(image)[0][0] for n in (base, new))
            shift = 1 if architecture.model == "RetinaNet" else 0
    assert torch.allclose(after[:, 2 - shift], before[:, 2 - shift], atol=1e-5)
    assert not torch.allclose(after[:, 1 - shift], before[:, 1 - shift], atol=1e-2)


@pytest.mark.parametrize("architecture", [MASKS, BOXES, RETINA, SSD], ids=lambda a: a.model)
def test_bands_are_found_by_their_names(architecture):
    network = detector_of(architecture)
    adapt_bands(network, ["Red", "Green", "Blue"], ["Blue", "Red", "Green", "NIR"])
    fresh = build_network(architecture, 4, 3)
    fresh.load_state_dict(network.state_dict())
    assert next(iter(to_arcgis(architecture, fresh.state_dict()).values())).shape[1] == 4
