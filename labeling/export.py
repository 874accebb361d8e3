"""Imagery and labels into a tile set. `python -m labeling.export --help` is the same as a command."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from errors import EmptyTileSetError, InputMismatchError, NoLabelsError, NoOverlapError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.raster import RasterInfo, inspect_raster
from imagery.read import Pixels, open_raster, read_window
from labeling.burn import Shapes, burn, burn_instances, objects_in, outline, shapes_in, shapes_on
from tiles.footprints import LONLAT, footprints_m
from tiles.formats import FORMATS
from tiles.objects import TileObject
from tiles.split import split_by_place
from tiles.statistics import RunningStatistics, pixels_per_class
from tiles.tile_set import IGNORE_LABEL, METADATA_FORMAT, TileClass, TileRecord, TileSet, TileSetRecord
from tiles.windows import tile_windows
from tiles.writer import TileSetWriter, WrittenTile, require_space
from workspace.classes import ClassSchema

Progress = Callable[[str, float], None]
LARGEST_CROP = 4096
"""Pixels: a tile as large as its object is no larger."""
EDGE = 0.01
"""Pixels: an object that ends this little beyond a pixel's edge ends there."""


class ExportSettings(BaseModel):
    """What a person chooses for an export; the form shows titles and descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata_format: str = Field(
        default=METADATA_FORMAT,
        title="Kind of labels",
        description="A class for each pixel is what Terratune trains on. Boxes and outlines of single objects are for other programs.",
    )
    tile_size: int = Field(
        default=256,
        ge=32,
        le=1024,
        multiple_of=32,
        title="Tile size (pixels)",
        description="Side of the squares that imagery and labels are cut into. 256 suits most things a few metres wide; "
        "128 gives more, smaller squares when your labels lie close together.",
    )
    stride: int = Field(
        default=128,
        ge=16,
        le=1024,
        title="Step (pixels)",
        description="How far the next square starts from the one before. Half the tile size shows the model everything in several "
        "positions; the full tile size makes fewer squares and trains faster.",
    )
    buffer_m: float = Field(
        default=2.0,
        ge=0,
        le=500,
        title="Width to either side of lines and points (metres)",
        description="Only for lines and points without a width of their own: a line becomes a band this wide to its left and to its right, "
        "a point a disc of this radius. For a track 4 m wide give 2. What was drawn or imported with a width keeps that width.",
    )
    tiles: Literal["features_only", "all"] = Field(
        default="features_only",
        title="Which tiles",
        description="Only squares with something labelled (what is not labelled in them is taken as background), or all of the imagery: "
        "only if you labelled everything in it.",
    )
    min_polygon_overlap_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Least part of an object in a tile",
        description="An object of which less than this part lies in a tile is left out of that tile's labels. 0 keeps every sliver; "
        "0.3 keeps a third of a house and more. What is left out counts as background there.",
    )
    crop_mode: Literal["fixed_size", "bounding_box"] = Field(
        default="fixed_size",
        title="Size of a tile",
        description="For tiles around single objects: all of the tile size with the object in the middle, or each just as large as its object.",
    )
    blacken_around_feature: bool = Field(
        default=False,
        title="Black around the object",
        description="For labelled tiles: what lies around the object is made black, so that only the object itself can be learnt from.",
    )
    validation_share: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        title="Share kept for validation",
        description="Part of the squares that the model is tested on and never learns from. They are taken from places of their own, "
        "with a gap around them, so that the test is honest.",
    )
    seed: int = Field(default=0, ge=0, title="Seed", description="Another number draws other places for validation.")
    image_format: Literal["TIFF"] = Field(default="TIFF", title="Image format", description="TIFF keeps all bands as they are.")

    @field_validator("metadata_format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in FORMATS:
            raise ValueError(f"'{name}' is not among the metadata formats {', '.join(FORMATS)}.")
        return name

    @model_validator(mode="after")
    def _stride_within_tile(self) -> ExportSettings:
        if self.stride > self.tile_size:
            raise ValueError(f"The step ({self.stride}) is larger than the tile size ({self.tile_size}), so parts would be skipped.")
        return self

    @model_validator(mode="after")
    def _only_around_objects(self) -> ExportSettings:
        form = FORMATS[self.metadata_format]
        if self.crop_mode == "bounding_box" and not form.per_object:
            raise ValueError(f"{self.metadata_format} tiles are cut in rows, so crop_mode has to be fixed_size.")
        if self.blacken_around_feature and not form.may_blacken:
            raise ValueError(f"Around objects in {self.metadata_format} tiles nothing can be made black; Labeled_Tiles can.")
        return self


class ImageSource(BaseModel):
    """One raster to cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Shown to people."""
    source: str
    """Absolute path, or http(s) URL."""


@dataclass(frozen=True)
class TileEstimate:
    """What an export would make, before anything is read."""

    tiles: int
    """Labelled areas that are hidden by missing imagery may make it a few fewer."""
    bytes: int
    """Uncompressed."""
    learnable: bool
    """Whether a label of a class to be learnt touches the imagery."""


@dataclass(frozen=True)
class _Window:
    """Where to cut a raster, pixels."""

    column: int
    row: int
    columns: int
    rows: int
    feature: int | None = None
    """Label that the window is around, where a tile has one object: its row."""


@dataclass(frozen=True)
class _Image:
    """One raster with the labels on it and the windows to cut."""

    source: ImageSource
    info: RasterInfo
    grid: Grid
    bands: tuple[int, ...]
    """1-based numbers of the bands to write."""
    shapes: Shapes
    windows: list[_Window]


@dataclass(frozen=True)
class _Cut:
    """One tile as written."""

    image: _Image
    window: _Window
    transform: Affine
    written: WrittenTile


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
        cuts = list(_cut_all(planned, settings, writer, statistics, tell))
        if not cuts:
            raise EmptyTileSetError(
                "No tile holds a labelled pixel: the labels lie where there is no imagery, are smaller than a pixel, or are uncertain.",
                "Label something visible, or give lines and points a larger width.",
            )
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
        windows = _windows(info.grid, shapes, settings)
        count += len(windows)
        area += sum(w.columns * w.rows for w in windows) * (len(info.image_bands) * np.dtype(info.dtype).itemsize + 1)
        learnable = learnable or bool(shapes.learnt[shapes.tree.query(outline(info.grid), predicate="intersects")].any())
    return TileEstimate(count, area, learnable)


def _plan(images: Sequence[ImageSource], labels: gpd.GeoDataFrame, schema: ClassSchema, settings: ExportSettings) -> list[_Image]:
    if len(labels) == 0:
        raise NoLabelsError("There are no labels yet.", "Draw some on the Label page, or import a file, then export.")
    if not images:
        raise EmptyTileSetError("There is no imagery to cut.", "Add imagery first.")
    ignored = {c.value: c.name for c in schema.classes if c.ignore}
    if settings.tiles == "features_only" and labels["class_value"].isin(list(ignored)).all():
        names = " or ".join(f"'{ignored[value]}'" for value in labels["class_value"].unique())
        raise NoLabelsError(
            f"All {len(labels)} labels are {names}, which is never learnt."
            if len(labels) > 1
            else f"The only label is {names}, which is never learnt.",
            "Give some labels a class to be learnt on the Label page, then export again.",
        )
    infos = [inspect_raster(source.source) for source in images]
    shapes = [shapes_on(info.grid, labels, schema, settings.buffer_m) for info in infos]
    if not any(on.tree.query(outline(info.grid), predicate="intersects").size for info, on in zip(infos, shapes, strict=True)):
        raise _no_overlap(infos, labels)
    windows = [_windows(info.grid, on, settings) for info, on in zip(infos, shapes, strict=True)]
    cut = [i for i, found in enumerate(windows) if found] or range(len(images))  # only what is cut has to be of one kind
    bands = _bands([images[i].name for i in cut], [infos[i] for i in cut])
    return [_Image(images[i], infos[i], infos[i].grid, own, shapes[i], windows[i]) for i, own in zip(cut, bands, strict=True)]


def _windows(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[_Window]:
    """Windows to cut: one around each object, or all, or those that something to be learnt touches."""
    if FORMATS[settings.metadata_format].per_object:
        return _windows_around(grid, shapes, settings)
    return [_Window(column, row, settings.tile_size, settings.tile_size) for column, row in _rows_of_windows(grid, shapes, settings)]


def _windows_around(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[_Window]:
    """A window for each label to be learnt, in their order: around the part of it that lies on the raster."""
    mine = np.flatnonzero(shapes.learnt)
    inside = shapely.intersection(shapes.areas[mine], outline(grid))
    to_pixels = ~grid.transform
    boxes = shapely.bounds(shapely.transform(inside, lambda x, y: to_pixels @ (x, y), interleaved=False))
    found = []
    for feature in np.unique(shapes.features[mine]):
        own = boxes[(shapes.features[mine] == feature) & ~shapely.is_empty(inside)]
        if len(own):
            box = (*own[:, :2].min(axis=0), *own[:, 2:].max(axis=0))
            columns, rows = (_around(box[i], box[i + 2], side, settings) for i, side in ((0, grid.width), (1, grid.height)))
            found.append(_Window(columns[0], rows[0], columns[1], rows[1], int(feature)))
    return found


def _around(low: float, high: float, side: int, settings: ExportSettings) -> tuple[int, int]:
    """(start, length) in pixels along one side of a raster: the object's own, or the tile size with the object in the middle, moved to
    lie on the raster where that is large enough. Of an object longer than LARGEST_CROP the middle is taken.
    """
    length = settings.tile_size
    if settings.crop_mode == "bounding_box":
        first, last = max(math.floor(low + EDGE), 0), min(math.ceil(high - EDGE), side)
        if last - first <= LARGEST_CROP:
            return min(first, side - 1), max(last - first, 1)
        length = LARGEST_CROP
    start = round((low + high - length) / 2)
    return max(min(start, side - length), 0), length


def _rows_of_windows(grid: Grid, shapes: Shapes, settings: ExportSettings) -> list[tuple[int, int]]:
    """Upper left corners of windows row by row: all, or those that something to be learnt touches."""
    every = tile_windows(grid.width, grid.height, settings.tile_size, settings.stride)
    if settings.tiles == "all":
        return every
    size = settings.tile_size
    corners = np.array(every, dtype=float)[:, None, :] + np.array([(0, 0), (size, 0), (size, size), (0, size)], dtype=float)
    t = grid.transform
    x = t.a * corners[..., 0] + t.b * corners[..., 1] + t.c
    y = t.d * corners[..., 0] + t.e * corners[..., 1] + t.f
    boxes = shapely.polygons(np.stack([x, y], axis=-1))
    touched, by = shapes.tree.query(boxes, predicate="intersects")
    return [every[i] for i in np.unique(touched[shapes.learnt[by]])] if len(touched) else []


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


def _refuse_hopeless(planned: Sequence[_Image], settings: ExportSettings) -> None:
    """Find out before the long part whether training and validation can be kept apart at all."""
    windows = [image.grid.window(w.column, w.row, w.columns, w.rows) for image in planned for w in image.windows]
    if windows:
        outlines = footprints_m([w.transform for w in windows], [_crs(w) for w in windows], [(w.width, w.height) for w in windows])
        split_by_place(
            outlines, np.zeros((len(windows), 1), dtype=np.int64), settings.validation_share, settings.seed, _gap_m(planned, settings)
        )


def _gap_m(planned: Sequence[_Image], settings: ExportSettings) -> float:
    """A little more than a tile's side on the ground; its diagonal where tiles overlap."""
    side = settings.tile_size * max(image.info.resolution_m for image in planned)
    overlap = settings.stride < settings.tile_size or FORMATS[settings.metadata_format].per_object
    return side * (math.sqrt(2) if overlap else 1.001)


