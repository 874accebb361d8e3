"""Model bundle + raster -> class raster and confidence raster on the raster's own grid.

`python -m inference.predict --model DIR --image A.tif --out OUT.tif`

Windows overlap and are blended; a raster is worked through strip by strip and row by row (`inference.mosaic`), so that memory does not
grow with it. Where its ground resolution is far from the model's, the windows are cut from a resampled view of it (`imagery.resample`), and the
blended probabilities are resampled back (`inference.regrid`).
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, cast, get_args

import numpy as np
import typer
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from errors import InputMismatchError, TerratuneError, WorkspaceError
from imagery.grid import Grid
from imagery.raster import RasterInfo, describe
from imagery.read import Pixels, display_name, gdal_environment, open_raster, read_window
from imagery.resample import resampled, scaled_grid
from imagery.stretch import compute_stretch
from imagery.write import open_tiled_gtiff, to_cog
from inference.classify import Classifier, make_classifier
from inference.legend import class_colours, class_names, write_legend
from inference.mosaic import NODATA, Blend, BlockRows, StripMosaic, decide
from inference.regrid import RowsOntoRaster, Strip, strips_onto
from inference.settings import Device, PredictionSettings
from models.bundle import ModelBundle, load_bundle
from models.card import ModelCard, band_order, check_input, reading_factor
from models.catalogue import find_model
from models.values import Range
from tiles.windows import blend_weights, tile_windows
from workspace.classes import BACKGROUND_VALUE, ClassDef
from workspace.files import replaced_on_success

WINDOW_PX = 512
OVERLAP_PX = 96
BLOCK_PX = 512
BATCH_PIXELS = 512 * 512
"""Pixels that go through the network at once; more only costs memory and cache misses on a CPU."""
STRIP_BYTES = 64 * 2**20
"""Running sums of one strip."""
SHARE_OF_CLASSIFYING = 0.95
SECONDS_BETWEEN_LOOKS = 0.3
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class _Task:
    """One raster to classify: everything that the passes below share."""

    view: DatasetReader
    """The raster, or a view of it at the model's ground resolution; windows are read from it."""
    work: Grid
    """Its pixels."""
    grid: Grid
    """Those of the raster."""
    gaps: DatasetReader | None
    """The raster itself, where it was resampled and may have pixels without imagery."""
    bands: tuple[int, ...]
    imagery_bands: tuple[int, ...]
    classifier: Classifier
    values: NDArray[np.uint8]
    window_px: int
    weights: NDArray[np.float32]
    batch: int


