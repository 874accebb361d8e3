"""The fixed pyramid of chips over a raster, and the pixels of a chip as they are shown.

Three kinds of pixels, always (x, y) from the outer corner of the top-left one: of the raster; of a level (square on the
ground, each level twice as coarse as the one before; level 0 is the raster's own resolution); of a chip (a window of a level).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from imagery.grid import Grid
from imagery.library import Raster, raster_source
from imagery.read import is_url, read_resampled
from imagery.stretch import Stretch, apply_stretch, colour_table
from workspace.project import Project

CHIP_PX = 1024
STRIDE_PX = 640
"""A click has at least (1024 - 640) / 2 = 192 px of its chip on every side, but at the raster's own edge."""
FINEST = -2
"""A quarter of the raster's own pixel: what is 12 px wide there is 48 px wide in the chip."""
SQUARE_WITHIN = 0.03
"""Pixels whose sides differ less than this are taken as they are."""
FORMAT = 1
"""Of the embeddings on disk: raise it when chips or their keys change."""


@dataclass(frozen=True)
class Picture:
    """A raster as a project shows it; all that decides the pixels of its chips."""

    source: str
    """Absolute path or URL."""
    identity: str
    """The file itself: name, size and time of change."""
    grid: Grid
    bands: tuple[int, ...]
    stretch: Stretch | None
    """None: values are numbers of colours in the file's table."""


@dataclass(frozen=True)
class Level:
    """One resolution of a raster."""

    number: int
    width: int
    height: int
    scale_x: float
    """Raster pixels in one pixel of the level, across."""
    scale_y: float


@dataclass(frozen=True)
class Chip:
    """A window of a level."""

    level: Level
    column: int
    """Left edge, pixels of the level."""
    row: int
    width: int
    height: int

    def reaches(self, x: float, y: float) -> bool:
        """Whether a point (pixels of the level) lies in it."""
        return self.column <= x <= self.column + self.width and self.row <= y <= self.row + self.height

    @property
    def window(self) -> Window:
        """Of the raster, in fractions of its pixels."""
        level = self.level
        return Window(
            self.column * level.scale_x, self.row * level.scale_y, self.width * level.scale_x, self.height * level.scale_y
        )  # type: ignore[no-untyped-call, unused-ignore]


def picture_of(project: Project, raster: Raster) -> Picture:
    """How a project shows one of its rasters.

    Raises:
        OSError: the file is gone.
    """
    source = raster_source(project, raster)
    identity = f"{raster.source}|{raster.info.bytes}"
    if not is_url(source):
        state = Path(source).stat()
        identity = f"{raster.source}|{state.st_size}|{state.st_mtime_ns}"
    stretch = None if raster.info.palette and raster.bands == (1,) else raster.stretch
    return Picture(source, identity, raster.info.grid, raster.bands, stretch)


