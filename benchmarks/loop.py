"""Seconds from "train" to the new map on screen: ten labelled lines, twenty 256 px tiles, this machine. `python -m benchmarks.loop`.

The product's own jobs are started as the pages start them (a process each), one after the other. Beside it, in the same run: the same training with nothing frozen (the naive way).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from demo.project import create_demo_project, example_labels
from imagery.library import list_rasters, raster_source
from inference.settings import PredictionSettings, RasterToPredict
from labeling.export import ExportSettings, ImageSource, export_tiles
from models.catalogue import find_model
from tiles.tile_set import TileSet, save_record
from training.settings import TrainingSettings
from workspace.files import write_json
from workspace.jobs import job_status, start_job
from workspace.project import Project

TILES = 20
LINES = 10
BASE = "paved-roads-starter"


def finished(folder: Path, module: str, settings: TrainingSettings | PredictionSettings) -> float:
    """Seconds that the job took, the start of its process included."""
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    started = time.monotonic()
    start_job(folder, module)
    while not job_status(folder).ended:
        time.sleep(0.05)
    status = job_status(folder)
    assert status.state == "done", f"{module}: {status.error} {status.remedy}"
    return time.monotonic() - started


def twenty_tiles(project: Project) -> TileSet:
    """Tiles around ten example lines of the demo scene, cut down to twenty that train (the held-out ones stay)."""
    raster = list_rasters(project)[0]
    labels = example_labels(project, LINES).rename(columns={"classvalue": "class_value"})
    settings = ExportSettings(tile_size=256, stride=128)
    tiles = export_tiles(
        [ImageSource(name=raster.name, source=raster_source(project, raster))], labels, project.classes(), settings, project.tiles_folder / "tiles"
    )
    train = {t.name for t in tiles.train[:TILES]}
    kept = tuple(t for t in tiles.record.tiles if t.split != "train" or t.name in train)
    less = TileSet(tiles.folder, tiles.record.model_copy(update={"tiles": kept}))
    save_record(less)
    return less


def train(project: Project, tiles: TileSet, freeze: Literal["backbone", "nothing"], epochs: int) -> tuple[Path, float]:
    """A training job of the product; its folder and seconds."""
    folder = project.runs_folder / freeze
    return folder, finished(folder, "training.run", TrainingSettings(tiles=str(tiles.folder), base=BASE, freeze=freeze, epochs=epochs))


def predict(project: Project, run: Path) -> float:
    """A comparison job of the product over the whole scene, both models; its seconds."""
    raster = list_rasters(project)[0]
    asked = RasterToPredict(
        id=raster.id, name=raster.name, source=raster_source(project, raster), shown_bands=raster.bands, stretch=raster.stretch
    )
    settings = PredictionSettings(base=str(find_model(BASE)), new=str(run / "model"), rasters=(asked,))
    return finished(project.predictions_folder / run.name, "inference.run", settings)


def main(
    epochs: Annotated[int, typer.Option(help="As many as the page suggests.")] = TrainingSettings.model_fields["epochs"].default,
) -> None:
    """Print where the seconds go."""
    with tempfile.TemporaryDirectory() as place:
        project = create_demo_project(Path(place) / "projects")
        tiles = twenty_tiles(project)
        typer.echo(f"{LINES} lines, {len(tiles.train)} training and {len(tiles.validation)} held-out tiles, {epochs} epochs")
        run, frozen = train(project, tiles, "backbone", epochs)
        both = predict(project, run)
        _, full = train(project, tiles, "nothing", epochs)
    typer.echo(f"train, backbone frozen: {frozen:6.1f} s   ({full / frozen:.1f} times quicker than training everything: {full:.1f} s)")
    typer.echo(f"predict 2048 x 1536 px with both models, compare: {both:6.1f} s")
    typer.echo(f'from "train" to the new map: {frozen + both:6.1f} s')


if __name__ == "__main__":
    typer.run(main)
