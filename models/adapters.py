"""Low-rank adapters: a transformer's attention learns a little, its own weights stay (LoRA: Hu et al. 2022, arXiv 2106.09685).

Each linear layer of the attention reads its weight W as W + B A, of which only the narrow A and B learn; B begins at 0, so at first nothing changes. At the end
B A is added to W, and the model is an ordinary one. By torch's own parametrisations: peft would bring transformers and accelerate along for this.
"""

from __future__ import annotations

import copy
import math
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.freezing import freeze

RANK = 8
SCALE = 2.0
"""B A counts so many times (alpha / rank)."""
ATTENTION = "attn"
"""Part of timm's names for attention, in every transformer."""
M = TypeVar("M", bound=nn.Module)


class LowRank(nn.Module):
    """A weight (rows, columns) plus a product of two narrow matrices."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.a = nn.Parameter(weight.new_empty(rank, columns))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + SCALE * self.b @ self.a


def attention_layers(encoder: nn.Module) -> list[nn.Linear]:
    """The linear layers of a transformer's attention; none in other encoders."""
    return [part for name, part in encoder.named_modules() if isinstance(part, nn.Linear) and any(ATTENTION in piece for piece in name.split("."))]


def add_adapters(encoder: nn.Module, *, rank: int = RANK) -> None:
    """Let a frozen encoder's attention learn through adapters, in place; nothing else of it learns.

    Args:
        encoder: Frozen (`models.freezing.freeze`).
        rank: Width of the adapters, at most that of the layer.

    Raises:
        ValueError: it has no attention.
    """
    layers = attention_layers(encoder)
    if not layers:
        raise ValueError("Adapters are for transformers: this encoder has no attention.")
    for layer in layers:
        adapter = LowRank(layer.weight, min(rank, *layer.weight.shape))
        parametrize.register_parametrization(layer, "weight", adapter)


def hold(encoder: nn.Module, *, adapters: bool) -> None:
    """Freeze an encoder; with `adapters` its attention learns through them. Errors as `add_adapters`."""
    freeze(encoder)
    if adapters:
        add_adapters(encoder)


def has_adapters(module: nn.Module) -> bool:
    return any(isinstance(part, LowRank) for part in module.modules())


def merged(network: M) -> M:
    """A copy without adapters, what they learnt added to the weights; the network itself where it has none."""
    if not has_adapters(network):
        return network
    made = copy.deepcopy(network)
    for name, layer in list(made.named_modules()):
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            # a new layer: torch takes parametrisations off a class that copies share
            plain = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features, bias=layer.bias is not None)
            plain.load_state_dict({"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias}))
            made.set_submodule(name, plain)
    return made
