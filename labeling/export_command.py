"""The command `python -m labeling.export`: imagery and label files in, a tile set out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from errors import TerratuneError
from imagery.read import display_name, is_url
from labeling.export import export_tiles
from labeling.export_settings import ExportSettings, ImageSource
from labeling.label_sources import label_sources, read_sources
from tiles.formats import FORMATS, tile_format
from tiles.tile_set import METADATA_FORMAT, TileSet

app: typer.Typer = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_DEFAULTS = ExportSettings()


def _help(field: str) -> str:
    return ExportSettings.model_fields[field].description or ""


@app.command()
def export(
    image: Annotated[list[str], typer.Option(help="Raster to cut: a GeoTIFF or an http(s) address. May be given several times.")],
    labels: Annotated[
        list[str],
        typer.Option(
            help="File with labels: shapes (GeoJSON, GeoPackage, Shapefile, ...; FILE::LAYER for one layer of it) or a raster of class "
            "values (GeoTIFF: 0 background, 255 and 'no data' not known). May be given several times."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make. An older tile set of this name is replaced.")],
    class_field: Annotated[
        list[str] | None,
        typer.Option(
            help="Field of the shapes that holds class values or names: once for all files, or once for each in their order. Else "
            "classvalue, value or classname; all shapes of a file without any are one class."
        ),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="classes.json of a project: values, names, colours, drawing order. Else taken from the field.")
    ] = None,
    labels_crs: Annotated[str | None, typer.Option(help="CRS of label files that do not say theirs, for example EPSG:26911.")] = None,
    format: Annotated[str, typer.Option(help=f"Metadata format: {', '.join(FORMATS)}.")] = METADATA_FORMAT,
    tile_size: Annotated[int, typer.Option(help=_help("tile_size"))] = _DEFAULTS.tile_size,
    stride: Annotated[int, typer.Option(help=_help("stride"))] = _DEFAULTS.stride,
    buffer_m: Annotated[float, typer.Option(help=_help("buffer_m"))] = _DEFAULTS.buffer_m,
    tiles: Annotated[str, typer.Option(help="features_only or all. " + _help("tiles"))] = _DEFAULTS.tiles,
    min_polygon_overlap_ratio: Annotated[
        float, typer.Option(help=_help("min_polygon_overlap_ratio"))
    ] = _DEFAULTS.min_polygon_overlap_ratio,
    crop_mode: Annotated[str, typer.Option(help="fixed_size or bounding_box. " + _help("crop_mode"))] = _DEFAULTS.crop_mode,
    blacken_around_feature: Annotated[bool, typer.Option(help=_help("blacken_around_feature"))] = _DEFAULTS.blacken_around_feature,
    validation_share: Annotated[float, typer.Option(help=_help("validation_share"))] = _DEFAULTS.validation_share,
    seed: Annotated[int, typer.Option(help=_help("seed"))] = _DEFAULTS.seed,
) -> None:
    """Cut imagery and labels into a folder of training tiles, split into training and validation by place."""
    try:
        settings = ExportSettings.model_validate(
            {
                "metadata_format": format,
                "min_polygon_overlap_ratio": min_polygon_overlap_ratio,
                "crop_mode": crop_mode,
                "blacken_around_feature": blacken_around_feature,
                "tile_size": tile_size,
                "stride": stride,
                "buffer_m": buffer_m,
                "tiles": tiles,
                "validation_share": validation_share,
                "seed": seed,
            }
        )
    except ValidationError as error:
        raise typer.BadParameter(_explained(error)) from error
    try:
        table, schema, notes = read_sources(label_sources(labels, class_field or []), classes, labels_crs)
        for note in notes:
            typer.echo(note, err=True)
        made = export_tiles(_sources(image), table, schema, settings, out)
    except TerratuneError as error:
        typer.echo(f"{error.fact}\n{error.remedy}".strip(), err=True)
        raise typer.Exit(1) from error
    typer.echo(summary(made))


def summary(tile_set: TileSet) -> str:
    """What was made, in a few lines."""
    record = tile_set.record
    counts = {split: len(record.in_split(split)) for split in ("train", "validation", "gap")}
    lines = [
        f"{len(record.tiles)} tiles of {record.tile_size} pixels in {tile_set.folder}",
        f"{counts['train']} for training, {counts['validation']} for validation, {counts['gap']} between them used by neither",
    ]
    for c in record.classes:
        what = "objects" if tile_format(record.metadata_format).has_objects else "pixels"
        counted = record.class_objects if what == "objects" else record.class_pixels
        lines.append(
            f"{c.value} {c.name}: {counted('train')[c.value]} {what} for training, {counted('validation')[c.value]} for validation"
        )
    return "\n".join(lines)


def _sources(images: Sequence[str]) -> list[ImageSource]:
    """Names tell the images apart: the file's, with a number where two files have the same."""
    found: list[ImageSource] = []
    for image in images:
        source = image if is_url(image) else str(Path(image).absolute())
        stem = Path(display_name(source)).stem
        twins = sum(s.name == stem or s.name.startswith(f"{stem} (") for s in found)
        found.append(ImageSource(name=f"{stem} ({twins + 1})" if twins else stem, source=source))
    return found


def _explained(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}".lstrip(": ") for e in error.errors())
