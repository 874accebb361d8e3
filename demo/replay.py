"""Reminder tiles made by code: paved streets as the starter model learnt them, with exact labels.

Mixed into a fine-tune they hold what the starter knows, for people who have no tiles of paved roads of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from demo.cover import Cover
from demo.scene import Scene, SceneSettings, make_scene
from tiles.statistics import RunningStatistics
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord, open_tile_set
from tiles.windows import tile_windows
from tiles.writer import TileSetWriter

NAME = "made-up-streets"
TITLE = "Made-up streets (from the demo's generator)"
TILE_SIZE = 256
SCENES = 4
FIRST_SEED = 700_000
APART_M = 10_000.0
"""From one made-up town to the next."""
LEAST_ROAD = 0.04
"""Share of paved pixels from which a tile is worth keeping."""
_CLASS = TileClass(value=1, name="Paved road", colour="#4361ee")


def replay_folder(data_folder: Path) -> Path:
    """Where an installation keeps them."""
    return data_folder / "replay" / NAME


def replay_tiles(folder: Path) -> TileSet:
    """The reminder tiles in `folder`, made on the first call (about ten seconds)."""
    return open_tile_set(folder) if folder.exists() else _write(folder)


def _write(folder: Path) -> TileSet:
    statistics = RunningStatistics(3, "uint8")
    tiles: list[TileRecord] = []
    with TileSetWriter(folder) as writer:
        for number in range(SCENES):
            apart = SceneSettings.origin_xy[0] + number * APART_M, SceneSettings.origin_xy[1]
            settings = SceneSettings(seed=FIRST_SEED + number, width=1024, height=1024, resolution_m=0.6, setting="suburb", origin_xy=apart)
            scene = make_scene(settings)
            label = (scene.cover == Cover.PAVED_ROAD).astype(np.uint8)
            for column, row in tile_windows(1024, 1024, TILE_SIZE, TILE_SIZE):
                part = np.s_[row : row + TILE_SIZE, column : column + TILE_SIZE]
                if label[part].mean() >= LEAST_ROAD:
                    statistics.add(scene.rgb[:, *part], np.ones((TILE_SIZE, TILE_SIZE), dtype=bool))
                    tiles.append(_tile(writer, scene, label, column, row, number))
        return writer.finish(
            TileSetRecord(
                settings={"made_by": "demo.replay"},
                classes=(_CLASS,),
                band_names=("red", "green", "blue"),
                dtype="uint8",
                band_statistics=statistics.result(),
                resolution_m=0.6,
                crs=tiles[0].crs,
                tile_size=TILE_SIZE,
                stride=TILE_SIZE,
                seed=FIRST_SEED,
                tiles=tuple(tiles),
            )
        )


def _tile(writer: TileSetWriter, scene: Scene, label: NDArray[np.uint8], column: int, row: int, number: int) -> TileRecord:
    """Write one tile; the last scene is kept for validation."""
    part = np.s_[row : row + TILE_SIZE, column : column + TILE_SIZE]
    transform, crs = scene.transform @ Affine.translation(column, row), f"EPSG:{scene.epsg}"
    written = writer.add(scene.rgb[:, *part], np.ones((TILE_SIZE, TILE_SIZE), dtype=bool), label[part], transform, crs, None)
    paved = int(label[part].sum())
    return TileRecord(
        name=written.name,
        raster=f"scene {FIRST_SEED + number}",
        column=column,
        row=row,
        crs=crs,
        transform=transform[:6],
        place=f"scene-{number}",
        split="validation" if number == SCENES - 1 else "train",
        pixels={0: TILE_SIZE**2 - paved, 1: paved},
        image=written.image,
        label=written.label,
        ignore=written.ignore,
    )
