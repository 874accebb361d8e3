"""Learning what a whole tile shows: a class for each, or several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from errors import TooFewTilesError, TrainingError
from models.adapters import hold
from models.architecture import AnySceneArchitecture
from models.bundle import ModelBundle, adapt_bands, load_bundle
from models.card import Score
from models.freezing import is_frozen
from models.network import Network, SceneNetwork, build_network
from models.transfer import take_encoder, take_head
from tiles.apart import scored_on
from tiles.certainty import blocks_of
from tiles.tile_set import TileSet, open_tile_set
from training.augment import varied
from training.compute import choose_compute
from training.inputs import input_for
from training.learner import Learner
from training.loop import Tick
from training.metrics import mean
from training.mixup import laid_over, mixed_loss
from training.monitor import check_classes, selection_by_class
from training.prepare import Stage, base_folder, fingerprint
from training.scenes.data import SceneBatch, SceneData, as_pixels
from training.scenes.scores import accuracy, accuracy_ranges, chosen, class_scores, with_ranges
from training.settings import HELD_OUT, TrainingSettings
from training.targets import OutputPlan, plan_outputs
from training.tile_check import require_sound

HEAVIEST = 10.0
"""Largest weight of a class, the commonest having 1."""
SEVERAL = "MultiLabeled_Tiles"


@dataclass(frozen=True)
class SceneLearner(Learner):
    """Learns a class, or several, for a whole tile."""

    network: SceneNetwork
    train: SceneData
    validation: SceneData
    weights: Tensor
    """(classes,)"""
    blocks: NDArray[np.int64]
    """(held-out tiles,) number of the square of ground each lies in."""
    base_said: NDArray[np.bool_] | None = None
    """(held-out tiles, classes) what the base model gives out; None where it knows no class."""

    finds = "Tells apart"

    def batches(self, batch_size: int, random: torch.Generator) -> Iterator[SceneBatch]:
        own = self.share.own(random)
        order = torch.randperm(len(self.train), generator=random).tolist()
        plain = [self.train.batch(self.share.some(order[start : start + batch_size])) for start in range(0, len(order), batch_size)]
        for batch, changed in zip(plain, varied(map(as_pixels, plain), self.settings, own), strict=True):
            if self.settings.mixup:
                image, over, share = laid_over(changed.image, own)
                yield SceneBatch(image, batch.classes, batch.classes[over], share)
            else:
                yield SceneBatch(changed.image, batch.classes)

    def batch_loss(self, batch: SceneBatch, part: slice) -> Tensor:
        classes, other = (None if of is None else of[part].to(self.compute.device) for of in (batch.classes, batch.other))
        assert classes is not None
        return mixed_loss(self._loss, self._logits(batch.image[part]), classes, other, batch.share)

    @torch.no_grad()
    def look_seconds(self) -> float:
        self.network.eval()
        batch = next(self.validation.in_order())
        began = time.monotonic()
        self._logits(batch.image).cpu()
        return (time.monotonic() - began) * len(self.validation) / len(batch)

    def score(self, tick: Tick) -> tuple[dict[str, Any], tuple[Score, ...]]:
        probabilities, loss = self.look(self.network, self.validation, tick)
        truth, found = self.validation.truth > 0, chosen(probabilities, several=self.network.several)
        scores = class_scores(truth, found, self.class_names, self.held_out_on)
        scores = with_ranges(scores, self.class_names, self.blocks, truth, found, self.base_said, self.old_classes)
        by_class = {score.class_name: score.f1 for score in scores}
        right = accuracy(truth, found)
        return {
            "on": self.held_out_on,
            "validation_loss": loss,
            "measure": "F1",
            "by_class": by_class,
            "score": mean(by_class.values()),
            "accuracy": right,
            **accuracy_ranges(self.blocks, truth, found, self.base_said if set(self.old_classes) == set(self.class_names) else None),
        }, scores

    def selection(self, facts: dict[str, Any]) -> tuple[float, float]:
        return selection_by_class(facts, self.settings)

    def told(self, facts: dict[str, Any]) -> str:
        per_class = ", ".join(f"{name} {value:.2f}" for name, value in facts["by_class"].items())
        return f"{100 * facts['accuracy']:.0f} % of the {facts['on']} right; F1: {per_class or 'none'}"

    def write_report(self, folder: Path, tick: Tick) -> None:
        from training.scenes.report import write_report  # only where a run ends

        write_report(folder, self, tick)

    @torch.no_grad()
    def look(self, network: SceneNetwork, data: SceneData, tick: Tick) -> tuple[NDArray[np.float32], float]:
        """(tiles, classes) probabilities, and the mean loss."""
        network.eval()
        found, total = [np.zeros((0, network.outputs), dtype=np.float32)], 0.0
        for batch in data.in_order():
            with self.compute.mixed():
                logits = network(self.compute.move(batch.image)).float()
            total += float(self._loss(logits, batch.classes.to(self.compute.device))) * len(batch)
            found.append(network.probabilities(logits).cpu().numpy())
            tick()
        return np.concatenate(found), total / max(1, len(data))

    def _logits(self, image: Tensor) -> Tensor:
        with self.compute.mixed():
            moved = self.compute.move(image)
            if not is_frozen(self.network.encoder):
                return self.network(moved).float()
            with torch.no_grad():
                seen = self.network.encode(moved)
        return self.network.head(seen)

    def _loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy; for tiles with several classes one for each class."""
        if self.network.several:
            return F.binary_cross_entropy_with_logits(logits, classes, pos_weight=self.weights)
        return F.cross_entropy(logits, classes.argmax(dim=1), self.weights)


