"""Predict with two models and compare: `python -m inference.run JOB_FOLDER`.

Results appear raster by raster; a rerun (after a cancel, a kill or a full disk) keeps what is finished.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from errors import DiskFullError, ImageryError, InputMismatchError, JobCancelled, LabelError, NoOverlapError, TerratuneError
from imagery.raster import describe
from imagery.read import open_raster
from inference.area import content_of
from inference.base_input import look_at
from inference.cluster.open import open_cluster
from inference.compare import compare_rasters
from inference.differences import find_differences
from inference.first_look import Bounds, first_look_file, forget_first_look, part_of_view
from inference.held_out import MapPair, held_out_tiles, on_held_out_places, on_truth_rasters
from inference.legend import joint_classes, outputs_as
from inference.picture import make_picture
from inference.predict import make_map, ranges_of
from inference.probe import choose
from inference.report import REPORT_FILE, ModelUsed, Problem, RasterReport, Report, ScoreReport, Table
from inference.request import MapRequest
from inference.reuse import map_key, note_key, take_over
from inference.settings import PredictionSettings, RasterToPredict, read_settings, source_of
from inference.suggest import square_side, suggest
from models.bundle import ModelBundle, adapt_bands, load_bundle
from models.card import ModelCard, read_card
from tiles.tile_set import TileSet, open_tile_set
from workspace.classes import ClassDef
from workspace.files import size_in_words, write_text
from workspace.jobs import JobReporter, run_job
from workspace.places import place_of
from workspace.settings import settings_from_environment

if TYPE_CHECKING:
    from inference.cluster.client import Cluster

SIDES = ("after", "before")
"""The new map first: it is the one waited for."""
SHARE_OF_COMPARING = 0.02
SECONDS_BETWEEN_REPORTS = 0.4
RASTERS_AT_ONCE = 8
"""With a cluster: small ones give it too little to do one by one."""
PICTURES_AT_ONCE = 3
"""Animated pictures are made without being asked for when there are at most this many rasters."""
BYTES_PER_PIXEL = 3
"""Room a raster's results may take while they are made, bytes per pixel: five compressed layers and their temporary copies."""


