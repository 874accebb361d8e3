"""Where the shapes of a file lie on Earth: the CRS it states, the one a person gives, a guess with its reason, or pixels of known pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from pyproj.exceptions import CRSError, ProjError

from errors import LabelFileError
from imagery.grid import Grid
from labeling.exchange.layers import PICTURE, PICTURE_HEIGHT, PICTURE_WIDTH, Layer, VectorFile, sample_points
from labeling.exchange.report import NO_PICTURE, NOTHING_HERE, OTHER_SIZE, SCALED, Row

LONLAT = "EPSG:4326"
_GIVE_CODE = "Give its EPSG code, for example EPSG:26911."
_NEAR_DEGREES = 0.5


@dataclass(frozen=True)
class Guess:
    """The coordinate system that a file's numbers seem to be in."""

    crs: str
    swapped: bool
    """Its coordinates are written the other way round (latitude before longitude, northing before easting)."""
    reason: str
    """A sentence for people."""


@dataclass(frozen=True)
class Placed:
    """All rows of a file in EPSG:4326 (longitude, latitude), with what is known of them."""

    name: str
    shapes: NDArray[Any]
    """Two-dimensional, None where there is none."""
    attributes: pd.DataFrame
    """Text, one column a field of the file."""
    rows: tuple[Row, ...]
    changed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """What was done while reading and placing (the words of `report`) -> positions."""
    unplaced: Mapping[int, str] = field(default_factory=dict)
    """Position -> why it has no shape."""


# --- which CRS -------------------------------------------------------------------------------------------------------------------------


def parsed_crs(crs: str) -> pyproj.CRS:
    """A CRS as a person typed it: '26911', 'EPSG:26911', WKT.

    Raises:
        LabelFileError: it is none.
    """
    text = crs.strip()
    try:
        return pyproj.CRS.from_user_input(int(text) if text.isdecimal() else text)
    except CRSError as error:
        raise LabelFileError(f"'{crs}' is not a coordinate system.", _GIVE_CODE) from error


def stated_crs(file: VectorFile) -> str | None:
    """Name of the CRS that the file states; None when it states none, or some layer does not."""
    layers = [layer for layer in file.layers if not layer.pixels]
    if not layers or any(layer.crs is None for layer in layers):
        return None
    return parsed_crs(str(layers[0].crs)).name


def guessed_crs(file: VectorFile, scenes: Mapping[str, Grid]) -> Guess | None:
    """The coordinate system that puts most shapes on the imagery; None when nothing does.

    Args:
        file: As it was read; layers in pixels do not count.
        scenes: The project's rasters by name. Without any, only longitudes and latitudes are told from other numbers.
    """
    layers = [layer for layer in file.layers if not layer.pixels]
    samples = [points for layer in layers if len(points := sample_points(layer))]
    if not samples:
        return None
    points = np.concatenate(samples)
    if not scenes:
        return Guess(LONLAT, False, "The numbers look like longitudes and latitudes.") if _like_degrees(points) else None
    boxes = np.array([grid.lonlat_bounds for grid in scenes.values()])
    own = next((layer.crs or layer.assumed for layer in layers if layer.crs or layer.assumed), None)
    best: tuple[int, float, Guess] | None = None
    for crs, why in _candidates(own, scenes, boxes):
        for swapped in (False, True):
            lonlat = _lonlat(points[:, ::-1] if swapped else points, crs)
            on, near = _share(lonlat, boxes, 0.0), _share(lonlat, boxes, _NEAR_DEGREES)
            rank = (2, on) if on else (1, near)
            if max(on, near) and (best is None or rank > best[:2]):
                best = (*rank, Guess(crs, swapped, _reason(crs, why, swapped, on)))
    return best[2] if best else None


def _candidates(own: str | None, scenes: Mapping[str, Grid], boxes: NDArray[np.float64]) -> Iterable[tuple[str, str]]:
    """Coordinate systems worth trying and why, likely ones first, each once."""
    found = {own: "the file's own"} if own else {}
    for name, grid in scenes.items():
        code = grid.crs.to_epsg()
        found.setdefault(f"EPSG:{code}" if code else grid.crs.to_wkt(), f"that of {PurePosixPath(name).name}")
    found.setdefault(LONLAT, "longitude and latitude")
    found.setdefault("EPSG:3857", "that of web maps")
    longitude, latitude = (boxes[:, 0].mean() + boxes[:, 2].mean()) / 2, (boxes[:, 1].mean() + boxes[:, 3].mean()) / 2
    area = AreaOfInterest(longitude, latitude, longitude, latitude)
    for datum in ("WGS 84", "NAD83", "ETRS89"):
        for info in query_utm_crs_info(datum_name=datum, area_of_interest=area):
            found.setdefault(f"{info.auth_name}:{info.code}", "the UTM zone of the imagery")
    return found.items()


