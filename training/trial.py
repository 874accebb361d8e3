"""What a run finds out by trying before its first step: how many tiles fit in memory, and how long it will take here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.network import Network
from training.checkpoint import learnt_state, load_learnt
from training.compute import Compute
from training.loop import B, BatchLoss, encoder_and_rest, train_step
from training.memory import Pieces

MOST_TILES = 16
LEAST_STEPS = 8
"""In an epoch; fewer steps learn less than larger batches gain."""
MEMORY_SHARE = 0.5
"""Of what is free."""
OVER_SAVED = 1.5
"""Peak memory of a step over what it keeps for the backward pass: measured 0.4 to 1.03 (light, U-Net and FPN decoders, with and without bfloat16)."""


@contextlib.contextmanager
def untouched(network: Network) -> Iterator[None]:
    """Whatever is learnt within, network and random numbers are as before afterwards."""
    state, random = learnt_state(network), torch.get_rng_state()
    try:
        yield
    finally:
        load_learnt(network, state)
        torch.set_rng_state(random)


def fitting_batch_size(network: Network, tiles: int, batch_of: Callable[[int], B], loss: BatchLoss[B], compute: Compute) -> int:
    """The largest power of two that leaves `LEAST_STEPS` steps in an epoch and fits in memory, at most `MOST_TILES`.

    Args:
        network: As training starts with it; as before afterwards.
        tiles: To learn from.
        batch_of: A batch of so many tiles, as training sees them.
        loss: Of the run.
        compute: Where.
    """
    size = 1
    while size * 2 <= MOST_TILES and tiles >= size * 2 * LEAST_STEPS:
        size *= 2
    with untouched(network):
        network.train()
        optimiser = torch.optim.SGD(encoder_and_rest(network, 1e-6))

        def step(count: int) -> Pieces:
            pieces = Pieces()
            train_step(network, batch_of(count), optimiser, loss, pieces)
            return pieces

        if compute.device.type == "cpu" and size > 1:  # where too much is taken, the system ends the process: no error tells
            needed = OVER_SAVED * saved_bytes(lambda: step(2)) / 2
            while size > 1 and size * needed > MEMORY_SHARE * free_bytes():
                size //= 2
        while size > 1 and step(size).count > 1:
            size //= 2
    return size


def saved_bytes(step: Callable[[], object]) -> int:
    """What a training step keeps for its backward pass."""
    total = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        step()
    return total


def free_bytes() -> float:
    """Memory that this process may still take: of the computer, or of its container where that is less."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = float(facts["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


def step_seconds(network: Network, batch: B, loss: BatchLoss[B], pieces: Pieces) -> float:
    """Seconds that a training step takes here: the second of two. The network is as before afterwards."""
    with untouched(network):
        network.train()
        optimiser = torch.optim.AdamW(encoder_and_rest(network, 1e-6))
        for _ in range(2):
            began = time.monotonic()
            train_step(network, batch, optimiser, loss, pieces)
    return time.monotonic() - began
