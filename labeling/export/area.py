"""Where tiles may lie: mask polygons, and fully labelled areas."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from errors import LabelError, LabelFileError
from imagery.grid import Grid
from labeling.burn import Shapes
from labeling.date_line import FULL_TURN, lonlat_span
from labeling.exchange import VectorFile, placed, read_file
from labeling.export.settings import ExportSettings
from tiles.footprints import LONLAT

AROUND = 0.5
"""Share of the image's size by which a mask may reach beyond it; farther away it is cut off."""


def read_mask(path: Path, crs: str | None = None) -> gpd.GeoDataFrame:
    """Mask polygons from a vector file of any kind that labels may come from. See `mask_of`."""
    return mask_of(read_file(path), crs)


def mask_of(file: VectorFile, crs: str | None = None) -> gpd.GeoDataFrame:
    """Mask polygons in EPSG:4326.

    Args:
        file: As it was read.
        crs: Of a file that does not say its own.

    Raises:
        LabelFileError: it cannot be placed, or holds no polygon.
    """
    shapes = placed(file, crs).shapes
    areas = [shape for shape in shapes if shape is not None and shapely.get_dimensions(shape) == 2]
    if not areas:
        raise LabelFileError(f"{file.name} holds no area.", "Choose a file with polygons.")
    return gpd.GeoDataFrame(geometry=areas, crs=LONLAT)


def allowed_area(grid: Grid, shapes: Shapes, settings: ExportSettings, mask: gpd.GeoDataFrame | None) -> shapely.Geometry | None:
    """What tiles must lie in completely, in the image's CRS; None: anywhere.

    Args:
        grid: The image.
        shapes: On it.
        settings: As chosen.
        mask: Polygons in any CRS; None: no mask.

    Raises:
        LabelError: the mask does not say its CRS.
    """
    area = None if mask is None else _on(grid, mask)
    if settings.inside_fully_labelled:
        complete = shapes.fully_labelled
        inside = shapely.Polygon() if complete is None else shapely.union_all(complete.parts)
        area = inside if area is None else shapely.intersection(area, inside)
    return area


def _on(grid: Grid, mask: gpd.GeoDataFrame) -> shapely.Geometry:
    """Mask polygons as one shape in the image's CRS; what lies far from it is cut off before it is projected."""
    if mask.crs is None:
        raise LabelError("The mask does not say which coordinate system it is in.", "Give it when reading the mask.")
    areas = mask.geometry[shapely.get_dimensions(mask.geometry.values) == 2]
    west, south, east, north = lonlat_span(grid)
    around = AROUND * np.array([east - west, north - south])
    near = shapely.box(west - around[0], south - around[1], east + around[0], north + around[1])
    lonlat = shapely.make_valid(areas.to_crs(LONLAT).to_numpy())
    copies = [shapely.transform(lonlat, lambda xy, turn=turn: np.add(xy, (turn, 0))) for turn in (-FULL_TURN, 0.0, FULL_TURN)]
    clipped = gpd.GeoSeries(shapely.intersection(np.concatenate(copies), near), crs=LONLAT).to_crs(grid.crs)
    return shapely.union_all(shapely.make_valid(clipped.to_numpy()))
