"""Tiny tile sets with a known answer: bright bands are roads, warm ones unpaved, grey ones paved, on dark noise."""

from pathlib import Path

import numpy as np
import torch
from affine import Affine

from models.architecture import Architecture
from models.bundle import save_bundle
from models.card import ModelCard, ModelInput
from models.network import build_network
from tiles.statistics import RunningStatistics
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter
from workspace.classes import ClassDef

PAVED, UNPAVED = 1, 2
CLASSES = (TileClass(value=UNPAVED, name="Unpaved road", colour="#ff9f1c"), TileClass(value=PAVED, name="Paved road", colour="#4361ee"))
COLOURS = {PAVED: (150, 150, 155), UNPAVED: (210, 150, 90)}
SMALL = Architecture(encoder="resnet10t", decoder_channels=16, encoder_levels=3)


def a_tile(seed, shown=(PAVED, UNPAVED), size=64, bands=3, dtype=np.uint8):
    """(image, label): each class one horizontal band, 8 pixels wide, somewhere of its own."""
    rng = np.random.default_rng(seed)
    image = rng.normal(60, 12, (bands, size, size))
    label = np.zeros((size, size), np.uint8)
    for i, value in enumerate(shown):
        row = int(rng.integers(2, size // 2 - 10)) + i * size // 2
        colour = np.resize(COLOURS[value], bands)[:, None, None]
        image[:, row : row + 8] = colour + rng.normal(0, 6, (bands, 8, size))
        label[row : row + 8] = value
    scale = 1 if dtype == np.uint8 else 100
    return (np.clip(image, 0, 255) * scale).astype(dtype), label


def make_tile_set(
    folder: Path,
    *,
    train=6,
    validation=2,
    shown=(PAVED, UNPAVED),
    drawn=None,
    classes=CLASSES,
    size=64,
    rows=None,
    bands=("red", "green", "blue"),
    dtype=np.uint8,
    resolution_m=0.5,
    picture="TIFF",
) -> TileSet:
    """A tile set on disk; of the classes `shown` in the images only those `drawn` are in the labels."""
    drawn = shown if drawn is None else drawn
    statistics = RunningStatistics(len(bands), np.dtype(dtype).name)
    records = []
    with TileSetWriter(folder, classes=classes, picture=picture) as writer:
        for i in range(train + validation):
            image, label = (part[..., size - (rows or size) :, :] for part in a_tile(i, shown, size, len(bands), dtype))
            label = np.where(np.isin(label, drawn), label, 0).astype(np.uint8)
            valid = np.ones(label.shape, bool)
            if i == 0:
                label[:4, :4] = 255
            statistics.add(image, valid)
            transform = Affine(0.5, 0, 1000 * i, 0, -0.5, 0)
            written = writer.add(image, valid, label, transform, "EPSG:32611", None)
            pixels = {v: int((label == v).sum()) for v in (0, *(c.value for c in classes))}
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
                    pixels=pixels,
                    image=written.image,
                    label=written.label,
                    ignore=written.ignore,
                )
            )
        return writer.finish(
            TileSetRecord(
                classes=classes,
                band_names=bands,
                dtype=np.dtype(dtype).name,
                band_statistics=statistics.result(),
                resolution_m=resolution_m,
                crs="EPSG:32611",
                tile_size=size,
                tile_size_y=rows,
                stride=size,
                seed=0,
                tiles=tuple(records),
            )
        )


def make_base(folder: Path, *, classes=("Paved road",), **changes) -> Path:
    """A base bundle with random weights."""
    torch.manual_seed(1)
    card = ModelCard(
        name=folder.name,
        title="Base",
        architecture=changes.pop("architecture", SMALL),
        input=ModelInput(band_names=("red", "green", "blue"), mean=(70, 70, 70), std=(40, 40, 40), resolution_m=0.5, tile_size=64),
        classes=tuple(ClassDef(value=i, name=name, colour="#4361ee") for i, name in enumerate(classes, 1)),
        **changes,
    )
    save_bundle(folder, build_network(card.architecture, 3, len(classes) + 1), card)
    return folder
