"""A click, a box or a rough area -> an outline, past the page: `POST prompt`; many at once: `POST prompt/find`; what can answer: `GET prompt/models`.

Nothing here knows torch: the work is done by the processes of `labeling.prompt`, which start with the first prompt.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import re
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from errors import (
    DiskFullError,
    DownloadError,
    ImageryError,
    JobCancelled,
    LabelError,
    ModelError,
    PromptError,
    TerratuneError,
    WorkspaceError,
)
from imagery.library import get_raster
from labeling.label_set import current_labels
from labeling.prompt.checkpoints import SMART_SELECT, Checkpoints, Tool
from labeling.prompt.chips import Picture, picture_of
from labeling.prompt.everything import EXAMPLES, AskAll
from labeling.prompt.segment import Answer, Ask
from labeling.prompt.service import PromptService, Waiting
from server.tokens import project_of_token
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.project import Project, open_project
from workspace.settings import Settings

MAX_BODY_BYTES = 2 * 2**20
MAX_POINTS = 200
THREADS = 8
"""Of their own: requests that wait for an encode never hold up tiles or edits."""
RETRY_MS = 300

_log = logging.getLogger("terratune.prompt")

Longitude = Annotated[float, Field(ge=-540, le=540, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Ring = Annotated[list[tuple[Longitude, Latitude]], Field(min_length=4)]


class Previous(BaseModel):
    """An earlier answer that this prompt goes on from."""

    model_config = ConfigDict(extra="forbid")

    answer: str = Field(max_length=40)
    candidate: int = Field(default=0, ge=0, le=9)


class Area(BaseModel):
    """A rough GeoJSON area to begin from."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Ring] | list[list[Ring]]


class PromptRequest(BaseModel):
    """What the browser sends. All places are EPSG:4326, (longitude, latitude)."""

    model_config = ConfigDict(extra="forbid")

    raster: str = Field(max_length=40, description="Id of a raster of the project.")
    model: str = Field(default=SMART_SELECT, max_length=80, description="Name of a tool, from `prompt/models`.")
    resolution_m: float = Field(gt=0, lt=1e6, allow_inf_nan=False, description="Ground metres of a screen pixel in the middle of the view.")
    points: list[tuple[Longitude, Latitude, Literal[0, 1]]] = Field(default=[], max_length=MAX_POINTS, description="1: this, 0: not this.")
    box: tuple[Longitude, Latitude, Longitude, Latitude] | None = Field(default=None, description="West, south, east, north.")
    area: Area | None = None
    previous: Previous | None = None
    candidate: int = Field(default=0, ge=0, le=9, description="Which possible answer to outline.")
    client: str = Field(default="", max_length=64, description="Names the tab, any text: tabs take turns.")
    hover: bool = Field(default=False, description="A preview: answer from what is at hand, or 204.")


class FindRequest(BaseModel):
    """An area to look for things in. All places are EPSG:4326, (longitude, latitude)."""

    model_config = ConfigDict(extra="forbid")

    raster: str = Field(max_length=40, description="Id of a raster of the project.")
    model: str = Field(default=SMART_SELECT, max_length=80, description="Name of a tool, from `prompt/models`.")
    resolution_m: float = Field(gt=0, lt=1e6, allow_inf_nan=False, description="Ground metres of a screen pixel in the middle of the view.")
    box: tuple[Longitude, Latitude, Longitude, Latitude] = Field(description="West, south, east, north.")
    like: list[Area] = Field(default=[], max_length=EXAMPLES, description="Only what is like one of these; none: everything.")
    client: str = Field(default="", max_length=64, description="Names the tab, any text: tabs take turns.")


def routes(settings: Settings) -> list[Route]:
    """`POST`/`DELETE /api/<token>/prompt`, `POST .../prompt/find`, `GET .../prompt/models`, `POST`/`DELETE .../prompt/models/<name>/fetch`."""
    service = PromptService(settings)
    fetches = _Fetches(service.checkpoints)
    threads = anyio.CapacityLimiter(THREADS)
    atexit.register(service.close)

    async def post_prompt(request: Request) -> Response:
        return await answered(request, _prompt)

    async def post_find(request: Request) -> Response:
        return await answered(request, _find)

    async def answered(request: Request, answer: Callable[[Settings, PromptService, Request, bytes], Response]) -> Response:
        body = await _body(request)
        if body is None:
            return _problem(413, "This area is too detailed to begin from.", "Draw a simpler one.")
        return await anyio.to_thread.run_sync(_explained, lambda: answer(settings, service, request, body), limiter=threads)

    async def delete_prompt(request: Request) -> Response:
        return await anyio.to_thread.run_sync(_explained, lambda: _leave(settings, service, request), limiter=threads)

    def get_models(request: Request) -> Response:
        return _explained(lambda: _models(settings, service, fetches, request))

    def post_fetch(request: Request) -> Response:
        return _explained(lambda: _fetch(settings, fetches, request))

    def delete_fetch(request: Request) -> Response:
        return _explained(lambda: _stop_fetch(settings, fetches, request))

    return [
        Route("/api/{token}/prompt", post_prompt, methods=["POST"]),
        Route("/api/{token}/prompt", delete_prompt, methods=["DELETE"]),
        Route("/api/{token}/prompt/find", post_find, methods=["POST"]),
        Route("/api/{token}/prompt/models", get_models, methods=["GET"]),
        Route("/api/{token}/prompt/models/{name}/fetch", post_fetch, methods=["POST"]),
        Route("/api/{token}/prompt/models/{name}/fetch", delete_fetch, methods=["DELETE"]),
    ]


