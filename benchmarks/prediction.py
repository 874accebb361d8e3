"""Time and memory of predicting a scene, written to docs/prediction.md: `python -m benchmarks.prediction`.

Four measures of each network, each in a process of its own, one after the other, the fastest of some rounds:

* floor: the network alone, over the tiles that cover the scene once, from memory (bfloat16 and channels-last where the machine has them);
* Terratune: from COG to finished COGs of classes and confidence, with all that lies between: trying out which numbers to calculate with, too;
* plain: how a script does it: windows that overlap by half, one after the other in float32, sums and weights of the whole scene in memory, a GeoTIFF turned into a COG;
* plain in bfloat16: the same with the arithmetic of the floor.

Loading Python and the model is not counted, and is the same for all. What is compared is the processor's time over all threads, which depends little on what
else the machine is doing. The scene is drawn by code (`demo`) and repeated; a sparse scene holds imagery in one block of 64. The U-Net has fresh weights: what it costs is that of any.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import rasterio
import rasterio.shutil
import torch
import typer
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from benchmarks.prediction_memory import AIM_GB, make_raster
from demo.scene import SceneSettings, make_scene
from imagery.grid import Grid
from imagery.write import open_tiled_gtiff, to_cog
from inference.classify import fast_bfloat16
from inference.predict import make_map
from inference.probe import choose
from inference.request import WINDOW_PX, MapRequest, overlap_for
from models.architecture import Architecture
from models.bundle import ModelBundle, load_bundle, save_bundle
from models.card import ModelCard, ModelInput
from models.catalogue import find_model
from models.network import build_network
from tiles.windows import even_windows, tile_windows
from workspace.classes import starter_schema

TILE_PX = 512
PATCH_PX = 1024
NETWORKS = {"starter": "bundled starter (resnet18d, light decoder)", "unet": "U-Net, resnet34"}
MEASURES = {"floor": "floor", "ours": "Terratune", "plain": "plain", "plain16": "plain in bfloat16"}
FACTOR_AIM, SPEED_AIM = 1.35, 2.5
Measured = dict[str, Any]
"""Seconds, CPU seconds, GB at most, and what was said."""


def unet(folder: Path) -> Path:
    """A U-Net with a resnet34, fresh weights: what it says is noise, what it costs is real."""
    torch.manual_seed(0)
    made = ModelCard(
        name="unet",
        title="U-Net",
        architecture=Architecture(encoder="resnet34", decoder="unet", encoder_levels=5),
        input=ModelInput(band_names=("red", "green", "blue"), mean=(122.0, 116.0, 101.0), std=(52.0, 47.0, 45.0), resolution_m=0.5, tile_size=TILE_PX),
        classes=starter_schema().learnt[:1],
    )
    save_bundle(folder, build_network(made.architecture, 3, made.outputs), made)
    return folder


def scene(folder: Path, side: int) -> Path:
    """A COG of `side` x `side` pixels in three bands: a piece of the demo's country, repeated in eight positions."""
    patch = make_scene(SceneSettings(seed=3, width=PATCH_PX, height=PATCH_PX, setting="suburb", randomise_look=False)).rgb
    turned = [np.rot90(each, k, (1, 2)) for each in (patch, patch[:, :, ::-1]) for k in range(4)]
    path, plain = folder / "scene.tif", folder / "scene.plain.tif"
    with open_tiled_gtiff(plain, Grid(side, side, Affine(0.5, 0, 500_000, 0, -0.5, 3_700_000), CRS.from_epsg(32611)), 3, "uint8", None) as target:
        for number, (column, row) in enumerate(tile_windows(side, side, PATCH_PX, PATCH_PX)):
            target.write(turned[number * 3 % 8], window=Window(column, row, PATCH_PX, PATCH_PX))
    to_cog(plain, path, overview_resampling="average")
    plain.unlink()
    return path


def floor(bundle: ModelBundle, raster: Path, folder: Path) -> None:
    """The network over all tiles, from memory."""
    network = bundle.network.to(memory_format=torch.channels_last)
    mean, std = (np.asarray(each, np.float32)[:, None, None] for each in (bundle.card.input.mean, bundle.card.input.std))
    with rasterio.open(raster) as file:
        windows = tile_windows(file.width, file.height, TILE_PX, TILE_PX)
        tiles = [(file.read(window=Window(c, r, TILE_PX, TILE_PX)).astype(np.float32) - mean) / std for c, r in windows]
    ready = [torch.from_numpy(tile)[None].contiguous(memory_format=torch.channels_last) for tile in tiles]

    def forward(some: list[torch.Tensor]) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16(torch.device("cpu"))):
            for tile in some:
                network(tile)

    forward(ready[:2])
    _timed(lambda: forward(ready))


