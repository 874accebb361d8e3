"""Mixup (Zhang et al. 2018): each tile of a step is laid over another one, and both labels count, in the same shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.dataset import Batch

ALPHA = 0.4
"""Of the beta distribution of the shares: mostly one tile shows through the other faintly, seldom both alike. As in fast.ai, and so in ArcGIS."""


def mixed(batches: Iterable[Batch], random: torch.Generator) -> Iterator[Batch]:
    """Batches of pixels in which tiles lie over one another."""
    for batch in batches:
        image, order, share = laid_over(batch.image, random)
        yield replace(batch, image=image, other=batch.target[order], share=share)


def laid_over(image: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Each tile with another one over it.

    Args:
        image: (n, bands, rows, columns), normalised.
        random: Drawn from.

    Returns:
        The mixed images, the number of the tile that lies over each, and the share of the tile itself, 0..1.
    """
    order = torch.randperm(len(image), generator=random)
    share = float(np.random.default_rng(int(torch.randint(2**31, (), generator=random))).beta(ALPHA, ALPHA))
    return share * image + (1 - share) * image[order], order, share


def mixed_loss(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor, other: Tensor | None, share: float) -> Tensor:
    """The losses against both labels, in their shares; against the one where nothing was mixed (`other` is None)."""
    found = loss(logits, target)
    return found if other is None else share * found + (1 - share) * loss(logits, other)
