"""The places where two maps differ most: squares of ground about a tile wide, none over another, the most changed ground first.

From change.tif and the confidence maps alone. Squares lie on a lattice of half their side, so that one fits well on whatever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.warp import transform_geom
from rasterio.windows import Window

from imagery.grid import Grid
from inference.compare import FLIPPED, GAINED, LOST, NODATA, row_areas_m2
from inference.suggest import Square
from workspace.files import write_text

FILE = "differences.json"
KINDS = (GAINED, LOST, FLIPPED)
COUNT = 10
SPARE = 2
"""So many times more squares are taken from each raster, as some lie over those of another one."""
TOUCHING = 0.01
"""Of a square: as much may lie over another one, as rasters do not meet to the pixel."""
_SURE = len(KINDS) + 1
"""Place in the sums of a cell of the changed ground weighted by confidence."""


class Place(BaseModel):
    """A square of ground on which the maps differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raster: str
    """Id in the imagery list."""
    window: tuple[int, int, int, int]
    """Column, row, width, height in the raster's pixels."""
    corners: tuple[tuple[float, float], ...]
    """Longitude and latitude of its outline, closed."""
    seen_m2: float
    """Ground with imagery."""
    gained_m2: float
    lost_m2: float
    flipped_m2: float
    sure_m2: float
    """Changed ground, each pixel weighted by how sure the less sure of the two models is of it."""

    @property
    def changed_m2(self) -> float:
        return self.gained_m2 + self.lost_m2 + self.flipped_m2

    @property
    def share(self) -> float:
        """Of its ground that changed, 0 to 1."""
        return self.changed_m2 / self.seen_m2 if self.seen_m2 else 0.0

    def square(self) -> Square:
        """As a square to label."""
        return Square(raster=self.raster, unsure=0.0, corners=self.corners, differ=self.share)


class Differences(BaseModel):
    """What differences.json holds; the most different place first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by_area: tuple[Place, ...] = ()
    by_confidence: tuple[Place, ...] = ()

    def place(self, name: str) -> Place | None:
        """The place with a name like "by_area.3"; None when there is none."""
        ranking, _, number = name.partition(".")
        places = {"by_area": self.by_area, "by_confidence": self.by_confidence}.get(ranking, ())
        return places[int(number)] if number.isdecimal() and int(number) < len(places) else None


def find_differences(job: Path, sides: dict[str, int], tick: Callable[[], None] = lambda: None) -> None:
    """Write differences.json of a comparison.

    Args:
        job: Its folder.
        sides: For each raster id the side of a square in the raster's pixels.
        tick: Called often; may raise to stop.
    """
    by_area, by_confidence = [], []
    for raster, side in sides.items():
        half = max(1, side // 2)
        squares = squares_of(changed_cells(job / raster, half, tick))
        changed, sure = squares[..., : len(KINDS)].sum(axis=-1), squares[..., _SURE]
        by_area += [_place(job, raster, half, row, column, squares[row, column]) for row, column in best(changed, SPARE * COUNT)]
        by_confidence += [_place(job, raster, half, row, column, squares[row, column]) for row, column in best(sure, SPARE * COUNT)]
    found = Differences(
        by_area=tuple(apart(sorted(by_area, key=lambda place: -place.changed_m2))[:COUNT]),
        by_confidence=tuple(apart(sorted(by_confidence, key=lambda place: -place.sure_m2))[:COUNT]),
    )
    write_text(job / FILE, found.model_dump_json())


def read_differences(job: Path) -> Differences | None:
    """The places of a comparison; None where they have not been looked for."""
    try:
        return Differences.model_validate_json((job / FILE).read_bytes())
    except (OSError, ValueError):
        return None


def changed_cells(folder: Path, half: int, tick: Callable[[], None] = lambda: None) -> NDArray[np.float64]:
    """(rows, columns, 5) square metres in cells of `half` pixels: gained, lost, flipped, with imagery, changed weighted by confidence.

    Read in strips of cells, so memory grows with the width of the raster only.
    """
    with ExitStack() as stack:
        change, *confidence = (
            stack.enter_context(rasterio.open(folder / f"{name}.tif")) for name in ("change", "before_confidence", "after_confidence")
        )
        grid = Grid(change.width, change.height, change.transform, change.crs)
        edges = np.arange(0, grid.width, half)
        rows = []
        for top in range(0, grid.height, half):
            tick()
            window = Window(0, top, grid.width, min(half, grid.height - top))
            strip = change.read(1, window=window)
            sure = np.minimum(*(file.read(1, window=window) for file in confidence)) / 100
            changed = np.isin(strip, KINDS)
            layers = [*(strip == kind for kind in KINDS), strip != NODATA, np.where(changed, sure, 0.0)]
            row_m2 = row_areas_m2(grid.window(0, top, grid.width, int(window.height)))
            rows.append(np.stack([np.add.reduceat((row_m2[:, None] * layer).sum(axis=0), edges) for layer in layers], axis=-1))
        return np.stack(rows)


def squares_of(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, columns, ...) sums over the two by two cells that begin at each; one row or column of cells is its own square."""
    for axis in (0, 1):
        if cells.shape[axis] > 1:
            first, second = (np.take(cells, range(start, cells.shape[axis] - 1 + start), axis) for start in (0, 1))
            cells = first + second
    return cells


def best(values: NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    """(row, column) of the squares with the largest values above 0, the largest first, none over another."""
    left = values.copy()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count and (at := int(left.argmax())) >= 0 and left.flat[at] > 0:
        row, column = divmod(at, left.shape[1])
        left[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        chosen.append((row, column))
    return chosen


def apart(places: Sequence[Place]) -> list[Place]:
    """Those that do not lie over an earlier one: rasters may show the same ground."""
    kept: list[tuple[Place, shapely.Polygon]] = []
    for place in places:
        shape = shapely.Polygon(place.corners)
        if not any(shapely.area(shapely.intersection(shape, other)) > TOUCHING * shape.area for _, other in kept):
            kept.append((place, shape))
    return [place for place, _ in kept]


def _place(job: Path, raster: str, half: int, row: int, column: int, sums: NDArray[np.float64]) -> Place:
    with rasterio.open(job / raster / "change.tif") as file:
        left, top = column * half, row * half
        width, height = min(2 * half, file.width - left), min(2 * half, file.height - top)
        edge = [(left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top)]
        ring = {"type": "Polygon", "coordinates": [[file.transform @ corner for corner in edge]]}
        corners = transform_geom(file.crs, "EPSG:4326", ring)["coordinates"][0]
    gained, lost, flipped, seen, sure = map(float, sums)
    return Place(
        raster=raster,
        window=(left, top, width, height),
        corners=tuple((float(x), float(y)) for x, y in corners),
        seen_m2=seen,
        gained_m2=gained,
        lost_m2=lost,
        flipped_m2=flipped,
        sure_m2=sure,
    )