class _ExpiredError(Exception):
    """The token names no project (any more)."""


def _prompt(settings: Settings, service: PromptService, request: Request, body: bytes) -> Response:
    project = _project(settings, request)
    try:
        asked = PromptRequest.model_validate_json(body)
    except (ValidationError, ValueError, RecursionError):
        return _problem(400, "This prompt could not be read.", "Reload the page.")
    tool, picture = _looked_up(project, service, asked)
    ask = Ask(
        picture=picture,
        resolution_m=asked.resolution_m,
        points=tuple((lon, lat, bool(wanted)) for lon, lat, wanted in asked.points),
        box=asked.box,
        area=None if asked.area is None else asked.area.model_dump(),
        previous=None if asked.previous is None else (asked.previous.answer, asked.previous.candidate),
        candidate=asked.candidate,
    )
    answer = service.ask(ask, tool, _owner(project, asked.client), only_if_ready=asked.hover)
    if answer is None:
        return Response(status_code=204)
    if isinstance(answer, Waiting):
        return _later(answer)
    return JSONResponse(_told(answer, tool), headers=_FRESH)


def _find(settings: Settings, service: PromptService, request: Request, body: bytes) -> Response:
    project = _project(settings, request)
    try:
        asked = FindRequest.model_validate_json(body)
    except (ValidationError, ValueError, RecursionError):
        return _problem(400, "This prompt could not be read.", "Reload the page.")
    tool, picture = _looked_up(project, service, asked)
    labels = current_labels(project.journal_file)
    labels = labels[labels["class_value"] != FULLY_LABELLED_VALUE].geometry
    near = labels[labels.geom_type.isin(["Polygon", "MultiPolygon"])].cx[asked.box[0] : asked.box[2], asked.box[1] : asked.box[3]]
    ask = AskAll(
        picture=picture,
        resolution_m=asked.resolution_m,
        box=asked.box,
        like=tuple(one.model_dump() for one in asked.like),
        taken=tuple(near.to_wkb()),
    )
    answer = service.find(ask, tool, _owner(project, asked.client))
    if isinstance(answer, Waiting):
        return _later(answer)
    return JSONResponse({"model": tool.name, **dataclasses.asdict(answer)}, headers=_FRESH)


class _NotThereError(Exception):
    """What was asked for is not on this server."""

    def __init__(self, status: int, fact: str, remedy: str) -> None:
        super().__init__(fact)
        self.status, self.fact, self.remedy = status, fact, remedy


def _looked_up(project: Project, service: PromptService, asked: PromptRequest | FindRequest) -> tuple[Tool, Picture]:
    tool = service.checkpoints.tool(asked.model)
    if not tool.available:
        raise _NotThereError(409, f"{tool.title} is not on this server yet.", "Download it first, or use Smart select.")
    try:
        return tool, picture_of(project, get_raster(project, asked.raster))
    except OSError:
        raise _NotThereError(404, "The file of this raster is gone.", "Put it back where it was, or remove it from the list.") from None


def _later(answer: Waiting) -> Response:
    return JSONResponse({"waiting": dataclasses.asdict(answer), "retry_ms": RETRY_MS}, status_code=202, headers=_FRESH)


def _told(answer: Answer, tool: Tool) -> dict[str, Any]:
    told = {
        "answer": answer.id,
        "model": tool.name,
        "geometry": answer.geometry,
        "candidate": answer.candidate,
        "scores": answer.scores,
        "whole": answer.whole,
        "milliseconds": answer.milliseconds,
    }
    if not answer.whole:
        told["retry_ms"] = RETRY_MS
    return told


def _leave(settings: Settings, service: PromptService, request: Request) -> Response:
    project = _project(settings, request)
    service.leave(_owner(project, request.query_params.get("client", "")[:64]))
    return Response(status_code=204)


