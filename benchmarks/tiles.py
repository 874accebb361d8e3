"""CPU seconds, time, memory and bytes read of exports, beside a plain loop over the tiles: `python -m benchmarks.tiles compare`.

Each case runs several times, in processes of their own (imports and a first small run are not counted): as `labeling.export` does it, and as the loop that comes to mind
first, written out in `plain_loop`: for each tile read its window, look which of all shapes touch it, rasterise these, write both files; once asking
GeoPandas for all shapes at once, and once (4,096 px only) shape by shape. `--peer PYTHON`, the interpreter of an environment with geoai-py, adds
that program's own export (`benchmarks/tiles_peer.py`; 4,096 px only). `--large` adds 16,384 x 16,384 px (5 GB of disk); `--write` puts the table into
docs/tiles.md. `formats` measures each metadata format.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import rasterio
import typer
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from rasterio.windows import Window
from shapely.affinity import rotate
from shapely.geometry import box

from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from tiles.formats import FORMATS
from tiles.geotiff import geotiff
from tiles.windows import tile_windows
from workspace.classes import starter_schema

BLOCK = 512
TILE = 256
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
CRS = "EPSG:32611"
TABLE = Path(__file__).parents[1] / "docs" / "tiles.md"
KINDS = {"uint8 RGB": ("uint8", 3), "uint16, 4 bands": ("uint16", 4)}
SMALL = [(4096, 128, 5000), (4096, 128, 1000), (4096, 128, 10_000)]
LARGE = [(16_384, 256, 1000), (16_384, 256, 10_000)]
"""Side of the raster, step between tiles, polygons."""
PEER_KINDS = ("masks", "masks and boxes")
"""Kinds of labels of geoai's export; see `benchmarks/tiles_peer.py`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def write_raster(path: Path, side: int, dtype: str, bands: int) -> None:
    """Random blocks, 0.5 m pixels, UTM zone 11."""
    rng = np.random.default_rng(0)
    block = rng.integers(0, 250 if dtype == "uint8" else 4000, (bands, BLOCK, BLOCK)).astype(dtype)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": bands, "dtype": dtype, "crs": CRS, "transform": TRANSFORM}
    with rasterio.open(path, "w", **profile, tiled=True, blockxsize=BLOCK, blockysize=BLOCK, BIGTIFF="IF_SAFER") as file:
        for column, row in tile_windows(side, side, BLOCK, BLOCK):
            file.write(block, window=Window(column, row, BLOCK, BLOCK))


def town(side: int, count: int) -> gpd.GeoDataFrame:
    """Houses of 4 to 12 m of two classes, turned anyhow, anywhere."""
    rng = np.random.default_rng(2)
    x, y, size, angle = rng.random(count) * side / 2, rng.random(count) * side / 2, rng.uniform(4, 12, (count, 2)), rng.random(count) * 90
    houses = [
        rotate(box(500_000 + a, 4_000_000 - b, 500_000 + a + w, 4_000_000 - b + h), t)
        for a, b, (w, h), t in zip(x, y, size, angle, strict=True)
    ]
    return gpd.GeoDataFrame({"class_value": rng.integers(1, 3, count)}, geometry=houses, crs=CRS)


def plain_loop(raster: Path, labels: gpd.GeoDataFrame, stride: int, out: Path, *, one_by_one: bool) -> int:
    """Image and label files alone, without side files, split, statistics or checksums; the number of tiles."""
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True)
    count = 0
    with rasterio.open(raster) as file:
        for column, row in tile_windows(file.width, file.height, TILE, stride):
            window = Window(column, row, TILE, TILE)
            pixels = file.read(window=window)
            tile_box = box(*file.window_bounds(window))
            touching = labels[[shape.intersects(tile_box) for shape in labels.geometry] if one_by_one else labels.intersects(tile_box)]
            if touching.empty:
                continue
            place = {"crs": file.crs, "transform": file.window_transform(window)}
            shapes = zip(touching.geometry, touching["class_value"], strict=True)
            label = rasterize(shapes, out_shape=(TILE, TILE), transform=place["transform"], dtype=np.uint8)
            for folder, values in (("images", pixels), ("labels", label[None])):
                size = {"width": TILE, "height": TILE, "count": len(values), "dtype": values.dtype}
                with rasterio.open(out / folder / f"{count:09d}.tif", "w", driver="GTiff", **size, **place) as tile:
                    tile.write(values)
            count += 1
    return count


