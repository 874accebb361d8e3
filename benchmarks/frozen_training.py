"""What looking at each tile once gains: docs/frozen-training.md, made by `python -m benchmarks.frozen_training`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training sets it; read when torch loads

import pandas as pd
import torch
import typer
from pydantic import BaseModel

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
from workspace.files import read_json, write_json
from workspace.jobs import job_status, start_job
from workspace.project import Project

TILES, EPOCHS = 64, 20
Freeze = Literal["features", "backbone"]
NETWORKS: tuple[NetworkName, ...] = ("auto", "unet", "fpn", "deeplabv3plus")
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


def learner(tiles: TileSet, network: NetworkName, freeze: Freeze) -> PixelLearner:
    settings = TrainingSettings(tiles=str(tiles.folder), base=BASE, network=network, freeze=freeze)
    ready = prepared(settings, lambda *_: None)
    assert isinstance(ready, PixelLearner)
    return ready


def by_network(tiles: TileSet, network: NetworkName, rounds: int) -> str:
    """A row of the table."""
    once, anew = (learner(tiles, network, freeze) for freeze in ("features", "backbone"))
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
        f"| {name} | {look:.1f} ({looks} looks) | {kept:.2f} | {plain:.2f} | {all_once:.0f} | {all_anew:.0f} | {all_anew / all_once:.1f} |"
    )


def stages(folder: Path, module: str, settings: BaseModel) -> dict[str, Cost]:
    """What each stage that a job of the product tells of costs, in a process of its own."""
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    found: dict[str, Cost] = {}
    now, before = "Starting: process and imports", Cost(time.perf_counter(), 0.0)
    start_job(folder, module)
    pid = int(read_json(folder / "process.json")["pid"])
    while not (status := job_status(folder)).ended:
        time.sleep(0.02)
        moment = Cost(time.perf_counter(), _cpu_of(pid, before.cpu_s))
        so_far = found.get(now, Cost(0.0, 0.0))
        found[now] = Cost(so_far.wall_s + moment.wall_s - before.wall_s, so_far.cpu_s + moment.cpu_s - before.cpu_s)
        before = moment
        if status.stage and status.stage != "Starting":
            now = "Epochs" if status.stage.startswith(("Epoch", "Starting ")) else status.stage
    assert status.state == "done", f"{status.error} {status.remedy}"
    return found


def _cpu_of(pid: int, else_s: float) -> float:
    """CPU seconds that a process has taken, all threads; `else_s` where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return else_s
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def total(costs: Mapping[str, Cost]) -> Cost:
    return Cost(sum(one.wall_s for one in costs.values()), sum(one.cpu_s for one in costs.values()))


def to_first_map(project: Project, tiles: TileSet) -> list[str]:
    """The table of seconds, until the comparison with the base model is done."""
    run = project.runs_folder / "first"
    learnt = stages(run, "training.run", TrainingSettings(tiles=str(tiles.folder), base=BASE, freeze="features", epochs=EPOCHS))
    mapped = stages(project.predictions_folder / "first", "inference.run", comparison(project, run))
    rows = [("training", learnt), ("comparison", mapped)]
    lines = [
        f"| {job}: {name} | {one.cpu_s:.1f} | {one.wall_s:.1f} |" for job, costs in rows for name, one in costs.items() if one.wall_s >= 0.1
    ]
    return lines + [f"| {job}, all | {total(costs).cpu_s:.1f} | {total(costs).wall_s:.1f} |" for job, costs in rows]


def on_real_imagery(work: Path, seeds: int, epochs: int, share: float) -> list[str]:
    """Scores on held-out chips, looked at once and anew."""
    scenes(work / "scenes", count=40)
    table = places(pd.read_csv(CHIPS / "pairs.csv"))
    table["fold"] = folds(table)
    for fold in range(FOLDS):
        base_model(work, table, fold, SPECIALISE_STEPS)
    rows = []
    ways: dict[str, dict[str, bool]] = {"quick": {"quick": True}, "brisk": {"brisk": True}, "thorough": {}}
    for name, way in ways.items():
        runs = [[fine_tuned(work, table, fold, seed, epochs, share, **way) for fold in range(FOLDS)] for seed in range(seeds)]
        found = [scores(*pooled(table, [folder for folder, _ in seed], AS_TRAINED)) for seed in runs]
        rows.append(f"| {name} | " + " | ".join(spread([one[column] for one in found]) for column in COLUMNS) + " |")
    return rows