def prepare_scenes(settings: TrainingSettings, architecture: AnySceneArchitecture, stage: Stage) -> SceneLearner:
    """Load, check and adapt.

    Args:
        settings: What was chosen.
        architecture: To train; whether a tile may have several classes is for the tiles to say.
        stage: `stage(what, share done)` is called often and may raise to stop.

    Raises:
        TerratuneError: the tile set or base model is missing, damaged, or they do not fit (TileSetError, ModelError, TooFewTilesError).
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if settings.freeze == "all_but_last_layer":
        raise TrainingError("There is no quick training for classes of whole tiles: only one layer learns anyway.", "Choose 'Thorough'.")
    stage("Looking through the tiles", 0.0)
    tile_set = open_tile_set(Path(settings.tiles))
    apart = require_sound(tile_set, despite_leak=settings.train_despite_leak, tell=lambda share: stage("Looking through the tiles", share))
    base = load_bundle(base_folder(settings.base, lambda share: stage("Fetching the base model", share)), Network)
    model_input = input_for(base.card, tile_set, frozen=settings.freeze != "nothing")
    several = tile_set.record.metadata_format == SEVERAL
    knows = isinstance(base.network, SceneNetwork) and base.network.several == several
    plan = plan_outputs(base.card, tile_set.record.classes, keep_old=settings.keep_old_classes and knows, left_out=settings.ignore_classes)
    check_classes(tile_set, settings, [c.name for c in plan.classes])
    stage("Reading the tiles", 0.0)
    train, validation = (SceneData(tile_set, tiles, model_input, plan.classes) for tiles in (tile_set.train, tile_set.validation))
    _check_enough(tile_set, train, validation, several=several)
    architecture = architecture.model_copy(update={"several": several})
    network = _network(architecture, base, plan, model_input.band_names, knows=knows)
    if settings.freeze != "nothing":
        hold(network.encoder, adapters=settings.freeze == "adapters")
    compute = choose_compute(settings.device)
    compute.place(network)
    on = scored_on(HELD_OUT, apart)
    learner = SceneLearner(
        settings=settings,
        base=base.card,
        tile_set=tile_set,
        architecture=architecture,
        input=model_input,
        classes=plan.classes,
        network=network,
        compute=compute,
        before=(),
        held_out_on=on,
        fingerprint=fingerprint(settings, base.card, tile_set),
        train=train,
        validation=validation,
        blocks=blocks_of(validation.tiles, tile_set.record.tile_sides),
        weights=_weights(train, several=several, balance=settings.balance).to(compute.device),
        old_classes=tuple(plan.classes[i - 1].name for i in plan.kept) if knows else (),
    )
    return learner if not knows else _with_scores_before(learner, stage)


def _with_scores_before(learner: SceneLearner, stage: Stage) -> SceneLearner:
    """The base model's scores: before anything is learnt the adapted network answers as it does, for the classes that it knows."""
    probabilities, _ = learner.look(learner.network, learner.validation, lambda: stage("Scoring the base model", 0.0))
    said = chosen(probabilities, several=learner.network.several)
    scores = class_scores(learner.validation.truth > 0, said, learner.class_names, learner.held_out_on)
    return replace(learner, before=tuple(s for s in scores if s.class_name in learner.old_classes), base_said=said)


def _network(
    architecture: AnySceneArchitecture, base: ModelBundle[Network], plan: OutputPlan, band_names: tuple[str, ...], *, knows: bool
) -> SceneNetwork:
    """The base model's encoder; where it knows classes also what stands between that and the last layer, and of that their rows."""
    network = build_network(architecture, base.network.bands, len(plan.classes))
    assert isinstance(network, SceneNetwork)
    take_encoder(network, base.network, base.card.title)
    if knows:
        assert isinstance(base.network, SceneNetwork)
        take_head(network, base.network)
        _take_rows(network.last, base.network.last, plan)
    adapt_bands(network, base.card.input.band_names, band_names)
    return network


@torch.no_grad()
def _take_rows(new: nn.Linear, old: nn.Linear, plan: OutputPlan) -> None:
    """Classes that the base model knows start from what it knows of them."""
    for row, output in enumerate(plan.old_outputs[1:]):
        if output:
            new.weight[output - 1] = old.weight[row]
            new.bias[output - 1] = old.bias[row]


def _weights(train: SceneData, *, several: bool, balance: bool) -> Tensor:
    """(classes,) rare classes weigh more; of tiles with several classes: how much more it counts to miss one than to claim it wrongly."""
    counts = np.maximum(train.truth.sum(axis=0), 1)
    share = (len(train) - counts) / counts if several else counts.max() / counts
    weights = np.clip(share, 1 / HEAVIEST, HEAVIEST) if balance else np.ones_like(counts)
    return torch.from_numpy(weights.astype(np.float32))


def _check_enough(tile_set: TileSet, train: SceneData, validation: SceneData, *, several: bool) -> None:
    if not len(train) or not len(validation):
        raise TooFewTilesError(
            f"The tile set '{tile_set.name}' has {len(train)} tiles with a class for training and {len(validation)} for validation; "
            "each side needs at least one.",
            "Label a few more objects in another part of the imagery, and export again.",
        )
    learnt = int((train.truth.sum(axis=0) > 0).sum())
    if learnt < 2 and not several:
        raise TooFewTilesError(
            f"All training tiles of '{tile_set.name}' have one class: there is nothing to tell apart.",
            "Label a second class (also 'nothing of interest' can be one), and export again.",
        )
