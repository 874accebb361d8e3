"""An ONNX file as a model that predicts here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from errors import BundleError, UnsupportedModelError
from models.architecture import OnnxArchitecture
from models.card import ModelCard, ModelInput
from models.packages.graph import CARD_KEY, STRIDE_KEY, metadata_of, parse_graph
from models.packages.onnx_network import OnnxNetwork, open_session
from workspace.classes import PALETTE, ClassDef
from workspace.files import folder_name

MOST_BYTES = 2 * 10**9
"""What the format can hold in one file."""
TRIAL_PX = 256
FOREIGN_STRIDE = 32
"""Sides are made multiples of this for graphs of others, most of which halve them five times."""
MOST_OUTPUTS = 255
BYTE = 255.0
RGB = ("Red", "Green", "Blue")


def read_onnx(file: Path) -> tuple[OnnxNetwork, ModelCard, list[str]]:
    """A network, its card and what there is to say of them.

    Raises:
        UnsupportedModelError: it takes or gives something else than this app's models.
        BundleError: it is damaged, or its metadata contradict it.
    """
    if file.stat().st_size > MOST_BYTES:
        raise BundleError(f"{file.name} is too large for an ONNX model in one file.", "Save it with all weights inside, below 2 GB.")
    content = file.read_bytes()
    facts = metadata_of(parse_graph(content, file.name))
    session = open_session(content)
    bands, side = _input(session, file.name)
    found = _trial(session, bands, side, file.name)
    gives = _gives(found, file.name)
    outputs = 2 if gives == "probability" else found.shape[1]
    own = facts.get(CARD_KEY)
    card, notes = _own_card(own, file.name) if own is not None else _card(facts, file.stem, bands, outputs, side)
    if (len(card.input.band_names), card.outputs) != (bands, outputs):
        raise BundleError(
            f"{file.name} says {len(card.input.band_names)} bands and {card.outputs} outputs; its network has {bands} and {outputs}.", "Export it again."
        )
    stride = FOREIGN_STRIDE if own is None else noted if isinstance(noted := facts.get(STRIDE_KEY), int) and 1 <= noted <= TRIAL_PX else 1
    architecture = OnnxArchitecture(size_bytes=len(content), gives=gives, stride=stride, side=side)
    network = OnnxNetwork(architecture, bands, outputs)
    network.graph.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return network.eval(), card.model_copy(update={"architecture": architecture}), notes


def _input(session: Any, name: str) -> tuple[int, int | None]:
    """Bands, and the side of the images where it is fixed."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise UnsupportedModelError(
            f"{name} does not take one picture of (images, bands, rows, columns) in float32, but {', '.join(f'{i.name} {i.shape} {i.type}' for i in inputs)}.",
            "Export a model that gives a class for each pixel.",
        )
    _, bands, rows, columns = inputs[0].shape
    if not isinstance(bands, int):
        raise UnsupportedModelError(f"{name} does not say how many bands it reads.", "Export it with a fixed number of bands.")
    if isinstance(rows, int) != isinstance(columns, int) or (isinstance(rows, int) and rows != columns):
        raise UnsupportedModelError(f"{name} takes pictures of {rows} x {columns} pixels; they have to be square, or of any size.", "Export it again.")
    return bands, rows if isinstance(rows, int) else None


def _trial(session: Any, bands: int, side: int | None, name: str) -> Any:
    """What comes out for a random picture.

    Returns:
        (1, outputs, rows, columns), or (1, rows, columns).
    """
    px = side or TRIAL_PX
    image = np.random.default_rng(0).normal(size=(1, bands, px, px)).astype(np.float32)
    try:
        found = session.run(None, {session.get_inputs()[0].name: image})[0]
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise BundleError(f"{name} fails on a picture of {px} x {px} pixels: {str(error).splitlines()[0][:200]}", "Export it again.") from error
    if found.shape[-2:] != (px, px) or found.ndim not in (3, 4) or (found.ndim == 4 and found.shape[1] > MOST_OUTPUTS):
        raise UnsupportedModelError(
            f"{name} answers a picture of {px} x {px} pixels with numbers of shape {' x '.join(map(str, found.shape))}: not a class for each pixel.",
            "Models for objects, or for whole pictures, cannot be imported as ONNX.",
        )
    if not np.isfinite(found).all():
        raise BundleError(f"{name} answers with values that are no numbers.", "A training that went wrong leaves such files.")
    return found


