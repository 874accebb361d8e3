"""XYZ tiles of a project's rasters and predictions, as WebP with transparency.

An address names a project (by token) and a layer of it, never a file. Rasters stay open per thread, finished tiles stay in
memory, and bands and stretch are the ones stored in the project: a tile never depends on what else is in view.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import logging
import math
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rio_tiler.errors import RioTilerError
from rio_tiler.models import ImageData
from rio_tiler.reader import read
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import TerratuneError
from imagery.grid import Grid
from imagery.library import get_raster, raster_source
from imagery.read import Scalars, alpha_band, damaged, display_name, enter_raster, gdal_environment
from imagery.stretch import Stretch, apply_stretch, colour_table
from inference.compare import CHANGE_COLOURS, NODATA, SAME, change, of_classes
from server.changes import SIDE, ClassSide, Pair, pair_of
from server.tokens import project_of_token
from workspace.project import Project, open_project
from workspace.settings import Settings

TILE_PX = 256
MAX_ZOOM = 30
THREADS = 6
"""Of their own, so that slow tiles never hold up labels, uploads or pages; as many as a browser asks for at once."""
PICTURES_PER_THREAD = 12
SPECK_PX = 0.5
"""Rasters smaller than this on screen are not drawn."""
CACHE_BYTES = 64 * 2**20
WEBP_QUALITY = 85
EARTH_RADIUS_M = 6378137.0
"""Of Web Mercator's sphere."""
_MERCATOR = CRS.from_epsg(3857)

_RASTER_LAYER = re.compile(r"raster\.([a-z0-9]{4,32})")
_PREDICTION_LAYER = re.compile(
    r"prediction\.([A-Za-z0-9_-]{1,80})\.([a-z0-9]{4,32})\.(before|after|first_before|first_after|change|before_confidence|after_confidence)"
)
_CHANGES_LAYER = re.compile(rf"changes\.({SIDE})\.({SIDE})\.([123]{{1,3}})\.(all|[\d_]{{1,200}})")
_RAMP = ((0.0, (0, 0, 4)), (0.25, (81, 18, 124)), (0.5, (183, 55, 121)), (0.75, (252, 137, 97)), (1.0, (252, 253, 191)))
"""Magma (matplotlib, CC0), five stops."""

_FROM_OVERVIEWS = {"XSCALE": 1, "YSCALE": 1}
"""Overviews are at most twice as fine as what is asked for: GDAL need not average over a wider neighbourhood, which takes twice as long."""

_log = logging.getLogger("terratune.tiles")

Style = Literal["picture", "classes", "confidence"]


@dataclass(frozen=True)
class Layer:
    """All that decides what a tile looks like."""

    source: str
    """Absolute path or URL."""
    version: str
    """Changes with the file and with how it is shown."""
    style: Style
    bands: tuple[int, ...]
    stretch: Stretch | None
    """None for colour tables and confidence."""
    resolution_m: float
    changes: Changes | None = None
    """Not the class raster itself, but what changed between it and another side."""


@dataclass(frozen=True)
class Changes:
    """Which changes are shown."""

    pair: Pair
    kinds: tuple[int, ...]
    """Values as in change.tif: 1 gained, 2 lost, 3 became another."""
    classes: tuple[int, ...] | None
    """Class values of the pair from which or to which a pixel changed; None: all."""


