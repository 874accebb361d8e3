"""Tiles that each show one thing: water is even and blue, fields are even and green, a town is chequered grey."""

from pathlib import Path

import numpy as np
from affine import Affine

from tiles.objects import TileObject
from tiles.statistics import RunningStatistics
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter

WATER, FIELD, TOWN = 1, 2, 3
CLASSES = tuple(
    TileClass(value=value, name=name, colour=colour) for value, name, colour in ((1, "Water", "#1d4ed8"), (2, "Field", "#65a30d"), (3, "Town", "#6b7280"))
)
COLOURS = {WATER: (40, 70, 140), FIELD: (90, 140, 60), TOWN: (120, 120, 125)}


def an_image(values, seed, size=64):
    """(3, size, size) and the class of each pixel; of several values each takes a strip."""
    rng = np.random.default_rng(seed)
    label = np.zeros((size, size), np.uint8)
    image = rng.normal(0, 5, (3, size, size))
    edges = np.linspace(0, size, len(values) + 1).astype(int)
    for value, top, bottom in zip(values, edges[:-1], edges[1:], strict=True):
        label[top:bottom] = value
        image[:, top:bottom] += np.array(COLOURS[value])[:, None, None]
        if value == TOWN:
            rows, columns = np.indices((bottom - top, size)) // 4
            image[:, top:bottom] += 60 * ((rows + columns) % 2)
    return np.clip(image, 0, 255).astype(np.uint8), label


def make_scenes(folder: Path, *, train=24, validation=9, metadata_format="Imagenet", shown=None) -> TileSet:
    """A set of single tiles, far apart; `shown`: the class values of tile i."""
    shown = shown or (lambda i: (i % 3 + 1,))
    statistics, records = RunningStatistics(3, "uint8"), []
    with TileSetWriter(folder, metadata_format, CLASSES) as writer:
        for i in range(train + validation):
            image, label = an_image(shown(i), i)
            valid = np.ones(image.shape[1:], bool)
            statistics.add(image, valid)
            transform = Affine(0.5, 0, 1000 * i, 0, -0.5, 0)
            objects = [TileObject(value=value, box=(0.0, 0.0, 64.0, 64.0)) for value in shown(i)]
            written = writer.add(image, valid, label, transform, "EPSG:32611", None, objects)
            records.append(
                TileRecord(
                    name=written.name,
                    raster="x",
                    column=0,
                    row=0,
                    crs="EPSG:32611",
                    transform=tuple(transform)[:6],
                    place=f"place {i}",
                    split="train" if i < train else "validation",
                    pixels={0: 64 * 64},
                    objects=dict.fromkeys(shown(i), 1),
                    image=written.image,
                    label=written.label,
                )
            )
        return writer.finish(
            TileSetRecord(
                metadata_format=metadata_format,
                classes=CLASSES,
                band_names=("red", "green", "blue"),
                dtype="uint8",
                band_statistics=statistics.result(),
                resolution_m=0.5,
                crs="EPSG:32611",
                tile_size=64,
                stride=64,
                seed=0,
                tiles=tuple(records),
            )
        )
