"""Which of the tiles cut are for training and which for validation. All turns of a window are one place, so they stay together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from labeling.export.cut import Cut, crs_of
from labeling.export.plan import PlannedImage
from labeling.export.settings import ExportSettings
from labeling.export.windows import TileWindow
from tiles.footprints import footprints_m
from tiles.formats import FORMATS
from tiles.split import require_two_sides, split_by_place
from tiles.tile_set import Split
from workspace.classes import ClassSchema


def refuse_hopeless(planned: Sequence[PlannedImage], settings: ExportSettings) -> None:
    """Find out before the long part whether training and validation can be kept apart at all.

    Raises:
        SplitError: they cannot.
    """
    windows = [(image, window) for image in planned for window in image.windows]
    if windows:
        _, grounds = _places(windows)
        require_two_sides(grounds, settings.validation_share, settings.seed, _gap_m(planned, settings))


def split_cuts(cuts: Sequence[Cut], schema: ClassSchema, settings: ExportSettings) -> tuple[list[Split], list[str]]:
    """The side of each tile, and the name of the place that it belongs to.

    Raises:
        SplitError: no way leaves a tile on both sides.
    """
    place, grounds = _places([(cut.image, cut.window) for cut in cuts])
    pixels = np.zeros((len(grounds), len(schema.learnt)), dtype=np.int64)
    np.add.at(pixels, place, [[cut.written.pixels.get(c.value, 0) for c in schema.learnt] for cut in cuts])
    gap = _gap_m([cut.image for cut in cuts], settings)
    splits, names = split_by_place(grounds, pixels, settings.validation_share, settings.seed, gap)
    return [splits[i] for i in place], [names[i] for i in place]


def _places(windows: Iterable[tuple[PlannedImage, TileWindow]]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """For each window the number of its place, and of each place the ground that its turns cover, metres."""
    found: dict[tuple[object, ...], int] = {}
    place: list[int] = []
    grids = []
    for image, window in windows:
        key = (id(image), window.column, window.row, window.columns, window.rows, window.feature)
        place.append(found.setdefault(key, len(found)))
        grids.append(window.on(image.grid))
    outlines = footprints_m([g.transform for g in grids], [crs_of(g) for g in grids], [(g.width, g.height) for g in grids])
    places = np.array(place, dtype=np.int64)
    if len(found) == len(places):
        return places, outlines
    order = np.argsort(places, kind="stable")
    return places, shapely.convex_hull(shapely.multipolygons(outlines[order], indices=places[order]))


def _gap_m(planned: Sequence[PlannedImage], settings: ExportSettings) -> float:
    """A little more than a tile's longer side on the ground; its diagonal where tiles overlap."""
    metres = max(image.grid.resolution_m for image in {id(image): image for image in planned}.values())
    overlap = settings.strides != settings.tile_sides or settings.rotation_angle or FORMATS[settings.metadata_format].per_object
    return metres * (math.hypot(*settings.tile_sides) if overlap else 1.001 * max(settings.tile_sides))