def routes(settings: Settings) -> list[Route]:
    """`GET /tiles/{token}/{layer}/{z}/{x}/{y}`."""
    cache = TileCache(CACHE_BYTES)
    threads = anyio.CapacityLimiter(THREADS)

    async def tile(request: Request) -> Response:
        return await anyio.to_thread.run_sync(answer, request, limiter=threads)

    def answer(request: Request) -> Response:
        place = request.path_params
        project_id = project_of_token(settings.data_folder, place["token"])
        if project_id is None:
            return Response(status_code=403)
        z, x, y = place["z"], place["x"], place["y"]
        if z > MAX_ZOOM or x >= 2**z or y >= 2**z:
            return Response(status_code=404)
        try:
            layer = find_layer(open_project(settings.projects_folder, project_id), place["layer"])
        except (TerratuneError, OSError):
            return Response(status_code=404)
        if layer is None:
            return Response(status_code=404)
        key = (layer.source, layer.version, layer.changes, z, x, y)
        body = cache.get(key)
        if body is None:
            try:
                body = render_tile(layer, z, x, y)
            except TerratuneError as error:
                _log.warning("Tile %s of %s: %s", (z, x, y), place["layer"], error)
                return Response(status_code=204, headers={"Cache-Control": "no-store"})
            except Exception:
                _log.exception("Tile %s of %s failed", (z, x, y), place["layer"])
                return Response(status_code=500, headers={"Cache-Control": "no-store"})
            cache.put(key, body)
        # an address with the version in it always shows the same
        headers = {"Cache-Control": "private, max-age=86400" if "v" in request.query_params else "private, no-cache"}
        return Response(body, media_type="image/webp", headers=headers) if body else Response(status_code=204, headers=headers)

    return [Route("/tiles/{token}/{layer}/{z:int}/{x:int}/{y:int}", tile, methods=["GET"])]


def find_layer(project: Project, name: str) -> Layer | None:
    """What a layer's name stands for in this project; None when there is no such layer.

    Raises:
        TerratuneError: the project has no such raster, or its list cannot be read.
    """
    if found := _RASTER_LAYER.fullmatch(name):
        raster = get_raster(project, found[1])
        stretch = None if raster.info.palette and raster.bands == (1,) else raster.stretch
        return Layer(raster_source(project, raster), raster.version, "picture", raster.bands, stretch, raster.info.resolution_m)
    if found := _PREDICTION_LAYER.fullmatch(name):
        job, raster_id, kind = found.groups()
        path = (project.predictions_folder / job / raster_id / f"{kind}.tif").resolve()
        if not path.is_relative_to(project.folder.resolve()) or not path.is_file():
            return None
        state = path.stat()
        style: Style = "confidence" if kind.endswith("_confidence") else "classes"
        return Layer(str(path), f"{state.st_mtime_ns}-{state.st_size}", style, (1,), None, 0.0)
    if found := _CHANGES_LAYER.fullmatch(name):
        left, right, kinds, classes = found.groups()
        pair = pair_of(project, left, right)
        if pair is None:
            return None
        values = None if classes == "all" else tuple(int(value) for value in classes.split("_") if value)
        changes = Changes(pair, tuple(map(int, kinds)), values)
        return Layer(str(pair.picture.path), pair.picture.version, "classes", (1,), None, 0.0, changes)
    return None


def render_tile(layer: Layer, z: int, x: int, y: int) -> bytes:
    """One 256 px tile as WebP; empty bytes where the raster is not, or holds nothing.

    Raises:
        ImageryError: the raster is gone or damaged.
    """
    with gdal_environment():
        picture = _pictures().get(layer)
        if not picture.touches(z, x, y):
            return b""
        frame = picture.frame(z, x, y)
        if layer.changes is None:
            values, valid = _read(layer, picture, frame, z)
        else:
            values, valid = _changed(layer, layer.changes, picture, frame, z)
    if not valid.any():
        return b""
    flat = layer.stretch is None
    rgba = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    rgba[frame.row : frame.row + frame.rows, frame.column : frame.column + frame.columns] = colour(values, valid, layer, _table(layer, picture))
    return encode(rgba, lossless=flat)


def _changed(layer: Layer, changes: Changes, picture: _Picture, frame: _Frame, z: int) -> tuple[Scalars, NDArray[np.bool_]]:
    """(1, rows, columns) kinds of change, 0 for those not shown, and where both sides say what there is."""
    left, right = (_class_values(layer, side, picture, frame, z) for side in (changes.pair.left, changes.pair.right))
    found = change(left, right)
    shown = np.isin(found, changes.kinds) & of_classes(left, right, changes.classes)
    return np.where(shown, found, SAME)[None], found != NODATA


