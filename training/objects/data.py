"""Tiles with single objects, as a detector is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.card import ModelInput, band_order
from models.detection import Targets
from models.normalise import normalised
from tiles.objects import TileObject, pixels_in
from tiles.reader import read_labelled
from tiles.tile_set import IGNORE_LABEL, TileRecord, TileSet
from training.dataset import MEMORY_LIMIT_BYTES, Progress

LEAST_SIDE_PX = 1.0
"""Of a box: of less there is nothing to be seen in the tile."""


@dataclass(frozen=True)
class ObjectBatch:
    """Tiles ready for the network."""

    image: Tensor
    """(n, bands, rows, columns) float32, normalised; 0 without imagery and where nothing may be learnt."""
    valid: Tensor
    """(n, 1, rows, columns) bool."""
    targets: Targets
    """Of each tile; of detectors of outlines with masks."""

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, eq=False)
class _Held:
    image: NDArray[Any]
    """(bands, rows, columns), raw."""
    valid: NDArray[np.bool_]
    """(rows, columns): there is imagery, and it may be learnt from."""
    boxes: NDArray[np.float32]
    """(k, 4) xmin, ymin, xmax, ymax in pixels."""
    labels: NDArray[np.int64]
    """(k,) output, from 1."""
    masks: list[tuple[tuple[slice, slice], NDArray[np.bool_]]]
    """Of each object the part of the tile that it touches, and which of its pixels it covers; empty where outlines are not learnt."""


@dataclass
class ObjectData:
    """Some tiles of a set, seen through a model's input.

    Detectors cannot leave pixels out of what they learn: what is uncertain, not labelled, or of a class that is left out is blanked (0 after
    normalising, as where there is no imagery), in training and in the test, so that nothing can be found there, or missed. An object that is
    blanked completely is no object. Tiles without objects stay: they show what is none.
    """

    tile_set: TileSet
    tiles: Sequence[TileRecord]
    input: ModelInput
    lookup: NDArray[np.uint8]
    """(256,) class value -> output, 255 of classes left out."""
    outlines: bool
    _held: list[_Held] | None = None

    def __len__(self) -> int:
        return len(self.tiles)

    def hold(self, progress: Progress) -> None:
        """Read all tiles into memory, unless they are too many."""
        columns, rows = self.tile_set.record.tile_sides
        each = columns * rows * (len(self.input.band_names) * np.dtype(self.tile_set.record.dtype).itemsize + 1)
        if self._held is not None or each * len(self) > MEMORY_LIMIT_BYTES:
            return
        held = []
        for i in range(len(self)):
            held.append(self._read(i))
            progress((i + 1) / len(self))
        self._held = held

    def batch(self, indices: Sequence[int]) -> ObjectBatch:
        """These tiles.

        Raises:
            TileSetFormatError: a file is missing or damaged.
        """
        parts = [self._of(i) for i in indices]
        image = np.stack([normalised(p.image, p.valid, self.input.mean, self.input.std) for p in parts])
        valid = np.stack([p.valid for p in parts])[:, None]
        return ObjectBatch(torch.from_numpy(image), torch.from_numpy(valid), [self._target(p) for p in parts])

    def sides(self) -> NDArray[np.float64]:
        """(objects,) the side of a square as large as each box, pixels."""
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(self._of(i).boxes for i in range(len(self)))])
        return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.float64)

    def objects(self, output: int | None = None) -> int:
        """How many there are, of one class or of all."""
        labels = [self._of(i).labels for i in range(len(self))]
        return sum(len(one) if output is None else int((one == output).sum()) for one in labels)

    def _of(self, index: int) -> _Held:
        return self._held[index] if self._held is not None else self._read(index)

    def _target(self, held: _Held) -> dict[str, Tensor]:
        target = {"boxes": torch.from_numpy(held.boxes), "labels": torch.from_numpy(held.labels)}
        if self.outlines:
            masks = np.zeros((len(held.masks), *held.valid.shape), dtype=np.uint8)
            for mask, (place, part) in zip(masks, held.masks, strict=True):
                mask[place] = part
            target["masks"] = torch.from_numpy(masks)
        return target

    def _read(self, index: int) -> _Held:
        pixels, labels = read_labelled(self.tile_set, self.tiles[index])
        size = pixels.label.shape
        valid = pixels.label != IGNORE_LABEL
        outputs = [int(self.lookup[one.value]) for one in labels.objects]
        learnt = [one for one, output in zip(labels.objects, outputs, strict=True) if output not in (0, IGNORE_LABEL)]
        left_out = _covered([one for one, output in zip(labels.objects, outputs, strict=True) if output == IGNORE_LABEL], size)
        valid &= ~(left_out & ~_covered(learnt, size))
        seen = [one for one in learnt if _is_seen(one, valid)]
        image = pixels.image[band_order(self.input, self.tile_set.record.band_names)]
        boxes = np.array([one.box for one in seen], dtype=np.float32).reshape(-1, 4)
        values = np.array([self.lookup[one.value] for one in seen], dtype=np.int64)
        return _Held(image, valid, boxes, values, [_cut(one, size) for one in seen] if self.outlines else [])


def _covered(objects: Sequence[TileObject], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(rows, columns): a mask or a box of these lies there."""
    found = np.zeros(size, dtype=bool)
    for one in objects:
        if one.mask is not None:
            found |= one.mask
        else:
            found[pixels_in(one.box, size)] = True
    return found


def _is_seen(one: TileObject, valid: NDArray[np.bool_]) -> bool:
    left, top, right, bottom = one.box
    return min(right - left, bottom - top) >= LEAST_SIDE_PX and bool(valid[pixels_in(one.box, valid.shape)].any())


def _cut(one: TileObject, size: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    if one.mask is None:
        raise ValueError("Outlines are learnt from masks.")
    place = pixels_in(one.box, size)
    return place, one.mask[place]
