"""Boxes and polygons in pixels of pictures: PASCAL VOC (one XML a picture) and COCO (one JSON for all)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import shapely
from shapely.geometry.base import BaseGeometry

from errors import LabelFileError
from labeling.exchange.files import read_json_file
from labeling.exchange.layers import MAX_FEATURES, PICTURE, PICTURE_HEIGHT, PICTURE_WIDTH, Layer, text_table
from labeling.exchange.report import BOXED

_ABOUT = (PICTURE, PICTURE_WIDTH, PICTURE_HEIGHT, "class")


def read_voc(paths: Iterable[Path], name: str) -> Layer:
    """PASCAL VOC files as one layer. `class` is each object's name; ArcGIS writes the class value there.

    Raises:
        LabelFileError: one of them is not complete.
    """
    rows: list[tuple[str, Any, Any, str]] = []
    shapes: list[BaseGeometry | None] = []
    for path in paths:
        root = _root(path)
        picture = _text(root, "filename") or path.stem
        size = (_text(root, "size/width"), _text(root, "size/height"))
        for one in root.iter("object"):
            rows.append((picture, *size, _text(one, "name")))
            shapes.append(_voc_shape(one))
            _check_count(len(rows), name)
    return _layer(name, rows, shapes, {})


def _root(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise LabelFileError(f"{path.name} is damaged: it is not complete XML.", "Export or copy it again.") from error
    if root.tag != "annotation":
        raise LabelFileError(f"{path.name} is XML, but not PASCAL VOC.", "Save the labels as GeoJSON or PASCAL VOC.")
    return root


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _voc_shape(element: ElementTree.Element) -> BaseGeometry | None:
    """The polygon where there is one, else the box."""
    polygon = element.find("polygon")
    if polygon is not None:
        numbers = {child.tag.lower(): _number(child.text) for child in polygon}
        corners = [(numbers[f"x{i}"], numbers[f"y{i}"]) for i in range(1, len(numbers)) if f"x{i}" in numbers and f"y{i}" in numbers]
        if len(corners) > 2:
            return shapely.Polygon(corners)
    edges = [_number(_text(element, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")]
    return _box(*edges)


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _box(left: float, top: float, right: float, bottom: float) -> BaseGeometry | None:
    return shapely.box(left, top, right, bottom) if all(map(math.isfinite, (left, top, right, bottom))) else None


def read_coco(path: Path) -> Layer:
    """A COCO file as one layer: polygons where there are, else boxes; `class` is the category's name.

    Raises:
        LabelFileError: it does not hold what COCO says.
    """
    content = read_json_file(path)
    try:
        pictures = {one["id"]: (Path(str(one["file_name"])), one.get("width"), one.get("height")) for one in content["images"]}
        classes = {one["id"]: str(one.get("name", one["id"])) for one in content.get("categories", [])}
        rows, shapes, boxed = _coco_rows(content["annotations"], pictures, classes, path.name)
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise LabelFileError(f"{path.name} is not complete COCO: {error} is missing or wrong.", "Export it again as COCO.") from error
    return _layer(path.stem, rows, shapes, {BOXED: tuple(boxed)} if boxed else {})


def _coco_rows(
    annotations: Sequence[Mapping[str, Any]], pictures: Mapping[Any, tuple[Path, Any, Any]], classes: Mapping[Any, str], name: str
) -> tuple[list[tuple[str, Any, Any, str]], list[BaseGeometry | None], list[int]]:
    rows: list[tuple[str, Any, Any, str]] = []
    shapes: list[BaseGeometry | None] = []
    boxed = []
    _check_count(len(annotations), name)
    for number, one in enumerate(annotations, 1):
        picture, width, height = pictures.get(one["image_id"], (Path(f"picture {one['image_id']}"), None, None))
        rows.append((str(picture), width, height, classes.get(one.get("category_id"), str(one.get("category_id", "")))))
        shape = _coco_shape(one.get("segmentation"))
        if shape is None and one.get("bbox"):
            left, top, across, down = (_number(value) for value in one["bbox"])
            shape = _box(left, top, left + across, top + down)
            if isinstance(one.get("segmentation"), Mapping):
                boxed.append(number)
        shapes.append(shape)
    return rows, shapes, boxed


def _coco_shape(segmentation: Any) -> BaseGeometry | None:
    """Outlines as one shape; None where there are none (a box only, or a mask given as run lengths)."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
    polygons = [shapely.Polygon(list(zip(ring[::2], ring[1::2], strict=False))) for ring in rings if len(ring) >= 6]
    if not polygons:
        return None
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _layer(name: str, rows: Sequence[tuple[Any, ...]], shapes: Sequence[Any], notes: dict[str, tuple[int, ...]]) -> Layer:
    columns = {about: [row[i] for row in rows] for i, about in enumerate(_ABOUT)}
    return Layer(name, text_table(columns, shapes), pixels=True, notes=notes)


def _check_count(count: int, name: str) -> None:
    if count > MAX_FEATURES:
        raise LabelFileError(f"{name} holds more than {MAX_FEATURES:,} objects.", "Import them in parts.")
