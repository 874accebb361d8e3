"""From an ArcGIS model definition to our card, and back. No torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pyproj
from pydantic import ValidationError
from pyproj.exceptions import CRSError

from errors import BundleError, UnsupportedModelError
from models.arcgis.definition import CellSize, DefinedClass, Definition
from models.architecture import (
    ROAD_MODELS,
    AnyArcGIS,
    ArcGISArchitecture,
    ArcGISDetectorArchitecture,
    ArcGISDetectorName,
    ArcGISSceneArchitecture,
    ResNet,
)
from models.card import ModelCard, ModelInput, Score
from workspace.classes import PALETTE, UNCERTAIN_VALUE, ClassDef
from workspace.files import folder_name

Shapes = Mapping[str, tuple[int, ...]]
"""Names of weights as ArcGIS has them, and their sizes."""

CARD_KEY = "TerratuneCard"
"""Our whole card among ArcGIS's keys, which passes over those that it does not know."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BYTE = 255.0
RGB = ("Red", "Green", "Blue")
DEFAULT_TILE_PX = 256
METRES_PER_DEGREE = 111_320.0
TASKS = {
    "ImageClassification": "a class for each pixel",
    "ObjectDetection": "boxes around objects",
    "InstanceDetection": "outlines of objects",
    "ObjectClassification": "a class for a whole picture or object",
}
PIXELS: tuple[str, ...] = get_args(ArcGISArchitecture.model_fields["model"].annotation)
OBJECTS: tuple[str, ...] = get_args(ArcGISDetectorName)
SCENES = "FeatureClassifier"
USUAL_BACKBONE = dict.fromkeys(("PSPNetClassifier", "MaskRCNN", "FasterRCNN", "RetinaNet"), "resnet50")
"""Where a definition does not name one; resnet34 elsewhere."""
SEVERAL = "MultiLabeled_Tiles"
WHY_NOT = {"YOLOv3": "it stands on DarkNet, which is not part of Terratune"}
NOT_WRITTEN = {
    "FasterRCNN": "ArcGIS Pro opens its Faster R-CNN only together with program code of ArcGIS's own (ModelConfiguration.py), which Terratune does not have"
}
WRITTEN = {
    "UnetClassifier": ("ImageClassification", "_unet"),
    "DeepLab": ("ImageClassification", "_deeplab_infrencing"),
    "PSPNetClassifier": ("ImageClassification", "_psp"),
    **dict.fromkeys(ROAD_MODELS, ("ImageClassification", "_road_infrencing")),
    "MaskRCNN": ("InstanceDetection", "_maskrcnn_inferencing"),
    "RetinaNet": ("ObjectDetection", "_RetinaNet_Inference"),
    "SingleShotDetector": ("ObjectDetection", "_DynamicSSD"),
    SCENES: ("ObjectClassification", "_FeatureClassifier"),
}
"""What a definition says of the kind of model: ModelType and ModelConfiguration."""
FUNCTIONS = {
    "ImageClassification": "ArcGISImageClassifier.py",
    "InstanceDetection": "ArcGISInstanceDetector.py",
    "ObjectDetection": "ArcGISObjectDetector.py",
    "ObjectClassification": "ArcGISObjectClassifier.py",
}


@dataclass(frozen=True)
class Described:
    """A package as a card: what it is, and why it cannot run here, if so."""

    facts: tuple[tuple[str, str], ...]
    """What and its value, in plain words, in the order to show them."""
    why_not: str
    """Empty: it can."""


