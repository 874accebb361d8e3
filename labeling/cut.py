"""Windows of an image with the labels on it, cut, burnt and written one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from imagery.grid import Grid
from imagery.read import Pixels
from imagery.turn import sample
from imagery.views import ViewReader
from labeling.burn import burn, burn_instances, objects_in, outline, shapes_in, unlabelled
from labeling.export_plan import PlannedImage
from labeling.export_settings import ExportSettings
from labeling.export_windows import ENOUGH, TileWindow, fully_labelled_counts
from tiles.formats import TileFormat
from tiles.objects import TileObject
from tiles.statistics import RunningStatistics, pixels_per_class
from tiles.tile_set import IGNORE_LABEL
from tiles.writer import TileSetWriter, WrittenTile

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Cut:
    """One tile as written."""

    image: PlannedImage
    window: TileWindow
    transform: Affine
    written: WrittenTile


def cut_all(
    planned: Sequence[PlannedImage], settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics, tell: Progress
) -> Iterator[Cut]:
    """Cut every window of every image; what holds nothing to learn from is left out. `tell` may raise to stop."""
    total = sum(len(image.windows) for image in planned)
    done = 0
    for image in planned:
        if not image.windows:
            continue
        with ViewReader(image.view) as reader:
            for window in image.windows:
                tell(f"Cutting tile {done + 1} of {total} ({image.name})", 0.01 + 0.95 * done / total)
                cut = cut_window(image, window, pixels_of(window, reader.read(*window.box)), settings, writer, statistics)
                if cut is not None:
                    yield cut
                done += 1


def cut_window(
    image: PlannedImage, window: TileWindow, pixels: Pixels, settings: ExportSettings, writer: TileSetWriter, statistics: RunningStatistics
) -> Cut | None:
    """Burn and write one window; None when it holds nothing to learn from."""
    grid = window.on(image.grid)
    seen = outline(grid).intersection(outline(image.grid))
    chosen = shapes_in(image.shapes, seen, settings.min_polygon_overlap_ratio)
    if window.feature is not None:
        chosen = chosen[image.shapes.features[chosen] == window.feature]
    label = burn(image.shapes, grid, chosen)
    unknown = unlabelled(image.shapes, grid, label) if fully_labelled_counts(writer.format) else np.zeros(label.shape, dtype=bool)
    label[~pixels.valid | unknown] = IGNORE_LABEL
    counts = pixels_per_class(label)
    if not counts or not (any(counts) or _may_show_nothing(image, settings, writer.format, counts.get(0, 0) / label.size)):
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
    written = writer.add(values, valid, label, grid.transform, crs_of(grid), image.info.nodata, objects, instances, unknown)
    return Cut(image, window, grid.transform, written)


def pixels_of(window: TileWindow, around: Pixels) -> Pixels:
    """The pixels of a window, from those of its `box`: turned where the window is."""
    if not window.angle:
        return around
    column, row, _, _ = window.box
    return sample(around, Affine.translation(-column, -row) @ window.to_image, (window.rows, window.columns))


def _may_show_nothing(image: PlannedImage, settings: ExportSettings, form: TileFormat, background: float) -> bool:
    """Whether a tile with this share of background, and no class, is worth writing."""
    if form.needs_class:
        return False
    marked = image.shapes.fully_labelled is not None and fully_labelled_counts(form)
    return settings.tiles == "all" or (marked and background >= ENOUGH)


def _filled(pixels: Pixels, nodata: float | None) -> NDArray[Any]:
    """Values with nodata (0 where there is none) where there is no imagery: never a NaN that another reader would choke on."""
    fill = nodata if nodata is not None and np.isfinite(nodata) else 0
    return np.where(pixels.valid, pixels.values, np.asarray(fill).astype(pixels.values.dtype))


def crs_of(grid: Grid) -> str:
    """The CRS as a tile set says it."""
    return str(grid.crs.to_string())
