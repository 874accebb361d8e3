"""Measure clicks: `python -m benchmarks.labelling {clicks,select,many,rough,sam,all}`. Prints one JSON object a line.

clicks  what the server adds to a warm click (Smart select, whole route in process; medians), and memory over 1,000 clicks
select  Smart select against others without weights: IoU after one and three clicks on real footprints and tree boxes (../shared/data)
many    everything in an area, and all that is like three example footprints, five seeds: precision and recall (Smart select)
rough   outlines drawn roughly, and what Smart select makes of them
sam     ViT-B with random weights: encode and decode in float32 and bfloat16, the official code beside ours, seconds of processor time

Three clicks: the first in the middle of the object, each further one in the middle of the largest error, as one would. Times of a busy machine
are good for ratios only; `processor` times disturb less than `wall` times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the workers set it; read when torch loads

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from skimage.color import rgb2lab

from imagery.grid import Grid
from imagery.read import open_raster
from imagery.stretch import identity_stretch
from labeling.prompt.chips import Picture, Pyramid, read_chip
from labeling.prompt.model import Point, Prompt
from labeling.prompt.outline import burnt, outline
from labeling.prompt.smart_select import SmartSelect

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Mask = NDArray[np.bool_]
Method = Callable[[list[Point], Any], tuple[Mask, Any]]
"""(all clicks so far, what it returned before) -> mask, and what it wants to see again."""


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def buildings(each: int) -> Iterator[tuple[NDArray[np.uint8], list[Mask], bool]]:
    """(picture, footprints, whether truth is a box)."""
    footprints = json.loads((DATA / "buildings_oam_banepa" / "labels.geojson").read_text())["features"]
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in footprints]
    generator = np.random.default_rng(0)
    for path in sorted((DATA / "buildings_oam_banepa" / "images").glob("*.tif")):
        with open_raster(path) as dataset:
            rgb = np.moveaxis(dataset.read([1, 2, 3]), 0, -1)
            frame, transform = shapely.box(*dataset.bounds), dataset.transform
        masks = [rasterize([one], rgb.shape[:2], transform=transform) > 0 for one in shapes if frame.contains(one)]
        masks = [mask for mask in masks if mask.sum() >= 300]
        yield rgb, [masks[i] for i in generator.permutation(len(masks))[:each]], False


def trees(each: int) -> Iterator[tuple[NDArray[np.uint8], list[Mask], bool]]:
    generator = np.random.default_rng(0)
    for path in sorted((DATA / "trees_neon" / "annotations").glob("*.xml")):
        root = ET.parse(path).getroot()
        with open_raster(DATA / "trees_neon" / "images" / str(root.findtext("filename"))) as dataset:
            rgb = np.moveaxis(dataset.read([1, 2, 3]), 0, -1)
        masks = []
        for one in root.findall("object/bndbox"):
            left, top, right, bottom = (round(float(one.findtext(side) or 0)) for side in ("xmin", "ymin", "xmax", "ymax"))
            mask = np.zeros(rgb.shape[:2], np.bool_)
            mask[top:bottom, left:right] = True
            if mask.sum() >= 200:
                masks.append(mask)
        yield rgb, [masks[i] for i in generator.permutation(len(masks))[:each]], True


def smart(rgb: NDArray[np.uint8], *, keep_candidate: bool = True) -> Method:
    """Smart select as the route uses it: later clicks begin from the answer before."""
    model = SmartSelect()
    embedding = model.encode(rgb, np.ones(rgb.shape[:2], np.bool_), lambda share: None)

    def click(points: list[Point], before: Any) -> tuple[Mask, Any]:
        found = model.predict(embedding, Prompt(tuple(points), None, before if keep_candidate else None))
        return model.mask(embedding, found.logits[0]), found.logits[0]

    return click


def magic_wand(rgb: NDArray[np.uint8]) -> Method:
    """Connected pixels of like colour; the tolerance at which the area changes least."""
    lab = np.stack([ndimage.gaussian_filter(layer, 1.0) for layer in np.moveaxis(rgb2lab(rgb), -1, 0)], axis=-1)

    def click(points: list[Point], before: Any) -> tuple[Mask, Any]:
        def unlike(wanted: bool) -> NDArray[np.float64]:
            colours = [lab[int(p.y), int(p.x)] for p in points if p.wanted is wanted]
            return np.min([np.linalg.norm(lab - colour, axis=-1) for colour in colours], axis=0) if colours else np.full(lab.shape[:2], np.inf)

        distance, other = unlike(True), unlike(False)
        distance[other < distance] = np.inf
        masks = []
        for tolerance in (3, 5, 7, 9, 12, 15, 18, 22, 26, 30):
            parts, _ = ndimage.label(distance <= tolerance)
            wanted = {parts[int(p.y), int(p.x)] for p in points if p.wanted} - {0}
            masks.append(np.isin(parts, list(wanted)))
        areas = np.array([mask.sum() for mask in masks], float)
        change = (areas[2:] - areas[:-2]) / np.maximum(areas[1:-1], 1)
        change[(areas[1:-1] < 100) | (areas[1:-1] > 0.25 * distance.size)] = 99
        return ndimage.binary_fill_holes(ndimage.binary_closing(masks[1 + int(change.argmin())], iterations=2)), None

    return click


def grab_cut(rgb: NDArray[np.uint8]) -> Method:
    """GrabCut (OpenCV, if it is installed) begun from Smart select's answer."""
    import cv2

    begin = smart(rgb)

    def click(points: list[Point], before: Any) -> tuple[Mask, Any]:
        mask, again = begin(points, before)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        room = max(20, int(0.5 * mask.sum() ** 0.5))
        top, bottom = max(rows[0] - room, 0), min(rows[-1] + room, mask.shape[0])
        left, right = max(columns[0] - room, 0), min(columns[-1] + room, mask.shape[1])
        part = mask[top:bottom, left:right]
        marks = np.where(part, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        marks[ndimage.distance_transform_edt(~part) > 0.3 * mask.sum() ** 0.5] = cv2.GC_BGD
        for p in points:
            row, column = int(p.y) - top, int(p.x) - left
            if 0 <= row < part.shape[0] and 0 <= column < part.shape[1]:
                marks[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = cv2.GC_FGD if p.wanted else cv2.GC_BGD
        try:
            cv2.grabCut(np.ascontiguousarray(rgb[top:bottom, left:right, ::-1]), marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
        except cv2.error:
            return mask, again
        out = np.zeros_like(mask)
        parts, _ = ndimage.label((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))
        wanted = {parts[int(p.y) - top, int(p.x) - left] for p in points if p.wanted and top <= p.y < bottom and left <= p.x < right} - {0}
        out[top:bottom, left:right] = ndimage.binary_fill_holes(np.isin(parts, list(wanted)))
        return (out if out.any() else mask), again

    return click


def deepest(mask: Mask) -> tuple[Point, float]:
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return Point(column + 0.5, row + 0.5), float(depth.max())


def same(mask: Mask, truth: Mask, as_box: bool) -> float:
    """IoU; with `as_box`, of the boxes."""
    if as_box and mask.any():
        box = np.zeros_like(mask)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        mask = box
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def crown(box: Mask) -> Mask:
    """The ellipse in a box: what one would call an error is judged by it."""
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    y, x = np.ogrid[: box.shape[0], : box.shape[1]]
    middle_y, middle_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    return ((y - middle_y) / (len(rows) / 2)) ** 2 + ((x - middle_x) / (len(columns) / 2)) ** 2 <= 1


def scored(name: str, make: Callable[[NDArray[np.uint8]], Method], what: str, pictures: Iterator[tuple[NDArray[np.uint8], list[Mask], bool]]) -> None:
    """One line: mean IoU after each of three clicks, and how many objects are above 0.7."""
    found: list[list[float]] = [[], [], []]
    prepare, answer = [], []
    for rgb, truths, as_box in pictures:
        began = time.process_time()
        method = make(rgb)
        prepare.append(time.process_time() - began)
        for truth in truths:
            goal = crown(truth) if as_box else truth
            points, before = [deepest(goal)[0]], None
            for number in range(3):
                began = time.process_time()
                mask, before = method(points, before)
                answer.append(time.process_time() - began)
                found[number].append(same(mask, truth, as_box))
                (lacking, much), (extra, more) = deepest(goal & ~mask), deepest(mask & ~goal)
                if max(much, more) >= 1:
                    points = [*points, lacking if much >= more else Point(extra.x, extra.y, wanted=False)]
    say(
        method=name,
        objects=what,
        count=len(found[0]),
        mean_iou=[round(statistics.mean(one), 3) for one in found],
        above_070=[round(float(np.mean(np.array(one) > 0.7)), 2) for one in found],
        prepare_ms=round(1e3 * statistics.median(prepare)),
        answer_ms=round(1e3 * statistics.median(answer), 1),
        answer_p95_ms=round(1e3 * float(np.quantile(answer, 0.95)), 1),
    )


def select(each: int, pictures: int) -> None:
    methods: dict[str, Callable[[NDArray[np.uint8]], Method]] = {
        "Smart select": smart,
        "Smart select, each click anew": lambda rgb: smart(rgb, keep_candidate=False),
        "magic wand": magic_wand,
        "Smart select + GrabCut": grab_cut,
    }
    for name, make in methods.items():
        for what, source in (("buildings", buildings(each)), ("trees", trees(each))):
            try:
                scored(name, make, what, (one for _, one in zip(range(pictures), source, strict=False)))
            except ImportError as error:
                say(method=name, left_out=str(error))
                break


def rough(each: int, pictures: int) -> None:
    """Footprints moved, turned, enlarged or shrunk: IoU of these, and of what is made of them."""
    generator = np.random.default_rng(0)
    begun: dict[str, list[float]] = {}
    ended: dict[str, list[float]] = {}
    model = SmartSelect()
    for rgb, truths, _ in (one for _, one in zip(range(pictures), buildings(each), strict=False)):
        embedding = model.encode(rgb, np.ones(rgb.shape[:2], np.bool_), lambda share: None)
        for truth in truths:
            shape = outline(truth)
            width = shape.area**0.5
            changes = {
                "around it": shape.buffer(0.15 * width).simplify(0.05 * width),
                "inside it": shape.buffer(-0.12 * width),
                "beside it": shapely.affinity.translate(shape, *(0.15 * width * generator.choice([-1, 1], 2))),
            }
            for name, drawn in changes.items():
                area = burnt(drawn, *truth.shape)
                if area.any():
                    found = model.predict(embedding, Prompt((), drawn.bounds, model.logits_of(embedding, area)))
                    begun.setdefault(name, []).append(same(area, truth, False))
                    ended.setdefault(name, []).append(same(model.mask(embedding, found.logits[0]), truth, False))
    for name, before in begun.items():
        say(drawn=name, count=len(before), iou_drawn=round(statistics.mean(before), 3), iou_made=round(statistics.mean(ended[name]), 3))


EXAMPLES, SEEDS, FOUND_FROM = 3, 5, 0.5


def many(pictures: int) -> None:
    """What is offered at the default against the footprints: a find is right when it is one that no other was, at IoU 0.5 or more."""
    from labeling.prompt.chips import chip_key
    from labeling.prompt.everything import AskAll, MissingParts, Offers, find, look, part_key

    model = SmartSelect()
    everything: list[tuple[int, int, int]] = []
    alike: dict[int, list[tuple[int, int, int]]] = {seed: [] for seed in range(SEEDS)}
    seconds = []
    for picture, footprints in (one for _, one in zip(range(pictures), footprints_of(), strict=False)):
        if len(footprints) <= EXAMPLES + 1:
            continue
        pyramid, kept = Pyramid(picture.grid), {}

        def offered(examples: list[shapely.Geometry], taken: list[shapely.Geometry], picture: Picture = picture, pyramid: Pyramid = pyramid, kept: dict[str, Any] = kept) -> list[shapely.Geometry]:
            like = tuple(shapely.geometry.mapping(one) for one in examples)
            # seen as the browser shows it when the picture fills the map
            ask = AskAll(picture, pyramid.resolution_m, picture.grid.lonlat_bounds, like, tuple(shapely.to_wkb(taken)))
            while isinstance(answer := find(ask, model, kept.get), MissingParts):
                began = time.process_time()
                for part in answer.parts:
                    key = chip_key(picture, part.chip, model.key)
                    with open_raster(picture.source) as dataset:
                        rgb, valid = read_chip(dataset, picture, part.chip)
                    kept[key] = model.encode(rgb, valid, lambda share: None)
                    kept[part_key(picture, part, model.key)] = look(model, kept[key], pyramid, part, lambda share: None)
                seconds.append(time.process_time() - began)
            assert isinstance(answer, Offers)
            return [shapely.geometry.shape(one.geometry) for one in answer.things if one.worth >= answer.offered_from]

        everything.append(matched(offered([], []), footprints))
        for seed, counts in alike.items():
            order = np.random.default_rng(seed).permutation(len(footprints))
            examples = [footprints[i] for i in order[:EXAMPLES]]
            counts.append(matched(offered(examples, examples), [footprints[i] for i in order[EXAMPLES:]]))
    right, found, there = np.sum(everything, axis=0)
    say(what="everything", pictures=len(everything), offered_each=round(found / len(everything)), footprints=int(there), of_them_found=round(right / there, 3), seconds=round(statistics.median(seconds), 1))
    scores = np.array([np.sum(counts, axis=0) for counts in alike.values()], float)
    precision, recall = scores[:, 0] / scores[:, 1], scores[:, 0] / scores[:, 2]
    for name, values in (("precision", precision), ("recall", recall)):
        say(what=f"all like {EXAMPLES}", **{name: round(float(values.mean()), 3), "least": round(float(values.min()), 3), "most": round(float(values.max()), 3)})


def footprints_of() -> Iterator[tuple[Picture, list[shapely.Geometry]]]:
    """(picture, whole footprints on it in longitude and latitude)."""
    shapes = [shapely.geometry.shape(one["geometry"]) for one in json.loads((DATA / "buildings_oam_banepa" / "labels.geojson").read_text())["features"]]
    for path in sorted((DATA / "buildings_oam_banepa" / "images").glob("*.tif")):
        with open_raster(path) as dataset:
            grid, frame = Grid(dataset.width, dataset.height, dataset.transform, dataset.crs), shapely.box(*dataset.bounds)
        pixel = abs(grid.transform.determinant)
        yield Picture(str(path), path.name, grid, (1, 2, 3), identity_stretch(3)), [one for one in shapes if frame.contains(one) and one.area >= 300 * pixel]


def matched(found: list[shapely.Geometry], truths: list[shapely.Geometry]) -> tuple[int, int, int]:
    """(right, found, there)."""
    right: set[int] = set()
    for one in found:
        ious = [shapely.area(shapely.intersection(one, truth)) / shapely.area(shapely.union(one, truth)) for truth in truths]
        if max(ious) >= FOUND_FROM:
            right.add(int(np.argmax(ious)))
    return len(right), len(found), len(truths)


def median_ms(work: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.process_time, quantile: float = 0.5) -> float:
    """Milliseconds of `work`: the median, or another quantile."""
    work()
    times = []
    for _ in range(repeats):
        began = clock()
        work()
        times.append(clock() - began)
    return round(1e3 * float(np.quantile(times, quantile)), 1)


ENCODE_ONCE = """
import sys
from pathlib import Path
import numpy as np
checkpoint, which = sys.argv[1:]
rgb = np.zeros((1024, 1024, 3), np.uint8)
if which == 'official':
    from segment_anything import SamPredictor, sam_model_registry
    SamPredictor(sam_model_registry['vit_b'](checkpoint=checkpoint)).set_image(rgb)
else:
    from labeling.prompt.sam import load_sam
    load_sam(Path(checkpoint), key='random', precision=which).encode(rgb, np.ones(rgb.shape[:2], bool), lambda share: None)
print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


def sam(repeats: int) -> None:
    import torch
    from segment_anything import SamPredictor
    from segment_anything.build_sam import build_sam_vit_b

    from labeling.prompt.sam import SamModel, bfloat16_is_quicker, build_sam

    torch.manual_seed(0)
    say(threads=torch.get_num_threads(), bfloat16_is_quicker=bfloat16_is_quicker(torch.device("cpu")))
    rgb = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), np.uint8)
    network = build_sam_vit_b().eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    predictor = SamPredictor(network)
    say(official_encode_s=median_ms(lambda: predictor.set_image(rgb), 1) / 1e3)
    click = np.array([[500.0, 400.0]]), np.array([1])
    say(official_click_ms=median_ms(lambda: predictor.predict(*click), repeats))
    features = predictor.features[0].half().numpy()
    exact: list[Mask] = []
    for precision in ("float32", "bfloat16"):
        facts, masks = measured(SamModel(build_sam({n: t.clone() for n, t in state.items()}), "random", precision), rgb, features, repeats)
        exact = exact or masks
        iou = min(float((a & b).sum() / max(1, (a | b).sum())) for a, b in zip(exact, masks, strict=True))
        say(precision=precision, **facts, least_iou_with_float32=round(iou, 4))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "vit_b.pth"
        torch.save(state, checkpoint)
        for which in ("official", "float32", "bfloat16"):
            done = subprocess.run([sys.executable, "-c", ENCODE_ONCE, str(checkpoint), which], capture_output=True, text=True, check=True)
            say(encoding=which, most_memory_gb=round(int(done.stdout.split()[-1]) / 1e6, 1))


def measured(model: Any, rgb: NDArray[np.uint8], features: NDArray[np.float16], repeats: int) -> tuple[dict[str, float], list[Mask]]:
    """Times of one model, and its masks for one click by falling area of their logits."""
    valid = np.ones(rgb.shape[:2], np.bool_)
    embedding = {"features": features, "shape": np.array(rgb.shape[:2], np.int32)}
    prompt = Prompt((Point(500.5, 400.5),))
    found = model.predict(embedding, prompt)
    facts = {
        "encode_s": median_ms(lambda: model.encode(rgb, valid, lambda share: None), 1) / 1e3,
        "encode_wall_s": median_ms(lambda: model.encode(rgb, valid, lambda share: None), 3, time.perf_counter) / 1e3,
        "decode_ms": median_ms(lambda: model.predict(embedding, prompt), repeats),
        "decode_wall_ms": median_ms(lambda: model.predict(embedding, prompt), repeats, time.perf_counter),
        "decode_wall_p95_ms": median_ms(lambda: model.predict(embedding, prompt), repeats, time.perf_counter, 0.95),
        "mask_ms": median_ms(lambda: model.mask(embedding, found.logits[0]), repeats),
    }
    return facts, [model.mask(embedding, one) for one in found.logits[np.argsort(found.logits.mean(axis=(1, 2)))]]


async def clicks(count: int) -> None:
    """Through the routes, without a socket; the model's own time is what the answer says it was."""
    import httpx
    import psutil
    from starlette.applications import Starlette

    from imagery.library import add_reference
    from server import prompts
    from server.tokens import issue_token
    from workspace.project import create_project
    from workspace.settings import settings_from_environment

    with tempfile.TemporaryDirectory() as folder:
        settings = settings_from_environment({"TERRATUNE_DATA": folder, "TERRATUNE_IMAGERY_ROOTS": str(DATA)})
        project = create_project(settings.projects_folder, "Clicks")
        raster = add_reference(project, min((DATA / "buildings_oam_banepa" / "images").glob("*.tif")), settings)
        west, south, east, north = raster.info.grid.lonlat_bounds
        app = httpx.ASGITransport(Starlette(routes=prompts.routes(settings)))
        address = f"http://app/api/{issue_token(settings.data_folder, project.id)}/prompt"
        generator = np.random.default_rng(0)
        spent, added, server, memory = [], [], [], []
        async with httpx.AsyncClient(transport=app, timeout=60) as http:
            for number in range(count):
                lon, lat = west + (east - west) * generator.uniform(0.1, 0.9), south + (north - south) * generator.uniform(0.1, 0.9)
                body = {"raster": raster.id, "resolution_m": raster.info.resolution_m, "points": [[lon, lat, 1]]}
                began, began_processor = time.perf_counter(), time.process_time()
                answer = await http.post(address, json=body)
                while answer.status_code == 202:
                    answer = await http.post(address, json=body)
                if answer.status_code == 200 and number > 10:
                    spent.append(1e3 * (time.perf_counter() - began))
                    server.append(1e3 * (time.process_time() - began_processor))
                    added.append(spent[-1] - answer.json()["milliseconds"]["decode"])
                if number % 100 == 10:
                    me = psutil.Process()
                    memory.append(round(sum(p.memory_info().rss for p in (me, *me.children(recursive=True))) / 2**20))
        say(
            clicks=len(spent),
            wall_ms=round(statistics.median(spent), 1),
            p95_wall_ms=round(float(np.quantile(spent, 0.95)), 1),
            added_to_the_model_ms=round(statistics.median(added), 1),
            server_processor_ms=round(statistics.median(server), 1),
            memory_mb=memory,
        )


def outlines(repeats: int) -> None:
    y, x = np.mgrid[:1024, :1024]
    mask = (x - 500) ** 2 + (y - 480) ** 2 < 90_000
    say(outline_ms=median_ms(lambda: outline(mask), repeats))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelling", description=__doc__)
    parser.add_argument("part", choices=("clicks", "select", "many", "rough", "sam", "all"))
    parser.add_argument("--each", type=int, default=4, help="objects of a picture")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clicks", type=int, default=1000)
    options = parser.parse_args()
    if options.part in {"select", "all"}:
        select(options.each, options.pictures)
    if options.part in {"many", "all"}:
        many(options.pictures)
    if options.part in {"rough", "all"}:
        rough(options.each, options.pictures)
    if options.part in {"sam", "all"}:
        sam(options.repeats)
    if options.part in {"clicks", "all"}:
        outlines(options.repeats)
        asyncio.run(clicks(options.clicks))


if __name__ == "__main__":
    main()