def describe_definition(definition: Definition) -> Described:
    """What a model definition says of its model; no weights needed."""
    classes = ", ".join(c.name for c in definition.classes)
    facts = (
        ("Model", definition.model_name or "not named"),
        ("Made with", " ".join(filter(None, (definition.framework, definition.version))) or "not stated"),
        ("Gives", TASKS.get(definition.model_type, definition.model_type or "not stated")),
        ("Backbone", definition.backbone or "not stated"),
        ("Bands", ", ".join(_band_names(definition)) or "not stated"),
        ("Classes", classes or "none listed"),
        ("Tile size", f"{definition.image_height} pixels" if definition.image_height else "not stated"),
        ("Pixel size", f"{metres:.2g} m" if (metres := resolution_of(definition.cell_size)) else "not stated"),
    )
    hourglass = definition.parameters.get("mtl_model", "hourglass") == "hourglass"
    return Described(facts, _why_not(definition, hourglass=hourglass))


def architecture_of(definition: Definition, shapes: Shapes) -> AnyArcGIS:
    """Which network it is.

    Args:
        definition: Of the package.
        shapes: Of its weights, where the definition does not tell.

    Raises:
        UnsupportedModelError: one that cannot be built here; the message says what it is.
    """
    hourglass = any(name.startswith("hg.") for name in shapes)
    if why_not := _why_not(definition, hourglass=hourglass):
        facts = "; ".join(f"{what}: {value}" for what, value in describe_definition(definition).facts if value != "not stated")
        raise UnsupportedModelError(f"This model cannot run here: {why_not}. What it is: {facts}.", "Use it in ArcGIS, or choose another model.")
    try:
        return _architecture(definition, shapes, hourglass=hourglass)
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(
            f"The model definition cannot be true of a {definition.model_name} ({'.'.join(map(str, first['loc']))}: {first['msg']}).",
            "Get it again from the model's maker.",
        ) from error


def _architecture(definition: Definition, shapes: Shapes, *, hourglass: bool) -> AnyArcGIS:
    name, parameters = definition.model_name, definition.parameters
    backbone = definition.backbone or USUAL_BACKBONE.get(name, "resnet34")
    if name == SCENES:
        return ArcGISSceneArchitecture.model_validate({"backbone": backbone, "several": definition.metadata_mode == SEVERAL})
    known: dict[str, Any] = {"model": name, "backbone": backbone}
    if name in OBJECTS:
        if name == "RetinaNet":
            known |= {key: parameters[key] for key in ("scales", "ratios") if parameters.get(key)}
        if name == "SingleShotDetector":
            known |= {"grids": definition.grids, "zooms": definition.zooms, "box_shapes": definition.box_shapes}
            known |= {"ssd_version": definition.ssd_version, "side": definition.image_height}
        return ArcGISDetectorArchitecture.model_validate(known)
    if name in ROAD_MODELS:
        known |= {"roads": "hourglass" if hourglass else "linknet", "backbone": "resnet34" if hourglass else backbone}
        last = shapes.get("angle_finalconv3.weight" if hourglass else "o_finalconv3.weight")
        known |= {"orientations": last[0]} if last and 2 <= last[0] <= 361 else {}
    end = shapes.get("layers.10.layers.0.0.weight")
    if name == "UnetClassifier" and end:
        known["narrow_end"] = end[0] < end[1]
    if name == "PSPNetClassifier":
        known |= {"unet_end": parameters.get("use_unet", True)} | ({"pyramid": parameters["pyramid_sizes"]} if parameters.get("pyramid_sizes") else {})
    return ArcGISArchitecture.model_validate(known)