@dataclass
class _Clock:
    """Overall progress in pixels classified, and the time left from the speed of this run. Rasters may be made in several threads."""

    reporter: JobReporter
    total: float
    done: float = 0.0
    """Finished in this run or before."""
    found: float = 0.0
    """Of `done`, what was finished before this run began."""
    started: float = field(default_factory=time.monotonic)
    told: float = 0.0
    halted: bool = False
    """Another thread has failed: all are to stop."""
    _under_way: dict[int, float] = field(default_factory=dict)
    """Done of what each thread is working on."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, stage: str, of: float, share: float) -> None:
        """`share` of a piece of `of` pixels is done. Raises JobCancelled when the user asked to stop."""
        self.reporter.stop_if_cancelled()
        if self.halted:
            raise JobCancelled("Stopped, as another raster failed.")
        with self._lock:
            self._under_way[threading.get_ident()] = of * share
            now = time.monotonic()
            if now - self.told < SECONDS_BETWEEN_REPORTS:
                return
            self.told = now
            reached = self.done + sum(self._under_way.values())
            worked = reached - self.found
            left = (now - self.started) * (self.total - reached) / worked if worked > 0 and now - self.started > 2 else None
            self.reporter.progress(stage, reached / self.total, left)

    def finished(self, of: float, *, before: bool = False) -> None:
        with self._lock:
            self._under_way.pop(threading.get_ident(), None)
            self.done += of
            self.found += of if before else 0.0


@dataclass
class _Job:
    """What the steps below share."""

    folder: Path
    settings: PredictionSettings
    reporter: JobReporter
    clock: _Clock
    cards: dict[str, ModelCard]
    classes: tuple[ClassDef, ...]
    pixels: dict[str, int]
    """Per raster id; rasters that cannot be read are not in it."""
    problems: list[Problem]
    notes: list[Problem]
    squares: dict[str, int] = field(default_factory=dict)
    """Per raster id: pixels of the side of a square that is suggested for labelling, as large on the ground as the new model's tiles."""
    fitted: set[str] = field(default_factory=set)
    """Ids of rasters that the model before can only read when fitted to the new model's input."""
    cluster: Cluster | None = None
    """Workers that make the maps; None: this process."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """For what rasters that are made side by side share."""
    _bundles: dict[str, ModelBundle] = field(default_factory=dict)

    def bundle(self, side: str, raster_id: str) -> ModelBundle:
        """Loaded when first needed: a rerun that finds everything finished needs none."""
        fitted = self._fits(side, raster_id)
        key = f"{side} fitted" if fitted else side
        with self.lock:
            if key not in self._bundles:
                bundle = load_bundle(_model_folder(self.folder, self.settings, side))
                self._bundles[key] = fitted_to(bundle, self.cards["after"]) if fitted else bundle
            return self._bundles[key]

    def card(self, side: str, raster_id: str) -> ModelCard:
        """Of `bundle`, without loading it."""
        card = self.cards[side]
        return card.model_copy(update={"input": self.cards["after"].input}) if self._fits(side, raster_id) else card

    def _fits(self, side: str, raster_id: str) -> bool:
        return side == "before" and raster_id in self.fitted


def compare_models(reporter: JobReporter) -> None:
    """The whole job: maps of both models, changes, scores, report. Errors end up in the job's status."""
    job = _prepared(reporter)
    _first_looks(job)
    rasters = _all_rasters(job)
    if not rasters:
        first = job.problems[0]
        raise ImageryError(f"None of the rasters could be predicted. {first.raster}: {first.fact}", first.remedy)
    job.reporter.progress("Scoring both models", min(job.clock.done / job.clock.total, 1.0))
    tile_set = _tile_set(job)
    held_out = _held_out(job, rasters, tile_set) if tile_set else None
    truth = _on_truth(job, rasters)
    report = _report(job, rasters, held_out, truth)
    write_text(job.folder / REPORT_FILE, report.model_dump_json(indent=1) + "\n")
    reporter.event(kind="report")
    reporter.progress("Looking for places to label next", 1.0)
    sides = {raster.id: job.squares[raster.id] for raster in rasters}
    suggest(job.folder, sides, reporter.stop_if_cancelled)
    reporter.progress("Looking for the places that differ most", 1.0)
    find_differences(job.folder, sides, reporter.stop_if_cancelled)
    if len(rasters) <= PICTURES_AT_ONCE:
        for one in rasters:
            reporter.progress(f"Drawing the picture for reports: {one.name}", 1.0)
            make_picture(job.folder, job.settings, one.id, job.classes, (report.before.title, report.after.title))


def fitted_to(bundle: ModelBundle, new: ModelCard) -> ModelBundle:
    """`bundle`, reading what the model of the card `new` reads: its bands (see `models.bundle.adapt_bands`) and its normalisation."""
    adapt_bands(bundle.network, bundle.card.input.band_names, new.input.band_names)
    return ModelBundle(bundle.network, bundle.card.model_copy(update={"input": new.input}), bundle.folder)


def _prepared(reporter: JobReporter) -> _Job:
    """Read settings and cards, look at the rasters and at the room on the disk."""
    folder = reporter.folder
    settings = read_settings(folder)
    for leftover in folder.glob("*/.*"):
        leftover.unlink(missing_ok=True)
    cards = {side: read_card(_model_folder(folder, settings, side)) for side in SIDES}
    truth_classes = [truth.classes for truth in settings.truths]
    classes = joint_classes(cards["after"].classes, cards["before"].classes, *truth_classes)
    job = _Job(folder, settings, reporter, _Clock(reporter, 1.0), cards, classes, {}, [], [])
    for raster in settings.rasters:
        reporter.stop_if_cancelled()
        _look_at(job, raster)
    job.clock.total = max(1.0, sum(job.pixels.values()) * (len(SIDES) + SHARE_OF_COMPARING))
    _refuse_small_disk(job)
    return job


