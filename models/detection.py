"""Networks that find objects: torchvision's detectors on a feature pyramid over a timm encoder, for any number of bands.

Images come in normalised, at their own size: nothing is resized or normalised inside.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from models.architecture import DetectorArchitecture
from models.network import Network, build_encoder

WIDTH = 128
"""Channels of the feature pyramid."""
ASPECTS = (0.5, 1.0, 2.0)
SSD_IMAGE_PX = 256
"""SSD's boxes are shares of the image: of one this large they have the sizes that the architecture says."""

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
        return found

    def losses(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The detector's own losses, by name; in training mode only."""
        found: dict[str, Tensor] = self.detector(list(image), targets)
        return found


class _AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Batches images; they keep their size and their numbers."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target


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
    sizes = [architecture.smallest_px * 2**i for i in range(levels + two_stage)]
    asked: dict[str, Any] = {"image_mean": [0.0] * bands, "image_std": [1.0] * bands}
    if two_stage:
        asked |= {"rpn_anchor_generator": AnchorGenerator(tuple((s,) for s in sizes), (ASPECTS,) * len(sizes))}
        names = [str(i) for i in range(levels)]
        asked |= {"box_roi_pool": MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)}
    if architecture.detector == "fasterrcnn":
        detector: nn.Module = FasterRCNN(pyramid, outputs, **asked)
    elif architecture.detector == "maskrcnn":
        detector = MaskRCNN(pyramid, outputs, mask_roi_pool=MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2), **asked)
    elif architecture.detector == "retinanet":
        anchors = AnchorGenerator(tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in sizes), (ASPECTS,) * len(sizes))
        detector = RetinaNet(pyramid, outputs, anchor_generator=anchors, **asked)
    elif architecture.detector == "fcos":
        detector = FCOS(pyramid, outputs, anchor_generator=AnchorGenerator(tuple((s,) for s in sizes), ((1.0,),) * len(sizes)), **asked)
    else:
        scales = [s / SSD_IMAGE_PX for s in [*sizes, sizes[-1] * 2]]
        boxes = DefaultBoxGenerator([[2]] * levels, scales=scales, steps=strides[first:])
        head = SSDHead([WIDTH] * levels, boxes.num_anchors_per_location(), outputs)
        detector = SSD(pyramid, boxes, (SSD_IMAGE_PX, SSD_IMAGE_PX), outputs, head=head, **asked)
    detector.transform = _AsItIs(1, 1, asked["image_mean"], asked["image_std"], size_divisible=max(strides))
    return DetectionNetwork(detector, stride=max(strides), bands=bands, outputs=outputs)


def empty_targets() -> dict[str, Tensor]:
    """Of an image without objects."""
    return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
