"""Freezing a part of a network: no gradients and no moving normalisation statistics, whatever `.train()` says later."""

from __future__ import annotations

from torch import nn


def freeze(module: nn.Module) -> None:
    """Stop `module` from learning: gradients off, evaluation mode, and kept there when a parent calls `.train()`.

    Normalisation layers then use their stored statistics and never update them; dropout is off.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    module.eval()
    for part in module.modules():
        part.train = _stay_in_eval.__get__(part)  # type: ignore[method-assign]


def unfreeze(module: nn.Module) -> None:
    """Undo `freeze`: `module` learns again and follows `.train()`."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    module.train()


def is_frozen(module: nn.Module) -> bool:
    """Does nothing in `module` learn?"""
    return not any(p.requires_grad for p in module.parameters()) and not any(part.training for part in module.modules())


def learnable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that gradients reach."""
    return [p for p in module.parameters() if p.requires_grad]


def _stay_in_eval(self: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `nn.Module.train` on a frozen module."""
    del mode
    return self
