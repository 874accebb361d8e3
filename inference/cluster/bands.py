"""Into which bands a map is cut, so that several workers make it soon. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from inference.scan import Band, Scan, row_ends, window_rows

MOST_ROWS = 24
"""Rows of windows in a band at most: what is lost with a worker, and what a cluster that grows can share out."""


def cut(scan: Scan, bands: Sequence[Band], workers: int) -> list[Band]:
    """Cut bands further, for as many workers as there are.

    A row of windows reaches into the rows above and below it, so each cut costs one more row of windows: as many cuts are made as bring
    the end nearest.

    Args:
        scan: The map.
        bands: What is to be made of it.
        workers: How many bands are made at one time.
    """
    begun = [0, *row_ends(scan)[:-1]]
    inside = [[row for row in window_rows(scan, band) if band.top <= begun[row] < band.bottom] for band in bands]
    longest = _rows_each([len(rows) for rows in inside], workers)
    found = []
    for band, rows in zip(bands, inside, strict=True):
        parts = math.ceil(len(rows) / longest)
        tops = [band.top, *(begun[rows[part * len(rows) // parts]] for part in range(1, parts)), band.bottom]
        found += [Band(band.strip, top, bottom) for top, bottom in pairwise(tops) if top < bottom]
    return found


def _rows_each(rows: Sequence[int], workers: int) -> int:
    """Rows of windows in the longest part, with which the last worker is ready soonest."""
    whole = max(rows, default=1)

    def until_ready(longest: int) -> int:
        rounds = math.ceil(sum(math.ceil(count / longest) for count in rows) / workers)
        return rounds * (longest + (longest < whole))

    return min(range(min(whole, MOST_ROWS), 0, -1), key=until_ready)
