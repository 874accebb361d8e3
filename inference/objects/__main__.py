"""Objects over whole rasters: `python -m inference.objects detect|classify|redact|change|accuracy --help`."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from errors import TerratuneError
from imagery.read import display_name
from inference.objects.accuracy import MIN_IOU, object_accuracy
from inference.objects.class_change import as_csv, class_change
from inference.objects.classify import classify_cells, classify_features
from inference.objects.detect import NMS_OVERLAP, THRESHOLD, detect_raster
from inference.objects.given import Shape
from inference.objects.layer import read_features
from inference.objects.redact import redact_raster
from inference.objects.run import input_notes, load_object_model
from inference.objects.settings import FINDING, NAMING, ObjectSettings
from inference.settings import Device
from models.architecture import Task
from models.bundle import ModelBundle
from models.catalogue import find_model
from models.network import Network

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Find, classify, hide and measure objects over whole rasters.")

_FIELDS = ObjectSettings.model_fields
Model = Annotated[str, typer.Option(help="Folder of a model or of a training run, or the name of a model.")]
Image = Annotated[str, typer.Option(help="Raster: a file or an http(s) address.")]
Bands = Annotated[str | None, typer.Option(help="Raster bands for the model's bands, like 1,2,3; left out: found by name.")]
Where = Annotated[Device, typer.Option(help="Where to run.")]
Out = Annotated[Path, typer.Option(help="File to write: .gpkg, .geojson, .shp or .fgb.")]
Threshold = Annotated[float, typer.Option(min=0, max=1, help=_FIELDS["threshold"].description)]


@app.command()
def detect(
    model: Model,
    image: Image,
    out: Out,
    threshold: Threshold = THRESHOLD,
    nms_overlap: Annotated[float, typer.Option(min=0, max=1, help=_FIELDS["nms_overlap"].description)] = NMS_OVERLAP,
    exclude_pad_detections: Annotated[bool, typer.Option(help=_FIELDS["exclude_pad_detections"].description)] = True,
    shape: Annotated[Shape, typer.Option(help=_FIELDS["shape"].description)] = "outline",
    window_px: Annotated[int | None, typer.Option(min=16, help="Side of the windows, pixels; left out: the model's tile size.")] = None,
    overlap_px: Annotated[
        int | None, typer.Option(min=0, help="What windows share, pixels; left out: a quarter. Larger objects are joined from pieces.")
    ] = None,
    bands: Bands = None,
    device: Where = "auto",
) -> None:
    """Find objects with a detection or instance segmentation model."""
    with _explained():
        bundle = _model(model, image, bands)
        side = window_px or bundle.card.input.tile_size
        if overlap_px is not None and overlap_px >= side:
            raise typer.BadParameter(f"The overlap is smaller than the window ({side} pixels).", param_hint="--overlap-px")
        counts = detect_raster(
            bundle.network,
            bundle.card,
            image,
            out,
            bands=_numbers(bands),
            window_px=window_px,
            overlap_px=overlap_px,
            threshold=threshold,
            nms_overlap=nms_overlap,
            exclude_pad_detections=exclude_pad_detections,
            shape=shape,
            device=device,
            progress=_shown(),
        )
        _tell_counts(bundle, counts, out)


@app.command()
def classify(
    model: Model,
    image: Image,
    out: Out,
    features: Annotated[
        Path | None, typer.Option(help="Vector file whose features are given a class each; left out: every cell of the raster.")
    ] = None,
    crop: Annotated[
        Literal["tile", "box"],
        typer.Option(help="What is shown of a feature: a tile about its middle, or its bounding box brought to that size."),
    ] = "tile",
    bands: Bands = None,
    device: Where = "auto",
) -> None:
    """Give features, or the cells of a raster, a class with a scene classification model."""
    with _explained():
        bundle = _model(model, image, bands, NAMING)
        network, card, numbers, tell = bundle.network, bundle.card, _numbers(bands), _shown()
        if features is None:
            counts = classify_cells(network, card, image, out, bands=numbers, device=device, progress=tell)
        else:
            table = read_features(features)
            counts = classify_features(network, card, image, table, out, crop=crop, bands=numbers, device=device, progress=tell)
        _tell_counts(bundle, counts, out)


@app.command()
def redact(
    image: Image,
    out: Annotated[Path, typer.Option(help="GeoTIFF to write.")],
    objects: Annotated[Path | None, typer.Option(help="Vector file of what is to be made unrecognisable.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of a file: a detection model that finds it.")] = None,
    method: Annotated[Literal["pixelate", "blur"], typer.Option(help="Coarse cells of one value, or blurred.")] = "pixelate",
    margin_m: Annotated[float, typer.Option(min=0, help="How far around the objects, metres.")] = 0.0,
    cell_m: Annotated[
        float | None, typer.Option(min=0, help="Size of the cells or of the blur, metres; left out: a quarter of each object.")
    ] = None,
    threshold: Threshold = THRESHOLD,
) -> None:
    """Copy a raster with objects made unrecognisable; everything else stays as it is."""
    if (objects is None) == (model is None):
        raise typer.BadParameter("Give a file of objects or a model, one of the two.", param_hint="--objects / --model")
    with _explained(), tempfile.TemporaryDirectory() as folder:
        if model is not None:
            objects = Path(folder) / "found.gpkg"
            bundle = _model(model, image, None)
            detect_raster(bundle.network, bundle.card, image, objects, threshold=threshold, progress=_shown())
        assert objects is not None
        count = redact_raster(image, read_features(objects), out, method=method, margin_m=margin_m, cell_m=cell_m)
        typer.echo(f"{count} objects cannot be recognised in {out}")


@app.command()
def change(
    before: Annotated[Path, typer.Option(help="Class map of the earlier date.")],
    after: Annotated[Path, typer.Option(help="Class map of the later date, on any grid.")],
    out: Annotated[Path, typer.Option(help="GeoTIFF of changes to write, on the grid of the earlier map.")],
    table: Annotated[Path | None, typer.Option(help="CSV to write: from, to, pixels, square metres; left out: shown here.")] = None,
) -> None:
    """Tell from which class to which the ground changed between two class maps."""
    with _explained():
        rows = class_change(before, after, out, table)
        typer.echo(str(out) if table else as_csv(rows).rstrip())


@app.command()
def accuracy(
    found: Annotated[Path, typer.Option(help="Objects that were found.")],
    truth: Annotated[Path, typer.Option(help="Objects that are truly there.")],
    min_iou: Annotated[
        float, typer.Option(min=0.01, max=1, help="Intersection over union from which on an object counts as found.")
    ] = MIN_IOU,
    found_class: Annotated[str | None, typer.Option(help="Field with the class of what was found; left out: the usual names.")] = None,
    true_class: Annotated[str | None, typer.Option(help="Field with the class of what is there.")] = None,
    confidence: Annotated[str, typer.Option(help="Field with the confidence.")] = "Confidence",
) -> None:
    """Score found objects against true ones and print JSON: precision, recall, F1 and average precision of each class."""
    with _explained():
        scores = object_accuracy(
            read_features(found),
            read_features(truth),
            min_iou=min_iou,
            found_class=found_class,
            true_class=true_class,
            confidence=confidence,
        )
    typer.echo(json.dumps(scores.model_dump(), indent=2, ensure_ascii=False))


def _model(name: str, image: str, bands: str | None, tasks: Sequence[Task] = FINDING) -> ModelBundle[Network]:
    """The model, after what is to be known about the raster was said."""
    bundle = load_object_model(find_model(name), tasks)
    if bands is None:
        for note in input_notes(bundle.card, image, display_name(image))[1]:
            typer.echo(f"Note: {note}", err=True)
    return bundle


def _numbers(bands: str | None) -> list[int] | None:
    try:
        return [int(part) for part in bands.split(",")] if bands else None
    except ValueError as error:
        raise typer.BadParameter("Give band numbers like 1,2,3.", param_hint="--bands") from error


def _tell_counts(bundle: ModelBundle[Network], counts: dict[int, int], out: Path) -> None:
    names = {c.value: c.name for c in bundle.card.classes}
    for value, count in counts.items():
        typer.echo(f"{names[value]}: {count}", err=True)
    typer.echo(str(out))


def _shown() -> Callable[[str, float], None]:
    """One line on stderr for every further tenth."""
    shown = -1

    def tell(stage: str, share: float) -> None:
        nonlocal shown
        if int(share * 10) > shown:
            shown = int(share * 10)
            typer.echo(f"{stage}: {shown * 10} %", err=True)

    return tell


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
