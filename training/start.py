"""What a run settles before its first step: tiles per step and learning rate where they were left open, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from training.augment import varied
from training.dataset import Batch
from training.learning_rate import find_learning_rate
from training.loop import replay_per_batch, training_batches
from training.memory import Pieces
from training.prepare import Preparation
from training.run_folder import FOUND, read_found
from training.settings import TrainingSettings
from training.trial import fitting_batch_size, look_seconds, step_seconds
from workspace.files import write_json

Stage = Callable[[str, float], None]


def settled(folder: Path, settings: TrainingSettings, ready: Preparation, pieces: Pieces, stage: Stage) -> TrainingSettings:
    """The settings with nothing left open. What was found is noted in the run folder; a run that goes on takes it from there.

    Args:
        folder: Of the run.
        settings: As chosen.
        ready: The run, prepared; its network is as before afterwards.
        pieces: Grown where memory is too small.
        stage: Called often; may raise to stop.
    """
    if settings.batch_size is not None and settings.learning_rate is not None:
        return settings
    noted = read_found(folder)
    if noted.get("of") != ready.fingerprint:
        noted = {"of": ready.fingerprint}
        if settings.batch_size is None:
            stage("Trying how many tiles fit in memory", 1.0)
            noted["batch_size"] = fitting_batch_size(
                ready.network, len(ready.train), lambda n: next(_endless(ready, settings, n)), ready.loss, ready.compute
            )
        if settings.learning_rate is None:
            batches = _endless(ready, settings, settings.batch_size or noted["batch_size"])
            looking = "Looking for a good learning rate"
            stage(looking, 1.0)
            sweep = find_learning_rate(ready.network, batches, ready.loss, ready.compute, pieces, lambda: stage(looking, 1.0))
            noted |= {"learning_rate": sweep.chosen, "sweep": asdict(sweep)}
        write_json(folder / FOUND, noted)
    return settings.model_copy(update={name: noted[name] for name in ("batch_size", "learning_rate") if name in noted})


def epoch_seconds(settings: TrainingSettings, ready: Preparation, batch_size: int, pieces: Pieces) -> float:
    """How long an epoch takes on this machine: steps, and scoring the held-out tiles."""
    step = step_seconds(ready.network, next(_endless(ready, settings, batch_size)), ready.loss, ready.compute, pieces)
    scored = [data for data in (ready.validation, ready.replay_validation) if data is not None]
    return steps_per_epoch(ready, settings, batch_size) * step + sum(look_seconds(ready.network, data, ready.compute) for data in scored)


def steps_per_epoch(ready: Preparation, settings: TrainingSettings, batch_size: int) -> int:
    """Batches in one epoch."""
    reminders = replay_per_batch(batch_size, settings.replay_share) if ready.replay is not None else 0
    return -(-len(ready.train) // (batch_size - reminders))


def _endless(ready: Preparation, settings: TrainingSettings, batch_size: int) -> Iterator[Batch]:
    """Batches as training makes them, for trials: from random numbers of their own."""
    random = torch.Generator().manual_seed(settings.seed)
    while True:
        yield from varied(training_batches(ready.train, ready.replay, batch_size, settings.replay_share, random), settings, random)
