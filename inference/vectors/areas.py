"""A class map as a table of polygons, in memory that the size of the map does not set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd

from errors import UnsupportedRasterError
from inference.compare import row_areas_m2
from inference.vectors.borders import Areas, BorderTracer, Finished, Ids
from inference.vectors.class_map import ClassMap
from inference.vectors.ground import areas_m2, on_map
from inference.vectors.outlines import Shapes, outlines
from inference.vectors.settings import PolygonSettings
from inference.vectors.tidy import tidied

MOST_BORDERS = 4_000_000
"""Straight pieces of border that may hang together; each takes about 250 bytes while they are made to polygons."""
Progress = Callable[[float], None]


def polygons_of(
    class_map: ClassMap,
    wanted: Sequence[int],
    settings: PolygonSettings,
    *,
    rows: int | None = None,
    progress: Progress = lambda share: None,
) -> Iterator[gpd.GeoDataFrame]:
    """The areas of some classes as polygons.

    Args:
        class_map: The map.
        wanted: Class values.
        settings: What is smoothed and left out.
        rows: Of the strips in which the map is read; the polygons do not depend on it.
        progress: Told the share done; may raise to stop.

    Yields:
        Tables in the map's CRS, some of them empty: Classname, Classvalue, area_m2 (on the ground), confidence (mean, 0..1; NaN without a confidence raster), geometry.

    Raises:
        UnsupportedRasterError: too many areas hang together.
        UnreadableRasterError: the map cannot be decoded.
    """
    for areas, shapes, of in outlines_of(class_map, wanted, settings, rows=rows, progress=progress):
        yield table_of(class_map, shapes, areas, of)


def outlines_of(
    class_map: ClassMap,
    wanted: Sequence[int],
    settings: PolygonSettings,
    *,
    rows: int | None = None,
    progress: Progress = lambda share: None,
) -> Iterator[tuple[Areas, Shapes, Ids]]:
    """As `polygons_of`, in pixels: areas, polygons, and of each polygon the row of its area."""
    width = class_map.grid.width
    for found in _groups(class_map, wanted, rows, progress):
        areas, borders = tidied(found, smallest_m2=settings.smallest_m2, holes_m2=settings.holes_m2, slivers=settings.slivers)
        shapes, of = outlines(areas, borders, width, settings.smooth_px)
        yield areas, shapes, of


def table_of(class_map: ClassMap, shapes: Shapes, areas: Areas, of: Ids, **more: Sequence | np.ndarray) -> gpd.GeoDataFrame:
    """Polygons in pixels as a table in the map's CRS.

    Args:
        class_map: Gives names, grid and CRS.
        shapes: The polygons.
        areas: What they are made of.
        of: Of each polygon the row in `areas`.
        more: Further columns.
    """
    values = areas.value[of]
    names = {value: name for value, name, _ in class_map.legend([int(v) for v in np.unique(values)])}
    sure = areas.confidence[of] / areas.pixels[of] if class_map.confidence is not None else np.full(len(of), np.nan)
    columns = {
        "Classname": pd.Series([names[int(value)] for value in values], dtype=object),
        "Classvalue": values.astype(np.int32),
        "area_m2": areas_m2(shapes, class_map.grid).round(2),
        "confidence": sure.round(3),
    }
    return gpd.GeoDataFrame({**columns, **more}, geometry=on_map(shapes, class_map.grid), crs=class_map.grid.crs)


def _groups(class_map: ClassMap, wanted: Sequence[int], rows: int | None, progress: Progress) -> Iterator[Finished]:
    tracer, row_m2 = BorderTracer(class_map.grid.width), row_areas_m2(class_map.grid)
    for strip in class_map.strips(wanted, rows):
        progress(strip.row / class_map.grid.height)
        here = row_m2[strip.row : strip.row + len(strip.values)]
        yield tracer.add(strip.values, here, strip.confidence)
        if tracer.pending > MOST_BORDERS:
            raise UnsupportedRasterError(
                f"{class_map.path.name} is too ragged to be made into shapes at once: areas with more than {MOST_BORDERS:,} straight edges hang together.",
                "Choose fewer classes, or cut the map into parts first.",
            )
    yield tracer.close()
