"""What each step of a training that goes step by step brings on real imagery: docs/ladder.md, made by `python -m benchmarks.ladder`.

Folds, base models, tiles and masks are those of `benchmarks.results` (made there when they are not there yet). After each step the best model so
far is scored on the held-out chips.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.results import AS_TRAINED, CHIPS, FOLDS, ROOT, base_model, folds, places, pooled, scores, spread, tile_set
from training.fit import fit
from training.ladder import RUNGS, TITLES
from training.run_folder import MODEL
from training.settings import TrainingSettings
from training.starter import SPECIALISE_STEPS, scenes
from workspace.jobs import JobReporter

COLUMNS = ("unpaved recall", "unpaved precision", "unpaved IoU", "road IoU, unpaved chips", "road IoU, paved chips")


def climbed(work: Path, table: pd.DataFrame, fold: int, seed: int, epochs: int, share: float) -> tuple[list[Path], list[float]]:
    """The best model after each step, and the seconds from the start of the run to the end of each."""
    folder = work / f"ladder-{fold}-{seed}-{epochs}-{share}"
    noted = folder / "seconds.json"
    steps = [folder / f"step-{number}" for number in range(len(RUNGS))]
    if not noted.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        train = table[table["fold"] != fold]
        settings = TrainingSettings(
            tiles=str(tile_set(train[train["n_unpaved"] > 0], work / f"tiles-{fold}", 0)),
            base=str(work / f"base-{fold}"),
            replay_tiles=str(tile_set(train[train["n_unpaved"] == 0], work / f"replay-{fold}", 0)),
            replay_share=share,
            epochs=epochs,
            seed=seed,
            freeze="ladder",
        )
        started, ended = time.monotonic(), []

        def say(text: str) -> None:
            typer.echo(text)
            if (text.startswith("Step") and not text.startswith("Step 1 ")) or text.endswith("was the best."):
                shutil.copytree(folder / MODEL, steps[len(ended)])
                ended.append(time.monotonic() - started)

        fit(folder, settings, JobReporter(folder), say)
        noted.write_text(json.dumps(ended))
    return steps, json.loads(noted.read_text())


def main(
    work: Annotated[Path, typer.Option(help="Keeps what was made, so that a stopped run goes on.")] = ROOT / ".cache" / "results",
    seeds: int = 1,
    epochs: int = 20,
    share: float = 0.5,
    out: Path = ROOT / "docs" / "ladder.md",
) -> None:
    """Measure and write the table."""
    scenes(work / "scenes", count=40)
    table = places(pd.read_csv(CHIPS / "pairs.csv"))
    table["fold"] = folds(table)
    for fold in range(FOLDS):
        base_model(work, table, fold, SPECIALISE_STEPS)
    before = scores(*pooled(table, [work / f"base-{fold}" for fold in range(FOLDS)], AS_TRAINED))
    runs = [[climbed(work, table, fold, seed, epochs, share) for fold in range(FOLDS)] for seed in range(seeds)]
    lines = [
        "# Step by step",
        "",
        f"What each step of 'Step by step' (`training.run --freeze ladder`) brings, on the {FOLDS} folds by place of [results.md](results.md): {seeds} seed{'s' * (seeds > 1)}, "
        f"at most {epochs} epochs a step, reminder share {share}. Each row: the best model so far by its own validation tiles, scored on the held-out chips. "
        "Made by `python -m benchmarks.ladder`; seconds (mean of the folds) are of whatever else the machine did at that time.",
        "",
        f"| after | seconds | {' | '.join(COLUMNS)} |",
        "|---|---|" + "---|" * len(COLUMNS),
        f"| base model | | {' | '.join(f'{before[name]:.2f}' for name in COLUMNS)} |",
    ]
    for number, rung in enumerate(RUNGS):
        found = [scores(*pooled(table, [steps[number] for steps, _ in seed], AS_TRAINED)) for seed in runs]
        taken = [seconds[number] for seed in runs for _, seconds in seed]
        numbers = " | ".join(spread([one[name] for one in found]) if seeds > 1 else f"{found[0][name]:.2f}" for name in COLUMNS)
        lines.append(f"| {TITLES[rung]} | {sum(taken) / len(taken):.0f} | {numbers} |")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
