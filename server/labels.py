"""Labels between the map and the journal, past the page: `GET labels`, `POST operations`, `POST shapes`. Answers to operations come after the disk."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from errors import DiskFullError, LabelError, ProjectNotFoundError, TerratuneError
from labeling.draw import operation_from_map
from labeling.journal import Appended, Conflict, LabelJournal, Operation, open_journal
from labeling.label_set import current_labels, write_geopackage
from labeling.shapes import reshape
from server.tokens import project_of_token
from workspace.classes import ClassSchema
from workspace.project import Project, open_project
from workspace.settings import Settings

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_OPERATIONS = 2_000
ASK_FROM = 50
"""A request that deletes so many labels, none of them marked `confirmed`, is answered with a question."""
GZIP_FROM_BYTES = 10_000
WRITE_AFTER_S = 0.6
"""labels.gpkg is written this long after the last edit ..."""
WRITE_AT_LATEST_S = 5.0
"""... or this long after the first unwritten one, should edits never pause."""
WRITE_SHARE = 0.2
"""Many labels take long to write: the waits are stretched so that writing takes no more than this share of the time."""

_log = logging.getLogger("terratune.labels")


class Refused(Exception):
    """The request as a whole is answered with an HTTP status."""

    def __init__(self, status: int, fact: str, remedy: str, **more: Any) -> None:
        super().__init__(fact)
        self.response = JSONResponse({"fact": fact, "remedy": remedy, **more}, status_code=status, headers={"Cache-Control": "no-store"})


def routes(settings: Settings) -> list[Route]:
    """`GET /api/<token>/labels[?since=<revision>]` and `POST /api/<token>/operations`, `POST /api/<token>/shapes`."""

    def get_labels(request: Request) -> Response:
        try:
            return _labels(project_of(settings, request), request)
        except Refused as refused:
            return refused.response
        except TerratuneError as error:
            return problem_of(error)

    async def post_operations(request: Request) -> Response:
        try:
            raw = _parsed(await body_of(request))
            project = await run_in_threadpool(project_of, settings, request)
            return await run_in_threadpool(_operations, project, raw)
        except Refused as refused:
            return refused.response
        except TerratuneError as error:
            return problem_of(error)

    async def post_shapes(request: Request) -> Response:
        try:
            raw = json_object(await body_of(request))
            await run_in_threadpool(project_of, settings, request)  # only those who may edit
            return JSONResponse({"changed": await run_in_threadpool(reshape, raw)}, headers={"Cache-Control": "no-store"})
        except Refused as refused:
            return refused.response
        except LabelError as error:
            return JSONResponse({"fact": error.fact, "remedy": error.remedy}, status_code=422)
        except TerratuneError as error:
            return problem_of(error)

    return [
        Route("/api/{token}/labels", get_labels, methods=["GET"]),
        Route("/api/{token}/operations", post_operations, methods=["POST"]),
        Route("/api/{token}/shapes", post_shapes, methods=["POST"]),
    ]


def project_of(settings: Settings, request: Request) -> Project:
    """The project that the address of a request names."""
    project_id = project_of_token(settings.data_folder, request.path_params["token"])
    if project_id is None:
        raise Refused(
            403, "This page has been open for too long.", "Reload it. Edits not saved yet are kept in this browser and sent then."
        )
    return open_project(settings.projects_folder, project_id)


def _labels(project: Project, request: Request) -> Response:
    journal = open_journal(project.journal_file)
    since = _number(request.query_params.get("since"))
    etag = f'"{journal.id}-{journal.revision()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if since is None:
        _catch_up(project)
    revision, features, deleted = journal.changes_as_json(since)
    about = {"type": "FeatureCollection", "journal": journal.id, "revision": revision, "since": since, "deleted": deleted}
    body = f'{json.dumps(about)[:-1]},"features":{features}}}'.encode()
    headers |= {"ETag": f'"{journal.id}-{revision}"', "Vary": "Accept-Encoding"}
    if len(body) > GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = gzip.compress(body, 1), headers | {"Content-Encoding": "gzip"}
    return Response(body, media_type="application/json", headers=headers)


def _operations(project: Project, raw: dict[str, Any]) -> Response:
    journal = open_journal(project.journal_file)
    if raw.get("journal") not in {None, journal.id}:
        raise Refused(409, "These edits belong to other labels than the ones stored here.", "Reload the page.")
    _ask_before_deleting(journal, raw["operations"])
    operations, rejected = _checked(raw["operations"], project.classes())
    appended = journal.append(operations) if operations else Appended(journal.revision(), journal.revision(), ())
    if appended.revision > appended.base:
        schedule_geopackage(project)
    answer: dict[str, Any] = {
        "base": appended.base,
        "revision": appended.revision,
        "acknowledged": list(appended.acknowledged),
        "repaired": _repaired(raw["operations"], operations),
    }
    if appended.conflicts:
        answer["conflicts"] = _described(journal, appended.conflicts)
    if rejected:
        answer |= {"rejected": rejected, "fact": rejected[0]["fact"], "remedy": rejected[0]["remedy"]}
    return JSONResponse(answer, status_code=422 if rejected else 200)


def _ask_before_deleting(journal: LabelJournal, raw: Sequence[Any]) -> None:
    """A slip of the hand (or of a program) does not empty a project.

    Raises:
        Refused: too many labels would be deleted by operations that do not carry `"confirmed": true`.
    """
    unasked = {
        str(one.get("object_id"))
        for one in raw
        if isinstance(one, dict) and one.get("kind") == "delete" and one.get("confirmed") is not True
    }
    count = len(journal.features(unasked)) if len(unasked) >= ASK_FROM else 0
    if count >= ASK_FROM:
        raise Refused(409, f"{count:,} labels would be deleted at once.", "Confirm that they should go.", deletes=count)


def _described(journal: LabelJournal, conflicts: Sequence[Conflict]) -> list[dict[str, Any]]:
    """Conflicts with the features that they are about, as those are now (null: gone)."""
    features = journal.features({name for one in conflicts for name in (one.object_id, one.kept_as)})
    return [vars(one) | {"feature": features.get(one.object_id), "kept": features.get(one.kept_as)} for one in conflicts]


def _checked(raw: Sequence[Any], schema: ClassSchema) -> tuple[list[Operation], list[dict[str, str]]]:
    """The operations that may be stored, and why the others may not."""
    good: list[Operation] = []
    bad: list[dict[str, str]] = []
    for one in raw:
        try:
            good.append(operation_from_map(one, schema))
        except LabelError as error:
            operation_id = one.get("operation_id") if isinstance(one, dict) else None
            bad.append({"operation_id": str(operation_id), "fact": error.fact, "remedy": error.remedy})
    return good, bad


def _repaired(raw: Sequence[Any], stored: Sequence[Operation]) -> list[dict[str, Any]]:
    """Objects whose geometry was stored in another form than it was sent."""
    sent = {one["operation_id"]: one for one in raw if isinstance(one, dict) and "operation_id" in one}
    changed = []
    for operation in stored:
        if operation.label is None:
            continue
        geometry = sent[operation.operation_id]["feature"]["geometry"]
        if geometry["type"] != operation.label.geometry["type"] or geometry["coordinates"] != operation.label.geometry["coordinates"]:
            changed.append({"object_id": operation.object_id, "geometry": operation.label.geometry})
    return changed


async def body_of(request: Request) -> bytes:
    """The request's body, read no further than the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused(413, "These edits are too large to be sent at once.", "Import large areas as a file instead.")
        parts.append(part)
    return b"".join(parts)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The edits could not be read.", "Reload the page.") from error
    if not isinstance(raw, dict):
        raise Refused(400, "The edits could not be read.", "Reload the page.")
    return raw


