"""How the learning rate goes over a run."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from training.settings import TrainingSettings

WARM_UP = 0.1
LAST_RATE = 0.01


def learning_schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """From the rates that the optimiser's groups have: the largest.

    Args:
        optimiser: AdamW.
        settings: What is chosen.
        steps: In an epoch.
    """
    total = settings.epochs * steps
    if settings.schedule == "one_cycle":
        return OneCycleLR(optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=total)
    warm = max(1, round(WARM_UP * total))

    def rate(step: int) -> float:
        """Warm-up, then half a cosine down to `LAST_RATE`."""
        if step < warm:
            return (step + 1) / warm
        share = min((step - warm) / max(1, total - warm), 1.0)
        return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))

    return LambdaLR(optimiser, rate)