def ours(bundle: ModelBundle, raster: Path, folder: Path) -> None:
    with rasterio.open(raster) as file:
        pixels = file.width * file.height

    def predict() -> str:
        request = MapRequest(str(raster), bundle.card.classes)
        way = choose("auto", request, bundle.card, lambda: bundle, folder / "classes.tif", pixels)
        make_map(bundle, replace(request, arithmetic=way.arithmetic), folder / "classes.tif", folder / "confidence.tif")
        return way.reason

    _timed(predict)


def plain(bundle: ModelBundle, raster: Path, folder: Path) -> None:
    _timed(lambda: _plain(bundle, raster, folder, bfloat16=False))


def plain16(bundle: ModelBundle, raster: Path, folder: Path) -> None:
    _timed(lambda: _plain(bundle, raster, folder, bfloat16=True))


def _plain(bundle: ModelBundle, raster: Path, folder: Path, *, bfloat16: bool) -> None:
    network = bundle.network.to(memory_format=torch.channels_last) if bfloat16 else bundle.network
    mean, std = (np.asarray(each, np.float32)[:, None, None] for each in (bundle.card.input.mean, bundle.card.input.std))
    ramp = np.sin(np.pi * (np.arange(TILE_PX) + 0.5) / TILE_PX) ** 2
    weight = np.maximum(np.outer(ramp, ramp), 0.01).astype(np.float32)
    with rasterio.open(raster) as file, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        sums, weights = np.zeros((bundle.card.outputs, file.height, file.width), np.float32), np.zeros((file.height, file.width), np.float32)
        for column, row in tile_windows(file.width, file.height, TILE_PX, TILE_PX // 2):
            tile = torch.from_numpy((file.read(window=Window(column, row, TILE_PX, TILE_PX)).astype(np.float32) - mean) / std)[None]
            found = torch.softmax(network(tile.contiguous(memory_format=torch.channels_last) if bfloat16 else tile).float(), 1)[0].numpy()
            sums[:, row : row + TILE_PX, column : column + TILE_PX] += found * weight
            weights[row : row + TILE_PX, column : column + TILE_PX] += weight
        sums /= weights
        profile = file.profile
    layers: dict[str, NDArray[np.uint8]] = {"classes": sums.argmax(0).astype(np.uint8), "confidence": np.rint(sums.max(0) * 100).astype(np.uint8)}
    for name, layer in layers.items():
        first = folder / f"{name}.plain.tif"
        with rasterio.open(first, "w", **(profile | {"driver": "GTiff", "count": 1, "interleave": "band", "compress": "deflate"})) as file:
            file.write(layer, 1)
        rasterio.shutil.copy(first, folder / f"{name}.tif", driver="COG", COMPRESS="DEFLATE", OVERVIEW_RESAMPLING="NEAREST")
        first.unlink()


def _timed(work: Callable[[], str | None]) -> None:
    began, worked = time.perf_counter(), time.process_time()
    said = work()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gb": peak / 1e6, "said": said or ""}))


def child(measure: str, model: str, raster: str, folder: str, threads: str) -> None:
    """One measure, in a process of its own."""
    torch.set_num_threads(int(threads))
    {"floor": floor, "ours": ours, "plain": plain, "plain16": plain16}[measure](load_bundle(Path(model)), Path(raster), Path(folder))


def measured(measure: str, model: Path, raster: Path, folder: Path, threads: int) -> Measured:
    call = "import sys; from benchmarks.prediction import child; child(*sys.argv[1:])"
    arguments = [measure, str(model), str(raster), str(folder), str(threads)]
    with tempfile.TemporaryDirectory() as nothing_known:  # so that what is tried out is tried out, and counted
        environment = os.environ | {"TERRATUNE_DATA": nothing_known}
        done = subprocess.run([sys.executable, "-c", call, *arguments], capture_output=True, text=True, check=True, env=environment)
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    print(measure, model.name, raster.name, found, flush=True)
    return found


def best(rounds: list[Measured]) -> Measured:
    """The shortest times and the largest peak."""
    shortest = {name: min(r[name] for r in rounds) for name in ("seconds", "cpu_seconds")}
    return rounds[-1] | shortest | {"peak_gb": max(r["peak_gb"] for r in rounds)}


def overlap_factor(model: Path, side: int) -> float:
    """Pixels that go through the network for each pixel of the scene."""
    stride = load_bundle(model).network.stride
    windows = even_windows(side, WINDOW_PX, overlap_for(stride, WINDOW_PX), stride)
    return (len(windows.starts) * windows.size / side) ** 2


NUMBERS = """## Which numbers

`--precision auto` tries out on the machine what is quickest (`inference/probe.py`). Numbers that the network calculates with are changed only where at most 1 in 2,000 pixels tried gets another class; on a whole map it may be 1 in 1,000.

8-bit whole numbers are not among the choices. Tried once by hand, with ONNX Runtime, on 1,024 x 1,024 px of the demo's country with the bundled starter (one thread): static, calibrated on half of the same windows, they took a third of
the time of 32-bit numbers (0.33 against 0.97 s) and changed the class of 0.13 % of the pixels, more than is allowed; with ranges found while predicting (dynamic) they were slower than 32-bit numbers. ONNX Runtime in 32-bit numbers took
0.97 s, PyTorch 1.17 s, and 0.72 s in bfloat16. To export a model to ONNX took 14 s (starter) and 24 s (U-Net), so it is tried only where a map takes long.
"""
Row = tuple[str, dict[str, Measured], float]
"""Network, what each measure took, overlap factor."""
Large = tuple[str, str, Measured, float]
"""Network, scene, what Terratune took, pixels that hold imagery in millions."""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]


