"""Random changes to a batch that leave the truth true: turned, mirrored, zoomed, recoloured. All on tensors, all from one generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tiles.tile_set import IGNORE_LABEL
from training.dataset import Batch

ZOOM = 1.25
"""Largest enlargement or reduction."""
CONTRAST = 0.25
BRIGHTNESS = 0.3
BAND_SHIFT = 0.1
SATURATION = 0.3
"""Half widths of the uniform changes; brightness and band shift in units of a band's standard deviation."""


def augment(batch: Batch, random: torch.Generator) -> Batch:
    """A changed copy of the batch; pixels that come from outside a tile are invalid and ignored."""
    batch = _zoom(_turn(batch, random), random)
    return Batch(_recolour(batch.image, random) * batch.valid, batch.valid, batch.target)


def _turn(batch: Batch, random: torch.Generator) -> Batch:
    """Each tile in one of the eight positions of a square (four where it is not square)."""
    n, _, rows, columns = batch.image.shape
    steps = 4 if rows == columns else 2
    turns = torch.randint(0, steps, (n,), generator=random) * (4 // steps)
    flips = torch.randint(0, 2, (n,), generator=random)

    def turned(x: Tensor) -> Tensor:
        out = [torch.rot90(t, int(k), (-2, -1)) for t, k in zip(x, turns, strict=True)]
        return torch.stack([t.flip(-1) if f else t for t, f in zip(out, flips, strict=True)])

    return Batch(turned(batch.image), turned(batch.valid), turned(batch.target))


def _zoom(batch: Batch, random: torch.Generator) -> Batch:
    """Each tile enlarged or reduced about a random point; half of the batches stay as they are."""
    if float(torch.rand((), generator=random)) < 0.5:
        return batch
    n = batch.image.shape[0]
    scale = torch.exp((torch.rand(n, generator=random) * 2 - 1) * math.log(ZOOM))
    shift = (torch.rand(n, 2, generator=random) * 2 - 1) * (1 - scale).abs()[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [n, 1, *batch.image.shape[-2:]], align_corners=False)
    image = F.grid_sample(batch.image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    valid = F.grid_sample(batch.valid.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False) > 0.5
    shifted = (batch.target + 1).float()[:, None]  # 0 then means outside
    target = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0].long() - 1
    return Batch(image, valid, torch.where(target < 0, IGNORE_LABEL, target))


def _recolour(image: Tensor, random: torch.Generator) -> Tensor:
    """Contrast and brightness of each tile, a shift of each band, and saturation; in normalised units."""
    n, bands = image.shape[:2]

    def uniform(half: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=random) * 2 - 1) * half

    image = image * (1 + uniform(CONTRAST, n, 1, 1, 1)) + uniform(BRIGHTNESS, n, 1, 1, 1) + uniform(BAND_SHIFT, n, bands, 1, 1)
    if bands < 3:
        return image
    grey = image.mean(dim=1, keepdim=True)
    return grey + (image - grey) * (1 + uniform(SATURATION, n, 1, 1, 1))
