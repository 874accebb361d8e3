"""Find the objects of some rasters: `python -m inference.objects.run JOB_FOLDER`.

Results appear raster by raster; a rerun (after a cancel, a kill or a full disk) keeps what is finished.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import pyogrio
import shapely
import typer

from errors import ImageryError, InputMismatchError, LabelError, NoOverlapError, TerratuneError
from imagery.raster import describe
from imagery.read import open_raster
from inference.objects.change_areas import changed_areas
from inference.objects.classify import classify_cells, classify_features
from inference.objects.detect import Progress, detect_raster
from inference.objects.layer import read_features
from inference.objects.redact import redact_raster
from inference.objects.report import COPY_FILE, OBJECTS_FILE, REPORT_FILE, ObjectReport, RasterObjects
from inference.objects.settings import CHANGING, FINDING, NAMING, ObjectSettings, read_object_settings
from inference.predict import ranges_of
from inference.report import Problem
from inference.settings import RasterToPredict, source_of
from models.architecture import Task
from models.bundle import ModelBundle, load_bundle
from models.card import ModelCard, check_input, of_one_image
from models.network import Network, SegmentationNetwork
from workspace.classes import is_fully_labelled
from workspace.files import write_text
from workspace.jobs import JobReporter, run_job
from workspace.places import place_of

SHARE_OF_COPYING = 0.1
SECONDS_BETWEEN_REPORTS = 0.4


@dataclass
class _Job:
    """What the steps below share."""

    reporter: JobReporter
    settings: ObjectSettings
    bundle: ModelBundle[Network]
    total: int
    """Pixels of all rasters that can be read."""
    done: int = 0
    found_done: int = 0
    """Of `done`, what was finished before this run."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    told: float = 0.0

    @property
    def folder(self) -> Path:
        return self.reporter.folder

    def tell(self, stage: str, pixels: int, share: float) -> None:
        """`share` of a raster of so many pixels is done. Raises JobCancelled when the user asked to stop."""
        self.reporter.stop_if_cancelled()
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_REPORTS:
            return
        self.told = now
        reached = self.done + pixels * share
        worked = reached - self.found_done
        left = (now - self.started) * (self.total - reached) / worked if worked > 0 and now - self.started > 2 else None
        self.reporter.progress(stage, reached / self.total, left)


def find_objects(reporter: JobReporter) -> None:
    """The whole job: objects of each raster, copies without them, report. Errors end up in the job's status."""
    settings = read_object_settings(reporter.folder)
    for leftover in reporter.folder.glob("*/.*"):
        leftover.unlink(missing_ok=True)
    bundle = load_object_model(place_of(reporter.folder, settings.model))
    job = _Job(reporter, settings, bundle, total=1)
    pixels = {raster.id: size for raster in settings.rasters if (size := _look_at(job, raster))}
    job.total = max(1, sum(pixels.values()))
    rasters: list[RasterObjects] = []
    for raster in settings.rasters:
        if raster.id in pixels:
            rasters += _one_raster(job, raster, pixels[raster.id])
    if not rasters:
        first = job.problems[0]
        raise ImageryError(f"None of the pictures could be searched. {first.raster}: {first.fact}", first.remedy)
    report = ObjectReport(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        title=settings.title,
        model=bundle.card.title,
        task=bundle.card.task,
        classes=bundle.card.classes,
        rasters=tuple(rasters),
        failed=tuple(job.problems),
        notes=tuple(job.notes),
    )
    write_text(reporter.folder / REPORT_FILE, report.model_dump_json(indent=1) + "\n")


def load_object_model(folder: Path, tasks: Sequence[Task] = (*FINDING, *NAMING, *CHANGING)) -> ModelBundle[Network]:
    """A model for one of these tasks.

    Raises:
        InputMismatchError: it is a model for something else.
        BundleError: it is incomplete or damaged.
    """
    bundle = load_bundle(folder, Network)
    if bundle.card.task not in tasks:
        raise InputMismatchError(f"The model '{bundle.card.title}' is for {bundle.card.task}.", f"Choose a model for {' or '.join(tasks)}.")
    return bundle


