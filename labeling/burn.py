"""Labels into pixels: widen lines and points in metres, put classes in drawing order, burn a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

from errors import LabelError
from imagery.grid import Grid
from labeling.date_line import beside, lonlat_span, meets, refuse_around_the_earth
from labeling.fully_labelled import FullyLabelled, fully_labelled
from tiles.footprints import LONLAT, local_projection
from tiles.objects import TileObject, is_box, object_of, pixels_in
from workspace.classes import FULLY_LABELLED_VALUE, UNCERTAIN_VALUE, ClassSchema

SCALE_TOLERANCE = 0.002
"""A projected CRS whose metre is right to this share (any UTM zone) is used for widening as it is."""
METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Shapes:
    """Areas to burn, in the CRS of one image, in drawing order: later ones win."""

    areas: NDArray[np.object_]
    """(n,) shapely polygons (lines and points only where their width is 0)."""
    values: NDArray[np.uint8]
    """(n,) class values; 255 for every class that is not learnt."""
    features: NDArray[np.int64]
    """(n,) row of the label that each area is of, or a part of."""
    tree: shapely.STRtree
    fully_labelled: FullyLabelled | None = None
    """Where what is not drawn is background. None: the labels, on whatever image, say so nowhere, and it is background everywhere."""

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def learnt(self) -> NDArray[np.bool_]:
        """(n,) which are of a class to be learnt."""
        return self.values != UNCERTAIN_VALUE


def half_widths_m(labels: gpd.GeoDataFrame, buffer_m: float) -> NDArray[np.float64]:
    """(n,) metres to either side of each label: half its own `width_m` where it has one, else `buffer_m`; 0 for areas."""
    half = np.full(len(labels), float(buffer_m))
    if "width_m" in labels.columns:
        own = np.asarray(pd.to_numeric(labels["width_m"], errors="coerce"), dtype=float)
        half = np.where(own > 0, own / 2.0, half)
    half[shapely.get_dimensions(labels.geometry.values) == 2] = 0.0
    return half


def shapes_on(grid: Grid, labels: gpd.GeoDataFrame, schema: ClassSchema, buffer_m: float) -> Shapes:
    """The labels that may touch an image, as areas in its CRS.

    Args:
        grid: The image.
        labels: Any CRS and geometry type, with `class_value` (and perhaps `width_m`, metres). Those of the value 0 are fully labelled
            areas.
        schema: Classes in drawing order; ignored classes lie below all others.
        buffer_m: Metres on the ground to either side of lines and around points.

    Raises:
        UnknownClassError: a label carries a value that the schema lacks.
        LabelError: the labels do not say their CRS, or one goes around the Earth.
    """
    if labels.crs is None:
        raise LabelError("The labels do not say which coordinate system they are in.", "Give it when importing them.")
    marked = bool((labels["class_value"] == FULLY_LABELLED_VALUE).any())
    labels = labels.assign(_rank=_drawing_ranks(labels, schema))
    labels["_feature"] = np.arange(len(labels))
    labels = labels[~(labels.geometry.isna() | labels.geometry.is_empty)].explode(ignore_index=True)
    labels["_half"] = half_widths_m(labels, buffer_m)
    labels = labels[_may_touch(labels, grid)].sort_values("_rank", kind="stable")
    if labels.crs.is_geographic:
        refuse_around_the_earth(labels.geometry.to_numpy(), labels["_feature"].tolist())
    areas = _widened(labels, grid)
    keep = ~(shapely.is_empty(areas) | shapely.is_missing(areas))
    ignored = [c.value for c in schema.classes if c.ignore]
    values = np.where(labels["class_value"].isin(ignored), UNCERTAIN_VALUE, labels["class_value"]).astype(np.uint8)
    lowest = values == FULLY_LABELLED_VALUE
    complete, keep = fully_labelled(areas[keep & lowest]) if marked else None, keep & ~lowest
    return Shapes(areas[keep], values[keep], labels["_feature"].to_numpy()[keep], shapely.STRtree(areas[keep]), complete)


def shapes_in(shapes: Shapes, window: shapely.Polygon, least_share: float = 0.0) -> NDArray[np.int64]:
    """Places in `shapes`, in drawing order, of what touches a window.

    Args:
        shapes: On the image.
        window: Its outline, in the image's CRS; the part of it that lies on the image.
        least_share: A label of which less than this share (of its area, or length) lies in the window is left out; areas of
            classes that are not learnt always stay.
    """
    chosen = np.sort(shapes.tree.query(window, predicate="intersects"))
    if least_share == 0 or len(chosen) == 0:
        return chosen
    parts = np.flatnonzero(np.isin(shapes.features, shapes.features[chosen]))
    whole, inside = _sizes(shapes.areas[parts]), _sizes(shapely.intersection(shapes.areas[parts], window))
    names, of = np.unique(shapes.features[parts], return_inverse=True)
    share = np.bincount(of, inside) / np.maximum(np.bincount(of, whole), 1e-12)
    enough = np.isin(shapes.features[chosen], names[share >= least_share - 1e-9])
    return chosen[enough | ~shapes.learnt[chosen]]


def burn(shapes: Shapes, grid: Grid, chosen: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
    """(rows, columns) class values of a window: 0 background, 255 ignore. A pixel belongs to what covers its centre."""
    chosen = shapes_in(shapes, outline(grid)) if chosen is None else chosen
    if len(chosen) == 0:
        return np.zeros(grid.shape, dtype=np.uint8)
    pairs = zip(_as_geojson(shapes.areas[chosen]), shapes.values[chosen].tolist(), strict=True)
    return rasterize(pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype=np.uint8)


def unlabelled(shapes: Shapes, grid: Grid, label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(rows, columns) of a window of which nobody has said what is there: outside all fully labelled areas, where nothing is drawn.

    Args:
        shapes: On the image.
        grid: The window.
        label: As `burn` made it.
    """
    if shapes.fully_labelled is None:
        return np.zeros(grid.shape, dtype=bool)
    return (label == 0) & ~shapes.fully_labelled.burn(grid)


