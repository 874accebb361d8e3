"""Seconds and memory of exports: `python -m benchmarks.export [--side 20000]`. Prints one JSON object a case.

Cases: the demo scene with its example labels; a large 4-band 16-bit raster made in blocks, with a road net of 500 lines; a town of
5,000 houses on 4096 x 4096 pixels in several metadata formats.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import numpy as np
import rasterio
import typer
from affine import Affine
from shapely.affinity import rotate
from shapely.geometry import LineString, box

from demo.project import create_demo_project, example_labels
from imagery.library import list_rasters, raster_source
from labeling.export import export_tiles
from labeling.export_settings import ExportSettings, ImageSource
from workspace.classes import starter_schema

BLOCK = 512
TOWN_SIDE = 4096


def large_raster(path: Path, side: int) -> None:
    """Random 16-bit blocks, 0.5 m pixels, UTM zone 11."""
    rng = np.random.default_rng(0)
    block = rng.integers(200, 4000, (4, BLOCK, BLOCK)).astype(np.uint16)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 4, "dtype": "uint16", "crs": "EPSG:32611", "tiled": True}
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    with rasterio.open(path, "w", **profile, blockxsize=BLOCK, blockysize=BLOCK, transform=transform, BIGTIFF="IF_SAFER") as file:
        for row in range(0, side, BLOCK):
            for column in range(0, side, BLOCK):
                size = min(BLOCK, side - column), min(BLOCK, side - row)
                file.write(block[:, : size[1], : size[0]], window=rasterio.windows.Window(column, row, *size))


def road_net(side: int, count: int = 500) -> gpd.GeoDataFrame:
    """Straight tracks of 200 m, anywhere."""
    rng = np.random.default_rng(1)
    x, y, angle = rng.random(count) * side * 0.5, rng.random(count) * side * 0.5, rng.random(count) * np.pi
    lines = [
        LineString([(500_000 + a, 4_000_000 - b), (500_000 + a + 200 * np.cos(t), 4_000_000 - b + 200 * np.sin(t))])
        for a, b, t in zip(x, y, angle, strict=True)
    ]
    return gpd.GeoDataFrame({"class_value": rng.integers(1, 3, count)}, geometry=lines, crs="EPSG:32611")


def town(side: int, count: int = 5000) -> gpd.GeoDataFrame:
    """Houses of 4 to 12 m, turned anyhow, anywhere."""
    rng = np.random.default_rng(2)
    x, y, size, angle = (
        rng.random(count) * side * 0.5,
        rng.random(count) * side * 0.5,
        rng.uniform(4, 12, (count, 2)),
        rng.random(count) * 90,
    )
    houses = [
        rotate(box(500_000 + a, 4_000_000 - b, 500_000 + a + w, 4_000_000 - b + h), t)
        for a, b, (w, h), t in zip(x, y, size, angle, strict=True)
    ]
    return gpd.GeoDataFrame({"class_value": rng.integers(1, 3, count)}, geometry=houses, crs="EPSG:32611")


def measure(case: str, image: ImageSource, labels: gpd.GeoDataFrame, settings: ExportSettings, out: Path) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    made = export_tiles([image], labels, starter_schema(), settings, out)
    seconds = time.perf_counter() - begun
    splits = {s: len(made.record.in_split(s)) for s in ("train", "validation", "gap")}
    tiles = len(made.record.tiles)
    facts = {
        "case": case,
        "tiles": tiles,
        **splits,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "tiles_per_second": round(tiles / seconds, 1),
        "peak_mb_of_process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(facts), flush=True)


def main(side: Annotated[int, typer.Option(help="Side of the large raster in pixels; 20000 needs 3.2 GB of disk.")] = 8000) -> None:
    """Measure exports."""
    with tempfile.TemporaryDirectory() as folder:
        project = create_demo_project(Path(folder))
        raster = list_rasters(project)[0]
        labels = example_labels(project).rename(columns={"classvalue": "class_value"})
        image = ImageSource(name=raster.name, source=raster_source(project, raster))
        measure("demo scene", image, labels, ExportSettings(), project.tiles_folder / "demo")
        measure("demo scene, no overlap", image, labels, ExportSettings(stride=256), project.tiles_folder / "demo-256")
        large = Path(folder) / "large.tif"
        large_raster(large, side)
        measure(
            f"{side} x {side} uint16",
            ImageSource(name="large", source=str(large)),
            road_net(side),
            ExportSettings(stride=256),
            Path(folder) / "large",
        )
        scene = Path(folder) / "town.tif"
        large_raster(scene, TOWN_SIDE)
        for name in ("Classified_Tiles", "PASCAL_VOC_rectangles", "RCNN_Masks", "COCO_rectangles", "Labeled_Tiles"):
            settings = ExportSettings(metadata_format=name)
            measure(f"5,000 houses, {name}", ImageSource(name="town", source=str(scene)), town(TOWN_SIDE), settings, Path(folder) / name)


if __name__ == "__main__":
    typer.run(main)
