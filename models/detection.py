"""Networks that find objects: torchvision's detectors on a feature pyramid over a timm encoder, for any number of bands.

Images come in normalised, at their own size: nothing is resized or normalised inside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from models.architecture import DetectorArchitecture
from models.network import Network, build_encoder

WIDTH = 128
"""Channels of the feature pyramid."""
ASPECTS = (0.5, 1.0, 2.0)
BOX_SIDE, MASK_SIDE = 7, 14
"""Pixels of the features of one object."""
BOX_FEATURES = 256
MOST_BOXES, MOST_OUTLINES = 300, 100
"""Objects found in one image, at most."""
LEAST_SCORE = 0.05
"""Nothing less sure is found."""
PROPOSALS: dict[str, Any] = {
    "rpn_pre_nms_top_n_train": 1000,
    "rpn_pre_nms_top_n_test": 1000,
    "rpn_post_nms_top_n_train": 500,
    "rpn_post_nms_top_n_test": 300,
    "box_batch_size_per_image": 128,
}
"""For images of a few hundred pixels: fewer places are looked at twice than in torchvision, which thinks of photographs of a million pixels."""
WITHOUT_BACKGROUND = "detector.classifier.4."
"""The layer of ArcGIS's RetinaNet, which has numbers for classes only."""
BY_CLASS = ("box_predictor.", "mask_fcn_logits", "classification_head.cls_logits", "classification_head.module_list", ".oconv1.", WITHOUT_BACKGROUND)
"""Layers of the detectors that have numbers for each class."""

Targets = list[dict[str, Tensor]]
"""For each image: `boxes` (k, 4) float32 xmin, ymin, xmax, ymax in pixels, `labels` (k,) int64 from 1, perhaps `masks` (k, rows, columns) uint8."""


