"""What a run learnt, as one HTML file that opens anywhere: settings, scores with their likely ranges, curves, mix-ups, the worst places.

Everything is in the file (pictures as data addresses, curves as SVG); no script, nothing fetched.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from models.bundle import load_bundle
from models.card import Score, read_card
from tiles.footprints import LONLAT
from tiles.preview import overlay, picture
from tiles.reader import read_tile
from tiles.tile_set import IGNORE_LABEL, TileRecord
from training.learner import Learner
from training.loop import Tick
from training.pixels import answers, evaluate
from training.prepare import PixelLearner
from training.run_folder import MODEL, REPORT, read_result
from training.runs import in_words
from training.settings import PLACES, TrainingSettings
from training.tasks import Kind, heeds, kind_of
from workspace.classes import ClassDef
from workspace.files import write_text
from workspace.jobs import events

WORST = 10
IGNORED_COLOUR = "#9aa0a6"
CHART = (420, 170)
"""Width and height of a curve, pixels."""
COLOURS = ("#4361ee", "#ff9f1c", "#2a9d8f", "#8338ec", "#e63946", "#6c757d")

_templates = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined)
_templates.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.0f} %"
_templates.filters["f1"] = lambda score: Score.model_validate(score).f1
_templates.filters["points"] = lambda pair: "–" if pair is None else " to ".join(f"{'−' if v < 0 else '+'}{100 * abs(v):.0f}" for v in pair)
_templates.filters["range"] = lambda pair: "–" if pair is None else " – ".join(f"{100 * v:.0f}" for v in pair)


@dataclass(frozen=True)
class WorstPlace:
    """A held-out tile where map and labels disagree much."""

    place: str
    raster: str
    lon_lat: tuple[float, float] | None
    """Of its centre, degrees."""
    missed: float
    """Share of what is labelled there that the map lacks; 0 where nothing is."""
    wrong: float
    """Share of the tile that has another class in the map than in the labels."""
    pictures: tuple[str, str, str]
    """PNG as data addresses: imagery, labels, map."""


def write_report(folder: Path, ready: PixelLearner, tick: Tick) -> None:
    """Write report.html of a finished run into its folder.

    Args:
        folder: With the best model, result.json and the events of the epochs.
        ready: The run: its tiles, and what it began with.
        tick: Called after each batch; may raise to stop.
    """
    bundle = load_bundle(folder / MODEL)
    ready.compute.place(bundle.network)
    by_tile = evaluate(bundle.network, ready.validation, ready.loss, ready.compute, tick, ready.seen).by_tile
    epochs = [e for e in events(folder) if e["kind"] == "epoch"]
    render(
        folder,
        ready,
        "report.html.j2",
        charts=charts(epochs, {name: [e["iou"].get(name) for e in epochs] for e in epochs for name in e["iou"]}, "IoU on held-out tiles"),
        names=["Background", *ready.class_names],
        confusion=shares(by_tile.sum(axis=0)),
        worst=_worst_places(ready, bundle.network, by_tile, tick),
    )


def render(folder: Path, ready: Learner, template: str, **facts: Any) -> None:
    """Write report.html from a template of this folder or one that extends it; what all tasks tell is added to the facts."""
    result = read_result(folder)
    before = {(s["class"], s["on"]): s for s in result["before"]}
    html = _templates.get_template(template).render(
        card=read_card(folder / MODEL),
        base=ready.base,
        tile_set=ready.tile_set,
        settings=_settings_in_words(ready.settings, kind_of(ready.architecture)),
        result=result,
        scores=[(s, before.get((s["class"], s["on"]), {})) for s in result["after"]],
        **facts,
    )
    write_text(folder / REPORT, html)


def worst_tiles(by_tile: NDArray[np.int64], blocks: NDArray[np.int64], count: int) -> list[int]:
    """Numbers of the tiles with the largest share of wrong pixels, at most one for each block of ground, the worst first.

    Args:
        by_tile: (tiles, n, n) confusion matrices.
        blocks: (tiles,) number of the block each lies in.
        count: At most so many; tiles without a mistake are never among them.
    """
    pixels = by_tile.sum(axis=(1, 2))
    wrong = (pixels - np.trace(by_tile, axis1=1, axis2=2)) / np.maximum(pixels, 1)
    found: dict[int, int] = {}
    for tile in np.argsort(-wrong, kind="stable"):
        if wrong[tile] > 0:
            found.setdefault(int(blocks[tile]), int(tile))
    return list(found.values())[:count]


def _worst_places(ready: PixelLearner, network: Any, by_tile: NDArray[np.int64], tick: Tick) -> list[WorstPlace]:
    data = ready.validation
    chosen = worst_tiles(by_tile, ready.blocks, WORST)
    subset = type(data)(data.tile_set, [data.tiles[i] for i in chosen], data.input, data.lookup)
    seen = [output for output, _ in answers(network, subset, ready.compute, tick, ready.seen)]
    return [
        _worst_place(ready, tile, by_tile[i], subset.raw(k)[2], seen[k])
        for k, (i, tile) in enumerate(zip(chosen, subset.tiles, strict=True))
    ]


def _worst_place(
    ready: PixelLearner, tile: TileRecord, matrix: NDArray[np.int64], drawn: NDArray[np.uint8], seen: NDArray[np.uint8]
) -> WorstPlace:
    tile_set = ready.validation.tile_set
    classes = [c.model_copy(update={"value": output}) for output, c in enumerate(ready.plan.classes, 1)]
    ignored = ClassDef(value=IGNORE_LABEL, name="Not counted", colour=IGNORED_COLOUR, ignore=True)
    pixels = read_tile(tile_set, tile)
    rgb = picture(pixels.image, pixels.valid, tile_set.record)
    labelled, total = matrix[1:].sum(), matrix.sum()
    return WorstPlace(
        place=tile.place,
        raster=tile.raster,
        lon_lat=centre(tile, tile_set.record.tile_sides),
        missed=float(1 - np.trace(matrix[1:, 1:]) / labelled) if labelled else 0.0,
        wrong=float(1 - np.trace(matrix) / total),
        pictures=(png(rgb), png(overlay(rgb, drawn, [*classes, ignored])), png(overlay(rgb, seen, classes))),
    )


def centre(tile: TileRecord, sides: tuple[int, int]) -> tuple[float, float] | None:
    """Longitude and latitude of a tile's centre; None where it has no coordinates."""
    if not tile.crs:
        return None
    x, y = tile.affine @ (sides[0] / 2, sides[1] / 2)
    lon, lat = Transformer.from_crs(tile.crs, LONLAT, always_xy=True).transform(x, y)
    return float(lon), float(lat)


