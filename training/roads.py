"""What road networks learn besides the roads: which way each road leads at every pixel of it (Batra et al. 2019, "Improved road connectivity by
joint learning of orientation and segmentation").
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from models.arcgis.roads import EVERY, RoadNetwork
from models.freezing import is_frozen
from tiles.roads.found import pixel_lines
from tiles.tile_set import IGNORE_LABEL
from training.compute import Compute
from training.dataset import Batch, TileData
from training.loop import BatchLoss, Tick
from training.losses import Loss

HALF_WIDTH_PX = 8
"""A direction is learnt so far on either side of the middle line, however wide the road is (ArcGIS's orient_theta)."""
REACH_PX = 5
"""So many pixels of the middle line, before and after, say where the road leads at one."""
CIRCLE = 360


def directions(target: NDArray[np.integer], orientations: int) -> NDArray[np.int64]:
    """Which way the roads of a tile lead.

    A road leads both ways; the one to the right of the picture counts (of a road straight up and down the way down), so that there is one answer
    wherever a line happens to begin.

    Args:
        target: (rows, columns) output index; every class is a road; 255 ignored.
        orientations: How many answers there are: directions in equal steps of the full circle, as in ArcGIS, and "no road", the last.

    Returns:
        (rows, columns) number of the direction; 255 where `target` is ignored.
    """
    found = np.full(target.shape, orientations - 1, dtype=np.int64)
    middle = np.full(target.shape, -1, dtype=np.int64)
    for line in pixel_lines((target > 0) & (target != IGNORE_LABEL)):
        middle[tuple(line.T)] = _number(_ways(line), orientations - 1)
    if (middle >= 0).any():
        far, (row, column) = distance_transform_edt(middle < 0, return_indices=True)
        near = far <= HALF_WIDTH_PX
        found[near] = middle[row[near], column[near]]
    found[target == IGNORE_LABEL] = IGNORE_LABEL
    return found


def road_loss(network: RoadNetwork, loss: Loss, compute: Compute) -> BatchLoss[Batch]:
    """What a step on some tiles of a batch minimises: the roads' loss and the cross-entropy of the directions, weighing alike, at every place where
    the network answers while it learns.
    """

    def of(batch: Batch, part: slice) -> Tensor:
        target = batch.target[part].to(compute.device)
        with compute.mixed():
            said = network.answers(compute.move(batch.image[part]), frozen=is_frozen(network.encoder))
        ways = _directions(batch.target[part], said.direction.shape[1]).to(compute.device)
        total = loss(said.road, target) + _cross_entropy(said.direction, ways)
        is_road = torch.where(target == IGNORE_LABEL, target, (target > 0).long())
        for road, direction in said.between:
            total = total + _cross_entropy(road, is_road[..., ::EVERY, ::EVERY]) + _cross_entropy(direction, ways[..., ::EVERY, ::EVERY])
        return total

    return of


@torch.no_grad()
def directions_right(network: RoadNetwork, data: TileData, compute: Compute, tick: Tick, *, batch_size: int = 8) -> float | None:
    """Share of the pixels near a road's middle line of which the likeliest direction is the right one; None where no tile shows a road."""
    network.eval()
    right, there = 0, 0
    for start in range(0, len(data), batch_size):
        batch = data.batch(range(start, min(start + batch_size, len(data))))
        with compute.mixed():
            said = network.answers(compute.move(batch.image), frozen=True).direction[:, :-1].argmax(dim=1).cpu()
        none = network.orientations - 1
        truth = _directions(batch.target, network.orientations)
        counted = (truth != none) & (truth != IGNORE_LABEL)
        right, there = right + int((said == truth)[counted].sum()), there + int(counted.sum())
        tick()
    return right / there if there else None


def _ways(line: NDArray[np.int64]) -> NDArray[np.float64]:
    """(k, 2) rows and columns from some pixels before to some pixels after each pixel of a line."""
    at = np.arange(len(line))
    return (line[np.minimum(at + REACH_PX, len(line) - 1)] - line[np.maximum(at - REACH_PX, 0)]).astype(np.float64)


def _number(ways: NDArray[np.float64], steps: int) -> NDArray[np.int64]:
    """(k,) which of the steps of the circle, from "to the left" on, a way to the right falls into."""
    down, right = ways.T
    back = (right < 0) | ((right == 0) & (down < 0))
    angle = np.degrees(np.arctan2(np.where(back, -down, down), np.where(back, -right, right)))
    return ((angle + CIRCLE / 2) * steps // CIRCLE).astype(np.int64) % steps


def _directions(target: Tensor, orientations: int) -> Tensor:
    """(n, rows, columns) for tiles as they are in a batch, that is turned and enlarged."""
    return torch.from_numpy(np.stack([directions(one, orientations) for one in target.cpu().numpy()]))


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The mean over what is not ignored; 0 where everything is."""
    if not (target != IGNORE_LABEL).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits, target, ignore_index=IGNORE_LABEL)
