"""All windows of a raster through the network, and the blended rows onto disk, while somebody listens.

Three threads, each with one task at a time, pass windows on in order: one reads ahead, one classifies, one blends, decides and writes. So a slow
disk or server costs less, the result does not depend on how they are timed, and whoever waits can stop at any moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from imagery.grid import Grid
from imagery.read import Pixels, gdal_environment, read_window
from inference.area import Area
from inference.classify import Classifier
from inference.mosaic import Blend, Rule, StripMosaic, decide, percentages
from inference.pieces import Pieces
from inference.regrid import RowsOntoRaster, Strip, row_needed, rows_complete, strips_onto
from tiles.windows import Windows

BLOCK_PX = 512
BATCH_PIXELS = 512 * 512
"""Pixels that go through the network at once; more only costs memory and cache misses on a CPU."""
STRIP_BYTES = 40 * 2**20
"""Running sums of one strip."""
IN_FLIGHT = 2
"""Batches that are read, classified or blended at one time."""
SECONDS_BETWEEN_LOOKS = 0.3
LAYERS = ("classes", "confidence", "probabilities")
T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """One raster to classify: everything that the steps below share."""

    view: DatasetReader
    """The raster, or a view of it at the model's ground resolution; windows are read from it."""
    work: Grid
    """Its pixels."""
    grid: Grid
    """Those of the raster."""
    gaps: DatasetReader | None
    """The raster itself, where it was resampled and may have pixels without imagery."""
    area: Area | None
    bands: tuple[int, ...]
    imagery_bands: tuple[int, ...]
    classifier: Classifier
    rule: Rule
    columns: Windows
    rows: Windows
    """In working pixels."""
    layers: tuple[str, ...]
    """Which of `LAYERS` are written."""

    @property
    def batch(self) -> int:
        """Windows that go through the network at once."""
        return max(1, BATCH_PIXELS // (self.columns.size * self.rows.size))

    def touches(self, column: int, row: int) -> bool:
        """Is there anything to be predicted in the window at these working pixels?"""
        if self.area is None:
            return True
        across, down = self.grid.width / self.work.width, self.grid.height / self.work.height
        return self.area.touches(column * across, row * down, (column + self.columns.size) * across, (row + self.rows.size) * down)


@dataclass(frozen=True)
class _Window:
    """A window to be looked at; `closes` the lattice row, after which its rows down to that one are finished."""

    column: int
    row: int
    index: tuple[int, int]
    """Which window it is across and down."""
    closes: int | None
    skip: bool


Look = tuple[list[tuple[_Window, Pixels]], NDArray[np.float32] | None]
"""Windows of a batch, and what the network says of those with imagery."""


def strips_of(scan: Scan) -> list[Strip]:
    """The strips in which a raster is worked through: as wide as the running sums may be, in whole blocks, at least two windows."""
    size = scan.grid.width / scan.work.width
    column_bytes = (len(scan.rule.values) * 4 + 1) * scan.rows.size
    fitting = int(STRIP_BYTES // column_bytes * size) // BLOCK_PX * BLOCK_PX
    width = max(fitting, -(-int(2 * scan.columns.size * size) // BLOCK_PX) * BLOCK_PX)
    return strips_onto(scan.columns, scan.work.shape, scan.grid.shape, width)


@dataclass(frozen=True)
class Band:
    """Rows of a strip that are worked through in one go. Any two bands that share no rows can be made anywhere, at any time."""

    strip: Strip
    top: int
    bottom: int
    """First row of the raster that is made, and the first after; both are among `row_ends`, or 0."""

    @property
    def pixels(self) -> int:
        """That are made."""
        return (self.strip.right - self.strip.left) * (self.bottom - self.top)


def row_ends(scan: Scan) -> list[int]:
    """For each row of windows: the raster's rows above this one are complete after it."""
    return [rows_complete(scan.work.shape, scan.grid.shape, start) for start in (*scan.rows.starts[1:], scan.work.height)]


def bands_left(scan: Scan, pieces: Pieces) -> list[Band]:
    """What is not finished yet, strip by strip from top to bottom."""
    return [Band(strip, *rows) for strip in strips_of(scan) for rows in pieces.missing(strip.left)]


def window_rows(scan: Scan, band: Band) -> list[int]:
    """Which rows of windows have a say in a band: all that touch it, so that it comes out the same wherever the bands end."""
    needed = row_needed(scan.work.shape, scan.grid.shape, band.top)
    begun = [0, *row_ends(scan)[:-1]]
    return [i for i, start in enumerate(scan.rows.starts) if start + scan.rows.size > needed and begun[i] < band.bottom]


def windows_in(scan: Scan, bands: Sequence[Band]) -> int:
    """How many windows have to be looked at."""
    return sum(len(band.strip.lattice.columns) * len(window_rows(scan, band)) for band in bands)


def run_scan(scan: Scan, pieces: Pieces, tell: Callable[[float], None], bands: Sequence[Band] | None = None) -> None:
    """Some bands into `pieces` (None: everything that is not there yet); `tell` hears the share done several times a second and may raise to stop."""
    bands = bands_left(scan, pieces) if bands is None else bands
    total = sum(len(strip.lattice.columns) for strip in strips_of(scan)) * len(scan.rows.starts)
    done = total - windows_in(scan, bands)

    def listen() -> None:
        tell(max(0.0, done / total))  # rows of windows that two bands share count for both

    for band in bands:
        with closing(_through_threads(scan, _BandScan(scan, band, pieces), listen)) as handed_on:
            for count in handed_on:
                done += count
                listen()


def _through_threads(scan: Scan, job: _BandScan, listen: Callable[[], None]) -> Generator[int]:
    """Work through one band; yields how many windows were handed on."""
    with ExitStack() as stack:
        classifying = ThreadPoolExecutor(1, thread_name_prefix="classify")
        stack.callback(classifying.shutdown, wait=False, cancel_futures=True)  # nobody needs to wait for a slow network
        reading, writing = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("read-ahead", "write"))
        for pool in (reading, writing):
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        looks: deque[Future[Look]] = deque()
        written: deque[tuple[int, Future[None]]] = deque()
        latest: Future[None] | None = None
        batches = iter(job.batches())
        more = True
        while more or looks or written:
            while more and len(looks) < IN_FLIGHT:
                batch = next(batches, None)
                more = batch is not None
                if batch is not None:
                    read = [reading.submit(_read, scan, window) for window in batch]
                    looks.append(classifying.submit(_look, scan, batch, read))
            if looks:
                look = _wait(looks.popleft(), listen)
                latest = writing.submit(_blend_after, latest, job, look)
                written.append((len(look[0]), latest))
            while written and (len(written) > IN_FLIGHT or not looks):
                count, future = written.popleft()
                _wait(future, listen)
                yield count


def _blend_after(before: Future[None] | None, job: _BandScan, look: Look) -> None:
    """Blend a batch, unless the one before it failed: no row is finished after one that is not."""
    if before is not None:
        before.result()
    job.blend(look)


def _wait(future: Future[T], listen: Callable[[], None]) -> T:
    while not future.done():
        wait([future], timeout=SECONDS_BETWEEN_LOOKS)
        listen()
    return future.result()


def _read(scan: Scan, window: _Window) -> Pixels:
    width, height = scan.columns.size, scan.rows.size
    if window.skip:
        return Pixels(np.zeros((len(scan.bands), 0, 0), np.uint8), np.zeros((height, width), np.bool_))
    with gdal_environment():
        return read_window(scan.view, window.column, window.row, width, height, scan.bands, scan.imagery_bands)


def _look(scan: Scan, windows: Sequence[_Window], read: Sequence[Future[Pixels]]) -> Look:
    pixels = [future.result() for future in read]
    seen = [each for each in pixels if each.valid.any()]
    answers = scan.classifier.probabilities([each.values for each in seen], [each.valid for each in seen]) if seen else None
    return list(zip(windows, pixels, strict=True)), answers


class _BandScan:
    """One band, from top to bottom."""

    def __init__(self, scan: Scan, band: Band, pieces: Pieces) -> None:
        self.scan, self.strip, self.pieces = scan, band.strip, pieces
        self.top = band.top
        self.rows = window_rows(scan, band)
        self.across, self.down = scan.columns.shares(), scan.rows.shares()
        self.mosaic = StripMosaic(
            outputs=len(scan.rule.values),
            left=band.strip.lattice.left,
            width=band.strip.lattice.right - band.strip.lattice.left,
            height=scan.rows.size,
            top=scan.rows.starts[self.rows[0]],
            first=row_needed(scan.work.shape, scan.grid.shape, self.top),
        )
        self.onto = RowsOntoRaster(scan.work.shape, scan.grid.shape, band.strip, self.top)

    def _windows(self) -> Iterator[_Window]:
        starts = [*self.scan.rows.starts, self.scan.work.height]
        columns = self.strip.lattice.columns
        for index in self.rows:
            for column in columns:
                closes = starts[index + 1] if column == columns[-1] else None
                place = self.scan.columns.starts.index(column), index
                yield _Window(column, starts[index], place, closes, not self.scan.touches(column, starts[index]))

    def batches(self) -> Iterator[list[_Window]]:
        """Windows that are classified together: never of two lattice rows, so that a resumed run forms the same."""
        batch: list[_Window] = []
        for window in self._windows():
            batch.append(window)
            if len(batch) == self.scan.batch or window.closes is not None:
                yield batch
                batch = []

    def blend(self, look: Look) -> None:
        """Add a batch to the running sums, and keep the rows that are finished."""
        windows, answers = look
        following = iter(() if answers is None else answers)
        for window, pixels in windows:
            if pixels.valid.any():
                across, down = window.index
                share = self.down[down][:, None] * self.across[across]
                self.mosaic.add(window.column, window.row, next(following), share, pixels.valid)
            if window.closes is not None:
                self._hand_on(window.closes)

    def _hand_on(self, until: int) -> None:
        decided: list[list[NDArray[np.uint8]]] = []
        below = self.top
        for finished in self.mosaic.take(until):
            for blend in self.onto.add(finished):
                decided.append(self._decided(blend, below))
                below += len(blend.seen)
        if decided:
            self.pieces.write(self.strip.left, self.top, [np.concatenate(parts, axis=1) for parts in zip(*decided, strict=True)])
            self.top = below

    def _decided(self, blend: Blend, top: int) -> list[NDArray[np.uint8]]:
        """(bands, rows, columns) of each layer, for rows that start at the raster's row `top`."""
        scan, left = self.scan, self.strip.left
        rows, columns = blend.seen.shape
        seen = blend.seen
        if scan.gaps is not None:
            with gdal_environment():
                seen = seen & read_window(scan.gaps, left, top, columns, rows, scan.bands, scan.imagery_bands).valid
        if scan.area is not None:
            seen = seen & scan.area.inside(left, top, columns, rows)
        blend = Blend(blend.probabilities, seen)
        classes, confidence = decide(blend, scan.rule)
        made = {"classes": classes[None], "confidence": confidence[None]}
        if "probabilities" in scan.layers:
            made["probabilities"] = percentages(blend)
        return [made[layer] for layer in scan.layers]
