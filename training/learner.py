"""What a task brings to a training run. Epochs, checkpoints, progress and the best epoch are the same for all: see `training.fit`."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.architecture import AnyArchitecture
from models.card import ModelCard, ModelInput, Score
from models.network import Network
from tiles.tile_set import TileSet
from training.compute import Compute
from training.group import Share
from training.loop import Tick
from training.settings import TrainingSettings
from workspace.classes import ClassDef


@dataclass(frozen=True)
class Learner(abc.ABC):
    """A run, ready to start."""

    settings: TrainingSettings
    base: ModelCard
    """Of the model that training starts from."""
    tile_set: TileSet
    architecture: AnyArchitecture
    """Of the new model."""
    input: ModelInput
    classes: tuple[ClassDef, ...]
    """In the order of its outputs."""
    network: Network
    """Adapted and frozen, on the device."""
    compute: Compute
    before: tuple[Score, ...]
    """Of the base model, as it is; empty where it knows no class."""
    held_out_on: str
    """What scores on the tiles kept for the test say they are from."""
    fingerprint: str
    """Of all that decides what is learnt: a checkpoint belongs to one."""
    train: Sized
    """Tiles to learn from."""
    validation: Sized
    """Tiles kept for the test."""
    old_classes: tuple[str, ...]
    """Names of the classes that the base model already knew and that are kept."""
    share: Share = field(default=Share(), kw_only=True)
    """Which tiles of a batch are this process's."""
    note: str = field(default="", kw_only=True)
    """How the tiles are looked at, for the log."""

    @property
    def class_names(self) -> list[str]:
        return [c.name for c in self.classes]

    def steps(self, batch_size: int) -> int:
        """Batches in one epoch."""
        return -(-len(self.train) // batch_size)

    def tiles_per_step(self, batch_size: int) -> int:
        """From how many tiles a step learns that is said to take `batch_size`."""
        return batch_size

    @abc.abstractmethod
    def batches(self, batch_size: int, random: torch.Generator) -> Iterator[Any]:
        """One epoch: this process's share of batches in random order, varied as the settings say, each with a length."""

    @abc.abstractmethod
    def batch_loss(self, batch: Any, part: slice) -> Tensor:
        """The mean loss over some tiles of a batch, a scalar that gradients flow from; the network is in training mode."""

    @abc.abstractmethod
    def look_seconds(self) -> float:
        """How long scoring takes here once, from one batch."""

    @abc.abstractmethod
    def score(self, tick: Tick) -> tuple[dict[str, Any], tuple[Score, ...]]:
        """Score the network as it is on the tiles kept for the test.

        Args:
            tick: Called after each batch; may raise to stop.

        Returns:
            What the epoch event says (`on`, `validation_loss`, and what `selection` reads), and all scores.
        """

    @abc.abstractmethod
    def selection(self, facts: dict[str, Any]) -> tuple[float, float]:
        """What decides which epoch is the best, from the facts of its event; larger is better."""

    @abc.abstractmethod
    def told(self, facts: dict[str, Any]) -> str:
        """The scores of an epoch in one line."""

    finds: ClassVar[str] = "Finds"
    """How the new model's summary begins; the names of the classes follow."""

    def finish(self, folder: Path, tick: Tick) -> None:  # noqa: B027 - most tasks have nothing to add
        """Measure of the best model what would take too long after every epoch; its card and the run's result tell it."""

    @abc.abstractmethod
    def write_report(self, folder: Path, tick: Tick) -> None:
        """Write report.html of a finished run."""