def _class_values(layer: Layer, side: ClassSide, picture: _Picture, frame: _Frame, z: int) -> NDArray[np.uint8]:
    """(rows, columns) class values of the pair; 255 where a side says nothing."""
    if side.schema is not None:
        return side.labelled(picture.mercator_grid, Grid(frame.columns, frame.rows, from_bounds(*frame.bounds, frame.columns, frame.rows), _MERCATOR))
    own = dataclasses.replace(layer, source=str(side.path), version=side.version, changes=None)
    values, valid = _read(own, _pictures().get(own), frame, z)
    return side.in_pair(np.where(valid, values[0], NODATA).astype(np.uint8))


def _read(layer: Layer, picture: _Picture, frame: _Frame, z: int) -> tuple[Scalars, NDArray[np.bool_]]:
    """Values (bands, rows, columns) of the part of a tile that the raster covers, and which of them are imagery.

    Raises:
        ImageryError: the raster is damaged.
    """
    try:
        image = read(
            picture.dataset,
            dst_crs=_MERCATOR,
            indexes=layer.bands,
            height=frame.rows,
            width=frame.columns,
            nodata=_nodata(picture.dataset),
            vrt_options={
                "transform": from_bounds(*frame.bounds, frame.columns * frame.finer, frame.rows * frame.finer),
                "width": frame.columns * frame.finer,
                "height": frame.rows * frame.finer,
                **(_FROM_OVERVIEWS if picture.resolution else {}),
            },
            reproject_method=_resampling(layer, z),
        )
    except (RasterioError, RioTilerError) as error:
        _pictures().forget(layer)
        raise damaged(display_name(layer.source)) from error
    return image.array.data, valid_pixels(image)


def _table(layer: Layer, picture: _Picture) -> NDArray[np.uint8] | None:
    """(n, 4) colours of the values; None where the layer has a stretch."""
    if layer.stretch is not None:
        return None
    if layer.changes is not None:
        return _change_table()
    return confidence_table() if layer.style == "confidence" else picture.table


@functools.cache
def _change_table() -> NDArray[np.uint8]:
    return np.array([(*rgb, 255) for _, rgb in sorted(CHANGE_COLOURS.items())], np.uint8)


def tile_bounds(z: int, x: int, y: int) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a tile in Web Mercator metres (OGC tile matrix set WebMercatorQuad)."""
    half, side = math.pi * EARTH_RADIUS_M, 2 * math.pi * EARTH_RADIUS_M / 2**z
    return x * side - half, half - (y + 1) * side, (x + 1) * side - half, half - y * side


def colour(values: Scalars, valid: NDArray[np.bool_], layer: Layer, table: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(rows, columns, 4) red, green, blue, alpha.

    Args:
        values: (bands, rows, columns).
        valid: (rows, columns); elsewhere transparent.
        layer: How to show them.
        table: (n, 4) colour table of palettes, class rasters and confidence; None where the layer has a stretch.
    """
    if table is not None:
        rgba = table[np.minimum(values[0].astype(np.int64), len(table) - 1)].copy()
        if layer.style == "classes":
            rgba[values[0] == 0] = 0
    else:
        assert layer.stretch is not None
        rgb = apply_stretch(values, layer.stretch)
        rgba = np.full((*valid.shape, 4), 255, np.uint8)
        rgba[..., :3] = np.moveaxis(np.broadcast_to(rgb, (3, *valid.shape)), 0, -1)
    rgba[~valid] = 0
    return rgba