def _look_at(job: _Job, raster: RasterToPredict) -> None:
    """Note a raster's size, or why it cannot be predicted."""
    try:
        with open_raster(source_of(job.folder, raster)) as dataset:
            info = describe(dataset, raster.name, None).named(raster.band_names)
            ranges = ranges_of(dataset, info)
        look = look_at(job.cards["before"], job.cards["after"], info, ranges)
    except (ImageryError, InputMismatchError) as error:
        _failed(job, raster, error)
    else:
        job.pixels[raster.id] = info.width * info.height
        job.squares[raster.id] = square_side(job.cards["after"].input, info.resolution_m)
        job.notes += [Problem(raster=raster.name, fact=fact) for fact in look.notes]
        if look.fitted:
            job.fitted.add(raster.id)


def _refuse_small_disk(job: _Job) -> None:
    missing = [raster_id for raster_id in job.pixels if not (job.folder / raster_id / "change.tif").exists()]
    layers = sum(job.cards[side].outputs for side in SIDES) if job.settings.probabilities else 0
    needed = sum(job.pixels[raster_id] for raster_id in missing) * (BYTES_PER_PIXEL + layers)
    free = shutil.disk_usage(job.folder).free
    if needed > free:
        raise DiskFullError(
            f"The maps may need {size_in_words(needed)}, and the disk has {size_in_words(free)} left.",
            "Free some space (old comparisons are usually the largest: delete them on the Compare page), or choose fewer pictures.",
        )


def _first_looks(job: _Job) -> None:
    """Before all else, maps of what the person sees."""
    view = job.settings.first_look
    for raster in job.settings.rasters:
        folder = job.folder / raster.id
        begun = any((folder / f"{side}{ending}").exists() for side in SIDES for ending in (".tif", ".unfinished"))
        if view is not None and raster.id in job.pixels and not begun:
            with contextlib.suppress(ImageryError, InputMismatchError, LabelError, NoOverlapError):  # told when the whole is made
                _first_look(job, raster, view)


def _first_look(job: _Job, raster: RasterToPredict, view: Bounds) -> None:
    folder = job.folder / raster.id
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".look-", dir=folder) as place:
        part = Path(place) / "part.tif"
        if not part_of_view(source_of(job.folder, raster), view, part):
            return
        for side in SIDES:
            make_map(
                job.bundle(side, raster.id),
                replace(_request(job, raster, side), source=str(part)),
                first_look_file(folder, side),
                progress=lambda stage, share: job.clock.tell(f"A first look: {raster.name}", 0.0, 0.0),
            )
            job.reporter.event(kind="first look", raster=raster.id, side=side)


def _all_rasters(job: _Job) -> list[RasterReport]:
    """One after the other; with a cluster some side by side."""
    usable = [raster for raster in job.settings.rasters if raster.id in job.pixels]
    made = all((job.folder / raster.id / f"{side}.tif").exists() for raster in usable for side in SIDES)
    workers, scheduler = (0, "") if made else (job.settings.workers, settings_from_environment().scheduler_address)
    with open_cluster(workers, scheduler, lambda stage: job.reporter.progress(stage, 0.0)) as cluster:
        if cluster is None:
            return [report for raster in usable for report in _one_raster(job, raster)]
        job.cluster, cluster.side_by_side = cluster, min(RASTERS_AT_ONCE, len(usable))
        with ThreadPoolExecutor(cluster.side_by_side, thread_name_prefix="raster") as pool:
            futures = [pool.submit(_one_raster, job, raster) for raster in usable]
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for error in filter(None, (future.exception() for future in ended)):
                job.clock.halted = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise error
            return [report for future in futures for report in future.result()]