def ratios(row: Row) -> tuple[float, float, float]:
    """Terratune over floor x overlap factor; plain over Terratune; plain in bfloat16 over Terratune."""
    _, taken, factor = row
    spent = {measure: taken[measure]["cpu_seconds"] for measure in MEASURES}
    return spent["ours"] / (spent["floor"] * factor), spent["plain"] / spent["ours"], spent["plain16"] / spent["ours"]


def document(side: int, threads: int, rounds: int, rows: list[Row], large: list[Large]) -> str:
    """docs/prediction.md."""
    explained = (__doc__ or "").split("\n\n", 1)[1].strip().replace("* floor", "* **floor**")
    lines = ["# How fast a scene is predicted", "", "Made by `python -m benchmarks.prediction`.", "", explained, ""]
    lines += [f"{side:,} x {side:,} px, threads: {threads}, rounds: {rounds}. CPU seconds, and GB at most in memory:", ""]
    head = ["network", *MEASURES.values(), "overlap factor", "Terratune / (floor x factor)", "plain / Terratune", "plain in bfloat16 / Terratune"]
    cells = []
    for row in rows:
        name, taken, factor = row
        times = [f"{taken[m]['cpu_seconds']:.1f} s, {taken[m]['peak_gb']:.2f} GB" for m in MEASURES]
        cells.append([name, *times, f"{factor:.2f}", *(f"{ratio:.2f}" for ratio in ratios(row))])
    lines += table(head, cells)
    lines += [f"Aims: at most {FACTOR_AIM}, at least {SPEED_AIM}, below {AIM_GB} GB.", ""]
    if large:
        lines += ["Larger scenes, Terratune alone:", ""]
        lines += table(
            ["network", "scene", "CPU s", "CPU s per megapixel of imagery", "GB at most"],
            [[n, what, f"{took['cpu_seconds']:.0f}", f"{took['cpu_seconds'] / pixels:.2f}", f"{took['peak_gb']:.2f}"] for n, what, took, pixels in large],
        )
    lines += [NUMBERS, "What was found out for the scene above:", "", *(f"* {name}: {taken['ours']['said']}" for name, taken, _ in rows)]
    return "\n".join(lines).rstrip() + "\n"


def main(
    side: Annotated[int, typer.Option(help="Side of the scene that all measures are taken on, pixels.")] = 4096,
    network: Annotated[list[str], typer.Option(help="starter or unet; may be given several times.")] = ["starter", "unet"],  # noqa: B006
    further: Annotated[list[int], typer.Option(help="Sides of further scenes, for Terratune alone.")] = [],  # noqa: B006
    sparse: Annotated[list[int], typer.Option(help="Sides of sparse scenes, for Terratune alone.")] = [],  # noqa: B006
    threads: Annotated[int, typer.Option(help="Threads of each process.")] = 2,
    rounds: Annotated[int, typer.Option(help="The fastest of so many counts.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write, like docs/prediction.md.")] = None,
) -> None:
    """Measure, print, and perhaps write the tables."""
    rows: list[Row] = []
    large: list[Large] = []

    def write() -> None:
        if out is not None:
            out.write_text(document(side, threads, rounds, rows, large), encoding="utf-8")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {"starter": find_model("paved-roads-starter"), "unet": unet(folder / "unet")}
        raster = scene(folder, side)
        for one in network:
            found: dict[str, list[Measured]] = {m: [] for m in MEASURES}
            for _ in range(rounds):
                for m in MEASURES:
                    found[m].append(measured(m, models[one], raster, folder, threads))
            rows.append((NETWORKS[one], {m: best(found[m]) for m in MEASURES}, overlap_factor(models[one], side)))
            print(NETWORKS[one], "ratios", [round(ratio, 2) for ratio in ratios(rows[-1])], flush=True)
            write()
        for size, made, what, share in [
            *((size, scene, "", 1) for size in further),
            *((size, sparse_scene, ", imagery in one block of 64", 64) for size in sparse),
        ]:
            raster = made(folder, size)
            for one in network:
                took = measured("ours", models[one], raster, folder, threads)
                large.append((NETWORKS[one], f"{size:,} x {size:,}{what}", took, size**2 / 1e6 / share))
                write()
            raster.unlink()


def sparse_scene(folder: Path, side: int) -> Path:
    """A GeoTIFF of `side` x `side` pixels in three bands that holds imagery in one block of 64; the others are not even in the file."""
    return make_raster(folder, side, None, True)


if __name__ == "__main__":
    typer.run(main)
