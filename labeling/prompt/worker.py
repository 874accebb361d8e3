"""The processes that do the work, so that the server never waits and never loads torch. `python -m labeling.prompt.worker DESCRIPTOR`.

One process encodes, another answers; both run this module and do what the messages say. They speak pickles over a socket pair that only server
and process hold: when the server ends, however it ends, the pipe closes and the process ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import JobCancelled, PromptError, TerratuneError
from imagery.read import open_raster
from labeling.prompt.checkpoints import Kind
from labeling.prompt.chips import Chip, Picture, Pyramid, chip_key, read_chip
from labeling.prompt.everything import AskAll, MissingParts, Offers, Part, find, look, part_key
from labeling.prompt.model import Candidates, Embedding, Point, Progress, Prompt, PromptableModel, Thing
from labeling.prompt.segment import Answer, Answerer, Ask, Missing, packed_validity
from labeling.prompt.store import RecentEmbeddings
from workspace.array_store import ArrayStore

REPOSITORY = Path(__file__).resolve().parents[2]
ENCODE_NICENESS = 10
MEMORY_BYTES = 256 * 2**20
"""Embeddings that the answering process keeps in memory: about 120 chips of SAM."""
ANSWERERS = 3
"""Models kept for answering; their decoders are small."""
LOOK_EVERY_S = 0.1
IDLE_EXIT_S = 600.0
"""A process that had nothing to do for so long ends and gives its memory back; the next call starts another."""

Tell = Callable[[str, float], None]
"""Called with the stage in words and the share done; raises JobCancelled to stop."""


@dataclass(frozen=True)
class ModelPlace:
    """Which model, for a process that has to load it."""

    kind: Kind
    key: str
    """Checksum of the checkpoint; empty for methods without weights."""
    path: Path | None
    device: str = "cpu"


@dataclass(frozen=True)
class Encode:
    """Look at a chip and keep the embedding."""

    picture: Picture
    chip: Chip
    model: ModelPlace
    store: Path
    store_limit_bytes: int
    allow_private: bool
    part: Part | None = None
    """Also look for everything in this part of it."""


@dataclass(frozen=True)
class Reply:
    """Answer a prompt from the embeddings at hand."""

    ask: Ask | AskAll
    model: ModelPlace
    store: Path
    store_limit_bytes: int


class WorkerGoneError(Exception):
    """The process ended in the middle of a call (out of memory, killed); the next call starts another."""


class Worker:
    """The server's end of one process; started when first called. Calls from several threads take turns."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._turn = threading.Lock()

    def call(self, message: Encode | Reply, *, tell: Callable[[str, float], None] | None = None, go_on: Callable[[], bool] | None = None) -> Any:
        """Do one thing there and wait for it.

        Args:
            message: What to do.
            tell: Hears how far it is.
            go_on: Looked at about ten times a second; False stops the work.

        Raises:
            JobCancelled: `go_on` said so.
            WorkerGoneError: the process died.
            TerratuneError: what went wrong there.
        """
        with self._turn:
            pipe = self._started()
            asked_to_stop = False
            try:
                pipe.send(message)
                while True:
                    if go_on is not None and not asked_to_stop and not go_on():
                        pipe.send("stop")
                        asked_to_stop = True
                    if not pipe.poll(LOOK_EVERY_S if go_on is not None else None):
                        continue
                    what, value = pipe.recv()
                    if what == "progress":
                        if tell is not None:
                            tell(*value)
                    elif what == "error":
                        raise value
                    else:
                        return value
            except (EOFError, OSError) as error:
                self._end()
                raise WorkerGoneError from error

    def stop(self) -> None:
        """End the process; a later call starts another."""
        process = self._process
        if process is not None:
            process.kill()  # a call in progress raises WorkerGoneError and lets go
        with self._turn:
            self._end()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _started(self) -> Connection:
        if self._pipe is not None and self.running:
            return self._pipe
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "labeling.prompt.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                start_new_session=True,  # Ctrl+C in the server's terminal ends the server; the process follows by its pipe
                env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            )
        self._pipe = Connection(ours.detach())
        return self._pipe

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._pipe = self._process = None


def load_model(place: ModelPlace, device: str) -> PromptableModel:
    """The model that a place names, on this device.

    Raises:
        BundleError: the checkpoint does not hold what it should.
    """
    if place.kind == "smart":
        from labeling.prompt.smart_select import SmartSelect

        return SmartSelect()
    from labeling.prompt.sam import load_sam  # torch: only here, only when SAM is used

    assert place.path is not None
    return load_sam(place.path, key=place.key, device=device)


