"""Networks: a timm encoder, then what the task asks for; for any number of bands and outputs, and any image size.

What finds objects is in `models.detection`. The default was chosen by measurement: see docs/networks.md, made by benchmarks/networks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.architecture import (
    AnyArcGIS,
    AnyArchitecture,
    ArcGISArchitecture,
    Architecture,
    DetectorArchitecture,
    OnnxArchitecture,
    SceneArchitecture,
)
from models.batch_norm import learn_from_one

__all__ = ["Architecture", "ChangeNetwork", "Network", "SceneNetwork", "SegmentationNetwork", "build_encoder", "build_network"]


class Network(nn.Module):
    """What every network has: an encoder that can be frozen, and how many bands it reads and outputs it gives."""

    encoder: nn.Module
    stride: int
    bands: int
    outputs: int
    """Background and classes; of scenes the classes alone."""

    def take_bands(self, columns: Sequence[int | None]) -> None:
        """Told by `models.bundle.adapt_bands` when the first convolution is about to read other bands: for each one its place among the old ones, or
        None. Networks that look at the image again further on change there, too.
        """


class SegmentationNetwork(Network):
    """Encoder, decoder and head: normalised image in, one logit per output and pixel out.

    `encode` and `decode` are separate so that what a frozen encoder says about a tile could be kept and reused.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, *, stride: int, bands: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        learn_from_one(decoder)
        self.head = head
        self.stride = stride
        self.bands = bands
        self.outputs = outputs

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of `image` (n, bands, height, width; both sides a multiple of `stride`), finest first."""
        return list(self.encoder(image))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (n, outputs, *size) from what `encode` gave; `size` (rows, columns) is cut out of the padded image's top left."""
        logits = self.head(self.decoder(features)).float()
        return logits[..., : size[0], : size[1]]

    def pad(self, image: Tensor) -> Tensor:
        """Mirror the right and bottom edges out to a multiple of `stride` (the last pixel repeats where the image is smaller)."""
        rows, columns = image.shape[-2:]
        down, across = -rows % self.stride, -columns % self.stride
        if not (down or across):
            return image
        mode = "reflect" if down < rows and across < columns else "replicate"
        return F.pad(image, (0, across, 0, down), mode=mode)

    def forward(self, image: Tensor) -> Tensor:
        """(n, bands, height, width) float -> logits (n, outputs, height, width) float32; any height and width."""
        return self.decode(self.encode(self.pad(image)), (image.shape[-2], image.shape[-1]))


class ChangeNetwork(SegmentationNetwork):
    """Looks at both images with one encoder and decodes how their features differ (FC-Siam-diff: Daudt et al. 2018).

    The first half of the bands is the earlier image, the second half the later one.
    """

    def encode(self, image: Tensor) -> list[Tensor]:
        """How much the features of the two images (n, 2 x bands, height, width) differ, finest first."""
        earlier, later = image.chunk(2, dim=1)
        both = self.encoder(torch.cat([earlier, later]))
        return [(a - b).abs() for a, b in (level.chunk(2) for level in both)]