def card_of(definition: Definition, architecture: AnyArcGIS, title: str) -> tuple[ModelCard, list[str]]:
    """Our card of the model, and what had to be guessed or changed, a sentence each.

    Raises:
        BundleError: it lists no class, or no bands, or holds a card of ours that cannot be read.
    """
    if definition.own_card is not None:
        return _own_card(definition.own_card, architecture), []
    notes: list[str] = []
    classes = _classes(definition, notes)
    if definition.suppressed:
        notes.append(f"ArcGIS never gives out the answers {', '.join(map(str, definition.suppressed))} of this model; here they are given out.")
    if definition.preprocessing:
        notes.append(f"ArcGIS rescales the values of its {definition.preprocessing} for this model; here imagery is shown to it as it is.")
    if definition.model_name in OBJECTS and (chosen := [key for key in definition.thresholds if key.startswith(("rpn_", "box_"))]):
        notes.append(f"ArcGIS looks for objects with numbers of its own choice for this model ({', '.join(chosen)}); here the usual ones are taken.")
    card = ModelCard(
        name=folder_name(title),
        title=title,
        summary=f"{definition.model_name} from ArcGIS. Finds {', '.join(c.name for c in classes)}.",
        architecture=architecture,
        input=_input(definition, architecture, notes),
        classes=classes,
        licence="Not stated in the package: ask its maker. Models of ArcGIS Living Atlas are under Esri's terms.",
        training_data="Not stated in the package.",
        made_by=f"arcgis.learn {definition.version}".strip(),
        scores=_scores(definition, classes),
    )
    return card, notes


def _own_card(value: Mapping[str, Any], architecture: AnyArcGIS) -> ModelCard:
    try:
        return ModelCard.model_validate({**value, "architecture": architecture.model_dump()})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"The card in the model definition cannot be read ({where}: {first['msg']}).", "Export the model again.") from error


def definition_of(card: ModelCard, stem: str) -> dict[str, Any]:
    """The model definition that ArcGIS needs for `card`, whose weights are `<stem>.pth`.

    Raises:
        UnsupportedModelError: ArcGIS could not run it as it is.
    """
    architecture = card.architecture
    if not isinstance(architecture, AnyArcGIS):
        raise UnsupportedModelError(
            f"'{card.title}' cannot become an ArcGIS package: ArcGIS builds its own kinds of networks only, and this one ({architecture.encoder}) is none "
            "of them.",
            "Export it as ONNX or as a bundle; or fine-tune a model that came from an ArcGIS package, which can go back.",
        )
    name = SCENES if isinstance(architecture, ArcGISSceneArchitecture) else architecture.model
    if why_not := NOT_WRITTEN.get(name):
        raise UnsupportedModelError(f"'{card.title}' cannot become an ArcGIS package: {why_not}.", "Export it as a bundle.")
    model_type, configuration = WRITTEN[name]
    side = card.input.tile_size
    parameters: dict[str, Any] = {"backbone": architecture.backbone, "backend": "pytorch"}
    found: dict[str, Any] = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": configuration,
        "ModelType": model_type,
        "InferenceFunction": f"[Functions]System\\DeepLearning\\ArcGISLearn\\{FUNCTIONS[model_type]}",
        "ModelName": name,
        "ModelParameters": parameters,
        "ModelFile": f"{stem}.pth",
        "ModelFormat": "NCHW",
        "backend": "pytorch",
        "ImageHeight": side,
        "ImageWidth": side,
        "resize_to": None,
        "ImageSpaceUsed": "MAP_SPACE",
        "SupportsVariableTileSize": name in PIXELS or name == "MaskRCNN",
        "ArcGISLearnVersion": "2.4.4",
        "ExtractBands": list(range(len(card.input.band_names))),
        "Classes": [{"Value": c.value, "Name": c.name, "Color": list(c.rgb)} for c in card.classes],
        CARD_KEY: card.model_dump(mode="json", by_alias=True),
    }
    if name in PIXELS:
        found["ignore_mapped_class"] = []
    if card.input.resolution_m is not None:
        size = {"x": card.input.resolution_m, "y": card.input.resolution_m, "spatialReference": {"wkid": 3857, "latestWkid": 3857}}
        found |= {"MinCellSize": size, "MaxCellSize": size}
    if isinstance(architecture, ArcGISArchitecture) and architecture.leads:
        return found | _road_keys(card, parameters, architecture)
    return found | _keys_of_kind(card, parameters, architecture) | _normalisation_keys(card)