def _models(settings: Settings, service: PromptService, fetches: _Fetches, request: Request) -> Response:
    _project(settings, request)
    told = []
    for tool in service.checkpoints.tools():
        fetch = fetches.state(tool.name)
        told.append(
            {
                "name": tool.name,
                "title": tool.title,
                "summary": tool.summary,
                "kind": tool.kind,
                "licence": tool.licence,
                "bytes": tool.bytes,
                "available": tool.available,
                "fetch": None if tool.available else fetch,
            }
        )
    return JSONResponse({"models": told}, headers=_FRESH)


def _fetch(settings: Settings, fetches: _Fetches, request: Request) -> Response:
    _project(settings, request)
    return JSONResponse(fetches.start(_name(request)), status_code=202, headers=_FRESH)


def _stop_fetch(settings: Settings, fetches: _Fetches, request: Request) -> Response:
    _project(settings, request)
    fetches.stop(_name(request))
    return Response(status_code=204)


class _Fetches:
    """Downloads at work, one for each checkpoint, whoever asked for it."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._states: dict[str, dict[str, Any]] = {}
        self._stopped: set[str] = set()
        self._lock = threading.Lock()

    def state(self, name: str) -> dict[str, Any] | None:
        """`{"state": "running" | "failed", "done_bytes", "total_bytes", "fact", "remedy"}`; None where none was started."""
        with self._lock:
            state = self._states.get(name)
            return None if state is None else dict(state)

    def start(self, name: str) -> dict[str, Any]:
        """Begin, or go on; does nothing while it runs.

        Raises:
            ModelNotFoundError: no tool has this name.
        """
        tool = self._checkpoints.tool(name)
        with self._lock:
            state = self._states.get(name)
            if tool.available or (state is not None and state["state"] == "running"):
                return dict(state or {"state": "done"})
            state = {"state": "running", "done_bytes": 0, "total_bytes": tool.bytes}
            self._states[name] = state
            self._stopped.discard(name)
        threading.Thread(target=self._run, args=(name, tool.bytes), name=f"fetch-{name}", daemon=True).start()
        return dict(state)

    def stop(self, name: str) -> None:
        with self._lock:
            self._stopped.add(name)

    def _run(self, name: str, size: int) -> None:
        def progress(done: int, total: int | None) -> None:
            with self._lock:
                if name in self._stopped:
                    raise JobCancelled("Stopped as you asked.")
                self._states[name] = {"state": "running", "done_bytes": done, "total_bytes": total or size}

        try:
            self._checkpoints.fetch(name, progress)
            ended = None
        except JobCancelled:
            ended = None
        except TerratuneError as error:
            ended = {"state": "failed", "fact": error.fact, "remedy": error.remedy}
        except OSError:
            _log.exception("Fetching %s failed", name)
            ended = {"state": "failed", "fact": "The file could not be written.", "remedy": "Check the server's disk, then try again."}
        with self._lock:
            self._states.pop(name, None)
            if ended is not None:
                self._states[name] = ended


_FRESH = {"Cache-Control": "no-store"}


def _explained(work: Any) -> Response:
    """What `work` answers, or its error as the browser shows it."""
    try:
        response: Response = work()
        return response
    except _ExpiredError:
        return _problem(403, "This page has been open for too long.", "Reload it.")
    except _NotThereError as error:
        return _problem(error.status, error.fact, error.remedy)
    except TerratuneError as error:
        return _problem(_status(error), error.fact, error.remedy)
    except Exception:
        _log.exception("A prompt failed")
        return _problem(500, "This prompt failed for an unexpected reason.", "Try again; the server's log says more.")


def _status(error: TerratuneError) -> int:
    kinds: list[tuple[type[TerratuneError], int]] = [
        (PromptError, 422),
        (DiskFullError, 507),
        (WorkspaceError, 404),
        (ImageryError, 404),
        (DownloadError, 502),
        (ModelError, 409),
        (LabelError, 422),
    ]
    return next((status for kind, status in kinds if isinstance(error, kind)), 500)


def _problem(status: int, fact: str, remedy: str) -> Response:
    return JSONResponse({"fact": fact, "remedy": remedy}, status_code=status, headers=_FRESH)


def _project(settings: Settings, request: Request) -> Project:
    project_id = project_of_token(settings.data_folder, request.path_params["token"])
    if project_id is None:
        raise _ExpiredError
    return open_project(settings.projects_folder, project_id)


def _owner(project: Project, client: str) -> str:
    return f"{project.id}/{client}"


def _name(request: Request) -> str:
    name = request.path_params["name"]
    return name if re.fullmatch(r"[a-z0-9-]{1,80}", name) else ""


async def _body(request: Request) -> bytes | None:
    """The request's body; None when it is larger than allowed."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
