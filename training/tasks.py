"""What a tile set asks a model to learn."""

from __future__ import annotations

from training.learner import Learner
from training.prepare import Stage, prepare_pixels
from training.settings import TrainingSettings


def prepared(settings: TrainingSettings, stage: Stage) -> Learner:
    """The run, ready to start: whatever its tiles ask for.

    Raises:
        TerratuneError: the tile set or base model is missing, damaged, or they do not fit (TileSetError, ModelError, TooFewTilesError).
    """
    return prepare_pixels(settings, stage)
