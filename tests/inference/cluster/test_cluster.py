"""Maps made by worker processes: the same to the byte, whatever happens to a worker."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely
from distributed import KilledWorker
from typer.testing import CliRunner

import inference.cluster.client
import inference.cluster.open
import inference.scan
from errors import ImageryError, JobCancelled, JobError, UnreadableRasterError
from inference.cluster import worker
from inference.cluster.client import Cluster, _failures_explained
from inference.cluster.open import open_cluster
from inference.cluster.worker import RELEASE, Facts, Part
from inference.predict import app, predict_raster
from inference.probe import WORTH_TRYING_PX
from inference.request import MapRequest
from inference.run import compare_models
from inference.settings import PredictionSettings, RasterToPredict
from models.bundle import ModelBundle
from tests.inference.makers import PAVED, lively_bundle, waves, write_raster
from workspace.jobs import JobReporter, run_job

WORKERS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    told: list[str] = []
    with open_cluster(WORKERS, "", told.append) as opened:
        assert opened is not None and told[0] == "Starting the workers"
        opened.client.wait_for_workers(WORKERS)
        opened.at_once = WORKERS  # they may not all have been there when they were counted
        yield opened


@pytest.fixture(scope="module")
def lively(tmp_path_factory) -> ModelBundle:
    return lively_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture
def narrow(monkeypatch) -> None:
    """Strips as narrow as they get, so that small rasters have several."""
    monkeypatch.setattr(inference.scan, "STRIP_BYTES", 1)


def scene(folder: Path, metres: float = 0.5) -> Path:
    return write_raster(folder / "in.tif", waves(420, 1100), transform=rasterio.Affine(metres, 0, 500_000, 0, -metres, 3_700_000))


def make(bundle: ModelBundle, source: Path | str, folder: Path, name: str, **more) -> list[str]:
    """The checksums of the three layers."""
    paths = [folder / f"{name}{layer}.tif" for layer in ("", "_sure", "_all")]
    predict_raster(bundle, str(source), *paths, window_px=96, overlap_px=24, **more)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.mark.parametrize("metres", [0.5, 0.2])
def test_a_map_is_the_same_to_the_byte(cluster, lively, tmp_path, narrow, metres):
    """Also where the raster is shown to the model at another resolution, and only an area of interest is made."""
    source = scene(tmp_path, metres)
    box = shapely.box(500_000 + 100 * metres, 3_700_000 - 600 * metres, 500_000 + 900 * metres, 3_700_000 - 50 * metres)
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32611").to_file(tmp_path / "area.gpkg")
    told: list[tuple[str, float]] = []
    more = {"area": tmp_path / "area.gpkg"} if metres == 0.2 else {}
    found = make(lively, source, tmp_path, "many", cluster=cluster, progress=lambda *each: told.append(each), **more)
    assert found == make(lively, source, tmp_path, "one", **more)
    assert "Classifying on 3 workers" in {stage for stage, _ in told}
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert not list(tmp_path.glob("*.unfinished"))


def test_what_a_killed_worker_had_is_made_by_others(cluster, lively, tmp_path, narrow):
    source = scene(tmp_path)
    victim = min(cluster.client.run(os.getpid).values())
    killed: list[float] = []

    def kill(stage: str, share: float) -> None:
        if 0.1 < share < 0.9 and not killed:
            os.kill(victim, signal.SIGKILL)
            killed.append(share)

    assert make(lively, source, tmp_path, "many", cluster=cluster, progress=kill) == make(lively, source, tmp_path, "one")
    assert killed
    cluster.client.wait_for_workers(WORKERS, timeout=120)
    assert victim not in cluster.client.run(os.getpid).values()


def test_cancelled_at_once_and_gone_on_with_by_one_process(cluster, lively, tmp_path, narrow, monkeypatch):
    monkeypatch.setattr(inference.cluster.client, "cut", lambda scan, bands, workers: list(bands)[::-1])  # the last strip first
    source = scene(tmp_path)

    def stop(stage: str, share: float) -> None:
        if share > 0.2:
            raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        make(lively, source, tmp_path, "cut", cluster=cluster, progress=stop)
    assert list((tmp_path / "cut.unfinished").glob("*.tif")) and not (tmp_path / "cut.tif").exists()
    deadline = time.monotonic() + 30
    while any(cluster.client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(cluster.client.processing().values())
    seen: list[float] = []
    resumed = make(lively, source, tmp_path, "cut", progress=lambda stage, share: seen.append(share))
    assert seen[1] > 0.2 and resumed == make(lively, source, tmp_path, "one")


def test_a_task_that_nobody_wants_stops_itself(cluster):
    """Dask itself cannot stop what runs."""
    future = cluster.client.submit(_until_unwanted, pure=False)
    while not any(cluster.client.processing().values()):
        time.sleep(0.05)
    cluster.client.cancel(future)
    deadline = time.monotonic() + 30
    while any(cluster.client.run(_executing).values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(cluster.client.run(_executing).values())


def _until_unwanted() -> None:
    stop = worker._Stop()
    while True:
        stop(0.0)
        time.sleep(0.05)


def _executing(dask_worker) -> int:
    return dask_worker.state.executing_count


@contextmanager
def seen_only_here(path: Path) -> Iterator[str]:
    """A name for a file that no other process knows."""
    opened = os.open(path, os.O_RDONLY)
    high = 987
    os.dup2(opened, high)
    os.close(opened)
    yield f"/proc/self/fd/{high}"
    os.close(high)


def test_a_worker_that_lacks_the_imagery_is_named(cluster, lively, tmp_path):
    with seen_only_here(scene(tmp_path)) as source, pytest.raises(ImageryError, match=r"On the worker .* All workers must be able to read"):
        make(lively, source, tmp_path, "many", cluster=cluster)
    assert not (tmp_path / "many.tif").exists()


def test_another_file_in_the_place_of_the_imagery_is_refused(tmp_path):
    source = scene(tmp_path)
    worker._refuse_another_file(Part(MapRequest(str(source), (PAVED,)), None, None, source.stat().st_size, (1,)))
    with pytest.raises(ImageryError, match="another file"):
        worker._refuse_another_file(Part(MapRequest(str(source), (PAVED,)), None, None, 17, (1,)))


def test_which_numbers_to_calculate_with_is_tried_out_on_a_worker(cluster, lively, tmp_path):
    request = MapRequest(str(scene(tmp_path)), lively.card.classes)
    found = cluster.choose("auto", request, lively.card, lambda: lively, tmp_path / "out.tif", WORTH_TRYING_PX)
    assert found.reason.startswith("Calculating with")
    exact = cluster.choose("exact", request, lively.card, lambda: pytest.fail("nothing to try"), tmp_path / "out.tif", WORTH_TRYING_PX)
    assert exact.arithmetic == "float32"


def comparison(folder: Path, lively: ModelBundle, **more) -> Path:
    """Four rasters: of more than three no pictures are drawn."""
    job = folder / "predictions" / "one"
    job.mkdir(parents=True)
    rasters = [
        RasterToPredict(id=f"aaa{i}", name=f"scene {i}", source=str(write_raster(folder / f"{i}.tif", waves(70 + 10 * i, 90))))
        for i in range(4)
    ]
    settings = PredictionSettings(
        title="Try", base=str(lively.folder.parent / "random"), new=str(lively.folder), rasters=tuple(rasters), **more
    )
    (job / "settings.json").write_text(settings.model_dump_json())
    return job


def test_the_rasters_of_a_comparison_go_to_the_cluster_of_the_installation(cluster, lively, tmp_path, monkeypatch):
    here = comparison(tmp_path / "here", lively)
    assert run_job(here, compare_models) == 0
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.client.scheduler.address)
    there = comparison(tmp_path / "there", lively)
    reporter, told = JobReporter(there), []
    monkeypatch.setattr("inference.run.SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(reporter, "progress", lambda stage, share, left=None: told.append((stage, share)))
    compare_models(reporter)
    for path in (path.relative_to(here) for path in here.glob("*/*.tif")):
        assert (there / path).read_bytes() == (here / path).read_bytes(), path
    assert len(list(there.glob("*/change.tif"))) == 4
    assert any(stage.startswith("Classifying on 3 workers with the new model: scene ") for stage, _ in told)
    assert max(share for _, share in told) <= 1.0


def test_when_one_raster_fails_for_good_the_others_stop(cluster, lively, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.client.scheduler.address)
    job = comparison(tmp_path, lively)

    def fail(self, *rest) -> None:
        raise JobError("The connection to the cluster was lost.")

    monkeypatch.setattr(Cluster, "run_scan", fail)
    assert run_job(job, compare_models) == 1
    assert json.loads((job / "status.json").read_text())["error"] == "The connection to the cluster was lost."


def test_the_command_uses_the_cluster_of_the_installation(cluster, lively, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.client.scheduler.address)
    arguments = ["--model", str(lively.folder), "--image", str(scene(tmp_path)), "--precision", "exact"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "many.tif")])
    assert done.exit_code == 0 and "Classifying on 3 workers" in done.output, done.output
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    assert CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "one.tif")]).exit_code == 0
    assert (tmp_path / "many.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()


def test_without_dask_it_is_said_how_to_get_it(lively, tmp_path, monkeypatch):
    monkeypatch.setattr(inference.cluster.open, "find_spec", lambda name: None)
    arguments = ["--model", str(lively.folder), "--image", str(scene(tmp_path)), "--out", str(tmp_path / "out.tif")]
    done = CliRunner().invoke(app, [*arguments, "--workers", "2"])
    assert done.exit_code == 1 and "pip install -r requirements-cluster.txt" in done.output
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_nobody_loads_dask_who_does_not_need_it():
    code = "import sys, inference.predict, inference.run; assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(inference.cluster.client, "SECONDS_TO_ANSWER", 1)
    with (
        pytest.raises(JobError, match=r"No dask scheduler answers at tcp://127\.0\.0\.1:9 "),
        open_cluster(0, "tcp://127.0.0.1:9", lambda stage: None),
    ):
        pass


def facts(host: str = "a", release: str = RELEASE, cuda: bool = False, threads: int = 4, gpus: int = 0) -> Facts:
    return Facts(host, release, cuda, threads, gpus)


def test_workers_of_another_release_are_refused():
    with pytest.raises(JobError, match=r"another release .*: b \(0\.0\.1\)"):
        Cluster(None, [facts(), facts("b", "0.0.1")])


def test_workers_with_graphics_cards_are_used_alone_where_they_say_so():
    mixed = [facts(), facts("b", cuda=True, threads=2)]
    with pytest.raises(JobError, match="--resources GPU=1"):
        Cluster(None, mixed)
    cluster = Cluster(None, [facts(), facts("b", cuda=True, gpus=1), facts("c", cuda=True, gpus=2)])
    assert (cluster.has_gpus, cluster.at_once, cluster.stage) == (True, 3, "Classifying on 2 workers")
    assert cluster.resources == {"GPU": 1}
    plain = Cluster(None, [facts(), facts("b")])
    assert (plain.has_gpus, plain.at_once, plain.resources) == (False, 8, {})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KilledWorker("band-1", None, 3), "died again and again"),
        (OSError("Timed out"), "connection to the cluster was lost"),
        (ModuleNotFoundError("No module named 'inference'"), "lacks a part of Terratune"),
        (ZeroDivisionError("by zero"), r"A worker failed \(ZeroDivisionError: by zero\)"),
    ],
)
def test_what_fails_on_a_worker_is_told_in_words(error, words):
    def fail() -> None:
        raise error

    with pytest.raises(JobError, match=words):
        _failures_explained(fail)


def test_errors_of_ours_stay_what_they_are():
    def fail() -> None:
        raise UnreadableRasterError("in.tif is damaged.")

    with pytest.raises(UnreadableRasterError, match="damaged"):
        _failures_explained(fail)
