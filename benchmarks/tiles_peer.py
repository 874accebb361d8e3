"""The export of geoai (`pip install geoai-py`) on a raster and labels of `benchmarks.tiles`, which runs this file with that package's Python; prints JSON."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from geoai.utils.training import export_geotiff_tiles

TILE = 256
KINDS = {"masks": "none", "masks and boxes": "PASCAL_VOC"}
"""Of labels; the second is what the function does by itself."""


def export(raster: str, labels: str, stride: int, out: str, kind: str, most: int | None = None) -> int:
    """Its function, told only what the measurement asks for; the number of tiles. Its progress bar is drawn into nothing."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        made = export_geotiff_tiles(
            raster,
            out,
            labels,
            tile_size=TILE,
            stride=stride,
            class_value_field="class_value",
            max_tiles=most,
            quiet=True,
            skip_empty_tiles=True,
            metadata_format=KINDS[kind],
        )
    return int(made["total_tiles"])


def main(raster: str, labels: str, stride: str, out: str, kind: str) -> None:
    """Measure one export, after a first small one."""
    with tempfile.TemporaryDirectory() as warm:
        export(raster, labels, int(stride), warm, kind, most=3)
    read = re.compile(r"rchar: (\d+)")
    facts = Path("/proc/self/io")
    begun, cpu, before = time.perf_counter(), time.process_time(), int(read.search(facts.read_text())[1])
    tiles = export(raster, labels, int(stride), out, kind)
    found = {
        "tiles": tiles,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - begun,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "times_read": (int(read.search(facts.read_text())[1]) - before) / Path(raster).stat().st_size,
        "version": version("geoai-py"),
    }
    print(json.dumps(found))


main(*sys.argv[1:])