def predict_raster(
    bundle: ModelBundle,
    source: str,
    out_classes: Path,
    out_confidence: Path | None = None,
    *,
    bands: Sequence[int] | None = None,
    band_names: Sequence[str] = (),
    window_px: int = WINDOW_PX,
    overlap_px: int = OVERLAP_PX,
    device: Device = "auto",
    classes: Sequence[ClassDef] | None = None,
    find_more: Mapping[int, float] | None = None,
    test_time_augmentation: bool = False,
    progress: Progress | None = None,
) -> None:
    """Classify a raster and write cloud-optimised GeoTIFFs on its own grid, with legends beside them.

    A raster whose ground resolution is far from the model's is shown to it resampled (`models.card.reading_factor`).

    Args:
        bundle: The model.
        source: Path or http(s) address of the raster.
        out_classes: Class values, uint8; 255 where there is no imagery. Appears only when complete.
        out_confidence: Blended probability of the class given out, uint8 percent; 255 where there is no imagery.
        bands: 1-based raster bands for the model's bands, in the model's order; None: found by name.
        band_names: What a person says the raster's bands are; none: as the file says.
        window_px: Side of the square windows.
        overlap_px: Pixels that neighbouring windows share.
        device: Where to run.
        classes: Values, names and colours to write for the model's outputs 1, 2, ...; None: the card's own.
        find_more: Factor on the odds of a class, by its value in the result: above 1 finds more of it and is wrong more often, below 1 the reverse.
        test_time_augmentation: Look at every window in eight positions, turned and mirrored; the mean counts. Eight times the time.
        progress: Told what is being done and the share done, 0..1, at least every second or so; may raise to stop.

    Raises:
        InputMismatchError: the raster lacks bands of the model, has another type of values, or is much too coarse or fine.
        ImageryError: the raster cannot be read.
        DiskFullError: there is no room; nothing was changed.
    """
    tell = progress or (lambda stage, share: None)
    card = bundle.card
    classes = tuple(card.classes if classes is None else classes)
    tell("Reading the picture", 0.0)
    with ExitStack() as stack:
        dataset = stack.enter_context(open_raster(source))
        info = describe(dataset, display_name(source), None).named(band_names)
        chosen = model_bands(card, info, bands)
        factor = reading_factor(card.input, info.resolution_m)
        work = info.grid if factor == 1 else scaled_grid(info.grid, factor)
        view = dataset if factor == 1 else stack.enter_context(resampled(dataset, work))
        gaps = stack.enter_context(open_raster(source)) if factor != 1 and info.may_have_gaps else None  # read by another thread than the view
        values = np.array([BACKGROUND_VALUE, *(c.value for c in classes)], np.uint8)
        if len(values) != len(card.classes) + 1:
            raise ValueError(f"{len(classes)} classes given for a model with {len(card.classes)}")
        odds = [(find_more or {}).get(int(value), 1.0) for value in values]
        classifier = make_classifier(
            bundle.network, card.input.mean, card.input.std, device, odds, test_time_augmentation=test_time_augmentation
        )
        batch = max(1, BATCH_PIXELS // window_px**2)
        task = _Task(view, work, info.grid, gaps, chosen, info.image_bands, classifier, values, window_px, blend_weights(window_px), batch)
        results = [stack.enter_context(replaced_on_success(path)) for path in (out_classes, out_confidence) if path is not None]
        plain = [path.with_name(f"{path.stem}.plain.tif") for path in results]
        with ExitStack() as open_files:
            targets = [open_files.enter_context(open_tiled_gtiff(path, info.grid, 1, "uint8", NODATA)) for path in plain]
            _classify(task, targets, overlap_px, tell)
        colours = [class_colours(classes), None]
        for index, (unfinished, result) in enumerate(zip(plain, results, strict=True)):
            share = SHARE_OF_CLASSIFYING + (1 - SHARE_OF_CLASSIFYING) * index / len(plain)
            _finish(unfinished, result, colours[index], partial(tell, "Writing the map", share))
    write_legend(out_classes, class_names(classes), class_colours(classes))
    tell("Writing the map", 1.0)


def model_bands(card: ModelCard, info: RasterInfo, bands: Sequence[int] | None = None) -> tuple[int, ...]:
    """1-based raster bands in the model's order: `bands` where given, else found by name.

    Raises:
        InputMismatchError: a band is missing, there are too many or too few, or the values are of another type.
    """
    names = list(info.band_names if bands is None else card.input.band_names)
    if bands is not None and (len(bands) != len(names) or not all(1 <= band <= info.count for band in bands)):
        raise InputMismatchError(
            f"Bands {', '.join(map(str, bands))} were chosen; the model takes {len(names)} ({', '.join(names)}) and the raster has {info.count}.",
            "Choose one band of the raster for each band of the model, in that order.",
        )
    check_input(card, names, info.dtype, info.resolution_m)
    return tuple(index + 1 for index in band_order(card.input, names)) if bands is None else tuple(bands)


def ranges_of(dataset: DatasetReader, info: RasterInfo) -> list[Range | None]:
    """2 to 98 % of the values of each band (None for alpha), from a sample over the whole raster.

    Raises:
        UnreadableRasterError: a part that was looked at cannot be decoded.
    """
    found = compute_stretch(dataset, info.image_bands)
    by_band = dict(zip(info.image_bands, zip(found.low, found.high, strict=True), strict=True))
    return [by_band.get(band) for band in range(1, info.count + 1)]


def _classify(task: _Task, targets: Sequence[DatasetWriter], overlap_px: int, tell: Progress) -> None:
    """All windows of a raster into the open class (and confidence) files."""
    stride = max(1, task.window_px - overlap_px)
    windows = tile_windows(task.work.width, task.work.height, task.window_px, stride)
    parts = strips_onto(windows, task.work.shape, task.grid.shape, task.window_px, _strip_px(task))
    total, done = sum(part.lattice.windows for part in parts), 0

    def one_more() -> None:
        nonlocal done
        done += 1
        tell("Classifying", SHARE_OF_CLASSIFYING * done / total)

    for part in parts:
        _classify_strip(task, part, targets, one_more)


def _strip_px(task: _Task) -> int:
    """Columns of a strip of the raster: what the running sums may take, in whole blocks, at least two windows."""
    size = task.grid.width / task.work.width
    column_bytes = (len(task.values) * 4 + 5) * task.window_px
    fitting = int(STRIP_BYTES // column_bytes * size) // BLOCK_PX * BLOCK_PX
    return max(fitting, -(-int(2 * task.window_px * size) // BLOCK_PX) * BLOCK_PX)


def _classify_strip(task: _Task, part: Strip, targets: Sequence[DatasetWriter], one_more: Callable[[], None]) -> None:
    """Work through one strip, top to bottom; `one_more` is called after each window and may raise to stop."""
    columns, tops = part.lattice.columns, part.lattice.rows
    mosaic = StripMosaic(len(task.values), part.lattice.left, part.lattice.right - part.lattice.left, task.window_px)
    onto = RowsOntoRaster(task.work.shape, task.grid.shape, part)
    blocks = [BlockRows(BLOCK_PX) for _ in targets]
    order = [(column, row) for row in tops for column in columns]
    waiting: list[tuple[int, int, Pixels]] = []
    below = dict(zip(tops, [*tops[1:], task.work.height], strict=True))
    with _reading_ahead(task, order) as pixels_of_windows:
        for (column, row), pixels in zip(order, pixels_of_windows, strict=True):
            if pixels.valid.any():
                waiting.append((column, row, pixels))
            row_ends = column == columns[-1]
            if len(waiting) == task.batch or row_ends:
                _blend(task, mosaic, waiting)
                waiting = []
            if row_ends:
                for finished in mosaic.take(below[row]):
                    _hand_on(task, onto, finished, targets, blocks)
            one_more()


def _hand_on(task: _Task, onto: RowsOntoRaster, finished: Blend, targets: Sequence[DatasetWriter], blocks: Sequence[BlockRows]) -> None:
    """Finished working rows as rows of the raster, decided and written once whole blocks are full."""
    part, row = onto.strip, onto.top
    for blend in onto.add(finished):
        rows, columns = blend.seen.shape
        if task.gaps is not None:
            own = read_window(task.gaps, part.left, row, columns, rows, task.bands, task.imagery_bands)
            blend = Blend(blend.probabilities, blend.seen & own.valid)
        row += rows
        for target, gathered, decided in zip(targets, blocks, decide(blend, task.values), strict=False):
            _write(target, part.left, gathered.add(decided, last=row == task.grid.height))


def _blend(task: _Task, mosaic: StripMosaic, windows: Sequence[tuple[int, int, Pixels]]) -> None:
    """Classify these windows and add them to the running sums."""
    if not windows:
        return
    probabilities = task.classifier.probabilities([p.values for _, _, p in windows], [p.valid for _, _, p in windows])
    for (column, row, pixels), of_window in zip(windows, probabilities, strict=True):
        rows, columns = pixels.valid.shape
        mosaic.add(column, row, of_window, task.weights[:rows, :columns], pixels.valid)


class _reading_ahead:  # noqa: N801 - used as a function
    """Read windows in one other thread, a few ahead of the network, so that a slow disk or server costs less."""

    def __init__(self, task: _Task, order: Sequence[tuple[int, int]]) -> None:
        self.task, self.order = task, order
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def __enter__(self) -> Iterator[Pixels]:
        return self._pixels()

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _pixels(self) -> Iterator[Pixels]:
        ahead: deque[Future[Pixels]] = deque()
        for window in self.order:
            ahead.append(self.pool.submit(_read, self.task, *window))
            if len(ahead) > self.task.batch + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _read(task: _Task, column: int, row: int) -> Pixels:
    width, height = min(task.window_px, task.work.width - column), min(task.window_px, task.work.height - row)
    with gdal_environment():
        return read_window(task.view, column, row, width, height, task.bands, task.imagery_bands)


def _write(target: DatasetWriter, left: int, ready: tuple[int, NDArray[np.uint8]] | None) -> None:
    if ready is None:
        return
    row, rows = ready
    window = Window(left, row, rows.shape[1], rows.shape[0])
    try:
        target.write(rows, 1, window=window)
    except RasterioError as error:
        raise WorkspaceError(
            f"The map could not be written ({error}).", "Check that the project folder can be written to and that the disk has room."
        ) from error


def _finish(plain: Path, result: Path, colours: dict[int, tuple[int, int, int]] | None, tell: Callable[[], None]) -> None:
    """Make the COG in a thread and go on listening meanwhile, so that stopping does not wait for a large file."""
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            to_cog(plain, result, overview_resampling="mode" if colours else "nearest", colours=colours)
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    thread = threading.Thread(target=work, daemon=True, name="cog")
    thread.start()
    while thread.is_alive():
        tell()
        thread.join(SECONDS_BETWEEN_LOOKS)
    outcome.result()


def _factors(texts: Sequence[str], card: ModelCard) -> dict[int, float]:
    """Texts like '2=1.5' as {2: 1.5}."""
    known = {c.value: c.name for c in card.classes}
    factors = {}
    for text in texts:
        try:
            value, factor = text.split("=")
            factors[int(value)] = float(factor)
        except ValueError as error:
            raise typer.BadParameter("Give a class value and a factor, like 2=1.5.", param_hint="--find-more") from error
    if any(value not in known or not 0 < factor < math.inf for value, factor in factors.items()):
        listed = ", ".join(f"{value} ({name})" for value, name in known.items())
        raise typer.BadParameter(f"The model's classes are {listed}; factors are above 0.", param_hint="--find-more")
    return factors


def _shown_on_terminal() -> Progress:
    """One line on stderr for every further tenth."""
    shown = -1

    def tell(stage: str, share: float) -> None:
        nonlocal shown
        if int(share * 10) > shown:
            shown = int(share * 10)
            typer.echo(f"{stage}: {shown * 10} %", err=True)

    return tell


app = typer.Typer(add_completion=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="Folder of a model or of a training run, or the name of a bundled model.")],
    image: Annotated[str, typer.Option(help="Raster to classify: a file or an http(s) address.")],
    out: Annotated[Path, typer.Option(help="Class GeoTIFF to write.")],
    confidence: Annotated[Path | None, typer.Option(help="Confidence GeoTIFF to write (percent).")] = None,
    bands: Annotated[str | None, typer.Option(help="Raster bands for the model's bands, like 1,2,3; left out: found by name.")] = None,
    window_px: Annotated[int, typer.Option(help="Side of the windows, pixels.")] = WINDOW_PX,
    overlap_px: Annotated[int, typer.Option(help="Overlap of the windows, pixels.")] = OVERLAP_PX,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    find_more: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=FACTOR", help="Raise the odds of a class, like 2=1.5; below 1: be surer. Can be given several times."),
    ] = None,
    test_time_augmentation: Annotated[
        bool,
        typer.Option("--test-time-augmentation", help=PredictionSettings.model_fields["test_time_augmentation"].description),
    ] = False,
) -> None:
    """Classify a raster with a trained model; the result is a GeoTIFF on the raster's own grid."""
    if device not in get_args(Device):
        raise typer.BadParameter("Use auto, cpu or cuda.", param_hint="--device")
    if not 0 <= overlap_px < window_px:
        raise typer.BadParameter("The overlap is smaller than the window and not negative.", param_hint="--overlap-px")
    try:
        chosen = [int(part) for part in bands.split(",")] if bands else None
    except ValueError as error:
        raise typer.BadParameter("Give band numbers like 1,2,3.", param_hint="--bands") from error
    try:
        bundle = load_bundle(find_model(model))
        with open_raster(image) as dataset:
            info = describe(dataset, display_name(image), None)
            names, ranges = info.band_names, ranges_of(dataset, info)
            if chosen is not None:
                names = bundle.card.input.band_names
                ranges = [ranges[band - 1] for band in model_bands(bundle.card, info, chosen)]
            for note in check_input(bundle.card, names, info.dtype, info.resolution_m, ranges):
                typer.echo(f"Note: {note}", err=True)
        predict_raster(
            bundle,
            image,
            out,
            confidence,
            bands=chosen,
            window_px=window_px,
            overlap_px=overlap_px,
            device=cast(Device, device),
            find_more=_factors(find_more or [], bundle.card),
            test_time_augmentation=test_time_augmentation,
            progress=_shown_on_terminal(),
        )
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(str(out))


if __name__ == "__main__":
    app()
