"""Step by step: which parts of a network learn on each rung of the ladder from its last layer to everything."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from models.freezing import freeze, unfreeze
from models.network import Network

Rung = Literal["all_but_last_layer", "backbone", "early_stages", "nothing"]
"""What stays as it is."""
QUICK: Rung = "all_but_last_layer"
"""Fitted at once."""
RUNGS: tuple[Rung, ...] = ("all_but_last_layer", "backbone", "early_stages", "nothing")
TITLES: dict[Rung, str] = {
    "all_but_last_layer": "Last layer",
    "backbone": "All but the backbone",
    "early_stages": "The backbone's last stage, too",
    "nothing": "Everything",
}


def let_learn(network: Network, rung: Rung) -> None:
    """Freeze what the rung leaves as it is, and nothing else. (On the first rung the last layer is fitted, not learnt: nothing follows gradients.)

    The last stage of a backbone learns with the normalisation statistics that it has: small batches would only spoil them.
    """
    if rung == "nothing":
        unfreeze(network.encoder)
        return
    freeze(network.encoder)
    if rung == "early_stages":
        for parameter in last_stage(network.encoder):
            parameter.requires_grad_(True)


def last_stage(encoder: nn.Module) -> list[nn.Parameter]:
    """The parameters behind the last but one level of features that a timm encoder gives; of another encoder those of its last part."""
    inner: Any = getattr(encoder, "model", encoder)  # segmentation_models_pytorch wraps timm's
    if not hasattr(inner, "feature_info"):  # rebuilt from a package
        return list(next(c for c in reversed(list(inner.children())) if list(c.parameters())).parameters())
    before = inner.feature_info.module_name()[-2]
    names = [name for name, _ in inner.named_parameters()]
    last = max(i for i, name in enumerate(names) if name.startswith((f"{before}.", f"{before.replace('.', '_')}.")))
    return [parameter for _, parameter in list(inner.named_parameters())[last + 1 :]]
