"""Imagery and labels into a tile set. `python -m labeling.export --help` is the same as a command."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from errors import EmptyTileSetError, InputMismatchError, NoLabelsError, NoOverlapError, UnsupportedRasterError
from imagery.raster import RasterInfo, inspect_raster
from labeling.burn import outline, shapes_on
from labeling.cut import Cut, PlannedImage, Progress, crs_of, cut_all
from labeling.export_settings import ExportSettings, ImageSource
from labeling.export_windows import cut_only_inside, windows_of
from tiles.footprints import LONLAT, footprints_m
from tiles.formats import FORMATS
from tiles.split import split_by_place
from tiles.statistics import RunningStatistics
from tiles.tile_set import TileClass, TileRecord, TileSet, TileSetRecord
from tiles.writer import TileSetWriter, require_space
from workspace.classes import FULLY_LABELLED_VALUE, ClassSchema


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
) -> TileSet:
    """Cut imagery and labels into a tile set, split by place.

    Args:
        images: Rasters, those with labels (or all, where all is to be cut) with the same bands and type; any CRS each. All bands but alpha are written, in the raster's own values.
        labels: Any CRS, with `class_value`, and perhaps `width_m` (metres, full width) which wins over `settings.buffer_m`.
        schema: Classes in drawing order: the later class wins; ignored classes ("Uncertain") never cover another.
        settings: As chosen.
        out: Folder to make; an older tile set there is replaced when everything went well.
        progress: Called with a stage in plain words and the share done; may raise to stop.

    Returns:
        The tile set on disk.

    Raises:
        NoLabelsError: nothing is labelled, or nothing but ignored classes where only labelled tiles are wanted.
        NoOverlapError: no label touches any image; says where both lie.
        EmptyTileSetError: no tile holds a pixel of a class.
        SplitError: everything lies in one place.
        InputMismatchError: the images differ in bands or type.
        UnknownClassError: a label carries a class that the schema lacks.
        DiskFullError: no room; nothing was changed.
        TileSetError: `out` holds something else.
    """
    tell = progress or (lambda stage, share: None)
    tell("Reading what the images are", 0.0)
    planned = _plan(images, labels, schema, settings)
    _refuse_hopeless(planned, settings)
    statistics = RunningStatistics(len(planned[0].bands), planned[0].info.dtype, settings.seed)
    require_space(out, _bytes(planned))
    with TileSetWriter(out, settings.metadata_format, _tile_classes(schema)) as writer:
        cuts = list(cut_all(planned, settings, writer, statistics, tell))
        if not cuts:
            raise _nothing_cut(planned, settings)
        tell("Keeping training and validation places apart", 0.97)
        splits, places = _split(cuts, schema, settings)
        tiles = tuple(_record_of(cut, split, place, settings) for cut, split, place in zip(cuts, splits, places, strict=True))
        tell("Writing the lists", 0.99)
        return writer.finish(_record(planned, schema, settings, statistics, tiles))


def estimate_tiles(infos: Sequence[RasterInfo], labels: gpd.GeoDataFrame, schema: ClassSchema, settings: ExportSettings) -> TileEstimate:
    """How many tiles an export would make. Pure: no image is opened."""
    count = area = 0
    learnable = False
    for info in infos:
        shapes = shapes_on(info.grid, labels, schema, settings.buffer_m)
        windows = windows_of(info.grid, shapes, settings)
        count += len(windows)
        area += sum(w.columns * w.rows for w in windows) * (len(info.image_bands) * np.dtype(info.dtype).itemsize + 1)
        learnable = learnable or bool(shapes.learnt[shapes.tree.query(outline(info.grid), predicate="intersects")].any())
    return TileEstimate(count, area, learnable)


def _plan(images: Sequence[ImageSource], labels: gpd.GeoDataFrame, schema: ClassSchema, settings: ExportSettings) -> list[PlannedImage]:
    if len(labels) == 0:
        raise NoLabelsError("There are no labels yet.", "Draw some on the Label page, or import a file, then export.")
    if not images:
        raise EmptyTileSetError("There is no imagery to cut.", "Add imagery first.")
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
    infos = [inspect_raster(source.source) for source in images]
    shapes = [shapes_on(info.grid, labels, schema, settings.buffer_m) for info in infos]
    if not any(on.tree.query(outline(info.grid), predicate="intersects").size for info, on in zip(infos, shapes, strict=True)):
        raise _no_overlap(infos, drawn)
    windows = [windows_of(info.grid, on, settings) for info, on in zip(infos, shapes, strict=True)]
    cut = [i for i, found in enumerate(windows) if found] or range(len(images))  # only what is cut has to be of one kind
    bands = _bands([images[i].name for i in cut], [infos[i] for i in cut])
    return [PlannedImage(images[i], infos[i], infos[i].grid, own, shapes[i], windows[i]) for i, own in zip(cut, bands, strict=True)]


def _bands(names: Sequence[str], infos: Sequence[RasterInfo]) -> list[tuple[int, ...]]:
    """Bands to write of each raster: all but alpha.

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
    return bands


