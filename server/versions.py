"""Named versions of the labels and the history of each: `GET`/`POST versions`, `PUT`/`DELETE versions/<id>`, `GET versions/<id>/changes`,
`GET labels/<id>/history`.

Restoring is the map's business: it asks what would change and sends that as operations, which can be undone like any edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from errors import LabelError, TerratuneError
from labeling.draw import MAX_AUTHOR
from labeling.journal import Difference, Edit, Label, LabelJournal, open_journal
from server.labels import Refused, body_of, json_object, problem_of, project_of
from workspace.settings import Settings

MAX_NAME = 80
_HEADERS = {"Cache-Control": "no-store"}


def routes(settings: Settings) -> list[Route]:
    """The routes of the module's docstring, below `/api/<token>/`."""

    def answered(work: Callable[[LabelJournal], dict[str, Any]], request: Request) -> Response:
        try:
            return JSONResponse(work(open_journal(project_of(settings, request).journal_file)), headers=_HEADERS)
        except Refused as refused:
            return refused.response
        except LabelError as error:
            return JSONResponse({"fact": error.fact, "remedy": error.remedy}, status_code=422)
        except TerratuneError as error:
            return problem_of(error)

    def get_versions(request: Request) -> Response:
        return answered(_versions, request)

    async def with_body(work: Callable[[LabelJournal, dict[str, Any]], dict[str, Any]], request: Request) -> Response:
        try:
            raw = json_object(await body_of(request))
        except Refused as refused:
            return refused.response
        return await run_in_threadpool(answered, lambda journal: work(journal, raw), request)

    async def post_version(request: Request) -> Response:
        return await with_body(_name, request)

    async def put_version(request: Request) -> Response:
        return await with_body(lambda journal, raw: _rename(journal, request.path_params["version"], raw), request)

    def delete_version(request: Request) -> Response:
        return answered(lambda journal: _delete(journal, request.path_params["version"]), request)

    def get_changes(request: Request) -> Response:
        return answered(lambda journal: _changes(journal, request.path_params["version"]), request)

    def get_history(request: Request) -> Response:
        return answered(lambda journal: {"edits": _history(journal.history(request.path_params["object_id"]))}, request)

    return [
        Route("/api/{token}/versions", get_versions, methods=["GET"]),
        Route("/api/{token}/versions", post_version, methods=["POST"]),
        Route("/api/{token}/versions/{version:int}", put_version, methods=["PUT"]),
        Route("/api/{token}/versions/{version:int}", delete_version, methods=["DELETE"]),
        Route("/api/{token}/versions/{version:int}/changes", get_changes, methods=["GET"]),
        Route("/api/{token}/labels/{object_id}/history", get_history, methods=["GET"]),
    ]


def _versions(journal: LabelJournal) -> dict[str, Any]:
    return {"counts": journal.counts(), "versions": [vars(one) for one in journal.versions()]}


def _name(journal: LabelJournal, raw: Mapping[str, Any]) -> dict[str, Any]:
    journal.name_version(_name_in(raw), " ".join(str(raw.get("author") or "").split())[:MAX_AUTHOR])
    return _versions(journal)


def _rename(journal: LabelJournal, version_id: int, raw: Mapping[str, Any]) -> dict[str, Any]:
    if not journal.rename_version(version_id, _name_in(raw)):
        raise _gone()
    return _versions(journal)


def _delete(journal: LabelJournal, version_id: int) -> dict[str, Any]:
    if not journal.delete_version(version_id):
        raise _gone()
    return _versions(journal)


def _name_in(raw: Mapping[str, Any]) -> str:
    name = " ".join(str(raw.get("name") or "").split())
    if not 0 < len(name) <= MAX_NAME:
        raise LabelError(
            "This version has no name." if not name else "This name is too long.", f"Give it one of up to {MAX_NAME} characters."
        )
    return name


def _gone() -> LabelError:
    return LabelError("This version is not there any more.", "Open the list of versions again.")


def _changes(journal: LabelJournal, version_id: int) -> dict[str, Any]:
    revision = journal.revision()  # before: what is edited in between is met as a conflict, not written over
    differences = journal.differences(version_id)
    if differences is None:
        raise _gone()
    return {"revision": revision, "changes": [_change(one) for one in differences]}


def _change(one: Difference) -> dict[str, Any]:
    return {"id": one.object_id, "before": one.now, "after": None if one.then is None else _feature(one.object_id, one.then)}


def _feature(object_id: str, label: Label) -> dict[str, Any]:
    properties = {name: value for name, value in vars(label).items() if name != "geometry"}
    return {"type": "Feature", "id": object_id, "geometry": label.geometry, "properties": properties}


def _history(edits: list[Edit]) -> list[dict[str, Any]]:
    """Each edit with what it changed, newest first: made, deleted, or the names of the properties that are not as before."""
    before: list[Label | None] = [None, *(edit.label for edit in edits)]
    told = [
        {
            "revision": edit.revision,
            "time": edit.time,
            "author": edit.author,
            "tool": edit.tool,
            "conflict": edit.conflict,
            "what": _what(then, edit.label),
        }
        for then, edit in zip(before, edits, strict=False)
    ]
    return told[::-1]


def _what(before: Label | None, after: Label | None) -> list[str]:
    if before is None or after is None:
        return ["made" if after is not None else "deleted"]
    return [name for name, value in vars(after).items() if value != vars(before)[name]]
