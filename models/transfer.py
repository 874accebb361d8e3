"""What a model of one kind can give to one of another: its encoder."""

from __future__ import annotations

import re

from errors import BundleError
from models.arcgis.resnet import NUMBERS
from models.architecture import AnyArchitecture, Architecture, DetectorArchitecture, SceneArchitecture
from models.card import ModelCard
from models.network import Network, SceneNetwork

_RESNET_PARTS = {number: name for name, number in NUMBERS.items()}


def encoder_of(card: ModelCard) -> tuple[str, int]:
    """Name in timm, and how many levels are used, of a model's encoder.

    Raises:
        BundleError: it has none that another network could start from.
    """
    architecture: AnyArchitecture = card.architecture
    if isinstance(architecture, (Architecture, DetectorArchitecture, SceneArchitecture)):
        return architecture.encoder, architecture.encoder_levels
    raise BundleError(
        f"'{card.title}' can only be used as it is: another kind of network cannot start from it.", "Choose another base model."
    )


def take_encoder(network: Network, base: Network, title: str) -> None:
    """Give `network` the encoder weights of `base`, in place; both read the same number of bands.

    Args:
        network: Fresh, of the encoder that `encoder_of` names.
        base: The model to start from.
        title: Its name for people.

    Raises:
        BundleError: a part of the encoder is missing there, or has another shape.
    """
    there = {_plain(name): value for name, value in base.encoder.state_dict().items()}
    here = {name: there.get(_plain(name)) for name in network.encoder.state_dict()}
    if any(found is None or found.shape != own.shape for found, own in zip(here.values(), network.encoder.state_dict().values(), strict=True)):
        raise BundleError(f"The encoder of '{title}' does not fit this kind of network.", "Choose another base model.")
    network.encoder.load_state_dict(here)


def take_head(network: SceneNetwork, base: SceneNetwork) -> None:
    """Give `network` the weights of `base` between encoder and last layer, in place; where networks end in a last layer alone, nothing."""
    there, last = base.head.state_dict(), {id(value) for value in network.last.state_dict(keep_vars=True).values()}
    for name, value in network.head.state_dict(keep_vars=True).items():
        if id(value) not in last and name in there:
            value.data.copy_(there[name])


def _plain(name: str) -> str:
    """Without the wrapper that segmentation_models_pytorch puts around timm's encoders; a ResNet's parts by name where ArcGIS's networks number them."""
    if numbered := re.match(r"body\.(\d)\.", name):
        return f"{_RESNET_PARTS[numbered[1]]}.{name[numbered.end() :]}"
    return name.removeprefix("model.")
