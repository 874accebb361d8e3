"""torchvision's ResNets up to their pooling, as a list of children: 0 convolution, 1 norm, 2 ReLU, 3 pooling, 4 to 7 the stages."""

from __future__ import annotations

from typing import get_args

import torchvision
from torch import nn

from models.architecture import ResNet

NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
"""Of the parts that have weights, by torchvision's names, which are timm's too."""


def resnet_children(backbone: str, bands: int) -> nn.Sequential:
    """A ResNet for `bands` bands, with fresh weights."""
    if backbone not in get_args(ResNet):
        raise ValueError(f"{backbone} is none of {', '.join(get_args(ResNet))}.")
    made = getattr(torchvision.models, backbone)(weights=None)
    made.conv1 = first_convolution(made.conv1, bands)
    return nn.Sequential(*list(made.children())[:-2])


def first_convolution(convolution: nn.Conv2d, bands: int) -> nn.Conv2d:
    """A ResNet's first one for `bands` bands; as it is for three."""
    return convolution if bands == 3 else nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)


def stage_channels(body: nn.Sequential) -> list[int]:
    """Channels that the four stages end with (strides 4 to 32)."""
    return [_last_norm(body[stage]).num_features for stage in (4, 5, 6, 7)]


def dilate(stage: nn.Module, dilation: int) -> None:
    """Keep the stage's input size: no strides, and 3x3 convolutions that look `dilation` pixels apart, in place."""
    for conv in stage.modules():
        if isinstance(conv, nn.Conv2d):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)


def _last_norm(stage: nn.Module) -> nn.BatchNorm2d:
    """Of the stage's last block: its `bn2`, or `bn3` of a bottleneck."""
    *_, block = stage.children()
    *_, norm = (m for name, m in block.named_children() if name.startswith("bn"))
    assert isinstance(norm, nn.BatchNorm2d)
    return norm