class SceneNetwork(Network):
    """Encoder, mean over the picture, one linear layer: one logit per class for a whole tile."""

    head: nn.Module

    def __init__(self, encoder: nn.Module, features: int, *, several: bool, stride: int, bands: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(features, outputs)
        self.several = several
        self.stride = stride
        self.bands = bands
        self.outputs = outputs

    @property
    def last(self) -> nn.Linear:
        """The layer that has numbers for each class."""
        assert isinstance(self.head, nn.Linear)
        return self.head

    def encode(self, image: Tensor) -> Tensor:
        """(n, bands, height, width) -> what the encoder sees in the whole picture (n, features) float32."""
        return self.encoder(image)[-1].mean(dim=(-2, -1)).float()

    def forward(self, image: Tensor) -> Tensor:
        """(n, bands, height, width) float -> logits (n, outputs) float32; any height and width."""
        return self.head(self.encode(image))

    def probabilities(self, logits: Tensor) -> Tensor:
        """What the logits mean: they sum to 1 over the classes, or, where a tile may have several, each is for itself."""
        return logits.sigmoid() if self.several else logits.softmax(dim=1)


@overload
def build_network(
    architecture: Architecture | ArcGISArchitecture | OnnxArchitecture, bands: int, outputs: int, *, pretrained: bool = False
) -> SegmentationNetwork: ...


@overload
def build_network(architecture: AnyArchitecture, bands: int, outputs: int, *, pretrained: bool = False) -> Network: ...


def build_network(architecture: AnyArchitecture, bands: int, outputs: int, *, pretrained: bool = False) -> Network:
    """A network with fresh weights, or with timm's pretrained encoder.

    Args:
        architecture: Which encoder, and what follows it.
        bands: Input bands; of a pair of images those of both.
        outputs: Background and classes; of scenes the classes alone.
        pretrained: Load the encoder's published weights (from the local cache, or over the network).
    """
    if isinstance(architecture, DetectorArchitecture):
        from models.detection import build_detector  # torchvision's detectors take a second to import

        return build_detector(architecture, bands, outputs, pretrained=pretrained)
    if isinstance(architecture, SceneArchitecture):
        encoder, channels, strides = build_encoder(architecture.encoder, architecture.encoder_levels, bands, pretrained=pretrained)
        return SceneNetwork(
            encoder, channels[-1], several=architecture.several, stride=strides[-1], bands=bands, outputs=outputs
        )
    if isinstance(architecture, AnyArcGIS):
        from models.arcgis.networks import build_arcgis

        return build_arcgis(architecture, bands, outputs)
    if isinstance(architecture, OnnxArchitecture):
        from models.packages.onnx_network import OnnxNetwork

        return OnnxNetwork(architecture, bands, outputs)
    return _segmentation(architecture, bands, outputs, pretrained)


def _segmentation(architecture: Architecture, bands: int, outputs: int, pretrained: bool) -> SegmentationNetwork:
    if bands % architecture.images:
        raise ValueError(f"Two images of a place need an even number of bands, not {bands}.")
    build = _light if architecture.decoder == "light" else _from_smp
    encoder, decoder, head, stride = build(architecture, bands // architecture.images, outputs, pretrained)
    kind = SegmentationNetwork if architecture.images == 1 else ChangeNetwork
    return kind(encoder, decoder, head, stride=stride, bands=bands, outputs=outputs)


def build_encoder(name: str, levels: int, bands: int, *, pretrained: bool = False) -> tuple[nn.Module, list[int], list[int]]:
    """A timm encoder that gives its first `levels` levels, with the channels and the stride of each."""
    swin: dict[str, Any] = {"strict_img_size": False, "feature_cls": "getter"} if name.startswith("swin") else {}  # for images of any size, bands first
    encoder = timm.create_model(name, pretrained=pretrained, features_only=True, in_chans=bands, out_indices=tuple(range(levels)), **swin)
    info: Any = encoder.feature_info
    return encoder, info.channels(), info.reduction()


_Parts = tuple[nn.Module, nn.Module, nn.Module, int]
"""Encoder, decoder, head, stride."""


def _light(architecture: Architecture, bands: int, outputs: int, pretrained: bool) -> _Parts:
    encoder, channels, strides = build_encoder(architecture.encoder, architecture.encoder_levels, bands, pretrained=pretrained)
    decoder = LightDecoder(channels, strides, architecture.decoder_channels, architecture.output_stride)
    head = nn.Sequential(nn.Conv2d(decoder.out_channels, outputs, 1), Upscale(decoder.out_stride))
    return encoder, decoder, head, max(strides)


_SMP_OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "unet": lambda levels: {"decoder_channels": (256, 128, 64, 32, 16)[-levels:]},
    "fpn": lambda levels: {"upsampling": 2 ** (levels - 3)},
    "pspnet": lambda levels: {"upsampling": 2**levels},
}


def _from_smp(architecture: Architecture, bands: int, outputs: int, pretrained: bool) -> _Parts:
    import segmentation_models_pytorch as smp

    kinds = {
        "unet": smp.Unet,
        "fpn": smp.FPN,
        "deeplabv3plus": smp.DeepLabV3Plus,
        "pspnet": smp.PSPNet,
        "upernet": smp.UPerNet,
        "segformer": smp.Segformer,
        "linknet": smp.Linknet,
    }
    levels = architecture.encoder_levels
    made = kinds[architecture.decoder](
        encoder_name=f"tu-{architecture.encoder}",
        encoder_depth=levels,
        encoder_weights="imagenet" if pretrained else None,
        in_channels=bands,
        classes=outputs,
        **_SMP_OPTIONS.get(architecture.decoder, lambda levels: {})(levels),
    )
    return made.encoder, made.decoder, made.segmentation_head, 2**levels


class LightDecoder(nn.Module):
    """Feature pyramid that ends early: every level through a 1x1, summed from coarse to fine, one convolution a level.

    It ends at `out_stride` (4 or 2); the head's 1x1 and a bilinear enlargement do the rest. After Lin et al. 2017 (FPN); depthwise-separable
    convolutions at stride 2, where full ones would cost more than the encoder.
    """

    def __init__(self, channels: list[int], strides: list[int], width: int, out_stride: int) -> None:
        super().__init__()
        used = [i for i, stride in enumerate(strides) if stride >= out_stride]
        if not used:
            raise ValueError(f"The encoder has no level at stride {out_stride} or coarser.")
        self.used = used
        self.out_stride = strides[used[0]]
        self.out_channels = width
        self.laterals = nn.ModuleList(nn.Sequential(nn.Conv2d(channels[i], width, 1, bias=False), nn.BatchNorm2d(width)) for i in used)
        self.smooth = nn.ModuleList(_separable(width) if strides[i] < 4 else _full(width) for i in used[:-1])
        self.finish = _separable(width)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first -> (n, width, height / out_stride, width / out_stride)."""
        levels = [lateral(features[i]) for lateral, i in zip(self.laterals, self.used, strict=True)]
        x = levels[-1]
        for i in range(len(levels) - 2, -1, -1):
            x = F.interpolate(x, size=levels[i].shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[i](F.relu(x + levels[i]))
        return self.finish(x)


class Upscale(nn.Module):
    """Bilinear enlargement by a whole factor."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x if self.factor == 1 else F.interpolate(x, scale_factor=float(self.factor), mode="bilinear", align_corners=False)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _full(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
