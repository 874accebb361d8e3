"""Scene classification network + features or cells of a raster -> each gets a class and a confidence."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from errors import LabelFileError, NoOverlapError
from inference.objects.layer import Tables, in_grid, write_objects
from inference.objects.reading import Looker, View, looker, open_view, read_ahead
from inference.settings import Device
from inference.vectors.ground import on_map
from inference.vectors.write import Kind, format_of
from models.architecture import AnySceneArchitecture
from models.card import ModelCard

Crop = Literal["tile", "box"]
KINDS: dict[str, Kind] = {"Polygon": "area", "LineString": "line", "Point": "point"}
LABEL = "ClassLabel"
LIKELY = 0.5
"""Probability from which on a model that may say several classes says one."""
STRETCH = 0.1
"""Of a feature's longer side: what is shown around it in a crop of its box."""
MOST_TILES = 8
"""Tile sizes that a crop of a box may be large; of larger features the middle is shown."""
FEATURES_AT_ONCE = 1000
Progress = Callable[[str, float], None]
Place = tuple[int, int, int]
"""Column and row of the upper left pixel, and the side, of a square of the pixels shown."""


def classify_features(
    network: nn.Module,
    card: ModelCard,
    source: str,
    features: gpd.GeoDataFrame,
    out: Path,
    *,
    crop: Crop = "tile",
    bands: Sequence[int] | None = None,
    band_names: Sequence[str] = (),
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[int, int]:
    """Give each feature the class that a model sees there, and write them in their order.

    Fields besides the features' own: ClassLabel (of models that may say several classes: all likely ones), Classvalue, Confidence (0..1) of the
    likeliest. What lies beside the imagery gets none (empty).

    Args:
        network: Maps (n, bands, rows, columns) to logits (n, classes).
        card: The model's.
        source: Path or http(s) address of the raster.
        features: Polygons, lines or points in any CRS.
        out: What to write (see `layer.write_objects`).
        crop: "tile": a square of the model's tile size about the middle of the feature. "box": the square about its bounding box, brought to the tile size.
        bands: 1-based raster bands for the model's bands; None: found by name.
        band_names: What a person says the raster's bands are.
        device: Where to run.
        progress: Told what is being done and the share done, 0..1; may raise to stop.

    Returns:
        Class value -> number of features, for every class of the model.

    Raises:
        NoOverlapError: no feature lies on the raster.
        InputMismatchError: the raster does not fit the model.
        ImageryError: the raster cannot be read.
        DiskFullError: there is no room; nothing was changed.
    """
    tell = progress or (lambda stage, share: None)
    own = features.drop(columns=[c for c in (LABEL, "Classvalue", "Confidence") if c in features])
    counts = np.zeros(len(card.classes), np.int64)
    format_of(out)  # told before the work, not after
    with open_view(card, source, bands, band_names) as view:
        places = [
            _place(bounds, card.input.tile_size, crop) for bounds in shapely.bounds(in_grid(features.geometry, view.grid)).reshape(-1, 4)
        ]
        if not any(_touches(place, view) for place in places):
            raise NoOverlapError(
                "None of the features lies on the picture.", "Check that both are of the same place, and their coordinate systems."
            )
        eyes = looker(network, card, device)

        def tables() -> Tables:
            for start in range(0, len(places), FEATURES_AT_ONCE):
                some = np.arange(start, min(start + FEATURES_AT_ONCE, len(places)))
                probabilities = np.full((len(some), len(card.classes)), np.nan)
                with closing(_answers(eyes, view, [places[i] for i in some])) as answers:
                    for done, (index, answer) in enumerate(answers, 1):
                        probabilities[index] = np.nan if answer is None else answer
                        tell("Looking at each object", (start + done) / len(places))
                counts[:] += _chosen(probabilities, card).sum(axis=0)
                yield own.iloc[some].assign(**_fields(probabilities, card))

        write_objects(tables(), out, card.classes, _kind(features))
    return _by_value(counts, card)


def classify_cells(
    network: nn.Module,
    card: ModelCard,
    source: str,
    out: Path,
    *,
    bands: Sequence[int] | None = None,
    band_names: Sequence[str] = (),
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[int, int]:
    """Lay a grid of the model's tile size over a raster and give each cell a class; cells without imagery are left out.

    Fields: ClassLabel, Classvalue, Confidence (0..1). Cells at the right and lower edge end with the raster. Arguments, answer and errors as
    `classify_features`.
    """
    tell = progress or (lambda stage, share: None)
    side = card.input.tile_size
    counts = np.zeros(len(card.classes), np.int64)
    format_of(out)  # told before the work, not after
    with open_view(card, source, bands, band_names) as view:
        rows, columns = range(0, view.grid.height, side), range(0, view.grid.width, side)
        eyes = looker(network, card, device)

        def tables() -> Tables:
            for number, row in enumerate(rows):
                probabilities = np.full((len(columns), len(card.classes)), np.nan)
                with closing(_answers(eyes, view, [(column, row, side) for column in columns])) as answers:
                    for done, (index, answer) in enumerate(answers, 1):
                        probabilities[index] = np.nan if answer is None else answer
                        tell("Looking at each cell", (number + done / len(columns)) / len(rows))
                seen = ~np.isnan(probabilities).any(axis=1)
                left = np.array(columns)[seen]
                cells = shapely.box(left, row, np.minimum(left + side, view.grid.width), min(row + side, view.grid.height))
                counts[:] += _chosen(probabilities, card).sum(axis=0)
                yield gpd.GeoDataFrame(_fields(probabilities[seen], card), geometry=on_map(cells, view.grid), crs=view.grid.crs)

        write_objects(tables(), out, card.classes)
    return _by_value(counts, card)


def _by_value(counts: NDArray[np.int64], card: ModelCard) -> dict[int, int]:
    return {c.value: int(count) for c, count in zip(card.classes, counts, strict=True)}


def _answers(eyes: Looker, view: View, places: Sequence[Place]) -> Generator[tuple[int, NDArray[np.float64] | None]]:
    """(index, probabilities of the classes) of each place, those of one size together; None where there is no imagery."""
    side = eyes.card.input.tile_size
    batch = eyes.batch(side)
    waiting: list[tuple[int, NDArray[np.float32]]] = []

    def read(index: int) -> NDArray[np.float32] | None:
        column, row, size = places[index]
        pixels = view.read(column, row, size, size)
        return _at_side(eyes.normal(pixels), side) if pixels.valid.any() else None

    with closing(read_ahead(read, range(len(places)), ahead=batch + 1)) as crops:
        for index, crop in crops:
            if crop is None:
                yield index, None
            else:
                waiting.append((index, crop))
            if len(waiting) == batch:
                yield from _looked(eyes, waiting)
                waiting = []
    if waiting:
        yield from _looked(eyes, waiting)


def _looked(eyes: Looker, crops: Sequence[tuple[int, NDArray[np.float32]]]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    logits = eyes.look([crop for _, crop in crops])
    found = torch.sigmoid(logits.double()) if _several(eyes.card) else torch.softmax(logits.double(), dim=1)
    yield from zip([index for index, _ in crops], found.cpu().numpy(), strict=True)


def _at_side(crop: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(bands, side, side): averaged where it is larger, bilinear where it is smaller."""
    if crop.shape[-1] == side:
        return crop
    smaller = crop.shape[-1] > side
    image = torch.from_numpy(crop)[None]
    sized = F.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=smaller)
    return np.asarray(sized[0].numpy())


def _place(bounds: NDArray[np.float64], tile_size: int, crop: Crop) -> Place:
    """The square to look at for a feature with these bounds (left, top, right, bottom in pixels)."""
    across, down = bounds[2] - bounds[0], bounds[3] - bounds[1]
    side = tile_size
    if crop == "box" and max(across, down) > 0:
        side = min(max(2, int(np.ceil(max(across, down) * (1 + 2 * STRETCH)))), MOST_TILES * tile_size)
    return round((bounds[0] + bounds[2] - side) / 2), round((bounds[1] + bounds[3] - side) / 2), side


def _touches(place: Place, view: View) -> bool:
    column, row, side = place
    return column < view.grid.width and row < view.grid.height and column + side > 0 and row + side > 0


def _chosen(probabilities: NDArray[np.float64], card: ModelCard) -> NDArray[np.bool_]:
    """(n, classes) which classes places with these probabilities have: the likeliest, or all likely ones of a model that may say several; none for NaN."""
    known = ~np.isnan(probabilities).any(axis=1, keepdims=True)
    if _several(card):
        return known & (np.nan_to_num(probabilities) >= LIKELY)
    best = np.nan_to_num(probabilities).argmax(axis=1)
    return np.asarray(known & (np.arange(len(card.classes)) == best[:, None]))


def _several(card: ModelCard) -> bool:
    return isinstance(card.architecture, AnySceneArchitecture) and card.architecture.several


def _fields(probabilities: NDArray[np.float64], card: ModelCard) -> dict[str, Any]:
    """The fields of places with these (n, classes) probabilities; Classvalue is that of the likeliest class, empty where there is none."""
    chosen = _chosen(probabilities, card)
    names = ["; ".join(c.name for c, there in zip(card.classes, row, strict=True) if there) or None for row in chosen]
    best = np.nan_to_num(probabilities).argmax(axis=1)
    values = pd.array(np.array([c.value for c in card.classes])[best], dtype="Int32")
    values[~chosen.any(axis=1)] = pd.NA
    sure = np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0]
    return {LABEL: np.array(names, object), "Classvalue": values, "Confidence": np.round(sure, 4)}


def _kind(features: gpd.GeoDataFrame) -> Kind:
    """What the features are.

    Raises:
        LabelFileError: they are of several kinds, which no file holds in one layer.
    """
    kinds = {KINDS[str(kind).removeprefix("Multi")] for kind in features.geom_type if str(kind).removeprefix("Multi") in KINDS}
    if len(kinds) != 1:
        raise LabelFileError("The features are of several kinds (areas, lines, points).", "Save each kind in a file of its own.")
    return kinds.pop()
