"""The second raster of an export: for pairs, seen on the pixels of each image; for unpaired collections, cut by itself. No pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import geopandas as gpd

from errors import NoOverlapError
from imagery.raster import RasterInfo
from imagery.read import display_name
from imagery.views import Layer, view_onto
from labeling.export.plan import PlannedImage, SecondView, plan_images, where
from labeling.export.settings import ExportSettings, ImageSource
from labeling.export.windows import TileWindow
from tiles.formats import FORMATS
from workspace.classes import ClassSchema


def second_source(settings: ExportSettings) -> ImageSource | None:
    """The second raster, named as its file; None where there is none."""
    source = settings.second_raster
    return ImageSource(name=Path(display_name(source)).stem, source=source) if source else None


def with_second(
    planned: Sequence[PlannedImage],
    source: ImageSource,
    info: RasterInfo,
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    mask: gpd.GeoDataFrame | None,
) -> list[PlannedImage]:
    """What is to be cut, with the second raster: of pairs only the windows that it may show; of unpaired collections, its own as well.

    Args:
        planned: From `labeling.export.plan`.
        source: From `second_source`.
        info: Of the second raster.
        labels: Of the first ones; they choose windows of the second raster only where they touch it.
        schema: Classes.
        settings: As chosen.
        mask: See `labeling.export.export_tiles`.

    Raises:
        NoOverlapError: the two of a pair lie nowhere in the same place; says where both lie.
    """
    parts = FORMATS[settings.metadata_format].parts
    if parts:
        return [*(replace(image, part=parts[0]) for image in planned), *_by_itself(parts[1], source, info, labels, schema, settings, mask)]
    pairs = []
    for image in planned:
        view = view_onto(image.grid, source.source, info.grid, info.image_bands, nearest=settings.second_resampling == "nearest")
        if view is not None:
            windows = [window for window in image.windows if _meets(window, view.layers[0])]
            pairs.append(replace(image, windows=windows, second=SecondView(info, view)))
    if not any(image.windows for image in pairs) and any(image.windows for image in planned):
        raise NoOverlapError(
            f"The second image, {source.name}, lies at {where(info.grid.lonlat_bounds)}: none of the tiles of "
            f"{planned[0].name} (at {where(planned[0].grid.lonlat_bounds)}) lies there.",
            "Choose a second image of the same place, or check its coordinate system.",
        )
    return pairs or list(planned)


def _by_itself(
    part: str,
    source: ImageSource,
    info: RasterInfo,
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    mask: gpd.GeoDataFrame | None,
) -> list[PlannedImage]:
    """Everywhere, unless it is labelled, too."""
    found = plan_images([source], [info], labels, schema, settings, mask)
    if not any(image.labelled for image in found):
        everywhere = settings.model_copy(update={"tiles": "all", "inside_fully_labelled": False})
        found = plan_images([source], [info], labels, schema, everywhere, mask)
    return [replace(image, part=part) for image in found]


def _meets(window: TileWindow, layer: Layer) -> bool:
    column, row, columns, rows = window.box
    across = column < layer.column + layer.grid.width and column + columns > layer.column
    return across and row < layer.row + layer.grid.height and row + rows > layer.row
