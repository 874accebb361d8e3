"""The curves and the settings of a run as TensorBoard reads them: `tensorboard --logdir PROJECT/runs` shows all runs of a project."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar, text

from training.monitor import f1, measured
from training.run_folder import TENSORBOARD
from training.runs import in_words
from training.settings import TrainingSettings
from workspace.files import disk_full_explained

MEAN = "mean of the classes"
TITLES = {
    "loss": "Loss/learning",
    "validation_loss": "Loss/held-out tiles",
    "learning_rate": "Learning rate",
    "seconds": "Seconds",
    "old_classes_iou": "IoU/old classes",
    "f1": f"F1/{MEAN}",
    "average_precision": f"AP50-95/{MEAN}",
    "accuracy": "Accuracy",
}
"""Of the numbers in an epoch event; those of `measured` have theirs from there."""


class EventFile:
    """The event file of a run, made anew: what is told of the run so far has to be added once more.

    Raises:
        DiskFullError: no room for it; so do all methods.
    """

    def __init__(self, folder: Path, settings: TrainingSettings) -> None:
        self.folder = folder / TENSORBOARD
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        with disk_full_explained(self.folder):
            self.writer = EventsWriter(str(self.folder / "events"))
            self._add(text("Settings", _table(settings)), 0)
            self.writer.flush()

    def add(self, facts: Mapping[str, Any]) -> None:
        """The numbers of an epoch event."""
        with disk_full_explained(self.folder):
            for title, value in numbers(facts):
                self._add(scalar(title, value), facts["epoch"])
            self.writer.flush()

    def _add(self, summary: Any, epoch: int) -> None:
        self.writer.write_event(Event(wall_time=time.time(), step=epoch, summary=summary))


def numbers(facts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(title, number) of everything that an epoch event measures: losses, learning rate, and scores of each class (IoU with its F1, AP50 or F1)."""
    for name, title in TITLES.items():
        if facts.get(name) is not None:
            yield title, facts[name]
    found = measured(facts)
    for name, value in [*found.by_class.items(), (MEAN, found.mean)]:
        if value is not None:
            yield f"{found.name}/{name}", value
            if found.name == "IoU" and name != MEAN:
                yield f"F1/{name}", f1(value)


def _table(settings: TrainingSettings) -> str:
    """In Markdown."""
    rows = [f"| {field.title or name} | {in_words(name, getattr(settings, name))} |" for name, field in TrainingSettings.model_fields.items()]
    return "\n".join(["| Setting | |", "| --- | --- |", *rows])
