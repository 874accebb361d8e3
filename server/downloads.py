"""Results out of a project: `GET /api/{token}/files/{path}`. A folder comes as a ZIP, made while it is sent.

Only what people take away can be asked for: tile sets, models, predictions, found objects, the labels, and the log of a run.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from errors import WorkspaceError
from server.tokens import project_of_token
from workspace.project import Project, open_project
from workspace.settings import Settings

_OFFERED = re.compile(r"(?:tiles|models|predictions|objects)/.+|labels\.gpkg|runs/[^/]+/log\.txt")
_PACKED = frozenset({".tif", ".png", ".webp", ".jpg", ".gif", ".safetensors", ".zip"})
"""Compressed already."""
_CHUNK_BYTES = 1 << 20


def routes(settings: Settings) -> list[Route]:
    """`GET /api/{token}/files/{path}`; 403 for a bad token, 404 for everything that is not offered."""

    def download(request: Request) -> Response:
        project_id = project_of_token(settings.data_folder, request.path_params["token"])
        if project_id is None:
            return Response("This address has expired. Reload the page.", status_code=403)
        try:
            project = open_project(settings.projects_folder, project_id)
        except WorkspaceError as error:
            return Response(error.fact, status_code=404)
        asked = request.path_params["path"]
        path = offered(project, asked)
        if path is not None and path.is_file():
            return FileResponse(path, filename=path.name)
        folder = offered(project, asked.removesuffix(".zip")) if asked.endswith(".zip") else None
        if folder is not None and folder.is_dir():
            headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(folder.name)}.zip"}
            return StreamingResponse(zipped(folder), media_type="application/zip", headers=headers)
        return Response("There is no such file in this project.", status_code=404)

    return [Route("/api/{token}/files/{path:path}", download, methods=["GET"])]


def offered(project: Project, asked: str) -> Path | None:
    """The real path of a download; None where it is not offered, hidden, or leads out of the project."""
    parts = PurePosixPath(asked).parts
    if not _OFFERED.fullmatch(asked) or any(part.startswith(".") for part in parts) or "\0" in asked:
        return None
    root = project.folder.resolve()
    path = (root / asked).resolve()
    inside = path.is_relative_to(root) and _OFFERED.fullmatch(path.relative_to(root).as_posix())  # links followed
    return path if inside else None


def zipped(folder: Path) -> Iterator[bytes]:
    """The bytes of a ZIP archive of `folder` (its own name on top), in bounded memory. Hidden files and links are left out."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", allowZip64=True) as archive:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if not path.is_file() or path.is_symlink() or any(part.startswith(".") for part in inside.parts):
                continue
            entry = zipfile.ZipInfo.from_file(path, PurePosixPath(folder.name, *inside.parts).as_posix(), strict_timestamps=False)
            entry.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


class _Sink:
    """A stream that cannot seek, emptied after every write."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing to close."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken
