"""Seconds from "train" to the new map on screen: ten labelled lines, twenty 256 px tiles, this machine. `python -m benchmarks.loop`.

The product's own jobs are started as the pages start them (a process each), one after the other. Beside it, in the same run: the same training with nothing frozen (the naive way).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from demo.project import create_demo_project, example_labels
from imagery.library import list_rasters, raster_source
from inference.settings import PredictionSettings, RasterToPredict
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from models.catalogue import find_model
from tiles.tile_set import TileSet, save_record
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import job_status, start_job
from workspace.project import Project

TILES = 20
LINES = 10
BASE = "paved-roads-starter"


Freeze = Literal["all_but_last_layer", "backbone", "nothing"]


def finished(folder: Path, module: str, settings: TrainingSettings | PredictionSettings, first: str = "*") -> tuple[float, float]:
    """Seconds until a file like `first` was there, and until the job had ended; the start of its process included."""
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    started, there = time.monotonic(), 0.0
    start_job(folder, module)
    while not job_status(folder).ended:
        time.sleep(0.05)
        if not there and any(folder.glob(first)):
            there = time.monotonic() - started
    status = job_status(folder)
    assert status.state == "done", f"{module}: {status.error} {status.remedy}"
    return there, time.monotonic() - started


def some_tiles(project: Project, count: int = TILES, *, everywhere: bool = False) -> TileSet:
    """Tiles around ten example lines of the demo scene, or all over it, cut down to `count` that train (the held-out ones stay)."""
    raster = list_rasters(project)[0]
    labels = example_labels(project, LINES).rename(columns={"classvalue": "class_value"})
    settings = ExportSettings(tile_size=256, stride=128, tiles="all" if everywhere else "features_only")
    images = [ImageSource(name=raster.name, source=raster_source(project, raster))]
    tiles = export_tiles(images, labels, project.classes(), settings, project.tiles_folder / f"tiles-{count}")
    train = {t.name for t in tiles.train[:count]}
    kept = tuple(t for t in tiles.record.tiles if t.split != "train" or t.name in train)
    less = TileSet(tiles.folder, tiles.record.model_copy(update={"tiles": kept}))
    save_record(less)
    return less


def train(project: Project, tiles: TileSet, freeze: Freeze, epochs: int) -> tuple[Path, float]:
    """A training job of the product; its folder and seconds."""
    folder = project.runs_folder / freeze
    settings = TrainingSettings(tiles=str(tiles.folder), base=BASE, freeze=freeze, epochs=epochs)
    return folder, finished(folder, "training.run", settings)[1]


def predict(project: Project, run: Path) -> tuple[float, float]:
    """A comparison job of the product over the whole scene; seconds until the new map is there, and until both are, compared."""
    return finished(project.predictions_folder / run.name, "inference.run", comparison(project, run), "*/after.tif")


def comparison(project: Project, run: Path) -> PredictionSettings:
    """Of the base model and the run's over the whole scene."""
    raster = list_rasters(project)[0]
    asked = RasterToPredict(
        id=raster.id, name=raster.name, source=raster_source(project, raster), shown_bands=raster.bands, stretch=raster.stretch
    )
    return PredictionSettings(base=str(find_model(BASE)), new=str(run / "model"), rasters=(asked,))


def main(
    epochs: Annotated[int, typer.Option(help="As many as the page suggests.")] = TrainingSettings.model_fields["epochs"].default,
) -> None:
    """Print where the seconds go."""
    with tempfile.TemporaryDirectory() as place:
        project = create_demo_project(Path(place) / "projects")
        tiles = some_tiles(project)
        typer.echo(f"{LINES} lines, {len(tiles.train)} training and {len(tiles.validation)} held-out tiles, {epochs} epochs")
        runs = {freeze: train(project, tiles, freeze, epochs) for freeze in get_args(Freeze)}
        maps = {freeze: predict(project, runs[freeze][0]) for freeze in ("all_but_last_layer", "backbone")}
    everything = runs["nothing"][1]
    typer.echo(f"{'':26}train    new map of 2048 x 1536 px    both maps, compared")
    for name, freeze in (("quick (last layer)", "all_but_last_layer"), ("thorough (backbone frozen)", "backbone")):
        seconds, (first, both) = runs[freeze][1], maps[freeze]
        typer.echo(
            f"{name:26}{seconds:5.1f} s  {first:5.1f} s, from 'train' {seconds + first:5.1f} s  {both:5.1f} s   "
            f"training {everything / seconds:.1f} times quicker than everything ({everything:.1f} s)"
        )


if __name__ == "__main__":
    typer.run(main)
