"""A class map as a table of buildings with right angles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import geopandas as gpd
import shapely

from inference.vectors.areas import Progress, outlines_of, table_of
from inference.vectors.class_map import ClassMap
from inference.vectors.right_angles import squared
from inference.vectors.settings import BuildingSettings, PolygonSettings


def buildings_of(
    class_map: ClassMap, wanted: Sequence[int], settings: BuildingSettings, *, progress: Progress = lambda share: None
) -> Iterator[gpd.GeoDataFrame]:
    """Each area of some classes as a building.

    Args:
        class_map: The map.
        wanted: Class values.
        settings: What is left out, and how far a building may be from the map.
        progress: Told the share done; may raise to stop.

    Yields:
        Tables as those of `inference.vectors.areas.polygons_of`, and the columns `regular` (1: all corners are right angles; 0: no such shape agrees
        with the map, the outline is only simplified), `corners` and `agreement` (intersection over union with the map).

    Raises:
        UnsupportedRasterError: too many areas hang together.
        UnreadableRasterError: the map cannot be decoded.
    """
    first = PolygonSettings(smallest_m2=settings.smallest_m2, holes_m2=settings.holes_m2, slivers=False, smooth_px=0)
    for areas, shapes, of in outlines_of(class_map, wanted, first, progress=progress):
        made = squared(shapes, class_map.grid.pixel_size_m, agreement=settings.agreement)
        corners = shapely.get_num_coordinates(made.shapes) - 1 - shapely.get_num_interior_rings(made.shapes)
        yield table_of(
            class_map,
            made.shapes,
            areas,
            of,
            regular=made.regular.astype("int32"),
            corners=corners.astype("int32"),
            agreement=made.agreement.round(3),
        )