def _bytes(planned: Sequence[_Image]) -> int:
    """Uncompressed; the label and a possible ignore mask included."""
    return sum(w.columns * w.rows * (len(i.bands) * np.dtype(i.info.dtype).itemsize + 2) for i in planned for w in i.windows)


def _cut_all(
    planned: Sequence[_Image], settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics, tell: Progress
) -> Iterator[_Cut]:
    total = sum(len(image.windows) for image in planned)
    done = 0
    for image in planned:
        if not image.windows:
            continue
        with open_raster(image.source.source) as dataset:
            for window in image.windows:
                tell(f"Cutting tile {done + 1} of {total} ({image.source.name})", 0.01 + 0.95 * done / total)
                pixels = read_window(dataset, window.column, window.row, window.columns, window.rows, image.bands)
                cut = _cut(image, window, pixels, settings, writer, statistics)
                if cut is not None:
                    yield cut
                done += 1


def _cut(
    image: _Image, window: _Window, pixels: Pixels, settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics
) -> _Cut | None:
    """Burn and write one window; None when it holds nothing to learn from."""
    grid = image.grid.window(window.column, window.row, window.columns, window.rows)
    columns, rows = min(window.columns, image.grid.width - window.column), min(window.rows, image.grid.height - window.row)
    seen = image.grid.window(window.column, window.row, columns, rows)
    chosen = shapes_in(image.shapes, seen, settings.min_polygon_overlap_ratio)
    if window.feature is not None:
        chosen = chosen[image.shapes.features[chosen] == window.feature]
    label = burn(image.shapes, grid, chosen)
    label[~pixels.valid] = IGNORE_LABEL
    counts = pixels_per_class(label)
    only_labelled = settings.tiles == "features_only" or writer.format.needs_class
    if not counts or (only_labelled and not any(value for value in counts)):
        return None
    objects: Sequence[TileObject] = ()
    instances: dict[int, NDArray[np.integer]] = {}
    if writer.format.has_objects:
        objects, labels = objects_in(image.shapes, grid, seen, chosen, pixels.valid)
        if writer.format.has_instances:
            instances = burn_instances(image.shapes, grid, chosen, objects, labels, pixels.valid)
    if window.feature is not None and not objects:
        return None
    valid, values = pixels.valid, _filled(pixels, image.info.nodata)
    if settings.blacken_around_feature:
        valid = valid & (label > 0)
        values = np.where(valid, values, 0).astype(values.dtype)
    statistics.add(values, valid)
    written = writer.add(values, valid, label, grid.transform, _crs(grid), image.info.nodata, objects, instances)
    return _Cut(image, window, grid.transform, written)


