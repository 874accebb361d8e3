"""The last layer alone, fitted at once: multinomial logistic regression on what the decoder says of each pixel.

The best last layer for a frozen rest is a convex problem: L-BFGS finds it on a sample of pixels within a second or two, where an
optimiser going through all tiles takes a minute. It is written into the network's own 1x1 convolution, so prediction is as quick as ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.network import SegmentationNetwork
from training.compute import Compute
from training.dataset import TileData
from training.features import Features
from training.loop import Tick

PIXELS_PER_TILE = 800
"""Of each class, at most; of background twice as many."""
PIXELS = 200_000
"""Sampled in all, about."""
RIDGE = 3e-3
"""Weight of the squared coefficients (of features scaled to unit deviation)."""
ITERATIONS = 60


def last_layer(network: SegmentationNetwork) -> nn.Conv2d | None:
    """The 1x1 convolution that gives the logits; None where the network ends in something else."""
    convolutions = [m for m in network.head.modules() if isinstance(m, nn.Conv2d)]
    only = convolutions[0] if len(convolutions) == 1 else None
    return only if only is not None and only.kernel_size == (1, 1) and only.bias is not None else None


def fit_last_layer(
    network: SegmentationNetwork,
    sets: Sequence[TileData],
    weights: Tensor,
    compute: Compute,
    random: torch.Generator,
    tick: Tick,
    features: Features | None = None,
) -> None:
    """Give the network the last layer that fits these tiles best; nothing else of it changes.

    Args:
        network: Ends in a 1x1 convolution (see `last_layer`); in evaluation mode afterwards.
        sets: Tiles to fit, as they are; all sets weigh alike pixel for pixel.
        weights: (outputs,) of the classes, as in training.
        compute: Where.
        random: Draws the pixels.
        tick: Called after each batch and each iteration; may raise to stop, the network being as it was.
        features: What the encoder saw in these tiles, where that is kept.
    """
    layer = last_layer(network)
    assert layer is not None and layer.bias is not None
    x, target, counts = _sample(network, sets, compute, random, tick, features)
    share = counts * weights.to(x.device)[target]
    share = share / share.sum()
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / deviation
    coefficients = torch.zeros(x.shape[1], network.outputs, device=x.device, requires_grad=True)
    constant = torch.zeros(network.outputs, device=x.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([coefficients, constant], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        tick()
        optimiser.zero_grad()
        found = (F.cross_entropy(x @ coefficients + constant, target, reduction="none") * share).sum() + RIDGE * coefficients.square().sum()
        found.backward()
        return found

    optimiser.step(loss)
    with torch.no_grad():
        matrix = coefficients / deviation[:, None]
        layer.weight.copy_(matrix.T[:, :, None, None])
        layer.bias.copy_(constant - mean @ matrix)


@torch.no_grad()
def _sample(
    network: SegmentationNetwork,
    sets: Sequence[TileData],
    compute: Compute,
    random: torch.Generator,
    tick: Tick,
    features: Features | None,
    *,
    batch_size: int = 8,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of all tiles: features (n, channels) float32, output index (n,), and for how many pixels each stands (n,)."""
    network.eval()
    tiles = sum(len(data) for data in sets)
    most = max(20, min(PIXELS_PER_TILE, PIXELS // max(1, tiles) // (network.outputs + 1)))
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for data in sets:
        for first in range(0, len(data), batch_size):
            indices = range(first, min(first + batch_size, len(data)))
            with compute.mixed():
                if features is None:
                    levels = network.encode(network.pad(compute.move(data.batch(indices).image)))
                else:
                    levels, _ = features.whole(data, indices)
                decoded = network.decoder(levels).float()
            for of_tile, i in zip(decoded, indices, strict=True):
                parts += _of_tile(of_tile, torch.from_numpy(data.target(i)).long(), network.outputs, most, random)
            tick()
    x, targets, counts = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    return x, targets, counts


def _of_tile(features: Tensor, target: Tensor, outputs: int, most: int, random: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
    """`most` pixels of each output (background twice as many), drawn from (channels, rows / k, columns / k) and (rows, columns)."""
    step = max(1, round(target.shape[0] / features.shape[1]))
    row, column = (int(v) for v in torch.randint(0, step, (2,), generator=random))  # none of the k x k pixels is preferred: nothing shifts
    labels = target[row::step, column::step]
    rows, columns = min(labels.shape[0], features.shape[1]), min(labels.shape[1], features.shape[2])
    labels, flat = labels[:rows, :columns].reshape(-1), features[:, :rows, :columns].flatten(1).T
    drawn = []
    for output in range(outputs):
        there = torch.nonzero(labels == output)[:, 0]
        if not len(there):
            continue
        chosen = there[torch.randperm(len(there), generator=random)[: most * (2 if output == 0 else 1)]]
        place = chosen.to(flat.device)
        stands_for = torch.full((len(chosen),), len(there) / len(chosen), device=flat.device)
        drawn.append((flat[place], labels[chosen].to(flat.device), stands_for))
    return drawn
