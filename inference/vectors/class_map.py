"""A class map on disk: where it lies, what its values mean, and its rows, strip by strip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from errors import InputMismatchError, UnknownClassError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.raster import describe
from imagery.read import open_raster
from inference.legend import read_class_names
from workspace.classes import BACKGROUND_VALUE, PALETTE, UNCERTAIN_VALUE
from workspace.layer_styles import Legend

STRIP_PIXELS = 4 * 2**20
"""Pixels looked at together; what is made of one takes about forty bytes for a while."""
PERCENT = 100
"""Of the confidence raster: what is certain."""


@dataclass(frozen=True)
class Strip:
    """Some rows."""

    row: int
    """The first of them."""
    values: NDArray[np.uint8]
    """(rows, columns) class values; 0 for what is not wanted."""
    confidence: NDArray[np.float32] | None
    """(rows, columns) 0..1; 0 where there is no imagery."""


@dataclass(frozen=True)
class ClassMap:
    """A raster of class values, and perhaps one of how sure the model is of them."""

    path: Path
    confidence: Path | None
    grid: Grid
    names: dict[int, str]
    """Of the classes that have one."""
    colours: dict[int, str]
    """#rrggbb, likewise."""

    def legend(self, values: Sequence[int]) -> Legend:
        """Value, name and colour of these classes."""
        return [(v, self.names.get(v, f"Class {v}"), self.colours.get(v, PALETTE[v % len(PALETTE)])) for v in values]

    def value_of(self, asked: str) -> int:
        """The class value that a person means: its name, in any case, or the number.

        Raises:
            UnknownClassError: the map names its classes, and this is none of them.
        """
        found = [value for value, name in self.names.items() if name.casefold() == asked.strip().casefold()]
        if found:
            return found[0]
        if asked.strip().isdigit() and BACKGROUND_VALUE < int(asked) < UNCERTAIN_VALUE:
            return int(asked)
        known = ", ".join(f"{value} ({name})" for value, name in self.names.items()) or "not named in it; give a number from 1 to 254"
        raise UnknownClassError(f"{self.path.name} has no class '{asked}'.", f"Its classes are {known}.")

    def values(self) -> list[int]:
        """Its class values: those that have a name, else those that occur."""
        if self.names:
            return sorted(self.names)
        found = np.zeros(256, np.bool_)
        for strip in self.strips(range(1, UNCERTAIN_VALUE)):
            found[np.unique(strip.values)] = True
        return [int(value) for value in np.flatnonzero(found) if value != BACKGROUND_VALUE]

    def strips(self, wanted: Sequence[int], rows: int | None = None) -> Iterator[Strip]:
        """All rows from top to bottom.

        Args:
            wanted: Class values; all others read as 0.
            rows: Of a strip; None: as many as `STRIP_PIXELS` allow.

        Raises:
            UnreadableRasterError: one of the two cannot be decoded.
        """
        rows = rows or max(16, STRIP_PIXELS // self.grid.width)
        for row in range(0, self.grid.height, rows):
            yield self.window(wanted, 0, row, self.grid.width, min(rows, self.grid.height - row))

    def window(self, wanted: Sequence[int], column: int, row: int, width: int, height: int) -> Strip:
        """A part of it. Errors as `strips`."""
        where = Window(column, row, width, height)
        keep = np.zeros(256, np.uint8)
        keep[list(wanted)] = list(wanted)
        with open_raster(self.path.resolve()) as dataset:
            values = keep[dataset.read(1, window=where)]
        if self.confidence is None:
            return Strip(row, values, None)
        with open_raster(self.confidence.resolve()) as dataset:
            percent = dataset.read(1, window=where)
        return Strip(row, values, np.where(percent <= PERCENT, percent / np.float32(PERCENT), np.float32(0)))


def read_class_map(path: Path, confidence: Path | None = None) -> ClassMap:
    """Look at a class map.

    Args:
        path: One band of uint8: 0 background, 1 to 254 classes, 255 no imagery.
        confidence: One band of percent on the same grid.

    Raises:
        UnsupportedRasterError: it holds something other than class values.
        InputMismatchError: the confidence does not lie on the map's grid.
        ImageryError: one of the two cannot be read, or lies nowhere.
    """
    with open_raster(path.resolve()) as dataset:
        _refuse_other_rasters(dataset, path.name)
        grid = describe(dataset, path.name, None).grid
        colours = _colours(dataset)
    names = {value: name for value, name in read_class_names(path).items() if name and BACKGROUND_VALUE < value < UNCERTAIN_VALUE}
    if confidence is not None:
        with open_raster(confidence.resolve()) as dataset:
            _refuse_other_rasters(dataset, confidence.name)
            if dataset.shape != grid.shape or not dataset.transform.almost_equals(grid.transform, 1e-9):
                raise InputMismatchError(
                    f"{confidence.name} does not lie on the grid of {path.name}.", "Give the confidence that was written with this map."
                )
    return ClassMap(path, confidence, grid, names, colours)


def _refuse_other_rasters(dataset: DatasetReader, name: str) -> None:
    if dataset.count != 1 or dataset.dtypes[0] != rasterio.uint8:
        raise UnsupportedRasterError(
            f"{name} has {dataset.count} band{'s' if dataset.count > 1 else ''} of {dataset.dtypes[0]}; a class map is one band of whole numbers of 8 bit.",
            "Choose a map that was predicted, or a mask of class values from 1 to 254.",
        )


def _colours(dataset: DatasetReader) -> dict[int, str]:
    try:
        return {value: "#{:02x}{:02x}{:02x}".format(*colour[:3]) for value, colour in dataset.colormap(1).items()}
    except ValueError:
        return {}
