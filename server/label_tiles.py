"""XYZ tiles of a project's labels, as WebP with transparency: so they lie on a map like any raster, however many there are.

`GET /tiles/{token}/labels/{z}/{x}/{y}`. Areas, and lines and points with a width of their own, are filled as large as they are on the ground;
other lines and points are drawn a few screen pixels wide, fully labelled areas as an outline.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import anyio.to_thread
import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pyproj import Transformer
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import TerratuneError
from labeling.burn import half_widths_m
from labeling.journal import open_journal
from labeling.label_set import current_labels
from server.raster_tiles import MAX_ZOOM, TILE_PX, encode, tile_bounds
from server.tokens import project_of_token
from workspace.classes import FULLY_LABELLED_VALUE, ClassSchema, rgb_of
from workspace.project import Project, open_project
from workspace.settings import Settings

FINER = 2
"""Drawn so many times larger and shrunk, for smooth edges."""
LINE_PX = 3
POINT_PX = 4
REMOVED_COLOUR = "#888888"
"""Of labels whose class is gone."""


@dataclass(frozen=True)
class DrawnLabels:
    """Labels in Web Mercator metres, in drawing order."""

    shapes: NDArray[np.object_]
    """(n,) polygons, and lines and points without a width."""
    values: NDArray[np.int64]
    """(n,) class values."""
    tree: shapely.STRtree


def routes(settings: Settings) -> list[Route]:
    """The one route; 403 for a bad token, 404 where there is no such project."""
    newest = _Newest()

    def answer(request: Request) -> Response:
        place = request.path_params
        project_id = project_of_token(settings.data_folder, place["token"])
        if project_id is None:
            return Response(status_code=403)
        z, x, y = place["z"], place["x"], place["y"]
        if z > MAX_ZOOM or x >= 2**z or y >= 2**z:
            return Response(status_code=404)
        try:
            project = open_project(settings.projects_folder, project_id)
            body = render_labels(newest.of(project), project.classes(), z, x, y)
        except (TerratuneError, OSError):
            return Response(status_code=404)
        headers = {"Cache-Control": "private, max-age=86400" if "v" in request.query_params else "private, no-cache"}
        return Response(body, media_type="image/webp", headers=headers) if body else Response(status_code=204, headers=headers)

    async def tile(request: Request) -> Response:
        return await anyio.to_thread.run_sync(answer, request)

    return [Route("/tiles/{token}/labels/{z:int}/{x:int}/{y:int}", tile, methods=["GET"])]


class _Newest:
    """The labels last drawn, kept until they change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[object, DrawnLabels] | None = None

    def of(self, project: Project) -> DrawnLabels:
        with self._lock:
            schema = project.classes()
            state = open_journal(project.journal_file).revision() if project.journal_file.exists() else -1
            key = project.journal_file, state, schema
            if self._known is None or self._known[0] != key:
                self._known = key, drawn_labels(project, schema)
            return self._known[1]


def drawn_labels(project: Project, schema: ClassSchema) -> DrawnLabels:
    """The project's labels as they are now. Where they overlap, the schema decides which lies above, as in tiles."""
    labels = current_labels(project.journal_file)
    rank = {FULLY_LABELLED_VALUE: -2, **{c.value: -1 if c.ignore else i for i, c in enumerate(schema.classes)}}
    labels = labels.iloc[np.argsort([rank.get(int(value), -1) for value in labels["class_value"]], kind="stable")]
    geometry = labels.geometry.to_numpy()
    latitude = np.radians(shapely.get_y(shapely.centroid(geometry)))
    half = half_widths_m(labels, 0.0) / np.cos(latitude)
    to_mercator = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    shapes = shapely.transform(geometry, to_mercator.transform, interleaved=False)
    shapes = np.where(half > 0, shapely.buffer(shapes, half), shapes)
    return DrawnLabels(shapes, labels["class_value"].to_numpy(), shapely.STRtree(shapes))


def render_labels(labels: DrawnLabels, schema: ClassSchema, z: int, x: int, y: int) -> bytes:
    """One 256 px tile as WebP; empty bytes where there is no label."""
    left, bottom, right, top = tile_bounds(z, x, y)
    pixel = (right - left) / TILE_PX
    around = shapely.box(left, bottom, right, top).buffer(POINT_PX * pixel, join_style="mitre")
    found = np.sort(labels.tree.query(around, predicate="intersects"))
    if not len(found):
        return b""
    colours = {c.value: c.rgb for c in schema.classes}
    side = TILE_PX * FINER
    sheet = Image.new("RGBA", (side, side))
    for index in found:
        value = int(labels.values[index])
        cut = shapely.intersection(labels.shapes[index], around)
        placed = shapely.transform(cut, lambda px, py: ((px - left) / pixel * FINER, (top - py) / pixel * FINER), interleaved=False)
        mask = Image.new("L", (side, side))
        for part in shapely.get_parts(placed):
            _draw(ImageDraw.Draw(mask), part, hollow=value == FULLY_LABELLED_VALUE)
        sheet.paste((*colours.get(value, rgb_of(REMOVED_COLOUR)), 255), (0, 0), mask)
    small = np.asarray(sheet.resize((TILE_PX, TILE_PX), Image.Resampling.BOX))
    return encode(small, lossless=True)


def _draw(pen: ImageDraw.ImageDraw, shape: shapely.Geometry, *, hollow: bool) -> None:
    """One single shape, white on black, in pixels of the sheet."""
    if shape.geom_type == "Polygon":
        rings = [list(ring.coords) for ring in (shape.exterior, *shape.interiors)]
        if hollow:
            for ring in rings:
                pen.line(ring, fill=255, width=FINER)
        else:
            pen.polygon(rings[0], fill=255)
            for hole in rings[1:]:
                pen.polygon(hole, fill=0)
    elif shape.geom_type in {"LineString", "LinearRing"}:
        pen.line(list(shape.coords), fill=255, width=LINE_PX * FINER, joint="curve")
    elif shape.geom_type == "Point":
        r = POINT_PX * FINER
        pen.ellipse((shape.x - r, shape.y - r, shape.x + r, shape.y + r), fill=255)
