"""A class raster against the truth: IoU, precision, recall and pixels of each class, as JSON.

`python -m inference.evaluate --prediction P.tif --truth MASK_OR_LABELS --ignore 255`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from errors import NoOverlapError, TerratuneError, UnknownClassError
from imagery.grid import Grid
from imagery.raster import describe
from imagery.read import display_name, open_raster
from inference.legend import read_class_names
from inference.scores import Counts, Scores, confusion, scores_from
from inference.truth import IGNORE, open_truth
from workspace.classes import BACKGROUND_VALUE, ClassDef

BLOCK_PX = 1024


def evaluate(
    prediction: Path,
    truth: Path,
    *,
    ignore: int | None = IGNORE,
    mapping: Mapping[str, int] | None = None,
    class_field: str | None = None,
    buffer_m: float = 0.0,
    progress: Callable[[float], None] = lambda share: None,
) -> Scores:
    """Score a class raster, block by block. Arguments and errors as `inference.truth.open_truth`.

    Every class that occurs in the truth, in the prediction or in the prediction's legend is scored; pixels without imagery and
    ignored ones are not.
    """
    names = read_class_names(prediction)
    with open_raster(prediction) as dataset:
        grid = describe(dataset, display_name(str(prediction)), None).grid
        with open_truth(truth, grid, ignore=ignore, mapping=mapping, class_field=class_field, buffer_m=buffer_m, names=names) as reader:
            counts = np.zeros((256, 256), np.int64)
            blocks = list(_blocks(grid))
            for index, window in enumerate(blocks):
                progress(index / len(blocks))
                there = reader.read(window)
                if (there != IGNORE).any():
                    counts += confusion(there, _values(dataset, window, prediction.name), range(256))
        return _scores(counts, names, _nodata(dataset), truth.name)


def _values(dataset: DatasetReader, window: Window, name: str) -> NDArray[np.uint8]:
    values = dataset.read(1, window=window)
    if values.dtype != np.uint8:
        if not np.array_equal(values, values.astype(np.uint8)):
            raise UnknownClassError(f"{name} does not hold class values (whole numbers from 0 to 255).", "Give the class raster, not the picture.")
        values = values.astype(np.uint8)
    return np.asarray(values)


def _nodata(dataset: DatasetReader) -> int:
    """The value of pixels without a prediction; 0 means background even where it is declared as nodata."""
    return int(dataset.nodata) if dataset.nodata and 0 < dataset.nodata <= IGNORE else IGNORE


def _blocks(grid: Grid) -> list[Window]:
    return [
        Window(column, row, min(BLOCK_PX, grid.width - column), min(BLOCK_PX, grid.height - row))
        for row in range(0, grid.height, BLOCK_PX)
        for column in range(0, grid.width, BLOCK_PX)
    ]


def _scores(counts: Counts, names: Mapping[int, str], nodata: int, truth: str) -> Scores:
    counts[IGNORE] = 0
    counts[:, [nodata, IGNORE]] = 0
    if not counts.sum():
        raise NoOverlapError(f"No pixel of {truth} can be compared with the prediction.", "Check that both show the same place.")
    present = {int(v) for v in np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))} | set(names)
    values = sorted(present - {BACKGROUND_VALUE, IGNORE})
    classes = [ClassDef(value=v, name=names.get(v) or f"Class {v}", colour="#000000") for v in values]
    listed = [BACKGROUND_VALUE, *values]
    return scores_from(counts[np.ix_(listed, listed)], classes)


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores as a person or a script reads them: classes by value; `pixels` of a class are those of the truth."""
    return {
        "pixels": scores.pixels,
        "accuracy": scores.accuracy,
        "mean_iou": scores.mean_iou,
        "classes": {
            str(c.value): {
                "name": c.name,
                "iou": c.iou,
                "precision": c.precision,
                "recall": c.recall,
                "pixels": c.truth_pixels,
                "predicted_pixels": c.predicted_pixels,
            }
            for c in scores.classes
        },
    }


def parse_mapping(text: str | None) -> dict[str, int]:
    """'paved=1, 7=2' -> {'paved': 1, '7': 2}.

    Raises:
        ValueError: it is not of that form.
    """
    pairs = [part.rsplit("=", 1) for part in (text or "").split(",") if part.strip()]
    if any(len(pair) != 2 or not 0 <= int(pair[1]) <= IGNORE for pair in pairs):
        raise ValueError("Write pairs like paved=1,unpaved=2 with class values from 0 to 255.")
    return {key.strip(): int(value) for key, value in pairs}


app = typer.Typer(add_completion=False)


@app.command()
def main(
    prediction: Annotated[Path, typer.Option(help="Class raster to score.")],
    truth: Annotated[Path, typer.Option(help="Mask raster on any grid, or labels (GeoJSON, GeoPackage, Shapefile).")],
    ignore: Annotated[int | None, typer.Option(help="Value of the truth that is not scored.")] = IGNORE,
    class_field: Annotated[str | None, typer.Option(help="Labels: field with the class value or name.")] = None,
    buffer_m: Annotated[float, typer.Option(help="Labels: how far lines and points reach to each side, metres.")] = 0.0,
    classes: Annotated[str | None, typer.Option(help="Truth value or name = class value of the prediction, like paved=1,7=2,other=255.")] = None,
) -> None:
    """Score a class raster against the truth and print JSON: per class IoU, precision, recall and pixels."""
    try:
        mapping = parse_mapping(classes)
    except ValueError as error:
        raise typer.BadParameter("Write pairs like paved=1,unpaved=2 with class values from 0 to 255.", param_hint="--classes") from error
    try:
        scores = evaluate(prediction, truth, ignore=ignore, mapping=mapping, class_field=class_field, buffer_m=buffer_m)
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(json.dumps(as_json(scores), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
