"""What training minimises: cross-entropy for every pixel, plus soft Dice for thin and rare classes; or another loss of the field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tiles.tile_set import IGNORE_LABEL
from training.settings import LossName

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) as `segmentation_loss` takes them -> a scalar."""
HEAVIEST = 4.0
"""Largest weight of a class, background being 1."""

FOCUS = 2.0
"""Gamma of the focal loss."""
FALSE_ALARM, MISSED = 0.3, 0.7
"""Tversky's weights: what is missed costs more (Salehi et al. 2017)."""


def loss_of(name: LossName, weights: Tensor) -> Loss:
    """The loss of that name.

    Args:
        name: As in the settings.
        weights: (outputs,) of the classes; Lovász has no room for them.
    """
    if name == "cross_entropy_dice":
        return lambda logits, target: segmentation_loss(logits, target, weights)
    if name == "cross_entropy":
        return lambda logits, target: cross_entropy_loss(logits, target, weights)
    if name == "focal":
        return lambda logits, target: focal_loss(logits, target, weights)
    from segmentation_models_pytorch import losses  # takes a second: only where it is asked for

    said = {"mode": losses.MULTICLASS_MODE, "ignore_index": IGNORE_LABEL}
    weighted = said | {"class_weights": weights.tolist()}
    made: dict[str, Callable[[], Loss]] = {
        "dice": lambda: losses.DiceLoss(**weighted),
        "tversky": lambda: losses.TverskyLoss(alpha=FALSE_ALARM, beta=MISSED, **weighted),
        "lovasz": lambda: losses.LovaszLoss(**said),
    }
    chosen = made[name]()

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return chosen(logits, target) if (target != IGNORE_LABEL).any() else logits.sum() * 0.0

    return loss


def cross_entropy_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy, of what `segmentation_loss` takes; 0 where every pixel is ignored."""
    counted = bool((target != IGNORE_LABEL).any())
    return F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE_LABEL) if counted else logits.sum() * 0.0


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


def focal_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy in which a pixel counts the less, the surer the right answer is (Lin et al. 2017, gamma 2), over the softmax.

    That of segmentation_models_pytorch asks each output for a yes or no of its own, which is not how maps are made from them.

    Args:
        logits: (n, outputs, rows, columns).
        target: (n, rows, columns) output index, 255 ignored.
        weights: (outputs,).

    Returns:
        A scalar, the mean by weight; 0 where every pixel is ignored.
    """
    counted = target != IGNORE_LABEL
    if not counted.any():
        return logits.sum() * 0.0
    surprise = F.cross_entropy(logits, target, ignore_index=IGNORE_LABEL, reduction="none")
    share = weights[torch.where(counted, target, 0)] * counted
    return ((1 - torch.exp(-surprise)) ** FOCUS * surprise * share).sum() / share.sum()


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