def valid_pixels(image: ImageData) -> NDArray[np.bool_]:
    """(rows, columns), by the same rule as `imagery.read.read_window`."""
    if image.alpha_mask is not None:
        return np.asarray(image.alpha_mask > 0)
    missing = np.ma.getmaskarray(image.array)
    if np.issubdtype(image.array.dtype, np.floating):
        return np.asarray(~(missing | ~np.isfinite(image.array.data)).any(axis=0), np.bool_)
    return np.asarray(~missing.all(axis=0), np.bool_)


@functools.cache
def confidence_table() -> NDArray[np.uint8]:
    """Colours of 0..100 percent, dark to bright."""
    stops, colours = [stop for stop, _ in _RAMP], np.array([rgb for _, rgb in _RAMP])
    share = np.linspace(0, 1, 101)
    channels = [np.interp(share, stops, colours[:, i]) for i in range(3)]
    return np.stack([*channels, np.full(101, 255.0)], axis=-1).round().astype(np.uint8)


def encode(rgba: NDArray[np.uint8], *, lossless: bool) -> bytes:
    """WebP; without alpha where all is opaque."""
    image = Image.fromarray(rgba if (rgba[..., 3] < 255).any() else np.ascontiguousarray(rgba[..., :3]))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=60 if lossless else WEBP_QUALITY, lossless=lossless, method=1 if lossless else 2)
    return out.getvalue()


class TileCache:
    """The last tiles, up to a number of bytes. Safe for threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity, self._held = capacity_bytes, 0
        self._tiles: OrderedDict[object, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> bytes | None:
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key: object, body: bytes) -> None:
        with self._lock:
            self._held += len(body) + 200 - (len(self._tiles.pop(key, b"")) + 200 if key in self._tiles else 0)
            self._tiles[key] = body
            while self._held > self._capacity and len(self._tiles) > 1:
                self._held -= len(self._tiles.popitem(last=False)[1]) + 200


@dataclass(frozen=True)
class _Frame:
    """The part of a tile in which a raster lies, in pixels of the tile."""

    row: int
    column: int
    rows: int
    columns: int
    bounds: tuple[float, float, float, float]
    """(left, bottom, right, top) in Web Mercator metres."""
    finer: int
    """The raster is warped to pixels so many times smaller than the tile's, and read shrunk: so GDAL takes them from its overviews, where a
    warp straight to the tile's pixels would read all of the raster."""


@dataclass(frozen=True)
class _Picture:
    """An open raster, north up."""

    stack: contextlib.ExitStack
    dataset: DatasetReader | WarpedVRT
    table: NDArray[np.uint8] | None
    lonlat_bounds: tuple[float, float, float, float]
    resolution: float
    """Web Mercator metres a pixel in its middle; 0 where it has no overviews."""

    @property
    def mercator_grid(self) -> Grid:
        """About where it lies, in Web Mercator; across the 180th meridian its eastern part lies beyond the edge of the world."""
        west, south, east, north = self.lonlat_bounds
        (left, bottom), (right, top) = _mercator(west, south), _mercator(east + (360 if west > east else 0), north)
        return Grid(TILE_PX, TILE_PX, from_bounds(left, bottom, right, top, TILE_PX, TILE_PX), _MERCATOR)

    def touches(self, z: int, x: int, y: int) -> bool:
        """Whether the tile meets the raster, and the raster is more than a speck in it; west > east across the 180th meridian."""
        west, south, east, north = self.lonlat_bounds
        if max((east - west) % 360, north - south) < SPECK_PX * 360 / 2**z / TILE_PX and z > 0:
            return False
        left, right = x / 2**z * 360 - 180, (x + 1) / 2**z * 360 - 180
        top, bottom = (math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / 2**z)))) for row in (y, y + 1))
        across = (left <= east and right >= west) if west <= east else (left <= east or right >= west)
        return across and bottom <= north and top >= south

    def frame(self, z: int, x: int, y: int) -> _Frame:
        """Where in a tile that it touches it lies; the whole tile across the 180th meridian."""
        left, _, right, top = tile_bounds(z, x, y)
        pixel = (right - left) / TILE_PX
        west, south, east, north = self.lonlat_bounds
        first_column, last_column, first_row, last_row = 0, TILE_PX, 0, TILE_PX
        if west <= east:
            (a, b), (c, d) = _mercator(west, south), _mercator(east, north)
            first_column, last_column = _clipped((a - left) / pixel, (c - left) / pixel)
            first_row, last_row = _clipped((top - d) / pixel, (top - b) / pixel)
        bounds = left + first_column * pixel, top - last_row * pixel, left + last_column * pixel, top - first_row * pixel
        finer = 2 ** max(0, math.floor(math.log2(pixel / self.resolution))) if self.resolution else 1
        return _Frame(first_row, first_column, last_row - first_row, last_column - first_column, bounds, finer)


