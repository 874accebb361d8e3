"""Two class maps of different dates: from which class to which the ground changed, as a table with areas and as a raster with a legend."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rasterio.windows import Window

from errors import NoOverlapError
from imagery.grid import Grid
from imagery.raster import describe
from imagery.read import open_raster
from imagery.write import open_tiled_gtiff, to_cog
from inference.compare import BLOCK_PX, NODATA, count_changes
from inference.legend import BACKGROUND_NAME, class_colours, read_class_names, write_legend
from inference.truth import IGNORE, Truth, open_truth
from workspace.classes import BACKGROUND_VALUE, PALETTE, rgb_of
from workspace.files import replaced_on_success, write_text

SAME_NAME = "No change"
REST_NAME = "Other changes"
MOST_KINDS = 253
"""Kinds of change with a value of their own, the largest first; further ones share one."""
EARLIER_SHARE = 0.3
"""Of the earlier class's colour in that of a change."""
Colour = tuple[int, int, int]
Progress = Callable[[float], None]


class ChangeRow(BaseModel):
    """Ground that was one class and is another, or the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int
    """In the change raster; 0 where nothing changed."""
    before: str
    after: str
    pixels: int
    area_m2: float


def class_change(
    first: Path, second: Path, out: Path, out_table: Path | None = None, *, progress: Progress = lambda share: None
) -> list[ChangeRow]:
    """Write a raster of changes on the grid of the first map, with a legend and an attribute table beside it.

    Classes are the same where they have the same name; without names where they have the same value. The second map may lie on any grid: each
    pixel of the first looks at the nearest one of it. Where either map says nothing, nothing is said.

    Args:
        first: The earlier class map (0 background, 255 or nodata: nothing known).
        second: The later one.
        out: COG to write: 0 no change, then one value for each kind of change, the largest first; 255 nothing known.
        out_table: CSV to write: value, before, after, pixels, area_m2; no change included.
        progress: Told the share done, 0..1; may raise to stop.

    Returns:
        The table: kinds of change, the largest first, then what stayed the same.

    Raises:
        NoOverlapError: the maps do not share any ground.
        UnknownClassError: one of them is no class map.
        ImageryError: one of them cannot be read, or does not say where it lies.
        DiskFullError: there is no room; nothing was changed.
    """
    names, mapping = joint_names(read_class_names(first), read_class_names(second))
    with open_raster(first) as dataset:
        grid = describe(dataset, first.name, None).grid
        colours = _colours(first, second, mapping, names)
    with open_truth(first, grid) as before, open_truth(second, grid, mapping=mapping) as after:
        counted = count_changes(before, after, grid, range(IGNORE), lambda share: progress(share / 2))
        pixels, area = counted.pixels, counted.area_m2
        if not pixels.sum():
            raise NoOverlapError(f"{first.name} and {second.name} do not show the same ground.", "Choose two maps of one place.")
        kinds = _kinds(area)
        with replaced_on_success(out) as temporary:
            plain = temporary.with_name(temporary.stem + ".plain.tif")
            with open_tiled_gtiff(plain, grid, 1, "uint8", NODATA) as target:
                for share, window, old, new in _blocks(before, after, grid):
                    progress(0.5 + share / 2)
                    target.write(np.where((old == IGNORE) | (new == IGNORE), NODATA, kinds[old, new]).astype(np.uint8), 1, window=window)
            legend = _legend(kinds, area, names, colours)
            to_cog(plain, temporary, overview_resampling="mode", colours={value: colour for value, (_, colour) in legend.items()})
    write_legend(out, {value: name for value, (name, _) in legend.items()}, {value: colour for value, (_, colour) in legend.items()})
    rows = _rows(kinds, pixels, area, names)
    if out_table is not None:
        write_text(out_table, as_csv(rows))
    return rows


def as_csv(rows: list[ChangeRow]) -> str:
    """The table as text, one row a line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ChangeRow.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return text.getvalue()


