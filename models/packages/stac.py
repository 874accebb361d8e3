"""A model's card as a STAC item with the MLM extension, for catalogues that know it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pystac
from pystac.extensions.classification import Classification
from pystac.extensions.mlm import (
    InputStructure,
    MLMExtension,
    ModelBand,
    ModelInput,
    ModelOutput,
    ResultStructure,
    TaskType,
    ValueScaling,
    ValueScalingType,
)
from pystac.extensions.raster import DataType

from models.architecture import Task
from models.card import WEIGHTS_FILE, ModelCard
from workspace.classes import BACKGROUND_VALUE

ITEM_FILE = "stac-item.json"
TASKS: dict[Task, TaskType] = {
    "semantic segmentation": TaskType.SEMANTIC_SEGMENTATION,
    "object detection": TaskType.OBJECT_DETECTION,
    "instance segmentation": TaskType.INSTANCE_SEGMENTATION,
    "scene classification": TaskType.SCENE_CLASSIFICATION,
    "change detection": TaskType.SEMANTIC_SEGMENTATION,
}
ANY = -1
"""A size that is not fixed, as the extension writes it."""


def item_of(card: ModelCard) -> dict[str, Any]:
    """The item as JSON values; its asset is the weights file beside it. A card tells no place on the ground, so the item has none."""
    item = pystac.Item(card.name, None, None, _created(card), {"title": card.title, "description": card.summary or card.title})
    names = card.input.band_names
    scaling = [
        ValueScaling.create(ValueScalingType.Z_SCORE, mean=mean, stddev=std) for mean, std in zip(card.input.mean, card.input.std, strict=True)
    ]
    side = card.input.tile_size
    seen = ModelInput.create(
        name="image",
        bands=[ModelBand.create(name) for name in names],
        input=InputStructure.create([ANY, len(names), side, side], ["batch", "bands", "height", "width"], DataType.FLOAT32),
        description=f"{card.input.dtype} values; invalid pixels are 0 after scaling.",
    )
    seen.properties["value_scaling"] = [scale.to_dict() for scale in scaling]
    given = ModelOutput.create(
        name="logits",
        tasks=[TASKS[card.task]],
        result=ResultStructure.create([ANY, card.outputs, side, side], ["batch", "class", "height", "width"], DataType.FLOAT32),
        classes=[
            Classification.create(value=BACKGROUND_VALUE, name="background"),
            *(Classification.create(value=c.value, name=c.name, color_hint=c.colour.removeprefix("#").upper()) for c in card.classes),
        ],
    )
    MLMExtension.ext(item, add_if_missing=True).apply(
        name=card.title,
        architecture=card.architecture.encoder,
        tasks=[TASKS[card.task]],
        input=[seen],
        output=[given],
        framework="pytorch",
        total_parameters=card.parameters or None,
        pretrained=card.base is not None,
        pretrained_source=card.base.name if card.base else None,
    )
    roles = ["mlm:model", "mlm:weights", "data"]
    asset = pystac.Asset(f"./{WEIGHTS_FILE}", "Weights", media_type="application/octet-stream; application=safetensors", roles=roles)
    item.add_asset("model", asset)
    return item.to_dict(include_self_link=False)


def item_text(card: ModelCard) -> str:
    """The item as text."""
    return json.dumps(item_of(card), indent=2, ensure_ascii=False) + "\n"


def _created(card: ModelCard) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(card.created).astimezone(dt.UTC)
    except ValueError:
        return dt.datetime.now(dt.UTC)