def class_values(shapes: Shapes, grid: Grid) -> NDArray[np.uint8]:
    """(rows, columns) of a window: 0 background, 255 where it is not known, or not to be learnt, what there is."""
    label = burn(shapes, grid)
    return np.where(unlabelled(shapes, grid, label), np.uint8(UNCERTAIN_VALUE), label)


def objects_in(
    shapes: Shapes, grid: Grid, seen: shapely.Polygon, chosen: NDArray[np.int64], valid: NDArray[np.bool_]
) -> tuple[list[TileObject], NDArray[np.int64]]:
    """The labelled objects of a window, each label one, however many parts it has.

    Args:
        shapes: On the image.
        grid: The window.
        seen: Outline of the part of the window that lies on the image, in its CRS; objects are cut there.
        chosen: From `shapes_in`.
        valid: (rows, columns): there is imagery. An object around which there is none is left out.

    Returns:
        The objects in drawing order, cut at the window, and the label of each: its number in `shapes.features`.
    """
    mine = chosen[shapes.learnt[chosen] & (shapely.get_dimensions(shapes.areas[chosen]) == 2)]
    to_pixels = ~grid.transform
    cut = shapely.intersection(shapes.areas[mine], seen)
    cut = shapely.transform(cut, lambda x, y: to_pixels @ (x, y), interleaved=False)
    map_units = abs(grid.transform.determinant)
    objects, labels = [], []
    for feature in dict.fromkeys(shapes.features[mine].tolist()):
        own = np.flatnonzero(shapes.features[mine] == feature)
        area = cut[own[0]] if len(own) == 1 and cut[own[0]].geom_type == "Polygon" else _polygonal(cut[own])
        if area.is_empty or area.area == 0:
            continue
        one = object_of(int(shapes.values[mine[own[0]]]), area, grid.shape, area.area * map_units)
        if is_box(one.box) and valid[pixels_in(one.box, grid.shape)].any():
            objects.append(one)
            labels.append(feature)
    return objects, np.array(labels, dtype=np.int64)


def burn_instances(
    shapes: Shapes,
    grid: Grid,
    chosen: NDArray[np.int64],
    objects: Sequence[TileObject],
    labels: NDArray[np.int64],
    valid: NDArray[np.bool_],
) -> dict[int, NDArray[np.integer]]:
    """The objects of a window as pixels.

    Args:
        shapes: On the image.
        grid: The window.
        chosen: From `shapes_in`.
        objects: From `objects_in`.
        labels: With them.
        valid: (rows, columns): there is imagery.

    Returns:
        By class value (rows, columns): 1 + the place of the object among those of its class, 0 elsewhere. A pixel belongs to what covers its
        centre, the later object above.
    """
    found: dict[int, NDArray[np.integer]] = {}
    for value in sorted({one.value for one in objects}):
        own = labels[[one.value == value for one in objects]]
        numbers = {int(label): number for number, label in enumerate(own, 1)}
        areas = chosen[np.isin(shapes.features[chosen], own)]
        pairs = [(area, numbers[int(shapes.features[i])]) for area, i in zip(_as_geojson(shapes.areas[areas]), areas, strict=True)]
        kind = np.uint8 if len(own) <= 255 else np.uint16
        burnt = rasterize(pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype=kind)
        found[value] = np.where(valid, burnt, 0).astype(kind)
    return found


def outline(grid: Grid) -> shapely.Polygon:
    """The outline of a grid in its CRS."""
    return shapely.Polygon(grid.corners())


