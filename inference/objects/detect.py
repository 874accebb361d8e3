"""Detection network + raster -> objects, window by window, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from torch import nn

from imagery.read import Pixels
from inference.objects.candidates import candidates_of
from inference.objects.given import Shape, angles, given_as
from inference.objects.layer import Tables, write_objects
from inference.objects.merge import Merger, Objects
from inference.objects.reading import Looker, View, looker, open_view, read_ahead
from inference.settings import Device
from inference.vectors.ground import areas_m2, on_map
from inference.vectors.write import format_of
from models.card import ModelCard
from tiles.windows import tile_windows

THRESHOLD = 0.5
NMS_OVERLAP = 0.1
OVERLAP_SHARE = 0.25
"""Of a window: what it shares with its neighbour. Objects up to this size come whole from one window."""
RIM_SHARE = 1 / 32
"""Of a window: a detector's box of a cut object may end so far from the side that cuts it."""
SMOOTH_PX = 0.8
"""Outlines are simplified by this much; the stairs of a slanting line deviate by at most 0.71."""
Progress = Callable[[str, float], None]


def detect_raster(
    network: nn.Module,
    card: ModelCard,
    source: str,
    out: Path,
    *,
    bands: Sequence[int] | None = None,
    band_names: Sequence[str] = (),
    window_px: int | None = None,
    overlap_px: int | None = None,
    threshold: float = THRESHOLD,
    nms_overlap: float = NMS_OVERLAP,
    exclude_pad_detections: bool = True,
    shape: Shape = "outline",
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[int, int]:
    """Find the objects of a raster and write them, each once and whole, in the raster's CRS.

    Fields: id, Classvalue, Classname, Confidence (0..1), area_m2, of rotated boxes also angle (degrees). A raster whose ground resolution is far from the model's is shown to it
    resampled.

    Args:
        network: Answers a batch (n, bands, rows, columns) with a dict for each image: `boxes` (k, 4) xmin, ymin, xmax, ymax in pixels, `scores`,
            `labels` (i is `card.classes[i - 1]`), perhaps `masks` (k, 1, rows, columns) of probabilities.
        card: The model's.
        source: Path or http(s) address.
        out: GeoPackage, GeoJSON, FlatGeobuf or Shapefile (.zip), by its ending. Appears only when complete.
        bands: 1-based raster bands for the model's bands; None: found by name.
        band_names: What a person says the raster's bands are; none: as the file says.
        window_px: Side of the windows; None: the model's tile size.
        overlap_px: Pixels that neighbouring windows share; None: a quarter of the window. Larger objects are joined from pieces.
        threshold: Objects with less confidence are left out.
        nms_overlap: Of two objects of one class that overlap by more (intersection over union), the surer one stays.
        exclude_pad_detections: What lies completely in the outer half of an overlap is left to the neighbour, who sees more around it.
        shape: In which objects are given out, and held against one another: see `inference.objects.given`. Models of boxes give no outlines.
        device: Where to run.
        progress: Told what is being done and the share done, 0..1; may raise to stop.

    Returns:
        Class value -> number of objects, for every class of the model.

    Raises:
        InputMismatchError: the raster lacks bands of the model, has another type of values, or is much too coarse or fine.
        ImageryError: the raster cannot be read, or `out` has another ending.
        DiskFullError: there is no room; nothing was changed.
    """
    counts = Counter({c.value: 0 for c in card.classes})
    tell = progress or (lambda stage, share: None)
    format_of(out)  # told before the work, not after
    with open_view(card, source, bands, band_names) as view:
        side = window_px or card.input.tile_size
        shared = int(side * OVERLAP_SHARE) if overlap_px is None else overlap_px
        if not 0 <= shared < side:
            raise ValueError(f"Windows of {side} pixels cannot share {shared}.")

        def tables() -> Tables:
            with closing(_answers(looker(network, card, device), view, side, shared, tell)) as answers:
                merger = Merger(nms_overlap, given=given_as(shape, view.grid))
                for found in _objects(answers, merger, view, side, shared, threshold, exclude_pad_detections):
                    table = _table(found, card, view, shape)
                    counts.update(table["Classvalue"].tolist())
                    yield table

        write_objects(tables(), out, card.classes)
    tell("Looking for objects", 1.0)
    return dict(counts)


Window = tuple[int, int]
"""(column, row) of a window's upper left pixel."""


def _answers(
    eyes: Looker, view: View, side: int, shared: int, tell: Progress
) -> Generator[tuple[Window, Pixels, Mapping[str, NDArray[Any]] | None]]:
    """What the network says about each window, row by row; None where there is no imagery."""
    windows = tile_windows(view.grid.width, view.grid.height, side, side - shared)
    batch = eyes.batch(side)
    waiting: list[tuple[Window, Pixels]] = []
    with closing(read_ahead(lambda at: view.read(*at, side, side), windows, ahead=batch + 1)) as pixels_of:
        for number, (window, pixels) in enumerate(pixels_of, 1):
            waiting.append((window, pixels))
            if len(waiting) == batch or number == len(windows):
                shown = [pixels for _, pixels in waiting if pixels.valid.any()]
                said = iter(eyes.look([eyes.normal(pixels) for pixels in shown]) if shown else [])
                for at, seen in waiting:
                    yield at, seen, _on_cpu(next(said)) if seen.valid.any() else None
                waiting = []
            tell("Looking for objects", number / len(windows))


def _on_cpu(answer: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: answer[name].float().cpu().numpy() for name in ("boxes", "scores", "labels", "masks") if name in answer}


def _objects(
    answers: Iterator[tuple[Window, Pixels, Mapping[str, NDArray[Any]] | None]],
    merger: Merger,
    view: View,
    side: int,
    shared: int,
    threshold: float,
    exclude_pad_detections: bool,
) -> Iterator[Objects]:
    """Settled objects, row of windows by row of windows."""
    pad = shared / 2 if exclude_pad_detections else 0.0
    row = 0
    for (left, top), pixels, answer in answers:
        if top != row:
            yield merger.settle(top)
            row = top
        if answer is not None:
            merger.boxes = "masks" not in answer
            merger.add(
                candidates_of(answer, pixels.valid, left, top, view.grid.shape, threshold=threshold, rim_px=side * RIM_SHARE, pad_px=pad)
            )
    yield merger.settle()


def _table(found: Objects, card: ModelCard, view: View, shape: Shape) -> gpd.GeoDataFrame:
    """Objects in the raster's CRS with the fields that other programs know."""
    simple = shapely.simplify(found.shapes, SMOOTH_PX)
    boxes = shapely.get_num_coordinates(found.shapes) == 5
    shapes = np.where(boxes | ~shapely.is_valid(simple), found.shapes, simple)
    classes = [card.classes[label - 1] for label in found.labels]
    return gpd.GeoDataFrame(
        {
            "Classvalue": np.array([c.value for c in classes], np.int32),
            "Classname": np.array([c.name for c in classes], object),
            "Confidence": found.scores.round(4),
            "area_m2": areas_m2(shapes, view.grid).round(2),
            **({"angle": angles(shapes, view.grid)} if shape == "rotated" else {}),
        },
        geometry=on_map(shapes, view.grid),
        crs=view.grid.crs,
    )
