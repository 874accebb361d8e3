"""What fully labelled areas gain where only part of each picture is labelled: `python -m benchmarks.sparse_labels`. Prints a Markdown table.

The five folds by place of `benchmarks.results` over the NAIP chips with unpaved roads. Of each chip to learn from only the left half is
labelled, as by somebody who has not gone on; the held-out chips are scored whole. Three ways to take the other half: as background, as not
labelled (an area over the labelled half says so), and, for comparison, with its labels.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from shapely import box

from benchmarks.results import AS_TRAINED, CHIPS, FOLDS, SCHEMA, UNPAVED, VALIDATION_SHARE, VALUES, confusion, folds, places
from labeling.exchange import read_labels
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from models.catalogue import find_model
from training.fit import fit
from training.settings import TrainingSettings
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.jobs import JobReporter

Way = Literal["the rest is background", "an area over the labelled half", "all of it labelled"]
WAYS: tuple[Way, ...] = ("the rest is background", "an area over the labelled half", "all of it labelled")
SHOWN = ("unpaved recall", "unpaved precision", "unpaved IoU", "road IoU")


def left_half(row: pd.Series) -> gpd.GeoDataFrame:
    """The half of a chip that is labelled, EPSG:4326, as a fully labelled area."""
    west, south, east, north = row.geometry.bounds
    half = gpd.GeoSeries([box(west, south, (west + east) / 2, north)], crs=26911).to_crs(4326)
    return gpd.GeoDataFrame({"class_value": [FULLY_LABELLED_VALUE]}, geometry=half)


def labels_of(row: pd.Series, way: Way) -> gpd.GeoDataFrame:
    """The labels of one chip."""
    whole = read_labels(CHIPS / row["label"], class_field="surface", value_map=VALUES, schema=SCHEMA)[["class_value", "width_m", "geometry"]]
    if way == "all of it labelled":
        return whole
    half = left_half(row)
    drawn = whole.clip(half.geometry.iloc[0], keep_geom_type=True)
    return pd.concat([drawn, half], ignore_index=True) if way == "an area over the labelled half" else drawn


def trained(work: Path, rows: gpd.GeoDataFrame, way: Way, seed: int, freeze: str, epochs: int) -> Path:
    """A model fine-tuned on these chips."""
    labels = gpd.GeoDataFrame(pd.concat([labels_of(row, way) for _, row in rows.iterrows()], ignore_index=True), crs=4326)
    images = [ImageSource(name=row["chip"], source=str(CHIPS / row["image"])) for _, row in rows.iterrows()]
    export_tiles(images, labels, SCHEMA, ExportSettings(tile_size=256, stride=256, validation_share=VALIDATION_SHARE, tiles="all"), work / "tiles")
    folder = work / "run"
    folder.mkdir()
    settings = {"tiles": str(work / "tiles"), "base": str(find_model("paved-roads-starter")), "epochs": epochs, "seed": seed, "freeze": freeze}
    fit(folder, TrainingSettings.model_validate(settings), JobReporter(folder), lambda line: None)
    return folder


def shown(counts: NDArray[np.int64]) -> tuple[float, ...]:
    """The numbers `SHOWN`, from (3, 3) counts truth x prediction of background, paved, unpaved."""
    hit, truth, found = counts[UNPAVED, UNPAVED], counts[UNPAVED].sum(), counts[:, UNPAVED].sum()
    road = counts[1:, 1:].sum() / (counts.sum() - counts[0, 0])
    return float(hit / truth), float(hit / max(found, 1)), float(hit / (truth + found - hit)), float(road)


def main(
    seeds: int = 1,
    epochs: int = 40,
    freeze: Annotated[str, typer.Option(help="all_but_last_layer (seconds a fit) or backbone (most of a minute).")] = "all_but_last_layer",
) -> None:
    """Measure."""
    table = places(pd.read_csv(CHIPS / "pairs.csv"))
    table["fold"] = folds(table)
    table = table[table["n_unpaved"] > 0]
    print(f"| {freeze}, {seeds} seed{'s' if seeds > 1 else ''} | {' | '.join(SHOWN)} |\n|---|{'---|' * len(SHOWN)}")
    for way in WAYS:
        measured = []
        for seed in range(seeds):
            counts = []
            for fold in range(FOLDS):
                work = Path(tempfile.mkdtemp())
                model = trained(work, table[table["fold"] != fold], way, seed, freeze, epochs)
                counts.append(confusion(model, table[table["fold"] == fold], AS_TRAINED))
                shutil.rmtree(work)
            measured.append(shown(np.concatenate(counts).sum(axis=0)))
        print(f"| {way} | " + " | ".join(f"{value:.2f}" for value in np.mean(measured, axis=0)) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
