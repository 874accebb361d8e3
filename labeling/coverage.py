"""How much is labelled: objects and ground of each class on each image, and the share of it that is fully labelled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from workspace.classes import FULLY_LABELLED_VALUE

_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True)
class ClassCoverage:
    """What is drawn of one class on one image; what reaches over its edge is cut there."""

    objects: int
    area_m2: float
    """Of areas, on the ellipsoid."""
    length_m: float
    """Of lines, on the ellipsoid."""


@dataclass(frozen=True)
class ImageCoverage:
    """What is labelled on one image."""

    classes: dict[int, ClassCoverage]
    """By class value; only classes of which something is drawn."""
    area_m2: float
    """Of the image."""
    fully_labelled_m2: float

    @property
    def share(self) -> float:
        """Share of the image that is fully labelled, 0 to 1."""
        return min(self.fully_labelled_m2 / self.area_m2, 1.0) if self.area_m2 else 0.0


def coverage(labels: gpd.GeoDataFrame, footprints: Mapping[str, shapely.Polygon]) -> dict[str, ImageCoverage]:
    """How much is labelled on each image.

    Args:
        labels: A label set (see `labeling.label_set`).
        footprints: Outlines of the images by id, EPSG:4326.

    Returns:
        By image id, in the order of `footprints`.
    """
    shapes, values = labels.geometry.to_numpy(), labels["class_value"].to_numpy()
    tree = shapely.STRtree(shapes)
    return {image: _on_image(shapes, values, tree.query(outline, predicate="intersects"), outline) for image, outline in footprints.items()}


def fully_labelled_share(labels: gpd.GeoDataFrame, footprints: Mapping[str, shapely.Polygon]) -> float | None:
    """Share of all images together that is fully labelled, 0 to 1; None where no label says so, and what is not drawn is background."""
    areas = labels[labels["class_value"] == FULLY_LABELLED_VALUE]
    if areas.empty:
        return None
    found = coverage(areas, footprints).values()
    ground = sum(one.area_m2 for one in found)
    return sum(one.fully_labelled_m2 for one in found) / ground if ground else 0.0


def _on_image(
    shapes: NDArray[np.object_], values: NDArray[np.int64], touching: NDArray[np.int64], outline: shapely.Polygon
) -> ImageCoverage:
    shapely.prepare(outline)
    near = shapes[touching]
    over_edge = ~shapely.covers(outline, near)
    inside = near.copy()
    inside[over_edge] = shapely.intersection(near[over_edge], outline)
    of = values[touching]
    classes = {
        int(value): ClassCoverage(int((of == value).sum()), _area_m2(inside[of == value]), _length_m(inside[of == value]))
        for value in np.unique(of)
        if value != FULLY_LABELLED_VALUE
    }
    together = shapely.union_all(inside[of == FULLY_LABELLED_VALUE])
    return ImageCoverage(classes, _area_m2([outline]), _area_m2([together]))


def _area_m2(shapes: NDArray[np.object_] | list[shapely.Geometry]) -> float:
    return float(sum(abs(_GEOD.geometry_area_perimeter(part)[0]) for part in _parts(shapes, 2)))


def _length_m(shapes: NDArray[np.object_]) -> float:
    return float(sum(_GEOD.geometry_length(part) for part in _parts(shapes, 1)))


def _parts(shapes: NDArray[np.object_] | list[shapely.Geometry], dimensions: int) -> NDArray[np.object_]:
    """The single parts of a dimension: 2 areas, 1 lines."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    parts = parts[shapely.get_dimensions(parts) == dimensions]
    return parts if dimensions == 1 else shapely.normalize(parts)