def _as_geojson(areas: NDArray[np.object_]) -> list[Any]:
    """The shapes for `rasterize`: those that are one ring (nearly all) as GeoJSON, which is several times faster than by themselves."""
    found = areas.tolist()
    rings = np.flatnonzero((shapely.get_type_id(areas) == shapely.GeometryType.POLYGON) & (shapely.get_num_interior_rings(areas) == 0))
    coordinates, of = shapely.get_coordinates(areas[rings], return_index=True)
    ends = np.searchsorted(of, np.arange(len(rings) + 1)).tolist()
    points = coordinates.tolist()
    for i, start, end in zip(rings.tolist(), ends[:-1], ends[1:], strict=True):
        found[i] = {"type": "Polygon", "coordinates": [points[start:end]]}
    return found


def _sizes(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """(n,) area; length of lines; 1 of a point, 0 of nothing."""
    dimensions = shapely.get_dimensions(shapes)
    sizes = np.where(dimensions == 2, shapely.area(shapes), shapely.length(shapes))
    return np.where((dimensions == 0) & ~shapely.is_empty(shapes), 1.0, sizes)


def _polygonal(parts: NDArray[np.object_]) -> shapely.Geometry:
    """The polygons in some shapes as one polygon or multi-polygon; lines and points where they only touch are left out."""
    polygons = [p for p in shapely.get_parts(shapely.get_parts(parts)) if p.geom_type == "Polygon" and p.area > 0]
    return polygons[0] if len(polygons) == 1 else shapely.union_all(polygons) if polygons else shapely.Polygon()


def _drawing_ranks(labels: gpd.GeoDataFrame, schema: ClassSchema) -> NDArray[np.int64]:
    """(n,) place of each label in the drawing order; ignored classes come first, so that every class lies over them."""
    order = [c.value for c in schema.classes if c.ignore] + [c.value for c in schema.learnt]
    order.insert(0, FULLY_LABELLED_VALUE)
    drawn = (int(value) for value in labels["class_value"].unique())
    ranks = {value: order.index(value if value == FULLY_LABELLED_VALUE else schema.by_value(value).value) for value in drawn}
    return np.array([ranks[int(value)] for value in labels["class_value"]], dtype=np.int64)


def _may_touch(labels: gpd.GeoDataFrame, grid: Grid) -> NDArray[np.bool_]:
    """(n,) whose box, in degrees and widened, meets the image's. Keeps far away labels out of a projection that cannot hold them."""
    boxes = labels.geometry.to_crs(LONLAT).bounds.to_numpy()
    west, south, east, north = lonlat_span(grid)
    dy = labels["_half"].to_numpy() / METRES_PER_DEGREE * 1.1
    dx = dy / max(np.cos(np.radians(max(abs(south), abs(north), 0.0))), 0.01)
    widened = boxes + np.column_stack([-dx, -dy, dx, dy])
    return meets(widened, west, east) & (widened[:, 1] <= north) & (widened[:, 3] >= south)


def _widened(labels: gpd.GeoDataFrame, grid: Grid) -> NDArray[np.object_]:
    """Areas in the image's CRS; widened there where its metre is true, else in a local projection in metres."""
    half = labels["_half"].to_numpy()
    units_per_m = _units_per_metre(grid)
    if units_per_m is not None:
        geometry = labels.geometry.to_crs(grid.crs).to_numpy()
        return _buffered(geometry, half * units_per_m)
    lon, lat = grid.centre_lonlat
    local = local_projection([lon], [lat])
    widened = _buffered(labels.geometry.to_crs(local).to_numpy(), half)
    wide = half > 0
    areas = labels.geometry.to_crs(grid.crs).to_numpy().copy()
    areas[wide] = gpd.GeoSeries(widened[wide], crs=local).to_crs(grid.crs).to_numpy()
    if grid.crs.is_geographic:
        areas = beside(areas, (grid.bounds[0] + grid.bounds[2]) / 2)
        refuse_around_the_earth(areas, labels["_feature"].tolist())
    return _buffered(areas, np.zeros(len(areas)))


def _buffered(geometry: NDArray[np.object_], half: NDArray[np.float64]) -> NDArray[np.object_]:
    """Widen where `half` > 0; repair areas that cross themselves."""
    wide = half > 0
    result = np.asarray(geometry, dtype=object).copy()
    result[wide] = shapely.buffer(result[wide], half[wide], quad_segs=16)
    broken = (shapely.get_dimensions(result) == 2) & ~shapely.is_valid(result)
    result[broken] = shapely.make_valid(result[broken])
    return result


def _units_per_metre(grid: Grid) -> float | None:
    """CRS units per metre on the ground; None for degrees, and for projections that stretch (Web Mercator)."""
    crs = CRS.from_user_input(grid.crs)
    if not crs.is_projected:
        return None
    factor = float(grid.crs.linear_units_factor[1])
    x, y = grid.pixel_size_m
    across, down = np.hypot(grid.transform.a, grid.transform.d) * factor, np.hypot(grid.transform.b, grid.transform.e) * factor
    true = abs(x / across - 1) < SCALE_TOLERANCE and abs(y / down - 1) < SCALE_TOLERANCE
    return 1.0 / factor if true else None
