"""An image worked through in squares: each is made when it is first needed and kept while windows further down may need it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Made = TypeVar("Made")
Part = tuple[slice, slice]
"""(rows, columns) of an array."""
SIDE = 512
"""Pixels of a square: that of a COG's blocks, so that each is decoded once."""


class Patchwork(Generic[Made]):
    """Squares by place.

    Args:
        make: From (column, row) of a square's upper left pixel; squares may reach over the edge of the image.
    """

    def __init__(self, make: Callable[[int, int], Made]) -> None:
        self._make = make
        self._made: dict[tuple[int, int], Made] = {}

    def parts(self, column: int, row: int, columns: int, rows: int) -> Iterator[tuple[Made, Part, Part]]:
        """The squares of which a window is made up: each with the part of it that lies in the window, and the part of the window that it is."""
        for down in range(row // SIDE, -(-(row + rows) // SIDE)):
            for right in range(column // SIDE, -(-(column + columns) // SIDE)):
                if (down, right) not in self._made:
                    self._made[down, right] = self._make(right * SIDE, down * SIDE)
                (own_rows, its_rows), (own_columns, its_columns) = _shared(down, row, rows), _shared(right, column, columns)
                yield self._made[down, right], (own_rows, own_columns), (its_rows, its_columns)

    def __iter__(self) -> Iterator[Made]:
        """The squares that are there, row by row."""
        return (self._made[place] for place in sorted(self._made))

    def leave(self, row: int) -> list[Made]:
        """Forget the squares that end above a row; returns them, row by row."""
        done = sorted(place for place in self._made if (place[0] + 1) * SIDE <= row)
        return [self._made.pop(place) for place in done]


def _shared(square: int, start: int, length: int) -> tuple[slice, slice]:
    """Along one side: what a square and a window share, as part of the square and as part of the window."""
    first, last = max(square * SIDE, start), min((square + 1) * SIDE, start + length)
    return slice(first - square * SIDE, last - square * SIDE), slice(first - start, last - start)