def _keys_of_kind(card: ModelCard, parameters: dict[str, Any], architecture: AnyArcGIS) -> dict[str, Any]:
    """What only this kind of network has at the top; `parameters` gets what belongs there."""
    if isinstance(architecture, ArcGISSceneArchitecture):
        return {"MetaDataMode": SEVERAL if architecture.several else "Labeled_Tiles", "CropSizeFixed": 1, "BlackenAroundFeature": 0}
    if isinstance(architecture, ArcGISArchitecture):
        if architecture.model in ("DeepLab", "PSPNetClassifier"):
            parameters |= {"pointrend": False, "keep_dilation": False}
        if architecture.model == "PSPNetClassifier":
            parameters |= {"pyramid_sizes": list(architecture.pyramid), "use_unet": architecture.unet_end, "unet_aux_loss": False}
        return {}
    if architecture.model == "MaskRCNN":
        parameters["pointrend"] = False
        return {"MaskRCNNkwargs": {}}
    if architecture.model == "RetinaNet":
        parameters |= {"scales": list(architecture.scales), "ratios": list(architecture.ratios)}
        return {}
    if architecture.side != card.input.tile_size:
        raise UnsupportedModelError(
            f"'{card.title}' looks at tiles of {card.input.tile_size} pixels as if they had {architecture.side}, which ArcGIS would not do.",
            f"Export it as a bundle; or fine-tune the model on tiles of {architecture.side} pixels.",
        )
    return {
        "backbone": architecture.backbone,
        "Grids": list(architecture.grids),
        "Zooms": list(architecture.zooms),
        "Ratios": [list(shape) for shape in architecture.box_shapes],
        "SSDVersion": architecture.ssd_version,
    }


def resolution_of(cell: CellSize | None) -> float | None:
    """Metres; None where the definition does not say, or its coordinate system is not known."""
    if cell is None or cell.wkid is None:
        return None
    try:
        unit = pyproj.CRS.from_user_input(cell.wkid if cell.wkid < 33_000 else f"ESRI:{cell.wkid}").axis_info[0]
    except (CRSError, IndexError):
        return None
    metres = cell.x * (METRES_PER_DEGREE if unit.unit_name == "degree" else unit.unit_conversion_factor)
    return metres if math.isfinite(metres) and metres > 0 else None


def check_counts(definition: Definition, bands: int | None, outputs: int | None) -> None:
    """Do the weights have as many bands and classes as the definition says?

    Args:
        definition: Of the package.
        bands: That the weights read; None where they do not tell.
        outputs: That they give, background included where there is one.

    Raises:
        BundleError: they have more or fewer.
    """
    remedy = "The definition and the weights do not belong together: get both again from the model's maker."
    background = definition.model_name != SCENES
    classes, named = len(definition.output_classes), len(_band_names(definition))
    if outputs is not None and outputs != classes + background:
        makes = f"which with background makes {classes + 1} outputs; the weights have" if background else "the weights have"
        raise BundleError(f"The model definition lists {classes} classes, {makes} {outputs}.", remedy)
    if named and bands is not None and bands != named:
        raise BundleError(f"The model definition names {named} bands; the weights read {bands}.", remedy)


def _why_not(definition: Definition, *, hourglass: bool) -> str:
    """`hourglass`: a road model is of the kind that has no backbone."""
    name = definition.model_name
    if name not in (*PIXELS, *OBJECTS, SCENES):
        if definition.framework and "arcgis" not in definition.framework:
            return f"it was made with {definition.framework}, and brings program code of its own that would have to be run"
        return WHY_NOT.get(name, "its kind of network is not known here" if name else "it does not say which network it is (ModelName)")
    if definition.parameters.get("backend", "pytorch") != "pytorch":
        return f"its weights are for {definition.parameters['backend']}; Terratune reads those for PyTorch"
    if not (name in ROAD_MODELS and hourglass) and definition.backbone and definition.backbone not in get_args(ResNet):
        return f"its backbone {definition.backbone} is none of {', '.join(get_args(ResNet))}"
    if definition.parameters.get("pointrend"):
        return "it was trained with PointRend, which is not part of Terratune"
    return ""