def _one_raster(job: _Job, raster: RasterToPredict) -> list[RasterReport]:
    """Both maps and their change for one raster; an empty list when it turns out to be unusable (noted in the report)."""
    folder = job.folder / raster.id
    folder.mkdir(exist_ok=True)
    pixels = job.pixels[raster.id]
    began, left = time.monotonic(), pixels * (len(SIDES) + SHARE_OF_COMPARING)
    try:
        for side in SIDES:
            _one_map(job, raster, side, folder)
            left -= pixels
        comparison = compare_rasters(
            folder / "before.tif",
            folder / "after.tif",
            job.classes,
            folder / "change.tif",
            progress=lambda share: job.clock.tell(f"Comparing: {raster.name}", pixels * SHARE_OF_COMPARING, share),
        )
    except (ImageryError, InputMismatchError, NoOverlapError) as error:
        _failed(job, raster, error)
        job.clock.finished(left)
        return []
    job.clock.finished(left)
    seconds = time.monotonic() - began
    job.reporter.event(kind="raster", raster=raster.id, seconds=round(seconds, 2))
    return [RasterReport(id=raster.id, name=raster.name, seconds=seconds, table=Table.of(comparison))]


def _one_map(job: _Job, raster: RasterToPredict, side: str, folder: Path) -> None:
    """Predict one side of one raster, unless it is there already."""
    pixels = job.pixels[raster.id]
    out = folder / f"{side}.tif"
    if out.exists():
        job.clock.finished(pixels, before=True)
        return
    name = "new" if side == "after" else "old"

    def tell(stage: str, share: float) -> None:
        job.clock.tell(f"{stage} with the {name} model: {raster.name}", pixels, share)

    asked = _request(job, raster, side)
    with job.lock:  # what is tried out for one raster is known for the others
        way = (choose if job.cluster is None else job.cluster.choose)(
            job.settings.precision,
            asked,
            job.card(side, raster.id),
            lambda: job.bundle(side, raster.id),
            out,
            sum(job.pixels.values()),
            lambda share: tell("Finding the quickest way to calculate", 0.0),
        )
    request = replace(asked, arithmetic=way.arithmetic)
    names = {"band_names": request.band_names, "area": content_of(request.area), "probabilities": job.settings.probabilities}
    key = map_key(job.card(side, raster.id), request.source, request.classes, **request.choices, **names)
    if take_over(folder, side, key):
        job.clock.finished(pixels, before=True)
        job.reporter.event(kind="map", raster=raster.id, side=side)
        return
    typer.echo(f"{raster.name}, {name} model. {way.reason}")
    make_map(
        job.bundle(side, raster.id),
        request,
        out,
        folder / f"{side}_confidence.tif",
        folder / f"{side}_probabilities.tif" if job.settings.probabilities else None,
        cluster=job.cluster,
        progress=tell,
    )
    note_key(folder, side, key)
    forget_first_look(folder, side)
    job.clock.finished(pixels)
    job.reporter.event(kind="map", raster=raster.id, side=side)


def _request(job: _Job, raster: RasterToPredict, side: str) -> MapRequest:
    asked = job.settings
    return MapRequest(
        source=source_of(job.folder, raster),
        classes=outputs_as(job.cards[side], job.classes),
        band_names=raster.band_names,
        find_more=asked.find_more if side == "after" else {},
        thresholds=asked.thresholds,
        predict_background=asked.predict_background,
        test_time_augmentation=asked.test_time_augmentation,
        merge_policy=asked.merge_policy,
        area=None if asked.area is None else place_of(job.folder, asked.area),
        device=asked.device,
    )


def _failed(job: _Job, raster: RasterToPredict, error: TerratuneError) -> None:
    job.problems.append(Problem(raster=raster.name, fact=error.fact, remedy=error.remedy))
    job.reporter.event(kind="failed", raster=raster.id, fact=error.fact, remedy=error.remedy)


