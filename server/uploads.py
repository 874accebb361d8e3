"""Files from the browser, streamed to disk: rasters to `PUT /api/{token}/uploads/{name}`, tile sets to `.../tile-sets/{name}`, models to `.../models/{name}`.

Streamlit's own uploader holds files in memory (a 2 GB file costs 4 GB); here only one chunk is held at a time.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from errors import DiskFullError, ImageryError, TerratuneError, WorkspaceError
from imagery.library import add_copy
from imagery.read import display_name
from models.packages.job import JOBS_FOLDER as MODEL_JOBS_FOLDER
from models.packages.job import start_import
from server.tokens import project_of_token
from tiles.bring_in import JOBS_FOLDER, start_bring_in
from workspace.files import disk_full_explained
from workspace.project import Project, open_project
from workspace.settings import Settings

DRAFT_PREFIX = ".upload-"
ABANDONED_AFTER_S = 24 * 3600
_WRITE_BYTES = 4 * 2**20

_log = logging.getLogger("terratune.uploads")


def routes(settings: Settings) -> list[Route]:
    """The routes; each answers `{"id", "name"}`, or `{"fact", "remedy"}` with 4xx or 507.

    * `PUT /api/{token}/uploads/{name}?crs=...`: a raster.
    * `PUT /api/{token}/tile-sets/{name}`: a ZIP of a tile set; the id is that of the job which brings it in.
    * `PUT /api/{token}/models/{name}`: a model package; the id is that of the job which imports it.
    """
    return [
        Route("/api/{token}/uploads/{name}", _endpoint(settings, _add_raster), methods=["PUT"]),
        Route("/api/{token}/tile-sets/{name}", _endpoint(settings, _bring_in), methods=["PUT"]),
        Route("/api/{token}/models/{name}", _endpoint(settings, _import_model), methods=["PUT"]),
    ]


Add = Callable[[Request, Project, Settings], Awaitable[dict[str, str]]]


def _endpoint(settings: Settings, add: Add) -> Callable[[Request], Awaitable[Response]]:
    async def upload(request: Request) -> Response:
        project_id = project_of_token(settings.data_folder, request.path_params["token"])
        if project_id is None:
            return problem(403, "This page has expired.", "Reload it, then upload again.")
        try:
            return JSONResponse(await add(request, open_project(settings.projects_folder, project_id), settings))
        except _TooLargeError:
            return problem(
                413,
                f"The file is larger than {settings.max_upload_bytes / 2**30:.3g} GB, the most that can be uploaded here.",
                "Put it into a server folder and add it from there, or ask the administrator to raise TERRATUNE_MAX_UPLOAD_MB.",
            )
        except ClientDisconnect:
            return Response(status_code=499)
        except DiskFullError as error:
            return problem(507, error.fact, error.remedy)
        except TerratuneError as error:
            return problem(404 if isinstance(error, WorkspaceError) else 422, error.fact, error.remedy, type(error).__name__)
        except Exception:
            _log.exception("An upload failed")
            return problem(500, "The upload failed for an unexpected reason.", "Try again; the server's log says more.")

    return upload


def problem(status: int, fact: str, remedy: str, kind: str = "") -> JSONResponse:
    """An error as the browser shows it."""
    return JSONResponse({"fact": fact, "remedy": remedy, "kind": kind}, status_code=status)


class _TooLargeError(Exception):
    """More bytes than this installation takes."""


async def _add_raster(request: Request, project: Project, settings: Settings) -> dict[str, str]:
    async with _received(request, project.imagery_folder, settings) as draft:
        raster = await run_in_threadpool(add_copy, project, draft, draft.name, request.query_params.get("crs"))
    return {"id": raster.id, "name": raster.name}


async def _bring_in(request: Request, project: Project, settings: Settings) -> dict[str, str]:
    async with _received(request, project.tiles_folder / JOBS_FOLDER, settings) as draft:
        job = await run_in_threadpool(start_bring_in, project.tiles_folder, draft.name, upload=draft)
        return {"id": job.name, "name": draft.name}


async def _import_model(request: Request, project: Project, settings: Settings) -> dict[str, str]:
    async with _received(request, project.models_folder / MODEL_JOBS_FOLDER, settings) as draft:
        job = await run_in_threadpool(start_import, project.models_folder, draft.name, upload=draft)
        return {"id": job.name, "name": draft.name}


@contextlib.asynccontextmanager
async def _received(request: Request, folder: Path, settings: Settings) -> AsyncIterator[Path]:
    """Stream the body to a draft below `folder`. The draft never stays behind.

    Raises:
        ImageryError, DiskFullError, ClientDisconnect, _TooLargeError
    """
    announced = int(request.headers.get("content-length") or 0)
    if announced > settings.max_upload_bytes:
        raise _TooLargeError
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    name = display_name(request.path_params["name"]).strip(". ") or "upload"
    if announced > shutil.disk_usage(folder).free:
        raise DiskFullError(
            f"There is not enough room on the server's disk for {name}.", "Free some space (old predictions are usually the largest)."
        )
    draft = folder / f"{DRAFT_PREFIX}{secrets.token_hex(6)}" / name  # keeps its name: messages say it
    draft.parent.mkdir()
    try:
        received = await _stream_to(draft, request, settings.max_upload_bytes)
        if received == 0 or (announced and received != announced):
            raise ImageryError(f"{name} did not arrive completely.", "Upload it again.")
        yield draft
    finally:
        shutil.rmtree(draft.parent, ignore_errors=True)


async def _stream_to(draft: Path, request: Request, limit: int) -> int:
    """Write the body in pieces of a few MB outside the event loop; returns its size."""
    received = 0
    pending: list[bytes] = []
    held = 0

    def write(parts: list[bytes]) -> None:
        with disk_full_explained(draft):
            file.writelines(parts)
            file.flush()

    with draft.open("xb", buffering=0) as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _TooLargeError
            pending.append(chunk)
            held += len(chunk)
            if held >= _WRITE_BYTES:
                await run_in_threadpool(write, pending)
                pending, held = [], 0
        await run_in_threadpool(write, pending)
    return received


def remove_abandoned(folder: Path) -> None:
    """Delete drafts of uploads that a killed server left behind."""
    for draft in folder.glob(f"{DRAFT_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # another upload tidied up at the same moment
            if time.time() - draft.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(draft)
