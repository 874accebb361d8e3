"""What an export will cut: images, each by itself or as one, the labels on them and the windows. No pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from errors import EmptyTileSetError, InputMismatchError, LabelError, NoLabelsError, NoOverlapError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.raster import RasterInfo, inspect_raster
from imagery.views import View, plan_view
from labeling.burn import Shapes, outline, shapes_on
from labeling.export.area import allowed_area
from labeling.export.settings import ExportSettings, ImageSource
from labeling.export.windows import TileWindow, cut_only_inside, windows_of
from models.bands import meanings, unnamed
from tiles.footprints import LONLAT
from tiles.formats import FORMATS
from workspace.classes import FULLY_LABELLED_VALUE, ClassSchema

MOST_FINER = 16
"""Times by which tiles may be finer than their image."""


@dataclass(frozen=True)
class SecondView:
    """The second raster on the pixels of an image."""

    info: RasterInfo
    view: View

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based numbers of the bands to write."""
        return self.view.layers[0].bands


@dataclass(frozen=True)
class PlannedImage:
    """One raster, or several seen as one, with the labels on it and the windows to cut."""

    name: str
    """For people."""
    info: RasterInfo
    """Of the (first) raster as it is; `grid` says how it is seen."""
    view: View
    shapes: Shapes
    windows: list[TileWindow]
    second: SecondView | None = None
    """For pairs of images."""
    part: str = ""
    """One of `TileFormat.parts`, where the format has them."""

    @property
    def grid(self) -> Grid:
        return self.view.grid

    @property
    def bands(self) -> tuple[int, ...]:
        """1-based numbers of the bands to write, of the first raster."""
        return self.view.layers[0].bands

    @property
    def labelled(self) -> bool:
        """Whether a label of a class to be learnt touches it."""
        return bool(self.shapes.learnt[self.shapes.tree.query(outline(self.grid), predicate="intersects")].any())


def plan_export(
    images: Sequence[ImageSource], labels: gpd.GeoDataFrame, schema: ClassSchema, settings: ExportSettings, mask: gpd.GeoDataFrame | None
) -> list[PlannedImage]:
    """What is to be cut. Arguments and errors as `labeling.export.export_tiles`."""
    if not images:
        raise EmptyTileSetError("There is no imagery to cut.", "Add imagery first.")
    images = [image for image in images if image.source != settings.second_raster]
    if not images:
        raise EmptyTileSetError("The only image chosen is the second one of the pairs.", "Choose the first ones, too.")
    _refuse_unknown_instances(schema, settings)
    has_classes = FORMATS[settings.metadata_format].has_classes
    if has_classes:
        _refuse_without_labels(labels, schema, settings)
    infos = [inspect_raster(source.source, try_pixels=False).named(source.band_names) for source in images]
    planned = plan_images(images, infos, labels, schema, settings, mask)
    chosen_by_labels = has_classes or settings_for(settings, labels).tiles == "features_only"
    if chosen_by_labels and not any(image.shapes.tree.query(outline(image.grid), predicate="intersects").size for image in planned):
        raise _no_overlap(infos, labels[labels["class_value"] != FULLY_LABELLED_VALUE])
    cut = [image for image in planned if image.windows] or planned  # only what is cut has to be of one kind
    return _with_bands(cut, dict(zip([source.source for source in images], zip(images, infos, strict=True), strict=True)))


def plan_images(
    images: Sequence[ImageSource],
    infos: Sequence[RasterInfo],
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    mask: gpd.GeoDataFrame | None,
) -> list[PlannedImage]:
    """Images with their windows, from what is known of them: nothing is opened.

    Raises:
        InputMismatchError: images that cannot be put together as one, where that is wanted; a ground resolution much finer than the image's.
    """
    together = settings.processing_mode == "mosaic" and len(images) > 1
    groups = [list(range(len(images)))] if together else [[i] for i in range(len(images))]
    settings = settings_for(settings, labels)
    planned = []
    for group in groups:
        _refuse_made_up_pixels(images[group[0]].name, infos[group[0]], settings)
        view = plan_view(
            [images[i].source for i in group], [infos[i].grid for i in group], [infos[i].image_bands for i in group], settings.cell_size_m
        )
        shapes = shapes_on(view.grid, labels, schema, settings.buffer_m)
        windows = windows_of(view.grid, shapes, settings, view.boxes, allowed_area(view.grid, shapes, settings, mask))
        planned.append(PlannedImage(_name([images[i].name for i in group]), infos[group[0]], view, shapes, windows))
    return planned


