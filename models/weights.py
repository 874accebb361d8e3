"""Fetch pretrained encoders from where timm publishes them, as model bundles."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from timm.models import get_pretrained_cfg

from errors import DownloadError
from models.bundle import save_bundle
from models.card import CARD_FILE, ModelCard, ModelInput
from models.catalogue import EncoderChoice
from models.download import Progress, download
from models.network import SegmentationNetwork, build_network


def fetch_encoder(choice: EncoderChoice, store: Path, progress: Progress | None = None) -> Path:
    """The bundle of a pretrained encoder (with a fresh decoder and no class yet), fetched into `store` when it is not there.

    Weights come from where timm publishes them; the checksum is the one in the published file name.

    Returns:
        The bundle's folder, `store/<name>`.

    Raises:
        DownloadError: see `download`; or the file does not hold this encoder.
    """
    folder = store / choice.name
    if (folder / CARD_FILE).exists():
        return folder
    published = get_pretrained_cfg(choice.architecture.encoder)
    if published is None or not published.url:
        raise DownloadError(f"timm publishes no address for {choice.architecture.encoder}.", "Choose another model.")
    url = published.url if isinstance(published.url, str) else published.url[0]
    name = url.rsplit("/", 1)[-1]
    digits = re.search(r"-([0-9a-f]{8,})\.", name)
    path = store / name
    download(url, path, sha256=digits.group(1) if digits else "", progress=progress)
    try:
        save_bundle(folder, _with_pretrained(choice, path), _card(choice, published.mean, published.std, published.license or "", url))
    finally:
        path.unlink(missing_ok=True)
    return folder


def _with_pretrained(choice: EncoderChoice, path: Path) -> SegmentationNetwork:
    torch.manual_seed(0)
    network = build_network(choice.architecture, bands=3, outputs=1)
    try:
        encoder = timm.create_model(
            choice.architecture.encoder,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(path)},
            features_only=True,
            out_indices=tuple(range(choice.architecture.encoder_levels)),
        )
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise DownloadError(f"The downloaded file does not hold the encoder {choice.architecture.encoder}.", "Try again later.") from error
    network.encoder.load_state_dict(encoder.state_dict())
    return network


def _card(choice: EncoderChoice, mean: tuple[float, ...], std: tuple[float, ...], licence: str, url: str) -> ModelCard:
    return ModelCard(
        name=choice.name,
        title=choice.title,
        summary=choice.summary,
        architecture=choice.architecture,
        input=ModelInput(
            band_names=("red", "green", "blue"),
            mean=tuple(255 * m for m in mean),
            std=tuple(255 * s for s in std),
            resolution_m=None,
            tile_size=256,
        ),
        classes=(),
        licence=licence,
        training_data="ImageNet-1k (encoder); the decoder is untrained.",
        made_by=url,
    )
