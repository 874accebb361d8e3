"""What each step of a training brings on real imagery, with few labels and with many: docs/results-<table>.md, made by `make results`.

`python -m benchmarks.results_steps roads|buildings|trees|scenes`: one table each, five folds, three seeds. In each cell a training climbs the ladder (last layer, all but the
backbone, the backbone's last stage, everything: `training.ladder`) on what is labelled outside the fold, and the best model after each step is scored on the fold, whose labels are complete. Everything
goes through the product's own export and training. Finished cells are kept in one file for each table, so a stopped run goes on; a page is written only when no cell is missing.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import torch
import typer
from numpy.typing import NDArray
from shapely import box

from benchmarks.results import CHIPS, FOLDS, IGNORE, ROOT, SCHEMA, UNPAVED, VALUES, base_model, folds, places, spread, tile_set
from errors import TooFewTilesError
from labeling.exchange import read_labels
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from models.bundle import load_bundle
from models.card import ModelCard, band_order
from models.catalogue import find_model
from models.network import SceneNetwork
from models.normalise import normalised
from tiles.class_folders import as_imagenet
from tiles.reader import read_tile
from tiles.tile_set import TileSet, open_tile_set
from training.fit import fit
from training.ladder import RUNGS, TITLES
from training.run_folder import MODEL
from training.scenes.data import fitted
from training.settings import TrainingSettings
from training.starter import SPECIALISE_STEPS, scenes
from workspace.classes import FULLY_LABELLED_VALUE, ClassDef, ClassSchema
from workspace.files import write_json
from workspace.jobs import JobReporter

DATA = CHIPS.parent
STARTER = "paved-roads-starter"
EPOCHS = 6
"""Of each step, at most."""
ALL = 0
"""As a budget: everything that there is."""
TRIES = 10
"""Other objects are drawn by chance where so few of them lie that nothing could be kept for the test."""
METRIC = 26911
"""A plane in metres for NAIP of California; Nepal has its own."""
TREE_M = 6.0
"""Diameter of the disc that a tree's point stands for."""
TREES = ClassSchema(classes=(ClassDef(value=1, name="Tree", colour="#6a994e"),))
BUILDINGS = ClassSchema(classes=(ClassDef(value=1, name="Building", colour="#e71d36"),))

Base = Callable[[Path, int], dict[str, Any]]
"""(work folder, fold) -> the settings that say what a training starts from."""


@dataclass(frozen=True)
class Table:
    """One data set, its folds, and how much of it is labelled."""

    name: str
    title: str
    images: pd.DataFrame
    """name, source, fold, place (images of one place hang together)"""
    labels: gpd.GeoDataFrame
    """class_value, width_m, geometry, image (number of its row in `images`), EPSG:4326."""
    schema: ClassSchema
    target: int
    """Class value of what is counted in a budget, and scored."""
    what: str
    budgets: tuple[int, ...]
    around_m: float
    """So far around what is drawn all is known; other objects there are left out."""
    metric: int
    base: Base
    notes: str
    cell_size_m: float | None = None
    numbers: tuple[str, ...] = field(default=("IoU", "recall", "precision"))


def roads() -> Table:
    """Unpaved roads of NAIP chips, after the lines that are labelled."""
    chips = places(pd.read_csv(CHIPS / "pairs.csv"))
    chips["fold"] = folds(chips)
    parts = [_labels(CHIPS / label, SCHEMA, "surface", VALUES).assign(image=i) for i, label in enumerate(chips["label"])]

    def base(work: Path, fold: int) -> dict[str, Any]:
        scenes(work / "scenes", count=40)
        replay = tile_set(chips[(chips["fold"] != fold) & (chips["n_unpaved"] == 0)], work / f"replay-{fold}", 0)
        return {"base": str(base_model(work, chips, fold, SPECIALISE_STEPS)), "replay_tiles": str(replay), "replay_share": 0.5}

    return Table(
        "roads",
        "Unpaved roads (NAIP, 0.6 m), after the lines that are labelled",
        _images(chips, CHIPS),
        pd.concat(parts, ignore_index=True),
        SCHEMA,
        UNPAVED,
        "lines",
        (2, 5, 10, 20, ALL),
        20.0,
        METRIC,
        base,
        "Base model: paved roads, made without the fold's chips as in [results.md](results.md); half of each step are reminder tiles.",
    )