def _mercator(longitude: float, latitude: float) -> tuple[float, float]:
    """Web Mercator metres (EPSG:3857)."""
    latitude = max(-85.06, min(85.06, latitude))
    return math.radians(longitude) * EARTH_RADIUS_M, math.asinh(math.tan(math.radians(latitude))) * EARTH_RADIUS_M


def _clipped(first: float, last: float) -> tuple[int, int]:
    """Whole pixels of a tile, at least one."""
    start = min(max(0, math.floor(first)), TILE_PX - 1)
    return start, max(start + 1, min(TILE_PX, math.ceil(last)))


class _Pictures:
    """Rasters that one thread keeps open; GDAL datasets must not be shared between threads."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], _Picture] = OrderedDict()

    def get(self, layer: Layer) -> _Picture:
        key = (layer.source, layer.version)
        if key not in self._open:
            self._open[key] = _opened(layer.source)
            if len(self._open) > PICTURES_PER_THREAD:
                self._open.popitem(last=False)[1].stack.close()
        self._open.move_to_end(key)
        return self._open[key]

    def forget(self, layer: Layer) -> None:
        if found := self._open.pop((layer.source, layer.version), None):
            found.stack.close()


_threads = threading.local()


def _pictures() -> _Pictures:
    if not hasattr(_threads, "pictures"):
        _threads.pictures = _Pictures()
    pictures: _Pictures = _threads.pictures
    return pictures


def _opened(source: str) -> _Picture:
    stack = contextlib.ExitStack()
    try:
        dataset: DatasetReader | WarpedVRT = enter_raster(stack, source)
        table = colour_table(dataset)
        grid = Grid(dataset.width, dataset.height, dataset.transform, dataset.crs)
        turned = dataset.transform
        if not (turned.b == turned.d == 0 and turned.a > 0 and turned.e < 0):
            nodata = _nodata(dataset)
            options = {"add_alpha": alpha_band(dataset) is None} if nodata is None else {"src_nodata": nodata, "nodata": nodata}
            dataset = stack.enter_context(WarpedVRT(dataset, **options))
        resolution = grid.resolution_m / math.cos(math.radians(grid.centre_lonlat[1])) if dataset.overviews(1) else 0.0
        return _Picture(stack, dataset, table, grid.lonlat_bounds, resolution)
    except BaseException:
        stack.close()
        raise


def _nodata(dataset: DatasetReader | WarpedVRT) -> float | None:
    """The file's own, or NaN for floats: pixels that are NaN are no imagery, whatever the header says."""
    if dataset.nodata is None and np.issubdtype(np.dtype(dataset.dtypes[0]), np.floating):
        return math.nan
    nodata: float | None = dataset.nodata
    return nodata


def _resampling(layer: Layer, z: int) -> Literal["nearest", "bilinear"]:
    """Numbers of colours, and pixels enlarged more than four times, stay as they are; the rest is smoothed."""
    enlarged = layer.resolution_m / (2 * math.pi * EARTH_RADIUS_M / TILE_PX / 2**z)
    return "nearest" if layer.stretch is None or enlarged > 4 else "bilinear"
