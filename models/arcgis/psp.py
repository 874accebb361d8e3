"""ArcGIS's PSPNetClassifier: pyramid pooling (Zhao et al. 2017) over a ResNet whose last two stages are dilated (stride 8).

Two kinds: the usual one goes on as fastai's dynamic U-Net does, with normalisation layers this time; the plain one is enlarged at once.
ArcGIS keeps the usual kind's pixel shuffles as length and direction of their weights, and a normalisation behind the last layer. Here both are worked
into the weights, which answers the same and lets the last layer take other classes: see `theirs` and `ours`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arcgis.resnet import dilate, resnet_children, stage_channels
from models.arcgis.unet import STEM, PixelShuffle, UpBlock, convolution
from models.network import SegmentationNetwork

STRIDE = 8
NARROW = 512
"""Channels behind the pyramid of the usual kind."""
MOMENTUM = 0.95
"""Of the pyramid's normalisation layers."""
LAST = "model.layers.7."
EPS = 1e-5
"""Of ArcGIS's last normalisation layer."""


class PspEncoder(nn.Module):
    """A dilated ResNet that gives its features after the first convolution and the four stages: strides 2, 4, 8, 8 and 8."""

    def __init__(self, backbone: str, bands: int) -> None:
        super().__init__()
        self.body = resnet_children(backbone, bands)
        dilate(self.body[6], 2)
        dilate(self.body[7], 4)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(n, bands, height, width), both a multiple of 8."""
        features, x = [], image
        for index, part in enumerate(self.body):
            x = part(x)
            if index in (2, 4, 5, 6, 7):
                features.append(x)
        return features


class Pyramid(nn.Module):
    """What the whole picture and ever smaller parts of it show on average, beside what each place shows."""

    def __init__(self, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        inner = channels // len(sizes)
        self.features = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner, momentum=MOMENTUM), nn.ReLU(inplace=True))
            for size in sizes
        )
        self.out_channels = channels + inner * len(sizes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [F.interpolate(part(x), x.shape[-2:], mode="bilinear", align_corners=True) for part in self.features]
        return torch.cat([x, *pooled], dim=1)


class PspUnetDecoder(nn.Module):
    """The usual kind: two steps up beside the encoder's features, a third without."""

    def __init__(self, channels: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels[-1], sizes)
        self.narrow = nn.Conv2d(self.pyramid.out_channels, NARROW, 3, padding=1)
        self.bn = nn.BatchNorm2d(NARROW)
        self.middle = nn.Sequential(convolution(NARROW, 2 * NARROW, norm=True), convolution(2 * NARROW, NARROW, norm=True))
        first = UpBlock(NARROW, channels[0], last=False, norm=True)
        second = UpBlock(first.out_channels, STEM, last=True, norm=True)
        self.up = nn.ModuleList([first, second])
        self.shuffle = PixelShuffle(second.out_channels, second.out_channels)
        self.out_channels = second.out_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """As `PspEncoder` gives them -> (n, channels, height, width)."""
        x = self.middle(F.relu(self.bn(self.narrow(self.pyramid(features[-1])))))
        for block, skip in zip(self.up, (features[1], features[0]), strict=True):
            x = block(x, skip)
        return self.shuffle(x)


class PspPlainDecoder(nn.Module):
    """The plain kind. `aux` is what ArcGIS trains beside it: kept for its packages, never asked."""

    def __init__(self, channels: Sequence[int], sizes: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels[-1], sizes)
        self.out_channels = -(-channels[-1] // len(sizes))
        convolve = nn.Conv2d(self.pyramid.out_channels, self.out_channels, 3, padding=1, bias=False)
        self.final = nn.Sequential(convolve, nn.BatchNorm2d(self.out_channels), nn.ReLU(inplace=True), nn.Dropout(0.1))
        self.aux = nn.Conv2d(channels[-2], outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """As `PspEncoder` gives them -> (n, channels, height / 8, width / 8)."""
        return self.final(self.pyramid(features[-1]))


class _Enlarge(nn.Module):
    """To the pixels of the image, the outermost of both lying on one another."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=float(STRIDE), mode="bilinear", align_corners=True)


def build_psp(backbone: str, bands: int, outputs: int, sizes: Sequence[int], *, unet: bool) -> SegmentationNetwork:
    """A PSPNet with fresh weights.

    Args:
        backbone: A ResNet.
        bands: Input bands.
        outputs: Background and classes.
        sizes: Into how many parts, down and across, the picture is cut by each level of the pyramid.
        unet: The usual kind.
    """
    encoder = PspEncoder(backbone, bands)
    channels = stage_channels(encoder.body)
    if unet:
        decoder: PspUnetDecoder | PspPlainDecoder = PspUnetDecoder(channels, sizes)
        head = nn.Sequential(nn.Conv2d(decoder.out_channels, outputs, 1))
    else:
        decoder = PspPlainDecoder(channels, sizes, outputs)
        head = nn.Sequential(nn.Conv2d(decoder.out_channels, outputs, 1), _Enlarge())
    return SegmentationNetwork(encoder, decoder, head, stride=STRIDE, bands=bands, outputs=outputs)


def theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the usual kind, under ArcGIS's names already, as ArcGIS keeps them."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("conv.0.weight"):
            found |= {f"{name}_g": tensor.flatten(1).norm(dim=1)[:, None, None, None], f"{name}_v": tensor}
        elif name == f"{LAST}0.bias":
            ones = torch.ones_like(tensor)
            found |= {f"{LAST}1.weight": ones, f"{LAST}1.bias": tensor, f"{LAST}1.running_mean": torch.zeros_like(tensor)}
            found |= {f"{LAST}1.running_var": ones - EPS, f"{LAST}1.num_batches_tracked": torch.tensor(0)}
        else:
            found[name] = tensor
    return found


def ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back, of weights with the names and sizes of `theirs`."""
    found = dict(state)
    for name in state:
        if name.endswith("conv.0.weight_g"):
            direction, length = found.pop(name.removesuffix("_g") + "_v"), found.pop(name)
            found[name.removesuffix("_g")] = direction * (length / direction.flatten(1).norm(dim=1)[:, None, None, None])
    norm = {part: found.pop(f"{LAST}1.{part}") for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    scale = norm["weight"] / (norm["running_var"] + EPS).sqrt()
    found[f"{LAST}0.weight"] = found[f"{LAST}0.weight"] * scale[:, None, None, None]
    found[f"{LAST}0.bias"] = norm["bias"] - norm["running_mean"] * scale
    return found