def measured_cost(rounds: int) -> list[str]:
    """The first two parts of the page."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["TERRATUNE_DATA"] = str(Path(place) / "data")  # nothing is kept from before
        project = create_demo_project(Path(place) / "projects")
        many, few = (some_tiles(project, count, everywhere=count == TILES) for count in (TILES, 20))
        settings = TrainingSettings(tiles=str(many.folder), base=BASE, freeze="features", epochs=EPOCHS)
        whole = total(stages(project.runs_folder / "whole", "training.run", settings))
        first = to_first_map(project, few)
        networks = [by_network(many, network, rounds) for network in NETWORKS]
        load = os.getloadavg()[1]
    peer = EPOCHS * PEER_EPOCH_S
    return [
        "## Cost",
        "",
        f"{len(many.train)} tiles of 256 px to learn from, {len(many.validation)} held out (demo scene), {EPOCHS} epochs. CPU seconds, all threads, because the machine did "
        f"much else (load {load:.0f} on two cores): on two free cores a training takes between half as many seconds by the clock and as many. An epoch that learns from what was "
        f"seen once and one that looks anew were taken in turns, {rounds} {'rounds, medians' if rounds > 1 else 'round'}, the held-out tiles scored each time. Who looked once learns from "
        "a square of each tile in an epoch, of a quarter of its side, or of half of it where the decoder is fresh; who looks anew from whole tiles. The first column is paid once, and again only for tiles that are new.",
        "",
        f"| network | looking once | epoch | epoch that looks anew | {EPOCHS} epochs | {EPOCHS} that look anew | times less |",
        "|---|---|---|---|---|---|---|",
        *networks,
        "",
        f"The whole brisk training job of the default network (process, imports, quick fit, report and all, at most {EPOCHS} epochs): {whole.cpu_s:.0f} CPU s, {whole.wall_s:.0f} s by the clock at that load. "
        f"A peer's frozen training takes {PEER_EPOCH_S:g} s an epoch on such a machine when it is idle, so {peer:.0f} s: {peer / whole.cpu_s:.0f} times the CPU seconds of this job.",
        "",
        "## From 'train' to the new map",
        "",
        f"{len(few.train)} tiles, at most {EPOCHS} epochs, then a comparison over the demo scene (2048 x 1536 px). The new map is there when the comparison goes on to the second one.",
        "",
        "| stage | CPU s | s by the clock |",
        "|---|---|---|",
        *first,
        "",
    ]


def main(
    work: Annotated[Path, typer.Option(help="Keeps what was made, so that a stopped run goes on.")] = ROOT / ".cache" / "results",
    seeds: int = 3,
    epochs: int = 40,
    share: float = 0.5,
    rounds: Annotated[int, typer.Option(help="Of the costs; 0: only the scores.")] = 3,
    out: Path = ROOT / "docs" / "frozen-training.md",
) -> None:
    """Measure and write the page."""
    lines = [
        "# Brisk training: each tile looked at once",
        "",
        "Made by `python -m benchmarks.frozen_training`; all numbers but the peer's were computed by it."
        if rounds
        else "Made by `python -m benchmarks.frozen_training --rounds 0`.",
        "",
        *(measured_cost(rounds) if rounds else []),
        "## Scores",
        "",
        f"The {FOLDS} folds by place of [results.md](results.md): {seeds} seed{'s' * (seeds > 1)}, at most {epochs} epochs, reminder share {share}, scored on the held-out chips; "
        "mean ± standard deviation over the seeds.",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *on_real_imagery(work, seeds, epochs, share),
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