def _classes(definition: Definition, notes: list[str]) -> tuple[ClassDef, ...]:
    listed = definition.output_classes
    if not listed:
        raise BundleError("The model definition lists no class.", "Export the model from ArcGIS again.")
    values = [c.value for c in listed]
    if len(set(values)) < len(values) or not all(1 <= v < UNCERTAIN_VALUE for v in values):
        values = list(range(1, len(listed) + 1))
        notes.append(f"The classes are numbered from 1 here; in the package they have the values {', '.join(str(c.value) for c in listed)}.")
    names: list[str] = []
    for c, value in zip(listed, values, strict=True):
        name = " ".join(c.name.split())[:50] or f"Class {value}"
        if definition.model_name in ROAD_MODELS and name == str(c.value):
            name = "Road"
        names.append(f"{name} {value}" if name.casefold() in {n.casefold() for n in names} else name)
    return tuple(
        ClassDef(value=value, name=name, colour=_colour(c, i)) for i, (c, value, name) in enumerate(zip(listed, values, names, strict=True))
    )


def _colour(defined: DefinedClass, index: int) -> str:
    if all(0 <= part <= BYTE for part in defined.colour):
        return "#{:02x}{:02x}{:02x}".format(*defined.colour)
    return PALETTE[index % len(PALETTE)]


def _input(definition: Definition, architecture: AnyArcGIS, notes: list[str]) -> ModelInput:
    names = _band_names(definition)
    if not names:
        raise BundleError("The model definition does not say which bands the model reads (ExtractBands).", "Export the model from ArcGIS again.")
    stats, dtype = definition.statistics, "uint8"
    if isinstance(architecture, ArcGISArchitecture) and architecture.leads:
        mean, std = (0.0,) * len(names), (1.0,) * len(names)
    elif stats is not None:
        if len(stats.band_min_values) < len(names):
            raise BundleError(f"NormalizationStats are for {len(stats.band_min_values)} bands; the model reads {len(names)}.", "Export the model again.")
        chosen = _band_indexes(definition, len(stats.band_min_values))
        low, high, middle, spread = (
            [values[i] for i in chosen]
            for values in (stats.band_min_values, stats.band_max_values, stats.scaled_mean_values, stats.scaled_std_values)
        )
        mean = tuple(a + m * (b - a) for a, b, m in zip(low, high, middle, strict=True))
        std = tuple(s * (b - a) for a, b, s in zip(low, high, spread, strict=True))
        dtype = _dtype(min(low), max(high))
        notes.append(f"The package does not say the type of its imagery's numbers; by its statistics ({min(low):g} to {max(high):g}) it is {dtype}.")
    elif len(names) == len(RGB):
        mean, std = tuple(BYTE * m for m in IMAGENET_MEAN), tuple(BYTE * s for s in IMAGENET_STD)
    else:
        raise BundleError(
            f"The model reads {len(names)} bands, but the package does not say how their values are scaled (NormalizationStats).",
            "Export the model from ArcGIS again.",
        )
    if not all(math.isfinite(x) for x in (*mean, *std)) or min(std) <= 0:
        raise BundleError("NormalizationStats hold values that cannot be (a deviation of 0, or no number).", "Export the model from ArcGIS again.")
    return ModelInput(
        band_names=names,
        dtype=dtype,
        mean=mean,
        std=std,
        resolution_m=resolution_of(definition.cell_size),
        tile_size=definition.image_height or DEFAULT_TILE_PX,
    )


def _band_names(definition: Definition) -> tuple[str, ...]:
    """Names, where the package has them; red, green, blue for the first three; else numbers."""
    bands, named = definition.bands, definition.band_names
    if not bands:
        return tuple(str(name) for name in named or ())
    if named and all(isinstance(name, str) for name in named) and len(named) == len(bands):
        return tuple(map(str, named))
    if bands == (0, 1, 2) and not definition.is_multispectral:
        return RGB
    return tuple(f"band_{b + 1}" if isinstance(b, int) else b for b in bands)


