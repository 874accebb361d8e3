"""What models learn that tell a class for each pixel: their batches, one step's loss, and looking at tiles with them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.freezing import is_frozen
from models.network import SegmentationNetwork
from tiles.tile_set import IGNORE_LABEL
from training.compute import Compute
from training.dataset import Batch, TileData
from training.features import Features, Seen
from training.group import Share
from training.loop import BatchLoss, Tick
from training.losses import Loss
from training.metrics import confusion
from training.mixup import mixed_loss


def training_batches(
    new: TileData, replay: TileData | None, batch_size: int, replay_share: float, random: torch.Generator, share: Share
) -> Iterator[Batch]:
    """Every new tile once, in random order; a share of each batch is drawn from the replay tiles. Of each batch one process's part."""
    for fresh, reminders in drawn_tiles(len(new), replay, batch_size, replay_share, random, share):
        batch = new.batch(fresh)
        yield joined(batch, replay.batch(reminders)) if replay is not None and reminders else batch


def drawn_tiles(
    new: int, replay: TileData | None, batch_size: int, replay_share: float, random: torch.Generator, share: Share
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """For each batch which of so many new tiles, each once in random order, and which replay tiles; of each one process's part."""
    order = torch.randperm(new, generator=random).tolist()
    reminders = replay_per_batch(batch_size, replay_share) if replay is not None else 0
    fresh = batch_size - reminders
    for start in range(0, len(order), fresh):
        drawn: list[int] = []
        if replay is not None and reminders:
            drawn = torch.randint(0, len(replay), (reminders,), generator=random).tolist()
        yield share.some(order[start : start + fresh]), share.part(drawn)


def replay_per_batch(batch_size: int, share: float) -> int:
    """Replay tiles in a batch: the share, rounded, with room left for at least one new tile."""
    return min(round(batch_size * share), batch_size - 1)


def pixel_loss(network: SegmentationNetwork, loss: Loss, compute: Compute) -> BatchLoss[Batch]:
    """What a step on some tiles of a batch minimises."""

    def of(batch: Batch, part: slice) -> Tensor:
        logits = _logits(network, compute.move(batch.image[part]), compute, is_frozen(network.encoder))
        other = None if batch.other is None else batch.other[part].to(compute.device)
        return mixed_loss(loss, logits, batch.target[part].to(compute.device), other, batch.share)

    return of


@dataclass(frozen=True)
class Evaluation:
    """What a pass over some tiles found."""

    by_tile: NDArray[np.int64]
    """(tiles, outputs, outputs) confusion matrices against what was drawn."""
    kept: NDArray[np.int64]
    """The same against the targets of training, the base model's kept answers included."""
    loss: float
    """Mean per batch, against the targets of training."""

    @property
    def drawn(self) -> NDArray[np.int64]:
        """Confusion matrix against what was drawn, of all tiles."""
        return np.asarray(self.by_tile.sum(axis=0), dtype=np.int64)


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork,
    data: TileData,
    loss: Loss,
    compute: Compute,
    tick: Tick,
    features: Features | None = None,
    *,
    batch_size: int = 8,
) -> Evaluation:
    """Score the network on all tiles, as they are; `features`: what its encoder saw in them, where that is kept."""
    network.eval()
    by_tile = np.zeros((len(data), network.outputs, network.outputs), dtype=np.int64)
    kept = np.zeros_like(by_tile[0])
    losses = []
    for indices in _in_order(data, batch_size):
        logits = _looked(network, data, indices, compute, features)
        target = np.stack([data.target(i) for i in indices])
        losses.append(float(loss(logits, torch.from_numpy(target).long().to(compute.device))))
        answer = logits.argmax(dim=1).cpu().numpy()
        kept += confusion(target, answer, network.outputs)
        for i, seen in zip(indices, answer, strict=True):
            by_tile[i] = confusion(data.raw(i)[2], seen, network.outputs)
        tick()
    return Evaluation(by_tile, kept, sum(losses) / max(len(losses), 1))


@torch.no_grad()
def answers(
    network: SegmentationNetwork, data: TileData, compute: Compute, tick: Tick, features: Features | None = None, *, batch_size: int = 8
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """For each tile the winning output and its probability, both (rows, columns); `features` as with `evaluate`."""
    network.eval()
    for indices in _in_order(data, batch_size):
        logits = _looked(network, data, indices, compute, features)
        probability, output = logits.softmax(dim=1).max(dim=1)
        yield from zip(output.cpu().numpy().astype(np.uint8), probability.cpu().numpy(), strict=True)
        tick()


def _looked(network: SegmentationNetwork, data: TileData, indices: Sequence[int], compute: Compute, features: Features | None) -> Tensor:
    """Logits of whole tiles."""
    with compute.mixed():
        if features is None:
            return network(compute.move(data.batch(indices).image))
        return network.decode(*features.whole(data, indices))


def _in_order(data: TileData, batch_size: int) -> Iterator[range]:
    for start in range(0, len(data), batch_size):
        yield range(start, min(start + batch_size, len(data)))


def seen_loss(network: SegmentationNetwork, loss: Loss, compute: Compute) -> BatchLoss[Seen]:
    """What a step on some squares of a batch minimises, where the encoder has looked already."""

    def of(batch: Seen, part: slice) -> Tensor:
        with compute.mixed():
            logits = network.decode([level[part] for level in batch.levels], batch.size)
        return loss(logits, batch.target[part].to(compute.device))

    return of


def _logits(network: SegmentationNetwork, image: Tensor, compute: Compute, frozen: bool) -> Tensor:
    """A frozen encoder is run without keeping anything for the backward pass."""
    with compute.mixed():
        padded = network.pad(image)
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = network.encode(padded)
        return network.decode(features, (image.shape[-2], image.shape[-1]))


def joined(new: Batch, reminders: Batch) -> Batch:
    """One batch; reminder tiles of another size are cut, or filled up with pixels that do not count, to the new tiles' size."""
    rows, columns = new.image.shape[-2:]

    def fit(x: Tensor, fill: float) -> Tensor:
        x = x[..., :rows, :columns]
        return F.pad(x, (0, columns - x.shape[-1], 0, rows - x.shape[-2]), value=fill)

    return Batch(
        torch.cat([new.image, fit(reminders.image, 0)]),
        torch.cat([new.valid, fit(reminders.valid, False)]),
        torch.cat([new.target, fit(reminders.target, IGNORE_LABEL)]),
    )


@torch.no_grad()
def look_seconds(
    network: SegmentationNetwork, data: TileData, compute: Compute, features: Features | None = None, *, batch_size: int = 8
) -> float:
    """Seconds that scoring all these tiles takes here, from one batch of them."""
    network.eval()
    indices = range(min(batch_size, len(data)))
    began = time.monotonic()
    _looked(network, data, indices, compute, features).argmax(dim=1).cpu()
    return (time.monotonic() - began) * len(data) / len(indices)
