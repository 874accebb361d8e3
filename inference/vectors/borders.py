"""A raster of classes as areas and the borders between them, found in one pass over strips of rows. Pure.

An area is what hangs together by the sides of its pixels and has one class value; 0 is what is not wanted, and lies around the raster, too.
A border is a straight piece of the line between two areas: it ends where that line turns, or where a third area begins. Areas of wanted classes
that touch, be it at a corner, form a group: whatever smooths or joins areas needs no more than their group. A group is handed out once no row to come can
belong to it, so memory depends on the groups that are still open, and nothing depends on where the strips lie.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from tiles.roads.chains import joined

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Areas:
    """One row an area; other tables name areas by their row."""

    value: NDArray[np.uint8]
    """Class value; 0 is not wanted."""
    first: Ids
    """Its first pixel in reading order: row * width + column, of the raster with one more pixel on every side."""
    pixels: Ids
    area_m2: NDArray[np.float64]
    confidence: NDArray[np.float64]
    """Sum over its pixels."""
    border: Ids
    """Length of its borders found so far, pixels."""

    def __getitem__(self, rows: Any) -> Areas:
        return Areas(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Borders:
    """One row a straight piece of border; x and y in pixels from the outer corner of the top left one."""

    start: NDArray[np.int32]
    """(n, 2) x, y."""
    end: NDArray[np.int32]
    sides: Ids
    """(n, 2) the areas on either side; at least one is of a wanted class."""

    def __getitem__(self, rows: Any) -> Borders:
        return Borders(self.start[rows], self.end[rows], self.sides[rows])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def length(self) -> Ids:
        """Pixels."""
        return np.abs(self.end - self.start).sum(axis=1).astype(np.int64)


@dataclass(frozen=True)
class Finished:
    """Whole groups: their areas, what they enclose or lie in as far as it is known, and all their borders."""

    areas: Areas
    borders: Borders
    groups: Ids
    """(areas,) the group of each; -1 where it is not wanted."""
    whole: NDArray[np.bool_]
    """(areas,) False where more of an area may come: what lies around a group."""


Table = TypeVar("Table", Areas, Borders)


class BorderTracer:
    """Give it the rows of a raster from top to bottom, strip by strip.

    Args:
        width: Columns of the raster.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._row = 0
        # above the raster lies a row of nothing, on either side a column
        self._above = np.zeros(width + 2, np.uint8)
        self._above_areas = np.zeros(width + 2, np.int64)
        self._begun = np.zeros(width + 1, np.int32)
        """Row in which the vertical border at each x began, where one goes on downwards."""
        self._areas = _measured(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int64), 1, np.zeros(1), None, -1)
        self._groups = np.full(1, -1, np.int64)
        """Of each area; -1 where it is not wanted."""
        self._borders = Borders(np.zeros((0, 2), np.int32), np.zeros((0, 2), np.int32), np.zeros((0, 2), np.int64))

    @property
    def pending(self) -> int:
        """Pieces of border that are kept because their group is still open."""
        return len(self._borders)

    def add(self, values: NDArray[np.uint8], row_m2: NDArray[np.float64], confidence: NDArray[np.float32] | None = None) -> Finished:
        """Take further rows.

        Args:
            values: (rows, width) class values; 0 where nothing is wanted.
            row_m2: (rows,) ground area of a pixel.
            confidence: (rows, width) any number a pixel, to be summed up; None: 0.

        Returns:
            The groups that ended within these rows.
        """
        sides = ((0, 0), (1, 1))
        return self._take(np.pad(values, sides), row_m2, None if confidence is None else np.pad(confidence, sides))

    def close(self) -> Finished:
        """The groups that reach the lower side of the raster."""
        return self._take(np.zeros((1, self.width + 2), np.uint8), np.zeros(1), None)

    def _take(self, values: NDArray[np.uint8], row_m2: NDArray[np.float64], confidence: NDArray[np.float32] | None) -> Finished:
        labels = label(values.astype(np.int16), connectivity=1, background=-1).astype(np.int64) - 1
        known, found = len(self._areas), int(labels.max()) + 1
        same = self._above == values[0]
        name = joined(known + found, [(self._above_areas[same], known + labels[0, same])])
        new = _measured(values, labels, found, row_m2, confidence, self._row * (self.width + 2))
        areas = summed(_stacked(self._areas, new), name)
        seen, of = np.vstack([self._above, values]), np.vstack([name[self._above_areas], name[known + labels]])
        groups = self._grouped(seen, of, len(areas), name[:known])
        pieces = self._pieces(seen, of)
        areas = replace(
            areas, border=areas.border + np.bincount(pieces.sides.ravel(), np.repeat(pieces.length, 2), len(areas)).astype(np.int64)
        )
        borders = _stacked(replace(self._borders, sides=name[self._borders.sides]), pieces)
        self._row += len(values)
        self._above = values[-1]
        return self._handed_out(areas, groups, borders, of[-1])

    def _grouped(self, seen: NDArray[np.uint8], of: Ids, count: int, name: Ids) -> Ids:
        """The group of each area: those of wanted classes that touch, here or further up."""
        here, right, below = np.s_[:, :-1], np.s_[:, 1:], np.s_[1:, :]
        pairs = []
        for one, other in ((here, right), (np.s_[:-1, :], below), (np.s_[:-1, :-1], np.s_[1:, 1:]), (np.s_[:-1, 1:], np.s_[1:, :-1])):
            touch = (seen[one] > 0) & (seen[other] > 0) & (of[one] != of[other])
            pairs.append((of[one][touch], of[other][touch]))
        wanted = self._groups >= 0
        pairs.append((name[wanted], count + self._groups[wanted]))
        groups = joined(count + int(self._groups.max(initial=-1)) + 1, pairs)[:count]
        nothing = np.zeros(count, np.bool_)
        nothing[of[seen == 0]] = True
        nothing[name[~wanted]] = True
        return np.where(nothing, -1, groups)

    def _pieces(self, seen: NDArray[np.uint8], of: Ids) -> Borders:
        """Borders that end in these rows (without the last line, which the next rows tell about)."""
        upright = seen[:, 1:] != seen[:, :-1]  # (rows + 1, x)
        level = seen[1:] != seen[:-1]  # (line, columns)
        stopped = level[:, 1:] | level[:, :-1]  # at (line, x), for what runs upright
        begins, ends = upright[1:] & (~upright[:-1] | stopped), upright[:-1] & (~upright[1:] | stopped)
        crossed = upright[1:] | upright[:-1]  # at (line, x), for what runs level
        middle, none = level[:, 1:-1], np.zeros((len(level), 1), np.bool_)
        starts = middle & (~np.hstack([none, middle[:, :-1]]) | crossed[:, :-1])
        stops = middle & (~np.hstack([middle[:, 1:], none]) | crossed[:, 1:])
        line, left = np.nonzero(starts)
        right = np.nonzero(stops)[1] + 1
        lying = _borders(left, line + self._row, right, line + self._row, of[line, left + 1], of[line + 1, left + 1])
        x, bottom = np.nonzero(ends.T)
        top = self._tops(begins, x, bottom)
        standing = _borders(x, top, x, bottom + self._row, of[bottom, x], of[bottom, x + 1])
        return _stacked(lying, standing)

    def _tops(self, begins: NDArray[np.bool_], x: Ids, bottom: Ids) -> Ids:
        """Where the upright borders begin that end at (x, line `bottom`), ordered by x and line; notes those that go on."""
        column, line = np.nonzero(begins.T)
        tops = np.empty(len(x), np.int64)
        # along one x beginnings and ends take turns: the first end belongs to what came from above, unless it began here
        before = np.searchsorted(column * (len(begins) + 1) + line, x * (len(begins) + 1) + bottom) - 1
        here = (before >= 0) & (column[before] == x) if len(column) else np.zeros(len(x), np.bool_)
        tops[here] = line[before[here]] + self._row
        tops[~here] = self._begun[x[~here]]
        self._begun[column] = line + self._row  # the last of each x stays
        return tops

    def _handed_out(self, areas: Areas, groups: Ids, borders: Borders, lowest: Ids) -> Finished:
        """Part what is finished from what is kept."""
        open_areas = np.zeros(len(areas), np.bool_)
        open_areas[lowest] = True
        open_groups = np.zeros(len(areas) + 1, np.bool_)  # the last one for -1
        open_groups[groups[open_areas]] = True
        done = ~open_groups[groups[borders.sides].max(axis=1)]
        out, kept = borders[done], borders[~done]
        given, out_sides = np.unique(out.sides, return_inverse=True)
        finished = Finished(areas[given], replace(out, sides=out_sides.reshape(-1, 2)), groups[given], ~open_areas[given])
        left = open_areas.copy()
        left[kept.sides] = True
        number = np.cumsum(left) - 1
        self._areas, self._borders = areas[left], replace(kept, sides=number[kept.sides])
        self._groups = np.unique(groups[left], return_inverse=True)[1] - int((groups[left] < 0).any())
        self._above_areas = number[lowest]
        return finished


