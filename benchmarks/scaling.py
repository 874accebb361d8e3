"""How much sooner more workers make a map, written between the markers of docs/scaling.md: `python -m benchmarks.scaling`.

* Real work: the bundled starter over a scene drawn by code, by worker processes of one thread each; the model is on the workers before the clock starts. Wall
  time is that of the whole call, from the raster to finished COGs, and CPU seconds are those of the workers: on a machine whose cores are all busy, more workers
  cannot be sooner, but what dividing the work costs shows.
* Sleeping: the same, with a network that answers after so many seconds without calculating, so that a machine with few cores can show 16 workers. They are all in
  one process and talk over TCP; windows are small, as reading and blending do take a core.
* Planned: how evenly the bands of larger rasters can be shared out, worked out from the plan alone: what one worker without cuts would need, over what the last
  of so many needs, times their number.
"""

from __future__ import annotations

import heapq
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import typer
from affine import Affine
from distributed import LocalCluster
from rasterio.crs import CRS

from benchmarks.prediction import scene, table
from imagery.grid import Grid
from imagery.write import open_tiled_gtiff
from inference.classify import Classifier
from inference.cluster import worker
from inference.cluster.bands import cut
from inference.cluster.client import Cluster, remote_cluster
from inference.mosaic import Rule
from inference.pieces import Pieces
from inference.predict import predict_raster
from inference.request import WINDOW_PX, overlap_for
from inference.scan import Band, Scan, strips_of, window_rows
from models.bundle import load_bundle
from models.catalogue import find_model
from tiles.windows import even_windows

DOCUMENT = Path("docs/scaling.md")
BEGIN, END = "<!-- measured: benchmarks.scaling -->", "<!-- end of what was measured -->"
SLEEPERS = (16, 8, 4, 2, 1)
SMALL_WINDOW, SMALL_OVERLAP = 128, 32
AIM = 0.9


def sleep_instead(seconds: float) -> None:
    """On a worker: networks answer after a while, and calculate nothing."""

    def answer(self: Classifier, values: list[Any], valid: list[Any]) -> Any:
        time.sleep(seconds * len(values))
        outputs = self.odds.shape[1]
        return np.full((len(values), outputs, *valid[0].shape), 1 / outputs, np.float32)

    Classifier.probabilities = answer  # type: ignore[method-assign, assignment]


@contextmanager
def workers_of(count: int, folder: Path, *, processes: bool = True) -> Iterator[tuple[LocalCluster, Cluster]]:
    """Workers of one thread, reached as any cluster is."""
    environment = {"env": {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(Path.cwd())}} if processes else {}
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=processes,
            protocol="tcp",
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
            **environment,
        ) as there,
        remote_cluster(there.scheduler_address, print) as cluster,
    ):
        yield there, cluster


def models_there() -> int:
    """On a worker: how many models it has loaded."""
    return len(worker._models)


def warm(cluster: Cluster, work: Callable[[], None]) -> None:
    """Work until every worker has the model."""
    while not all(cluster.client.run(models_there).values()):
        work()


def timed(cluster: Cluster, work: Callable[[], None]) -> dict[str, float]:
    """Wall seconds, CPU seconds of the workers, bytes that they sent back."""
    taken: list[int] = []
    take = Pieces.take

    def counted(self: Pieces, files: dict[str, bytes]) -> None:
        taken.append(sum(map(len, files.values())))
        take(self, files)

    Pieces.take = counted  # type: ignore[method-assign, assignment]
    before = sum(cluster.client.run(time.process_time).values())
    began = time.perf_counter()
    try:
        work()
    finally:
        Pieces.take = take  # type: ignore[method-assign]
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "cpu_seconds": sum(cluster.client.run(time.process_time).values()) - before, "bytes": sum(taken)}


def real(folder: Path, side: int, rounds: int) -> dict[int, dict[str, float]]:
    """The fastest of some rounds, for one and two workers."""
    bundle = load_bundle(find_model("paved-roads-starter"))
    (folder / "small").mkdir()
    small, raster = scene(folder / "small", 1024), scene(folder, side)
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(rounds):
        for count in found:
            with workers_of(count, folder) as (_, cluster):
                warm(cluster, lambda: predict_raster(bundle, str(small), folder / "warm.tif", window_px=128, cluster=cluster))
                found[count].append(
                    timed(cluster, lambda: predict_raster(bundle, str(raster), folder / "out.tif", folder / "sure.tif", cluster=cluster))
                )
                print(count, found[count][-1], flush=True)
    return {count: {name: min(r[name] for r in each) for name in each[0]} for count, each in found.items()}


