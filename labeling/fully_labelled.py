"""Areas in which everything is drawn, on one image: what is not drawn in them is background, and outside them nobody knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from imagery.grid import Grid


@dataclass(frozen=True)
class FullyLabelled:
    """The fully labelled areas of an image, in its CRS; there may be none on it."""

    parts: NDArray[np.object_]
    """(n,) shapely polygons that do not overlap."""
    tree: shapely.STRtree

    def shares(self, boxes: NDArray[np.object_]) -> NDArray[np.float64]:
        """(n,) share of each box (a polygon in the image's CRS) that is fully labelled, 0 to 1."""
        box, part = self.tree.query(boxes, predicate="intersects")
        inside = shapely.area(shapely.intersection(boxes[box], self.parts[part]))
        return np.bincount(box, inside, len(boxes)) / shapely.area(boxes)

    def burn(self, grid: Grid) -> NDArray[np.bool_]:
        """(rows, columns) the pixels of a window whose centre is fully labelled."""
        near = self.tree.query(shapely.box(*grid.bounds), predicate="intersects")
        if not len(near):
            return np.zeros(grid.shape, dtype=bool)
        return rasterize(((self.parts[i], 1) for i in near), out_shape=grid.shape, transform=grid.transform, dtype=np.uint8).astype(bool)


def fully_labelled(areas: NDArray[np.object_]) -> FullyLabelled:
    """From polygons in the image's CRS, which may overlap."""
    parts = shapely.get_parts(shapely.union_all(areas[shapely.get_dimensions(areas) == 2]))
    return FullyLabelled(parts, shapely.STRtree(parts))
