"""Everything the browser fetches beside the page, under one base path."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from server import downloads, label_tiles, labels, prompts, raster_tiles, uploads, versions
from workspace.settings import Settings


def all_routes(settings: Settings, *, assets: Path, base_path: str = "") -> list[Route | Mount]:
    """The routes of all modules of this room; `assets` is the folder of vendored scripts and styles."""
    inside: list[Route | Mount] = [
        *label_tiles.routes(settings),  # before the rasters', whose address would take it for one of them
        *raster_tiles.routes(settings),
        *labels.routes(settings),
        *versions.routes(settings),
        *prompts.routes(settings),
        *uploads.routes(settings),
        *downloads.routes(settings),
        Mount("/assets", app=StaticFiles(directory=assets), name="assets"),
    ]
    prefix = base_path.strip("/")
    return [_below(f"/{prefix}", route) for route in inside] if prefix else inside


def _below(prefix: str, route: Route | Mount) -> Route | Mount:
    """The same route further down; one `Mount` around all of them would also take Streamlit's own addresses, and not find them."""
    if isinstance(route, Mount):
        return Mount(prefix + route.path, app=route.app, name=route.name)
    return Route(prefix + route.path, route.endpoint, methods=list(route.methods or ()))
