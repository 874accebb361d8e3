"""Tiny sets of tiles with known objects: bright squares on dark noise, warm ones are roofs, cold ones pools."""

from pathlib import Path

import numpy as np
import shapely
from affine import Affine

from tiles.objects import object_of
from tiles.statistics import RunningStatistics
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter

ROOF, POOL = 3, 7
CLASSES = (TileClass(value=ROOF, name="Roof", colour="#e63946"), TileClass(value=POOL, name="Pool", colour="#4361ee"))
COLOURS = {ROOF: (220, 150, 90), POOL: (90, 150, 220)}


def squares_of(seed: int, size: int = 64, values=(ROOF, POOL)) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(class value, (left, top, right, bottom)) of what is in a tile: one of each value, in two corners; every fifth tile is empty."""
    rng = np.random.default_rng(seed)
    if seed % 5 == 4:
        return []
    half, found = size // 2, []
    corners = rng.permutation(4)
    for value, corner in zip(values, corners, strict=False):
        side = int(rng.integers(12, 21))
        left, top = (int(rng.integers(2, half - side - 1)) + half * int(n) for n in (corner % 2, corner // 2))
        found.append((value, (left, top, left + side, top + side)))
    return found


def make_squares(
    folder: Path,
    metadata_format: str = "PASCAL_VOC_rectangles",
    *,
    train: int = 20,
    validation: int = 5,
    size: int = 64,
    bands: int = 3,
    hidden=(),
    values=(ROOF, POOL),
) -> TileSet:
    """A set of tiles on disk.

    Args:
        folder: To be made.
        metadata_format: Of its labels.
        train: Tiles to learn from; each tile is a place of its own.
        validation: Tiles kept for the test.
        size: Side in pixels.
        bands: Of the images.
        values: Class values of the two squares in a tile.
        hidden: Class values that are uncertain: drawn in the image, 255 in the labels.
    """
    classes = tuple(c for c in CLASSES if c.value in values)
    names = ("red", "green", "blue", "nir")[:bands]
    statistics, records = RunningStatistics(bands, "uint8"), []
    with TileSetWriter(folder, metadata_format, classes) as writer:
        for i in range(train + validation):
            rng = np.random.default_rng(1000 + i)
            image = rng.normal(60, 10, (bands, size, size))
            label = np.zeros((size, size), np.uint8)
            objects, instances = [], {}
            for value, (left, top, right, bottom) in squares_of(i, size, values):
                inside = (slice(top, bottom), slice(left, right))
                image[(slice(None), *inside)] = np.resize(COLOURS[value], bands)[:, None, None] + rng.normal(
                    0, 5, (bands, bottom - top, right - left)
                )
                label[inside] = 255 if value in hidden else value
                if value not in hidden:
                    objects.append(object_of(value, shapely.box(left, top, right, bottom), (size, size), 0.0))
                    instances.setdefault(value, np.zeros((size, size), np.uint8))[inside] = sum(one.value == value for one in objects)
            image = np.clip(image, 0, 255).astype(np.uint8)
            valid = np.ones((size, size), bool)
            statistics.add(image, valid)
            transform = Affine(0.5, 0, 1000 * i, 0, -0.5, 0)
            written = writer.add(image, valid, label, transform, "EPSG:32611", None, objects, instances)
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
                    pixels={0: int((label == 0).sum())} | {c.value: int((label == c.value).sum()) for c in classes},
                    ignored_pixels=int((label == 255).sum()),
                    objects=written.objects,
                    image=written.image,
                    label=written.label,
                    masks=written.masks,
                    ignore=written.ignore,
                )
            )
        return writer.finish(
            TileSetRecord(
                metadata_format=metadata_format,
                classes=classes,
                band_names=names,
                dtype="uint8",
                band_statistics=statistics.result(),
                resolution_m=0.5,
                crs="EPSG:32611",
                tile_size=size,
                stride=size,
                seed=0,
                tiles=tuple(records),
            )
        )
