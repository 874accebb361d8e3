"""Where and in which numbers to compute."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Compute:
    """Where and in which numbers to compute."""

    device: torch.device
    half: torch.dtype | None
    """Type of the fast half-precision numbers; None: float32 throughout."""

    def mixed(self) -> contextlib.AbstractContextManager[object]:
        """Autocast, where it pays."""
        if self.half is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.half)

    def place(self, network: nn.Module) -> None:
        """Move a network there, its weights laid out as convolutions like them."""
        network.to(self.device)
        network.to(memory_format=torch.channels_last)

    def move(self, image: Tensor) -> Tensor:
        return image.to(self.device, memory_format=torch.channels_last)


def choose_compute(wanted: str) -> Compute:
    """'auto' takes a CUDA device when there is one; bfloat16 only where the processor computes it natively (else it is slower)."""
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        return Compute(torch.device("cuda"), torch.bfloat16 if torch.cuda.is_bf16_supported() else None)
    native = bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
    return Compute(torch.device("cpu"), torch.bfloat16 if native else None)
