"""Tiles that each have a class as a whole, as a model is shown them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.card import ModelInput, band_order
from models.normalise import normalised
from tiles.reader import read_labelled
from tiles.tile_set import TileRecord, TileSet
from training.dataset import MEMORY_LIMIT_BYTES, Batch
from workspace.classes import ClassDef


@dataclass(frozen=True)
class SceneBatch:
    """Tiles ready for the network."""

    image: Tensor
    """(n, bands, side, side) float32, normalised; 0 without imagery."""
    classes: Tensor
    """(n, classes) float32, 1 for each class that the tile has."""
    other: Tensor | None = None
    """The same of the tile that was laid over each (`training.mixup`)."""
    share: float = 1.0
    """Of the tile itself, where another one lies over it."""

    def __len__(self) -> int:
        return len(self.image)


class SceneData:
    """Some tiles of a set, seen through a model's input.

    Args:
        tile_set: Of a format that names a class, or several, for each tile.
        tiles: Which of them; those of which no class is learnt are left out.
        model_input: What the model reads. Tiles of another size than its tile size are enlarged or made smaller to fit.
        classes: In the order of the outputs.
    """

    def __init__(self, tile_set: TileSet, tiles: Sequence[TileRecord], model_input: ModelInput, classes: Sequence[ClassDef]) -> None:
        self.tile_set, self.input = tile_set, model_input
        by_name = {c.name.casefold(): i for i, c in enumerate(classes)}
        self._output = {c.value: by_name[c.name.casefold()] for c in tile_set.record.classes if c.name.casefold() in by_name}
        self._outputs = len(classes)
        self._order = band_order(model_input, tile_set.record.band_names)
        self._held: dict[int, NDArray[np.float32]] = {}
        self.tiles: list[TileRecord] = []
        self.truth = np.zeros((0, self._outputs), dtype=np.float32)
        """(tiles, classes), 1 for each class that the tile has."""
        found = []
        for tile in tiles:
            has = self._classes(read_labelled(tile_set, tile)[1].classes)
            if has.any():
                self.tiles.append(tile)
                found.append(has)
        if found:
            self.truth = np.stack(found)

    def __len__(self) -> int:
        return len(self.tiles)

    def batch(self, indices: Sequence[int]) -> SceneBatch:
        """These tiles.

        Raises:
            TileSetFormatError: a file is missing or damaged.
        """
        images = torch.from_numpy(np.stack([self._image(i) for i in indices]))
        return SceneBatch(images, torch.from_numpy(self.truth[list(indices)]))

    def in_order(self, batch_size: int = 16) -> Iterator[SceneBatch]:
        """All of them."""
        for start in range(0, len(self), batch_size):
            yield self.batch(range(start, min(start + batch_size, len(self))))

    def _image(self, index: int) -> NDArray[np.float32]:
        """(bands, side, side), normalised; kept while there is room."""
        if index in self._held:
            return self._held[index]
        pixels, _ = read_labelled(self.tile_set, self.tiles[index])
        image = fitted(normalised(pixels.image[self._order], pixels.valid, self.input.mean, self.input.std), self.input.tile_size)
        if image.nbytes * len(self._held) < MEMORY_LIMIT_BYTES:
            self._held[index] = image
        return image

    def _classes(self, values: Sequence[int]) -> NDArray[np.float32]:
        has = np.zeros(self._outputs, dtype=np.float32)
        has[[self._output[value] for value in values if value in self._output]] = 1
        return has


def fitted(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(bands, rows, columns) with the longer side made `side` pixels (bilinear, all of the picture), 0 beside it where it is not square."""
    rows, columns = image.shape[1:]
    if (rows, columns) == (side, side):
        return image
    scale = side / max(rows, columns)
    high, wide = max(1, round(rows * scale)), max(1, round(columns * scale))
    small = F.interpolate(torch.from_numpy(image)[None], size=(high, wide), mode="bilinear", align_corners=False, antialias=scale < 1)
    top, left = (side - high) // 2, (side - wide) // 2
    return F.pad(small, (left, side - wide - left, top, side - high - top))[0].numpy()


def as_pixels(batch: SceneBatch) -> Batch:
    """The images as a batch of pixels without labels, so that they are varied as all tiles are."""
    n, _, rows, columns = batch.image.shape
    valid = (batch.image != 0).any(dim=1, keepdim=True)
    return Batch(batch.image, valid, torch.zeros(n, rows, columns, dtype=torch.int64))
