"""The processes that share a run. Usually one alone, which has nothing to tell anybody; several: `training.processes`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from errors import TrainingError
from training.compute import choose_compute
from training.settings import TrainingSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """What one of several processes learns from: its part of the tiles of every step."""

    rank: int = 0
    of: int = 1

    def part(self, tiles: Sequence[T]) -> Sequence[T]:
        """Consecutive ones, as many as others have, or one more or less; perhaps none."""
        return tiles[len(tiles) * self.rank // self.of : len(tiles) * (self.rank + 1) // self.of]

    def some(self, tiles: Sequence[T]) -> Sequence[T]:
        """The same, but never none: where tiles are fewer than processes, several learn from the same one."""
        return self.part([tiles[i % len(tiles)] for i in range(max(len(tiles), self.of))])

    def own(self, random: torch.Generator) -> torch.Generator:
        """Random numbers for this process's tiles, without drawing from `random`, which stays alike in all; of one alone `random` itself."""
        if self.of == 1:
            return random
        return torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=random.clone_state())) + self.rank)


class Group:
    """The processes that share a run: one alone."""

    share = Share()

    @property
    def leads(self) -> bool:
        """Is this the one that scores, tells and writes?"""
        return self.share.rank == 0

    def agree(self, make: Callable[[], T]) -> T:
        """What the leading process makes, for all; the others wait."""
        return make()

    def align(self, network: nn.Module, random: torch.Generator) -> None:
        """Give all the weights and the random numbers that the leading process has."""

    def seed(self, random: torch.Generator) -> None:
        """Before each epoch: numbers of its own for what each process draws while it learns (dropout, a detector's samples)."""

    def average_gradients(self, parameters: Sequence[nn.Parameter], tiles: int, loss: float) -> float:
        """After the backward pass over this process's tiles: give all the mean gradients over the tiles of all.

        Args:
            parameters: That learn.
            tiles: Of this process in this step.
            loss: Their mean loss.

        Returns:
            The mean loss over all.
        """
        return loss

    def average_statistics(self, network: nn.Module) -> None:
        """After each epoch: give all the mean of the normalisation statistics that each has moved."""


ALONE = Group()


@contextlib.contextmanager
def group_of(folder: Path, settings: TrainingSettings) -> Iterator[Group]:
    """The processes that learn this run: those that torchrun has started, else as many as the settings say.

    Raises:
        TrainingError: there are fewer graphics cards, or fewer tiles in a step; or one of the processes is gone.
    """
    device = choose_compute(settings.device).device.type
    size = int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ else processes_here(settings, device)
    if size == 1 or settings.freeze == "all_but_last_layer":  # fitted at once: nothing to be shared
        yield ALONE
        return
    if settings.batch_size is not None and settings.batch_size < size:
        raise TrainingError(
            f"{settings.batch_size} tiles per step cannot be shared by {size} processes.",
            f"Set 'Tiles per step' to {size} or more, or leave it empty.",
        )
    from training.processes import shared_run  # Lightning takes seconds to import

    with shared_run(folder, device, size) as group:
        yield group


def processes_here(settings: TrainingSettings, device: str) -> int:
    """How many processes this computer is to have: one for each graphics card that is wanted."""
    there = torch.cuda.device_count() if device == "cuda" else None
    if settings.devices is None:
        return there or 1
    if there is not None and settings.devices > there:
        raise TrainingError(
            f"This computer has {there} graphics cards; {settings.devices} are asked for.", f"Set 'Graphics cards' to {there} or fewer."
        )
    return settings.devices
