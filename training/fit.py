"""A training run from beginning to end: prepare, learn, keep the best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from errors import JobCancelled
from models.bundle import load_bundle, save_bundle
from models.card import CARD_FILE, BaseReference, ModelCard, Score
from models.freezing import learnable_parameters
from training.augment import varied
from training.checkpoint import FILE as CHECKPOINT
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.inputs import measured_anew, warnings_on
from training.last_layer import fit_last_layer
from training.loop import encoder_and_rest, evaluate, train_epoch, training_batches
from training.memory import Pieces
from training.metrics import iou, mean, scores, with_ranges
from training.monitor import f1, selection
from training.prepare import Preparation, only, prepare
from training.report import write_report
from training.run_folder import MODEL, RESULT
from training.schedule import learning_schedule
from training.settings import TrainingSettings
from training.start import epoch_seconds, settled, steps_per_epoch
from workspace.files import folder_name, write_json, write_text
from workspace.jobs import JobReporter

LEARNT = {"all_but_last_layer": "only its last layer fitted.", "backbone": "backbone frozen.", "nothing": "everything learning."}
PREPARING = 0.03
"""Share of the progress bar for what comes before the first epoch."""
STATUS_EVERY_S = 0.5

Say = Callable[[str], None]


def fit(folder: Path, settings: TrainingSettings, reporter: JobReporter, say: Say) -> None:
    """Train in a run folder; goes on from checkpoint.pt when there is one of these settings.

    Leaves `model/` (best epoch so far, rewritten whenever it is beaten), `result.json` (scores before and after) and events.

    Raises:
        TerratuneError: see `prepare`; DiskFullError: what was kept last stays.
        JobCancelled: the user asked to stop; the best epoch so far stays.
    """
    ready = prepare(settings, Ticker(reporter).stage)
    random = torch.Generator().manual_seed(settings.seed)
    learning = sum(p.numel() for p in learnable_parameters(ready.network))
    say(
        f"{len(ready.train)} training tiles, {len(ready.validation)} held out; {learning / 1e6:.2f} M numbers learn. Outputs: {', '.join(ready.class_names)}."
    )
    for note in (*warnings_on(ready.base.card, ready.train.tile_set), measured_anew(ready.base.card, ready.train.tile_set)):
        if note:
            say(f"Note: {note}")
    try:
        if settings.freeze == "all_but_last_layer":
            _fit_at_once(folder, settings, ready, random, reporter, say)
        else:
            _learn(folder, settings, ready, random, reporter, say)
    except JobCancelled:
        publish(folder, settings)
        raise
    reporter.progress("Saving the model", 0.99)
    publish(folder, settings)
    reporter.progress("Writing the report", 0.99)
    write_report(folder, settings, ready, reporter.stop_if_cancelled)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    say("Done.")


def _fit_at_once(
    folder: Path, settings: TrainingSettings, ready: Preparation, random: torch.Generator, reporter: JobReporter, say: Say
) -> None:
    """The last layer alone: no epochs, one model."""
    ticker = Ticker(reporter)
    rewrite_events(folder, reporter, Progress())
    sets = [data for data in (ready.train, ready.replay) if data is not None]
    fit_last_layer(ready.network, sets, ready.weights, ready.compute, random, lambda: ticker.stage("Fitting the last layer", 1.0))
    facts, found = score_epoch(ready, ticker.look)
    keep_best(folder, settings, ready, Progress(), found)
    say(_scores_line("The last layer", facts))


def _learn(folder: Path, settings: TrainingSettings, ready: Preparation, random: torch.Generator, reporter: JobReporter, say: Say) -> None:
    """Epoch after epoch, until all are done or none gets better."""
    network, pieces = ready.network, Pieces()
    settings = settled(folder, settings, ready, pieces, Ticker(reporter).stage)
    size, rate = settings.batch_size, settings.learning_rate
    assert size is not None and rate is not None
    steps = steps_per_epoch(ready, settings, size)
    optimiser = torch.optim.AdamW(encoder_and_rest(network, rate), weight_decay=0.01)
    schedule = learning_schedule(optimiser, settings, steps)
    progress = load_checkpoint(folder, ready.fingerprint, network, optimiser, schedule, random)
    rewrite_events(folder, reporter, progress)
    if progress.epoch:
        say(f"Going on after epoch {progress.epoch}.")
    pieces.count = max(pieces.count, progress.pieces)
    expected = epoch_seconds(settings, ready, size, pieces)
    to_do = settings.epochs - progress.epoch
    say(f"{to_do} epochs of {steps} steps with {size} tiles each; about {expected * to_do:.0f} s on this machine, less if it stops early.")
    reporter.progress(f"Starting {to_do} epochs", PREPARING, expected * to_do)
    began, first = time.monotonic(), progress.epoch
    while progress.epoch < settings.epochs and not _given_up(progress, settings):
        epoch = progress.epoch + 1
        ticker = Ticker(reporter, epoch, settings.epochs, steps, began, epoch - 1 - first, expected)
        started = time.monotonic()
        batches = varied(training_batches(ready.train, ready.replay, size, settings.replay_share, random), settings, random)
        loss = train_epoch(network, batches, optimiser, schedule, ready.loss, ready.compute, pieces, ticker.step)
        facts, found = score_epoch(ready, ticker.look)
        facts = {"epoch": epoch, "loss": loss, **facts, "seconds": time.monotonic() - started}
        progress.epoch, progress.pieces = epoch, pieces.count
        progress.history.append(facts)
        if (score := selection(facts, settings)) > progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch
            keep_best(folder, settings, ready, progress, found)
        save_checkpoint(folder, ready.fingerprint, progress, network, optimiser, schedule, random)
        reporter.event(kind="epoch", **facts)
        say(_line(facts, settings.epochs, progress))
    say(f"Epoch {progress.best_epoch} was the best.")


def publish(folder: Path, settings: TrainingSettings) -> None:
    """Copy the best model so far to where `publish_to` says."""
    if settings.publish_to and (folder / MODEL / CARD_FILE).exists():
        bundle, place = load_bundle(folder / MODEL), Path(settings.publish_to)
        save_bundle(place, bundle.network, bundle.card.model_copy(update={"name": place.name}))


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


def score_epoch(ready: Preparation, tick: Callable[[], None]) -> tuple[dict[str, Any], tuple[Score, ...]]:
    """(what the epoch event says, all scores) of the network as it is."""
    names, network = ready.class_names, ready.network

    held_out = evaluate(network, ready.validation, ready.loss, ready.compute, tick)
    drawn = held_out.drawn
    found = with_ranges(scores(drawn, names, ready.on.held_out), names, ready.blocks, held_out.by_tile, ready.before_by_tile)
    old_outputs: tuple[int, ...] = ()
    old_matrix = drawn
    if ready.replay_validation is not None:
        old_matrix, old_outputs = evaluate(network, ready.replay_validation, ready.loss, ready.compute, tick).drawn, ready.plan.kept
        found += scores(old_matrix, names, ready.on.reminders)
    elif ready.validation.targets is not None:
        old_matrix, old_outputs = held_out.kept, ready.remembered
        found += only(scores(old_matrix, names, ready.on.agreement), ready.remembered, names)
    old_ious = [iou(old_matrix, i) for i in old_outputs]
    by_class = {name: iou(drawn, i) for i, name in enumerate(names, 1)}
    facts = {
        "on": ready.on.held_out,
        "validation_loss": held_out.loss,
        "iou": {name: value for name, value in by_class.items() if value is not None},
        "mean_iou": mean(by_class.values()),
        "old_classes_iou": mean(old_ious),
        "old_classes_f1": mean(None if value is None else f1(value) for value in old_ious),
        "reminded": ready.replay_validation is not None,
    }
    return facts, found


def keep_best(folder: Path, settings: TrainingSettings, ready: Preparation, progress: Progress, found: tuple[Score, ...]) -> None:
    """Save the network as it is, with its scores, as the run's model."""
    save_bundle(folder / MODEL, ready.network, new_card(settings, ready, progress, found))
    write_json(
        folder / RESULT,
        {
            "best_epoch": progress.best_epoch,
            "before": [s.model_dump(by_alias=True) for s in ready.before],
            "after": [s.model_dump(by_alias=True) for s in found],
            "old_classes": [ready.class_names[i - 1] for i in ready.plan.kept],
            "training_tiles": len(ready.train),
            "held_out_tiles": len(ready.validation),
        },
    )