class _OnDemand:
    """A model that is loaded when it is first asked: that a chip is missing can be said before."""

    def __init__(self, place: ModelPlace) -> None:
        self.key, self._place = model_key(place), place

    @functools.cached_property
    def _model(self) -> PromptableModel:
        return load_model(self._place, "cpu")

    def encode(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_], progress: Progress) -> dict[str, NDArray[Any]]:
        return self._model.encode(rgb, valid, progress)

    def predict(self, embedding: Embedding, prompt: Prompt) -> Candidates:
        return self._model.predict(embedding, prompt)

    def mask(self, embedding: Embedding, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._model.mask(embedding, logits)

    def logits_of(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        return self._model.logits_of(embedding, mask)

    def everything(self, embedding: Embedding, points: Sequence[Point], progress: Progress) -> Iterator[Thing]:
        return self._model.everything(embedding, points, progress)

    def describe(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        return self._model.describe(embedding, mask)

    def likeness(self, things: NDArray[np.float32], scores: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._model.likeness(things, scores, examples)

    @property
    def offered_from(self) -> float:
        return self._model.offered_from

    @property
    def alike_from(self) -> float:
        return self._model.alike_from


class _Side:
    """The process's own end: does one message after the other, keeps the last model loaded."""

    def __init__(self) -> None:
        self._model: tuple[ModelPlace, PromptableModel] | None = None
        """The one that encodes: loaded, and kept until another is wanted."""
        self._stores: dict[tuple[Path, int], ArrayStore] = {}
        self._recent: dict[Path, RecentEmbeddings] = {}
        self._answerers: OrderedDict[tuple[ModelPlace, Path], tuple[Answerer, PromptableModel, RecentEmbeddings]] = OrderedDict()
        self._niced = False

    def encode(self, job: Encode, tell: Tell) -> str:
        """Returns the key of the embedding, or of what was seen in its part."""
        if not self._niced:
            os.nice(ENCODE_NICENESS)
            self._niced = True
        store = self._store(job.store, job.store_limit_bytes)
        key = chip_key(job.picture, job.chip, model_key(job.model))
        embedding = store.get(key)
        if embedding is None:
            store.put(key, self._encoded(job, tell))
            embedding = store.get(key)
        if job.part is None or embedding is None:
            return key
        seen = part_key(job.picture, job.part, model_key(job.model))
        if not store.holds(seen):
            store.put(seen, self._looked(job, job.part, embedding, tell))
        return seen

    def _encoded(self, job: Encode, tell: Tell) -> dict[str, Any]:
        tell("Reading the picture", 0.0)
        with open_raster(job.picture.source, allow_private=job.allow_private) as dataset:
            rgb, valid = read_chip(dataset, job.picture, job.chip)
        embedding: dict[str, Any] = {"shape": np.array(valid.shape, np.int32)}
        if valid.any():
            with self._loaded(job, tell) as model:
                tell("Looking at this part of the picture", 0.05)
                embedding = model.encode(rgb, valid, lambda share: tell("Looking at this part of the picture", 0.05 + 0.95 * share))
        return {**embedding, **packed_validity(valid)}

    def _looked(self, job: Encode, part: Part, embedding: Embedding, tell: Tell) -> dict[str, Any]:
        with self._loaded(job, tell) as model:
            return look(model, embedding, Pyramid(job.picture.grid), part, lambda share: tell("Looking for things", share))

    @contextlib.contextmanager
    def _loaded(self, job: Encode, tell: Tell) -> Iterator[PromptableModel]:
        tell("Waiting for another program", 0.0)
        with _alone_on_this_machine(job.model, lambda: tell("Waiting for another program", 0.0)):
            tell("Loading the model", 0.0)
            if self._model is None or self._model[0] != job.model:
                self._model = None  # free the other first
                self._model = job.model, load_model(job.model, _device(job.model.device))
            yield self._model[1]

    def reply(self, job: Reply, tell: Tell) -> Answer | Missing | Offers | MissingParts:
        del tell
        where = (job.model, job.store)
        if where not in self._answerers:
            store = self._store(job.store, job.store_limit_bytes)
            recent = self._recent.setdefault(job.store, RecentEmbeddings(store, MEMORY_BYTES))
            model: PromptableModel = _OnDemand(job.model)
            self._answerers[where] = Answerer(model, recent), model, recent
            if len(self._answerers) > ANSWERERS:
                self._answerers.popitem(last=False)
        self._answerers.move_to_end(where)
        answerer, one, embeddings = self._answerers[where]
        return answerer.answer(job.ask) if isinstance(job.ask, Ask) else find(job.ask, one, embeddings.get)

    def _store(self, folder: Path, limit_bytes: int) -> ArrayStore:
        return self._stores.setdefault((folder, limit_bytes), ArrayStore(folder, limit_bytes))


def model_key(place: ModelPlace) -> str:
    """`PromptableModel.key` of a model that is not loaded."""
    if place.kind == "smart":
        from labeling.prompt.smart_select import KEY

        return KEY
    return f"sam:{place.key}"


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _alone_on_this_machine(place: ModelPlace, look: Callable[[], None]) -> Iterator[None]:
    """One large network at a time, whatever runs on this machine for this user; `look` may raise while waiting."""
    if place.kind == "smart":
        yield
        return
    path = Path(tempfile.gettempdir()) / f"terratune-encode-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                look()
                time.sleep(LOOK_EVERY_S)
        yield


def serve(pipe: Connection) -> None:
    """Do what comes through the pipe until it closes."""
    messages: queue.SimpleQueue[Encode | Reply] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                os._exit(0)  # the server is gone
            if message == "stop":
                stop.set()
            else:
                stop.clear()
                messages.put(message)

    def tell(stage: str, share: float) -> None:
        if stop.is_set():
            raise JobCancelled("Stopped.")
        pipe.send(("progress", (stage, share)))

    threading.Thread(target=listen, daemon=True).start()
    side = _Side()
    while True:
        try:
            message = messages.get(timeout=IDLE_EXIT_S)
        except queue.Empty:
            os._exit(0)
        try:
            done = side.encode(message, tell) if isinstance(message, Encode) else side.reply(message, tell)
            pipe.send(("done", done))
        except TerratuneError as error:
            pipe.send(("error", error))
        except MemoryError:
            os._exit(1)
        except Exception as error:
            sys.stderr.write(f"labeling.prompt.worker: {type(error).__name__}: {error}\n")
            pipe.send(("error", PromptError("This prompt failed for an unexpected reason.", f"Try again elsewhere ({type(error).__name__}).")))


if __name__ == "__main__":
    from labeling.prompt import worker  # classes by their importable name, for pickling

    worker.serve(Connection(int(sys.argv[1])))