def buildings() -> Table:
    """Footprints in a drone picture."""
    folder = DATA / "buildings_oam_banepa"
    tiles = pd.read_csv(folder / "tiles.csv")
    tiles = tiles[~tiles["image"].str.startswith("unlabelled")].sort_values(["x", "y"]).reset_index(drop=True)
    tiles["fold"] = np.arange(len(tiles)) * FOLDS // len(tiles)
    images = _images(tiles.assign(group=tiles.index), folder)
    labels = _of_images(_labels(folder / "labels.geojson", BUILDINGS, None, None), images)
    return Table(
        "buildings",
        "Buildings (drone, Banepa), after the footprints that are labelled",
        images,
        labels,
        BUILDINGS,
        1,
        "footprints",
        (5, 20, 50, 200),
        3.0,
        32645,
        _starter,
        "32 tiles in five strips from west to east, read at 0.3 m per pixel. Strips lie side by side: a tile of the test may touch one that was learnt from.",
        cell_size_m=0.3,
    )


def trees() -> Table:
    """Tree points as discs."""
    folder = DATA / "trees_naip_points"
    chips = _grouped(pd.read_csv(folder / "pairs.csv"), folder)
    parts = [_points(folder / points).assign(image=i) for i, points in enumerate(chips["points_geojson"])]
    return Table(
        "trees",
        f"Trees (NAIP, 0.6 m), points as discs of {TREE_M:g} m",
        _images(chips, folder),
        pd.concat(parts, ignore_index=True),
        TREES,
        1,
        "trees",
        (ALL,),
        0.0,
        METRIC,
        _starter,
        "42 chips; those within 350 m of one another are on one side. A disc is not the tree: an IoU of 1 is out of reach.",
    )


TABLES: dict[str, Callable[[], Table]] = {"roads": roads, "buildings": buildings, "trees": trees}


def made_tiles(table: Table, work: Path, fold: int, budget: int, seed: int) -> TileSet:
    """What is labelled outside the fold, exported.

    Raises:
        TooFewTilesError: no draw leaves something to learn and something to choose the epoch by.
    """
    images = table.images[table.images["fold"] != fold]
    labels = table.labels[table.labels["image"].isin(images.index)]
    for attempt in range(1 if budget == ALL else TRIES):
        shutil.rmtree(work, ignore_errors=True)
        drawn = labels if budget == ALL else _drawn(table, labels, budget, np.random.default_rng([fold, seed, attempt]))
        made = _export(table, images, drawn, work, "all" if budget == ALL else "features_only", seed)
        if made.train and made.validation:
            return made
    raise TooFewTilesError(f"{table.name}, fold {fold}, {budget} {table.what}: no draw left tiles on both sides.", "Take another seed.")


