"""A small tile set whose every number is known: four 32 px tiles in two places, 3 bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tiles.statistics import RunningStatistics, pixels_per_class
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter

SIZE = 32
CLASSES = (TileClass(value=2, name="Unpaved road", colour="#ff9f1c"), TileClass(value=1, name="Paved road", colour="#4361ee"))


def tile_arrays(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image: band b holds 10 * (b + 1) + number. Label: `number` + 1 rows of class 1, one row of class 2, one pixel uncertain."""
    image = np.stack([np.full((SIZE, SIZE), 10 * (b + 1) + number, dtype=np.uint8) for b in range(3)])
    valid = np.ones((SIZE, SIZE), dtype=bool)
    valid[-1, -2:] = number != 3
    label = np.zeros((SIZE, SIZE), dtype=np.uint8)
    label[: number + 1] = 1
    label[10] = 2
    label[20, 20] = 255
    return image, valid, label


def write_tile_set(folder: Path) -> TileSet:
    """Write the set."""
    statistics = RunningStatistics(3, "uint8")
    tiles = []
    with TileSetWriter(folder) as writer:
        for number in range(4):
            transform = Affine(0.5, 0, 500_000 + 1000 * number, 0, -0.5, 4_000_000)
            image, valid, label = tile_arrays(number)
            written = writer.add(image, valid, label, transform, "EPSG:32611", None)
            statistics.add(image, valid)
            tiles.append(
                TileRecord(
                    name=written.name,
                    raster="scene",
                    column=2000 * number,
                    row=0,
                    crs="EPSG:32611",
                    transform=(transform.a, transform.b, transform.c, transform.d, transform.e, transform.f),
                    place=f"place {number // 2 + 1}",
                    split="train" if number < 2 else "validation",
                    pixels=pixels_per_class(np.where(valid, label, 255).astype(np.uint8)),
                    ignored_pixels=1,
                    image=written.image,
                    label=written.label,
                    ignore=written.ignore,
                )
            )
        record = TileSetRecord(
            settings={"tile_size": SIZE},
            classes=CLASSES,
            band_names=("red", "green", "nir"),
            dtype="uint8",
            band_statistics=statistics.result(),
            resolution_m=0.5,
            crs="EPSG:32611",
            tile_size=SIZE,
            stride=SIZE,
            seed=0,
            tiles=tuple(tiles),
        )
        return writer.finish(record)


@pytest.fixture
def tile_set(tmp_path: Path) -> TileSet:
    return write_tile_set(tmp_path / "set")
