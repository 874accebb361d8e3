"""What a run settles before its first step: tiles per step and learning rate where they were left open, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.learner import Learner
from training.learning_rate import find_learning_rate
from training.memory import Pieces
from training.run_folder import FOUND, read_found
from training.settings import TrainingSettings
from training.trial import fitting_batch_size, step_seconds
from workspace.files import write_json

Stage = Callable[[str, float], None]


def settled(folder: Path, ready: Learner, pieces: Pieces, stage: Stage, *, processes: int = 1) -> TrainingSettings:
    """The settings with nothing left open. What was found is noted in the run folder; a run that goes on takes it from there.

    Args:
        folder: Of the run.
        ready: The run, prepared; its network is as before afterwards.
        pieces: Grown where memory is too small.
        stage: Called often; may raise to stop.
        processes: That share each step.
    """
    settings = ready.settings
    if settings.batch_size is not None and settings.learning_rate is not None:
        return settings
    noted = read_found(folder)
    if noted.get("of") != ready.fingerprint:
        noted = {"of": ready.fingerprint}
        if settings.batch_size is None:
            stage("Trying how many tiles fit in memory", 1.0)
            noted["batch_size"] = processes * fitting_batch_size(
                ready.network, len(ready.train) // processes, lambda n: next(_endless(ready, n * processes)), ready.batch_loss, ready.compute
            )
        if settings.learning_rate is None:
            batches = _endless(ready, settings.batch_size or noted["batch_size"])
            looking = "Looking for a good learning rate"
            stage(looking, 1.0)
            sweep = find_learning_rate(ready.network, batches, ready.batch_loss, pieces, lambda: stage(looking, 1.0))
            noted |= {"learning_rate": sweep.chosen, "sweep": asdict(sweep)}
        write_json(folder / FOUND, noted)
    return settings.model_copy(update={name: noted[name] for name in ("batch_size", "learning_rate") if name in noted})


def epoch_seconds(ready: Learner, batch_size: int, pieces: Pieces) -> float:
    """How long an epoch takes on this machine: steps, and scoring the held-out tiles."""
    step = step_seconds(ready.network, next(_endless(ready, batch_size)), ready.batch_loss, pieces)
    return ready.steps(batch_size) * step + ready.look_seconds()


def _endless(ready: Learner, batch_size: int) -> Iterator[Any]:
    """Batches as training makes them, for trials: from random numbers of their own."""
    random = torch.Generator().manual_seed(ready.settings.seed)
    while True:
        yield from ready.batches(batch_size, random)