def input_notes(card: ModelCard, source: str, name: str, band_names: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Pixels of a raster, and what to know before a model is shown it.

    Raises:
        InputMismatchError: it does not fit the model.
        ImageryError: it cannot be read.
    """
    with open_raster(source) as dataset:
        info = describe(dataset, name, None).named(band_names)
        ranges = ranges_of(dataset, info)
    return info.width * info.height, check_input(of_one_image(card), info.band_names, info.dtype, info.resolution_m, ranges)


def _look_at(job: _Job, raster: RasterToPredict) -> int | None:
    """Pixels of a raster; None, and why in the report, where it cannot be searched."""
    job.reporter.stop_if_cancelled()
    try:
        pixels, notes = input_notes(job.bundle.card, source_of(job.folder, raster), raster.name, raster.band_names)
    except (ImageryError, InputMismatchError) as error:
        _failed(job, raster, error)
        return None
    job.notes += [Problem(raster=raster.name, fact=note) for note in notes]
    return pixels


def _one_raster(job: _Job, raster: RasterToPredict, pixels: int) -> list[RasterObjects]:
    """Objects of one raster, and the copy without them; an empty list where it turns out to be unusable (noted in the report)."""
    folder, began = job.folder / raster.id, time.monotonic()
    share = 1 - SHARE_OF_COPYING if job.settings.redact else 1.0
    try:
        if (folder / OBJECTS_FILE).exists():
            counts = _counted(folder / OBJECTS_FILE, job.bundle.card)
            job.found_done += pixels
        else:
            counts = _objects(
                job, raster, folder / OBJECTS_FILE, lambda stage, done: job.tell(f"{stage}: {raster.name}", pixels, share * done)
            )
        copied = bool(job.settings.redact) and _copied(job, raster, folder, pixels)
    except (ImageryError, InputMismatchError, LabelError, NoOverlapError) as error:
        _failed(job, raster, error)
        return []
    finally:
        job.done += pixels
    job.reporter.event(kind="raster", raster=raster.id)
    return [RasterObjects(id=raster.id, name=raster.name, seconds=round(time.monotonic() - began, 2), counts=counts, copied=copied)]


def _objects(job: _Job, raster: RasterToPredict, out: Path, tell: Progress) -> dict[int, int]:
    settings, card, network = job.settings, job.bundle.card, job.bundle.network
    source = source_of(job.folder, raster)
    if card.task in FINDING:
        return detect_raster(
            network,
            card,
            source,
            out,
            band_names=raster.band_names,
            threshold=settings.threshold,
            nms_overlap=settings.nms_overlap,
            exclude_pad_detections=settings.exclude_pad_detections,
            shape=settings.shape,
            device=settings.device,
            progress=tell,
        )
    if card.task in CHANGING:
        return _changed(job, raster, out, tell)
    if settings.features is None:
        return classify_cells(network, card, source, out, band_names=raster.band_names, device=settings.device, progress=tell)
    features = _to_classify(job, raster, read_features(place_of(job.folder, settings.features)))
    return classify_features(network, card, source, features, out, band_names=raster.band_names, device=settings.device, progress=tell)


def _to_classify(job: _Job, raster: RasterToPredict, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Features of one kind: of several, as labels may be, the areas; what is left out is noted. Fully labelled areas are no objects."""
    if "Classname" in features:
        features = features[[not (isinstance(name, str) and is_fully_labelled(name)) for name in features["Classname"]]]
    areas = features[shapely.get_dimensions(features.geometry.to_numpy()) == 2]
    if not 0 < len(areas) < len(features):
        return features
    fact = f"Only areas are given a class: {len(features) - len(areas):,} lines and points are left out."
    job.notes.append(Problem(raster=raster.name, fact=fact))
    return areas


def _changed(job: _Job, raster: RasterToPredict, out: Path, tell: Progress) -> dict[int, int]:
    later = job.settings.later
    if later is None:
        raise InputMismatchError("No picture of the later date was chosen.", "Choose the picture before and the picture after.")
    assert isinstance(job.bundle.network, SegmentationNetwork)
    return changed_areas(
        ModelBundle(job.bundle.network, job.bundle.card, job.bundle.folder),
        source_of(job.folder, raster),
        source_of(job.folder, later),
        out,
        band_names=raster.band_names,
        later_band_names=later.band_names,
        device=job.settings.device,
        progress=tell,
    )


def _counted(objects: Path, card: ModelCard) -> dict[int, int]:
    """Objects of each class in a finished file."""
    values = pyogrio.read_dataframe(objects, layer=objects.stem, columns=["Classvalue"], read_geometry=False)["Classvalue"].dropna()
    found = Counter(int(value) for value in values)
    return {c.value: found[c.value] for c in card.classes}


def _copied(job: _Job, raster: RasterToPredict, folder: Path, pixels: int) -> bool:
    """Make the copy in which the objects cannot be recognised, unless it is there or nothing was found."""
    out = folder / COPY_FILE
    if out.exists():
        return True
    objects = read_features(folder / OBJECTS_FILE)
    if not len(objects):
        return False
    redact_raster(
        source_of(job.folder, raster),
        objects,
        out,
        method=job.settings.redact or "pixelate",
        margin_m=job.settings.margin_m,
        progress=lambda share: job.tell(f"Making the copy: {raster.name}", pixels, 1 - SHARE_OF_COPYING * (1 - share)),
    )
    return True


def _failed(job: _Job, raster: RasterToPredict, error: TerratuneError) -> None:
    job.problems.append(Problem(raster=raster.name, fact=error.fact, remedy=error.remedy))


app = typer.Typer(add_completion=False)


@app.command()
def main(job_folder: Annotated[Path, typer.Argument(help="Folder with settings.json; results are written into it.")]) -> None:
    """Find the objects of some rasters with one model."""
    if not job_folder.is_dir():
        typer.echo(f"There is no folder {job_folder}.", err=True)
        raise typer.Exit(2)
    status = run_job(job_folder, find_objects)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a cancelled job may leave a thread inside GDAL that nobody needs to wait for


if __name__ == "__main__":
    app()
