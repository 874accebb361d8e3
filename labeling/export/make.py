"""Imagery and labels into a tile set: plan, cut, split, put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd

from imagery.raster import RasterInfo, inspect_raster
from labeling.export.cut import Cut, Progress, crs_of, cut_all
from labeling.export.cut_imagery import Statistics, second_of
from labeling.export.key import export_key
from labeling.export.plan import PlannedImage, bytes_of, nothing_cut, plan_export, plan_images, settings_for
from labeling.export.second import second_source, with_second
from labeling.export.settings import ExportSettings, ImageSource
from labeling.export.split import refuse_hopeless, split_cuts
from tiles.formats import FORMATS
from tiles.pictures import require_holds
from tiles.tile_set import SecondImages, TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter, require_space
from workspace.classes import ClassSchema


@dataclass(frozen=True)
class TileEstimate:
    """What an export would make, before anything is read."""

    tiles: int
    """Labelled areas that are hidden by missing imagery may make it a few fewer."""
    bytes: int
    """Uncompressed."""
    learnable: bool
    """Whether a label of a class to be learnt touches the imagery."""


def export_tiles(
    images: Sequence[ImageSource],
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    out: Path,
    progress: Progress | None = None,
    *,
    mask: gpd.GeoDataFrame | None = None,
) -> TileSet:
    """Cut imagery and labels into a tile set, split by place.

    Args:
        images: Rasters, those with labels (or all, where all is to be cut) with the same bands and type; any CRS each. All bands but alpha are written, in the raster's own values.
        labels: May be empty where the format knows no classes: then all is cut. Any CRS, with `class_value`, and perhaps `width_m` (metres, full width) which wins over `settings.buffer_m`.
        schema: Classes in drawing order: the later class wins; ignored classes ("Uncertain") never cover another.
        settings: As chosen.
        out: Folder to make; an older tile set there is replaced when everything went well.
        progress: Called with a stage in plain words and the share done; may raise to stop.
        mask: Polygons in any CRS: only tiles that lie completely inside are cut.

    Returns:
        The tile set on disk.

    Raises:
        NoLabelsError: nothing is labelled, or nothing but ignored classes where only labelled tiles are wanted.
        NoOverlapError: no label touches any image; says where both lie.
        EmptyTileSetError: no tile holds a pixel of a class.
        SplitError: everything lies in one place.
        UnsupportedRasterError: an image that the kind of picture file cannot hold.
        InputMismatchError: the images differ in bands or type, or cannot be put together as one.
        UnknownClassError: a label carries a class that the schema lacks.
        DiskFullError: no room; nothing was changed.
        TileSetError: `out` holds something else.
    """
    tell = progress or (lambda stage, share: None)
    tell("Reading what the images are", 0.0)
    planned = plan_export(images, labels, schema, settings, mask)
    second = second_source(settings)
    if second is not None:
        planned = with_second(planned, second, inspect_raster(second.source, try_pixels=False), labels, schema, settings, mask)
    _refuse_pictures(planned, settings)
    settings = settings_for(settings, labels)
    refuse_hopeless(planned, settings)
    statistics = Statistics(planned, settings.seed)
    require_space(out, bytes_of(planned))
    key = export_key(planned, settings, _tile_classes(schema))
    picture = settings.image_format, settings.jpeg_quality
    with TileSetWriter(out, settings.metadata_format, _tile_classes(schema), settings.start_index, *picture, key=key) as writer:
        cuts = list(cut_all(planned, settings, writer, statistics, tell))
        if not cuts:
            raise nothing_cut(planned, settings, mask)
        tell("Keeping training and validation places apart", 0.97)
        splits, places = split_cuts(cuts, schema, settings)
        tiles = tuple(_record_of(cut, split, place, settings) for cut, split, place in zip(cuts, splits, places, strict=True))
        tell("Writing the lists", 0.99)
        return writer.finish(_record(planned, schema, settings, statistics, tiles))


def estimate_tiles(
    infos: Sequence[RasterInfo],
    labels: gpd.GeoDataFrame,
    schema: ClassSchema,
    settings: ExportSettings,
    *,
    mask: gpd.GeoDataFrame | None = None,
    second: RasterInfo | None = None,
) -> TileEstimate:
    """How many tiles an export would make. Pure: no image is opened. Errors as `labeling.export.plan.plan_images`, and of `with_second`.

    `infos` are of the images to cut, `second` of the raster chosen as `settings.second_raster`.
    """
    if not infos:
        return TileEstimate(0, 0, learnable=False)
    images = [ImageSource(name=str(i), source=str(i)) for i in range(len(infos))]
    planned = plan_images(images, infos, labels, schema, settings, mask)
    source = second_source(settings)
    if source is not None and second is not None:
        planned = with_second(planned, source, second, labels, schema, settings, mask)
    learnable = not FORMATS[settings.metadata_format].has_classes or any(image.labelled for image in planned)
    return TileEstimate(sum(len(image.windows) for image in planned), bytes_of(planned), learnable)


def _record_of(cut: Cut, split: Any, place: str, settings: ExportSettings) -> TileRecord:
    t = cut.transform
    return TileRecord(
        **vars(cut.written),
        raster=cut.image.name,
        column=cut.window.column,
        row=cut.window.row,
        angle=cut.window.angle,
        size=None if settings.crop_mode == "fixed_size" else (cut.window.columns, cut.window.rows),
        crs=crs_of(cut.image.grid),
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
        place=place,
        split=split,
    )


def _tile_classes(schema: ClassSchema) -> tuple[TileClass, ...]:
    return tuple(TileClass(value=c.value, name=c.name, colour=c.colour) for c in schema.learnt)


def _record(
    planned: Sequence[PlannedImage],
    schema: ClassSchema,
    settings: ExportSettings,
    statistics: Statistics,
    tiles: tuple[TileRecord, ...],
) -> TileSetRecord:
    info = planned[0].info
    used = {tile.raster for tile in tiles}
    second = second_source(settings)
    return TileSetRecord(
        metadata_format=settings.metadata_format,
        settings=settings.model_dump(mode="json") | {"second_raster": second.name if second else None},
        fully_labelled=planned[0].shapes.fully_labelled is not None,
        classes=_tile_classes(schema),
        band_names=tuple(info.band_names[b - 1] for b in planned[0].bands),
        dtype=info.dtype,
        nodata=info.nodata,
        band_statistics=statistics.first.result(),
        second=_second_images(planned, statistics),
        resolution_m=min(image.grid.resolution_m for image in planned if image.name in used),
        crs=tiles[0].crs,
        tile_size=settings.tile_size,
        tile_size_y=settings.tile_size_y,
        stride=settings.stride,
        stride_y=settings.stride_y,
        seed=settings.seed,
        tiles=tiles,
    )


def _second_images(planned: Sequence[PlannedImage], statistics: Statistics) -> SecondImages | None:
    """What is said of them; None where there are none."""
    one = second_of(planned)
    if one is None or statistics.second is None:
        return None
    names = tuple(one.info.band_names[b - 1] for b in one.bands)
    return SecondImages(band_names=names, dtype=one.info.dtype, nodata=one.info.nodata, band_statistics=statistics.second.result())


def _refuse_pictures(planned: Sequence[PlannedImage], settings: ExportSettings) -> None:
    """Refuse imagery that the kind of picture cannot hold."""
    for image in planned:
        require_holds(settings.image_format, image.name, len(image.bands), image.info.dtype)
        if image.second is not None:
            require_holds(settings.image_format, "The second image", len(image.second.bands), image.second.info.dtype)
