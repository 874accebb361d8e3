"""Which of the networks a model of ArcGIS is, and under which names its weights are kept in ArcGIS's files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from models.arcgis import psp
from models.arcgis.deeplab import build_deeplab
from models.arcgis.hourglass import build_hourglass
from models.arcgis.linknet import build_linknet
from models.arcgis.resnet import NUMBERS
from models.arcgis.scenes import FeatureClassifier
from models.arcgis.unet import build_unet
from models.architecture import AnyArcGIS, ArcGISDetectorArchitecture, ArcGISSceneArchitecture
from models.network import Network

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
_PSP_UNET: Names = (
    ("encoder.body.", "model.layers.0."),
    ("decoder.pyramid.", "model.layers.0.8."),
    ("decoder.narrow.", "model.layers.0.9."),
    ("decoder.bn.", "model.layers.1."),
    ("decoder.middle.", "model.layers.3."),
    ("decoder.up.0.", "model.layers.4."),
    ("decoder.up.1.", "model.layers.5."),
    ("decoder.shuffle.", "model.layers.6."),
    ("head.0.", "model.layers.7.0."),
)
_PSP_PLAIN: Names = (
    ("encoder.body.", "backbone."),
    ("decoder.pyramid.", "ppm."),
    ("decoder.final.", "final."),
    ("decoder.aux.", "aux_logits."),
    ("head.0.", "final.4."),
)
_DETECTOR: Names = (("detector.", ""),)
_SCENES: Names = (("encoder.", "0."), ("head.", "1."))
_TRAINING_ONLY = ("decoder1_score.", "angle_decoder1_score.")
"""Weights of these names are kept by ArcGIS and never asked."""
_SPELT = (
    (r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    *((rf"^roi_heads\.mask_head\.mask_fcn{i + 1}\.(weight|bias)$", rf"roi_heads.mask_head.{i}.0.\1") for i in range(4)),
)
"""How older versions of torchvision named a few weights, and how newer ones do."""


def build_arcgis(architecture: AnyArcGIS, bands: int, outputs: int) -> Network:
    """A network with fresh weights.

    Raises:
        ValueError: no network is like that.
    """
    if isinstance(architecture, ArcGISSceneArchitecture):
        return FeatureClassifier(architecture.backbone, several=architecture.several, bands=bands, outputs=outputs)
    if isinstance(architecture, ArcGISDetectorArchitecture):
        from models.arcgis.detectors import build_arcgis_detector  # torchvision's detectors take a second to import

        return build_arcgis_detector(architecture, bands, outputs)
    if architecture.model == "UnetClassifier":
        return build_unet(architecture.backbone, bands, outputs, narrow=architecture.narrow_end)
    if architecture.model == "DeepLab":
        return build_deeplab(architecture.backbone, bands, outputs)
    if architecture.model == "PSPNetClassifier":
        return psp.build_psp(architecture.backbone, bands, outputs, architecture.pyramid, unet=architecture.unet_end)
    if architecture.roads == "linknet":
        return build_linknet(architecture.backbone, bands, outputs, architecture.orientations)
    return build_hourglass(bands, outputs, architecture.orientations)


def to_arcgis(architecture: AnyArcGIS, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as ArcGIS keeps them, in the order of the network."""
    named = {_theirs(_names(architecture), name): tensor for name, tensor in state.items()}
    return psp.theirs(named) if _names(architecture) is _PSP_UNET else named


def spelt_as_now(architecture: AnyArcGIS, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that ArcGIS gives them today, without those that it never asks for.

    Args:
        architecture: Of the network.
        state: As a file has them. Names that no part of the network has are handed on, so that a comparison tells of them.
        expected: What `to_arcgis` makes of such a network.
    """
    unasked = (*_TRAINING_ONLY, "aux_logits.") if _names(architecture) is _PSP_UNET else _TRAINING_ONLY
    kept = {_spelt(architecture, name): tensor for name, tensor in state.items() if not name.startswith(unasked)}
    return {name: tensor for name, tensor in kept.items() if name in expected or not name.endswith(".num_batches_tracked")}


def from_arcgis(architecture: AnyArcGIS, state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under our names.

    Args:
        architecture: Of the network.
        state: With the very names and sizes of `to_arcgis`.
        ours: State of a network of this architecture, for its names.
    """
    back = {_theirs(_names(architecture), name): name for name in ours}
    plain = psp.ours(state) if _names(architecture) is _PSP_UNET else state
    return {back[name]: tensor for name, tensor in plain.items()}


def counts(architecture: AnyArcGIS, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int | None, int | None]:
    """For how many bands and outputs weights of ArcGIS's are; None where they do not tell."""
    names = _names(architecture)
    per_output = 1
    if isinstance(architecture, ArcGISSceneArchitecture):
        first, last = "0.0.weight", "1.8.weight"
    elif isinstance(architecture, ArcGISDetectorArchitecture):
        first, last, per_output = _detector_ends(architecture)
    else:
        first = "conv1.weight" if names is _HOURGLASS else _theirs(names, "encoder.body.0.weight")
        last = _theirs(names, "head.0.weight")
    bands = next((shapes[name][1] for name in (first, first.replace("0.weight", "conv1.weight")) if len(shapes.get(name, ())) > 1), None)
    rows = shapes[last][0] if shapes.get(last) else None
    if rows is None or rows % per_output:
        return bands, None
    without_background = isinstance(architecture, ArcGISDetectorArchitecture) and architecture.model == "RetinaNet"
    return bands, rows // per_output + without_background


def _detector_ends(architecture: ArcGISDetectorArchitecture) -> tuple[str, str, int]:
    """Names of the first convolution's and the last layer's weights, and how many numbers that has for each output."""
    if architecture.model == "RetinaNet":
        return "encoder.0.weight", "classifier.4.weight", len(architecture.scales) * len(architecture.ratios)
    if architecture.model == "SingleShotDetector":
        return "0.0.weight", "1.oconvs.0.oconv1.weight", architecture.boxes_per_cell
    pyramid = architecture.backbone not in ("resnet18", "resnet34")
    return "backbone.body.conv1.weight" if pyramid else "backbone.0.weight", "roi_heads.box_predictor.cls_score.weight", 1


def _names(architecture: AnyArcGIS) -> Names:
    if isinstance(architecture, ArcGISDetectorArchitecture):
        return _DETECTOR
    if isinstance(architecture, ArcGISSceneArchitecture):
        return _SCENES
    if architecture.model == "UnetClassifier":
        return _UNET
    if architecture.model == "DeepLab":
        return _DEEPLAB
    if architecture.model == "PSPNetClassifier":
        return _PSP_UNET if architecture.unet_end else _PSP_PLAIN
    return _LINKNET if architecture.roads == "linknet" else _HOURGLASS


def _theirs(names: Names, name: str) -> str:
    here, there = next(pair for pair in names if name.startswith(pair[0]))
    return there + name.removeprefix(here)


def _spelt(architecture: AnyArcGIS, name: str) -> str:
    for older, newer in _SPELT if isinstance(architecture, ArcGISDetectorArchitecture) else ():
        name = re.sub(older, newer, name)
    prefix = next((there for here, there in _names(architecture) if here == "encoder.body."), None)
    if prefix is None or not (found := re.match(re.escape(prefix) + r"(conv1|bn1|layer[1-4])\.", name)):
        return name
    return f"{prefix}{NUMBERS[found[1]]}.{name[found.end() :]}"