def new_card(settings: TrainingSettings, ready: Preparation, progress: Progress, found: tuple[Score, ...]) -> ModelCard:
    """The card of the network as it is."""
    tile_set, base = ready.train.tile_set, ready.base.card
    title = settings.name or f"{tile_set.name}, from {base.title}"
    old = f" Base model: {base.title} ({base.training_data})" if base.training_data else f" Base model: {base.title}."
    return ModelCard(
        name=folder_name(title),
        title=title,
        summary=f"Finds {' and '.join(ready.class_names)}. Fine-tuned from '{base.title}', " + LEARNT[settings.freeze],
        architecture=base.architecture,
        input=ready.input,
        classes=ready.plan.classes,
        licence=base.licence,
        training_data=f"Tile set '{tile_set.name}': {len(ready.train)} tiles to learn from, {len(ready.validation)} {ready.on.held_out}.{old}",
        made_by=f"python -m training.run; {_how(settings, progress)}, seed {settings.seed}",
        scores=found,
        base=BaseReference(name=base.name, weights_sha256=base.weights_sha256),
    )


def _how(settings: TrainingSettings, progress: Progress) -> str:
    if settings.freeze == "all_but_last_layer":
        return "last layer fitted at once"
    rate, size = settings.learning_rate, settings.batch_size
    return f"epoch {progress.best_epoch} of {settings.epochs}, learning rate {rate:g}, batches of {size}"


def rewrite_events(folder: Path, reporter: JobReporter, progress: Progress) -> None:
    """Leave exactly the events of the epochs that count: a kill can fall between an epoch's checkpoint and its event."""
    write_text(folder / "events.jsonl", "")
    for facts in progress.history:
        reporter.event(kind="epoch", **facts)


def _given_up(progress: Progress, settings: TrainingSettings) -> bool:
    return bool(settings.stop_early_after) and progress.epoch - progress.best_epoch >= settings.stop_early_after


def _line(facts: dict[str, Any], epochs: int, progress: Progress) -> str:
    best = "  (best)" if progress.best_epoch == facts["epoch"] else ""
    return _scores_line(f"epoch {facts['epoch']}/{epochs}  loss {facts['loss']:.3f}", facts) + f"  {facts['seconds']:.1f} s{best}"


def _scores_line(what: str, facts: dict[str, Any]) -> str:
    per_class = ", ".join(f"{name} {value:.3f}" for name, value in facts["iou"].items())
    old = "" if facts["old_classes_iou"] is None else f"; old classes {facts['old_classes_iou']:.3f}"
    return f"{what}  IoU on {facts['on']}: {per_class or 'none'}{old}"
