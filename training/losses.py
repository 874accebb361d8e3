"""What training minimises: cross-entropy for every pixel, plus soft Dice for thin and rare classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tiles.tile_set import IGNORE_LABEL

HEAVIEST = 4.0
"""Largest weight of a class, background being 1."""


def segmentation_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy + soft Dice over the classes present.

    Args:
        logits: (n, outputs, rows, columns).
        target: (n, rows, columns) output index, 255 ignored.
        weights: (outputs,).

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    counted = target != IGNORE_LABEL
    if not counted.any():
        return logits.sum() * 0.0
    cross_entropy = F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE_LABEL)
    return cross_entropy + dice_loss(logits, target, counted)


def dice_loss(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """1 - mean soft Dice of the foreground classes that occur in the batch (Milletari et al. 2016, V-Net); 0 when none does."""
    outputs = logits.shape[1]
    p = logits.softmax(dim=1) * counted[:, None]
    truth = F.one_hot(torch.where(counted, target, 0), outputs).movedim(-1, 1) * counted[:, None]
    dims = (0, 2, 3)
    overlap, size = (p * truth).sum(dims), p.sum(dims) + truth.sum(dims)
    present = truth.sum(dims) > 0
    present[0] = False
    if not present.any():
        return logits.new_zeros(())
    return 1 - (2 * overlap[present] / size[present]).mean()


def class_weights(pixels: NDArray[np.int64], *, balance: bool) -> Tensor:
    """(outputs,) square root of how much rarer a class is than background, from 1 to `HEAVIEST`."""
    if not balance:
        return torch.ones(len(pixels))
    ratio = pixels[0] / np.maximum(pixels, 1)
    return torch.from_numpy(np.where(pixels > 0, np.clip(np.sqrt(ratio), 1.0, HEAVIEST), 1.0).astype(np.float32))
