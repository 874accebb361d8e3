"""Fetch published encoders, as model bundles: from timm, torchgeo, and the encoders inside torchvision's detectors and segmenters."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from errors import DownloadError, ModelNotFoundError
from models.bundle import save_bundle
from models.card import CARD_FILE
from models.catalogue.published import PublishedModel
from models.download import Judge, Progress, download
from models.network import SegmentationNetwork, build_network

BACKBONES = ("backbone.body.", "backbone.")
"""Where torchvision's detectors and segmenters keep their encoder."""
_UNREADABLE = (RuntimeError, OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, pickle.UnpicklingError, SafetensorError)


def fetch_encoder(
    model: PublishedModel, store: Path, progress: Progress | None = None, *, mirror: str = "", judge: Judge | None = None
) -> Path:
    """The bundle of a published encoder (with a fresh decoder and no class yet), fetched into `store` when it is not there.

    Args:
        model: `PublishedModel.is_encoder`.
        store: Downloaded models (`<data folder>/models`).
        progress: Of the download.
        mirror: A folder or address that is asked instead of the publisher's (`models.download`).
        judge: Asked before each address.

    Returns:
        The bundle's folder, `store/<name>`.

    Raises:
        ModelNotFoundError: it is no encoder that can be loaded.
        DownloadError: see `download`; or the file does not hold this encoder.
    """
    folder = store / model.name
    if (folder / CARD_FILE).exists():
        return folder
    if not model.is_encoder:
        raise ModelNotFoundError(f"'{model.title}' is no encoder that Terratune can load.", "Choose another model.")
    path = store / model.file
    download(model.url, path, sha256=model.sha256, mirror=mirror, progress=progress, judge=judge)
    try:
        save_bundle(folder, _with_encoder(model, path), model.base_card())
    finally:
        path.unlink(missing_ok=True)
    return folder


def _with_encoder(model: PublishedModel, path: Path) -> SegmentationNetwork:
    """The network with the file's encoder in it; nothing in the file is executed."""
    assert model.encoder is not None
    torch.manual_seed(0)
    try:
        network = build_network(model.encoder, bands=len(model.bands), outputs=1)
        if model.loader == "timm":
            network.encoder.load_state_dict(_from_timm(model, path))
        else:
            load_encoder(network, _state(path))
    except _UNREADABLE as error:
        raise DownloadError(f"The downloaded file does not hold the encoder {model.encoder.encoder}.", "Try again later.") from error
    return network


def _from_timm(model: PublishedModel, path: Path) -> dict[str, Tensor]:
    """Weights of the encoder alone, from a file that timm reads."""
    assert model.encoder is not None
    made: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}, "in_chans": len(model.bands)}
    timm.create_model(model.encoder.encoder, **made)  # the whole network: what the file lacks is noticed; of an encoder it is not
    levels = tuple(range(model.encoder.encoder_levels))
    return dict(timm.create_model(model.encoder.encoder, **made, features_only=True, out_indices=levels).state_dict())


def load_encoder(network: SegmentationNetwork, state: Mapping[str, Tensor]) -> None:
    """Put weights that bear timm's names, bare or below the backbone of a torchvision network, into the encoder of `network`.

    What a shortened encoder has no room for (its last levels, the old classifier) is left out; nothing it has may be missing.

    Raises:
        KeyError: a weight is missing.
        RuntimeError: one has another shape.
    """
    prefix = next((prefix for prefix in BACKBONES if any(name.startswith(prefix) for name in state)), "")
    bare = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    own = network.encoder.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # a frozen batch norm keeps none
    network.encoder.load_state_dict({name: own[name] if name in counters - bare.keys() else bare[name] for name in own})


def _state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, or a pickle of tensors alone."""
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    found = torch.load(path, map_location="cpu", weights_only=True)
    inner = next((found[key] for key in ("state_dict", "model") if isinstance(found.get(key), dict)), found)
    return {str(name): tensor for name, tensor in inner.items() if isinstance(tensor, Tensor)}
