"""Everything a run needs before its first step: base model, tiles, targets, and what the base model scores today."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from errors import TrainingError
from models.adapters import hold
from models.arcgis.roads import RoadNetwork, read_raw_values
from models.architecture import AnyArchitecture
from models.bundle import ModelBundle, adapt_bands, adapt_outputs, load_bundle
from models.card import ModelCard, ModelInput, Score
from models.catalogue import find_encoder, find_model
from models.catalogue.fetch import fetch_model, store_of
from models.freezing import freeze, is_frozen
from models.network import ChangeNetwork, Network, SegmentationNetwork, build_network
from models.transfer import take_encoder
from tiles.apart import leaks, scored_on
from tiles.certainty import blocks_of
from tiles.reader import require_pixels
from tiles.tile_set import TileSet, open_tile_set
from training.augment import varied
from training.compute import Compute, choose_compute
from training.dataset import Batch, TileData
from training.features import SMALLEST_SQUARE_PX, Features, Seen, looked_once, seen_batches
from training.inputs import check_enough, check_quick, check_replay, input_for, reminders_apart
from training.last_layer import last_layer
from training.learner import Learner
from training.lines import Lines, look_once_more
from training.loop import Tick
from training.losses import Loss, class_weights, loss_of
from training.metrics import confusion, iou, mean, scores, with_ranges
from training.mixup import mixed
from training.monitor import check_classes, f1, selection
from training.pixels import answers, drawn_tiles, evaluate, look_seconds, pixel_loss, replay_per_batch, seen_loss, training_batches
from training.roads import directions_right, road_loss
from training.settings import HELD_OUT, PLACES, TrainingSettings
from training.targets import SURE, OutputPlan, kept_targets, plan_outputs
from training.tasks import starting_card, starts_from_nothing
from training.tile_check import require_sound
from workspace.settings import settings_from_environment

REPLAY_VALIDATION_TILES = 40
"""Reminder tiles scored after each epoch, at most."""
REMINDERS = "held-out reminder tiles"
AGREEMENT = "agreement with the base model on held-out tiles"

Stage = Callable[[str, float], None]


@dataclass(frozen=True)
class ScoredOn:
    """What scores say they are from."""

    held_out: str
    reminders: str
    agreement: str

    @classmethod
    def of(cls, *, apart: bool, reminders_apart: bool) -> ScoredOn:
        """Marked where validation was not kept apart."""
        return cls(scored_on(HELD_OUT, apart), scored_on(REMINDERS, reminders_apart), scored_on(AGREEMENT, apart))


@dataclass(frozen=True)
class PixelLearner(Learner):
    """Learns a class for each pixel."""

    network: SegmentationNetwork
    plan: OutputPlan
    train: TileData
    validation: TileData
    replay: TileData | None
    replay_validation: TileData | None
    remembered: tuple[int, ...]
    """Outputs of old classes that nobody drew in this tile set: kept by the base model's own answers."""
    on: ScoredOn
    weights: torch.Tensor
    """(outputs,) of the classes."""
    loss: Loss
    before_by_tile: NDArray[np.int64] | None
    """(held-out tiles, n, n) confusion matrices of the base model; None where it knows no class."""
    blocks: NDArray[np.int64]
    """(held-out tiles,) number of the square of ground each lies in."""
    lines: Lines
    """The roads of the held-out tiles."""
    features: Features | None = None
    """What the frozen encoder saw in all tiles."""

    @property
    def seen(self) -> Features | None:
        """What the encoder saw, while it is as it was then."""
        return self.features if is_frozen(self.network.encoder) else None

    @property
    def begins_quick(self) -> bool:
        """Is the last layer fitted at once before the first epoch, which then only adjusts it?"""
        return self.seen is not None and bool(self.base.classes) and last_layer(self.network) is not None

    def steps(self, batch_size: int) -> int:
        size = self.tiles_per_step(batch_size)
        reminders = replay_per_batch(size, self.settings.replay_share) if self.replay is not None else 0
        return -(-len(self.train) // (size - reminders))

    def tiles_per_step(self, batch_size: int) -> int:
        """How many tiles a step takes. What is only adjusted takes small squares of four times as many; what begins from nothing needs more steps."""
        return 4 * batch_size if self.begins_quick else batch_size

    def batches(self, batch_size: int, random: torch.Generator) -> Iterator[Batch | Seen]:
        if self.seen is not None:
            return self._seen_batches(self.seen, batch_size, random)
        own = self.share.own(random)
        plain = training_batches(self.train, self.replay, batch_size, self.settings.replay_share, random, self.share)
        changed = varied(plain, self.settings, own, 2 if isinstance(self.network, ChangeNetwork) else 1)
        return mixed(changed, own) if self.settings.mixup else changed

    def _seen_batches(self, seen: Features, batch_size: int, random: torch.Generator) -> Iterator[Seen]:
        own = self.share.own(random)
        drawn = drawn_tiles(len(self.train), self.replay, self.tiles_per_step(batch_size), self.settings.replay_share, random, self.share)
        side = self.settings.chip_size or max(max(self.tile_set.record.tile_sides) // (4 if self.begins_quick else 2), SMALLEST_SQUARE_PX)
        return seen_batches(seen, drawn, self.train, self.replay, side, own)

    def batch_loss(self, batch: Batch | Seen, part: slice) -> torch.Tensor:
        if isinstance(batch, Seen):
            return seen_loss(self.network, self.loss, self.compute)(batch, part)
        if isinstance(self.network, RoadNetwork):
            return road_loss(self.network, self.loss, self.compute)(batch, part)
        return pixel_loss(self.network, self.loss, self.compute)(batch, part)

    def look_seconds(self) -> float:
        scored = [data for data in (self.validation, self.replay_validation) if data is not None]
        return sum(look_seconds(self.network, data, self.compute, self.seen) for data in scored)

    def score(self, tick: Tick) -> tuple[dict[str, Any], tuple[Score, ...]]:
        names, network = self.class_names, self.network
        held_out = evaluate(network, self.validation, self.loss, self.compute, tick, self.seen)
        drawn = held_out.drawn
        found = with_ranges(scores(drawn, names, self.on.held_out), names, self.blocks, held_out.by_tile, self.before_by_tile)
        old_outputs: tuple[int, ...] = ()
        old_matrix = drawn
        if self.replay_validation is not None:
            old_matrix, old_outputs = evaluate(network, self.replay_validation, self.loss, self.compute, tick, self.seen).drawn, self.plan.kept
            found += scores(old_matrix, names, self.on.reminders)
        elif self.validation.targets is not None:
            old_matrix, old_outputs = held_out.kept, self.remembered
            found += only(scores(old_matrix, names, self.on.agreement), self.remembered, names)
        old_ious = [iou(old_matrix, i) for i in old_outputs]
        by_class = {name: iou(drawn, i) for i, name in enumerate(names, 1)}
        facts = {
            "on": self.on.held_out,
            "validation_loss": held_out.loss,
            "iou": {name: value for name, value in by_class.items() if value is not None},
            "mean_iou": mean(by_class.values()),
            "old_classes_iou": mean(old_ious),
            "old_classes_f1": mean(None if value is None else f1(value) for value in old_ious),
            "reminded": self.replay_validation is not None,
        }
        if isinstance(network, RoadNetwork):
            facts["directions_right"] = directions_right(network, self.validation, self.compute, tick)
        return facts, found

    def selection(self, facts: dict[str, Any]) -> tuple[float, float]:
        return selection(facts, self.settings)

    def told(self, facts: dict[str, Any]) -> str:
        per_class = ", ".join(f"{name} {value:.3f}" for name, value in facts["iou"].items())
        old = "" if facts["old_classes_iou"] is None else f"; old classes {facts['old_classes_iou']:.3f}"
        ways = facts.get("directions_right")
        led = "" if ways is None else f"; {100 * ways:.0f} % of the directions right"
        return f"IoU on {facts['on']}: {per_class or 'none'}{old}{led}"

    def finish(self, folder: Path, tick: Tick) -> None:
        look_once_more(folder, self.lines, self.class_names, self.on.held_out, self.compute, tick, self.seen)

    def write_report(self, folder: Path, tick: Tick) -> None:
        from training.report import write_report  # only where a run ends

        write_report(folder, self, tick)


def prepare_pixels(settings: TrainingSettings, architecture: AnyArchitecture, stage: Stage) -> PixelLearner:
    """Load, check, adapt and score.

    Args:
        settings: What was chosen.
        architecture: To train: the base model's own, or another over its encoder.
        stage: `stage(what, share done)` is called often and may raise to stop.

    Raises:
        TerratuneError: the tile set or base model is missing, damaged, or they do not fit (TileSetError, ModelError, TooFewTilesError).
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    stage("Looking through the tiles", 0.0)
    tile_set = open_tile_set(Path(settings.tiles))
    require_pixels(tile_set)
    check_enough(tile_set)
    apart = require_sound(tile_set, despite_leak=settings.train_despite_leak, tell=lambda share: stage("Looking through the tiles", share))
    base = _started(base_folder(settings.base), architecture)
    if settings.freeze == "all_but_last_layer":
        check_quick(base.card.title, bool(base.card.classes))
    frozen = settings.freeze != "nothing"
    model_input = input_for(base.card, tile_set, frozen=frozen)
    check_classes(tile_set, settings, [c.name for c in base.card.classes] if settings.keep_old_classes else [])
    plan = plan_outputs(base.card, tile_set.record.classes, keep_old=settings.keep_old_classes, left_out=settings.ignore_classes)
    train, validation = (
        TileData(tile_set, tiles, model_input, plan.lookup(tile_set.record.classes)) for tiles in (tile_set.train, tile_set.validation)
    )
    replay, replay_validation = _replay(settings, model_input, plan, tile_set)
    reminders = replay is None or not leaks(replay.tile_set, lambda: stage("Looking through the reminder tiles", 0.0))
    on = ScoredOn.of(apart=apart, reminders_apart=reminders)
    for data in (train, validation, replay, replay_validation):
        if data is not None:
            data.hold(lambda share: stage("Reading the tiles", share))

    compute = choose_compute(settings.device)
    remembered = _remembered(plan, tile_set) if settings.keep_old_classes else ()
    sets = (train, validation, replay_validation)
    lines = Lines(validation, len(plan.classes) + 1)
    network = _adapted(base, model_input, plan, settings.seed)
    compute.place(network)
    if frozen:
        hold(network.encoder, adapters=settings.freeze == "adapters")
    learnt, scored = ([data for data in some if data is not None] for some in ((train, replay), (validation, replay_validation)))
    features, note = looked_once(network, settings, model_input, compute, learnt, scored, stage)
    before, before_by_tile = _look_with_base(base, model_input, plan, sets, remembered, lines, on, compute, stage, features)
    if settings.freeze == "all_but_last_layer":
        freeze(network.decoder)
        if last_layer(network) is None:
            raise TrainingError(f"'{base.card.title}' has no last layer that could be fitted alone.", "Choose 'Thorough'.")
    weights = class_weights(train.pixels_per_output(network.outputs), balance=settings.balance).to(compute.device)
    return PixelLearner(
        settings=settings,
        base=base.card,
        tile_set=tile_set,
        architecture=architecture,
        input=model_input,
        classes=plan.classes,
        network=network,
        compute=compute,
        before=lines.scored(before, [c.name for c in plan.classes], on.held_out, lines.base),
        lines=lines,
        held_out_on=on.held_out,
        fingerprint=fingerprint(settings, base.card, *(data.tile_set for data in (train, replay) if data is not None)),
        old_classes=tuple(plan.classes[i - 1].name for i in plan.kept),
        plan=plan,
        train=train,
        validation=validation,
        replay=replay,
        replay_validation=replay_validation,
        remembered=remembered,
        on=on,
        weights=weights,
        loss=loss_of(settings.loss, weights),
        before_by_tile=before_by_tile,
        blocks=blocks_of(tile_set.validation, tile_set.record.tile_sides),
        features=features,
        note=note,
    )


def fingerprint(settings: TrainingSettings, base: ModelCard, *tile_sets: TileSet) -> str:
    """Of all that decides what is learnt. What lies in the folders of the settings counts, not where: a copied project goes on."""
    facts = (settings.model_dump_json(exclude=set(PLACES)), base.weights_sha256, *(tiles.record.model_dump_json() for tiles in tile_sets))
    return hashlib.sha256("".join(facts).encode()).hexdigest()


def base_folder(name_or_folder: str, progress: Callable[[float], None] | None = None) -> Path:
    """The bundle to start from; a pretrained encoder is fetched first.

    Raises:
        ModelNotFoundError, DownloadError
    """
    settings = settings_from_environment()
    choice = find_encoder(name_or_folder, store_of(settings))
    if choice is None:
        return find_model(name_or_folder)
    return fetch_model(choice, settings, lambda done, total: progress(done / total if total else 0.0) if progress else None)


def _started(folder: Path, architecture: AnyArchitecture) -> ModelBundle:
    """The base model; where it is of another architecture, a fresh network with its encoder, if it has one to give."""
    base = load_bundle(folder, Network)
    card, network = starting_card(base.card, architecture), base.network
    if card is not base.card:
        network = build_network(architecture, len(card.input.band_names), card.outputs)
        if not starts_from_nothing(base.card.architecture, architecture):
            take_encoder(network, base.network, card.title)
            if isinstance(network, RoadNetwork):
                read_raw_values(network, base.card.input.mean, base.card.input.std)
    assert isinstance(network, SegmentationNetwork)
    return ModelBundle(network.eval(), card, folder)


def _replay(
    settings: TrainingSettings, model_input: ModelInput, plan: OutputPlan, tile_set: TileSet
) -> tuple[TileData | None, TileData | None]:
    if settings.replay_tiles is None or settings.replay_share == 0:
        return None, None
    replay = open_tile_set(Path(settings.replay_tiles))
    check_replay(replay, model_input)
    lookup = plan.lookup(replay.record.classes, reminders=True)
    learnt, tested = reminders_apart(replay, tile_set)
    every = max(1, -(-len(tested) // REPLAY_VALIDATION_TILES))
    validation = TileData(replay, tested[::every], model_input, lookup) if tested else None
    return TileData(replay, learnt, model_input, lookup), validation


def _remembered(plan: OutputPlan, tile_set: TileSet) -> tuple[int, ...]:
    drawn = plan.lookup(tile_set.record.classes)[[value for value, pixels in tile_set.record.class_pixels().items() if pixels and value]]
    return tuple(output for output in plan.kept if output not in drawn)


def _look_with_base(
    base: ModelBundle,
    model_input: ModelInput,
    plan: OutputPlan,
    sets: tuple[TileData, TileData, TileData | None],
    remembered: tuple[int, ...],
    lines: Lines,
    on: ScoredOn,
    compute: Compute,
    stage: Stage,
    features: Features | None,
) -> tuple[tuple[Score, ...], NDArray[np.int64] | None]:
    """Score the base model as it is, and note its answers as targets where nothing was drawn; the new network's frozen encoder is its own.

    Returns:
        The scores, and the confusion matrices of the held-out tiles.
    """
    train, validation, replay_validation = sets
    if not base.card.classes:
        return (), None
    network = base.network
    if (model_input.band_names, model_input.dtype) != (base.card.input.band_names, base.card.input.dtype):
        network = load_bundle(base.folder).network
        adapt_bands(network, base.card.input.band_names, model_input.band_names)
    compute.place(network)
    old = np.array(plan.old_outputs, dtype=np.uint8)
    names = [c.name for c in plan.classes]

    def look(data: TileData, what: str, *, keep: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(tiles, n, n) against what was drawn, and (n, n) of the agreement with what is kept."""
        matrices = np.zeros((len(data), len(names) + 1, len(names) + 1), dtype=np.int64)
        agreement = np.zeros_like(matrices[0])
        made = []
        for i, (output, probability) in enumerate(answers(network, data, compute, lambda: stage(what, 0.0), features)):
            drawn, seen = data.raw(i)[2], old[output]
            if data is validation:
                lines.note_base(i, seen)
            matrices[i] = confusion(drawn, seen, len(agreement))
            if keep:
                made.append(kept_targets(drawn, seen, probability >= SURE, remembered))
                agreement += confusion(made[-1], seen, len(agreement))
        if keep:
            data.targets = np.stack(made)
        return matrices, agreement

    keep = bool(remembered)
    if keep:
        look(train, "Looking at the tiles with the base model", keep=True)
    held_out, agreement = look(validation, "Scoring the base model", keep=keep)
    before = scores(held_out.sum(axis=0), names, on.held_out)
    if replay_validation is not None:
        before += scores(look(replay_validation, "Scoring the base model", keep=False)[0].sum(axis=0), names, on.reminders)
    elif keep:
        before += only(scores(agreement, names, on.agreement), remembered, names)
    return before, held_out


def only(found: tuple[Score, ...], outputs: tuple[int, ...], names: list[str]) -> tuple[Score, ...]:
    """The scores of these outputs."""
    return tuple(s for s in found if names.index(s.class_name) + 1 in outputs)


def _adapted(base: ModelBundle, model_input: ModelInput, plan: OutputPlan, seed: int) -> SegmentationNetwork:
    """The base network with the new model's bands and outputs."""
    torch.manual_seed(seed)
    network = _started(base.folder, base.card.architecture).network
    adapt_bands(network, base.card.input.band_names, model_input.band_names)
    adapt_outputs(network, [c.name for c in base.card.classes], [c.name for c in plan.classes])
    return network