def _refuse_made_up_pixels(name: str, info: RasterInfo, settings: ExportSettings) -> None:
    if settings.cell_size_m is not None and settings.cell_size_m < info.resolution_m / MOST_FINER:
        raise InputMismatchError(
            f"{name} has pixels of {info.resolution_m:.3g} m: tiles with pixels of {settings.cell_size_m:.3g} m would show nothing more, only be larger.",
            f"Choose {1.05 * info.resolution_m / MOST_FINER:.2g} m or more as the ground size of a pixel.",
        )


def no_labels() -> gpd.GeoDataFrame:
    """A table of labels with none in it."""
    return gpd.GeoDataFrame({"class_value": np.zeros(0, dtype=np.int64)}, geometry=[], crs=LONLAT)


def settings_for(settings: ExportSettings, labels: gpd.GeoDataFrame) -> ExportSettings:
    """The settings that count: without labels, images are cut everywhere."""
    return settings if len(labels) else settings.model_copy(update={"tiles": "all"})


def bytes_of(planned: Sequence[PlannedImage]) -> int:
    """Of all tiles, uncompressed; the label and a possible ignore mask included."""
    return sum(w.columns * w.rows * (_pixel_bytes(i) + 2) for i in planned for w in i.windows)


def _pixel_bytes(image: PlannedImage) -> int:
    return sum(len(one.bands) * np.dtype(one.info.dtype).itemsize for one in (image, image.second) if one is not None)


def nothing_cut(planned: Sequence[PlannedImage], settings: ExportSettings, mask: gpd.GeoDataFrame | None) -> EmptyTileSetError:
    """The error for an export of which nothing came."""
    if not any(image.windows for image in planned):
        if settings.inside_fully_labelled and not any(_has_complete(image) for image in planned):
            return EmptyTileSetError(
                "Tiles are wanted only inside fully labelled areas, but none is marked on the imagery.",
                "Mark one on the Label page, or allow tiles everywhere.",
            )
        if mask is not None or settings.inside_fully_labelled:
            return EmptyTileSetError(
                f"No tile with something to learn lies completely inside the {'mask' if mask is not None else 'fully labelled areas'}.",
                "Make these areas larger, or choose smaller tiles or a smaller step.",
            )
        if any(cut_only_inside(FORMATS[settings.metadata_format], image.shapes.fully_labelled) for image in planned):
            return EmptyTileSetError(
                "No tile lies mostly in a fully labelled area, and this kind of labels cannot leave out what nobody has labelled.",
                "Mark larger fully labelled areas on the Label page, or choose smaller tiles.",
            )
    return EmptyTileSetError(
        "No tile holds a labelled pixel: the labels lie where there is no imagery, are smaller than a pixel, or are uncertain.",
        "Label something visible, or give lines and points a larger width.",
    )


def _has_complete(image: PlannedImage) -> bool:
    return image.shapes.fully_labelled is not None and len(image.shapes.fully_labelled.parts) > 0


def _refuse_unknown_instances(schema: ClassSchema, settings: ExportSettings) -> None:
    for value in settings.instance_classes:
        if schema.by_value(value).ignore:
            raise LabelError(f"'{schema.by_value(value).name}' is never learnt, so it has no single objects.", "Choose other classes.")


def _refuse_without_labels(labels: gpd.GeoDataFrame, schema: ClassSchema, settings: ExportSettings) -> None:
    if len(labels) == 0:
        raise NoLabelsError("There are no labels yet.", "Draw some on the Label page, or import a file, then export.")
    drawn = labels[labels["class_value"] != FULLY_LABELLED_VALUE]
    if len(drawn) == 0:
        raise NoLabelsError(
            "It is said where everything is labelled, but nothing is drawn: there is nothing to learn.",
            "Draw what the model should find on the Label page, then export again.",
        )
    ignored = {c.value: c.name for c in schema.classes if c.ignore}
    if settings.tiles == "features_only" and drawn["class_value"].isin(list(ignored)).all():
        names = " or ".join(f"'{ignored[value]}'" for value in drawn["class_value"].unique())
        raise NoLabelsError(
            f"All {len(drawn)} labels are {names}, which is never learnt."
            if len(drawn) > 1
            else f"The only label is {names}, which is never learnt.",
            "Give some labels a class to be learnt on the Label page, then export again.",
        )


