"""A model bundle: a folder with weights and card. Saving, loading, and fitting a loaded network to other classes or bands."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from typing_extensions import TypeVar

from errors import BundleError
from models.bands import meanings
from models.card import (
    CARD_FILE,
    WEIGHTS_FILE,
    BaseReference,
    ModelCard,
    ModelInput,
    Score,
    bundle_folder,
    check_input,
    read_card,
    write_card,
)
from models.network import ChangeNetwork, Network, SegmentationNetwork, build_network
from workspace.files import disk_full_explained

__all__ = [
    "BaseReference",
    "ModelBundle",
    "ModelCard",
    "ModelInput",
    "Score",
    "adapt_bands",
    "adapt_outputs",
    "check_input",
    "load_bundle",
    "save_bundle",
]


N = TypeVar("N", bound=Network, default=SegmentationNetwork)


@dataclass(frozen=True)
class ModelBundle(Generic[N]):
    """A loaded model, in evaluation mode on the CPU."""

    network: N
    card: ModelCard
    folder: Path


def save_bundle(folder: Path, network: Network, card: ModelCard) -> ModelCard:
    """Write weights and card as `folder`, replacing what is there only once everything is written.

    Returns:
        The card as saved: with the number of parameters and the sha256 of the weights.

    Raises:
        DiskFullError: the disk filled up; `folder` is as it was.
        ValueError: the card does not fit the network.
    """
    if (network.bands, network.outputs) != (len(card.input.band_names), card.outputs):
        raise ValueError(
            f"The card says {len(card.input.band_names)} bands and {card.outputs} outputs, the network {network.bands} and {network.outputs}."
        )
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()})
    parameters = sum(p.numel() for p in network.parameters())
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest(), "parameters": parameters})
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_explained(folder):
            temporary.mkdir()
            (temporary / WEIGHTS_FILE).write_bytes(weights)
            write_card(temporary, card)
            _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


@overload
def load_bundle(folder: Path) -> ModelBundle: ...


@overload
def load_bundle(folder: Path, kind: type[N]) -> ModelBundle[N]: ...


def load_bundle(folder: Path, kind: type[Network] = SegmentationNetwork) -> ModelBundle[Any]:
    """Load a bundle; nothing in it is executed.

    Args:
        folder: The bundle, or a run that holds one.
        kind: What is asked for: something that tells a class for each pixel unless said; `Network` for anything.

    Raises:
        BundleError: a file is missing, damaged, or does not belong to the other; or the model is for something else.
    """
    folder = bundle_folder(folder)
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise BundleError(f"The model {folder.name} has no {WEIGHTS_FILE}.", "Copy the whole folder again, or train the model again.")
    if card.weights_sha256 and file_sha256(path) != card.weights_sha256:
        raise BundleError(
            f"The weights of the model {folder.name} are damaged: they are not the ones its {CARD_FILE} names.",
            "Copy the whole folder again, or train the model again.",
        )
    network = build_network(card.architecture, len(card.input.band_names), card.outputs)
    if not isinstance(network, kind):
        raise BundleError(f"The model '{card.title}' is one for {card.task}: it cannot be used for this.", "Choose another model.")
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BundleError(
            f"The weights of the model {folder.name} do not fit the network that its {CARD_FILE} describes.",
            "Copy the whole folder again, or train the model again.",
        ) from error
    return ModelBundle(network.eval(), card, folder)


def adapt_outputs(network: SegmentationNetwork, old_names: Sequence[str], new_names: Sequence[str]) -> None:
    """Give `network` one output for background and one for each of `new_names`, in place.

    Background and classes that also stand in `old_names` (whatever the case) keep their weights; a new class starts from
    background's weights plus small noise, so that at first it is neither loved nor shunned.
    """
    last = _last_conv(network.head)
    old = {name.casefold(): row for row, name in enumerate(["", *old_names])}
    rows = [old.get(name.casefold()) for name in ["", *new_names]]
    if rows == list(range(network.outputs)):
        return
    new = nn.Conv2d(last.in_channels, len(rows), last.kernel_size, last.stride, last.padding, bias=last.bias is not None)  # type: ignore[arg-type]
    scale = last.weight.detach().std()
    with torch.no_grad():
        for i, row in enumerate(rows):
            new.weight[i] = last.weight[row or 0]
            if row is None:
                new.weight[i] += torch.randn_like(new.weight[i]) * scale
            if new.bias is not None and last.bias is not None:
                new.bias[i] = last.bias[row or 0] - (NEW_CLASS_LOGIT if row is None else 0.0)
    _replace(network.head, last, new)
    network.outputs = len(rows)


NEW_CLASS_LOGIT = 2.0
"""How far below background a new class starts, in logits: rare until learnt."""


def adapt_bands(network: Network, old_names: Sequence[str], new_names: Sequence[str]) -> None:
    """Give `network` one input band for each of `new_names`, in place.

    Bands that also stand in `old_names` (by what they mean) keep their weights in the first convolution; a further band starts with the
    mean of them all.
    """
    old = {meaning: i for i, meaning in enumerate(meanings(old_names))}
    columns = [old.get(meaning) for meaning in meanings(new_names)]
    if columns == list(range(network.bands)):
        return
    network.bands = len(new_names)
    if isinstance(network, ChangeNetwork):  # one encoder looks at both images
        columns = columns[: len(columns) // 2]
    network.take_bands(columns)
    first = next(m for m in network.encoder.modules() if isinstance(m, nn.Conv2d))
    if first.groups != 1:
        raise ValueError("The first convolution of this encoder is grouped; its bands cannot be changed.")
    mean = first.weight.detach().mean(dim=1)
    weight = torch.stack([mean if c is None else first.weight.detach()[:, c] for c in columns], dim=1)
    first.weight = nn.Parameter(weight)
    first.in_channels = len(columns)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _swap(new: Path, place: Path) -> None:
    """Put `new` where `place` is, the old one being gone only afterwards."""
    old = place.with_name(f".{place.name}.{secrets.token_hex(4)}.old")
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _last_conv(head: nn.Module) -> nn.Conv2d:
    return [m for m in head.modules() if isinstance(m, nn.Conv2d)][-1]


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in root.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
                return
    raise ValueError("The layer to replace is not below the root.")
