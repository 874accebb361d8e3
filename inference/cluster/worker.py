"""What a worker does: one band of a map, with a model that is loaded once and kept.

Runs in a process of dask, perhaps on another machine, from the same release of Terratune. It needs to read the imagery, under the path or
address that whoever asks gives, and nothing else: the model comes with the task, and the rows go back as files' bytes.
"""

from __future__ import annotations

import dataclasses
import platform
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from distributed import get_worker
from numpy.typing import NDArray

from errors import ImageryError, JobCancelled, JobError
from imagery.grid import Grid
from imagery.read import is_url
from inference.area import Area
from inference.classify import Classifier
from inference.pieces import Pieces
from inference.probe import Chosen, choose
from inference.request import MapRequest, classifier_for, open_scan
from inference.reuse import METHOD
from inference.scan import Band, run_scan
from inference.settings import Precision
from models.bundle import ModelBundle, load_bundle
from models.card import CARD_FILE, WEIGHTS_FILE
from workspace.version import VERSION

if TYPE_CHECKING:
    from distributed import Worker

GPU = "GPU"
"""The name that dask's own pages give a worker's resource where one task at a time may use its graphics card."""
KEPT = 3
"""Models that stay loaded: a comparison has two, and perhaps one of them fitted to other bands."""
PIECE_BYTES = 32 * 2**20
"""Of rows that are put together into one piece."""
RELEASE = f"{VERSION}, method {METHOD}"


@dataclass(frozen=True)
class Facts:
    """What a worker says of itself."""

    host: str
    release: str
    cuda: bool
    threads: int
    """Tasks that it works on at one time."""
    gpus: int
    """How many of them may use a graphics card, as its resources say; 0: nothing is said."""


@dataclass(frozen=True)
class PackedModel:
    """The two files of a bundle."""

    name: str
    """Different for different models."""
    card: bytes
    weights: bytes


@dataclass(frozen=True)
class Part:
    """A band of a map, and all that it takes to make it besides the model."""

    request: MapRequest
    """With a device that is not "auto", and without its area."""
    area: Area | None
    band: Band
    bytes_of_source: int | None
    """Of the raster's file; None for an address."""
    layers: tuple[int, ...]
    """Bands of each layer."""


def facts(dask_worker: Worker) -> Facts:
    """For `Client.run`."""
    resources = dask_worker.state.total_resources
    return Facts(platform.node(), RELEASE, torch.cuda.is_available(), dask_worker.state.nthreads, int(resources.get(GPU, 0)))


def given(model: PackedModel) -> PackedModel:
    """A task of its own, so that dask brings the model to each worker once, and makes it anew when the worker that held it is lost."""
    return model


def make_part(model: PackedModel, part: Part) -> dict[str, bytes]:
    """Make a band.

    Returns:
        The files of `inference.pieces`, by name.

    Raises:
        ImageryError: this machine cannot read the raster, or has another one there.
        JobError: it has no graphics card, and is asked to use one.
        JobCancelled: nobody wants the band any more.
    """
    stop = _Stop()
    with TemporaryDirectory(prefix="terratune-") as folder, ExitStack() as stack:
        with _names_the_machine():
            _refuse_another_file(part)
            bundle, classifier = _loaded(model, part.request)
            scan = dataclasses.replace(open_scan(stack, bundle, part.request, classifier), area=part.area)
            pieces = LargePieces(Path(folder), scan.grid, part.layers)
            run_scan(scan, pieces, stop, [part.band])
            pieces.flush()
        return {path.name: path.read_bytes() for path in Path(folder).glob("*.tif")}


class LargePieces(Pieces):
    """Puts rows together before they are written: each file costs whoever keeps it a moment of the disk's time, one after the other."""

    def __init__(self, folder: Path, grid: Grid, bands: Sequence[int]) -> None:
        super().__init__(folder, grid, bands)
        self._held: list[Sequence[NDArray[np.uint8]]] = []
        self._place = (0, 0)

    def write(self, left: int, top: int, layers: Sequence[NDArray[np.uint8]]) -> None:
        """The rows below those of the last call."""
        if not self._held:
            self._place = left, top
        self._held.append(layers)
        if sum(values.nbytes for rows in self._held for values in rows) >= PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held; to be called at the end."""
        if self._held:
            super().write(*self._place, [np.concatenate(rows, axis=1) for rows in zip(*self._held, strict=True)])
            self._held = []


def choose_there(model: PackedModel, trial: tuple[Precision, MapRequest, int]) -> Chosen:
    """`inference.probe.choose` on this machine; for precision, map and pixels."""
    precision, request, pixels = trial
    with _names_the_machine(), TemporaryDirectory(prefix="terratune-") as folder:
        bundle = _loaded(model, request)[0]
        return choose(precision, request, bundle.card, lambda: bundle, Path(folder) / "new.tif", pixels)


class _Stop:
    """Told how far a band is; raises once dask has dropped the task (whoever asked has cancelled, or is gone)."""

    def __init__(self) -> None:
        worker = get_worker()
        self.tasks, self.key = worker.state.tasks, worker.get_current_task()

    def __call__(self, share: float) -> None:
        task = self.tasks.get(self.key)
        if task is None or task.state == "cancelled":
            raise JobCancelled("Stopped as you asked.")


@contextmanager
def _names_the_machine() -> Iterator[None]:
    try:
        yield
    except ImageryError as error:
        raise type(error)(
            f"On the worker {platform.node()}: {error.fact}",
            f"{error.remedy} All workers must be able to read the imagery under the same path or address.".strip(),
        ) from error


def _refuse_another_file(part: Part) -> None:
    source = part.request.source
    if is_url(source) or not Path(source).exists():  # opening it says what is wrong
        return
    found = Path(source).stat().st_size
    if found != part.bytes_of_source:
        raise ImageryError(f"{Path(source).name} is another file there: it has {found:,} bytes instead of {part.bytes_of_source:,}.")


_lock = threading.Lock()
_models: OrderedDict[str, tuple[ModelBundle, dict[str, Classifier]]] = OrderedDict()


def _loaded(model: PackedModel, request: MapRequest) -> tuple[ModelBundle, Classifier]:
    """The model, ready to classify as asked; loaded by the first task that needs it."""
    if request.device == "cuda" and not torch.cuda.is_available():
        raise JobError(
            f"The worker {platform.node()} has no graphics card that can be used, and others have.",
            f"Start workers with a graphics card with --resources {GPU}=1: then these alone are asked. Or start only one kind.",
        )
    how = repr(dataclasses.replace(request, source="", layers=(), bands=None, band_names=()))
    with _lock:
        if model.name not in _models:
            _models[model.name] = (_unpacked(model), {})
            while len(_models) > KEPT:
                _models.popitem(last=False)
        _models.move_to_end(model.name)
        bundle, ready = _models[model.name]
        if how not in ready:
            ready.clear()
            ready[how] = classifier_for(bundle, request)
        return bundle, ready[how]


def _unpacked(model: PackedModel) -> ModelBundle:
    with TemporaryDirectory(prefix="terratune-") as name:
        folder = Path(name)
        (folder / CARD_FILE).write_bytes(model.card)
        (folder / WEIGHTS_FILE).write_bytes(model.weights)
        return load_bundle(folder)
