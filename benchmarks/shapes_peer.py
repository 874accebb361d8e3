"""The `buildingregulariser` package on outlines of buildings, run by `benchmarks.shapes` with that package's Python; writes shapes, prints JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import geopandas as gpd
from buildingregulariser import regularize_geodataframe


def main(outlines: str, pixel_m: float, out: str) -> None:
    """On one core; told what its documentation advises: tolerances of two to three pixels, right angles alone."""
    table = gpd.read_file(outlines)
    started = time.process_time()
    made = regularize_geodataframe(
        table, parallel_threshold=2 * pixel_m, simplify_tolerance=2 * pixel_m, allow_45_degree=False, allow_circles=False, num_cores=1
    )
    seconds = time.process_time() - started
    made.to_file(out, driver="GPKG")
    print(json.dumps({"seconds": seconds, "version": version("buildingregulariser")}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
