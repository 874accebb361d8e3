"""What a tile set can teach, and the run that learns it. Pages ask here, too: torch is imported only where a run is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from errors import TileSetFormatError, TrainingError
from models.architecture import (
    AnyArchitecture,
    AnyDetector,
    AnySceneArchitecture,
    ArcGISArchitecture,
    Architecture,
    Decoder,
    Detector,
    DetectorArchitecture,
    OnnxArchitecture,
    ResNet,
    SceneArchitecture,
    resnet_of,
    task_of,
)
from models.card import ModelCard, paired, read_card
from tiles.formats import FORMATS, tile_format
from tiles.layout import in_pixel_space
from tiles.tile_set import METADATA_FORMAT, TileSet, open_tile_set
from training.settings import NETWORKS, NetworkName, TrainingSettings

if TYPE_CHECKING:
    from training.learner import Learner
    from training.prepare import Stage

Kind = Literal["pixels", "objects", "scene"]
"""What is learnt: a class for each pixel (of a pair of images, too), single objects, a class for a whole tile."""
DECODERS: tuple[Decoder, ...] = get_args(Decoder)
ARCGIS: dict[NetworkName, dict[str, str]] = {
    "arcgis_unet": {"model": "UnetClassifier"},
    "arcgis_deeplab": {"model": "DeepLab"},
    "roads_linknet": {"model": "MultiTaskRoadExtractor", "roads": "linknet"},
    "roads_hourglass": {"model": "MultiTaskRoadExtractor", "roads": "hourglass"},
}
"""Networks that ArcGIS can rebuild, and what it calls them. ConnectNet is another name for its road networks."""
FRESH_RESNET: ResNet = "resnet18"
"""Below them where the base model has no ResNet to give."""
FRESH = "fresh-weights"
"""Name on the card that such a training starts from."""
LEAST_LEVELS = 3
"""Of an encoder below a detector."""
BOX_DETECTORS: tuple[Detector, ...] = tuple(d for d in get_args(Detector) if d != "maskrcnn")


def networks_for(tile_set: TileSet) -> dict[NetworkName, str]:
    """The networks that can learn from these tiles, the usual one first, with titles for people; empty where none can."""
    form = tile_format(tile_set.record.metadata_format)
    pair = tile_set.record.second is not None
    found: list[NetworkName] = [*DECODERS, *(() if pair else ARCGIS)] if form.has_pixels else []
    if form.has_objects and not form.per_object and not pair:
        found += BOX_DETECTORS
    if form.has_instances and not pair:
        found.append("maskrcnn")
    if form.has_classes and (form.per_object or not (form.has_objects or form.has_pixels)) and not pair:
        found.append("scene")
    return {name: NETWORKS[name] for name in found}


def require_learnable(tile_set: TileSet) -> None:
    """Refuse tiles that no network here can learn from.

    Raises:
        TileSetFormatError: they have no labels; says what to export instead.
    """
    if not networks_for(tile_set):
        raise TileSetFormatError(
            f"The tiles '{tile_set.name}' are {tile_set.record.metadata_format}, made for other programs: they do not say what is where, "
            "so Terratune cannot train on them.",
            f"On the Tiles page choose '{FORMATS[METADATA_FORMAT].title}' as the kind of labels, export again, and train on that.",
        )


def architecture_for(wanted: NetworkName, tile_set: TileSet, base: AnyArchitecture) -> AnyArchitecture:
    """The network to be trained: the base model's own where nothing else is wanted and the tiles serve it, else what is wanted, or what is
    usual for the tiles, over the base model's encoder.

    Raises:
        TileSetFormatError: no network can learn from these tiles.
        TrainingError: these tiles cannot teach what is wanted, or the base model has no encoder to build on.
    """
    if isinstance(base, OnnxArchitecture):
        raise TrainingError(
            "The base model came as an ONNX file: such a model can predict, but not learn.",
            "Choose another base model, for example the starter.",
        )
    require_learnable(tile_set)
    fitting = networks_for(tile_set)
    if wanted not in ("auto", *fitting):
        raise TrainingError(
            f"'{NETWORKS[wanted]}' cannot be learnt from the tiles '{tile_set.name}' ({tile_set.record.metadata_format}).",
            f"Choose '{NETWORKS['auto']}', or one of: {', '.join(fitting.values())}.",
        )
    images = 1 if tile_set.record.second is None else 2
    if wanted == "auto" and _serves(fitting, images, base):
        return base
    name = next(iter(fitting)) if wanted == "auto" else wanted
    if name == _own(base) and (not isinstance(base, Architecture) or base.images == images):
        return base
    if name in ARCGIS:
        return ArcGISArchitecture.model_validate({"backbone": resnet_of(base) or FRESH_RESNET} | ARCGIS[name])
    if not isinstance(base, (Architecture, DetectorArchitecture, SceneArchitecture)):
        raise TrainingError(
            f"The base model has no backbone on which '{NETWORKS[name]}' could be built.",
            "Choose another base model, for example the starter.",
        )
    if name == "scene":
        return SceneArchitecture(encoder=base.encoder, encoder_levels=base.encoder_levels)
    if name in DECODERS:
        if isinstance(base, Architecture):
            return base.model_copy(update={"decoder": base.decoder if wanted == "auto" else name, "images": images})
        return Architecture(encoder=base.encoder, encoder_levels=base.encoder_levels, decoder=name, images=images)  # type: ignore[arg-type]
    levels = max(base.encoder_levels, LEAST_LEVELS)  # fewer are refused when the encoder is taken
    return DetectorArchitecture(encoder=base.encoder, encoder_levels=levels, detector=name)  # type: ignore[arg-type]


def starts_from_nothing(base: AnyArchitecture, architecture: AnyArchitecture) -> bool:
    """Can the base model give nothing to this network, not even its encoder?"""
    return isinstance(architecture, ArcGISArchitecture) and architecture != base and None in (resnet_of(base), resnet_of(architecture))


def kind_of(architecture: AnyArchitecture) -> Kind:
    """What a model of this architecture learns."""
    if isinstance(architecture, AnyDetector):
        return "objects"
    return "scene" if isinstance(architecture, AnySceneArchitecture) else "pixels"


def heeds(kind: Kind, setting: str) -> bool:
    """Does this setting have a part in what is learnt?"""
    extra = TrainingSettings.model_fields[setting].json_schema_extra
    return kind in extra.get("kinds", (kind,)) if isinstance(extra, dict) else True  # type: ignore[operator]


def title_of(architecture: AnyArchitecture) -> str:
    """What a model of this architecture learns, for people."""
    if isinstance(architecture, AnyDetector):
        return NETWORKS[architecture.detector]
    if isinstance(architecture, AnySceneArchitecture):
        return NETWORKS["scene"]
    what = "What has changed between two images" if task_of(architecture) == "change detection" else "A class for each pixel"
    name = _own(architecture)
    return f"{what}: {NETWORKS[name].split(': ')[1]}" if name else what


def starting_card(card: ModelCard, architecture: AnyArchitecture) -> ModelCard:
    """The base model's card as training to this architecture sees it: where only its encoder is taken, it knows no class; where nothing is, only
    what it reads is left of it.
    """
    if card.architecture == architecture:
        return card
    if starts_from_nothing(card.architecture, architecture):
        return ModelCard(name=FRESH, title="fresh weights", architecture=architecture, input=card.input, classes=())
    seen = card.input if card.task == "change detection" or task_of(architecture) != "change detection" else paired(card.input)
    return card.model_copy(update={"architecture": architecture, "classes": (), "input": seen})


def _own(architecture: AnyArchitecture) -> NetworkName | None:
    """The name of a network among those to choose from; None where it is not offered."""
    if isinstance(architecture, AnyDetector):
        return architecture.detector
    if isinstance(architecture, AnySceneArchitecture):
        return "scene"
    if isinstance(architecture, ArcGISArchitecture):
        model = {"model": "MultiTaskRoadExtractor", "roads": architecture.roads} if architecture.leads else {"model": architecture.model}
        return next((name for name, found in ARCGIS.items() if found == model), None)
    return architecture.decoder if isinstance(architecture, Architecture) else None


def _serves(fitting: dict[NetworkName, str], images: int, base: AnyArchitecture) -> bool:
    """Can these tiles teach the base model as it is?"""
    task = task_of(base)
    if task in ("semantic segmentation", "change detection"):
        return "light" in fitting and (task == "change detection") == (images == 2)
    if isinstance(base, AnyDetector):
        return base.detector in fitting
    return "scene" in fitting


def prepared(settings: TrainingSettings, stage: Stage) -> Learner:
    """The run, ready to start: what its tiles, its base model and the wish for a network come to.

    Raises:
        TerratuneError: the tile set or base model is missing, damaged, or they do not fit (TileSetError, ModelError, TooFewTilesError).
    """
    from training.inputs import check_choices, check_start
    from training.prepare import base_folder, prepare_pixels

    card = read_card(base_folder(settings.base, lambda share: stage("Fetching the base model", share)))
    tile_set = open_tile_set(Path(settings.tiles))
    if in_pixel_space(tile_set.record):  # raw, perhaps slanted pictures: up and down differ
        settings = settings.model_copy(update={"augment_turn": False})
    architecture = architecture_for(settings.network, tile_set, card.architecture)
    check_choices(settings, architecture)
    check_start(settings, card, architecture)
    if isinstance(architecture, AnyDetector):
        from training.objects.learner import prepare_objects

        return prepare_objects(settings, architecture, stage)
    if isinstance(architecture, AnySceneArchitecture):
        from training.scenes.learner import prepare_scenes

        return prepare_scenes(settings, architecture, stage)
    return prepare_pixels(settings, architecture, stage)