def make(how: str, raster: Path, labels: gpd.GeoDataFrame, stride: int, out: Path, metadata_format: str) -> int:
    """Make the tiles one way; their number."""
    if how != "export":
        return plain_loop(raster, labels, stride, out, one_by_one=how == "one by one")
    settings = ExportSettings(tile_size=TILE, stride=stride, metadata_format=metadata_format)
    return len(export_tiles([ImageSource(name="town", source=str(raster))], labels, starter_schema(), settings, out).record.tiles)


def bytes_read() -> int:
    """By this process so far, from files or their cache (Linux)."""
    facts = Path("/proc/self/io")
    return int(re.search(r"rchar: (\d+)", facts.read_text())[1]) if facts.exists() else 0


@app.command()
def once(how: str, raster: Path, polygons: int, stride: int, out: Path, metadata_format: str = "Classified_Tiles") -> None:
    """Measure one export in this process; prints JSON."""
    with rasterio.open(raster) as file:
        side = file.width
    labels = town(side, polygons)
    with tempfile.TemporaryDirectory() as warm:
        write_raster(Path(warm) / "raster.tif", 2048, "uint8", 3)
        make(how, Path(warm) / "raster.tif", town(2048, 500), TILE, Path(warm) / "out", metadata_format)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, cpu, read = time.perf_counter(), time.process_time(), bytes_read()
    tiles = make(how, raster, labels, stride, out, metadata_format)
    facts = {
        "tiles": tiles,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - begun,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_mb": before / 1024,
        "times_read": (bytes_read() - read) / raster.stat().st_size,
        "written_mb": sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 1e6,
    }
    typer.echo(json.dumps(facts))


def measured(how: str, raster: Path, polygons: int, stride: int, *more: str, times: int = 1) -> dict[str, float]:
    """`once` in a process of its own; the run that took the least CPU of several."""
    return _least_cpu([sys.executable, "-m", "benchmarks.tiles", "once", how, str(raster), str(polygons), str(stride)], more, times)


def measured_peer(python: Path, kind: str, raster: Path, polygons: int, stride: int, *, times: int) -> dict[str, Any]:
    """The same of geoai, in its own environment; the labels come from a file."""
    with rasterio.open(raster) as file:
        side = file.width
    labels = raster.with_name("labels.gpkg")
    town(side, polygons).to_file(labels)
    script = Path(__file__).with_name("tiles_peer.py")
    return _least_cpu([str(python), "-I", str(script), str(raster), str(labels), str(stride)], [kind], times)