def _refuse_hopeless(planned: Sequence[PlannedImage], settings: ExportSettings) -> None:
    """Find out before the long part whether training and validation can be kept apart at all."""
    windows = [image.grid.window(w.column, w.row, w.columns, w.rows) for image in planned for w in image.windows]
    if windows:
        outlines = footprints_m([w.transform for w in windows], [crs_of(w) for w in windows], [(w.width, w.height) for w in windows])
        split_by_place(
            outlines, np.zeros((len(windows), 1), dtype=np.int64), settings.validation_share, settings.seed, _gap_m(planned, settings)
        )


def _gap_m(planned: Sequence[PlannedImage], settings: ExportSettings) -> float:
    """A little more than a tile's side on the ground; its diagonal where tiles overlap."""
    side = settings.tile_size * max(image.info.resolution_m for image in planned)
    overlap = settings.stride < settings.tile_size or FORMATS[settings.metadata_format].per_object
    return side * (math.sqrt(2) if overlap else 1.001)


def _bytes(planned: Sequence[PlannedImage]) -> int:
    """Uncompressed; the label and a possible ignore mask included."""
    return sum(w.columns * w.rows * (len(i.bands) * np.dtype(i.info.dtype).itemsize + 2) for i in planned for w in i.windows)


def _split(cuts: Sequence[Cut], schema: ClassSchema, settings: ExportSettings) -> tuple[list[Any], list[str]]:
    planned = [cut.image for cut in cuts]
    outlines = footprints_m(
        [cut.transform for cut in cuts], [crs_of(cut.image.grid) for cut in cuts], [(cut.window.columns, cut.window.rows) for cut in cuts]
    )
    pixels = np.array([[cut.written.pixels.get(c.value, 0) for c in schema.learnt] for cut in cuts], dtype=np.int64)
    return split_by_place(outlines, pixels, settings.validation_share, settings.seed, _gap_m(planned, settings))


def _record_of(cut: Cut, split: Any, place: str, settings: ExportSettings) -> TileRecord:
    t = cut.transform
    return TileRecord(
        **dataclasses.asdict(cut.written),
        raster=cut.image.source.name,
        column=cut.window.column,
        row=cut.window.row,
        size=None if settings.crop_mode == "fixed_size" else (cut.window.columns, cut.window.rows),
        crs=crs_of(cut.image.grid),
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
        place=place,
        split=split,
    )


def _tile_classes(schema: ClassSchema) -> tuple[TileClass, ...]:
    return tuple(TileClass(value=c.value, name=c.name, colour=c.colour) for c in schema.learnt)


def _record(
    planned: Sequence[PlannedImage], schema: ClassSchema, settings: ExportSettings, statistics: RunningStatistics, tiles: tuple[TileRecord, ...]
) -> TileSetRecord:
    info = planned[0].info
    used = {tile.raster for tile in tiles}
    return TileSetRecord(
        metadata_format=settings.metadata_format,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        settings=settings.model_dump(),
        classes=_tile_classes(schema),
        band_names=tuple(info.band_names[b - 1] for b in planned[0].bands),
        dtype=info.dtype,
        nodata=info.nodata,
        band_statistics=statistics.result(),
        resolution_m=min(image.info.resolution_m for image in planned if image.source.name in used),
        crs=tiles[0].crs,
        tile_size=settings.tile_size,
        stride=settings.stride,
        seed=settings.seed,
        tiles=tiles,
    )


def _nothing_cut(planned: Sequence[PlannedImage], settings: ExportSettings) -> EmptyTileSetError:
    if not any(image.windows for image in planned) and any(
        cut_only_inside(FORMATS[settings.metadata_format], image.shapes.fully_labelled) for image in planned
    ):
        return EmptyTileSetError(
            "No tile lies mostly in a fully labelled area, and this kind of labels cannot leave out what nobody has labelled.",
            "Mark larger fully labelled areas on the Label page, or choose smaller tiles.",
        )
    return EmptyTileSetError(
        "No tile holds a labelled pixel: the labels lie where there is no imagery, are smaller than a pixel, or are uncertain.",
        "Label something visible, or give lines and points a larger width.",
    )


def _no_overlap(infos: Sequence[RasterInfo], labels: gpd.GeoDataFrame) -> NoOverlapError:
    """Say where both lie: mostly a wrong CRS or the wrong image."""
    boxes = np.array([info.grid.lonlat_bounds for info in infos])
    imagery = (boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())
    return NoOverlapError(
        f"No label touches the imagery. The labels lie at {_where(labels.to_crs(LONLAT).total_bounds)}, the imagery at {_where(imagery)}.",
        "Check that the labels belong to this imagery and that their coordinate system was read right, or add the imagery they belong to.",
    )


def _where(bounds: Sequence[float] | NDArray[np.float64]) -> str:
    west, south, east, north = (float(v) for v in bounds)
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


if __name__ == "__main__":
    from labeling.export_command import app

    app(prog_name="python -m labeling.export")