def _lonlat(points: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    try:
        to_lonlat = pyproj.Transformer.from_crs(parsed_crs(crs), LONLAT, always_xy=True)
        return np.column_stack(to_lonlat.transform(points[:, 0], points[:, 1]))
    except (ProjError, CRSError):
        return np.full(points.shape, np.nan)


def _share(lonlat: NDArray[np.float64], boxes: NDArray[np.float64], margin: float) -> float:
    """How many of the points lie in one of the boxes (west, south, east, north)."""
    with np.errstate(invalid="ignore"):
        x, y = lonlat[:, :1], lonlat[:, 1:]
        inside = (x >= boxes[:, 0] - margin) & (x <= boxes[:, 2] + margin) & (y >= boxes[:, 1] - margin) & (y <= boxes[:, 3] + margin)
    return float(inside.any(axis=1).mean())


def _reason(crs: str, why: str, swapped: bool, on: float) -> str:
    order = ", its two numbers read the other way round," if swapped else ""
    where = f"{on:.0%} of the shapes lie on the imagery" if on else "the shapes lie near the imagery, though not on it"
    return f"With {parsed_crs(crs).name} ({why}){order} {where}."


def _like_degrees(points: NDArray[np.float64]) -> bool:
    return bool((np.abs(points) <= [180.5, 90.5]).all())


# --- onto the Earth --------------------------------------------------------------------------------------------------------------------


def placed(
    file: VectorFile, crs: str | None = None, *, swapped: bool = False, override: bool = False, scenes: Mapping[str, Grid] | None = None
) -> Placed:
    """All rows of a file in longitude and latitude.

    Args:
        file: As it was read.
        crs: CRS of the coordinates where the file states none ("EPSG:26911").
        swapped: The two numbers of every coordinate are to be exchanged first.
        override: Take `crs` also where the file states another.
        scenes: Pictures by name, for layers in pixels: a file name with or without its ending.

    Raises:
        LabelFileError: the place of a layer is unknown, or its coordinates do not fit its CRS.
    """
    given = parsed_crs(crs) if crs and crs.strip() else None
    shapes: list[NDArray[Any]] = []
    rows: list[Row] = []
    changed: dict[str, list[int]] = {}
    unplaced: dict[int, str] = {}
    for layer in file.layers:
        start = len(rows)
        rows += [(layer.name, number) for number in range(1, len(layer.table) + 1)]
        for what, numbers in layer.notes.items():
            if what in NOTHING_HERE:
                unplaced |= {start + number - 1: what for number in numbers}
            else:
                changed.setdefault(what, []).extend(start + number - 1 for number in numbers)
        if layer.pixels:
            there, lost, scaled = _on_pictures(layer, scenes or {})
            unplaced |= {start + i: why for i, why in lost.items()}
            changed.setdefault(SCALED, []).extend(start + i for i in scaled)
        else:
            own = parsed_crs(layer.crs) if layer.crs else None
            use = given if override and given else own or given or (parsed_crs(layer.assumed) if layer.assumed else None)
            there = _in_lonlat(layer.table.geometry.to_numpy(), use, swapped, file.name)
        shapes.append(there)
    attributes = pd.DataFrame({name: pd.Series(file.values(name), dtype=object) for name in file.fields}, index=range(len(rows)))
    together = np.concatenate(shapes) if shapes else np.empty(0, dtype=object)
    return Placed(
        file.name, together, attributes, tuple(rows), {what: tuple(positions) for what, positions in changed.items() if positions}, unplaced
    )


def _in_lonlat(shapes: NDArray[Any], crs: pyproj.CRS | None, swapped: bool, name: str) -> NDArray[Any]:
    if crs is None:
        raise LabelFileError(f"{name} does not say in which coordinate system it is.", _GIVE_CODE)
    if swapped:
        shapes = shapely.transform(shapes, lambda xy: xy[:, ::-1])
    if crs.is_geographic and _beyond_degrees(shapes):
        raise LabelFileError(
            f"The coordinates in {name} are not longitudes and latitudes.", "Give the EPSG code they were made in, for example EPSG:26911."
        )
    return _transformed(shapes, crs, name)


def _transformed(shapes: NDArray[Any], crs: Any, name: str) -> NDArray[Any]:
    try:
        to_lonlat = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
        return shapely.transform(shapes, lambda xy: np.column_stack(to_lonlat.transform(xy[:, 0], xy[:, 1])))
    except (ProjError, CRSError) as error:
        raise LabelFileError(
            f"The coordinate system of {name} ({getattr(crs, 'name', crs)}) cannot be turned into longitude and latitude.",
            "Reproject the file to EPSG:4326 first.",
        ) from error


def _beyond_degrees(shapes: NDArray[Any]) -> bool:
    coordinates = shapely.get_coordinates(shapes)
    coordinates = coordinates[np.isfinite(coordinates).all(axis=1)]
    return bool(len(coordinates) and (np.abs(coordinates).max(axis=0) > [360.5, 90.5]).any())


# --- pixels of pictures ----------------------------------------------------------------------------------------------------------------


def picture_grids(names: Iterable[str], scenes: Mapping[str, Grid]) -> dict[str, Grid]:
    """For each picture's name the one scene of that name: by its file name, else by that without its ending.

    Scenes may be named with folders before the file name. A name that several have is none's.
    """
    exact: dict[str, list[Grid]] = {}
    stems: dict[str, list[Grid]] = {}
    for scene, grid in scenes.items():
        exact.setdefault(_file_name(scene), []).append(grid)
        stems.setdefault(PurePosixPath(_file_name(scene)).stem, []).append(grid)
    found = {}
    for name in names:
        fitting = exact.get(_file_name(name)) or stems.get(PurePosixPath(_file_name(name)).stem, [])
        if len(fitting) == 1:
            found[name] = fitting[0]
    return found


def _file_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name.casefold()


def _on_pictures(layer: Layer, scenes: Mapping[str, Grid]) -> tuple[NDArray[Any], dict[int, str], list[int]]:
    """The shapes of a layer in pixels on the Earth, why some are not, and which were fitted to a picture of another size."""
    pictures = layer.table[PICTURE].to_numpy()
    grids = picture_grids(dict.fromkeys(pictures), scenes)
    result: NDArray[Any] = np.empty(len(pictures), dtype=object)
    lost = {int(i): NO_PICTURE for i in np.flatnonzero([name not in grids for name in pictures])}
    scaled: list[int] = []
    for picture, grid in grids.items():
        members = np.flatnonzero(pictures == picture)
        scales = [_scale(layer.table, int(i), grid) for i in members]
        lost |= {int(i): OTHER_SIZE for i, scale in zip(members, scales, strict=True) if scale is None}
        for scale in {one for one in scales if one is not None}:
            these = [int(i) for i, one in zip(members, scales, strict=True) if one == scale]
            scaled += these if scale != 1.0 else []
            result[these] = _off_picture(layer.table.geometry.to_numpy()[these], scale, grid)
    return result, lost, sorted(scaled)


def _scale(table: pd.DataFrame, i: int, grid: Grid) -> float | None:
    """How much larger the scene is than the picture the file speaks of; None when they differ in form."""
    if PICTURE_WIDTH not in table or PICTURE_HEIGHT not in table:
        return 1.0
    try:
        across, down = grid.width / float(table[PICTURE_WIDTH].iat[i]), grid.height / float(table[PICTURE_HEIGHT].iat[i])
    except (ValueError, ZeroDivisionError):
        return 1.0
    if across == down == 1:
        return 1.0
    return float(across) if abs(across / down - 1) < 0.01 else None


def _off_picture(shapes: NDArray[Any], scale: float, grid: Grid) -> NDArray[Any]:
    """From pixels (column, row) to longitude and latitude."""
    to_map = grid.transform

    def moved(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        columns, rows = pixels[:, 0] * scale, pixels[:, 1] * scale
        return np.column_stack([to_map.a * columns + to_map.b * rows + to_map.c, to_map.d * columns + to_map.e * rows + to_map.f])

    return _transformed(shapely.transform(shapes, moved), grid.crs, "the picture")


def footprints_of(scenes: Mapping[str, Grid]) -> Sequence[shapely.Polygon]:
    """Outlines of scenes in EPSG:4326."""
    return [_transformed(np.array([shapely.Polygon(grid.corners())], dtype=object), grid.crs, name)[0] for name, grid in scenes.items()]
