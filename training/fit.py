"""A training run from beginning to end: prepare, learn, keep the best epoch."""

from __future__ import annotations

import hashlib
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
from models.network import Network
from models.provenance import Provenance, code_version
from tiles.manifest import MANIFEST_FILE
from tiles.tile_set import TileSet
from training.checkpoint import FILE as CHECKPOINT
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.inputs import measured_anew, warnings_on
from training.last_layer import fit_last_layer
from training.learner import Learner
from training.loop import encoder_and_rest, train_epoch
from training.memory import Pieces
from training.prepare import PixelLearner
from training.run_folder import MODEL, RESULT
from training.schedule import learning_schedule
from training.settings import TrainingSettings
from training.start import epoch_seconds, settled
from training.tasks import prepared
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
        TerratuneError: see `prepared`; DiskFullError: what was kept last stays.
        JobCancelled: the user asked to stop; the best epoch so far stays.
    """
    ready = prepared(settings, Ticker(reporter).stage)
    random = torch.Generator().manual_seed(settings.seed)
    learning = sum(p.numel() for p in learnable_parameters(ready.network))
    say(
        f"{ready.training_tiles} training tiles, {ready.held_out_tiles} held out; {learning / 1e6:.2f} M numbers learn. Outputs: {', '.join(ready.class_names)}."
    )
    for note in (*warnings_on(ready.base, ready.tile_set), measured_anew(ready.base, ready.tile_set)):
        if note:
            say(f"Note: {note}")
    try:
        if settings.freeze == "all_but_last_layer":
            assert isinstance(ready, PixelLearner)
            _fit_at_once(folder, ready, random, reporter, say)
        else:
            _learn(folder, ready, random, reporter, say)
    except JobCancelled:
        publish(folder, settings)
        raise
    reporter.progress("Saving the model", 0.99)
    publish(folder, settings)
    reporter.progress("Writing the report", 0.99)
    ready.write_report(folder, reporter.stop_if_cancelled)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    say("Done.")


def _fit_at_once(folder: Path, ready: PixelLearner, random: torch.Generator, reporter: JobReporter, say: Say) -> None:
    """The last layer alone: no epochs, one model."""
    ticker = Ticker(reporter)
    rewrite_events(folder, reporter, Progress())
    sets = [data for data in (ready.train, ready.replay) if data is not None]
    fit_last_layer(ready.network, sets, ready.weights, ready.compute, random, lambda: ticker.stage("Fitting the last layer", 1.0))
    facts, found = ready.score(ticker.look)
    keep_best(folder, ready, Progress(), found)
    say(f"The last layer  {ready.told(facts)}")


def _learn(folder: Path, ready: Learner, random: torch.Generator, reporter: JobReporter, say: Say) -> None:
    """Epoch after epoch, until all are done or none gets better."""
    network, pieces = ready.network, Pieces()
    settings = settled(folder, ready, pieces, Ticker(reporter).stage)
    size, rate = settings.batch_size, settings.learning_rate
    assert size is not None and rate is not None
    steps = ready.steps(size)
    optimiser = torch.optim.AdamW(encoder_and_rest(network, rate), weight_decay=0.01)
    schedule = learning_schedule(optimiser, settings, steps)
    progress = load_checkpoint(folder, ready.fingerprint, network, optimiser, schedule, random)
    rewrite_events(folder, reporter, progress)
    if progress.epoch:
        say(f"Going on after epoch {progress.epoch}.")
    pieces.count = max(pieces.count, progress.pieces)
    expected = epoch_seconds(ready, size, pieces)
    to_do = settings.epochs - progress.epoch
    say(f"{to_do} epochs of {steps} steps with {size} tiles each; about {expected * to_do:.0f} s on this machine, less if it stops early.")
    reporter.progress(f"Starting {to_do} epochs", PREPARING, expected * to_do)
    began, first = time.monotonic(), progress.epoch
    while progress.epoch < settings.epochs and not _given_up(progress, settings):
        epoch = progress.epoch + 1
        ticker = Ticker(reporter, epoch, settings.epochs, steps, began, epoch - 1 - first, expected)
        started = time.monotonic()
        loss = train_epoch(network, ready.batches(size, random), optimiser, schedule, ready.batch_loss, pieces, ticker.step)
        facts, found = ready.score(ticker.look)
        facts = {"epoch": epoch, "loss": loss, **facts, "seconds": time.monotonic() - started}
        progress.epoch, progress.pieces = epoch, pieces.count
        progress.history.append(facts)
        if (score := ready.selection(facts)) > progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch
            keep_best(folder, ready, progress, found, settings)
        save_checkpoint(folder, ready.fingerprint, progress, network, optimiser, schedule, random)
        reporter.event(kind="epoch", **facts)
        say(_line(ready, facts, progress))
    say(f"Epoch {progress.best_epoch} was the best.")


def publish(folder: Path, settings: TrainingSettings) -> None:
    """Copy the best model so far to where `publish_to` says."""
    if settings.publish_to and (folder / MODEL / CARD_FILE).exists():
        bundle, place = load_bundle(folder / MODEL, Network), Path(settings.publish_to)
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


def keep_best(
    folder: Path, ready: Learner, progress: Progress, found: tuple[Score, ...], settled_as: TrainingSettings | None = None
) -> None:
    """Save the network as it is, with its scores, as the run's model; `settled_as`: the settings with nothing left open."""
    save_bundle(folder / MODEL, ready.network, new_card(settled_as or ready.settings, ready, progress, found))
    write_json(
        folder / RESULT,
        {
            "best_epoch": progress.best_epoch,
            "before": [s.model_dump(by_alias=True) for s in ready.before],
            "after": [s.model_dump(by_alias=True) for s in found],
            "old_classes": ready.old_classes,
            "training_tiles": ready.training_tiles,
            "held_out_tiles": ready.held_out_tiles,
        },
    )


