"""ArcGIS's MaskRCNN and FasterRCNN: torchvision's own (He et al. 2017, Ren et al. 2015), shown pictures one and a half times as large.

From resnet50 on they have a feature pyramid. With resnet18 and resnet34 they look at the last stage alone, for boxes of one size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from models.arcgis.boxes import STRIDE, ArcGISDetector
from models.arcgis.resnet import first_convolution, resnet_children, stage_channels
from models.architecture import ArcGISDetectorArchitecture
from models.detection import ASPECTS, LEAST_SCORE, MOST_BOXES, MOST_OUTLINES

ENLARGED = 1.5
WITHOUT_PYRAMID = ("resnet18", "resnet34")
ONLY_SIZE_PX = 32
"""Of the boxes looked for without a pyramid, in pixels of the enlarged picture."""


class _Enlarged(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Pictures come in normalised; they, their boxes and masks are enlarged, and what is found goes back."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        self.min_size, self.max_size = (ENLARGED * min(image.shape[-2:]),), 2 * ENLARGED * max(image.shape[-2:])
        found: tuple[Tensor, Any] = super().resize(image, target)
        return found

    def normalize(self, image: Tensor) -> Tensor:
        return image


class _RCNN(ArcGISDetector):
    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        backbone = self.detector.backbone
        return backbone.body if hasattr(backbone, "body") else backbone


def build_rcnn(architecture: ArcGISDetectorArchitecture, bands: int, outputs: int) -> ArcGISDetector:
    """A detector with fresh weights."""
    small = architecture.backbone in WITHOUT_PYRAMID
    if small:
        backbone: Any = resnet_children(architecture.backbone, bands)
        backbone.out_channels = stage_channels(backbone)[-1]
    else:
        backbone = resnet_fpn_backbone(backbone_name=architecture.backbone, weights=None, trainable_layers=5)
        backbone.body.conv1 = first_convolution(backbone.body.conv1, bands)
    masks = architecture.model == "MaskRCNN"
    detector = (MaskRCNN if masks else FasterRCNN)(
        backbone,
        outputs,
        rpn_anchor_generator=AnchorGenerator(((ONLY_SIZE_PX,),), (ASPECTS,)) if small else None,
        box_score_thresh=LEAST_SCORE,
        box_detections_per_img=MOST_OUTLINES if masks else MOST_BOXES,
    )
    detector.transform = _Enlarged(1, 1, [], [], size_divisible=STRIDE)
    return _RCNN(detector, bands=bands, outputs=outputs)
