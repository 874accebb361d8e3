"""One training epoch, whatever is learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import TypeVar

import torch
from torch import Tensor

from models.adapters import has_adapters
from models.network import Network
from training.group import ALONE, Group
from training.memory import Pieces, in_pieces

Tick = Callable[[], None]
"""Called after every step; raises JobCancelled to stop."""
B = TypeVar("B", bound=Sized)
BatchLoss = Callable[[B, slice], Tensor]
"""(a batch, which of its tiles) -> the mean loss over these, a scalar that gradients flow from."""


def train_epoch(
    network: Network,
    batches: Iterable[B],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss: BatchLoss[B],
    pieces: Pieces,
    tick: Tick,
    group: Group = ALONE,
) -> float:
    """Learn from the batches once, each process of the group from its own. Returns the mean loss over the steps.

    Raises:
        TrainingError: memory is too small for a single tile.
    """
    network.train()
    total, steps = 0.0, 0
    for batch in batches:
        total, steps = total + train_step(network, batch, optimiser, loss, pieces, group), steps + 1
        schedule.step()
        tick()
    group.average_statistics(network)
    return total / max(steps, 1)


def train_step(
    network: Network, batch: B, optimiser: torch.optim.Optimizer, loss: BatchLoss[B], pieces: Pieces, group: Group = ALONE
) -> float:
    """One step on one batch; where memory is too small for it, in as many pieces as it takes. Returns its loss.

    Raises:
        TrainingError: memory is too small for a single tile.
    """

    def learn(part: slice, share: float) -> float:
        found = loss(batch, part) * share
        found.backward()
        return found.item()

    total = in_pieces(len(batch), pieces, learn, begin=lambda: optimiser.zero_grad(set_to_none=True))
    learning = [p for one in optimiser.param_groups for p in one["params"]]
    total = group.average_gradients(learning, len(batch), total)
    torch.nn.utils.clip_grad_norm_(learning, 5.0)
    optimiser.step()
    return total


def encoder_and_rest(network: Network, learning_rate: float) -> Sequence[dict[str, object]]:
    """Parameter groups: the rest at `learning_rate`, the encoder (when it learns) at a tenth; adapters in it, which begin at nothing, at the full rate."""
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    inside = {id(p) for p in encoder}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in inside]
    return [{"params": rest, "lr": learning_rate}, *([{"params": encoder, "lr": learning_rate if has_adapters(network.encoder) else learning_rate / 10}] if encoder else [])]
