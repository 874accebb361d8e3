"""Hands the bands of maps to the workers of dask.distributed, and keeps what comes back.

Only `distributed.Client` is used, so that any cluster will do: dask-jobqueue's, Kubernetes', Coiled's. A band that is lost with its worker is made again by
another; dask sees to that. What is finished is in the pieces of the map (`inference.pieces`) at once, as if this process had made it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import queue
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from distributed import Client, Future, KilledWorker, LocalCluster

from errors import JobError, TerratuneError
from imagery.read import is_url
from inference.cluster.bands import cut
from inference.cluster.worker import GPU, RELEASE, Facts, PackedModel, Part, choose_there, facts, given, make_part
from inference.pieces import Pieces, begun_with
from inference.probe import Chosen, choose
from inference.request import MapRequest, open_scan
from inference.scan import SECONDS_BETWEEN_LOOKS, Scan, bands_left
from inference.settings import Device, Precision
from models.bundle import ModelBundle, save_bundle
from models.card import CARD_FILE, WEIGHTS_FILE, ModelCard
from workspace.jobs import REPOSITORY

SECONDS_TO_ANSWER = 20
Tell = Callable[[str], None]
T = TypeVar("T")
R = TypeVar("R")
GO_ON = "Start it again: what is finished is kept."


@contextmanager
def local_cluster(workers: int, tell: Tell) -> Iterator[Cluster]:
    """So many processes on this machine, which share its cores."""
    tell("Starting the workers")
    threads = max(1, (os.cpu_count() or 1) // workers)
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    with (
        TemporaryDirectory(prefix="terratune-") as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
            memory_limit=0,  # bounded as it is; dask would stop workers where memory is short
            local_directory=folder,
            env={"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": path},
        ) as processes,
        Client(processes, set_as_default=False) as client,
    ):
        yield _ready(client, tell)


@contextmanager
def remote_cluster(scheduler: str, tell: Tell) -> Iterator[Cluster]:
    """The cluster of the scheduler at an address like tcp://10.0.0.1:8786."""
    tell("Asking the cluster")
    try:
        client = Client(scheduler, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise JobError(
            f"No dask scheduler answers at {scheduler} ({error}).",
            "Start it, or correct or remove DASK_SCHEDULER_ADDRESS, then start again.",
        ) from error
    with client:
        yield _ready(client, tell)


def _ready(client: Client, tell: Tell) -> Cluster:
    """Once there is a worker; queues of large machines may take hours."""
    while True:
        tell("Waiting for workers")
        found = _failures_explained(lambda: client.run(facts))
        if found:
            return Cluster(client, list(found.values()))
        time.sleep(SECONDS_BETWEEN_LOOKS)


class Cluster:
    """Workers that make bands of maps.

    Args:
        client: Of dask.
        workers: What they say of themselves.

    Raises:
        JobError: they are of another release, or some have a graphics card and others have none.
    """

    def __init__(self, client: Client, workers: list[Facts]) -> None:
        self.client = client
        others = {f"{each.host} ({each.release})" for each in workers if each.release != RELEASE}
        if others:
            raise JobError(
                f"Workers run another release of Terratune than this one ({RELEASE}): {', '.join(sorted(others))}.",
                "Start them from the same release.",
            )
        self.resources = {GPU: 1} if any(each.gpus for each in workers) else {}
        self.used = [each for each in workers if each.gpus or not self.resources]
        kinds = {each.cuda for each in self.used}
        if len(kinds) > 1:
            raise JobError(
                "Some workers have a graphics card and some have none: they would not make quite the same map.",
                f"Start those with a graphics card with --resources {GPU}=1, then these alone are asked; or start only one kind.",
            )
        self.has_gpus = kinds == {True}
        self.side_by_side = 1
        """Maps that share the workers."""
        self.at_once = sum(each.gpus if self.resources else each.threads for each in self.used)
        """Bands that are made at one time."""
        self._models: dict[int, tuple[ModelBundle, Future]] = {}
        self._lock = threading.Lock()

    @property
    def stage(self) -> str:
        count = len(self.used)
        return f"Classifying on {count} worker{'s' if count != 1 else ''}"

    def open_scan(self, stack: ExitStack, bundle: ModelBundle, request: MapRequest) -> Scan:
        """As `inference.request.open_scan`, for the device of the workers; nothing is classified with it here."""
        scan = open_scan(stack, bundle, dataclasses.replace(request, device="cpu", arithmetic="float32"))
        place = torch.device(self._for_workers(request).device)
        return dataclasses.replace(scan, classifier=dataclasses.replace(scan.classifier, device=place))

    def run_scan(self, bundle: ModelBundle, request: MapRequest, scan: Scan, pieces: Pieces, tell: Callable[[float], None]) -> None:
        """As `inference.scan.run_scan`: everything that is not there yet, into `pieces`.

        Args:
            bundle: The model.
            request: What `scan` was opened for.
            scan: From `open_scan`.
            pieces: Of the map.
            tell: Told the share done several times a second; may raise to stop, and then nothing more is worked on.

        Raises:
            JobError: a worker failed, workers died again and again, or the cluster is gone.
            ImageryError: a worker cannot read the raster.
        """
        bands = cut(scan, bands_left(scan, pieces), max(1, self.at_once // self.side_by_side))
        if not bands:
            return
        asked, left = self._for_workers(request), dict(enumerate(bands))
        size = None if is_url(asked.source) else Path(asked.source).stat().st_size
        parts = [Part(asked, scan.area, band, size, pieces.bands) for band in bands]

        def listen() -> None:
            tell(1 - sum(band.pixels for band in left.values()) / (scan.grid.width * scan.grid.height))

        for index, files in self._results(make_part, self._model(bundle), parts, listen):
            pieces.take(files)
            del left[index]
            listen()

    def choose(
        self,
        precision: Precision,
        request: MapRequest,
        card: ModelCard,
        load: Callable[[], ModelBundle],
        out: Path,
        pixels: int,
        tell: Callable[[float], None] = lambda share: None,
    ) -> Chosen:
        """As `inference.probe.choose`; what has to be tried out is tried out on a worker."""
        if precision == "exact" or begun_with(out):
            return choose(precision, request, card, load, out, pixels, tell)
        trial = precision, self._for_workers(request), pixels
        [(_, chosen)] = self._results(choose_there, self._model(load()), [trial], lambda: tell(0.0))
        return chosen

    def _for_workers(self, request: MapRequest) -> MapRequest:
        """With nothing in it that each machine would take for something else; the area's polygons go with each part."""
        source = request.source if is_url(request.source) else str(Path(request.source).absolute())
        kind: Device = ("cuda" if self.has_gpus else "cpu") if request.device == "auto" else request.device
        return dataclasses.replace(request, source=source, device=kind, area=None)

    def _results(
        self, work: Callable[[PackedModel, T], R], model: Future, parts: Sequence[T], listen: Callable[[], None]
    ) -> Iterator[tuple[int, R]]:
        """What the workers make of the parts, as it comes in."""
        name = f"terratune-{secrets.token_hex(6)}"
        ready: queue.SimpleQueue[Future] = queue.SimpleQueue()
        futures = {
            self.client.submit(work, model, part, key=f"{name}-{index}", resources=self.resources, pure=False): index
            for index, part in enumerate(parts)
        }
        try:
            for future in futures:
                future.add_done_callback(ready.put)
            while futures:
                listen()
                try:
                    future = ready.get(timeout=SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    continue
                result = _failures_explained(future.result)
                yield futures.pop(future), result
                future.release()
        finally:
            if futures:
                with suppress(OSError, TimeoutError, CancelledError):  # the cluster may be gone
                    self.client.cancel(list(futures), force=True)

    def _model(self, bundle: ModelBundle) -> Future:
        """The model on its way to the workers; it stays there as long as the cluster is used."""
        with self._lock:
            if id(bundle) not in self._models:
                packed = _packed(bundle)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Sending large graph")  # once
                    future = self.client.submit(given, packed, key=packed.name, pure=False)
                self._models[id(bundle)] = bundle, future
            return self._models[id(bundle)][1]


def _packed(bundle: ModelBundle) -> PackedModel:
    with TemporaryDirectory(prefix="terratune-") as name:
        folder = Path(name) / "model"
        save_bundle(folder, bundle.network, bundle.card)
        return PackedModel(
            f"terratune-model-{secrets.token_hex(6)}", (folder / CARD_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
        )


def _failures_explained(work: Callable[[], Any]) -> Any:
    """What `work` returns; errors from workers as ours."""
    try:
        return work()
    except TerratuneError:
        raise
    except KilledWorker as error:
        raise JobError(
            "Workers died again and again over the same part of the map, most likely for lack of memory.",
            f"Give each more memory, or run fewer on a machine. {GO_ON}",
        ) from error
    except (CancelledError, OSError) as error:
        raise JobError("The connection to the cluster was lost.", f"See whether its scheduler still runs. {GO_ON}") from error
    except ImportError as error:
        raise JobError(
            f"A worker lacks a part of Terratune ({error}).",
            "Start workers in Terratune's folder with its environment; docs/scaling.md says how.",
        ) from error
    except Exception as error:  # whatever went wrong on the worker
        raise JobError(f"A worker failed ({type(error).__name__}: {error}).", "The worker's own log says more.") from error