def _name(names: Sequence[str]) -> str:
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _with_bands(planned: Sequence[PlannedImage], images: dict[str, tuple[ImageSource, RasterInfo]]) -> list[PlannedImage]:
    """The same images with the bands to write of each raster."""
    rasters = [images[layer.source] for image in planned for layer in image.view.layers]
    bands = iter(_bands([source.name for source, _ in rasters], [info for _, info in rasters]))
    return [
        replace(image, view=replace(image.view, layers=tuple(replace(layer, bands=next(bands)) for layer in image.view.layers)))
        for image in planned
    ]


def _bands(names: Sequence[str], infos: Sequence[RasterInfo]) -> list[tuple[int, ...]]:
    """Bands to write of each raster: all but alpha, in the order of the first raster where the others name them differently ordered.

    Where the rasters have the same number of bands and only some call their last one alpha, it is near infrared under a wrong name
    (some programs tag the fourth band so): it is written for all.
    """
    for name, info in zip(names, infos, strict=True):
        if info.palette:
            raise UnsupportedRasterError(
                f"{name} holds colour numbers from a table, not brightness, so a model cannot learn from it.",
                "Convert it to RGB (QGIS: Raster > Conversion > PCT to RGB) and add the result.",
            )
    bands = [info.image_bands for info in infos]
    if len({len(own) for own in bands}) > 1 and len({info.count for info in infos}) == 1:
        bands = [tuple(range(1, info.count + 1)) for info in infos]
    for name, info, own in zip(names, infos, bands, strict=True):
        if (len(own), info.dtype) != (len(bands[0]), infos[0].dtype):
            raise InputMismatchError(
                f"{name} has {len(own)} band{'s' if len(own) > 1 else ''} of {info.dtype}, "
                f"but {names[0]} has {len(bands[0])} of {infos[0].dtype}: one model cannot learn from both.",
                "Export only images of one kind together (on the Tiles page: More choices, Images).",
            )
    return [_in_order_of(names[0], infos[0], bands[0], name, info, own) for name, info, own in zip(names, infos, bands, strict=True)]


def _in_order_of(
    first: str, wanted: RasterInfo, order: tuple[int, ...], name: str, info: RasterInfo, own: tuple[int, ...]
) -> tuple[int, ...]:
    """The bands `own` of a raster in the order in which `order` has them in the first one, by name; bands without a name stay in their place."""
    there = meanings([wanted.band_names[b - 1] for b in order])
    here = meanings([info.band_names[b - 1] for b in own])
    if sorted(there) == sorted(here):
        return tuple(own[here.index(meaning)] for meaning in there)
    for band, (expected, found) in enumerate(zip(there, here, strict=True), 1):
        if expected != found and not any(unnamed([meaning]) or meaning == "alpha" for meaning in (expected, found)):
            raise InputMismatchError(
                f"Band {band} of {name} is {found}, but of {first} it is {expected}: one model cannot learn from both.",
                "Export only images of one kind together, or say on the Imagery page what the bands are.",
            )
    return own


def _no_overlap(infos: Sequence[RasterInfo], labels: gpd.GeoDataFrame) -> NoOverlapError:
    """Say where both lie: mostly a wrong CRS or the wrong image."""
    boxes = np.array([info.grid.lonlat_bounds for info in infos])
    imagery = (boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())
    return NoOverlapError(
        f"No label touches the imagery. The labels lie at {where(labels.to_crs(LONLAT).total_bounds)}, the imagery at {where(imagery)}.",
        "Check that the labels belong to this imagery and that their coordinate system was read right, or add the imagery they belong to.",
    )


def where(bounds: Sequence[float] | NDArray[np.float64]) -> str:
    """West, south, east and north in words."""
    west, south, east, north = (float(v) for v in bounds)
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
