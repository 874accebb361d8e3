"""How far a run is, told to its job."""

from __future__ import annotations

import math
import time

from workspace.jobs import JobReporter

PREPARING = 0.03
"""Share of the progress bar for what comes before the first epoch."""
STATUS_EVERY_S = 0.5


class Ticker:
    """Tells the job how far it is, not too often, and notices every time whether it should stop."""

    def __init__(
        self,
        reporter: JobReporter,
        epoch: int = 0,
        epochs: int = 1,
        steps: int = 1,
        began: float = 0.0,
        done_here: int = 0,
        expected: float = 0.0,
    ) -> None:
        self.reporter, self.epoch, self.epochs, self.steps = reporter, epoch, epochs, steps
        self.began, self.done_here, self.taken, self.told = began, done_here, 0, -math.inf
        self.expected = expected
        """Seconds an epoch will take, until one was measured."""

    def stage(self, what: str, share: float) -> None:
        """Before the first epoch."""
        self._tell(what, PREPARING * share, None)

    def step(self) -> None:
        """After a training step."""
        self.taken += 1
        within = min(self.taken / self.steps, 1.0)
        share = (self.epoch - 1 + within) / self.epochs
        done = self.done_here + within
        an_epoch = (time.monotonic() - self.began) / done if done >= 1 else self.expected
        left = an_epoch * (self.epochs - self.epoch + 1 - within)
        self._tell(f"Epoch {self.epoch} of {self.epochs}", PREPARING + (1 - PREPARING) * share, left)

    def look(self) -> None:
        """After a batch of validation."""
        self.reporter.stop_if_cancelled()

    def _tell(self, what: str, fraction: float, left: float | None) -> None:
        self.reporter.stop_if_cancelled()
        if what != self.reporter.status.stage or time.monotonic() - self.told > STATUS_EVERY_S:
            self.told = time.monotonic()
            self.reporter.progress(what, fraction, left)
