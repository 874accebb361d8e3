"""Where to label next: squares of ground in which the new model is least sure, spread out.

From the confidence map alone, so that it costs a second reading of a small file and no network. The measure is least confidence sampling (Lewis and Gale
1994), per square: the share of its pixels whose class has less than `UNSURE` of the probability. Squares side by side would tell the model much the same:
after each one chosen its neighbours are passed over, as far as there are others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.warp import transform_geom
from rasterio.windows import Window

from models.card import ModelInput
from workspace.files import write_text

FILE = "label_next.json"
UNSURE = 70
"""Percent: a pixel whose class is less probable is one the model is not sure of."""
NODATA = 255
LEAST_SEEN = 0.5
"""Of a square: with less imagery than this it is never suggested."""
LEAST_UNSURE = 0.02
"""Of a square: with fewer unsure pixels than this there is nothing to ask."""
SIDES = (32, 2048)
"""Least and largest side of a square, pixels."""
KEPT = 60
"""Squares kept for a comparison: more than are shown, as those labelled since are left out."""


class Square(BaseModel):
    """A square of ground to label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raster: str
    """Id in the imagery list."""
    unsure: float
    """Share of its pixels that the model is not sure of, 0 to 1."""
    corners: tuple[tuple[float, float], ...]
    """Longitude and latitude of its outline, closed."""
    differ: float = 0.0
    """Share of its pixels on which the two models differ, where that is why it was chosen."""


class Suggestions(BaseModel):
    """What label_next.json holds: the most useful square first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    squares: tuple[Square, ...]


def square_side(model_input: ModelInput, resolution_m: float | None) -> int:
    """Pixels of the side of a square that is as large on the ground as the model's tiles."""
    ratio = model_input.resolution_m / resolution_m if model_input.resolution_m and resolution_m else 1.0
    return int(np.clip(round(model_input.tile_size * ratio), *SIDES))


def unsure_shares(confidence: Path, side: int, tick: Callable[[], None] = lambda: None) -> NDArray[np.float64]:
    """(rows, columns) for each square of `side` pixels the share of its imagery that the model is not sure of; NaN where it lies mostly beside it.

    Read in strips of squares, so memory grows with the width of the raster only. `tick` is called for each and may raise to stop.
    """
    with rasterio.open(confidence) as file:
        columns, rows = -(-file.width // side), -(-file.height // side)
        found = np.full((rows, columns), np.nan)
        edges = np.arange(columns) * side
        for row in range(rows):
            tick()
            strip = file.read(1, window=Window(0, row * side, file.width, min(side, file.height - row * side)))
            seen = np.add.reduceat((strip != NODATA).sum(axis=0), edges)
            unsure = np.add.reduceat((strip < UNSURE).sum(axis=0), edges)
            enough = seen >= LEAST_SEEN * side * side
            found[row, enough] = unsure[enough] / seen[enough]
    return found


def spread_out(shares: Sequence[NDArray[np.float64]], count: int) -> list[tuple[int, int, int]]:
    """The squares to label first, most unsure first, neighbours of chosen ones only when no others are left.

    Args:
        shares: One array from `unsure_shares` for each raster.
        count: At most so many.

    Returns:
        (raster, row, column) of each.
    """
    every = [(float(a[r, c]), i, int(r), int(c)) for i, a in enumerate(shares) for r, c in np.argwhere(a >= LEAST_UNSURE)]
    order = [(i, row, column) for _, i, row, column in sorted(every, key=lambda one: -one[0])]
    chosen: list[tuple[int, int, int]] = []
    passed: list[tuple[int, int, int]] = []
    for square in order:
        beside = any(i == square[0] and max(abs(r - square[1]), abs(c - square[2])) <= 1 for i, r, c in chosen)
        (passed if beside else chosen).append(square)
        if len(chosen) == count:
            break
    return (chosen + passed)[:count]


def suggest(job: Path, sides: dict[str, int], tick: Callable[[], None] = lambda: None) -> None:
    """Write label_next.json of a comparison from the confidence of its new model.

    Args:
        job: Its folder.
        sides: For each raster id the side of a square in the raster's pixels.
        tick: Called often; may raise to stop.
    """
    paths = {raster: job / raster / "after_confidence.tif" for raster in sides}
    shares = [unsure_shares(paths[raster], side, tick) for raster, side in sides.items()]
    names = list(sides)
    squares = [
        Square(raster=names[i], unsure=float(shares[i][row, column]), corners=_outline(paths[names[i]], row, column, sides[names[i]]))
        for i, row, column in spread_out(shares, KEPT)
    ]
    write_text(job / FILE, Suggestions(squares=tuple(squares)).model_dump_json())


def read_suggestions(job: Path) -> tuple[Square, ...]:
    """Squares to label next, the most useful first; none where a comparison has none."""
    try:
        return Suggestions.model_validate_json((job / FILE).read_bytes()).squares
    except (OSError, ValueError):
        return ()


def _outline(path: Path, row: int, column: int, side: int) -> tuple[tuple[float, float], ...]:
    with rasterio.open(path) as file:
        right, bottom = min((column + 1) * side, file.width), min((row + 1) * side, file.height)
        corners = [(column * side, row * side), (right, row * side), (right, bottom), (column * side, bottom), (column * side, row * side)]
        ring = {"type": "Polygon", "coordinates": [[file.transform @ corner for corner in corners]]}
        placed = transform_geom(file.crs, "EPSG:4326", ring)
    return tuple((float(x), float(y)) for x, y in placed["coordinates"][0])
