"""Learning to find single objects, with a box or an outline around each."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errors import TooFewTilesError
from models.adapters import hold
from models.arcgis.ssd import at_side
from models.architecture import AnyDetector, ArcGISDetectorArchitecture
from models.bundle import ModelBundle, adapt_bands, load_bundle
from models.card import ModelCard, Score
from models.detection import DetectionNetwork, Targets, take_detector
from models.network import Network, build_network
from models.transfer import take_encoder
from tiles.apart import scored_on
from tiles.certainty import blocks_of
from tiles.tile_set import TileSet, open_tile_set
from training.compute import choose_compute
from training.inputs import check_enough, input_for
from training.learner import Learner
from training.loop import Tick
from training.metrics import mean
from training.monitor import check_classes, selection_by_class
from training.objects.augment import varied
from training.objects.data import ObjectBatch, ObjectData
from training.objects.scores import Evaluation, Objects, class_scores, evaluate, with_ranges
from training.prepare import Stage, base_folder, fingerprint
from training.settings import HELD_OUT, TrainingSettings
from training.targets import OutputPlan, plan_outputs
from training.tasks import starting_card
from training.tile_check import require_sound

SCORED_AT_ONCE = 4
"""Tiles."""
SMALL_SHARE = 0.2
"""Of the objects: the smallest anchor has their size, or the next power of two to it."""
SMALLEST_PX, LARGEST_SMALLEST_PX = 4, 64
MASK = 0.5
"""Probability from which a pixel belongs to an object."""


@dataclass(frozen=True)
class ObjectLearner(Learner):
    """Learns to find single objects."""

    network: DetectionNetwork
    train: ObjectData
    validation: ObjectData
    blocks: NDArray[np.int64]
    """(held-out tiles,) number of the square of ground each lies in."""
    base_found: Evaluation | None = None
    """What the base model finds in the tiles kept for the test; None where it knows no class."""

    def batches(self, batch_size: int, random: torch.Generator) -> Iterator[ObjectBatch]:
        own = self.share.own(random)
        order = torch.randperm(len(self.train), generator=random).tolist()
        plain = (self.train.batch(self.share.some(order[start : start + batch_size])) for start in range(0, len(order), batch_size))
        return varied(plain, self.settings, own)

    def batch_loss(self, batch: ObjectBatch, part: slice) -> Tensor:
        return self._loss(batch.image[part], batch.targets[part])

    @torch.no_grad()
    def look_seconds(self) -> float:
        self.network.eval()
        batch = self.validation.batch(range(min(SCORED_AT_ONCE, len(self.validation))))
        began = time.monotonic()
        self.network(self.compute.move(batch.image))
        with_loss = 2
        return with_loss * (time.monotonic() - began) * len(self.validation) / len(batch)

    def score(self, tick: Tick) -> tuple[dict[str, Any], tuple[Score, ...]]:
        _, _, evaluation = self.compare(self.network, tick)
        scores = class_scores(evaluation, self.class_names, self.held_out_on)
        scores = with_ranges(scores, self.class_names, self.blocks, evaluation, self.base_found, self.old_classes)
        by_class = {s.class_name: s.ap50 for s in scores}
        return {
            "on": self.held_out_on,
            "validation_loss": self._held_out_loss(tick),
            "measure": "AP50",
            "by_class": by_class,
            "score": mean(by_class.values()),
            "average_precision": mean(s.average_precision for s in scores),
            "f1": mean(s.f1 for s in scores),
        }, scores

    def selection(self, facts: dict[str, Any]) -> tuple[float, float]:
        return selection_by_class(facts, self.settings)

    def told(self, facts: dict[str, Any]) -> str:
        per_class = ", ".join(f"{name} {value:.3f}" for name, value in facts["by_class"].items())
        return f"AP50 on {facts['on']}: {per_class or 'none'}"

    def write_report(self, folder: Path, tick: Tick) -> None:
        from training.objects.report import write_report  # only where a run ends

        write_report(folder, self, tick)

    @torch.no_grad()
    def compare(self, network: DetectionNetwork, tick: Tick) -> tuple[list[Objects], list[Objects], Evaluation]:
        """What is in each of the tiles kept for the test, what the network finds there, and how far they agree."""
        network.eval()
        truth: list[Objects] = []
        found: list[Objects] = []
        for batch in _in_order(self.validation):
            truth += [_objects(target) for target in batch.targets]
            found += [_objects(one) for one in network(self.compute.move(batch.image))]
            tick()
        return truth, found, evaluate(truth, found, len(self.classes))

    @torch.no_grad()
    def _held_out_loss(self, tick: Tick) -> float:
        """Mean over the tiles kept for the test. Detectors tell it in training mode only, and draw which places count: always the same ones."""
        total = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self.network.train()
            self.network.encoder.eval()
            for batch in _in_order(self.validation):
                total += float(self._loss(batch.image, batch.targets)) * len(batch)
                tick()
        self.network.eval()
        return total / max(len(self.validation), 1)

    def _loss(self, image: Tensor, targets: Targets) -> Tensor:
        """The sum of the detector's own losses."""
        there = [{name: value.to(self.compute.device) for name, value in target.items()} for target in targets]
        return torch.stack(list(self.network.losses(self.compute.move(image), there).values())).sum()