def new_card(settings: TrainingSettings, ready: Learner, progress: Progress, found: tuple[Score, ...]) -> ModelCard:
    """The card of the network as it is."""
    tile_set, base = ready.tile_set, ready.base
    title = settings.name or f"{tile_set.name}, from {base.title}"
    old = f" Base model: {base.title} ({base.training_data})" if base.training_data else f" Base model: {base.title}."
    return ModelCard(
        name=folder_name(title),
        title=title,
        summary=f"{ready.finds} {' and '.join(ready.class_names)}. Fine-tuned from '{base.title}', " + LEARNT[settings.freeze],
        architecture=ready.architecture,
        input=ready.input,
        classes=ready.classes,
        licence=base.licence,
        training_data=f"Tile set '{tile_set.name}': {ready.training_tiles} tiles to learn from, {ready.held_out_tiles} {ready.held_out_on}.{old}",
        made_by=f"python -m training.run; {_how(settings, progress)}, seed {settings.seed}",
        scores=found,
        base=BaseReference(name=base.name, weights_sha256=base.weights_sha256),
        provenance=Provenance(tile_set_sha256=_tile_set_sha256(tile_set), code_version=code_version(), seed=settings.seed),
    )


def _tile_set_sha256(tile_set: TileSet) -> str:
    """Of its manifest, which stands for every picture and label; of its record, where it came without one."""
    manifest = tile_set.folder / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes() if manifest.is_file() else tile_set.record.model_dump_json().encode()).hexdigest()


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


def _line(ready: Learner, facts: dict[str, Any], progress: Progress) -> str:
    best = "  (best)" if progress.best_epoch == facts["epoch"] else ""
    done = f"epoch {facts['epoch']}/{ready.settings.epochs}  loss {facts['loss']:.3f}"
    return f"{done}  {ready.told(facts)}  {facts['seconds']:.1f} s{best}"
