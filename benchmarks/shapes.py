"""Measure the shapes made of class maps and write the tables of docs/shapes.md: `python -m benchmarks.shapes [--peer PYTHON]`.

Areas: a made-up map of four ragged classes. Buildings: footprints of `../shared/data/buildings_oam_banepa`, burnt to pixels. Roads: masks of
`../shared/data/naip_roads` against the middle lines that they were drawn from. `--peer` names a Python that has the package `buildingregulariser`; without it
its column stays as it was measured before. Times are of one processor core (user and system), so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize, shapes
from scipy.ndimage import gaussian_filter
from shapely import affinity
from shapely.geometry import shape
from shapely.ops import nearest_points

from inference.vectors.areas import polygons_of
from inference.vectors.borders import BorderTracer
from inference.vectors.class_map import read_class_map
from inference.vectors.outlines import outlines
from inference.vectors.right_angles import corner_degrees, squared
from inference.vectors.roads import roads_of
from inference.vectors.settings import PolygonSettings, RoadSettings
from inference.vectors.tidy import tidied
from tiles.roads.scores import apls, length_scores

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "shapes.md"
BANEPA_UTM = "EPSG:32645"
SIDE_PX, RAGGED_PX = 4096, 2048
PIXEL_M = 0.5
UTM = Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 3_700_000)


def main() -> None:
    """Measure everything and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="Python with the package buildingregulariser.")
    peer = parser.parse_args().peer
    makers = {"buildings": lambda: buildings_table(peer), "roads": roads_table, "areas": areas_table, "memory": memory_table}
    for name, make in makers.items():
        table = make()
        print(table, end="\n\n", flush=True)
        if name != "buildings" or peer is not None:
            put_in_page(name, table)


def put_in_page(name: str, table: str) -> None:
    """Replace what stands between the marks of a table."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(before + begin + table + "\n" + end + rest.partition(end)[2], encoding="utf-8")


# --- areas ------------------------------------------------------------------------------------------------------------------------------


def ragged_map(side: int) -> np.ndarray:
    """(side, side) four classes of blobs of some twenty pixels, with nothing between some of them."""
    smooth = gaussian_filter(np.random.default_rng(0).random((side, side), np.float32), 6)
    return np.digitize(smooth, np.quantile(smooth[::8, ::8], [0.4, 0.6, 0.8, 0.95])).astype(np.uint8)


def areas_table() -> str:
    """Ours against the plain way: GDAL's polygons of the whole map, each simplified by itself."""
    with tempfile.TemporaryDirectory() as folder:
        values = ragged_map(RAGGED_PX)
        class_map = read_class_map(write_map(Path(folder) / "map.tif", values))
        started = time.process_time()
        settings = PolygonSettings(smallest_m2=0, holes_m2=0, slivers=False)
        ours = np.concatenate([table.geometry.to_numpy() for table in polygons_of(class_map, [1, 2, 3, 4], settings)])
        seconds = time.process_time() - started
        started = time.process_time()
        plain = np.array([shape(found) for found, _ in shapes(values, mask=values > 0, transform=UTM)], object)
        plain = shapely.simplify(plain, PIXEL_M)
        plain_seconds = time.process_time() - started
    lines = ["| way | CPU time, of the plain way's | polygons | points | not valid | laid over one another |", "|---|---|---|---|---|---|"]
    for name, ratio, found in (("Terratune", seconds / plain_seconds, ours), ("each polygon by itself", 1.0, plain)):
        valid = found[shapely.is_valid(found)]
        over = float(shapely.area(valid).sum() - shapely.area(shapely.union_all(valid)))
        lines.append(
            f"| {name} | {ratio:.1f} | {len(found):,} | {shapely.get_num_coordinates(found).sum():,} | {len(found) - len(valid)} | {over:,.0f} m² |"
        )
    return "\n".join(lines)