def _tile_set(job: _Job) -> TileSet | None:
    if job.settings.tile_set is None:
        return None
    try:
        return open_tile_set(place_of(job.folder, job.settings.tile_set))
    except TerratuneError as error:
        job.notes.append(Problem(raster="", fact=f"No scores: {error.fact}", remedy=error.remedy))
        return None


def _held_out(job: _Job, rasters: Sequence[RasterReport], tile_set: TileSet) -> ScoreReport | None:
    names = {c.name.casefold() for c in job.classes}
    for missing in (c.name for c in tile_set.record.classes if c.name.casefold() not in names):
        job.notes.append(Problem(raster="", fact=f"Neither model knows the class '{missing}' of the tile set: it is not scored."))
    try:
        mapped_m2 = _total(rasters).after_m2()
        scores, elsewhere = on_held_out_places(tile_set, _maps(job, rasters), job.classes, mapped_m2=mapped_m2, progress=_listening(job))
    except TerratuneError as error:
        job.notes.append(Problem(raster="", fact=f"No scores: {error.fact}", remedy=error.remedy))
        return None
    total = len(held_out_tiles(tile_set))
    if scores is None:
        fact = f"None of the {total} held-out tiles of '{tile_set.name}' lies on the rasters that were predicted: there are no scores."
        job.notes.append(Problem(raster="", fact=fact, remedy="Predict the rasters that these tiles were cut from as well."))
    elif elsewhere:
        job.notes.append(
            Problem(raster="", fact=f"{elsewhere} of {total} held-out tiles lie on rasters that were not predicted, and are not scored.")
        )
    return scores


def _on_truth(job: _Job, rasters: Sequence[RasterReport]) -> ScoreReport | None:
    maps = {report.id: pair for report, pair in zip(rasters, _maps(job, rasters), strict=True)}
    truths = {
        maps[truth.raster_id]: (place_of(job.folder, truth.path), truth.classes) for truth in job.settings.truths if truth.raster_id in maps
    }
    return on_truth_rasters(truths, job.classes, progress=job.reporter.stop_if_cancelled) if truths else None


def _maps(job: _Job, rasters: Sequence[RasterReport]) -> list[MapPair]:
    return [MapPair(r.name, job.folder / r.id / "before.tif", job.folder / r.id / "after.tif") for r in rasters]


def _listening(job: _Job) -> Callable[[float], None]:
    return lambda share: job.reporter.stop_if_cancelled()


def _report(job: _Job, rasters: Sequence[RasterReport], held_out: ScoreReport | None, truth: ScoreReport | None) -> Report:
    return Report(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        title=job.settings.title,
        classes=job.classes,
        before=_used(job, "before"),
        after=_used(job, "after"),
        rasters=tuple(rasters),
        total=_total(rasters),
        held_out=held_out,
        truth=truth,
        failed=tuple(job.problems),
        notes=tuple(job.notes),
    )


def _total(rasters: Sequence[RasterReport]) -> Table:
    total = rasters[0].table
    for raster in rasters[1:]:
        total = total + raster.table
    return total


def _used(job: _Job, side: str) -> ModelUsed:
    card = job.cards[side]
    folder = job.settings.new if side == "after" else job.settings.base
    return ModelUsed(title=card.title, folder=folder, weights_sha256=card.weights_sha256, classes=tuple(c.name for c in card.classes))


def _model_folder(job: Path, settings: PredictionSettings, side: str) -> Path:
    return place_of(job, settings.new if side == "after" else settings.base)


app = typer.Typer(add_completion=False)


@app.command()
def main(job_folder: Annotated[Path, typer.Argument(help="Folder with settings.json; results are written into it.")]) -> None:
    """Predict some rasters with two models and compare the maps."""
    if not job_folder.is_dir():
        typer.echo(f"There is no folder {job_folder}.", err=True)
        raise typer.Exit(2)
    status = run_job(job_folder, compare_models)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a cancelled job may leave a thread inside GDAL that nobody needs to wait for


if __name__ == "__main__":
    app()
