"""An ONNX model as a network: predicts like any other through ONNX Runtime, on the CPU; cannot be fine-tuned.

The file lies, byte for byte, in the buffer `graph`, so that a bundle of it has weights and checksum like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from errors import BundleError, InputMismatchError
from models.architecture import OnnxArchitecture
from models.network import SegmentationNetwork

TINY = 1e-7
"""Probabilities below this count as this, when they become logits."""


class OnnxNetwork(SegmentationNetwork):
    """Normalised image in, one logit per output and pixel out, as `SegmentationNetwork` has it."""

    def __init__(self, architecture: OnnxArchitecture, bands: int, outputs: int) -> None:
        stride = architecture.side or architecture.stride
        super().__init__(nn.Identity(), nn.Identity(), nn.Identity(), stride=stride, bands=bands, outputs=outputs)
        self.architecture = architecture
        self.graph = nn.Buffer(torch.empty(architecture.size_bytes, dtype=torch.uint8))

    def encode(self, image: Tensor) -> list[Tensor]:
        """Logits of the padded image: there is nothing in between."""
        return [self._logits(image)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return features[0][..., : size[0], : size[1]]

    def take_bands(self, columns: Sequence[int | None]) -> None:
        """
        Raises:
            InputMismatchError: always.
        """
        raise InputMismatchError("An ONNX model reads the bands it was made for and no others.", "Choose another model.")

    @cached_property
    def _session(self) -> Any:
        return open_session(self.graph.detach().cpu().numpy().tobytes())

    def _logits(self, image: Tensor) -> Tensor:
        side = self.architecture.side
        if side is None:
            return self._run(image)
        rows = [torch.cat([self._run(part) for part in row.split(side, dim=-1)], dim=-1) for row in image.split(side, dim=-2)]
        return torch.cat(rows, dim=-2)

    def _run(self, image: Tensor) -> Tensor:
        name, alone = self._session.get_inputs()[0].name, self.architecture.side is not None
        pieces = image.float().cpu().contiguous().split(1 if alone else len(image))
        found = torch.cat([torch.from_numpy(self._session.run(None, {name: piece.numpy()})[0]) for piece in pieces])
        return _as_logits(found, self.architecture.gives).to(image.device)


def open_session(graph: bytes) -> Any:
    """ONNX Runtime's session for a file's bytes, on the CPU.

    Raises:
        BundleError: it is no valid ONNX model, or ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError("ONNX models need ONNX Runtime, which is not installed here.", "Install it with: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise BundleError(f"ONNX Runtime cannot open the model: {str(error).splitlines()[0]}", "Export the model again.") from error


def _as_logits(found: Tensor, gives: str) -> Tensor:
    if gives == "logits":
        return found.float()
    sure = found.float().clamp(TINY, 1 - TINY)
    if gives == "probabilities":
        return sure.log()
    logit = torch.logit(sure)
    return F.pad(logit.unsqueeze(1) if logit.ndim == 3 else logit, (0, 0, 0, 0, 1, 0))
