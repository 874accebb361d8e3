"""A class map as a table of roads that hang together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from inference.vectors.class_map import ClassMap
from inference.vectors.ground import in_pixels, lengths_m, on_map
from inference.vectors.settings import RoadSettings
from inference.vectors.skeleton import Skeleton, skeleton_of
from tiles.roads.network import Network, Road, smoothed
from tiles.roads.skeleton import EDGE_PX, lines_of

SHARE_OF_READING = 0.8


def roads_of(
    class_map: ClassMap, wanted: Sequence[int], settings: RoadSettings, *, progress: Callable[[float], None] = lambda share: None
) -> gpd.GeoDataFrame:
    """The network of some classes, taken together.

    Args:
        class_map: The map.
        wanted: Class values.
        settings: What is cut off, joined and left out.
        progress: Told the share done; may raise to stop.

    Returns:
        Lines in the map's CRS. They meet at their ends only (apart from bridges), there exactly, and each says which nodes it joins: Classname and
        Classvalue (the one that most of it has), length_m (geodesic), width_m (middle one), confidence (mean, 0..1; NaN without a confidence raster), gap_m (how
        much of it the map does not show), from_node, to_node, geometry.

    Raises:
        UnsupportedRasterError: there are too many roads for one network.
        UnreadableRasterError: the map cannot be decoded.
    """
    skeleton = skeleton_of(class_map, wanted, progress=lambda share: progress(SHARE_OF_READING * share))
    network = Network(_roads(skeleton, class_map))
    progress(SHARE_OF_READING)
    network.snap()
    network.prune(settings.spur_m)
    network.snap()
    network.through()
    network.straighten(np.array(class_map.grid.pixel_size_m) * (class_map.grid.width, class_map.grid.height))
    network.join(settings.gap_m)
    network.prune(settings.spur_m)
    network.snap()
    network.through()
    network.drop_short(settings.shortest_m)
    progress(0.95)
    return _table(list(network.roads.values()), class_map, settings.smooth_m)


def _roads(skeleton: Skeleton, class_map: ClassMap) -> list[Road]:
    across, down = class_map.grid.pixel_size_m
    middle = np.column_stack([(skeleton.column + 0.5) * across, (skeleton.row + 0.5) * down])
    half = skeleton.half_m.astype(np.float64) - EDGE_PX * np.sqrt(across * down)
    return [
        Road(middle[line], half[line], skeleton.confidence[line].astype(np.float64), skeleton.value[line], int(line[0]), int(line[-1]))
        for line in lines_of(skeleton.row, skeleton.column, class_map.grid.width)
    ]


def _table(roads: list[Road], class_map: ClassMap, tolerance_m: float) -> gpd.GeoDataFrame:
    lines = np.array([shapely.LineString(smoothed(road, tolerance_m)) for road in roads], object)
    pixels = in_pixels(lines, class_map.grid) if len(lines) else lines
    values = np.array([_usual(road.value) for road in roads], np.int32)
    names = {value: name for value, name, _ in class_map.legend([int(v) for v in np.unique(values)])}
    nodes = np.unique(np.array([[road.start, road.end] for road in roads], np.int64).reshape(-1, 2), return_inverse=True)[1].reshape(-1, 2)
    sure = [_mean(road.confidence) if class_map.confidence is not None else np.nan for road in roads]
    columns = {
        "Classname": pd.Series([names[int(value)] for value in values], dtype=object),
        "Classvalue": values,
        "length_m": lengths_m(pixels, class_map.grid).round(2) if len(lines) else np.zeros(0),
        "width_m": np.array([road.width for road in roads], np.float64).round(2),
        "confidence": np.array(sure, np.float64).round(3),
        "gap_m": np.array([_gaps(road) for road in roads], np.float64).round(2),
        "from_node": nodes[:, 0].astype(np.int32),
        "to_node": nodes[:, 1].astype(np.int32),
    }
    return gpd.GeoDataFrame(columns, geometry=on_map(pixels, class_map.grid) if len(lines) else lines, crs=class_map.grid.crs)


def _usual(values: NDArray[np.uint8]) -> int:
    """The most frequent class value; a bridge alone has the first there is."""
    counts = np.bincount(values, minlength=2)
    counts[0] = 0
    return int(counts.argmax())


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _gaps(road: Road) -> float:
    """Length of the steps that the map does not show."""
    unknown = ~np.isfinite(road.half)
    return float(road.steps[unknown[1:] & unknown[:-1]].sum())
