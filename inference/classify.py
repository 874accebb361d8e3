"""Windows of raw pixels in, class probabilities out: normalising, batching and the device, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.settings import Device
from models.normalise import normalised

POSITIONS = 8
"""Of a square: four turns, each also mirrored."""


@dataclass(frozen=True)
class Classifier:
    """A network ready to predict.

    Args:
        network: Maps (n, bands, rows, columns) float32 to logits (n, outputs, rows, columns).
        mean: One number per band, raw units.
        std: Likewise.
        device: Where it runs.
        odds: Per output, the factor by which its odds are raised.
        test_time_augmentation: Answer with the mean over the eight positions of a square (turned, mirrored) in which the network looks at a window.
    """

    network: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    odds: torch.Tensor
    test_time_augmentation: bool = False

    def probabilities(self, values: Sequence[NDArray[Any]], valid: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
        """Softmax over the outputs.

        Args:
            values: n windows (bands, rows, columns) in raw units, all of one shape.
            valid: n masks (rows, columns); invalid pixels go in as 0 after normalising, as in training.

        Returns:
            (n, outputs, rows, columns), summing to 1 over outputs.
        """
        windows = [normalised(v, seen, self.mean, self.std) for v, seen in zip(values, valid, strict=True)]
        image = torch.from_numpy(np.stack(windows)).to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=fast_bfloat16(self.device)):
            found = self._mean_of_positions(image) if self.test_time_augmentation else self._softmax(image)
            found = found * self.odds
            return (found / found.sum(dim=1, keepdim=True)).cpu().numpy()

    def _softmax(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(image.contiguous(memory_format=torch.channels_last)).float(), dim=1)

    def _mean_of_positions(self, image: torch.Tensor) -> torch.Tensor:
        """One position after another: all at once would take eight times the memory."""
        total = torch.zeros((), device=image.device)
        for turns in range(4):
            turned = torch.rot90(image, turns, (-2, -1))
            straight = self._softmax(turned)
            mirrored = self._softmax(turned.flip(-1)).flip(-1)
            total = total + torch.rot90(straight + mirrored, -turns, (-2, -1))
        return total / POSITIONS


def fast_bfloat16(device: torch.device) -> bool:
    """Does the device multiply bfloat16 in hardware? With channels-last that took 0.45 instead of 1.06 CPU seconds a megapixel."""
    if device.type == "cuda":
        return True
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def make_classifier(
    network: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    device: Device = "auto",
    odds: Sequence[float] = (1.0,),
    *,
    test_time_augmentation: bool = False,
) -> Classifier:
    """Put a network on its device, in evaluation mode and in the memory layout that convolutions like best.

    `odds`: factor on the odds of each output, background first; one number for all leaves the answers as they are.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    place = torch.device(name)
    network = network.to(place).to(memory_format=torch.channels_last).eval()
    return Classifier(
        network=network,
        mean=tuple(mean),
        std=tuple(std),
        device=place,
        odds=torch.tensor(odds, dtype=torch.float32, device=place).reshape(1, -1, 1, 1),
        test_time_augmentation=test_time_augmentation,
    )
