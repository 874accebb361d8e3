"""The road network of ArcGIS's MultiTaskRoadExtractor and ConnectNet, kind "linknet": LinkNet (Chaurasia & Culurciello 2017) with a second
decoder that tells the direction of a road (Batra et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from models.arcgis.resnet import resnet_children, stage_channels
from models.arcgis.roads import RoadDecoder, RoadNetwork, Seen

STRIDE = 32
WIDTH = 32


class DecoderBlock(nn.Module):
    """Twice as fine: narrow, transposed convolution, wide."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = nn.Conv2d(channels, inner, 1)
        self.norm1 = nn.BatchNorm2d(inner)
        self.deconv2 = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.deconv2(x)))
        return F.relu(self.norm3(self.conv3(x)))


class Finish(nn.Module):
    """From stride 2 to the pixels of the image, up to the last convolution of two by two pixels, which is the head's."""

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.deconv1 = nn.ConvTranspose2d(channels, WIDTH, 3, stride=2)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, 32, 2 h - 1, 2 w - 1)."""
        x = F.leaky_relu(self.deconv1(x), self.slope)
        return F.leaky_relu(self.conv2(x), self.slope)


def last_convolution(outputs: int) -> nn.Conv2d:
    """(n, 32, 2 h - 1, 2 w - 1) -> (n, outputs, 2 h, 2 w)."""
    return nn.Conv2d(WIDTH, outputs, 2, padding=1)


class LinkNetEncoder(nn.Module):
    """A ResNet: features at strides 4, 8, 16 and 32, finest first."""

    def __init__(self, backbone: str, bands: int) -> None:
        super().__init__()
        self.body = resnet_children(backbone, bands)

    def forward(self, image: Tensor) -> list[Tensor]:
        features, x = [], image
        for index, part in enumerate(self.body):
            x = part(x)
            if index >= 4:
                features.append(x)
        return features

    def look(self, image: Tensor) -> Seen:
        """Both decoders read the same features."""
        features = self(image)
        return Seen(features, features, [])


class LinkNetBranch(nn.Module):
    """Up from stride 32, adding the encoder's features of each stride."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        finest, *_ = channels
        self.decoder4 = DecoderBlock(channels[3], channels[2])
        self.decoder3 = DecoderBlock(channels[2], channels[1])
        self.decoder2 = DecoderBlock(channels[1], channels[0])
        self.decoder1 = DecoderBlock(finest, finest)
        self.final = Finish(finest, slope=0.2)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        fine, finer, coarse, coarsest = features
        x = self.decoder4(coarsest) + coarse
        x = self.decoder3(x) + finer
        x = self.decoder2(x) + fine
        return self.final(self.decoder1(x))


def build_linknet(backbone: str, bands: int, outputs: int, orientations: int) -> RoadNetwork:
    """A LinkNet with fresh weights; `orientations`: outputs of the second decoder."""
    encoder = LinkNetEncoder(backbone, bands)
    channels = stage_channels(encoder.body)
    decoder = RoadDecoder(LinkNetBranch(channels), LinkNetBranch(channels), last_convolution(orientations))
    return RoadNetwork(encoder, decoder, nn.Sequential(last_convolution(outputs)), stride=STRIDE, bands=bands, outputs=outputs)
