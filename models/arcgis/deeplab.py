"""ArcGIS's DeepLab: DeepLabV3 (Chen et al. 2017) with torchvision's heads over a ResNet whose last two stages are dilated (stride 8)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from models.arcgis.resnet import dilate, resnet_children, stage_channels
from models.network import SegmentationNetwork, Upscale

STRIDE = 8


class DeepLabEncoder(nn.Module):
    """The ResNet; only its last stage is looked at further on."""

    def __init__(self, backbone: str, bands: int) -> None:
        super().__init__()
        self.body = resnet_children(backbone, bands)
        dilate(self.body[6], 2)
        dilate(self.body[7], 4)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(n, bands, height, width) -> features at stride 8."""
        return [self.body(image)]


class DeepLabDecoder(nn.Module):
    """Pooling at several distances, and a convolution. `aux` is what ArcGIS trains beside it: kept for its packages, never asked."""

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.aspp = nn.Sequential(*list(DeepLabHead(channels[-1], outputs).children())[:-1])
        self.aux = FCNHead(channels[-2], outputs)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features at stride 8 -> (n, 256, height / 8, width / 8)."""
        return self.aspp(features[-1])


def build_deeplab(backbone: str, bands: int, outputs: int) -> SegmentationNetwork:
    """A DeepLab with fresh weights."""
    encoder = DeepLabEncoder(backbone, bands)
    decoder = DeepLabDecoder(stage_channels(encoder.body), outputs)
    head = nn.Sequential(nn.Conv2d(256, outputs, 1), Upscale(STRIDE))
    return SegmentationNetwork(encoder, decoder, head, stride=STRIDE, bands=bands, outputs=outputs)
