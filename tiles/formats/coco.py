"""COCO_rectangles: one labels.json for all tiles, with a box and the outline of each object."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from errors import TileSetFormatError
from tiles.formats.base import Finding, LabelFiles, LabelSink, TileContent, TileFormat, TileLabels, strange_value, unreadable
from tiles.formats.boxes import check_boxes, inside
from tiles.layout import SideFacts
from tiles.objects import Box, TileObject
from tiles.tile_set import TileClass, TileSetRecord

LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class _Coco:
    """labels.json, by image."""

    by_stem: Mapping[str, list[dict[str, Any]]]
    """Annotations of each image, by the stem of its file."""
    sizes: Mapping[str, tuple[int, int]]
    """(rows, columns) by stem."""
    categories: tuple[int, ...]
    ids: tuple[int, ...]


class Coco(TileFormat):
    """Categories are class values. Outlines are polygons in pixels; those with holes are run lengths, because a COCO polygon has none."""

    name = "COCO_rectangles"
    title = "A box and an outline of each object (COCO)"
    description = "One file of the kind that most programs for finding things read (Detectron2, MMDetection, FiftyOne and others)."
    label_folder = None
    has_outlines = True
    side = SideFacts(model_type="ObjectDetection", counts_features=True)

    def write(self, sink: LabelSink, tile: TileContent) -> tuple[LabelFiles, tuple[TileObject, ...]]:
        return LabelFiles(LABELS_FILE), tuple(tile.objects)

    def more_files(self, record: TileSetRecord, objects: Sequence[Sequence[TileObject]]) -> dict[str, str]:
        columns, rows = record.tile_sides
        images = [{"id": i, "file_name": Path(t.image).name, "width": columns, "height": rows} for i, t in enumerate(record.tiles, 1)]
        pairs = [(image["id"], one) for image, mine in zip(images, objects, strict=True) for one in mine]
        annotations = [{"id": i, "image_id": image, **_annotation(one, (rows, columns))} for i, (image, one) in enumerate(pairs, 1)]
        categories = [{"id": c.value, "name": c.name, "supercategory": ""} for c in record.classes]
        info = {"description": "Training tiles", "version": "1.0", "contributor": "Terratune"}
        content = {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        return {LABELS_FILE: json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"}

    def find(self, folder: Path, classes: Sequence[TileClass]) -> dict[str, LabelFiles]:
        return {stem: LabelFiles(LABELS_FILE) for stem in _read(folder).by_stem}

    def read(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], classes: Sequence[TileClass]) -> TileLabels:
        values = {c.value for c in classes}
        found = []
        for one in _read(folder).by_stem.get(Path(image).stem, ()):
            if one["category_id"] not in values:
                raise strange_value(files.label, one["category_id"], classes)
            outline, mask = _shape(one.get("segmentation"), shape)
            found.append(TileObject(int(one["category_id"]), inside(_corners(one), shape), outline, mask))
        return TileLabels(None, tuple(found))

    def check(self, folder: Path, image: str, files: LabelFiles, shape: tuple[int, int], values: Mapping[int, str]) -> Iterator[Finding]:
        try:
            content = _read(folder)
        except TileSetFormatError:  # told once, by check_set
            return
        stem = Path(image).stem
        if content.sizes[stem] != shape:
            found = f"{content.sizes[stem][1]} x {content.sizes[stem][0]}"
            yield Finding(LABELS_FILE, f"the size {shape[1]} x {shape[0]} of the image {stem}", found)
        yield from check_boxes(LABELS_FILE, [_corners(one) for one in content.by_stem[stem]], shape)

    def check_set(self, folder: Path, values: Mapping[int, str]) -> Iterator[Finding]:
        try:
            content = _read(folder)
        except TileSetFormatError as error:
            yield Finding(LABELS_FILE, "a COCO file with images, annotations and categories", error.fact)
            return
        known = {value for value in values if value}
        used = {one["category_id"] for mine in content.by_stem.values() for one in mine}
        for value in sorted((used | set(content.categories)) - known):
            yield Finding(LABELS_FILE, f"only categories of the class list ({', '.join(map(str, sorted(known)))})", str(value))
        if len(set(content.ids)) != len(content.ids):
            yield Finding(LABELS_FILE, "an id of its own for each annotation", f"{len(content.ids) - len(set(content.ids))} used again")


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed run lengths: how many pixels off, on, off ..., down the columns."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    ends = np.flatnonzero(np.diff(flat)).tolist()
    return {"counts": np.diff([0, *ends, mask.size]).tolist(), "size": list(mask.shape)}


def mask_of(lengths: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(rows, columns) of uncompressed run lengths."""
    counts = np.asarray(lengths["counts"], dtype=np.int64)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(tuple(lengths["size"]), order="F")


def _annotation(one: TileObject, shape: tuple[int, int]) -> dict[str, Any]:
    left, top, right, bottom = (round(number, 2) for number in one.box)
    outline = one.outline
    polygons = [p for p in shapely.get_parts(outline) if p.geom_type == "Polygon"] if outline is not None else []
    segmentation: Any = [_ring(p) for p in polygons]
    if any(len(p.interiors) for p in polygons):
        segmentation = run_lengths(rasterize([(outline, 1)], out_shape=shape, dtype=np.uint8).astype(bool))
    return {
        "category_id": one.value,
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "area": round(float(shapely.area(outline)), 2),
        "segmentation": segmentation,
        "iscrowd": 0,
    }


def _ring(polygon: shapely.Polygon) -> list[float]:
    """x, y, x, y ... without the closing point."""
    return [float(number) for number in np.round(shapely.get_coordinates(polygon.exterior)[:-1], 2).ravel()]


def _shape(segmentation: Any, shape: tuple[int, int]) -> tuple[shapely.Geometry | None, NDArray[np.bool_] | None]:
    """Outline, or mask; neither where there is only a box."""
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        mask = mask_of(segmentation)
        return None, mask if mask.shape == shape else None
    rings = [np.reshape(ring, (-1, 2)) for ring in segmentation or () if isinstance(ring, list) and len(ring) >= 6]
    return (shapely.multipolygons([shapely.Polygon(ring) for ring in rings]) if rings else None), None


def _corners(one: Mapping[str, Any]) -> Box:
    left, top, width, height = one["bbox"]
    return float(left), float(top), round(left + width, 2), round(top + height, 2)


def _read(folder: Path) -> _Coco:
    path = folder / LABELS_FILE
    try:
        about = path.stat()
        return _parsed(path, about.st_mtime_ns, about.st_size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(folder, LABELS_FILE) from error


@functools.lru_cache(maxsize=1)
def _parsed(path: Path, _changed: int, _size: int) -> _Coco:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    stems = {image["id"]: Path(image["file_name"].replace("\\", "/")).stem for image in content["images"]}
    by_stem: dict[str, list[dict[str, Any]]] = {stem: [] for stem in stems.values()}
    for one in content["annotations"]:
        left, top, width, height = (float(number) for number in one["bbox"])
        by_stem[stems[one["image_id"]]].append({**one, "bbox": (left, top, width, height)})
    sizes = {stems[image["id"]]: (int(image["height"]), int(image["width"])) for image in content["images"]}
    ids = tuple(one["id"] for one in content["annotations"])
    return _Coco(by_stem, sizes, tuple(int(c["id"]) for c in content["categories"]), ids)
