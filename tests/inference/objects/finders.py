"""Modules that find bright squares, so that the right answer is known, and scenes that have some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from models.architecture import DetectorArchitecture
from models.card import ModelCard, ModelInput
from tests.inference.makers import write_raster
from workspace.classes import ClassDef

CAR = ClassDef(value=3, name="Car", colour="#e71d36")
ROOF = ClassDef(value=7, name="Roof", colour="#4361ee")


def object_card(tile_size: int = 64, resolution_m: float = 0.5, classes: tuple[ClassDef, ...] = (CAR, ROOF), **more) -> ModelCard:
    return ModelCard(
        **{"architecture": DetectorArchitecture()} | more,
        name="finder",
        title="Finder",
        input=ModelInput(band_names=("red", "green", "blue"), mean=(0.0,) * 3, std=(1.0,) * 3, resolution_m=resolution_m, tile_size=tile_size),
        classes=classes,
    )


class BrightSquares(nn.Module):
    """Each connected bright area is an object: class 1 where red is bright, class 2 where blue is. The score is the brightness / 255."""

    def __init__(self, masks: bool = False, jitter: float = 0.0) -> None:
        super().__init__()
        self.masks, self.jitter = masks, jitter
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        assert not self.training and images.ndim == 4
        return [self.answer(image.cpu().numpy()) for image in images]

    def answer(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        boxes, scores, labels, masks = [], [], [], []
        for label, band in ((1, image[0]), (2, image[2])):
            areas, _ = ndimage.label(band > 100)
            for number, (rows, columns) in enumerate(ndimage.find_objects(areas), 1):
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                scores.append(float(band[areas == number].mean() / 255))
                labels.append(label)
                masks.append((areas == number).astype(np.float32)[None])
        found = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }
        if self.jitter:
            found["boxes"] += (torch.rand(found["boxes"].shape, generator=self.generator) - 0.5) * 2 * self.jitter
            found["scores"] -= torch.rand(found["scores"].shape, generator=self.generator) * 0.2
        if self.masks:
            found["masks"] = torch.tensor(np.array(masks)).reshape(-1, 1, *image.shape[1:])
        return found


def squares_scene(path: Path, squares: list[tuple[int, int, int, int]], shape: tuple[int, int] = (200, 300), band: int = 0, **options) -> Path:
    """Dark, with bright rectangles (column, row, width, height) in one band."""
    values = np.full((3, *shape), 20, np.uint8)
    for column, row, width, height in squares:
        values[band, row : row + height, column : column + width] = 240
    return write_raster(path, values, **options)


def many_squares(shape: tuple[int, int], seed: int = 0, step: int = 24) -> list[tuple[int, int, int, int]]:
    """One rectangle of 6 to 16 pixels in most cells of a lattice, none touching another."""
    random = np.random.default_rng(seed)
    found = []
    for row in range(0, shape[0] - step, step):
        for column in range(0, shape[1] - step, step):
            if random.random() < 0.8:
                width, height = random.integers(6, 17, 2)
                found.append((int(column + random.integers(0, step - width - 1)), int(row + random.integers(0, step - height - 1)), int(width), int(height)))
    return found
