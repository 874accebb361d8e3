"""The server's side of prompts: asks for an answer, has missing chips encoded in turn, tells how far it is. No torch here."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from errors import JobCancelled, PromptError, TerratuneError
from labeling.prompt.checkpoints import Checkpoints, Kind, Tool
from labeling.prompt.chips import Chip, Pyramid, chip_key
from labeling.prompt.everything import AskAll, MissingParts, Offers, Part, part_key
from labeling.prompt.segment import Answer, Ask, Missing
from labeling.prompt.turns import Turns
from labeling.prompt.worker import Encode, ModelPlace, Reply, Worker, WorkerGoneError, model_key
from workspace.settings import Settings

ANSWER_WITHIN_S = 0.8
"""So long a request waits for an encode before it is answered with how far that is."""
FAILED_KEPT_S = 30.0

_log = logging.getLogger("terratune.prompt")


@dataclass(frozen=True)
class Waiting:
    """A chip is being encoded, or will be; ask again."""

    stage: str
    share: float
    """0..1 of the encode at work."""
    ahead: int
    """Encodes that come first."""


class PromptService:
    """Prompts of one installation. Safe for threads; processes start when first needed."""

    def __init__(self, settings: Settings) -> None:
        self.checkpoints = Checkpoints(settings.data_folder / "models" / "sam", settings.weights_mirror)
        self._settings = settings
        self._store = settings.data_folder / "embeddings"
        self._answering = Worker()
        self._lanes: dict[Kind, _Lane] = {"smart": _Lane("smart"), "sam": _Lane("sam")}
        self._places: dict[tuple[str, Path | None, int], ModelPlace] = {}

    def ask(self, ask: Ask, tool: Tool, owner: str, *, only_if_ready: bool = False, wait_s: float = ANSWER_WITHIN_S) -> Answer | Waiting | None:
        """Answer a prompt, or say how far the encode it needs is.

        Args:
            ask: The prompt.
            tool: An available one of `checkpoints.tools()`.
            owner: Who asks (project and tab): owners take turns.
            only_if_ready: Encode nothing; None where that would be needed (a preview under the pointer).
            wait_s: How long to wait for an encode.

        Raises:
            PromptError: the prompt cannot be answered.
            TerratuneError: the raster or the checkpoint cannot be read.
        """
        model, lane = self._place(tool), self._lanes[tool.kind]
        deadline = time.monotonic() + wait_s
        while True:
            answer = self._reply(ask, model)
            missing = answer.chips if isinstance(answer, Missing) else answer.missing
            if only_if_ready:
                return None if isinstance(answer, Missing) else answer
            jobs = {chip_key(ask.picture, chip, model_key(model)): self._encode(ask, chip, model) for chip in missing}
            if isinstance(answer, Answer):
                lane.want(owner, jobs)
                if not jobs:
                    lane.prefetch(owner, self._neighbours(ask, answer.chip, model))
                return answer
            lane.want(owner, jobs)
            waited = lane.wait(owner, jobs, max(0.0, deadline - time.monotonic()))
            if waited is not None:
                return waited

    def find(self, ask: AskAll, tool: Tool, owner: str, *, wait_s: float = ANSWER_WITHIN_S) -> Offers | Waiting:
        """Everything in an area, or all like some examples; or how far the looking is. As `ask`."""
        model, lane = self._place(tool), self._lanes[tool.kind]
        deadline = time.monotonic() + wait_s
        while True:
            answer = self._reply(ask, model)
            if isinstance(answer, Offers):
                return answer
            jobs = {part_key(ask.picture, part, model_key(model)): self._encode(ask, part.chip, model, part) for part in answer.parts}
            jobs |= {chip_key(ask.picture, chip, model_key(model)): self._encode(ask, chip, model) for chip in answer.chips}
            lane.want(owner, jobs)
            waited = lane.wait(owner, jobs, max(0.0, deadline - time.monotonic()))
            if waited is not None:
                done = answer.of - len(jobs)
                return replace(waited, share=(done + waited.share) / answer.of)

    def leave(self, owner: str) -> None:
        """An owner wants nothing any more: what only it waits for is stopped."""
        for lane in self._lanes.values():
            lane.leave(owner)

    def close(self) -> None:
        """End the processes."""
        for lane in self._lanes.values():
            lane.close()
        self._answering.stop()

    @overload
    def _reply(self, ask: Ask, model: ModelPlace) -> Answer | Missing: ...

    @overload
    def _reply(self, ask: AskAll, model: ModelPlace) -> Offers | MissingParts: ...

    def _reply(self, ask: Ask | AskAll, model: ModelPlace) -> Answer | Missing | Offers | MissingParts:
        message = Reply(ask, model, self._store, self._settings.embeddings_bytes)
        for attempt in (1, 2):
            try:
                result: Answer | Missing | Offers | MissingParts = self._answering.call(message)
                return result
            except WorkerGoneError:
                _log.warning("The answering process ended; starting another")
                if attempt == 2:
                    raise PromptError("This tool stopped working.", "Try again; if it lasts, the computer may be short of memory.") from None
        raise AssertionError

    def _place(self, tool: Tool) -> ModelPlace:
        version = 0 if tool.path is None else tool.path.stat().st_mtime_ns
        key = (tool.name, tool.path, version)
        if key not in self._places:
            checksum = "" if tool.path is None else self.checkpoints.checksum(tool)
            self._places[key] = ModelPlace(tool.kind, checksum, tool.path, self._settings.device)
        return self._places[key]

    def _encode(self, ask: Ask | AskAll, chip: Chip, model: ModelPlace, part: Part | None = None) -> Encode:
        limit = self._settings.embeddings_bytes
        return Encode(ask.picture, chip, model, self._store, limit, self._settings.allow_private_addresses, part)

    def _neighbours(self, ask: Ask, chip: Chip, model: ModelPlace) -> dict[str, Encode]:
        around = Pyramid(ask.picture.grid).neighbours(chip)
        jobs = {chip_key(ask.picture, one, model_key(model)): self._encode(ask, one, model) for one in around}
        return {key: job for key, job in jobs.items() if not (self._store / key[:2] / f"{key}.safetensors").exists()}


class _Lane:
    """One encoding process and the queue before it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._worker = Worker()
        self._turns: Turns[Encode] = Turns()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._now: tuple[str, str, float] | None = None
        """(key, stage, share) of the encode at work."""
        self._failed: dict[str, tuple[TerratuneError, float]] = {}

    def want(self, owner: str, jobs: dict[str, Encode]) -> None:
        """Have these encoded, in this owner's turn."""
        with self._changed:
            for key, job in jobs.items():
                if key not in self._failed:
                    self._turns.ask(owner, key, job, time.monotonic())
            self._wake(bool(jobs))

    def prefetch(self, owner: str, jobs: dict[str, Encode]) -> None:
        """Have these encoded when nobody waits."""
        with self._changed:
            self._turns.when_idle(owner, jobs, time.monotonic())
            self._wake(bool(jobs))

    def wait(self, owner: str, jobs: dict[str, Encode], seconds: float) -> Waiting | None:
        """Wait until one of these is done (None), or so long (how far it is).

        Raises:
            TerratuneError: one of them failed.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for key in jobs:
                    if key in self._failed:
                        raise self._failed.pop(key)[0]
                if not any(self._turns.wanted(key) for key in jobs):
                    return None
                left = deadline - time.monotonic()
                if left <= 0:
                    key = next(key for key in jobs if self._turns.wanted(key))
                    if self._now is not None and self._now[0] in jobs:
                        return Waiting(self._now[1], self._now[2], 0)
                    return Waiting("Waiting for its turn", 0.0, max(1, self._turns.ahead(owner, key)))
                self._changed.wait(left)

    def leave(self, owner: str) -> None:
        with self._changed:
            self._turns.leave(owner)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._worker.stop()

    def _wake(self, needed: bool) -> None:
        if needed and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name=f"encode-{self._name}", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        """Encode what is wanted, one after the other."""
        while True:
            with self._changed:
                while (turn := self._turns.next(time.monotonic())) is None and not self._closed:
                    self._changed.wait()
                if turn is None or self._closed:
                    return
                key, job, _ = turn
                self._now = (key, "Starting", 0.0)
                now = time.monotonic()
                self._failed = {k: f for k, f in self._failed.items() if now - f[1] < FAILED_KEPT_S}
            failure = self._encode(key, job)
            with self._changed:
                self._now = None
                if failure is not None:
                    self._failed[key] = failure, time.monotonic()
                self._turns.done(key)
                self._changed.notify_all()

    def _encode(self, key: str, job: Encode) -> TerratuneError | None:
        def tell(stage: str, share: float) -> None:
            with self._changed:
                self._now = (key, stage, share)

        def go_on() -> bool:
            with self._changed:
                return not self._closed and self._turns.worth_going_on(key, time.monotonic())

        try:
            self._worker.call(job, tell=tell, go_on=go_on)
        except JobCancelled:
            return None
        except WorkerGoneError:
            _log.warning("The encoding process ended while it looked at a chip; another starts when needed")
            return PromptError("Looking at this part of the picture failed: the computer may be short of memory.", "Try again, or choose a smaller model.")
        except TerratuneError as error:
            return error
        except Exception:
            _log.exception("Encoding failed")
            return PromptError("Looking at this part of the picture failed.", "Try again; the server's log says more.")
        return None
