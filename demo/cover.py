"""Land-cover codes of a generated scene."""

from enum import IntEnum


class Cover(IntEnum):
    """What a pixel's ground is; roads keep their code under tree crowns and vehicles."""

    SOIL = 0
    PAVED_ROAD = 1
    UNPAVED_ROAD = 2
    TRAIL = 3
    BUILDING = 4
    TREE_OR_SHRUB = 5
    GRASS = 6
    WASH = 7
    PARKING_OR_LOT = 8
    DRIVEWAY_OR_SIDEWALK = 9
    WATER = 10
    RAIL = 11


ROAD_COVERS = (Cover.PAVED_ROAD, Cover.UNPAVED_ROAD, Cover.TRAIL)
