"""Windows of raw pixels in, class probabilities out: normalising, batching and the device, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.fuse import fused, on_any_threads, one_thread
from inference.settings import Device, MergePolicy
from models.normalise import normalised

Arithmetic = Literal["float32", "bfloat16", "onnxruntime"]
"""What a network calculates with: 32-bit numbers, 16-bit ones where that is safe, or 32-bit ones by ONNX Runtime."""
MERGES: dict[MergePolicy, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
}
"""Of two answers; a sum will do for the mean, as all outputs are made to add up to 1."""
TINY = 1e-12
"""The lowest of eight answers may be 0 for every class."""


@dataclass(frozen=True)
class Classifier:
    """A network ready to predict.

    Args:
        network: Maps (n, bands, rows, columns) float32 to logits (n, outputs, rows, columns).
        mean: One number per band, raw units.
        std: Likewise.
        device: Where it runs.
        odds: Per output, the factor by which its odds are raised.
        test_time_augmentation: Look at a window in the eight positions of a square (turned, mirrored).
        merge_policy: What counts of the eight answers, for each class: their mean, or the highest or lowest probability.
        arithmetic: What the network calculates with; "onnxruntime" says that it is an `OnnxNetwork`.
    """

    network: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    odds: torch.Tensor
    test_time_augmentation: bool = False
    merge_policy: MergePolicy = "mean"
    arithmetic: Arithmetic = "float32"

    def probabilities(self, values: Sequence[NDArray[Any]], valid: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
        """Softmax over the outputs. One window goes through the network at a time: of several at once, libraries sum up in another order.

        Args:
            values: n windows (bands, rows, columns) in raw units, all of one shape.
            valid: n masks (rows, columns); invalid pixels go in as 0 after normalising, as in training.

        Returns:
            (n, outputs, rows, columns), summing to 1 over outputs.
        """
        return np.stack([self._of_one(v, seen) for v, seen in zip(values, valid, strict=True)])

    def _of_one(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        image = torch.from_numpy(normalised(values, valid, self.mean, self.std))[None].to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.arithmetic == "bfloat16"):
            found = self._merged_positions(image) if self.test_time_augmentation else self._softmax(image)
            found = found * self.odds
            return (found / found.sum(dim=1, keepdim=True).clamp_min(TINY))[0].cpu().numpy()

    def _softmax(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.network(image.contiguous(memory_format=torch.channels_last)).float()
        with one_thread():  # PyTorch's softmax rounds a few pixels otherwise on several
            return torch.softmax(logits, dim=1)

    def _merged_positions(self, image: torch.Tensor) -> torch.Tensor:
        """One position after another: all at once would take eight times the memory."""
        merge = MERGES[self.merge_policy]
        merged: torch.Tensor | None = None
        for turns in range(4):
            turned = torch.rot90(image, turns, (-2, -1))
            pair = merge(self._softmax(turned), self._softmax(turned.flip(-1)).flip(-1))
            back = torch.rot90(pair, -turns, (-2, -1))
            merged = back if merged is None else merge(merged, back)
        assert merged is not None
        return merged


def device_of(asked: Device) -> torch.device:
    """Where to run: a graphics card where there is one, unless another is asked for."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked)


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
    merge_policy: MergePolicy = "mean",
    arithmetic: Arithmetic = "float32",
) -> Classifier:
    """Put a network on its device, in evaluation mode and in the memory layout that convolutions like best.

    `odds`: factor on the odds of each output, background first; one number for all leaves the answers as they are.
    """
    place = device_of(device)
    if place.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # else graphics cards cut 32-bit numbers to 19 bits
    network = network.to(place).to(memory_format=torch.channels_last).eval()
    return Classifier(
        network=on_any_threads(fused(network, len(mean))),
        mean=tuple(mean),
        std=tuple(std),
        device=place,
        odds=torch.tensor(odds, dtype=torch.float32, device=place).reshape(1, -1, 1, 1),
        test_time_augmentation=test_time_augmentation,
        merge_policy=merge_policy,
        arithmetic=arithmetic,
    )