def climbed(folder: Path, settings: TrainingSettings, score: Callable[[Path], dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores and seconds after each step, by its title."""
    ended: list[tuple[str, float]] = []
    began = time.monotonic()

    def say(text: str) -> None:
        if text.startswith("Step "):
            if ended:
                shutil.copytree(folder / MODEL, folder / f"after-{len(ended)}")
            ended.append((text.split(": ", 1)[1].rstrip("."), 0.0))
        if ended and (text.startswith("epoch") or text.endswith("was the best.")):
            ended[-1] = (ended[-1][0], time.monotonic() - began)

    fit(folder, settings, JobReporter(folder), say)
    shutil.copytree(folder / MODEL, folder / f"after-{len(ended)}")
    return {title: score(folder / f"after-{n}") | {"seconds": seconds} for n, (title, seconds) in enumerate(ended, 1)}


def cell(table: Table, work: Path, fold: int, budget: int, seed: int) -> dict[str, dict[str, float]]:
    """One cell, from its labels to its scores."""
    folder = work / "steps" / f"{table.name}-{fold}-{budget}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    made = made_tiles(table, folder / "tiles", fold, budget, seed)
    test_at = work / "steps" / f"{table.name}-test-{fold}"
    images = table.images[table.images["fold"] == fold]
    test = open_tile_set(test_at) if test_at.exists() else _export(table, images, table.labels[table.labels["image"].isin(images.index)], test_at, "all", 0)
    settings = _settings(made.folder, seed) | table.base(work, fold)
    (folder / "run").mkdir()
    found = climbed(folder / "run", TrainingSettings.model_validate(settings), lambda model: _pixel_scores(model, test, table))
    shutil.rmtree(folder)
    return found


def scene_cell(work: Path, fold: int, seed: int) -> dict[str, dict[str, float]]:
    """One cell of the table of scenes: random folds, as the pictures lie nowhere."""
    source = DATA / "scenes_ucmerced"
    table = pd.read_csv(source / "labels.csv")
    place = table.assign(draw=np.random.default_rng(seed).random(len(table))).groupby("class")["draw"].rank(method="first").astype(int) - 1
    test = table[place % FOLDS == fold]
    folder = work / "steps" / f"scenes-{fold}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    for image in table["image"][place % FOLDS != fold]:
        target = folder / "tiles" / image
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / image, target)
    assert as_imagenet(folder / "tiles") is not None
    settings = _settings(folder / "tiles", seed) | {"base": STARTER, "train_despite_leak": True}
    (folder / "run").mkdir()

    def score(model: Path) -> dict[str, float]:
        bundle = load_bundle(model, SceneNetwork)
        hits = []
        for row in test.itertuples():
            with rasterio.open(source / row.image) as dataset:
                pixels = dataset.read()
            shown = fitted(_shown(bundle.card, pixels, np.ones(pixels.shape[1:], bool), ("red", "green", "blue")), bundle.card.input.tile_size)
            with torch.inference_mode():
                answer = int(bundle.network(torch.from_numpy(shown)[None]).argmax())
            hits.append(bundle.card.classes[answer].name == row[2])
        return {"accuracy": float(np.mean(hits))}

    found = climbed(folder / "run", TrainingSettings.model_validate(settings), score)
    shutil.rmtree(folder)
    return found


def main(
    table: Annotated[str, typer.Argument(help="roads, buildings, trees or scenes.")],
    work: Annotated[Path, typer.Option(help="Keeps what was made, so that a stopped run goes on.")] = ROOT / ".cache" / "results",
    seeds: int = 3,
    most: Annotated[int, typer.Option(help="Stop after so many new cells.")] = 10**6,
    out: Annotated[Path | None, typer.Option(help="docs/results-<table>.md unless said.")] = None,
) -> None:
    """Measure what is missing; write the page when nothing is."""
    file = work / f"steps-{table}.json"
    done: dict[str, dict[str, dict[str, float]]] = json.loads(file.read_text()) if file.exists() else {}
    of = None if table == "scenes" else TABLES[table]()
    budgets = (ALL,) if of is None else of.budgets
    cells = [(budget, fold, seed) for seed in range(seeds) for fold in range(FOLDS) for budget in budgets]
    missing = [one for one in cells if _key(*one) not in done]
    for budget, fold, seed in missing[:most]:
        began = time.monotonic()
        done[_key(budget, fold, seed)] = scene_cell(work, fold, seed) if of is None else cell(of, work, fold, budget, seed)
        work.mkdir(parents=True, exist_ok=True)
        write_json(file, done)
        typer.echo(f"{table}, {budget or 'all'}, fold {fold}, seed {seed}: {time.monotonic() - began:.0f} s; {done[_key(budget, fold, seed)]}")
    left = len([one for one in cells if _key(*one) not in done])
    if left:
        typer.echo(f"{left} of {len(cells)} cells are missing; no page is written.")
        return
    page = report(of, done, budgets, seeds)
    (out or ROOT / "docs" / f"results-{table}.md").write_text(page, encoding="utf-8")
    typer.echo(page)


def report(of: Table | None, done: Mapping[str, Mapping[str, Mapping[str, float]]], budgets: Sequence[int], seeds: int) -> str:
    """The page, in Markdown."""
    name, title = ("scenes", "Scenes (UC Merced, 12 classes)") if of is None else (of.name, of.title)
    notes = (
        "84 pictures, 7 of each class. They do not say where they lie, so the folds are drawn by chance, not by place: no honest test of another place. Only one layer learns "
        "until the backbone does, so there is no step before it."
        if of is None
        else of.notes
    )
    numbers = ("accuracy",) if of is None else of.numbers
    lines = [
        f"# {title}",
        "",
        f"Made by `python -m benchmarks.results_steps {name}`; every number below was computed by it.",
        "",
        f"{FOLDS} folds, {seeds} seeds: mean over the folds, ± the standard deviation over the seeds. A training climbs step by step (`--freeze ladder`, at most {EPOCHS} epochs a "
        f"step); after each step the best model so far is scored on the fold. Seconds: from the start of the run to the end of the step, median. {notes}",
        "",
        f"| {'' if of is None else 'labelled ' + of.what} | after | seconds | {' | '.join(numbers)} |",
        "|---|---|---|" + "---|" * len(numbers),
    ]
    for budget in budgets:
        for title in (TITLES[rung] for rung in RUNGS):
            rows = [[done[_key(budget, fold, seed)].get(title) for fold in range(FOLDS)] for seed in range(seeds)]
            known = [[one for one in row if one is not None] for row in rows]
            if not all(len(row) == FOLDS for row in known):
                continue
            seconds = statistics.median(one["seconds"] for row in known for one in row)
            shown = " | ".join(spread([statistics.mean(one[number] for one in row) for row in known]) for number in numbers)
            lines.append(f"| {'' if of is None else budget or 'all'} | {title} | {seconds:.0f} | {shown} |")
    return "\n".join(lines) + "\n"


def _settings(tiles: Path, seed: int) -> dict[str, Any]:
    return {"tiles": str(tiles), "epochs": EPOCHS, "seed": seed, "freeze": "ladder", "device": "cpu"}


def _starter(work: Path, fold: int) -> dict[str, Any]:
    del work, fold
    return {"base": str(find_model(STARTER)), "keep_old_classes": False}


def _key(budget: int, fold: int, seed: int) -> str:
    return f"{budget}-{fold}-{seed}"


def _labels(path: Path, schema: ClassSchema, class_field: str | None, values: Mapping[str, int | None] | None) -> gpd.GeoDataFrame:
    if class_field is not None:
        return read_labels(path, class_field=class_field, value_map=values, schema=schema)[["class_value", "width_m", "geometry"]]
    shapes = gpd.read_file(path)
    return gpd.GeoDataFrame({"class_value": 1, "width_m": None}, geometry=shapes.geometry, crs=shapes.crs, index=shapes.index).to_crs(4326)


def _points(path: Path) -> gpd.GeoDataFrame:
    points = gpd.read_file(path).to_crs(4326)
    return gpd.GeoDataFrame({"class_value": 1, "width_m": TREE_M}, geometry=points.geometry, crs=4326, index=points.index)


def _images(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    sources = [str(folder / image) for image in rows["image"]]
    return pd.DataFrame({"name": [Path(s).stem for s in sources], "source": sources, "fold": rows["fold"].to_numpy(), "place": rows["group"].to_numpy()})


def _of_images(labels: gpd.GeoDataFrame, images: pd.DataFrame) -> gpd.GeoDataFrame:
    """Labels with the image that their middle lies on; others are left out."""
    outlines = []
    for source in images["source"]:
        with rasterio.open(source) as dataset:
            outlines.append(gpd.GeoSeries([box(*dataset.bounds)], crs=dataset.crs).to_crs(4326).iloc[0])
    middle = gpd.GeoSeries(labels.geometry.representative_point(), crs=4326)
    image, label = gpd.GeoSeries(outlines, crs=4326).sindex.query(middle, predicate="within")[::-1]
    return labels.iloc[label].assign(image=image).reset_index(drop=True)


def _grouped(chips: pd.DataFrame, folder: Path) -> gpd.GeoDataFrame:
    """With group and fold by place, as the chips of `benchmarks.results` have them."""
    table = places(chips, folder).assign(n_unpaved=0)
    return table.assign(fold=folds(table))


def _drawn(table: Table, labels: gpd.GeoDataFrame, budget: int, random: np.random.Generator) -> gpd.GeoDataFrame:
    """So many objects by chance, in two places at least, and the ground around each that is known by that."""
    wanted = labels.index[labels["class_value"] == table.target].to_numpy()
    order = random.permutation(wanted)
    place = table.images["place"].loc[labels["image"].loc[order]].to_numpy()
    elsewhere = np.flatnonzero(place != place[0])
    if len(elsewhere):
        order[[1, elsewhere[0]]] = order[[elsewhere[0], 1]]
    chosen = order[:budget]
    plane = labels.to_crs(table.metric)
    widths = pd.to_numeric(plane["width_m"]).fillna(1.0)
    shapes = plane.geometry.where(plane.geom_type.isin(["Polygon", "MultiPolygon"]), plane.geometry.buffer(widths / 2))
    others = shapes.drop(chosen)
    others = others.iloc[others.sindex.query(shapes.loc[chosen].buffer(table.around_m).union_all(), predicate="intersects")]
    known = shapes.loc[chosen].buffer(table.around_m).union_all().difference(others.buffer(0.5).union_all())
    areas = gpd.GeoSeries([known], crs=table.metric).explode(ignore_index=True).to_crs(4326)
    area = gpd.GeoDataFrame({"class_value": FULLY_LABELLED_VALUE, "width_m": None}, geometry=areas, crs=4326, index=areas.index)
    return gpd.GeoDataFrame(pd.concat([labels.loc[chosen], area], ignore_index=True), crs=4326)


def _export(table: Table, images: pd.DataFrame, labels: gpd.GeoDataFrame, out: Path, which: str, seed: int) -> TileSet:
    sources = [ImageSource(name=row.name_, source=row.source) for row in images.rename(columns={"name": "name_"}).itertuples()]
    settings = ExportSettings.model_validate({"tile_size": 256, "stride": 256, "seed": seed, "tiles": which, "cell_size_m": table.cell_size_m})
    out.parent.mkdir(parents=True, exist_ok=True)
    return export_tiles(sources, labels.drop(columns="image", errors="ignore"), table.schema, settings, out)


def _shown(card: ModelCard, pixels: NDArray[Any], valid: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.float32]:
    return normalised(pixels[band_order(card.input, names)], valid, card.input.mean, card.input.std)


def _pixel_scores(model: Path, test: TileSet, table: Table) -> dict[str, float]:
    """Of the class that is counted, pooled over all tiles of the fold."""
    bundle = load_bundle(model)
    output = bundle.card.output_of(next(c.name for c in table.schema.classes if c.value == table.target))
    hit = true = said = 0
    for tile in test.record.tiles:
        held = read_tile(test, tile)
        shown = _shown(bundle.card, held.image, held.valid, test.record.band_names)
        with torch.inference_mode():
            found = bundle.network(torch.from_numpy(shown)[None])[0].argmax(0).numpy() == output
        counted = held.label != IGNORE
        truth = held.label == table.target
        hit, true, said = hit + int((found & truth).sum()), true + int(truth.sum()), said + int((found & counted).sum())
    return {"IoU": hit / max(true + said - hit, 1), "recall": hit / max(true, 1), "precision": hit / max(said, 1)}


if __name__ == "__main__":
    typer.run(main)