class Pyramid:
    """The levels of one raster and the chips in each."""

    def __init__(self, grid: Grid) -> None:
        across, down = grid.pixel_size_m
        if not (math.isfinite(across) and math.isfinite(down) and across > 0 and down > 0) or abs(across / down - 1) < SQUARE_WITHIN:
            across = down = math.sqrt(across * down) if across > 0 and down > 0 else 1.0
        self._grid = grid
        self._pixel = across, down
        self.resolution_m = min(across, down)
        """Of level 0."""
        side = max(grid.width * across, grid.height * down) / self.resolution_m
        self.coarsest = max(0, math.ceil(math.log2(side / CHIP_PX)))
        """The level at which one chip holds the whole raster."""

    def level(self, number: int) -> Level:
        number = min(max(number, FINEST), self.coarsest)
        width, height = (
            max(1, round(n * size / (self.resolution_m * 2.0**number)))
            for n, size in zip((self._grid.width, self._grid.height), self._pixel, strict=True)
        )
        return Level(number, width, height, self._grid.width / width, self._grid.height / height)

    def level_for(self, resolution_m: float, extent_px: tuple[float, float] = (0.0, 0.0)) -> Level:
        """The level nearest to a view.

        Args:
            resolution_m: Ground size of a pixel on the screen.
            extent_px: (width, height) in raster pixels of what has to fit well inside one chip.
        """
        number = round(math.log2(resolution_m / self.resolution_m)) if resolution_m > 0 else 0
        widest = max(extent_px[0] * self._pixel[0], extent_px[1] * self._pixel[1]) / self.resolution_m
        if widest > 0:
            number = max(number, math.ceil(math.log2(widest / (CHIP_PX * 0.8))))
        return self.level(number)

    def chip_at(self, level: Level, x: float, y: float) -> Chip:
        """The chip whose centre is nearest to a point (pixels of the level)."""
        (column, width), (row, height) = _nearest(level.width, x), _nearest(level.height, y)
        return Chip(level, column, row, width, height)

    def neighbours(self, chip: Chip) -> list[Chip]:
        """The chips beside, above and below, as far as there are any."""
        return [beside for side in ("left", "top", "right", "bottom") if (beside := self.beside(chip, side)) is not None]

    def beside(self, chip: Chip, side: str) -> Chip | None:
        """The next chip to the 'left', 'right', 'top' or 'bottom'; None where the raster ends."""
        level = chip.level
        if side in {"left", "right"}:
            column = _step(level.width, chip.column, -1 if side == "left" else 1)
            return None if column is None else Chip(level, column, chip.row, chip.width, chip.height)
        row = _step(level.height, chip.row, -1 if side == "top" else 1)
        return None if row is None else Chip(level, chip.column, row, chip.width, chip.height)


def read_chip(dataset: DatasetReader, picture: Picture, chip: Chip) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The pixels of a chip as they are shown: (rows, columns, 3) uint8, 0 where not valid; and (rows, columns) valid.

    Raises:
        UnreadableRasterError: the file cannot be decoded there.
    """
    smaller = max(chip.level.scale_x, chip.level.scale_y)
    method = Resampling.nearest if picture.stretch is None or smaller == 1 else Resampling.average if smaller > 1 else Resampling.bilinear
    pixels = read_resampled(dataset, chip.window, (chip.height, chip.width), picture.bands, method)
    if picture.stretch is None:
        table = colour_table(dataset)
        assert table is not None
        rgb = table[np.minimum(pixels.values[0].astype(np.int64), len(table) - 1), :3]
    else:
        rgb = np.moveaxis(np.broadcast_to(apply_stretch(pixels.values, picture.stretch), (3, chip.height, chip.width)), 0, -1)
    return np.where(pixels.valid[..., None], rgb, np.uint8(0)), pixels.valid


def chip_key(picture: Picture, chip: Chip, model_key: str) -> str:
    """Names what `model_key` makes of this chip: 64 hex digits."""
    stretch = None if picture.stretch is None else [picture.stretch.low, picture.stretch.high]
    place = [chip.level.number, chip.level.width, chip.level.height, chip.column, chip.row, chip.width, chip.height]
    text = json.dumps([FORMAT, picture.identity, picture.bands, stretch, place, model_key])
    return hashlib.sha256(text.encode()).hexdigest()


def _starts(length: int) -> list[int]:
    """Where the chips along one side of a level begin; the last ends where the level does."""
    last = max(0, length - CHIP_PX)
    return [*range(0, last, STRIDE_PX), last]


def _nearest(length: int, place: float) -> tuple[int, int]:
    """(start, size) of the chip whose middle is nearest to `place`."""
    size = min(CHIP_PX, length)
    return min(_starts(length), key=lambda start: abs(start + size / 2 - place)), size


def _step(length: int, start: int, by: int) -> int | None:
    starts = _starts(length)
    number = starts.index(start) + by
    return starts[number] if 0 <= number < len(starts) else None
