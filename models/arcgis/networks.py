"""Which of the networks a model of ArcGIS is, and under which names its weights are kept in ArcGIS's files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from models.arcgis.deeplab import build_deeplab
from models.arcgis.hourglass import build_hourglass
from models.arcgis.linknet import build_linknet
from models.arcgis.resnet import NUMBERS
from models.arcgis.unet import build_unet
from models.architecture import ArcGISArchitecture
from models.network import SegmentationNetwork

Names = tuple[tuple[str, str], ...]
"""Beginnings of names: (here, in ArcGIS's files). The first that fits counts."""

_UNET: Names = (
    ("encoder.body.", "layers.0."),
    ("decoder.bn.", "layers.1."),
    ("decoder.middle.", "layers.3."),
    *((f"decoder.up.{i}.", f"layers.{i + 4}.") for i in range(4)),
    ("decoder.shuffle.", "layers.8."),
    ("decoder.cross.", "layers.10."),
    ("head.0.", "layers.11.0."),
)
_DEEPLAB: Names = (
    ("encoder.body.", "backbone."),
    ("decoder.aspp.", "classifier."),
    ("decoder.aux.", "aux_classifier."),
    ("head.0.", "classifier.4."),
)
_LINKNET: Names = (
    ("encoder.body.", "encoder."),
    ("decoder.orientation_head.", "o_finalconv3."),
    ("decoder.orientation.final.", "o_final"),
    ("decoder.orientation.", "o_"),
    ("decoder.road.final.", "final"),
    ("decoder.road.", ""),
    ("head.0.", "finalconv3."),
)
_HOURGLASS: Names = (
    ("decoder.orientation_head.", "angle_finalconv3."),
    ("decoder.orientation.final.", "angle_final"),
    ("decoder.orientation.", "angle_"),
    ("decoder.road.final.", "final"),
    ("decoder.road.", ""),
    ("head.0.", "finalconv3."),
    ("encoder.", ""),
)
_TRAINING_ONLY = ("decoder1_score.", "angle_decoder1_score.")


def build_arcgis(architecture: ArcGISArchitecture, bands: int, outputs: int) -> SegmentationNetwork:
    """A network with fresh weights."""
    if architecture.model == "UnetClassifier":
        return build_unet(architecture.backbone, bands, outputs, narrow=architecture.narrow_end)
    if architecture.model == "DeepLab":
        return build_deeplab(architecture.backbone, bands, outputs)
    if architecture.roads == "linknet":
        return build_linknet(architecture.backbone, bands, outputs, architecture.orientations)
    return build_hourglass(bands, outputs, architecture.orientations)


def to_arcgis(architecture: ArcGISArchitecture, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under ArcGIS's names, in the order of the network."""
    return {_theirs(_names(architecture), name): tensor for name, tensor in state.items()}


def from_arcgis(architecture: ArcGISArchitecture, state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under our names.

    Args:
        architecture: Of the network.
        state: As ArcGIS keeps them; names that no part of the network has are handed on, so that a strict load tells of them.
        ours: State of a network of this architecture, for its names.
    """
    back = {_theirs(_names(architecture), name): name for name in ours}
    kept = {_numbered(architecture, name): tensor for name, tensor in state.items() if not name.startswith(_TRAINING_ONLY)}
    return {back.get(name, name): tensor for name, tensor in kept.items()}


def first_and_last(architecture: ArcGISArchitecture, state: Mapping[str, object]) -> tuple[str, str]:
    """ArcGIS's names of the weights of the first and the last convolution."""
    names = _names(architecture)
    first = "conv1.weight" if names is _HOURGLASS else _theirs(names, "encoder.body.0.weight")
    return first if first in state else first.replace("0.weight", "conv1.weight"), _theirs(names, "head.0.weight")


def _names(architecture: ArcGISArchitecture) -> Names:
    if architecture.model == "UnetClassifier":
        return _UNET
    if architecture.model == "DeepLab":
        return _DEEPLAB
    return _LINKNET if architecture.roads == "linknet" else _HOURGLASS


def _theirs(names: Names, name: str) -> str:
    here, there = next(pair for pair in names if name.startswith(pair[0]))
    return there + name.removeprefix(here)


def _numbered(architecture: ArcGISArchitecture, name: str) -> str:
    """Our kind of name where an encoder is kept under torchvision's own names instead of its children's numbers."""
    prefix = next((there for here, there in _names(architecture) if here == "encoder.body."), None)
    if prefix is None or not (found := re.match(re.escape(prefix) + r"(conv1|bn1|layer[1-4])\.", name)):
        return name
    return f"{prefix}{NUMBERS[found[1]]}.{name[found.end() :]}"
