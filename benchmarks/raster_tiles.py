"""Tiles for the map from a large raster: `python -m benchmarks.raster_tiles`. Prints one JSON object a line.

A COG of 20,000 x 20,000 px (three bands, 8 bit, noise: nothing compresses) is asked for tiles at random places, from the whole picture on the screen to
pixels enlarged four times, through the app's own route: once cold (the tile not in memory, the file in the system's cache), once cached. Beside it, in
the same run, the plain way: rio-tiler's `Reader` opened for each tile, the same stretch and picture format.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import typer
from rio_tiler.io import Reader
from starlette.applications import Starlette
from starlette.testclient import TestClient

from benchmarks.prediction_memory import make_raster
from imagery.library import Raster, add_reference
from server import raster_tiles
from server.tokens import issue_token
from workspace.project import create_project
from workspace.settings import Settings

Address = tuple[int, int, int]


def addresses(raster: Raster, count: int) -> list[Address]:
    """(z, x, y) of tiles that show the raster, at random places of random zooms."""
    random = np.random.default_rng(0)
    left, bottom, right, top = raster.info.grid.lonlat_bounds
    native = round(math.log2(2 * math.pi * raster_tiles.EARTH_RADIUS_M / raster_tiles.TILE_PX / raster.info.resolution_m))
    found = []
    while len(found) < count:
        z = int(random.integers(native - 6, native + 3))
        lon, lat = random.uniform(left, right), math.radians(random.uniform(bottom, top))
        found.append((z, int((lon + 180) / 360 * 2**z), int((1 - math.asinh(math.tan(lat)) / math.pi) / 2 * 2**z)))
    return found


def times(ask: Callable[[Address], object], tiles: Sequence[Address]) -> dict[str, float]:
    """Median and 95 % of the milliseconds each took."""
    spent = []
    for tile in tiles:
        began = time.perf_counter()
        ask(tile)
        spent.append((time.perf_counter() - began) * 1000)
    return {"p50_ms": round(statistics.median(spent), 1), "p95_ms": round(float(np.quantile(spent, 0.95)), 1)}


def main(side: int = 20_000, count: int = 300) -> None:
    """Measure `count` tiles of a raster of `side` pixels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = make_raster(folder, side, None, sparse=False)
        settings = Settings(folder / "data", (folder,), False, 10**12, "cpu")
        project = create_project(settings.projects_folder, "Tiles")
        raster = add_reference(project, file, settings)
        token = issue_token(settings.data_folder, project.id)
        tiles = addresses(raster, count)

        def ours(tile: Address) -> None:
            answer = client.get(f"/tiles/{token}/raster.{raster.id}/{'/'.join(map(str, tile))}")
            assert answer.status_code == 200, answer.status_code

        def plain(tile: Address) -> None:
            z, x, y = tile
            layer = raster_tiles.find_layer(project, f"raster.{raster.id}")
            assert layer is not None
            with Reader(str(file)) as reader:
                image = reader.tile(x, y, z, indexes=layer.bands)
            valid = raster_tiles.valid_pixels(image)
            raster_tiles.encode(raster_tiles.colour(image.array.data, valid, layer, None), lossless=False)

        with TestClient(Starlette(routes=raster_tiles.routes(settings))) as client:  # one server: its threads keep rasters open
            print(json.dumps({"way": "rio-tiler Reader per tile", **times(plain, tiles)}))
            print(json.dumps({"way": "route, cold", **times(ours, tiles)}))
            print(json.dumps({"way": "route, cached", **times(ours, tiles)}))


if __name__ == "__main__":
    typer.run(main)
