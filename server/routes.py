"""Everything the browser fetches beside the page, under one base path."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from server import downloads, labels, prompts, raster_tiles, uploads, versions
from workspace.settings import Settings


def all_routes(settings: Settings, *, assets: Path, base_path: str = "") -> list[BaseRoute]:
    """The routes of all modules of this room; `assets` is the folder of vendored scripts and styles."""
    inside: list[BaseRoute] = [
        *raster_tiles.routes(settings),
        *labels.routes(settings),
        *versions.routes(settings),
        *prompts.routes(settings),
        *uploads.routes(settings),
        *downloads.routes(settings),
        Mount("/assets", app=StaticFiles(directory=assets), name="assets"),
    ]
    prefix = base_path.strip("/")
    return [Mount(f"/{prefix}", routes=inside)] if prefix else inside
