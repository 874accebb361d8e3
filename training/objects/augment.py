"""Random changes to a batch of tiles with objects: as `training.augment` changes pixels, with boxes and masks moving along."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from training.augment import Strengths, recolour, strengths_of
from training.objects.data import LEAST_SIDE_PX, ObjectBatch
from training.settings import TrainingSettings

Target = dict[str, Tensor]


def varied(batches: Iterable[ObjectBatch], settings: TrainingSettings, random: torch.Generator) -> Iterator[ObjectBatch]:
    """Batches as they are learnt from: chips of them where that is chosen, changed at random."""
    strengths = strengths_of(settings)
    for batch in batches:
        if settings.chip_size is not None:
            batch = crop(batch, settings.chip_size, random)
        yield batch if strengths is None else augment(batch, random, strengths)


def augment(batch: ObjectBatch, random: torch.Generator, strengths: Strengths) -> ObjectBatch:
    """A changed copy of the batch; what comes from outside a tile is blank."""
    batch = _turned(batch, random) if strengths.turn else batch
    batch = _zoomed(batch, random, strengths.zoom) if strengths.zoom > 1 else batch
    return ObjectBatch(recolour(batch.image, random, strengths) * batch.valid, batch.valid, batch.targets)


def crop(batch: ObjectBatch, side: int, random: torch.Generator) -> ObjectBatch:
    """A square of `side` pixels from a random place of each tile; a tile's shorter side stays whole. Objects are cut at its edges."""
    rows, columns = batch.image.shape[-2:]
    high, wide = min(side, rows), min(side, columns)
    images, valids, targets = [], [], []
    for image, valid, target in zip(batch.image, batch.valid, batch.targets, strict=True):
        top, left = (int(torch.randint(0, room + 1, (), generator=random)) for room in (rows - high, columns - wide))
        part = (..., slice(top, top + high), slice(left, left + wide))
        images.append(image[part])
        valids.append(valid[part])
        moved = target | {"boxes": target["boxes"] - torch.tensor([left, top, left, top])}
        targets.append(_inside(moved | ({"masks": target["masks"][part]} if "masks" in target else {}), (high, wide)))
    return ObjectBatch(torch.stack(images), torch.stack(valids), targets)


def turn(target: Target, quarters: int, flip: bool, size: tuple[int, int]) -> Target:
    """Boxes and masks of a tile that is turned and then perhaps mirrored left to right.

    Args:
        target: Of a tile of `size` (rows, columns).
        quarters: Turns by 90 degrees, against the clock, as of `torch.rot90`.
        flip: Mirrored afterwards.
        size: (rows, columns) before.
    """
    rows, columns = size
    boxes = target["boxes"]
    for _ in range(quarters % 4):
        left, top, right, bottom = boxes.unbind(dim=1)
        boxes = torch.stack([top, columns - right, bottom, columns - left], dim=1)
        rows, columns = columns, rows
    if flip:
        left, top, right, bottom = boxes.unbind(dim=1)
        boxes = torch.stack([columns - right, top, columns - left, bottom], dim=1)
    found = target | {"boxes": boxes}
    if "masks" in target:
        masks = torch.rot90(target["masks"], quarters, (-2, -1))
        found["masks"] = masks.flip(-1) if flip else masks
    return found


def _turned(batch: ObjectBatch, random: torch.Generator) -> ObjectBatch:
    """Each tile in one of the eight positions of a square (four where it is not square)."""
    size = (batch.image.shape[-2], batch.image.shape[-1])
    steps = 4 if size[0] == size[1] else 2
    turns = (torch.randint(0, steps, (len(batch),), generator=random) * (4 // steps)).tolist()
    flips = torch.randint(0, 2, (len(batch),), generator=random).tolist()

    def changed(x: Tensor) -> Tensor:
        out = [torch.rot90(t, k, (-2, -1)) for t, k in zip(x, turns, strict=True)]
        return torch.stack([t.flip(-1) if f else t for t, f in zip(out, flips, strict=True)])

    targets = [turn(t, k, bool(f), size) for t, k, f in zip(batch.targets, turns, flips, strict=True)]
    return ObjectBatch(changed(batch.image), changed(batch.valid), targets)


def _zoomed(batch: ObjectBatch, random: torch.Generator, most: float) -> ObjectBatch:
    """Each tile enlarged or reduced about a random point; half of the batches stay as they are."""
    if float(torch.rand((), generator=random)) < 0.5:
        return batch
    n = len(batch)
    scale = torch.exp((torch.rand(n, generator=random) * 2 - 1) * math.log(most))
    shift = (torch.rand(n, 2, generator=random) * 2 - 1) * (1 - scale).abs()[:, None]
    return zoom(batch, scale, shift)


def zoom(batch: ObjectBatch, scale: Tensor, shift: Tensor) -> ObjectBatch:
    """Each tile as seen through a window over it.

    Args:
        batch: Of n tiles.
        scale: (n,) side of the window, a tile's being 1: above 1 things become smaller.
        shift: (n, 2) x, y from the tile's centre to the window's, half a tile's side being 1.
    """
    rows, columns = batch.image.shape[-2:]
    theta = torch.zeros(len(batch), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [len(batch), 1, rows, columns], align_corners=False)

    def seen(x: Tensor, mode: str, at: Tensor) -> Tensor:
        return F.grid_sample(x, at, mode=mode, padding_mode="zeros", align_corners=False)

    sides = torch.tensor([columns, rows], dtype=torch.float32)
    targets = []
    for i, target in enumerate(batch.targets):
        corners = target["boxes"].view(-1, 2, 2) / sides * 2 - 1
        boxes = (((corners - shift[i]) / scale[i] + 1) / 2 * sides).view(-1, 4)
        moved = target | {"boxes": boxes}
        if "masks" in target and len(boxes):
            moved["masks"] = (seen(target["masks"][None].float(), "nearest", grid[i : i + 1])[0] > 0.5).to(torch.uint8)
        targets.append(_inside(moved, (rows, columns)))
    image, valid = seen(batch.image, "bilinear", grid), seen(batch.valid.float(), "nearest", grid) > 0.5
    return ObjectBatch(image, valid, targets)


def _inside(target: Target, size: tuple[int, int]) -> Target:
    """What of the objects lies in a tile of `size` (rows, columns); those outside are left out."""
    rows, columns = size
    boxes = target["boxes"].clamp(min=0).minimum(torch.tensor([columns, rows, columns, rows], dtype=torch.float32))
    kept = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE_PX).all(dim=1)
    if "masks" in target:
        kept &= (target["masks"] != 0).flatten(1).any(dim=1)
    return {name: value[kept] for name, value in (target | {"boxes": boxes}).items()}