def _band_indexes(definition: Definition, count: int) -> list[int]:
    """Where the model's bands stand in statistics of `count` bands: by number where there are statistics of all bands of the imagery, else in order."""
    wanted = [b for b in definition.bands if isinstance(b, int)]
    if count > len(definition.bands) and len(wanted) == len(definition.bands) and all(0 <= b < count for b in wanted):
        return wanted
    return list(range(len(_band_names(definition))))


def _dtype(low: float, high: float) -> str:
    if low < 0:
        return "int16" if low >= -32_768 and high > 10 else "float32"
    return "float32" if high <= 10 else "uint8" if high <= BYTE else "uint16" if high <= 65_535 else "float32"


def _scores(definition: Definition, classes: Sequence[ClassDef]) -> tuple[Score, ...]:
    try:
        metrics = json.loads(definition.per_class_metrics or "{}")
        by_name = {c.name: metrics[d.name] for c, d in zip(classes, definition.output_classes, strict=True) if d.name in metrics}
        return tuple(
            Score(on="its maker's own held-out tiles (as the package says)", class_name=name, precision=float(m["precision"]), recall=float(m["recall"]))
            for name, m in by_name.items()
        )
    except (ValueError, TypeError, KeyError):
        return ()  # a courtesy of the package; what cannot be read is not told


def _road_keys(card: ModelCard, parameters: dict[str, Any], architecture: ArcGISArchitecture) -> dict[str, Any]:
    if len(card.classes) != 1:
        raise UnsupportedModelError(
            f"ArcGIS's road models know exactly one class; '{card.title}' has {len(card.classes)}.", "Export it as ONNX or as a bundle."
        )
    if set(card.input.mean) != {0.0} or set(card.input.std) != {1.0}:
        raise UnsupportedModelError(
            f"ArcGIS shows its road models raw values; '{card.title}' was taught with scaled ones.", "Export it as ONNX or as a bundle."
        )
    parameters |= {
        "mtl_model": architecture.roads,
        "loss": "road_orient_loss",
        "loss_weights": [1.0, 1.0],
        "opt_func": None,
        "opt_func_args": "",
        "learner_params": {},
        "model_init_kwargs": {},
    }
    size = 360 // (architecture.orientations - 1)
    value = str(card.classes[0].value)
    return {
        "RoadOrientation": {"class_mapping": {"0": 0, value: 1}, "orient_bin_size": size, "orient_theta": 8.0, "multi_scale": None, "transforms": "[]"},
        "IsMultispectral": len(card.input.band_names) != len(RGB),
    }


def _normalisation_keys(card: ModelCard) -> dict[str, Any]:
    """Nothing where ArcGIS's own for photographs is meant; else statistics that come to the same."""
    mean, std = card.input.mean, card.input.std
    usual = [*(BYTE * m for m in IMAGENET_MEAN), *(BYTE * s for s in IMAGENET_STD)]
    if len(mean) == len(RGB) and card.input.dtype == "uint8" and all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip((*mean, *std), usual, strict=True)):
        return {"IsMultispectral": False}
    high = {"uint8": BYTE, "uint16": 65_535.0, "int16": 32_767.0}.get(card.input.dtype, 1.0)
    ones = [1.0] * len(mean)
    statistics = {
        "band_min_values": [0.0] * len(mean),
        "band_max_values": [high] * len(mean),
        "band_mean_values": list(mean),
        "band_std_values": list(std),
        "scaled_min_values": [0.0] * len(mean),
        "scaled_max_values": ones,
        "scaled_mean_values": [m / high for m in mean],
        "scaled_std_values": [s / high for s in std],
    }
    return {"IsMultispectral": True, "DoNormalize": True, "ImageryType": "ms", "Bands": list(card.input.band_names), "NormalizationStats": statistics}
