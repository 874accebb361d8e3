"""A learning rate found by trying: the range test of Smith 2017 (Cyclical Learning Rates), as fast.ai has it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from models.network import Network
from training.loop import B, BatchLoss, Tick, encoder_and_rest, train_step
from training.memory import Pieces
from training.trial import untouched

LEAST, MOST = 1e-5, 0.3
STEPS = 45
"""About ten for each tenfold."""
SMOOTHING = 0.8
HOPELESS = 4.0
"""Times the lowest loss: from there it only gets worse."""
SAFE = 0.1
"""Of the rate at which the loss was lowest: there it is about to break away."""


@dataclass(frozen=True)
class Sweep:
    """Smoothed loss at each rate that was tried, lowest rate first, and the rate chosen from them."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chosen: float


def find_learning_rate(network: Network, batches: Iterable[B], loss: BatchLoss[B], pieces: Pieces, tick: Tick) -> Sweep:
    """Raise the rate from step to step until the loss breaks away. The network is as before afterwards.

    Args:
        network: As training starts with it.
        batches: At least `STEPS`, varied as in training.
        loss: Of the run.
        pieces: Grown where memory is too small.
        tick: Called after every step; may raise to stop.
    """
    rates: list[float] = []
    losses: list[float] = []
    with untouched(network):
        network.train()
        optimiser = torch.optim.AdamW(encoder_and_rest(network, LEAST), weight_decay=0.01)
        widest = [group["lr"] / LEAST for group in optimiser.param_groups]
        running = 0.0
        for step, batch in zip(range(STEPS), batches, strict=False):
            rate = LEAST * (MOST / LEAST) ** (step / (STEPS - 1))
            for group, share in zip(optimiser.param_groups, widest, strict=True):
                group["lr"] = rate * share
            running = SMOOTHING * running + (1 - SMOOTHING) * train_step(network, batch, optimiser, loss, pieces)
            smooth = running / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(smooth):
                break
            rates.append(rate)
            losses.append(smooth)
            tick()
            if smooth > HOPELESS * min(losses):
                break
    return Sweep(tuple(rates), tuple(losses), chosen_rate(rates, losses))


def chosen_rate(rates: list[float], losses: list[float]) -> float:
    """`SAFE` times the rate at which the loss was lowest, within what was tried."""
    lowest = min(range(len(losses)), key=losses.__getitem__)
    return max(rates[0], float(f"{SAFE * rates[lowest]:.2g}"))
