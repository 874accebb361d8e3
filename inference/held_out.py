"""Both models against what is known: the held-out places of a tile set, or an exact truth raster.

Truth and maps are read at the edges of this module; counting is `inference.scores`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from imagery.grid import Grid
from imagery.resample import scaled_grid
from inference.report import ClassArea, ClassCertainty, PlaceReport, ScoreReport
from inference.scores import Counts, confusion, scores_from, translation, values_of
from inference.true_area import true_areas
from inference.truth import IGNORE, open_truth
from tiles.apart import leaks, scored_on
from tiles.certainty import class_counts, intervals
from tiles.reader import read_tile, tells_unlabelled
from tiles.tile_set import TileRecord, TileSet
from workspace.classes import ClassDef

BLOCK_PX = 256
SAME_PIXEL = 0.05
"""Share of a pixel by which a tile may lie off the raster's own pixels."""


@dataclass(frozen=True)
class MapPair:
    """The two class maps of one raster, on one grid."""

    name: str
    before: Path
    after: Path


@dataclass
class _Tally:
    """Confusion counts of both models."""

    size: int
    blocks: dict[tuple[str, int, int], Counts] = field(default_factory=dict)
    """By raster and square of ground: (2, size, size), before and after."""
    rasters: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        truth: NDArray[np.uint8],
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        values: Sequence[int],
        raster: str,
        block: tuple[int, int],
    ) -> None:
        truth = np.where((before == IGNORE) | (after == IGNORE), np.uint8(IGNORE), truth)  # both on the very same pixels
        counts = np.stack([confusion(truth, before, values), confusion(truth, after, values)])
        self.blocks[raster, *block] = self.blocks.get((raster, *block), 0) + counts
        self.rasters[raster] += truth.size

    @property
    def total(self) -> Counts:
        """(2, size, size): before, after."""
        return np.sum(list(self.blocks.values()), axis=0)


