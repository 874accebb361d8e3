"""Areas of interest: polygons inside which a raster is predicted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from errors import LabelFileError, NoOverlapError
from imagery.grid import Grid


@dataclass(frozen=True)
class Area:
    """Polygons in pixels (column, row) of a raster."""

    polygons: tuple[shapely.Geometry, ...]
    _tree: shapely.STRtree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", shapely.STRtree(self.polygons))

    def touches(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Does a box have anything in common with the area?"""
        return len(self._tree.query(shapely.box(left, top, right, bottom), predicate="intersects")) > 0

    def inside(self, left: int, top: int, columns: int, rows: int) -> NDArray[np.bool_]:
        """(rows, columns): which pixels have their centre in the area."""
        found = self._tree.query(shapely.box(left, top, left + columns, top + rows), predicate="intersects")
        if not len(found):
            return np.zeros((rows, columns), np.bool_)
        shapes = [self.polygons[index] for index in sorted(found)]
        return rasterize(shapes, (rows, columns), transform=Affine.translation(left, top), dtype="uint8").astype(np.bool_)


def content_of(path: Path | None) -> str:
    """Names what a vector file holds, for keys; "" for none.

    Raises:
        LabelFileError: it cannot be read.
    """
    if path is None:
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> LabelFileError:
    return LabelFileError(f"{path.name} cannot be read as a file of areas.", "Give a GeoPackage, GeoJSON or Shapefile with polygons.")


def read_area(path: Path, grid: Grid) -> Area:
    """The polygons of all rows of a vector file (GeoPackage, GeoJSON, Shapefile, ...), in pixels of `grid`.

    Raises:
        LabelFileError: the file cannot be read, does not say its CRS, or holds no polygon.
        NoOverlapError: none of them lies on the raster.
    """
    import geopandas as gpd  # 80 MB that few predictions need
    from pyogrio.errors import DataSourceError

    try:
        shapes = gpd.read_file(path).geometry
    except (DataSourceError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    if shapes.crs is None:
        raise LabelFileError(f"{path.name} does not say which coordinate system it is in.", "Save it with its coordinate system.")
    shapes = shapes[~shapes.is_empty & shapes.notna()]
    polygons = shapes[shapely.get_dimensions(shapes.to_numpy()) == 2]
    if polygons.empty:
        raise LabelFileError(f"{path.name} holds no area.", "Choose a file with polygons.")
    back = ~grid.transform
    placed = polygons.to_crs(grid.crs).affine_transform([back.a, back.b, back.d, back.e, back.c, back.f])
    area = Area(tuple(shapely.make_valid(placed.to_numpy())))
    if not area.touches(0, 0, grid.width, grid.height):
        raise NoOverlapError(f"None of the areas of {path.name} lies on the raster.", "Choose areas that lie on it, or leave them out.")
    return area
