"""What looking at each tile once gains: docs/frozen-training.md, made by `python -m benchmarks.frozen_training`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training sets it; read when torch loads

import pandas as pd
import torch
import typer

from benchmarks.loop import BASE, comparison, some_tiles
from benchmarks.results import AS_TRAINED, CHIPS, FOLDS, ROOT, base_model, fine_tuned, folds, places, pooled, scores, spread
from demo.project import create_demo_project
from tiles.tile_set import TileSet
from training.loop import encoder_and_rest, train_epoch
from training.memory import Pieces
from training.prepare import PixelLearner
from training.settings import NetworkName, TrainingSettings
from training.starter import SPECIALISE_STEPS, scenes
from training.tasks import prepared, title_of
from workspace.files import write_json
from workspace.jobs import job_status, start_job
from workspace.project import Project

TILES, EPOCHS = 64, 20
NETWORKS: tuple[NetworkName, ...] = ("auto", "unet", "fpn", "deeplabv3plus", "linknet")
PEER_EPOCH_S = 14.0
"""Frozen training of a peer, 64 tiles of 256 px, two cores: not measured here, but once, where this page was asked for."""
COLUMNS = ("unpaved recall", "unpaved precision", "unpaved IoU", "road IoU, unpaved chips", "road IoU, paved chips", "paved IoU, all chips")


class Cost(NamedTuple):
    """Of some work of this process, all threads."""

    wall_s: float
    cpu_s: float


def cost(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def an_epoch(ready: PixelLearner) -> Callable[[], object]:
    """Learning once from all tiles, and scoring the held-out ones."""
    size, rate = ready.settings.batch_size, ready.settings.learning_rate
    assert size is not None and rate is not None
    optimiser = torch.optim.AdamW(encoder_and_rest(ready.network, rate), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimiser)
    random = torch.Generator().manual_seed(0)

    def work() -> None:
        train_epoch(ready.network, ready.batches(size, random), optimiser, schedule, ready.batch_loss, Pieces(), lambda: None)
        ready.score(lambda: None)

    return work


def learner(tiles: TileSet, network: NetworkName, *, look_once: bool) -> PixelLearner:
    settings = TrainingSettings(tiles=str(tiles.folder), base=BASE, network=network, look_once=look_once)
    ready = prepared(settings, lambda *_: None)
    assert isinstance(ready, PixelLearner)
    return ready


def by_network(tiles: TileSet, network: NetworkName, rounds: int) -> str:
    """A row of the table."""
    once, anew = (learner(tiles, network, look_once=look_once) for look_once in (True, False))
    assert once.features is not None
    features, count = once.features, 8
    looking = cost(lambda: [features.encoded(once.train, i, 1) for i in range(count)])
    looks = features.ways * len(once.train) + len(once.validation)
    look = looks * looking.cpu_s / count
    work_once, work_anew = an_epoch(once), an_epoch(anew)
    turns = [(cost(work_once), cost(work_anew)) for _ in range(rounds)]
    kept, plain = (statistics.median(turn[i].cpu_s for turn in turns) for i in (0, 1))
    all_once, all_anew = look + EPOCHS * kept, EPOCHS * plain
    name = f"{title_of(once.architecture).split(': ')[1]}{', knows its classes' if once.begins_quick else ', a fresh decoder'}"
    return (
        f"| {name} | {looks} looks, {look:.1f} | {kept:.2f} | {plain:.2f} | {all_once:.0f} | {all_anew:.0f} | {all_anew / all_once:.1f} |"
    )


def stages(folder: Path, module: str, settings: dict[str, object]) -> dict[str, float]:
    """Seconds of each stage that a job of the product tells of, in a process of its own."""
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings)
    found: dict[str, float] = {}
    now, before = "Starting (process, imports)", time.monotonic()
    start_job(folder, module)
    while not (status := job_status(folder)).ended:
        time.sleep(0.02)
        moment = time.monotonic()
        found[now] = found.get(now, 0.0) + moment - before
        before = moment
        if status.stage and status.stage != "Starting":
            now = "Epochs" if status.stage.startswith("Epoch") else status.stage
    assert status.state == "done", f"{status.error} {status.remedy}"
    return found


def to_first_map(project: Project, tiles: TileSet) -> list[str]:
    """The table of seconds."""
    run = project.runs_folder / "first"
    settings = TrainingSettings(tiles=str(tiles.folder), base=BASE, epochs=EPOCHS)
    learnt = stages(run, "training.run", settings.model_dump(mode="json"))
    mapped = stages(project.predictions_folder / "first", "inference.run", comparison(project, run).model_dump(mode="json"))
    rows = [f"| training: {name} | {seconds:.1f} |" for name, seconds in learnt.items()]
    rows += [f"| comparison: {name} | {seconds:.1f} |" for name, seconds in mapped.items()]
    return [*rows, f"| all | {sum(learnt.values()) + sum(mapped.values()):.1f} |"]


def on_real_imagery(work: Path, seeds: int, epochs: int, share: float) -> list[str]:
    """Scores on held-out chips, looked at once and anew."""
    scenes(work / "scenes", count=40)
    table = places(pd.read_csv(CHIPS / "pairs.csv"))
    table["fold"] = folds(table)
    for fold in range(FOLDS):
        base_model(work, table, fold, SPECIALISE_STEPS)
    rows = []
    for name, look_once in (("looked at once", True), ("looked at anew in every epoch", False)):
        runs = [[fine_tuned(work, table, fold, seed, epochs, share, look_once=look_once) for fold in range(FOLDS)] for seed in range(seeds)]
        found = [scores(*pooled(table, [folder for folder, _ in seed], AS_TRAINED)) for seed in runs]
        rows.append(f"| {name} | " + " | ".join(spread([one[column] for one in found]) for column in COLUMNS) + " |")
    return rows


def main(
    work: Annotated[Path, typer.Option(help="Keeps what was made, so that a stopped run goes on.")] = ROOT / ".cache" / "results",
    seeds: int = 3,
    epochs: int = 40,
    share: float = 0.5,
    rounds: int = 3,
    out: Path = ROOT / "docs" / "frozen-training.md",
) -> None:
    """Measure and write the page."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["TERRATUNE_DATA"] = str(Path(place) / "data")  # nothing is kept from before
        project = create_demo_project(Path(place) / "projects")
        many, few = (some_tiles(project, count, everywhere=count == TILES) for count in (TILES, 20))
        networks = [by_network(many, network, rounds) for network in NETWORKS]
        default = stages(
            project.runs_folder / "default",
            "training.run",
            TrainingSettings(tiles=str(many.folder), base=BASE, epochs=EPOCHS).model_dump(mode="json"),
        )
        first = to_first_map(project, few)
        load = os.getloadavg()[0]
    real = on_real_imagery(work, seeds, epochs, share)
    epochs_s = default.get("Epochs", 0.0)
    lines = [
        "# Frozen training: each tile looked at once",
        "",
        "Made by `python -m benchmarks.frozen_training`; every number but those of the peer was computed by it.",
        "",
        "## Cost",
        "",
        f"{len(many.train)} tiles of 256 px to learn from, {len(many.validation)} held out, the demo scene, {EPOCHS} epochs, two threads. CPU seconds (all threads), "
        f"because the machine did other work, too (load {load:.1f} on two cores): an epoch that learns from what was seen once and one that looks anew, in turns, {rounds} rounds, "
        "medians, the held-out tiles scored each time. What knows its classes learns from squares of a quarter of a tile's side, a fresh decoder from squares of half of it; "
        "looking anew, from whole tiles.",
        "",
        f"| network | looking once: s | epoch: s | epoch that looks anew: s | {EPOCHS} epochs: s | {EPOCHS} that look anew: s | times quicker |",
        "|---|---|---|---|---|---|---|",
        *networks,
        "",
        f"A training of the default network as the page starts it, process and all, took {sum(default.values()):.0f} s by the clock at that load, of which its epochs {epochs_s:.1f} s "
        f"({', '.join(f'{name} {seconds:.1f}' for name, seconds in default.items())}). A peer's frozen training was {PEER_EPOCH_S:g} s an epoch on such a machine, {EPOCHS * PEER_EPOCH_S:.0f} s in all: "
        f"{EPOCHS * PEER_EPOCH_S / sum(default.values()):.0f} times as long.",
        "",
        "## From 'train' to the new map",
        "",
        f"{len(few.train)} tiles, {EPOCHS} epochs at most, then the demo scene mapped by the model before and after; seconds by the clock, stage by stage.",
        "",
        "| stage | s |",
        "|---|---|",
        *first,
        "",
        "## Scores",
        "",
        f"The {FOLDS} folds by place of [results.md](results.md): {seeds} seeds, at most {epochs} epochs, reminder share {share}, scored on the held-out chips.",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *real,
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
