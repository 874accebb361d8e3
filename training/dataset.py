"""Tiles as arrays: in memory when they are few, read as needed when they are many."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errors import TileSetFormatError
from models.card import ModelInput, band_order
from models.normalise import normalised
from tiles.reader import read_tile
from tiles.tile_set import TileRecord, TileSet

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
    other: Tensor | None = None
    """The same of the tile that was laid over each (`training.mixup`)."""
    share: float = 1.0
    """Of the tile itself, where another one lies over it."""

    def __len__(self) -> int:
        return len(self.image)


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
    _digests: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def bytes(self) -> int:
        """Memory that holding all tiles takes."""
        columns, rows = self.tile_set.record.tile_sides
        return len(self.tiles) * columns * rows * (len(self.input.band_names) * np.dtype(self.tile_set.record.dtype).itemsize + 2)

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

    def digest(self, index: int) -> str:
        """Of the pixels of a tile, and of which of them are imagery."""
        if index not in self._digests:
            pixels, valid, _ = self.raw(index)
            facts = repr((pixels.shape, pixels.dtype.str)).encode()
            self._digests[index] = hashlib.sha256(facts + pixels.tobytes() + valid.tobytes()).hexdigest()
        return self._digests[index]

    def target(self, index: int) -> NDArray[np.uint8]:
        """(rows, columns) output index to learn; 255 ignored."""
        return self.raw(index)[2] if self.targets is None else self.targets[index]

    def batch(self, indices: Sequence[int]) -> Batch:
        """These tiles, normalised.

        Raises:
            TileSetFormatError: a file is missing or damaged.
        """
        parts = [self.raw(i) for i in indices]
        image = np.stack([normalised(pixels, valid, self.input.mean, self.input.std) for pixels, valid, _ in parts])
        targets = self.targets
        target = np.stack([part[2] if targets is None else targets[i] for part, i in zip(parts, indices, strict=True)])
        valid = np.stack([v for _, v, _ in parts])[:, None]
        return Batch(torch.from_numpy(image), torch.from_numpy(valid), torch.from_numpy(target.astype(np.int64)))

    def pixels_per_output(self, outputs: int) -> NDArray[np.int64]:
        """(outputs,) pixels of each target."""
        counts = np.zeros(256, dtype=np.int64)
        for i in range(len(self)):
            counts += np.bincount(self.target(i).ravel(), minlength=256)
        return counts[:outputs]

    def _read(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        tile = self.tiles[index]
        pixels = read_tile(self.tile_set, tile)
        columns, rows = self.tile_set.record.tile_sides
        if pixels.label.shape != (rows, columns):
            raise TileSetFormatError(
                f"{tile.image} is {pixels.label.shape[1]} x {pixels.label.shape[0]} pixels; the tile set's tiles are {columns} x {rows}.",
                "Export the tiles again.",
            )
        image = pixels.image if pixels.image2 is None else np.concatenate([pixels.image, pixels.image2])
        return image[band_order(self.input, self.tile_set.record.seen_bands)], pixels.valid, self.lookup[pixels.label]
