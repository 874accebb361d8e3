"""Random changes to a batch that leave the truth true: turned, mirrored, zoomed, recoloured. All on tensors, all from one generator.

Image and label change together and nothing is written: the tiles on disk, and where they lie, stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tiles.tile_set import IGNORE_LABEL
from training.dataset import Batch
from training.settings import TrainingSettings

BAND_SHIFT = 1 / 3
"""Of the brightness change, what each band may differ besides."""


@dataclass(frozen=True)
class Strengths:
    """How much is changed: half widths of uniform changes."""

    turn: bool = True
    """Turned and mirrored."""
    zoom: float = 1.25
    """Largest enlargement or reduction; 1: none."""
    contrast: float = 0.25
    brightness: float = 0.3
    """In units of a band's standard deviation."""
    saturation: float = 0.3


def strengths_of(settings: TrainingSettings) -> Strengths | None:
    """What is chosen; None: tiles stay as they are."""
    if settings.augment == "none":
        return None
    if settings.augment == "default":
        return Strengths(turn=settings.augment_turn)
    return Strengths(
        settings.augment_turn, settings.augment_zoom, settings.augment_contrast, settings.augment_brightness, settings.augment_saturation
    )


def varied(batches: Iterable[Batch], settings: TrainingSettings, random: torch.Generator, images: int = 1) -> Iterator[Batch]:
    """Batches as they are learnt from: chips of them where that is chosen, changed at random."""
    strengths = strengths_of(settings)
    for batch in batches:
        if settings.chip_size is not None:
            batch = crop(batch, settings.chip_size, random)
        yield batch if strengths is None else augment(batch, random, strengths, images)


def augment(batch: Batch, random: torch.Generator, strengths: Strengths, images: int = 1) -> Batch:
    """A changed copy of the batch; pixels that come from outside a tile are invalid and ignored. Of pairs (`images`: 2) each is recoloured for itself."""
    batch = _turn(batch, random) if strengths.turn else batch
    batch = _zoom(batch, random, strengths.zoom) if strengths.zoom > 1 else batch
    dates = [recolour(image, random, strengths) for image in batch.image.chunk(images, dim=1)]
    return Batch(torch.cat(dates, dim=1) * batch.valid, batch.valid, batch.target)


def crop(batch: Batch, side: int, random: torch.Generator) -> Batch:
    """A square of `side` pixels from a random place of each tile; a tile's shorter side stays whole."""
    rows, columns = batch.image.shape[-2:]
    high, wide = min(side, rows), min(side, columns)
    tops, lefts = (torch.randint(0, room + 1, (len(batch.image),), generator=random).tolist() for room in (rows - high, columns - wide))

    def cut(x: Tensor) -> Tensor:
        return torch.stack([t[..., top : top + high, left : left + wide] for t, top, left in zip(x, tops, lefts, strict=True)])

    return Batch(cut(batch.image), cut(batch.valid), cut(batch.target))


def turned(x: Tensor, quarters: int, *, mirrored: bool) -> Tensor:
    """(..., rows, columns) turned by so many quarters, then mirrored."""
    out = torch.rot90(x, quarters, (-2, -1))
    return out.flip(-1) if mirrored else out


def _turn(batch: Batch, random: torch.Generator) -> Batch:
    """Each tile in one of the eight positions of a square (four where it is not square)."""
    n, _, rows, columns = batch.image.shape
    steps = 4 if rows == columns else 2
    turns = torch.randint(0, steps, (n,), generator=random) * (4 // steps)
    flips = torch.randint(0, 2, (n,), generator=random)

    def all_turned(x: Tensor) -> Tensor:
        return torch.stack([turned(t, int(k), mirrored=bool(f)) for t, k, f in zip(x, turns, flips, strict=True)])

    return Batch(all_turned(batch.image), all_turned(batch.valid), all_turned(batch.target))


def _zoom(batch: Batch, random: torch.Generator, most: float) -> Batch:
    """Each tile enlarged or reduced about a random point; half of the batches stay as they are."""
    if float(torch.rand((), generator=random)) < 0.5:
        return batch
    n = batch.image.shape[0]
    scale = torch.exp((torch.rand(n, generator=random) * 2 - 1) * math.log(most))
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


def recolour(image: Tensor, random: torch.Generator, strengths: Strengths) -> Tensor:
    """Contrast and brightness of each tile, a shift of each band, and saturation; in normalised units."""
    n, bands = image.shape[:2]

    def uniform(half: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=random) * 2 - 1) * half

    brightness = strengths.brightness
    image = image * (1 + uniform(strengths.contrast, n, 1, 1, 1)) + uniform(brightness, n, 1, 1, 1)
    image = image + uniform(brightness * BAND_SHIFT, n, bands, 1, 1)
    if bands < 3:
        return image
    grey = image.mean(dim=1, keepdim=True)
    return grey + (image - grey) * (1 + uniform(strengths.saturation, n, 1, 1, 1))