def _gives(found: Any, name: str) -> Any:
    shares = bool(found.min() >= 0 and found.max() <= 1)
    if found.ndim == 3 or found.shape[1] == 1:
        if not shares:
            raise UnsupportedModelError(f"{name} gives one value for each pixel that is no probability.", "Export it with a sigmoid at its end.")
        return "probability"
    return "probabilities" if shares and bool(np.allclose(found.sum(axis=1), 1, atol=1e-3)) else "logits"


def _own_card(value: Any, name: str) -> tuple[ModelCard, list[str]]:
    try:
        return ModelCard.model_validate(value), []
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"The card in {name} cannot be read ({where}: {first['msg']}).", "Export the model again.") from error


def _card(facts: Mapping[str, Any], stem: str, bands: int, outputs: int, side: int | None) -> tuple[ModelCard, list[str]]:
    """From Deepness's metadata, as far as they are there."""
    notes = []
    names = _class_names(facts.get("class_names"), outputs)
    if names is None:
        names = ["background", *(f"Class {i}" for i in range(1, outputs))]
        notes.append("The file does not name its classes; they are numbered.")
    elif outputs > 1 and not names[0].strip("_ ").casefold().startswith(("background", "other", "no", "unlabel")):
        notes.append(f"The first answer, '{names[0]}', is taken as background.")
    mean, std = (_numbers(facts.get(f"standardization_{what}"), bands, default) for what, default in (("mean", 0.0), ("std", 1.0)))
    if "standardization_mean" not in facts:
        notes.append("The file does not say how values are scaled; they are divided by 255.")
    centimetres = facts.get("resolution")
    resolution = float(centimetres) / 100 if isinstance(centimetres, (int, float)) and centimetres > 0 else None
    tile = side or next((int(v) for key in ("tile_size", "tiles_size") if isinstance(v := facts.get(key), (int, float)) and v >= 1), TRIAL_PX)
    classes = tuple(ClassDef(value=i, name=name[:60], colour=PALETTE[(i - 1) % len(PALETTE)]) for i, name in enumerate(names[1:], 1))
    card = ModelCard(
        name=folder_name(stem),
        title=stem,
        summary=f"An ONNX model. Finds {', '.join(c.name for c in classes)}. It can predict, but not be fine-tuned.",
        architecture=OnnxArchitecture(size_bytes=1),
        input=ModelInput(
            band_names=RGB if bands == len(RGB) else tuple(f"band_{i + 1}" for i in range(bands)),
            mean=tuple(BYTE * m for m in mean),
            std=tuple(BYTE * s for s in std),
            resolution_m=resolution,
            tile_size=tile,
        ),
        classes=classes,
        licence="Not stated in the file: ask its maker.",
        training_data="Not stated in the file.",
    )
    return card, notes


def _class_names(value: Any, outputs: int) -> list[str] | None:
    """One name for each output; None where there are none, or not as many."""
    names = value[0] if isinstance(value, list) and value else value
    if not isinstance(names, dict):
        return None
    try:
        by_index = {int(key): " ".join(str(name).split()) for key, name in names.items()}
    except (TypeError, ValueError):
        return None
    if outputs == 2 and sorted(by_index) == [0]:
        by_index = {0: "background", 1: by_index[0]}
    found = [by_index.get(i, "") for i in range(outputs)]
    return found if all(found) and len(by_index) == outputs else None


def _numbers(value: Any, count: int, default: float) -> list[float]:
    plain = isinstance(value, list) and len(value) == count and all(isinstance(v, (int, float)) for v in value)
    return [float(v) for v in value] if plain else [default] * count
