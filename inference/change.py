"""What has changed between two rasters of one place, told by a change model: `python -m inference.change --model DIR --earlier A.tif --later B.tif --out OUT.tif`.

The counterpart of ArcGIS's Detect Change Using Deep Learning. The map lies on the grid of the earlier raster.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from errors import InputMismatchError, TerratuneError
from imagery.pairs import write_pair
from imagery.read import open_raster
from inference.predict import Progress, make_map
from inference.probe import choose
from inference.request import MapRequest
from inference.settings import Device, Precision, PredictionSettings
from models.bands import pair_names
from models.bundle import ModelBundle, load_bundle
from models.catalogue import find_model

SHARE_OF_PAIRING = 0.1


def detect_change(
    bundle: ModelBundle,
    earlier: str,
    later: str,
    out_classes: Path,
    out_confidence: Path | None = None,
    *,
    band_names: Sequence[str] = (),
    later_band_names: Sequence[str] = (),
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> None:
    """Write a map of what has changed; pixels that one of the rasters does not show are 255.

    Args:
        bundle: A model for change detection.
        earlier: Path or http(s) address of the raster before.
        later: Of the one after; fitted to the pixels of the earlier one.
        out_classes: Class values, uint8, on the grid of the earlier raster. Appears only when complete.
        out_confidence: Probability of the class given out, uint8 percent.
        band_names: What a person says the bands of the earlier one are; none: as the file says.
        later_band_names: Likewise of the later one.
        device: Where to run.
        precision: "exact" for 32-bit numbers; "auto" for the quickest on this machine that changes next to nothing (`inference.probe`).
        progress: Told what is being done and the share done; may raise to stop.

    Raises:
        InputMismatchError: the model is for single rasters, or the rasters do not fit it or each other.
        NoOverlapError: they lie nowhere in the same place.
        ImageryError: one cannot be read.
        DiskFullError: there is no room; nothing was changed.
    """
    if bundle.card.task != "change detection":
        raise InputMismatchError(
            f"The model '{bundle.card.title}' looks at one picture at a time.",
            "Choose a model that was trained on pairs of pictures (Tiles page: 'Second image').",
        )
    tell = progress or (lambda stage, share: None)
    out_classes.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pair-", dir=out_classes.parent) as place:
        pair = Path(place) / "pair.tif"
        write_pair(
            earlier,
            later,
            pair,
            pair_names,
            band_names=band_names,
            later_band_names=later_band_names,
            progress=lambda share: tell("Laying both pictures on each other", SHARE_OF_PAIRING * share),
        )
        with open_raster(pair) as dataset:
            pixels = dataset.width * dataset.height
        request = MapRequest(str(pair), bundle.card.classes, device=device)
        way = choose(precision, request, bundle.card, lambda: bundle, out_classes, pixels)
        make_map(
            bundle,
            replace(request, arithmetic=way.arithmetic),
            out_classes,
            out_confidence,
            progress=lambda stage, share: tell(stage, SHARE_OF_PAIRING + (1 - SHARE_OF_PAIRING) * share),
        )


def main(
    model: Annotated[str, typer.Option(help="Folder of a model or of a training run, or the name of a bundled model.")],
    earlier: Annotated[str, typer.Option(help="The raster before: a file or an http(s) address.")],
    later: Annotated[str, typer.Option(help="The raster after.")],
    out: Annotated[Path, typer.Option(help="Class GeoTIFF to write.")],
    confidence: Annotated[Path | None, typer.Option(help="Confidence GeoTIFF to write (percent).")] = None,
    precision: Annotated[str, typer.Option(help=PredictionSettings.model_fields["precision"].description)] = "auto",
) -> None:
    """Map what has changed between two rasters of one place."""
    if precision not in get_args(Precision):
        raise typer.BadParameter("Use auto or exact.", param_hint="--precision")
    try:
        detect_change(load_bundle(find_model(model)), earlier, later, out, confidence, precision=cast(Precision, precision))
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(str(out))


if __name__ == "__main__":
    typer.run(main)
