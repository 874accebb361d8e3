"""Does it pay to label where the model is least sure? `python -m benchmarks.suggestions`; writes docs/suggestions.md.

Simulated on the chips of ../shared/data/naip_roads, folds and base models as in benchmarks/results.py: of the training chips' squares (128 x 128 px) a few are labelled,
a quick training, then further squares are labelled: by `inference.suggest`, or drawn by chance. Both begin with the same squares. Scored on the fold's held-out chips.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import typer
from numpy.typing import NDArray

from benchmarks.results import AS_TRAINED, CHIPS, ROOT, SCHEMA, VALUES, base_model, confusion, folds, places, scores
from inference.classify import make_classifier
from inference.suggest import LEAST_UNSURE, UNSURE, spread_out
from labeling.exchange import read_labels
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from models.bundle import load_bundle
from tiles.tile_set import RECORD_FILE, TileSet, open_tile_set, save_record
from training.fit import fit
from training.settings import TrainingSettings
from training.starter import SPECIALISE_STEPS, scenes
from workspace.jobs import JobReporter

SIDE = 128
BUDGETS = (5, 10, 20, 40)
WAYS = ("suggested", "by chance")
SHOWN = ("unpaved IoU", "unpaved recall", "unpaved precision")


def pool(rows: gpd.GeoDataFrame, out: Path) -> TileSet:
    """All squares of the chips, labelled as digitised."""
    if not (out / RECORD_FILE).exists():
        labels = pd.concat([read_labels(CHIPS / label, class_field="surface", value_map=VALUES, schema=SCHEMA) for label in rows["label"]], ignore_index=True)
        images = [ImageSource(name=row["chip"], source=str(CHIPS / row["image"])) for _, row in rows.iterrows()]
        export_tiles(images, labels, SCHEMA, ExportSettings(tile_size=SIDE, stride=SIDE, tiles="all"), out)
    return open_tile_set(out)


def trained(every: TileSet, chosen: set[str], base: Path, out: Path) -> Path:
    """A quick training on these squares alone; what it is scored on meanwhile does not matter here."""
    tiles = out / "tiles"
    tiles.mkdir(parents=True)
    for part in ("images", "labels", "ignore"):
        if (every.folder / part).exists():
            (tiles / part).symlink_to(every.folder / part)
    other = next(t.name for t in every.record.tiles if t.name not in chosen)
    sides = {t.name: "train" if t.name in chosen else "validation" if t.name == other else "gap" for t in every.record.tiles}
    record = every.record.model_copy(update={"tiles": tuple(t.model_copy(update={"split": sides[t.name]}) for t in every.record.tiles)})
    save_record(TileSet(tiles, record))
    fit(out, TrainingSettings(tiles=str(tiles), base=str(base), freeze="all_but_last_layer", train_despite_leak=True), JobReporter(out), lambda line: None)
    return out


def unsure(model: Path, rows: gpd.GeoDataFrame) -> list[NDArray[np.float64]]:
    """For each chip the share of unsure pixels of each of its squares."""
    bundle = load_bundle(model)
    classifier = make_classifier(bundle.network, bundle.card.input.mean, bundle.card.input.std, "cpu", [1.0] * (len(bundle.card.classes) + 1))
    found = []
    for _, row in rows.iterrows():
        with rasterio.open(CHIPS / row["image"]) as file:
            pixels = file.read([1, 2, 3])
        confidence = 100 * classifier.probabilities([pixels], [np.ones(pixels.shape[1:], bool)])[0].max(axis=0)
        n = confidence.shape[0] // SIDE
        found.append((confidence[: n * SIDE, : n * SIDE] < UNSURE).reshape(n, SIDE, n, SIDE).mean(axis=(1, 3)))
    return found


def suggested(every: TileSet, labelled: set[str], model: Path, rows: gpd.GeoDataFrame, count: int, rng: np.random.Generator) -> set[str]:
    """The squares that would be suggested; where the model is sure of all others, the rest by chance."""
    names = {(t.raster, t.row // SIDE, t.column // SIDE): t.name for t in every.record.tiles}
    shares, chips = unsure(model, rows), rows["chip"].tolist()
    for (chip, row, column), name in names.items():
        if name in labelled:
            shares[chips.index(chip)][row, column] = 0.0
    found = [names[chips[i], row, column] for i, row, column in spread_out(shares, count)]
    return set(found) | by_chance(every, labelled | set(found), count - len(found), rng)


def by_chance(every: TileSet, labelled: set[str], count: int, rng: np.random.Generator) -> set[str]:
    left = [t.name for t in every.record.tiles if t.name not in labelled]
    return set(rng.choice(left, size=count, replace=False).tolist()) if count > 0 else set()


def begun(every: TileSet, rng: np.random.Generator) -> set[str]:
    """The first squares, as a person would choose them: those with an unpaved road in them, by chance."""
    with_roads = [t.name for t in every.record.tiles if t.pixels.get(VALUES["unpaved"], 0) > 200]
    return set(rng.choice(with_roads, size=BUDGETS[0], replace=False).tolist())


def main(
    work: Annotated[Path, typer.Option(help="Base models of benchmarks/results.py are taken from here, or made.")] = ROOT / ".cache" / "results",
    seeds: int = 5,
    fold_count: int = 3,
    out: Path = ROOT / "docs" / "suggestions.md",
) -> None:
    """Simulate and write the page."""
    scenes(work / "scenes", count=40)
    table = places(pd.read_csv(CHIPS / "pairs.csv"))
    table["fold"] = folds(table)
    found: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    for fold in range(fold_count):
        base, rows, held_out = base_model(work, table, fold, SPECIALISE_STEPS), table[table["fold"] != fold], table[table["fold"] == fold]
        every = pool(rows, work / f"squares-{fold}")
        for seed in range(seeds):
            rng = np.random.default_rng(1000 * fold + seed)
            first = begun(every, rng)
            for way in WAYS:
                labelled, model = set(first), Path()
                for budget in BUDGETS:
                    if budget > BUDGETS[0]:
                        more = budget - len(labelled)
                        labelled |= suggested(every, labelled, model, rows, more, rng) if way == WAYS[0] else by_chance(every, labelled, more, rng)
                    model = work / "suggestions" / f"{fold}-{seed}-{way.replace(' ', '-')}-{budget}"
                    if not (model / "model" / "card.json").exists():
                        trained(every, labelled, base, model)
                    has_unpaved = held_out["n_unpaved"].to_numpy() > 0
                    found[way, budget].append(scores(confusion(model, held_out, AS_TRAINED), has_unpaved))
                    typer.echo(f"fold {fold}, seed {seed}, {way}, {budget}: {found[way, budget][-1]['unpaved IoU']:.3f}")
    page = report(found, seeds, fold_count)
    out.write_text(page, encoding="utf-8")
    typer.echo(page)


def report(found: dict[tuple[str, int], list[dict[str, float]]], seeds: int, fold_count: int) -> str:
    """The page, in Markdown."""
    lines = [
        "# Where to label next: does it pay?",
        "",
        "Made by `python -m benchmarks.suggestions`; every number below was computed by it.",
        "",
        f"{fold_count} folds by place of 28 NAIP chips, {seeds} seeds each; squares of {SIDE} x {SIDE} px, the first {BUDGETS[0]} with an unpaved road in them and the same for "
        f"both ways; quick training after each step. Suggested: the squares with the largest share of pixels less than {UNSURE} % sure, one beside another only when "
        f"none else is left (`inference.suggest`, at least {100 * LEAST_UNSURE:.0f} % unsure). Scores on held-out chips; mean over folds and seeds, and the difference of the pairs with its "
        "standard error.",
        "",
        "| labelled squares | " + " | ".join(f"{name}, {way}" for name in SHOWN for way in WAYS) + " | difference in unpaved IoU |",
        "|---|" + "---|" * (len(SHOWN) * len(WAYS) + 1),
    ]
    for budget in BUDGETS:
        cells = [f"{statistics.mean(one[name] for one in found[way, budget]):.2f}" for name in SHOWN for way in WAYS]
        pairs = [a["unpaved IoU"] - b["unpaved IoU"] for a, b in zip(found[WAYS[0], budget], found[WAYS[1], budget], strict=True)]
        error = statistics.stdev(pairs) / len(pairs) ** 0.5
        lines.append(f"| {budget} | {' | '.join(cells)} | {statistics.mean(pairs):+.3f} ± {error:.3f} |")
    lines += [
        "",
        "How to read it: a difference below two standard errors is none. After ten squares the quick training has learnt nearly all it can learn here, whichever squares they "
        "are; suggestions spare the search for a place more than they raise the score.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