def _measured(
    values: NDArray[np.uint8], labels: Ids, count: int, row_m2: NDArray[np.float64], confidence: NDArray[np.float32] | None, first: int
) -> Areas:
    """The areas of a strip whose first pixel has the number `first`."""
    flat = labels.ravel()
    firsts, value = np.empty(count, np.int64), np.empty(count, np.uint8)
    firsts[flat[::-1]] = np.arange(first + len(flat) - 1, first - 1, -1)  # the last that is written stays
    value[flat] = values.ravel()
    ground = _sums(flat, np.repeat(row_m2, labels.shape[1]), count)
    sums = np.zeros(count) if confidence is None else _sums(flat, confidence.ravel(), count)
    return Areas(value, firsts, np.bincount(flat, minlength=count), ground, sums, np.zeros(count, np.int64))


def _sums(groups: Ids, of: NDArray[Any], count: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(groups, of, count), np.float64)


def summed(areas: Areas, name: Ids) -> Areas:
    """Areas that got the same name as one."""
    count = int(name.max(initial=-1)) + 1
    value, first = np.empty(count, np.uint8), np.full(count, np.iinfo(np.int64).max)
    value[name] = areas.value
    np.minimum.at(first, name, areas.first)
    pixels, area_m2, confidence, border = (_sums(name, of, count) for of in (areas.pixels, areas.area_m2, areas.confidence, areas.border))
    return Areas(value, first, pixels.astype(np.int64), area_m2, confidence, border.astype(np.int64))


def _stacked(one: Table, other: Table) -> Table:
    return type(one)(*(np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(one)))


def _borders(x0: Ids, y0: Ids, x1: Ids, y1: Ids, one: Ids, other: Ids) -> Borders:
    return Borders(np.column_stack([x0, y0]).astype(np.int32), np.column_stack([x1, y1]).astype(np.int32), np.column_stack([one, other]))