def joint_names(first: Mapping[int, str], second: Mapping[int, str]) -> tuple[dict[int, str], dict[str, int]]:
    """Which classes of two maps are the same: those of the same name, whatever its case; without names those of the same value.

    Returns:
        Names of all values, and what values of the second map become so that they are those of the first; what the first lacks gets one that is free.
    """
    names = {BACKGROUND_VALUE: BACKGROUND_NAME} | dict(first)
    values = {name.casefold(): value for value, name in names.items() if name}
    mapping = {}
    for value, name in sorted(second.items()):
        if value == BACKGROUND_VALUE or not name:
            continue
        known = values.get(name.casefold())
        if known is None:
            known = value if value not in names else next(v for v in range(254, 0, -1) if v not in names and v not in second)
            names[known] = name
        if known != value:
            mapping[str(value)] = known
    return names, mapping


def _blocks(before: Truth, after: Truth, grid: Grid) -> Iterator[tuple[float, Window, NDArray[np.uint8], NDArray[np.uint8]]]:
    """(share done, window, earlier values, later values) block by block."""
    for row in range(0, grid.height, BLOCK_PX):
        for column in range(0, grid.width, BLOCK_PX):
            window = Window(column, row, min(BLOCK_PX, grid.width - column), min(BLOCK_PX, grid.height - row))
            yield row / grid.height, window, before.read(window), after.read(window)


def _kinds(area: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(256, 256) the value of each change: 0 for none, from 1 on the largest first."""
    changed = np.where(np.eye(IGNORE, dtype=bool), 0, area)
    order = np.argsort(-changed, axis=None, kind="stable")[: np.count_nonzero(changed)]
    kinds = np.zeros((IGNORE + 1, IGNORE + 1), np.uint8)
    kinds[np.unravel_index(order, changed.shape)] = np.minimum(np.arange(1, len(order) + 1), MOST_KINDS + 1)
    return kinds


def _legend(
    kinds: NDArray[np.uint8], area: NDArray[np.float64], names: Mapping[int, str], colours: Mapping[int, Colour]
) -> dict[int, tuple[str, Colour]]:
    found: dict[int, tuple[str, Colour]] = {0: (SAME_NAME, (0, 0, 0))}
    for old, new in np.argwhere(kinds[:IGNORE, :IGNORE]).tolist():
        value = int(kinds[old, new])
        mixed = [round(EARLIER_SHARE * a + (1 - EARLIER_SHARE) * b) for a, b in zip(colours[old], colours[new], strict=True)]
        found[value] = (f"{_name(names, old)} to {_name(names, new)}", (mixed[0], mixed[1], mixed[2]))
    if MOST_KINDS + 1 in found:
        found[MOST_KINDS + 1] = (REST_NAME, (128, 128, 128))
    return dict(sorted(found.items()))


def _rows(kinds: NDArray[np.uint8], pixels: NDArray[np.int64], area: NDArray[np.float64], names: Mapping[int, str]) -> list[ChangeRow]:
    there = sorted(np.argwhere(pixels).tolist(), key=lambda pair: (pair[0] == pair[1], -area[pair[0], pair[1]]))
    return [
        ChangeRow(
            value=int(kinds[old, new]),
            before=_name(names, old),
            after=_name(names, new),
            pixels=int(pixels[old, new]),
            area_m2=round(float(area[old, new]), 2),
        )
        for old, new in there
    ]


def _name(names: Mapping[int, str], value: int) -> str:
    return names.get(value) or f"Class {value}"


def _colours(first: Path, second: Path, mapping: Mapping[str, int], names: Mapping[int, str]) -> dict[int, Colour]:
    """A colour for every value: those of the maps' colour tables, else some of the palette."""
    found = {value: rgb_of(PALETTE[value % len(PALETTE)]) for value in range(1, IGNORE)} | class_colours([])
    for path, as_first in ((second, mapping), (first, {})):
        with rasterio.open(path) as dataset:
            table = dataset.colormap(1) if dataset.colorinterp[0].name == "palette" else {}
        found |= {as_first.get(str(value), value): (r, g, b) for value, (r, g, b, _) in table.items() if value and value in _known(path)}
    return found


def _known(path: Path) -> set[int]:
    return set(read_class_names(path)) or set(range(IGNORE))