def memory_table() -> str:
    """Peak memory of the whole command on maps of houses, a process each."""
    lines = ["| map | houses | CPU seconds | peak memory |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for rows in (4096, 16384, 65536):
            path = write_map(Path(folder) / f"{rows}.tif", houses(rows, SIDE_PX))
            code = "import sys; from inference.vectors.command import app; app(sys.argv[1:], standalone_mode=False)"
            command = [sys.executable, "-c", f"{code}\n{TELL}", "polygons", "--map", str(path), "--out", str(path.with_suffix(".gpkg"))]
            told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
            seconds, peak = json.loads(told[-1])
            lines.append(f"| {SIDE_PX:,} x {rows:,} px | {told[-2].split()[1]} | {seconds:.0f} | {peak / 1e3:.0f} MB |")
    return "\n".join(lines)


TELL = """
import json, time
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([time.process_time(), int(peak.split()[1]) * 1.024]))"""
"""What a measured process says last: CPU seconds, and kilobytes (its own; what `resource` tells includes those of the process that started it)."""


def houses(rows: int, columns: int) -> np.ndarray:
    """A turned rectangle in every square of 64 pixels."""
    random = np.random.default_rng(1)
    blocks = [rasterize([turned_house(random)], (64, 64), dtype="uint8") for _ in range(200)]
    return np.block([[blocks[i] for i in random.integers(0, len(blocks), columns // 64)] for _ in range(rows // 64)])


def turned_house(random: np.random.Generator) -> shapely.Polygon:
    width, height = random.uniform(12, 36, 2)
    house = shapely.box(32 - width / 2, 32 - height / 2, 32 + width / 2, 32 + height / 2)
    return affinity.rotate(house, random.uniform(0, 90))


# --- buildings --------------------------------------------------------------------------------------------------------------------------


def buildings_table(peer: str | None) -> str:
    """Ours and the peer's on the same outlines of whole footprints."""
    labels = gpd.read_file(DATA / "buildings_oam_banepa" / "labels.geojson").to_crs(BANEPA_UTM)
    lines = [
        "| footprints, burnt | way | CPU time a building | regular | worst corner of the regular, median | agreement with the pixels, median (lowest 5 %) | corners, median |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, pixel_m, rough in (
        ("0.15 m", 0.15, 0.0),
        ("0.3 m", 0.3, 0.0),
        ("0.3 m, ragged", 0.3, 0.075),
        ("0.3 m, very ragged", 0.3, 0.15),
    ):
        pixels = burnt_outlines(labels, pixel_m, rough)
        squared(pixels[:5])  # what is loaded and set up once
        started = time.process_time()
        made = squared(pixels)
        seconds = time.process_time() - started
        lines.append(buildings_row(f"{name} ({len(pixels)})", "Terratune", seconds, pixels, made.shapes, made.regular))
        if peer is not None:
            theirs, took, version = peers(peer, pixels, pixel_m)
            regular = np.array([worst_corner(one) <= 2 for one in theirs])
            lines.append(buildings_row("", f"buildingregulariser {version}, one core", took, pixels, theirs, regular))
    return "\n".join(lines)


def burnt_outlines(labels: gpd.GeoDataFrame, pixel_m: float, rough: float) -> np.ndarray:
    """Outlines along pixels of the footprints that lie whole in a tile, in pixels.

    Args:
        labels: In metres.
        pixel_m: Side of a pixel.
        rough: 0, or how strongly the edge is disturbed (standard deviation of the blurred noise, in units of the blurred mask's step).
    """
    random, found = np.random.default_rng(0), []
    for path in sorted((DATA / "buildings_oam_banepa" / "images").glob("*.tif")):
        with rasterio.open(path) as tile:
            bounds = gpd.GeoSeries([shapely.box(*tile.bounds)], crs=tile.crs).to_crs(BANEPA_UTM).total_bounds
        width, height = (int((bounds[i + 2] - bounds[i]) / pixel_m) for i in (0, 1))
        whole = labels[labels.within(shapely.box(*bounds).buffer(-1.0))]
        if not len(whole):
            continue
        mask = rasterize(whole.geometry, (height, width), transform=Affine(pixel_m, 0, bounds[0], 0, -pixel_m, bounds[3]), dtype="uint8")
        if rough:
            noise = gaussian_filter(random.standard_normal(mask.shape), 1.5)
            mask = (gaussian_filter(mask.astype(float), 1.5) + rough * noise / noise.std() > 0.5).astype(np.uint8)
        tracer = BorderTracer(width)
        for part in (tracer.add(mask, np.full(height, pixel_m**2)), tracer.close()):
            found.append(outlines(*tidied(part, smallest_m2=10, holes_m2=10), width)[0])
    return np.concatenate(found)


def peers(python: str, pixels: np.ndarray, pixel_m: float) -> tuple[np.ndarray, float, str]:
    """Shapes in pixels, in the order given, CPU seconds, and the package's version."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.gpkg", Path(folder) / "made.gpkg"
        table = gpd.GeoDataFrame({"number": np.arange(len(pixels))}, geometry=pixels, crs=BANEPA_UTM)
        table.geometry = table.geometry.scale(pixel_m, pixel_m, origin=(0, 0))
        table.to_file(given)
        command = [python, str(ROOT / "benchmarks" / "shapes_peer.py"), str(given), str(pixel_m), str(made)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        theirs = gpd.read_file(made).dissolve("number").geometry.reindex(range(len(pixels)))
    back = theirs.scale(1 / pixel_m, 1 / pixel_m, origin=(0, 0)).to_numpy()
    return np.where(shapely.is_missing(back), pixels, back), told["seconds"], told["version"]


def worst_corner(building: shapely.Geometry) -> float:
    """Degrees from a right angle."""
    return float(corner_degrees(shapely.get_parts(building)).max(initial=0.0))


def buildings_row(name: str, way: str, seconds: float, pixels: np.ndarray, made: np.ndarray, regular: np.ndarray) -> str:
    valid = np.array([one if one.is_valid else one.buffer(0) for one in made], object)
    agreement = shapely.area(shapely.intersection(valid, pixels)) / shapely.area(shapely.union(valid, pixels))
    worst = [worst_corner(one) for one in made[regular]]
    corners = np.median(shapely.get_num_coordinates(made) - 1)
    off = f"{np.median(worst):.1f}°" if len(worst) else "-"
    return (
        f"| {name} | {way} | {seconds / len(pixels) * 1e3:.2f} ms | {regular.mean():.1%} | {off} | "
        f"{np.median(agreement):.3f} ({np.quantile(agreement, 0.05):.3f}) | {corners:.0f} |"
    )


# --- roads ------------------------------------------------------------------------------------------------------------------------------


def roads_table() -> str:
    """Middle lines of all masks against those that the masks were drawn from."""
    found_m = true_m = right_m = complete_m = 0.0
    ways: list[float] = []
    joined: list[float] = []
    started = time.process_time()
    networks = {
        path.stem: roads_of(read_class_map(path), [1, 2], RoadSettings()) for path in sorted((DATA / "naip_roads" / "masks").glob("*.tif"))
    }
    seconds = time.process_time() - started
    for name, network in networks.items():
        drawn = gpd.read_file(DATA / "naip_roads" / "labels" / f"{name}.geojson")
        frame = shapely.box(*read_class_map(DATA / "naip_roads" / "masks" / f"{name}.tif").grid.bounds)
        line = (drawn.geom_type == "LineString") & (drawn.surface != "uncertain")
        true = [one for one in (road.intersection(frame) for road in drawn[line].geometry) if one.length > 0]
        # places of which nobody said what they are, and areas, which have no middle line
        left_out = drawn[~line]
        ignored = left_out.buffer(left_out.width_m.fillna(0) / 2 + 2).union_all() if len(left_out) else None
        scores = length_scores(list(network.geometry), true, ignore=ignored)
        true_m, found_m = true_m + scores.reference_m, found_m + scores.found_m
        complete_m += (scores.completeness or 0) * scores.reference_m
        right_m += (scores.correctness or 0) * scores.found_m
        similar = apls(list(network.geometry), noded(true))
        ways += [] if similar is None else [similar]
        joined.append(float(network.gap_m.sum()))
    return "\n".join(
        [
            "| measure | on 28 masks |",
            "|---|---|",
            f"| drawn by hand | {true_m / 1e3:.1f} km |",
            f"| completeness within 3 m | {complete_m / true_m:.3f} |",
            f"| correctness within 3 m | {right_m / found_m:.3f} |",
            f"| APLS, mean over masks | {np.mean(ways):.2f} |",
            f"| bridged gaps | {sum(joined):.0f} m |",
            f"| CPU time a mask of 256 px | {seconds / len(networks) * 1e3:.0f} ms |",
        ]
    )


def noded(lines: Sequence[shapely.LineString]) -> list[shapely.LineString]:
    """Lines that meet at their ends: one drawn to end within 8 m of another, at the side of that road, is taken to meet it."""
    whole = list(lines)
    for i, one in enumerate(whole):
        others = shapely.union_all([other for j, other in enumerate(whole) if j != i])
        points = [p for part in shapely.get_parts(shapely.line_merge(one)) for p in part.coords]
        for at in (0, -1):
            end = shapely.Point(points[at])
            if not others.is_empty and 0 < end.distance(others) <= 8:
                meeting = nearest_points(others, end)[0]
                points.insert(0 if at == 0 else len(points), (meeting.x, meeting.y))
        whole[i] = shapely.LineString(points)
    parts = shapely.get_parts(shapely.line_merge(shapely.node(shapely.multilinestrings(whole)))) if whole else []
    return [part for part in parts if part.length > 0.5]


def write_map(path: Path, values: np.ndarray) -> Path:
    """A class map in UTM."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype="uint8",
        crs="EPSG:32611",
        transform=UTM,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
    ) as file:
        file.write(values, 1)
    return path


if __name__ == "__main__":
    main()
