"""How a run learns: epoch after epoch, or step by step up the ladder, from wherever it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.bundle import load_bundle
from models.card import Score
from models.network import Network
from training.checkpoint import Progress, load_checkpoint, read_progress, save_checkpoint
from training.group import ALONE, Group
from training.keep import keep_best
from training.ladder import QUICK, RUNGS, TITLES, Rung, let_learn
from training.last_layer import fit_last_layer, last_layer
from training.learner import Learner
from training.loop import encoder_and_rest, train_epoch
from training.memory import Pieces
from training.prepare import PixelLearner
from training.run_folder import MODEL
from training.schedule import learning_schedule
from training.settings import TrainingSettings
from training.start import epoch_seconds, settled
from training.tensorboard import EventFile
from training.ticker import PREPARING, Ticker
from workspace.files import write_text
from workspace.jobs import JobReporter

LADDER = "ladder"
Say = Callable[[str], None]
State = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.Generator]


@dataclass
class Course:
    """A run on its way."""

    folder: Path
    ready: Learner
    random: torch.Generator
    reporter: JobReporter
    say: Say
    group: Group = ALONE
    pieces: Pieces = field(default_factory=Pieces)
    progress: Progress = field(default_factory=Progress)
    event_file: EventFile | None = None

    def fit_at_once(self) -> None:
        """The last layer alone: no epochs, one model."""
        ticker = Ticker(self.reporter)
        self._rewrite_events(self.ready.settings)
        self._fit_last_layer(ticker)
        facts, found = self.ready.score(ticker.look)
        keep_best(self.folder, self.ready, self.progress, found)
        if self.event_file:
            self.event_file.add({"epoch": 0, **facts})
        self.say(f"The last layer  {self.ready.told(facts)}")

    def learn(self) -> None:
        """Epoch after epoch, until all are done or none gets better; on the ladder so on each rung, each from the best so far."""
        self.progress = read_progress(self.folder, self.ready.fingerprint)
        if isinstance(self.ready, PixelLearner) and self.ready.begins_quick and not self.progress.epoch:
            self.group.agree(lambda: self._fit_last_layer(Ticker(self.reporter)))
            self.group.align(self.ready.network, self.random)
        settings = self.group.agree(
            lambda: settled(self.folder, self.ready, self.pieces, Ticker(self.reporter).stage, processes=self.group.share.of)
        )
        self._rewrite_events(settings)
        if self.progress.epoch:
            self.say(f"Going on after epoch {self.progress.epoch}.")
        if settings.freeze == LADDER:
            self._climb(settings)
        else:
            self._epochs(settings, settings.epochs)
        self.say(f"Epoch {self.progress.best_epoch} was the best.")

    def _climb(self, settings: TrainingSettings) -> None:
        """All rungs that are left. What the one before reached stays the best where this one gets no further."""
        ready, progress = self.ready, self.progress
        rungs = rungs_of(ready)
        for number in range(progress.rung, len(rungs)):
            self.say(f"Step {number + 1} of {len(rungs)}: {TITLES[rungs[number]]}.")
            if number > progress.rung:
                progress.rung, progress.rung_began = number, progress.epoch
                if self.group.leads:
                    ready.network.load_state_dict(load_bundle(self.folder / MODEL, Network).network.state_dict())
            if rungs[number] == QUICK:
                self._quick_rung(settings)
                continue
            let_learn(ready.network, rungs[number])
            left = len(rungs) - 1 - number
            self._epochs(settings, progress.rung_began + (1 + left) * settings.epochs, rung=TITLES[rungs[number]])

    def _quick_rung(self, settings: TrainingSettings) -> None:
        """The last layer, fitted at once: told as the first epoch. It takes seconds, so a run that goes on does it again."""
        started, ticker = time.monotonic(), Ticker(self.reporter)

        def fit() -> tuple[dict[str, Any], tuple[Score, ...]]:
            self._fit_last_layer(ticker)
            return self.ready.score(ticker.look)

        facts, found = self.group.agree(fit)
        seconds = time.monotonic() - started
        self._note(settings, {"epoch": 1, "loss": facts["validation_loss"], **facts, "seconds": seconds, "rung": TITLES[QUICK]}, found)

    def _epochs(self, settings: TrainingSettings, in_all: int, **told: Any) -> None:
        """`settings.epochs` of them, or fewer where none gets better.

        Args:
            settings: With nothing left open.
            in_all: Epochs of the whole run, for its progress.
            told: Said with each epoch.
        """
        ready, network, progress = self.ready, self.ready.network, self.progress
        size, rate = settings.batch_size, settings.learning_rate
        assert size is not None and rate is not None
        steps = ready.steps(size)
        optimiser = torch.optim.AdamW(encoder_and_rest(network, rate), weight_decay=0.01)
        schedule = learning_schedule(optimiser, settings, steps)
        if progress.epoch > progress.rung_began:
            load_checkpoint(self.folder, ready.fingerprint, network, optimiser, schedule, self.random)
        self.group.align(network, self.random)
        self.pieces.count = max(self.pieces.count, progress.pieces)
        expected = epoch_seconds(ready, size, self.pieces) if self.group.leads else 0.0
        last = progress.rung_began + settings.epochs
        to_do = last - progress.epoch
        self.say(f"{to_do} epochs of {steps} steps with {ready.tiles_per_step(size)} tiles each; about {expected * to_do:.0f} s on this machine, less if it stops early.")
        self.reporter.progress(f"Starting {to_do} epochs", PREPARING + (1 - PREPARING) * progress.rung_began / in_all, expected * to_do)
        began, first = time.monotonic(), progress.epoch
        while progress.epoch < last and not self._given_up(settings):
            epoch = progress.epoch + 1
            ticker = Ticker(self.reporter, epoch, in_all, steps, began, epoch - 1 - first, expected)
            started = time.monotonic()
            self.group.seed(self.random)
            batches = ready.batches(size, self.random)
            loss = train_epoch(network, batches, optimiser, schedule, ready.batch_loss, self.pieces, ticker.step, self.group)
            facts, found = self.group.agree(partial(ready.score, ticker.look))
            reached = float(schedule.get_last_lr()[0])
            facts = {"epoch": epoch, "loss": loss, **facts, "learning_rate": reached, "seconds": time.monotonic() - started, **told}
            self._note(settings, facts, found, (optimiser, schedule, self.random))

    def _note(self, settings: TrainingSettings, facts: dict[str, Any], found: tuple[Score, ...], state: State | None = None) -> None:
        """An epoch is done: keep the model where it is the best so far; keep the state, too, where the run could go on from it; tell."""
        progress = self.progress
        progress.epoch, progress.pieces = facts["epoch"], self.pieces.count
        progress.history.append(facts)
        if (score := self.ready.selection(facts)) > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            if self.group.leads:
                keep_best(self.folder, self.ready, progress, found, settings)
        if not self.group.leads:
            return
        if state:
            save_checkpoint(self.folder, self.ready.fingerprint, progress, self.ready.network, *state)
        self._tell(facts)
        best = "  (best)" if progress.best_epoch == facts["epoch"] else ""
        last = progress.rung_began + settings.epochs if state else facts["epoch"]
        self.say(f"epoch {facts['epoch']}/{last}  loss {facts['loss']:.3f}  {self.ready.told(facts)}  {facts['seconds']:.1f} s{best}")

    def _given_up(self, settings: TrainingSettings) -> bool:
        since = max(self.progress.best_epoch, self.progress.rung_began)
        return bool(settings.stop_early_after) and self.progress.epoch - since >= settings.stop_early_after

    def _fit_last_layer(self, ticker: Ticker) -> None:
        ready = self.ready
        assert isinstance(ready, PixelLearner)
        sets = [data for data in (ready.train, ready.replay) if data is not None]
        fit_last_layer(ready.network, sets, ready.weights, ready.compute, self.random, lambda: ticker.stage("Fitting the last layer", 1.0), ready.seen)

    def _rewrite_events(self, settings: TrainingSettings) -> None:
        """Leave exactly the events of the epochs that count: a kill can fall between an epoch's checkpoint and its event."""
        if not self.group.leads:
            return
        write_text(self.folder / "events.jsonl", "")
        self.event_file = EventFile(self.folder, settings)
        for facts in self.progress.history:
            self._tell(facts)

    def _tell(self, facts: dict[str, Any]) -> None:
        self.reporter.event(kind="epoch", **facts)
        if self.event_file:
            self.event_file.add(facts)


def rungs_of(ready: Learner) -> list[Rung]:
    """The rungs that this run can stand on: without a last layer that could be fitted alone, all but the first."""
    quick = isinstance(ready, PixelLearner) and bool(ready.base.classes) and last_layer(ready.network) is not None
    return list(RUNGS if quick else RUNGS[1:])
