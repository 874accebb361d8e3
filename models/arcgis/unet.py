"""ArcGIS's UnetClassifier: fastai's dynamic U-Net (Howard et al.) over a torchvision ResNet, by its published layout.

The encoder's features go up through pixel shuffles without normalisation layers; the image itself joins at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.arcgis.resnet import resnet_children, stage_channels
from models.network import SegmentationNetwork

STRIDE = 32
STEM = 64
"""Channels of a ResNet at stride 2."""


class UnetEncoder(nn.Module):
    """A ResNet that gives the image itself and its features at strides 2, 4, 8, 16 and 32, finest first."""

    def __init__(self, backbone: str, bands: int) -> None:
        super().__init__()
        self.body = resnet_children(backbone, bands)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(n, bands, height, width) -> six levels."""
        features, x = [image], image
        for index, part in enumerate(self.body):
            x = part(x)
            if index in (2, 4, 5, 6, 7):
                features.append(x)
        return features


class UpBlock(nn.Module):
    """Twice as fine: pixel shuffle, joined with the encoder's features of that stride, two convolutions."""

    def __init__(self, coarse: int, fine: int, *, last: bool, norm: bool = False) -> None:
        super().__init__()
        self.shuf = PixelShuffle(coarse, coarse // 2)
        self.bn = nn.BatchNorm2d(fine)
        joined = coarse // 2 + fine
        self.out_channels = joined // 2 if last else joined
        self.conv1 = convolution(joined, self.out_channels, norm=norm)
        self.conv2 = convolution(self.out_channels, self.out_channels, norm=norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Coarse features and those of the encoder at twice the size -> as many rows and columns as the latter."""
        return self.conv2(self.conv1(F.relu(torch.cat([self.shuf(x), self.bn(skip)], dim=1))))


class PixelShuffle(nn.Module):
    """A 1x1 convolution to four times the channels, rearranged to twice the rows and columns."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, 4 * out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.relu(self.conv(x)), 2)


class Cross(nn.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(channels, inner), convolution(inner, channels))

    @property
    def first(self) -> nn.Conv2d:
        return self.layers[0][0]  # type: ignore[index]

    @property
    def last(self) -> nn.Conv2d:
        return self.layers[1][0]  # type: ignore[index]

    def widen(self, inner: int) -> None:
        """Have `inner` channels in between, in place; a further one starts as the mean of all and without a say."""
        more = inner - self.first.out_channels
        assert self.first.bias is not None
        rows, bias, columns = self.first.weight.detach(), self.first.bias.detach(), self.last.weight.detach()
        if more > 0:
            rows = torch.cat([rows, rows.mean(0, keepdim=True).expand(more, -1, -1, -1)])
            bias = torch.cat([bias, bias.mean().expand(more)])
            columns = torch.cat([columns, columns.new_zeros(columns.shape[0], more, 3, 3)], dim=1)
        self.first.weight = nn.Parameter(rows[:inner].contiguous())
        self.first.bias = nn.Parameter(bias[:inner].contiguous())
        self.last.weight = nn.Parameter(columns[:, :inner].contiguous())
        self.first.out_channels = self.last.in_channels = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class UnetDecoder(nn.Module):
    """From the encoder's six levels to one vector for each pixel."""

    def __init__(self, channels: Sequence[int], bands: int, *, narrow: bool) -> None:
        super().__init__()
        deepest = channels[-1]
        self.bn = nn.BatchNorm2d(deepest)
        self.middle = nn.Sequential(convolution(deepest, 2 * deepest), convolution(2 * deepest, deepest))
        self.up = nn.ModuleList()
        width = deepest
        for index, fine in enumerate(reversed(channels[:-1])):
            block = UpBlock(width, fine, last=index == len(channels) - 2)
            self.up.append(block)
            width = block.out_channels
        self.shuffle = PixelShuffle(width, width)
        self.bands = bands
        self.out_channels = width + bands
        self.narrow = narrow
        self.cross = Cross(self.out_channels, _inner(self.out_channels, narrow=narrow))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Image and features, finest first -> (n, channels, height, width)."""
        image, *levels = features
        x = self.middle(F.relu(self.bn(levels[-1])))
        for block, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            x = block(x, skip)
        return self.cross(torch.cat([self.shuffle(x), image], dim=1))


class UnetNetwork(SegmentationNetwork):
    """The image joins the decoder, too, so other bands change its end as well."""

    def take_bands(self, columns: Sequence[int | None]) -> None:
        """See `Network.take_bands`. The last channels of the decoder's end stand for bands; a further band starts as the mean of all."""
        decoder, head = self.decoder, self.head.get_submodule("0")
        assert isinstance(decoder, UnetDecoder) and isinstance(head, nn.Conv2d)
        cross = decoder.cross
        for layer, axis in ((cross.first, 1), (cross.last, 0), (head, 1)):
            layer.weight = nn.Parameter(_with_bands(layer.weight.detach(), decoder.bands, columns, axis))
        assert cross.last.bias is not None
        cross.last.bias = nn.Parameter(_with_bands(cross.last.bias.detach(), decoder.bands, columns, 0))
        decoder.out_channels += len(columns) - decoder.bands
        decoder.bands = len(columns)
        cross.first.in_channels = cross.last.out_channels = head.in_channels = decoder.out_channels
        cross.widen(_inner(decoder.out_channels, narrow=decoder.narrow))


def build_unet(backbone: str, bands: int, outputs: int, *, narrow: bool) -> UnetNetwork:
    """A U-Net with fresh weights; `narrow`: the convolutions after the image has joined have half the channels between them."""
    encoder = UnetEncoder(backbone, bands)
    decoder = UnetDecoder([STEM, *stage_channels(encoder.body)], bands, narrow=narrow)
    head = nn.Sequential(nn.Conv2d(decoder.out_channels, outputs, 1))
    return UnetNetwork(encoder, decoder, head, stride=STRIDE, bands=bands, outputs=outputs)


def convolution(channels: int, out_channels: int, *, norm: bool = False) -> nn.Sequential:
    """3x3, then ReLU; with a bias, or a normalisation behind instead."""
    conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=not norm)
    nn.init.kaiming_normal_(conv.weight)
    if norm:
        return nn.Sequential(conv, nn.ReLU(inplace=True), nn.BatchNorm2d(out_channels))
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def _inner(channels: int, *, narrow: bool) -> int:
    return channels // 2 if narrow else channels


def _with_bands(weight: Tensor, bands: int, columns: Sequence[int | None], axis: int) -> Tensor:
    """`weight` with the last `bands` slices along `axis` replaced by those of `columns`."""
    others, of_bands = weight.split([weight.shape[axis] - bands, bands], dim=axis)
    mean = of_bands.mean(dim=axis, keepdim=True)
    chosen = [mean if column is None else of_bands.narrow(axis, column, 1) for column in columns]
    return torch.cat([others, *chosen], dim=axis).contiguous()