def prepare_objects(settings: TrainingSettings, architecture: AnyDetector, stage: Stage) -> ObjectLearner:
    """Load, check, adapt and score.

    Args:
        settings: What was chosen.
        architecture: To train: the base model's own, or a detector over its encoder.
        stage: `stage(what, share done)` is called often and may raise to stop.

    Raises:
        TerratuneError: the tile set or base model is missing, damaged, or they do not fit (TileSetError, ModelError, TooFewTilesError).
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    stage("Looking through the tiles", 0.0)
    tile_set = open_tile_set(Path(settings.tiles))
    check_enough(tile_set)
    apart = require_sound(tile_set, despite_leak=settings.train_despite_leak, tell=lambda share: stage("Looking through the tiles", share))
    base = load_bundle(base_folder(settings.base), Network)
    start = starting_card(base.card, architecture)
    model_input = input_for(base.card, tile_set, frozen=settings.freeze != "nothing")
    check_classes(tile_set, settings)
    plan = plan_outputs(start, tile_set.record.classes, keep_old=False, left_out=settings.ignore_classes)
    train, validation = (
        ObjectData(tile_set, tiles, model_input, plan.lookup(tile_set.record.classes), architecture.detector == "maskrcnn")
        for tiles in (tile_set.train, tile_set.validation)
    )
    for data in (train, validation):
        data.hold(lambda share: stage("Reading the tiles", share))
    _check_seen(tile_set, train)
    if isinstance(architecture, ArcGISDetectorArchitecture):
        architecture = at_side(architecture, model_input.tile_size)
    elif start is not base.card:
        architecture = architecture.model_copy(update={"smallest_px": smallest_anchor(train)})
    network = _network(architecture, base, start, plan, model_input.band_names)
    if settings.freeze != "nothing":
        hold(network.encoder, adapters=settings.freeze == "adapters")
    compute = choose_compute(settings.device)
    compute.place(network)
    learner = ObjectLearner(
        settings=settings,
        base=base.card,
        tile_set=tile_set,
        architecture=architecture,
        input=model_input,
        classes=plan.classes,
        network=network,
        compute=compute,
        before=(),
        held_out_on=scored_on(HELD_OUT, apart),
        fingerprint=fingerprint(settings, base.card, tile_set),
        train=train,
        validation=validation,
        blocks=blocks_of(tile_set.validation, tile_set.record.tile_sides),
        old_classes=tuple(plan.classes[i - 1].name for i in plan.kept),
    )
    return _with_scores_before(learner, stage) if learner.old_classes else learner


def smallest_anchor(data: ObjectData) -> int:
    """Side in pixels of the smallest boxes that a new detector looks for: a power of two, about that of the smaller objects."""
    sides = data.sides()
    size = 2 ** round(math.log2(max(float(np.quantile(sides, SMALL_SHARE)), 1.0)))
    return int(min(max(size, SMALLEST_PX), LARGEST_SMALLEST_PX))


def _with_scores_before(learner: ObjectLearner, stage: Stage) -> ObjectLearner:
    """The base model's scores: before anything is learnt the adapted network answers as it does, for the classes that it knows."""
    _, _, evaluation = learner.compare(learner.network, lambda: stage("Scoring the base model", 0.0))
    scores = class_scores(evaluation, learner.class_names, learner.held_out_on)
    return replace(learner, before=tuple(s for s in scores if s.class_name in learner.old_classes), base_found=evaluation)


def _network(
    architecture: AnyDetector, base: ModelBundle[Network], start: ModelCard, plan: OutputPlan, band_names: tuple[str, ...]
) -> DetectionNetwork:
    """The base model's detector with the new classes; where it is of another kind, a fresh detector over its encoder."""
    network = build_network(architecture, base.network.bands, len(plan.classes) + 1)
    assert isinstance(network, DetectionNetwork)
    if start is base.card:
        assert isinstance(base.network, DetectionNetwork)
        take_detector(network, base.network, [c.name for c in start.classes], [c.name for c in plan.classes])
    else:
        take_encoder(network, base.network, base.card.title)
    adapt_bands(network, base.card.input.band_names, band_names)
    return network


def _check_seen(tile_set: TileSet, train: ObjectData) -> None:
    if not train.objects():
        raise TooFewTilesError(
            f"No training tile of '{tile_set.name}' shows an object that could be learnt: all are smaller than a pixel, uncertain, or left out.",
            "Label at least five examples in different places, and export again.",
        )


def _in_order(data: ObjectData) -> Iterator[ObjectBatch]:
    for start in range(0, len(data), SCORED_AT_ONCE):
        yield data.batch(range(start, min(start + SCORED_AT_ONCE, len(data))))


def _objects(one: dict[str, Tensor]) -> Objects:
    """Of a target, or of what a network found."""
    labels = one["labels"].cpu().numpy()
    scores = one["scores"].cpu().numpy() if "scores" in one else np.ones(len(labels), dtype=np.float32)
    masks = one.get("masks")
    if masks is not None:
        masks = masks[:, 0] > MASK if masks.ndim == 4 else masks != 0
    return Objects(one["boxes"].cpu().numpy(), labels, scores, None if masks is None else masks.cpu().numpy())