class DetectionNetwork(Network):
    """A detector of torchvision: label i is the class `classes[i - 1]` of the card."""

    def __init__(self, detector: Any, *, stride: int, bands: int, outputs: int) -> None:
        super().__init__()
        self.detector = detector
        self.stride = stride
        self.bands = bands
        self.outputs = outputs

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        return self.detector.backbone.encoder

    def forward(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Objects in each image of (n, bands, rows, columns).

        Returns:
            For each image `boxes` (k, 4) xmin, ymin, xmax, ymax in pixels, `scores` (k,) 0..1, `labels` (k,) from 1, the surest first; of
            instance models `masks` (k, 1, rows, columns) probabilities, too.
        """
        found: list[dict[str, Tensor]] = self.detector(list(image))
        # one-stage detectors have a column for background, too, which nothing ever teaches
        return [{name: value[one["labels"] > 0] for name, value in one.items()} for one in found]

    def losses(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The detector's own losses, by name; in training mode only."""
        found: dict[str, Tensor] = self.detector(list(image), targets)
        return found


class _AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Batches images; they keep their size and their numbers."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target

    def normalize(self, image: Tensor) -> Tensor:
        return image


class _PixelBoxes(DefaultBoxGenerator):  # type: ignore[misc]
    """SSD's boxes with scales in pixels, whatever the size of the image: torchvision takes them as shares of it."""

    def _grid_default_boxes(self, grid_sizes: Any, image_size: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        """(n, 4) centre x, y, width, height as shares of the image."""
        found: Tensor = super()._grid_default_boxes(grid_sizes, image_size, dtype=dtype)
        found[:, 2:] /= torch.tensor([image_size[1], image_size[0]], dtype=dtype)
        return found


class _Pyramid(nn.Module):
    """Encoder and feature pyramid (Lin et al. 2017), from stride 4 on."""

    def __init__(self, encoder: nn.Module, channels: list[int], first: int, *, extra: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.first = first
        self.fpn = FeaturePyramidNetwork(channels[first:], WIDTH, LastLevelMaxPool() if extra else None)
        self.out_channels = WIDTH

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        levels = list(self.encoder(image))[self.first :]
        found: dict[str, Tensor] = self.fpn(OrderedDict((str(i), level) for i, level in enumerate(levels)))
        return found


def build_detector(architecture: DetectorArchitecture, bands: int, outputs: int, *, pretrained: bool = False) -> DetectionNetwork:
    """See `models.network.build_network`."""
    encoder, channels, strides = build_encoder(architecture.encoder, architecture.encoder_levels, bands, pretrained=pretrained)
    first = next(i for i, stride in enumerate(strides) if stride >= 4)
    two_stage = architecture.detector in ("fasterrcnn", "maskrcnn")
    pyramid = _Pyramid(encoder, channels, first, extra=two_stage)
    levels = len(channels) - first
    names = [str(i) for i in range(levels)]
    sizes = [architecture.smallest_px * 2**i for i in range(levels + two_stage)]
    if two_stage:
        asked: dict[str, Any] = {
            "rpn_anchor_generator": AnchorGenerator(tuple((s,) for s in sizes), (ASPECTS,) * len(sizes)),
            "box_roi_pool": MultiScaleRoIAlign(names, output_size=BOX_SIDE, sampling_ratio=2),
            "box_head": TwoMLPHead(WIDTH * BOX_SIDE**2, BOX_FEATURES),
            "box_predictor": FastRCNNPredictor(BOX_FEATURES, outputs),
            "box_score_thresh": LEAST_SCORE,
            **PROPOSALS,
        }
    else:
        asked = {"score_thresh": LEAST_SCORE, "detections_per_img": MOST_BOXES}
    if architecture.detector == "fasterrcnn":
        detector: nn.Module = FasterRCNN(pyramid, **asked, box_detections_per_img=MOST_BOXES)
    elif architecture.detector == "maskrcnn":
        detector = MaskRCNN(
            pyramid,
            **asked,
            mask_roi_pool=MultiScaleRoIAlign(names, output_size=MASK_SIDE, sampling_ratio=2),
            mask_head=MaskRCNNHeads(WIDTH, (WIDTH,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(WIDTH, WIDTH, outputs),
            box_detections_per_img=MOST_OUTLINES,
        )
    elif architecture.detector == "retinanet":
        anchors = AnchorGenerator(tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in sizes), (ASPECTS,) * len(sizes))
        detector = RetinaNet(pyramid, outputs, anchor_generator=anchors, **asked)
    elif architecture.detector == "fcos":  # a level finds what reaches 4 to 8 times its size from a point, the finest all that is smaller
        points = AnchorGenerator(tuple((max(s // 4, 1),) for s in sizes), ((1.0,),) * len(sizes))
        detector = FCOS(pyramid, outputs, anchor_generator=points, **asked)
    else:
        boxes = _PixelBoxes([[2]] * levels, scales=[*sizes, sizes[-1] * 2], steps=strides[first:], clip=False)
        head = SSDHead([WIDTH] * levels, boxes.num_anchors_per_location(), outputs)
        detector = SSD(pyramid, boxes, (1, 1), outputs, head=head, **asked)
    detector.transform = _AsItIs(1, 1, [], [], size_divisible=max(strides))
    return DetectionNetwork(detector, stride=max(strides), bands=bands, outputs=outputs)


@torch.no_grad()
def take_detector(network: DetectionNetwork, base: DetectionNetwork, old_names: Sequence[str], new_names: Sequence[str]) -> None:
    """Give `network` the weights of `base`, in place; both are the same detector over the same encoder and read the same bands.

    Layers that have numbers for each class keep those of background and of classes that are in both lists (whatever the case); those of
    further classes stay as they are.
    """
    old = {name.casefold(): i for i, name in enumerate(old_names, 1)}
    rows = [(0, 0), *((i, old[name.casefold()]) for i, name in enumerate(new_names, 1) if name.casefold() in old)]
    there = base.state_dict()
    for name, mine in network.state_dict().items():
        if not any(part in name for part in BY_CLASS):
            mine.copy_(there[name])
            continue
        four = 4 if "bbox_pred" in name else 1  # numbers of one class lie together; else all classes of an anchor do
        first = 1 if name.startswith(WITHOUT_BACKGROUND) else 0
        new = mine.view(-1, network.outputs - first, four, *mine.shape[1:])
        kept = there[name].view(-1, base.outputs - first, four, *mine.shape[1:])
        for i, row in rows[first:]:
            new[:, i - first] = kept[:, row - first]


def empty_targets() -> dict[str, Tensor]:
    """Of an image without objects."""
    return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
