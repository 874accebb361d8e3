"""Model bundle + raster -> class raster, and on request confidence and probabilities, on the raster's own grid.

`python -m inference.predict --model DIR --image A.tif --out OUT.tif`

Windows overlap and are blended; a raster is worked through strip by strip and row by row (`inference.scan`), so that memory does not
grow with it. Where its ground resolution is far from the model's, the windows are cut from a resampled view of it (`imagery.resample`), and the
blended probabilities are resampled back (`inference.regrid`). Finished rows are kept on disk (`inference.pieces`): what was stopped goes on.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import rasterio
import typer
from rasterio.io import DatasetReader

from errors import TerratuneError
from imagery.raster import RasterInfo, describe
from imagery.read import display_name, open_raster
from imagery.stretch import compute_stretch
from imagery.write import to_cog
from inference.classify import Arithmetic
from inference.cluster.open import open_cluster
from inference.legend import class_colours, class_names, write_legend
from inference.memory import give_memory_back
from inference.pieces import Pieces, unfinished
from inference.probe import choose
from inference.request import WINDOW_PX, MapRequest, chosen, key_of, model_bands, open_scan
from inference.scan import LAYERS, SECONDS_BETWEEN_LOOKS, run_scan
from inference.settings import Device, MergePolicy, Precision, PredictionSettings
from models.bundle import ModelBundle, load_bundle
from models.card import ModelCard, check_input
from models.catalogue import find_model
from models.values import Range
from workspace.classes import ClassDef
from workspace.files import replaced_on_success
from workspace.settings import settings_from_environment
from workspace.version import VERSION

SHARE_OF_CLASSIFYING = 0.95
Progress = Callable[[str, float], None]

if TYPE_CHECKING:
    from inference.cluster.client import Cluster


def predict_raster(
    bundle: ModelBundle,
    source: str,
    out_classes: Path,
    out_confidence: Path | None = None,
    out_probabilities: Path | None = None,
    *,
    bands: Sequence[int] | None = None,
    band_names: Sequence[str] = (),
    window_px: int = WINDOW_PX,
    overlap_px: int | None = None,
    device: Device = "auto",
    classes: Sequence[ClassDef] | None = None,
    find_more: Mapping[int, float] | None = None,
    thresholds: Mapping[int, float] | None = None,
    predict_background: bool = True,
    test_time_augmentation: bool = False,
    merge_policy: MergePolicy = "mean",
    area: Path | None = None,
    arithmetic: Arithmetic = "float32",
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> None:
    """Classify a raster and write cloud-optimised GeoTIFFs on its own grid, with legends beside them.

    A raster whose ground resolution is far from the model's is shown to it resampled (`models.card.reading_factor`). Stopped halfway, the same call
    goes on after the last finished row and comes to the same result; a raster at an address, or a model that was never saved, begins anew.

    Args:
        bundle: The model.
        source: Path or http(s) address of the raster.
        out_classes: Class values, uint8; 255 where there is no imagery. Appears only when complete.
        out_confidence: Blended probability of the class given out, uint8 percent; 255 where there is no imagery.
        out_probabilities: A band for background and each class: its blended probability, uint8 percent; 255 where there is no imagery.
        bands: 1-based raster bands for the model's bands, in the model's order; None: found by name.
        band_names: What a person says the raster's bands are; none: as the file says.
        window_px: Largest side of the windows, in pixels that the model is shown.
        overlap_px: Pixels that neighbouring windows share at least; None: as the network needs (`overlap_for`).
        device: Where to run.
        classes: Values, names and colours to write for the model's outputs 1, 2, ...; None: the card's own.
        find_more: Factor on the odds of a class, by its value in the result: above 1 finds more of it and is wrong more often, below 1 the reverse.
        thresholds: Least probability (0 to 1) of a class to be given, by its value in the result; where no class reaches its own, it is background.
        predict_background: Whether background may be given for being likeliest; if not, each pixel gets the likeliest class.
        test_time_augmentation: Look at every window in eight positions, turned and mirrored. Eight times the time.
        merge_policy: What counts of the eight: their mean, or the highest or lowest probability of each class.
        area: Vector file; nothing outside its polygons is looked at, and the result is 255 there.
        arithmetic: Which numbers the network calculates with; `inference.probe` finds the quickest that will do.
        cluster: Workers that make it, from `inference.cluster.open`; None: this process.
        progress: Told what is being done and the share done, 0..1, several times a second; may raise to stop.

    Raises:
        InputMismatchError: the raster lacks bands of the model, has another type of values, or is much too coarse or fine.
        ImageryError: the raster cannot be read.
        LabelError: the area cannot be read or lies elsewhere.
        DiskFullError: there is no room; nothing was changed.
    """
    request = MapRequest(
        source=source,
        classes=tuple(bundle.card.classes if classes is None else classes),
        bands=None if bands is None else tuple(bands),
        band_names=tuple(band_names),
        window_px=window_px,
        overlap_px=overlap_px,
        find_more=find_more or {},
        thresholds=thresholds or {},
        predict_background=predict_background,
        test_time_augmentation=test_time_augmentation,
        merge_policy=merge_policy,
        area=area,
        device=device,
        arithmetic=arithmetic,
    )
    make_map(bundle, request, out_classes, out_confidence, out_probabilities, cluster=cluster, progress=progress)


def make_map(
    bundle: ModelBundle,
    request: MapRequest,
    out_classes: Path,
    out_confidence: Path | None = None,
    out_probabilities: Path | None = None,
    *,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> None:
    """`predict_raster` for a request, whose layers are those that have a file here."""
    tell = progress or (lambda stage, share: None)
    outputs = dict(zip(LAYERS, (out_classes, out_confidence, out_probabilities), strict=True))
    results = {layer: path for layer, path in outputs.items() if path is not None}
    request = replace(request, layers=tuple(results))
    give_memory_back()
    tell("Reading the picture", 0.0)
    names, colours = class_names(request.classes), class_colours(request.classes)
    with ExitStack() as stack:
        scan = (open_scan if cluster is None else cluster.open_scan)(stack, bundle, request)
        temporary = {layer: stack.enter_context(replaced_on_success(path)) for layer, path in results.items()}
        folder = stack.enter_context(unfinished(out_classes, key_of(bundle, request, scan), request.arithmetic))
        pieces = Pieces(folder, scan.grid, [len(scan.rule.values) if layer == "probabilities" else 1 for layer in scan.layers])
        if cluster is None:
            run_scan(scan, pieces, lambda share: tell("Classifying", SHARE_OF_CLASSIFYING * share))
        else:
            cluster.run_scan(bundle, request, scan, pieces, lambda share: tell(cluster.stage, SHARE_OF_CLASSIFYING * share))
        tags = _tags(bundle.card, request, chosen(bundle, request, scan))
        for index, (layer, path) in enumerate(temporary.items()):
            virtual = pieces.together(index)
            _describe(virtual, tags, names if layer == "probabilities" else {})
            share = SHARE_OF_CLASSIFYING + (1 - SHARE_OF_CLASSIFYING) * index / len(temporary)
            _finish(virtual, path, colours if layer == "classes" else None, partial(tell, "Writing the map", share))
    write_legend(out_classes, names, colours)
    tell("Writing the map", 1.0)


def ranges_of(dataset: DatasetReader, info: RasterInfo) -> list[Range | None]:
    """2 to 98 % of the values of each band (None for alpha), from a sample over the whole raster.

    Raises:
        UnreadableRasterError: a part that was looked at cannot be decoded.
    """
    found = compute_stretch(dataset, info.image_bands)
    by_band = dict(zip(info.image_bands, zip(found.low, found.high, strict=True), strict=True))
    return [by_band.get(band) for band in range(1, info.count + 1)]


def _tags(card: ModelCard, request: MapRequest, settled: Mapping[str, Any]) -> dict[str, str]:
    """What made a map, for the file itself."""
    return {
        "TIFFTAG_SOFTWARE": f"Terratune {VERSION}",
        "TERRATUNE_MODEL": f"{card.title} ({card.name})",
        "TERRATUNE_MODEL_SHA256": card.weights_sha256,
        "TERRATUNE_IMAGERY": display_name(request.source),
        "TERRATUNE_SETTINGS": json.dumps(dict(settled) | ({"area": request.area.name} if request.area else {})),
    }


def _describe(virtual: Path, tags: Mapping[str, str], band_names: Mapping[int, str]) -> None:
    with rasterio.open(virtual, "r+") as file:
        file.update_tags(**tags)
        if band_names:
            file.descriptions = tuple(band_names.values())


def _finish(virtual: Path, result: Path, colours: dict[int, tuple[int, int, int]] | None, tell: Callable[[], None]) -> None:
    """Make the COG in a thread and go on listening meanwhile, so that stopping does not wait for a large file."""
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            to_cog(virtual, result, overview_resampling="mode" if colours else "nearest", colours=colours)
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


def _by_class(texts: Sequence[str], card: ModelCard, option: str, example: str, most: float) -> dict[int, float]:
    """Texts like '2=1.5' as {2: 1.5}: a number above 0, up to `most`, for some of the model's classes."""
    known = {c.value: c.name for c in card.classes}
    numbers = {}
    for text in texts:
        try:
            value, number = text.split("=")
            numbers[int(value)] = float(number)
        except ValueError as error:
            raise typer.BadParameter(f"Give a class value and a number, like {example}.", param_hint=option) from error
    if any(value not in known or not 0 < number <= most or number == math.inf for value, number in numbers.items()):
        listed = ", ".join(f"{value} ({name})" for value, name in known.items())
        raise typer.BadParameter(
            f"The model's classes are {listed}; numbers are above 0" + (f" and at most {most:g}." if most < math.inf else "."),
            param_hint=option,
        )
    return numbers


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
    probabilities: Annotated[
        Path | None, typer.Option(help="GeoTIFF to write with a band for background and each class: its probability (percent).")
    ] = None,
    area: Annotated[Path | None, typer.Option(help="Vector file with polygons: nothing outside them is predicted.")] = None,
    bands: Annotated[str | None, typer.Option(help="Raster bands for the model's bands, like 1,2,3; left out: found by name.")] = None,
    window_px: Annotated[int, typer.Option(help="Largest side of the windows, pixels.")] = WINDOW_PX,
    overlap_px: Annotated[int | None, typer.Option(help="Least overlap of the windows, pixels; left out: as the network needs.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    find_more: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=FACTOR", help="Raise the odds of a class, like 2=1.5; below 1: be surer. Can be given several times."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE=PROBABILITY",
            help="Give a class only where it is at least so likely, like 2=0.7; else background. Several times.",
        ),
    ] = None,
    predict_background: Annotated[bool, typer.Option(help=PredictionSettings.model_fields["predict_background"].description)] = True,
    test_time_augmentation: Annotated[
        bool,
        typer.Option("--test-time-augmentation", help=PredictionSettings.model_fields["test_time_augmentation"].description),
    ] = False,
    merge_policy: Annotated[str, typer.Option(help=PredictionSettings.model_fields["merge_policy"].description)] = "mean",
    precision: Annotated[str, typer.Option(help=PredictionSettings.model_fields["precision"].description)] = "auto",
    workers: Annotated[int, typer.Option(min=0, max=256, help=PredictionSettings.model_fields["workers"].description)] = 0,
) -> None:
    """Classify a raster with a trained model; the result is a GeoTIFF on the raster's own grid.

    Stopped halfway, the same command goes on where it was (finished rows lie in OUT's folder, in NAME.unfinished, until the end).
    """
    if device not in get_args(Device):
        raise typer.BadParameter("Use auto, cpu or cuda.", param_hint="--device")
    if merge_policy not in get_args(MergePolicy):
        raise typer.BadParameter("Use mean, max or min.", param_hint="--merge-policy")
    if precision not in get_args(Precision):
        raise typer.BadParameter("Use auto or exact.", param_hint="--precision")
    if window_px < 1 or (overlap_px is not None and not 0 <= overlap_px < window_px):
        raise typer.BadParameter("The overlap is smaller than the window and not negative.", param_hint="--overlap-px")
    try:
        picked = [int(part) for part in bands.split(",")] if bands else None
    except ValueError as error:
        raise typer.BadParameter("Give band numbers like 1,2,3.", param_hint="--bands") from error
    try:
        bundle = load_bundle(find_model(model))
        with open_raster(image) as dataset:
            info = describe(dataset, display_name(image), None)
            names, ranges = info.band_names, ranges_of(dataset, info)
            if picked is not None:
                names = bundle.card.input.band_names
                ranges = [ranges[band - 1] for band in model_bands(bundle.card, info, picked)]
            for note in check_input(bundle.card, names, info.dtype, info.resolution_m, ranges):
                typer.echo(f"Note: {note}", err=True)
        request = MapRequest(
            source=image,
            classes=bundle.card.classes,
            bands=None if picked is None else tuple(picked),
            window_px=window_px,
            overlap_px=overlap_px,
            find_more=_by_class(find_more or [], bundle.card, "--find-more", "2=1.5", math.inf),
            thresholds=_by_class(threshold or [], bundle.card, "--threshold", "2=0.7", 1),
            predict_background=predict_background,
            test_time_augmentation=test_time_augmentation,
            merge_policy=cast(MergePolicy, merge_policy),
            area=area,
            device=cast(Device, device),
        )
        shown = _shown_on_terminal()
        with open_cluster(workers, settings_from_environment().scheduler_address, lambda stage: shown(stage, 0.0)) as cluster:
            find = choose if cluster is None else cluster.choose
            way = find(cast(Precision, precision), request, bundle.card, lambda: bundle, out, info.width * info.height)
            typer.echo(way.reason, err=True)
            request = replace(request, arithmetic=way.arithmetic)
            make_map(bundle, request, out, confidence, probabilities, cluster=cluster, progress=shown)
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(str(out))


if __name__ == "__main__":
    app()