def _filled(pixels: Pixels, nodata: float | None) -> NDArray[Any]:
    """Values with nodata (0 where there is none) where there is no imagery: never a NaN that another reader would choke on."""
    fill = nodata if nodata is not None and np.isfinite(nodata) else 0
    return np.where(pixels.valid, pixels.values, np.asarray(fill).astype(pixels.values.dtype))


def _split(cuts: Sequence[_Cut], schema: ClassSchema, settings: ExportSettings) -> tuple[list[Any], list[str]]:
    planned = [cut.image for cut in cuts]
    outlines = footprints_m(
        [cut.transform for cut in cuts], [_crs(cut.image.grid) for cut in cuts], [(cut.window.columns, cut.window.rows) for cut in cuts]
    )
    pixels = np.array([[cut.written.pixels.get(c.value, 0) for c in schema.learnt] for cut in cuts], dtype=np.int64)
    return split_by_place(outlines, pixels, settings.validation_share, settings.seed, _gap_m(planned, settings))


def _record_of(cut: _Cut, split: Any, place: str, settings: ExportSettings) -> TileRecord:
    t = cut.transform
    return TileRecord(
        **dataclasses.asdict(cut.written),
        raster=cut.image.source.name,
        column=cut.window.column,
        row=cut.window.row,
        size=None if settings.crop_mode == "fixed_size" else (cut.window.columns, cut.window.rows),
        crs=_crs(cut.image.grid),
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
        place=place,
        split=split,
    )


def _tile_classes(schema: ClassSchema) -> tuple[TileClass, ...]:
    return tuple(TileClass(value=c.value, name=c.name, colour=c.colour) for c in schema.learnt)


def _record(
    planned: Sequence[_Image], schema: ClassSchema, settings: ExportSettings, statistics: RunningStatistics, tiles: tuple[TileRecord, ...]
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


def _crs(grid: Grid) -> str:
    return str(grid.crs.to_string())


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
