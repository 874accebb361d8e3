"""Peak memory of predicting over large rasters: `python -m benchmarks.prediction_memory [--sizes 5000 --sizes 20000] [--rows 2048]`.

Each raster is made in a temporary folder and predicted by a child process; its peak resident memory is what the kernel counted
(VmHWM of /proc/<pid>/status). The aim: below 1.5 GB, and the same for every size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import rasterio
import torch
import typer
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from imagery.grid import Grid
from imagery.write import open_tiled_gtiff, to_cog
from models.architecture import Architecture
from models.bundle import save_bundle
from models.card import ModelCard, ModelInput
from models.catalogue import find_model
from models.network import build_network
from workspace.classes import starter_schema

AIM_GB = 1.5
BLOCK_PX = 512
_CHILD = """
import sys, time
from pathlib import Path
from inference.predict import predict_raster
from models.bundle import load_bundle
began = time.monotonic()
predict_raster(load_bundle(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(peak, time.monotonic() - began)
"""


def make_raster(folder: Path, side: int, rows: int | None, sparse: bool) -> Path:
    """A three-band uint8 GeoTIFF of `side` columns and `rows` (or `side`) rows: a COG of noise, or `sparse`, a file with one block of 64 only."""
    height = rows or side
    path, plain = folder / f"{side}.tif", folder / f"{side}.plain.tif"
    grid = Grid(side, height, Affine(0.5, 0, 500_000, 0, -0.5, 3_700_000), CRS.from_epsg(32611))
    noise = np.random.default_rng(0).integers(1, 255, (3, BLOCK_PX, BLOCK_PX), np.uint8)
    places = [(column, row) for row in range(0, height, BLOCK_PX) for column in range(0, side, BLOCK_PX)]
    if sparse:
        places = [(column, row) for column, row in places if (row // BLOCK_PX * 7 + column // BLOCK_PX) % 64 == 0]
        options = {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "compress": "deflate", "sparse_ok": True, "bigtiff": "yes"}
        facts = {"driver": "GTiff", "width": side, "height": height, "count": 3, "dtype": "uint8", "nodata": 0}
        with rasterio.open(path, "w", crs=grid.crs, transform=grid.transform, **facts, **options) as target:
            _fill(target, places, noise)
        return path
    with open_tiled_gtiff(plain, grid, 3, "uint8", 0) as target:
        _fill(target, places, noise)
    to_cog(plain, path, overview_resampling="nearest")
    plain.unlink()
    return path


def _fill(target: DatasetWriter, places: list[tuple[int, int]], noise: NDArray[np.uint8]) -> None:
    for column, row in places:
        rows, columns = min(BLOCK_PX, target.height - row), min(BLOCK_PX, target.width - column)
        target.write(noise[:, :rows, :columns], window=Window(column, row, columns, rows))


def tiny_model(folder: Path) -> Path:
    """A random network, as small as the architecture allows: the pipeline is the real one, only the arithmetic is less."""
    torch.manual_seed(0)
    classes = starter_schema().learnt
    made = ModelCard(
        name="tiny",
        title="Tiny",
        architecture=Architecture(encoder_levels=2, decoder_channels=8, output_stride=4),
        input=ModelInput(band_names=("red", "green", "blue"), mean=(128.0,) * 3, std=(64.0,) * 3, resolution_m=0.5, tile_size=256),
        classes=classes,
    )
    save_bundle(folder, build_network(made.architecture, 3, made.outputs), made)
    return folder


def measure(model: Path, raster: Path, folder: Path) -> dict[str, float | int]:
    """Predict in a child process; what it took."""
    outputs = [str(folder / name) for name in ("classes.tif", "confidence.tif")]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _CHILD, str(model), str(raster), *outputs], capture_output=True, text=True, check=True)
    peak_kb, seconds = done.stdout.split()[-2:]
    with rasterio.open(raster) as file:
        width, height = file.width, file.height
    return {
        "width": width,
        "height": height,
        "peak_gb": round(int(peak_kb) / 1e6, 3),
        "seconds": round(float(seconds), 1),
        "seconds_with_start": round(time.monotonic() - began, 1),
        "seconds_per_megapixel": round(float(seconds) / (width * height / 1e6), 3),
    }


def main(
    sizes: Annotated[list[int], typer.Option(help="Side of a raster, pixels; may be given several times.")] = [5000, 20000],  # noqa: B006
    rows: Annotated[int | None, typer.Option(help="Rows to make instead of a square: the width is what strips and blocks depend on.")] = None,
    sparse: Annotated[bool, typer.Option(help="Imagery in one block of 64 only: quick, windows without imagery are skipped.")] = False,
    model: Annotated[str, typer.Option(help="Name or folder of a model; 'tiny': a small random one.")] = "tiny",
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
) -> None:
    """Measure peak memory and time of prediction over rasters of growing size."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = tiny_model(folder / "tiny") if model == "tiny" else find_model(model)
        for side in sizes:
            raster = make_raster(folder, side, rows, sparse)
            found.append(measure(chosen, raster, folder))
            raster.unlink()
            print(json.dumps(found[-1]))
    peaks = [float(one["peak_gb"]) for one in found]
    verdict = {"model": model, "sparse": sparse, "highest_gb": max(peaks), "below_aim": max(peaks) < AIM_GB, "growth_gb": round(peaks[-1] - peaks[0], 3)}
    print(json.dumps(verdict))
    if out is not None:
        out.write_text(json.dumps({"runs": found, **verdict}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