def png(rgb: NDArray[np.uint8]) -> str:
    memory = io.BytesIO()
    Image.fromarray(rgb).save(memory, format="PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode("ascii")


def _settings_in_words(settings: TrainingSettings, kind: Kind) -> list[tuple[str, str]]:
    """(title, value) of every setting that has a part but the names and those that only say where files lie."""
    fields = TrainingSettings.model_fields
    names = [name for name in fields if name not in ("name", "device", *PLACES) and heeds(kind, name)]
    return [(fields[name].title or name, in_words(name, getattr(settings, name))) for name in names]


def shares(matrix: NDArray[np.int64]) -> list[list[float | None]]:
    """Rows of a confusion matrix as shares of each row; None in rows of a class that is not there."""
    return [[None if not row.sum() else float(v / row.sum()) for v in row] for row in matrix]


def charts(
    history: Sequence[Mapping[str, Any]], by_class: Mapping[str, Sequence[float | None]], title: str
) -> list[tuple[str, dict[str, Any]]]:
    """(title, lines) of the curves over the epochs: losses, and a score of each class; none for fewer than two epochs."""
    if len(history) < 2:
        return []
    losses = {"training": [e["loss"] for e in history], "held out": [e["validation_loss"] for e in history]}
    top = max(v for line in losses.values() for v in line)
    return [("Loss", _lines(losses, top)), (title, _lines(by_class, 1.0))]


def _lines(lines: Mapping[str, Sequence[float | None]], top: float) -> dict[str, Any]:
    """What the template draws: the height of the axis, and the points of each line in the chart's pixels."""
    width, height = CHART
    drawn = []
    for (name, values), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        known = [(i, v) for i, v in enumerate(values) if v is not None]
        points = " ".join(f"{i / (len(values) - 1) * width:.1f},{height - v / (top or 1) * height:.1f}" for i, v in known)
        drawn.append({"name": name, "colour": colour, "points": points, "last": known[-1][1] if known else None})
    return {"top": top, "lines": drawn, "width": width, "height": height}