def sleeping(folder: Path, rows: int, seconds: float) -> dict[int, dict[str, float]]:
    """One raster of so many windows, for 16 workers, then ever fewer."""
    bundle = load_bundle(find_model("paved-roads-starter"))
    raster, short = grey(folder / "rows.tif", rows), grey(folder / "short.tif", 2 * SLEEPERS[0])
    found = {}

    def make(source: Path) -> None:
        predict_raster(bundle, str(source), folder / "slept.tif", window_px=SMALL_WINDOW, overlap_px=SMALL_OVERLAP, cluster=cluster)

    with workers_of(SLEEPERS[0], folder, processes=False) as (there, cluster):
        for count in SLEEPERS:
            there.scale(count)
            while len(cluster.client.nthreads()) != count:
                time.sleep(0.1)
            cluster.client.run(sleep_instead, seconds)
            cluster.at_once = count
            warm(cluster, lambda: make(short))
            found[count] = timed(cluster, lambda: make(raster))
            print(count, found[count], flush=True)
    return found


def grey(path: Path, rows: int) -> Path:
    """A raster of so many small windows, one below the other."""
    step = SMALL_WINDOW - SMALL_OVERLAP
    width, height = SMALL_WINDOW, SMALL_WINDOW + step * (rows - 1)
    with open_tiled_gtiff(
        path, Grid(width, height, Affine(0.5, 0, 500_000, 0, -0.5, 3_700_000), CRS.from_epsg(32611)), 3, "uint8", None
    ) as file:
        file.write(np.full((3, height, width), 100, np.uint8))
    return path


def planned(side: int, workers: int) -> float:
    """What one worker without cuts would need, over what the last of so many needs, times their number; counted in windows."""
    columns = even_windows(side, WINDOW_PX, overlap_for(32, WINDOW_PX), 32)
    grid = Grid(side, side, Affine.identity(), None)
    rule = Rule(np.arange(3, dtype=np.uint8), np.zeros(3, np.float32))
    nothing: Any = None
    scan = Scan(nothing, grid, grid, None, None, (1,), (1,), nothing, rule, columns, columns, ("classes",))
    whole = [Band(strip, 0, side) for strip in strips_of(scan)]
    windows = [len(band.strip.lattice.columns) * len(window_rows(scan, band)) for band in whole]
    ready = [0] * workers
    for band in cut(scan, whole, workers):
        heapq.heappush(ready, heapq.heappop(ready) + len(band.strip.lattice.columns) * len(window_rows(scan, band)))
    return sum(windows) / (workers * max(ready))


def report(
    side: int, rounds: int, rows: int, seconds: float, worked: dict[int, dict[str, float]], slept: dict[int, dict[str, float]]
) -> str:
    """What stands between the markers."""
    load = os.getloadavg()[1]
    pixels = side**2 / 1e6
    lines = [
        f"Made by `python -m benchmarks.scaling` on {os.cpu_count()} cores ({platform.machine()}); mean load of the last five minutes: {load:.0f}.",
        "",
    ]
    lines += [f"Real work: the bundled starter over {side:,} x {side:,} px, the best of {rounds} rounds:", ""]
    one = worked[1]
    lines += table(
        ["workers", "wall s", "efficiency", "CPU s of the workers", "sent back, kB per megapixel"],
        [
            [
                str(n),
                f"{w['seconds']:.1f}",
                f"{one['seconds'] / (n * w['seconds']):.2f}",
                f"{w['cpu_seconds']:.1f}",
                f"{w['bytes'] / 1e3 / pixels:.1f}",
            ]
            for n, w in sorted(worked.items())
        ],
    )
    lines += [f"Sleeping: {rows:,} windows, one below the other, {seconds:g} s each; efficiency against one worker (aim: {AIM}):", ""]
    least = slept[1]["seconds"]
    lines += table(
        ["workers", "wall s", "at best (no row twice, nothing but sleep)", "efficiency"],
        [
            [str(n), f"{s['seconds']:.1f}", f"{rows * seconds / n:.1f}", f"{least / (n * s['seconds']):.2f}"]
            for n, s in sorted(slept.items())
        ],
    )
    sides, counts = (4096, 10_000, 20_000, 60_000), (2, 4, 8, 16, 32, 64)
    lines += ["Planned, for one square raster and windows of the usual size (rows that two bands share counted twice):", ""]
    lines += table(
        ["raster, px", *(f"{n} workers" for n in counts)], [[f"{side:,}", *(f"{planned(side, n):.2f}" for n in counts)] for side in sides]
    )
    return "\n".join(lines).rstrip() + "\n"


def main(
    side: Annotated[int, typer.Option(help="Side of the scene of the real work, pixels.")] = 4096,
    rounds: Annotated[int, typer.Option(help="The fastest of so many counts, for the real work.")] = 2,
    rows: Annotated[int, typer.Option(help="Windows of the raster that is slept over, one below the other.")] = 384,
    seconds: Annotated[float, typer.Option(help="Sleep for each window.")] = 1.0,
    write: Annotated[bool, typer.Option(help=f"Put the tables into {DOCUMENT}.")] = True,
) -> None:
    """Measure, print, and write the tables."""
    with tempfile.TemporaryDirectory() as name:
        slept = sleeping(Path(name), rows, seconds)
        worked = real(Path(name), side, rounds)
    text = report(side, rounds, rows, seconds, worked, slept)
    print(text)
    if write:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
