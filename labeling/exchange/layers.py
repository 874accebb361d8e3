"""A vector file as it was read, before anybody knows which class and which place its values mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

NOTHING = ""
"""What an empty class attribute, or none at all, is called in a value map."""
PICTURE, PICTURE_WIDTH, PICTURE_HEIGHT = "picture", "picture_width", "picture_height"
"""Columns of a layer in pixels: the name of the picture, and its size in pixels as the file states it."""

MAX_FEATURES = 200_000
MAX_VALUES_SHOWN = 200
CLASS_FIELDS = ("classvalue", "class_value", "value", "classname", "class_name", "class", "category", "label", "name")
"""Recognised as the class field, whatever their case, the first that is there."""
WIDTH_FIELDS = ("width_m", "width")
"""Recognised as the width in metres, whatever their case, the first that is there."""


@dataclass(frozen=True)
class Layer:
    """One layer. `table` has a column `geometry` (coordinates as in the file, no CRS set, may be None) and one column of text each attribute."""

    name: str
    table: gpd.GeoDataFrame
    crs: str | None = None
    """WKT or code of the CRS that the file states."""
    assumed: str | None = None
    """CRS that its format means when it states none; a CRS that a person gives comes first."""
    pixels: bool = False
    """Coordinates are (column, row) in the picture named in the column `PICTURE`."""
    notes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """What happened to shapes while reading (the words of `report`) -> row numbers, from 1."""


@dataclass(frozen=True)
class VectorFile:
    """All layers of a file, or of several files that were chosen together."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def features(self) -> int:
        """Rows in all layers."""
        return sum(len(layer.table) for layer in self.layers)

    @property
    def pixels(self) -> bool:
        """Some of it is in pixels of pictures."""
        return any(layer.pixels for layer in self.layers)

    @property
    def fields(self) -> list[str]:
        """Attributes, in the order in which they first occur; those that place boxes on pictures are not among them."""
        hidden = {PICTURE, PICTURE_WIDTH, PICTURE_HEIGHT}
        names = (str(name) for layer in self.layers for name in layer.table.columns if name != "geometry")
        return [name for name in dict.fromkeys(names) if not (self.pixels and name in hidden)]

    def values(self, name: str | None) -> list[str]:
        """The attribute of every row as text, `NOTHING` where there is none."""
        found: list[str] = []
        for layer in self.layers:
            found += layer.table[name].tolist() if name in layer.table.columns else [NOTHING] * len(layer.table)
        return found

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures that layers in pixels refer to."""
        return list(dict.fromkeys(name for layer in self.layers if layer.pixels for name in layer.table[PICTURE]))


def text_table(columns: Mapping[str, Any], shapes: Sequence[Any] | NDArray[Any]) -> gpd.GeoDataFrame:
    """A layer's table of raw attribute columns and shapes."""
    named = {_column_name(name): text_column(values) for name, values in columns.items()}
    geometry = np.empty(len(shapes), dtype=object)
    geometry[:] = list(shapes)
    return gpd.GeoDataFrame(named, geometry=gpd.GeoSeries(geometry), index=range(len(shapes)))


def _column_name(name: str) -> str:
    return "geometry_" if name == "geometry" else str(name)


def text_column(values: Any) -> pd.Series:
    """A column as text; equal values are turned into text once."""
    codes, distinct = pd.factorize(pd.Series(values, dtype=None if isinstance(values, np.ndarray) else object), use_na_sentinel=True)
    texts = np.array([text_of(value) for value in distinct] + [NOTHING], dtype=object)
    return pd.Series(texts[codes], dtype=object)


def text_of(value: Any) -> str:
    """An attribute as text: 1.0 and 1 are the same, None and NaN are `NOTHING`."""
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return NOTHING
        return str(int(value)) if float(value).is_integer() else str(value)
    return NOTHING if value is None or value is pd.NA or value is pd.NaT else str(value).strip()


def distinct(values: Iterable[str]) -> list[str]:
    """Different values in the order in which they occur, at most `MAX_VALUES_SHOWN`."""
    return list(dict.fromkeys(values))[:MAX_VALUES_SHOWN]


def recognised(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that is there, whatever its case, as it is written."""
    folded = {name.casefold(): name for name in reversed(list(names))}
    return next((folded[one] for one in wanted if one in folded), None)


def whole_number(text: str) -> int | None:
    """'7' and '7.0' as 7; None for anything else."""
    return int(float(text)) if re.fullmatch(r"\d{1,9}(\.0+)?", text) else None


def sample_points(layer: Layer, limit: int = 500) -> NDArray[np.float64]:
    """(n, 2) middles of some shapes of a layer, finite, in its own coordinates."""
    shapes = layer.table.geometry.to_numpy()
    shapes = shapes[:: max(1, len(shapes) // limit)]
    bounds = shapely.bounds(shapes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    return np.column_stack([(bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2])
