"""Roads in a small mask: the lines in their middle, and whether what a mask shows is long and thin at all. Pure."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from skimage.measure import label

from tiles.roads.network import Network, Road, smoothed
from tiles.roads.skeleton import EDGE_PX, lines_of, middle_of

SIMPLER_PX = 0.5
"""How far a line may leave the pixels that it was traced along."""
SLENDER = 5.0
"""What is so many times as long as it is wide, and no wider than `WIDEST_M`, is a line: a road, a path, a stream."""
WIDEST_M = 25.0


def lines_in(mask: NDArray[np.bool_], pixel_size_m: tuple[float, float]) -> list[shapely.LineString]:
    """The middle lines of a mask: what sticks out sideways is cut off, junctions beside one another are one.

    Args:
        mask: (rows, columns); there is no road beyond it.
        pixel_size_m: Across and down.

    Returns:
        Lines that meet at their ends, in metres from the mask's upper left corner, y downwards.
    """
    network = Network(_roads(mask, pixel_size_m))
    network.snap()
    network.prune(0.0)  # of spurs those that are shorter than the road is wide
    network.snap()
    network.through()
    network.straighten(np.array(pixel_size_m) * mask.shape[::-1])
    tolerance = SIMPLER_PX * min(pixel_size_m)
    return [shapely.LineString(smoothed(road, tolerance)) for road in network.roads.values()]


def pixel_lines(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The middle lines of a mask as they were traced: of each the (k, 2) rows and columns of its pixels, in their order."""
    row, column = np.nonzero(middle_of(mask, (1.0, 1.0))[0])
    return [np.column_stack([row[line], column[line]]) for line in lines_of(row, column, mask.shape[1])]


def area_of_lines(mask: NDArray[np.bool_], pixel_size_m: tuple[float, float]) -> int:
    """How many pixels of a mask belong to something long and thin (see `SLENDER`); what touches is looked at as one."""
    middle, _ = middle_of(mask, pixel_size_m)
    part = label(mask, connectivity=2)
    area, length = np.bincount(part.ravel())[1:], np.bincount(part[middle & mask], minlength=part.max() + 1)[1:]
    width = area / np.maximum(length, 1)
    thin = (length >= SLENDER * width) & (width * np.sqrt(pixel_size_m[0] * pixel_size_m[1]) <= WIDEST_M)
    return int(area[thin].sum())


def _roads(mask: NDArray[np.bool_], pixel_size_m: tuple[float, float]) -> list[Road]:
    middle, half = middle_of(mask, pixel_size_m)
    row, column = np.nonzero(middle)
    places = np.asarray((np.column_stack([column, row]) + 0.5) * pixel_size_m, np.float64)
    half = np.asarray(half[row, column] - EDGE_PX * np.sqrt(pixel_size_m[0] * pixel_size_m[1]), np.float64)
    return [
        Road(places[line], half[line], np.ones(len(line)), np.ones(len(line), np.uint8), int(line[0]), int(line[-1]))
        for line in lines_of(row, column, mask.shape[1])
    ]
