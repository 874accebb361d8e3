"""Tiles as arrays: in memory when they are few, read as needed when they are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errors import InputMismatchError, TileSetFormatError, TooFewTilesError
from models.card import ModelCard, ModelInput, band_order
from tiles.reader import read_tile
from tiles.tile_set import IGNORE_LABEL, TileRecord, TileSet

MEMORY_LIMIT_BYTES = 500 * 1024 * 1024
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Batch:
    """Tiles ready for the network."""

    image: Tensor
    """(n, bands, rows, columns) float32, normalised; 0 without imagery."""
    valid: Tensor
    """(n, 1, rows, columns) bool."""
    target: Tensor
    """(n, rows, columns) int64 output index; 255 ignored."""


@dataclass
class TileData:
    """Some tiles of a set, seen through a model's input."""

    tile_set: TileSet
    tiles: Sequence[TileRecord]
    input: ModelInput
    lookup: NDArray[np.uint8]
    """(256,) class value -> output index."""
    targets: NDArray[np.uint8] | None = None
    """(n, rows, columns) output index; None: as drawn."""
    _held: list[tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]] | None = None

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def bytes(self) -> int:
        """Memory that holding all tiles takes."""
        size = self.tile_set.record.tile_size
        return len(self.tiles) * size * size * (len(self.input.band_names) * np.dtype(self.tile_set.record.dtype).itemsize + 2)

    def hold(self, progress: Progress | None = None) -> None:
        """Read all tiles into memory, unless they are too many."""
        if self._held is not None or self.bytes > MEMORY_LIMIT_BYTES:
            return
        held = []
        for i in range(len(self)):
            held.append(self._read(i))
            if progress:
                progress((i + 1) / len(self))
        self._held = held

    def raw(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        """Image (bands, rows, columns) in raw units, valid (rows, columns), target as drawn (rows, columns)."""
        return self._held[index] if self._held is not None else self._read(index)

    def batch(self, indices: Sequence[int], *, as_drawn: bool = False) -> Batch:
        """These tiles, normalised.

        Raises:
            TileSetFormatError: a file is missing or damaged.
        """
        parts = [self.raw(i) for i in indices]
        mean = np.asarray(self.input.mean, dtype=np.float32)[:, None, None]
        std = np.asarray(self.input.std, dtype=np.float32)[:, None, None]
        image = np.stack([np.where(valid, (pixels.astype(np.float32) - mean) / std, np.float32(0)) for pixels, valid, _ in parts])
        targets = None if as_drawn else self.targets
        target = np.stack([part[2] if targets is None else targets[i] for part, i in zip(parts, indices, strict=True)])
        valid = np.stack([v for _, v, _ in parts])[:, None]
        return Batch(torch.from_numpy(np.nan_to_num(image, copy=False)), torch.from_numpy(valid), torch.from_numpy(target.astype(np.int64)))

    def pixels_per_output(self, outputs: int) -> NDArray[np.int64]:
        """(outputs,) pixels of each target."""
        counts = np.zeros(256, dtype=np.int64)
        for i in range(len(self)):
            counts += np.bincount((self.raw(i)[2] if self.targets is None else self.targets[i]).ravel(), minlength=256)
        return counts[:outputs]

    def _read(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        tile = self.tiles[index]
        pixels = read_tile(self.tile_set, tile)
        size = self.tile_set.record.tile_size
        if pixels.label.shape != (size, size):
            raise TileSetFormatError(
                f"{tile.image} is {pixels.label.shape[1]} x {pixels.label.shape[0]} pixels; the tile set's tiles are {size} x {size}.",
                "Export the tiles again.",
            )
        return pixels.image[band_order(self.input, self.tile_set.record.band_names)], pixels.valid, self.lookup[pixels.label]


def input_for(card: ModelCard, tile_set: TileSet, *, frozen: bool) -> ModelInput:
    """What the new model reads: bands, normalisation, resolution and tile size.

    A frozen backbone keeps the base model's bands; one that learns takes all bands of the tiles. The base model's mean and std are used where
    the numbers are of the same type, else the tile set's.

    Raises:
        InputMismatchError: the tiles lack a band that the frozen backbone needs.
    """
    record = tile_set.record
    known = dict(zip((n.casefold() for n in card.input.band_names), zip(card.input.mean, card.input.std, strict=True), strict=True))
    try:
        order = band_order(card.input, record.band_names)
        names = list(card.input.band_names)
        extra = [i for i in range(len(record.band_names)) if i not in order]
        if not frozen:
            names, order = names + [record.band_names[i] for i in extra], order + extra
    except InputMismatchError as error:
        if frozen:
            raise InputMismatchError(
                error.fact.replace("the imagery has", "the tiles have"),
                "Export tiles from imagery with these bands, choose another base model, or switch Freeze off: then all bands are learnt anew.",
            ) from error
        names, order = list(record.band_names), list(range(len(record.band_names)))
    mean, std = [], []
    for name, i in zip(names, order, strict=True):
        statistics = record.band_statistics[i]
        own = known.get(name.casefold()) if record.dtype == card.input.dtype else None
        mean.append(own[0] if own else statistics.mean)
        std.append(own[1] if own else (statistics.std if statistics.std > 0 else 1.0))
    return ModelInput(
        band_names=tuple(names),
        dtype=record.dtype,
        mean=tuple(mean),
        std=tuple(std),
        resolution_m=record.resolution_m or card.input.resolution_m,
        tile_size=record.tile_size,
    )


def check_enough(tile_set: TileSet) -> None:
    """Refuse a tile set that nothing can be learnt from, or scored on.

    Raises:
        TooFewTilesError: with what to label.
    """
    if not tile_set.train or not tile_set.validation:
        side = "training" if not tile_set.train else "validation"
        raise TooFewTilesError(
            f"The tile set '{tile_set.name}' has {len(tile_set.train)} tiles for training and {len(tile_set.validation)} for validation; "
            f"{side} needs at least one.",
            "Label a few more objects in another part of the imagery, at least two tile widths away, and export again.",
        )
    names = {c.value: c.name for c in tile_set.record.classes}
    if not any(tile_set.record.class_pixels("train").get(value, 0) for value in names):
        known = " or ".join(f"'{name}'" for name in names.values()) or "a class"
        raise TooFewTilesError(
            f"No training tile of '{tile_set.name}' shows {known}.", "Label at least five examples in different places, and export again."
        )


def check_replay(replay: TileSet, model_input: ModelInput) -> None:
    """Refuse reminder tiles that the model cannot read.

    Raises:
        InputMismatchError: other bands or another type of numbers.
        TooFewTilesError: it has no training tile.
    """
    band_order(model_input, replay.record.band_names)
    if replay.record.dtype != model_input.dtype:
        raise InputMismatchError(
            f"The reminder tiles '{replay.name}' are {replay.record.dtype}, the training tiles {model_input.dtype}.",
            "Choose reminder tiles cut from the same kind of imagery, or train without.",
        )
    if not replay.train:
        raise TooFewTilesError(f"The reminder tiles '{replay.name}' have no training tile.", "Choose another tile set, or train without.")


__all__ = ["IGNORE_LABEL", "Batch", "TileData", "check_enough", "check_replay", "input_for"]
