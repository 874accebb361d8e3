"""What a run on single objects learnt, as one HTML file: see `training.report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from models.bundle import load_bundle
from models.detection import DetectionNetwork
from tiles.preview import picture
from tiles.reader import read_labelled
from training.loop import Tick
from training.objects.learner import ObjectLearner
from training.objects.scores import SURE, Objects
from training.report import WORST, centre, charts, png, render
from training.run_folder import MODEL
from workspace.classes import ClassDef
from workspace.jobs import events

LEAST_PICTURE_PX = 300
"""Small tiles are enlarged, so that outlines stay thin."""


@dataclass(frozen=True)
class WorstTile:
    """A held-out tile where much is missed, or found wrongly."""

    place: str
    raster: str
    lon_lat: tuple[float, float] | None
    """Of its centre, degrees."""
    there: int
    missed: int
    wrong: int
    """Found, but not there."""
    pictures: tuple[str, str, str]
    """PNG as data addresses: imagery, what was labelled, what is found."""


def write_report(folder: Path, ready: ObjectLearner, tick: Tick) -> None:
    """Write report.html of a finished run into its folder.

    Args:
        folder: With the best model, result.json and the events of the epochs.
        ready: The run: its tiles, and what it began with.
        tick: Called after each batch; may raise to stop.
    """
    network = load_bundle(folder / MODEL, DetectionNetwork).network
    ready.compute.place(network)
    truth, found, evaluation = ready.compare(network, tick)
    counts = evaluation.counts.sum(axis=1)
    epochs = [e for e in events(folder) if e["kind"] == "epoch"]
    names = dict.fromkeys(name for e in epochs for name in e["by_class"])
    render(
        folder,
        ready,
        "objects.html.j2",
        charts=charts(epochs, {name: [e["by_class"].get(name) for e in epochs] for name in names}, "AP50 on held-out tiles"),
        outlines=ready.validation.outlines,
        worst=[_worst_tile(ready, i, counts[i], truth[i], found[i]) for i in worst_tiles(counts, WORST)],
    )


def worst_tiles(counts: NDArray[np.int64], most: int) -> list[int]:
    """Numbers of the tiles with the most mistakes, the worst first; those without a mistake are never among them.

    Args:
        counts: (tiles, 3) objects that are there, that are found, and that are both.
        most: At most so many.
    """
    mistakes = counts[:, 0] + counts[:, 1] - 2 * counts[:, 2]
    return [int(i) for i in np.argsort(-mistakes, kind="stable")[:most] if mistakes[i] > 0]


def drawn(rgb: NDArray[np.uint8], objects: Objects, classes: Sequence[ClassDef]) -> NDArray[np.uint8]:
    """The picture, enlarged where it is small, with a line around each object in the colour of its class.

    Args:
        rgb: (rows, columns, 3).
        objects: In its pixels; outlines where they are known, else boxes.
        classes: Output i is `classes[i - 1]`.
    """
    rows, columns = rgb.shape[:2]
    times = max(1, -(-LEAST_PICTURE_PX // max(rows, columns)))
    image = Image.fromarray(rgb).resize((columns * times, rows * times), Image.Resampling.NEAREST)
    if objects.masks is not None:
        pixels = np.array(image)
        for mask, label in zip(objects.masks, objects.labels, strict=True):
            large = np.kron(mask, np.ones((times, times), dtype=bool))
            pixels[large & ~binary_erosion(large, iterations=2)] = classes[label - 1].rgb
        return pixels
    pen = ImageDraw.Draw(image)
    for (left, top, right, bottom), label in zip((objects.boxes * times).tolist(), objects.labels, strict=True):
        pen.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=classes[label - 1].rgb, width=2)
    return np.array(image)


def _worst_tile(ready: ObjectLearner, index: int, counts: NDArray[np.int64], truth: Objects, found: Objects) -> WorstTile:
    tile, record = ready.validation.tiles[index], ready.tile_set.record
    pixels, _ = read_labelled(ready.tile_set, tile)
    rgb = picture(pixels.image, pixels.valid, record)
    there, claimed, right = (int(n) for n in counts)
    sure = found.scores >= SURE
    said = Objects(found.boxes[sure], found.labels[sure], found.scores[sure], None if found.masks is None else found.masks[sure])
    nothing = Objects(truth.boxes[:0], truth.labels[:0], truth.scores[:0])
    return WorstTile(
        place=tile.place,
        raster=tile.raster,
        lon_lat=centre(tile, record.size_of(tile)),
        there=there,
        missed=there - right,
        wrong=claimed - right,
        pictures=tuple(png(drawn(rgb, objects, ready.classes)) for objects in (nothing, truth, said)),  # type: ignore[arg-type]
    )