def _least_cpu(command: list[str], more: Sequence[str], times: int) -> dict[str, Any]:
    """What a command prints that makes tiles; it is told a folder to make, then `more`."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as out:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            ran = subprocess.run([*command, f"{out}/set", *more], check=True, capture_output=True, text=True, env=environment)
            found.append(json.loads(ran.stdout))
    return min(found, key=lambda facts: facts["cpu_s"])


def row(name: str, ours: dict[str, float], plain: dict[str, float], others: Sequence[dict[str, float]], width: int) -> str:
    """A line of the table: `width` cells for what `others` took, empty where they were not asked."""
    cells = [name, f"{ours['tiles']:,.0f}"]
    for key, digits in (("cpu_s", 2), ("wall_s", 1), ("peak_mb", 0), ("times_read", 1)):
        cells.append(f"{ours[key]:,.{digits}f} / {plain[key]:,.{digits}f}")
    cells.append(f"{plain['cpu_s'] / ours['cpu_s']:.1f}")
    told = [f"{one['cpu_s']:.1f} s, {one['peak_mb']:,.0f} MB: {one['cpu_s'] / ours['cpu_s']:.1f}" for one in others]
    return f"| {' | '.join([*cells, *told, *[''] * (width - len(told))])} |"


def head(others: Sequence[str]) -> str:
    """The first two lines of the table."""
    cells = ["raster, polygons, step", "tiles", "CPU s", "wall s", "peak MB", "raster read", "CPU ratio", *others]
    return f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|"


@app.command()
def compare(
    large: Annotated[bool, typer.Option(help="With the rasters of 16,384 px.")] = False,
    write: Annotated[bool, typer.Option(help="Put the table into docs/tiles.md.")] = False,
    times: Annotated[int, typer.Option(help="Runs of each; the one that took the least CPU counts.")] = 3,
    peer: Annotated[Path | None, typer.Option(help="Python of an environment with geoai-py, to measure its export, too.")] = None,
) -> None:
    """Measure all cases beside the plain loop."""
    names = ["shape by shape"]
    if peer is not None:
        version = "import importlib.metadata; print(importlib.metadata.version('geoai-py'))"
        found = subprocess.run([str(peer), "-I", "-c", version], check=True, capture_output=True, text=True).stdout.strip()
        names += [f"geoai {found}, {kind}" for kind in PEER_KINDS]
    lines = [head(names)]
    typer.echo(lines[0])
    with tempfile.TemporaryDirectory() as folder:
        for kind, (dtype, bands) in KINDS.items():
            cases = SMALL + (LARGE if large else [])
            for side in dict.fromkeys(case[0] for case in cases):
                raster = Path(folder) / "raster.tif"
                write_raster(raster, side, dtype, bands)
                for _, stride, polygons in (case for case in cases if case[0] == side):
                    ours, plain = (measured(how, raster, polygons, stride, times=times) for how in ("export", "plain"))
                    others = []
                    if side == SMALL[0][0]:
                        others.append(measured("one by one", raster, polygons, stride, times=times))
                        if peer is not None:
                            others += [measured_peer(peer, labels, raster, polygons, stride, times=times) for labels in PEER_KINDS]
                    lines.append(row(f"{side:,} px {kind}, {polygons:,}, {stride} px", ours, plain, others, len(names)))
                    typer.echo(lines[-1])
    if write:
        cores = len(os.sched_getaffinity(0))
        machine = (
            f"{cores} of {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, GDAL {rasterio.__gdal_version__}"
        )
        text = "\n".join([f"Measured on {machine}, the best of {times} runs; each pair of numbers is: export / plain loop.", "", *lines])
        between = re.compile(r"(?<=<!-- benchmarks.tiles -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
        TABLE.write_text(between.sub(lambda _: text, TABLE.read_text(encoding="utf-8")), encoding="utf-8")


COMPRESSIONS: dict[str, dict[str, str | int]] = {
    "none": {},
    "LZW": {"compress": "lzw"},
    "LZW, predictor 2": {"compress": "lzw", "predictor": 2},
    "DEFLATE 1": {"compress": "deflate", "zlevel": 1},
    "DEFLATE 1, predictor 2": {"compress": "deflate", "zlevel": 1, "predictor": 2},
    "ZSTD 1, predictor 2": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
}


@app.command()
def compression(rasters: Annotated[list[Path], typer.Argument(help="Imagery, of which up to 100 tiles are written each way.")]) -> None:
    """CPU and size of a tile's image, compressed by GDAL in several ways and as the export writes it; prints a table."""
    typer.echo("| compression | CPU ms for a tile | size |\n|---|---|---|")
    tiles = []
    for path in rasters:
        with rasterio.open(path) as file:
            tiles += [file.read(window=Window(c, r, TILE, TILE)) for c, r in tile_windows(file.width, file.height, TILE, TILE)]
    tiles = tiles[:: -(-len(tiles) // 100)]
    plain = sum(tile.nbytes for tile in tiles)

    def tell(name: str, write: Callable[[NDArray[np.generic]], int]) -> None:
        cpu = time.process_time()
        size = sum(write(tile) for tile in tiles)
        typer.echo(f"| {name} | {(time.process_time() - cpu) / len(tiles) * 1000:.2f} | {size / plain:.0%} |")

    for name, options in COMPRESSIONS.items():
        tell(f"GDAL, {name}", functools.partial(_by_gdal, options))
    for name, compress in (("none (images)", False), ("DEFLATE 1 (labels)", True)):
        tell(f"the export, {name}", lambda tile, compress=compress: len(geotiff(tile, TRANSFORM, CRS, None, compress=compress)))


def _by_gdal(options: dict[str, str | int], tile: NDArray[np.generic]) -> int:
    size = {"width": tile.shape[2], "height": tile.shape[1], "count": len(tile), "dtype": tile.dtype}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=CRS, transform=TRANSFORM, interleave="pixel", **size, **options) as file:
            file.write(tile)
        return len(memory.getbuffer())


@app.command()
def formats(polygons: int = 5000, side: int = 4096, stride: int = 128) -> None:
    """Measure each metadata format on 8-bit RGB; prints one JSON object each."""
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "raster.tif"
        write_raster(raster, side, "uint8", 3)
        for name in FORMATS:
            facts = measured("export", raster, polygons, stride, "--metadata-format", name)
            typer.echo(json.dumps({"format": name} | {key: round(value, 2) for key, value in facts.items()}))


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.tiles")
