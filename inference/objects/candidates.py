"""Candidates: what a network saw in windows, as shapes in the pixels of the raster that it was shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes as areas_of
from shapely.geometry import shape

SURE = 0.5
"""A pixel belongs to an object where its mask says at least this."""
CRUMB_SHARE = 0.02
"""Parts of a mask smaller than this share of its largest are dropped."""
MOSTLY = 0.5
"""Of a box that has to be imagery."""


@dataclass(frozen=True)
class Candidates:
    """Objects as single windows show them; (x, y) in pixels from the outer corner of the top left one."""

    shapes: NDArray[np.object_]
    """(k,) valid polygons: rectangles along the axes, or outlines."""
    scores: NDArray[np.float64]
    """(k,) 0..1."""
    labels: NDArray[np.int64]
    """(k,) from 1."""
    windows: NDArray[np.float64]
    """(k, 4) left, top, right, bottom of the window in which each was seen."""
    cut: NDArray[np.bool_]
    """(k,) reaches a side of its window beyond which the raster goes on."""

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: NDArray[Any]) -> Candidates:
        return Candidates(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(k, 4) left, top, right, bottom."""
        return shapely.bounds(self.shapes).reshape(-1, 4)


def no_candidates() -> Candidates:
    return Candidates(np.zeros(0, object), np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, bool))


def joined(parts: Sequence[Candidates]) -> Candidates:
    """All of them, in order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return no_candidates()
    return Candidates(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Candidates)))


def candidates_of(
    answer: Mapping[str, NDArray[Any]],
    valid: NDArray[np.bool_],
    left: int,
    top: int,
    raster: tuple[int, int],
    *,
    threshold: float,
    rim_px: float,
    pad_px: float,
) -> Candidates:
    """What a network said about one window.

    Args:
        answer: `boxes` (k, 4) xmin, ymin, xmax, ymax in pixels of the window, `scores` (k,), `labels` (k,), perhaps `masks` (k, 1, rows, columns).
        valid: (rows, columns) of the window, False where there is no imagery.
        left: Column of the window in the raster.
        top: Row.
        raster: (rows, columns) of the raster; what the window shows beyond is nothing.
        threshold: Candidates with a lower score are left out.
        rim_px: Who comes so near to an inner side of the window may be cut there.
        pad_px: Who lies completely so near to one is left to the neighbour, who sees more around it.
    """
    rows, columns = valid.shape
    right, bottom = min(left + columns, raster[1]), min(top + rows, raster[0])
    window = np.array([left, top, right, bottom], np.float64)
    inner = np.array([left > 0, top > 0, right < raster[1], bottom < raster[0]])
    boxes = np.asarray(answer["boxes"], np.float64).reshape(-1, 4)
    boxes = np.clip(boxes + np.array([left, top, left, top]), window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
    scores = np.asarray(answer["scores"], np.float64)
    good = (scores >= threshold) & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    deep = np.column_stack([boxes[:, 2] - left, boxes[:, 3] - top, right - boxes[:, 0], bottom - boxes[:, 1]])
    good &= ~((deep <= pad_px) & inner).any(axis=1)
    chosen = [i for i in np.flatnonzero(good) if _mostly_imagery(valid, boxes[i] - [left, top, left, top])]
    if "masks" in answer:
        outlines = [_outline(answer["masks"][i, 0, : bottom - top, : right - left] >= SURE, boxes[i], left, top) for i in chosen]
        chosen = [i for i, outline in zip(chosen, outlines, strict=True) if outline is not None]
        shapes = np.array([outline for outline in outlines if outline is not None], object)
    else:
        shapes = shapely.box(*boxes[chosen].T) if chosen else np.zeros(0, object)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    near = np.abs(bounds - window) <= rim_px
    labels = np.asarray(answer["labels"], np.int64)[chosen]
    return Candidates(shapes, scores[chosen], labels, np.tile(window, (len(chosen), 1)), (near & inner).any(axis=1))


def _mostly_imagery(valid: NDArray[np.bool_], box: NDArray[np.float64]) -> bool:
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    return bool(valid[y0:y1, x0:x1].mean() >= MOSTLY)


def _outline(mask: NDArray[np.bool_], box: NDArray[np.float64], left: int, top: int) -> shapely.Geometry | None:
    """The outline of a window's mask (where its box is) along its pixels, in pixels of the raster; None for an empty one."""
    x0, y0 = np.maximum(np.floor(box[:2] - [left, top]).astype(int) - 1, 0)
    x1, y1 = np.ceil(box[2:] - [left, top]).astype(int) + 1
    part = np.ascontiguousarray(mask[y0:y1, x0:x1])
    found = [shape(area) for area, _ in areas_of(part.astype(np.uint8), mask=part, transform=Affine.translation(left + x0, top + y0))]
    if not found:
        return None
    enough = CRUMB_SHARE * max(area.area for area in found)
    return shapely.union_all([area if area.is_valid else area.buffer(0) for area in found if area.area >= enough])