def _parsed(body: bytes) -> dict[str, Any]:
    raw = json_object(body)
    if not isinstance(raw.get("operations"), list):
        raise Refused(400, "The edits could not be read.", "Reload the page.")
    if len(raw["operations"]) > MAX_OPERATIONS:
        raise Refused(413, f"At most {MAX_OPERATIONS} edits can be sent at once.", "Send them in parts.")
    return raw


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


def problem_of(error: TerratuneError) -> Response:
    """What the browser is told of an error."""
    status = 507 if isinstance(error, DiskFullError) else 404 if isinstance(error, ProjectNotFoundError) else 500
    return JSONResponse({"fact": error.fact, "remedy": error.remedy}, status_code=status)


class _GeoPackageWriter:
    """Keeps one project's labels.gpkg up to date, a moment after the edits."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.problem: TerratuneError | OSError | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._waiting_since = 0.0
        self._took = 0.0

    def schedule(self) -> None:
        """Write soon; each call puts it off a little, up to a limit."""
        with self._lock:
            now = time.monotonic()
            if self._timer is None:
                self._waiting_since = now
            else:
                self._timer.cancel()
            after, at_latest = (max(wait, self._took / WRITE_SHARE) for wait in (WRITE_AFTER_S, WRITE_AT_LATEST_S))
            wait = min(after, max(0.0, self._waiting_since + at_latest - now))
            self._timer = threading.Timer(wait, self._write)
            self._timer.daemon = True
            self._timer.start()

    def _write(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self.write()
        except (TerratuneError, OSError, RuntimeError):
            _log.exception("labels.gpkg of %s could not be written; the journal holds everything", self.project.id)

    def write(self) -> None:
        """Write now, in this thread."""
        with self._writing:
            began = time.monotonic()
            try:
                write_geopackage(current_labels(self.project.journal_file), self.project.classes(), self.project.labels_file)
                self.problem = None
            except (TerratuneError, OSError) as error:
                self.problem = error
                raise
            finally:
                self._took = time.monotonic() - began


_writers: dict[str, _GeoPackageWriter] = {}
_writers_lock = threading.Lock()


def _writer(project: Project) -> _GeoPackageWriter:
    with _writers_lock:
        return _writers.setdefault(str(project.folder), _GeoPackageWriter(project))


def schedule_geopackage(project: Project) -> None:
    """Bring labels.gpkg up to date within about a second (labels or classes have changed)."""
    _writer(project).schedule()


def write_geopackage_now(project: Project) -> None:
    """Bring labels.gpkg up to date before returning.

    Raises:
        DiskFullError: it is as it was.
    """
    _writer(project).write()


def geopackage_problem(project: Project) -> TerratuneError | OSError | None:
    """Why labels.gpkg could not be written the last time; None when it could."""
    return _writer(project).problem


def _catch_up(project: Project) -> None:
    """A server that was killed between an edit and labels.gpkg writes it when the labels are next looked at."""
    edited = open_journal(project.journal_file).last_changed()
    if edited and (not project.labels_file.exists() or project.labels_file.stat().st_mtime < edited):
        schedule_geopackage(project)