def on_held_out_places(
    tile_set: TileSet,
    maps: Sequence[MapPair],
    classes: Sequence[ClassDef],
    *,
    mapped_m2: Sequence[float] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[ScoreReport | None, int]:
    """Score both maps where the tile set keeps places aside. A pixel in several overlapping tiles counts once.

    Args:
        tile_set: Its classes are matched with `classes` by name; a class that is not among them is left out.
        maps: The class maps; a tile is looked for on each, by coordinates.
        classes: Classes of the maps.
        mapped_m2: Area of background and of each class on all maps after; given, their true areas are estimated where the places allow it: kept
            apart from training, and with all drawn that is there (`tiles.reader.tells_unlabelled`), else what was not drawn would be taken off.
        progress: Told the share done; may raise to stop.

    Returns:
        The scores (None when no held-out tile lies on any map) and the number of held-out tiles that lie on none.
    """
    values, side = values_of(classes), tile_set.record.tile_size
    table = translation([ClassDef(value=c.value, name=c.name, colour=c.colour) for c in tile_set.record.classes], classes, unknown=IGNORE)
    places: dict[str, _Tally] = {}
    elsewhere = 0
    with ExitStack() as stack:
        cell_size_m = tile_set.record.settings.get("cell_size_m")
        opened = [(pair, *(_opened(stack, path, cell_size_m) for path in (pair.before, pair.after))) for pair in maps]
        counted: dict[str, list[tuple[int, int, int, int]]] = {}
        tiles = held_out_tiles(tile_set)
        for index, tile in enumerate(tiles):
            progress(index / len(tiles))
            found = _find(tile, max(tile_set.record.tile_sides), opened)
            if found is None:
                elsewhere += 1
                continue
            (pair, before, after), column, row = found
            label = table[read_tile(tile_set, tile).label]
            label = _only_fresh(label, column, row, counted.setdefault(str(pair.after), []))
            inside = label[: after.height - row, : after.width - column]
            window = Window(column, row, inside.shape[1], inside.shape[0])
            tally = places.setdefault(tile.place, _Tally(len(values)))
            block = (column // side, row // side)
            tally.add(inside, before.read(1, window=window), after.read(1, window=window), values, pair.name, block)
    if not places:
        return None, elsewhere
    apart = not leaks(tile_set, lambda: progress(1.0))
    on = scored_on(f"the places held out in the tile set '{tile_set.name}'", apart=apart)
    return _report(on, places, classes, mapped_m2 if apart and tells_unlabelled(tile_set) else ()), elsewhere


def held_out_tiles(tile_set: TileSet) -> list[TileRecord]:
    """The validation tiles that scores are counted on: of those that are there in several turns, the one as it lies."""
    return [tile for tile in tile_set.validation if not tile.angle]


def on_truth_rasters(
    truths: Mapping[MapPair, tuple[Path, Sequence[ClassDef]]],
    classes: Sequence[ClassDef],
    *,
    progress: Callable[[], None] = lambda: None,
) -> ScoreReport:
    """Score both maps against exact truth rasters, whole, block by block; each raster is one place.

    Args:
        truths: For each pair of maps its truth raster, and what that one's values mean.
        classes: Classes of the maps.
        progress: Called at every block; may raise to stop.
    """
    values = values_of(classes)
    places: dict[str, _Tally] = {}
    for pair, (path, meaning) in truths.items():
        table = translation(meaning, classes, unknown=IGNORE)
        with rasterio.open(pair.before) as before, rasterio.open(pair.after) as after:
            grid = Grid(after.width, after.height, after.transform, after.crs)
            tally = places.setdefault(pair.name, _Tally(len(values)))
            with open_truth(path, grid) as truth:
                for row in range(0, grid.height, BLOCK_PX):
                    for column in range(0, grid.width, BLOCK_PX):
                        progress()
                        window = Window(column, row, min(BLOCK_PX, grid.width - column), min(BLOCK_PX, grid.height - row))
                        maps = before.read(1, window=window), after.read(1, window=window)
                        tally.add(table[truth.read(window)], *maps, values, pair.name, (column, row))
    return _report("the exact truth of the whole picture (places trained on included)", places, classes)


def locate(tile: TileRecord, tile_size: int, grid: Grid) -> tuple[int, int] | None:
    """(column, row) of a tile's upper left pixel on `grid`; None when it does not lie there on the same pixels."""
    if not tile.crs or CRS.from_user_input(tile.crs) != grid.crs:
        return None
    to_pixels = ~grid.transform @ tile.affine  # tile pixels -> grid pixels: the same size, moved by whole pixels
    same_size = abs(to_pixels.a - 1) + abs(to_pixels.e - 1) + abs(to_pixels.b) + abs(to_pixels.d) < SAME_PIXEL / tile_size
    column, row = round(to_pixels.c), round(to_pixels.f)
    on_pixels = abs(to_pixels.c - column) < SAME_PIXEL and abs(to_pixels.f - row) < SAME_PIXEL
    inside = 0 <= column < grid.width and 0 <= row < grid.height
    return (column, row) if same_size and on_pixels and inside else None


def _opened(stack: ExitStack, path: Path, cell_size_m: float | None) -> DatasetReader:
    """A map; as the pixels of tiles that were cut at another ground resolution see it, where they were."""
    dataset = stack.enter_context(rasterio.open(path))
    if cell_size_m is None:
        return dataset
    own = Grid(dataset.width, dataset.height, dataset.transform, dataset.crs)
    grid = scaled_grid(own, cell_size_m / own.resolution_m)
    where = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    return stack.enter_context(WarpedVRT(dataset, resampling=Resampling.nearest, **where))


_Opened = tuple[MapPair, DatasetReader, DatasetReader]


def _find(tile: TileRecord, tile_size: int, opened: Sequence[_Opened]) -> tuple[_Opened, int, int] | None:
    """The map a tile lies on; where several do, the one it was cut from by name."""
    for one in sorted(opened, key=lambda one: one[0].name != tile.raster):
        after = one[2]
        if place := locate(tile, tile_size, Grid(after.width, after.height, after.transform, after.crs)):
            return one, *place
    return None


def _only_fresh(label: NDArray[np.uint8], column: int, row: int, counted: list[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
    """Ignore what earlier tiles of the same raster have counted already, and remember this tile."""
    rows, columns = label.shape
    fresh = label.copy()
    for left, top, right, bottom in counted:
        if left < column + columns and right > column and top < row + rows and bottom > row:
            fresh[max(top - row, 0) : max(bottom - row, 0), max(left - column, 0) : max(right - column, 0)] = IGNORE
    counted.append((column, row, column + columns, row + rows))
    return fresh


def _report(on: str, places: Mapping[str, _Tally], classes: Sequence[ClassDef], mapped_m2: Sequence[float] = ()) -> ScoreReport:
    before, after = np.sum([tally.total for tally in places.values()], axis=0)
    blocks = np.stack([counts for tally in places.values() for counts in tally.blocks.values()])
    areas = true_areas(blocks[:, 1], mapped_m2)[1:] if mapped_m2 else []
    return ScoreReport(
        on=on,
        before=scores_from(before, classes),
        after=scores_from(after, classes),
        places=tuple(_place(place, tally, classes) for place, tally in sorted(places.items())),
        certainty=tuple(_certainty(c, index, blocks) for index, c in enumerate(classes, start=1)),
        areas=tuple(ClassArea(value=c.value, area=area) for c, area in zip(classes, areas, strict=False)),
    )


def _place(place: str, tally: _Tally, classes: Sequence[ClassDef]) -> PlaceReport:
    before, after = tally.total
    return PlaceReport(
        place=place,
        raster=tally.rasters.most_common(1)[0][0],
        before=scores_from(before, classes),
        after=scores_from(after, classes),
    )


def _certainty(one: ClassDef, index: int, blocks: Counts) -> ClassCertainty:
    """How sure the IoU of a class is; `blocks` is (blocks, 2, size, size), `index` the place of the class in them."""
    before, after = class_counts(blocks[:, 0], index), class_counts(blocks[:, 1], index)
    found = intervals(before, after)
    return ClassCertainty(
        value=one.value,
        blocks=int((after[:, 0] > 0).sum()),
        before=found and found.before,
        after=found and found.after,
        gain=found and found.gain,
    )
