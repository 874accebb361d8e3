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
from inference.regrid import RowsOntoRaster, Strip, row_needed, strips_onto
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


def run_scan(scan: Scan, pieces: Pieces, tell: Callable[[float], None]) -> None:
    """Everything that is not there yet, into `pieces`; `tell` hears the share done several times a second and may raise to stop."""
    strips = strips_of(scan)
    total = sum(len(strip.lattice.columns) for strip in strips) * len(scan.rows.starts)
    done = total - sum(len(_rows_left(scan, strip, pieces)) * len(strip.lattice.columns) for strip in strips)

    def listen() -> None:
        tell(done / total)

    for strip in strips:
        if not _rows_left(scan, strip, pieces):
            continue
        with closing(_through_threads(scan, _StripScan(scan, strip, pieces), listen)) as handed_on:
            for count in handed_on:
                done += count
                listen()


def _rows_left(scan: Scan, strip: Strip, pieces: Pieces) -> list[int]:
    """Which lattice rows of a strip still have to be worked through: those that have a say in what is not finished."""
    top = pieces.finished(strip.left)
    needed = row_needed(scan.work.shape, scan.grid.shape, top)
    return [i for i, start in enumerate(scan.rows.starts) if start + scan.rows.size > needed] if top < scan.grid.height else []


def _through_threads(scan: Scan, job: _StripScan, listen: Callable[[], None]) -> Generator[int]:
    """Work through one strip; yields how many windows were handed on."""
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


def _blend_after(before: Future[None] | None, job: _StripScan, look: Look) -> None:
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


class _StripScan:
    """One strip, top to bottom, from the first row that is not finished yet."""

    def __init__(self, scan: Scan, strip: Strip, pieces: Pieces) -> None:
        self.scan, self.strip, self.pieces = scan, strip, pieces
        self.top = pieces.finished(strip.left)
        self.rows = _rows_left(scan, strip, pieces)
        self.across, self.down = scan.columns.shares(), scan.rows.shares()
        self.mosaic = StripMosaic(
            outputs=len(scan.rule.values),
            left=strip.lattice.left,
            width=strip.lattice.right - strip.lattice.left,
            height=scan.rows.size,
            top=scan.rows.starts[self.rows[0]],
            first=row_needed(scan.work.shape, scan.grid.shape, self.top),
        )
        self.onto = RowsOntoRaster(scan.work.shape, scan.grid.shape, strip, self.top)

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
