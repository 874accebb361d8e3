"""The command `python -m labeling.export`: imagery and label files in, a tile set out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import pandas as pd
import typer
from pydantic import ValidationError

from errors import LabelFileError, TerratuneError
from imagery.read import display_name, is_url
from labeling.exchange import NOTHING, inspect_file, read_labels, suggested_map
from labeling.export import export_tiles
from labeling.export_settings import ExportSettings, ImageSource
from tiles.formats import FORMATS, tile_format
from tiles.tile_set import METADATA_FORMAT, TileSet
from workspace.classes import UNCERTAIN_VALUE, ClassDef, ClassSchema, is_fully_labelled, starter_schema

IGNORE_NAMES = {"uncertain", "ignore"}
COLOURS = ("#4361ee", "#ff9f1c", "#2ec4b6", "#e71d36", "#8338ec", "#ffd60a", "#6a994e", "#bc4749")
UNCERTAIN = ClassDef(value=UNCERTAIN_VALUE, name="Uncertain", colour="#9aa0a6", ignore=True)

app: typer.Typer = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_DEFAULTS = ExportSettings()


def _help(field: str) -> str:
    return ExportSettings.model_fields[field].description or ""


@app.command()
def export(
    image: Annotated[list[str], typer.Option(help="Raster to cut: a GeoTIFF or an http(s) address. May be given several times.")],
    labels: Annotated[
        list[Path], typer.Option(help="Vector file with labels (GeoJSON, GeoPackage, Shapefile). May be given several times.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to make. An older tile set of this name is replaced.")],
    class_field: Annotated[str, typer.Option(help="Field of the labels that holds class values or names.")] = "classvalue",
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
        schema, value_map = _classes(classes, labels, class_field)
        table = _read_all(labels, class_field, value_map, schema, labels_crs)
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


def derived_schema(values: Sequence[str]) -> tuple[ClassSchema, dict[str, int | None]]:
    """Classes from the values of a field.

    Names that the road story knows ("paved", "Unpaved road") become its classes, with its drawing order. Numbers keep their value.
    Other names are numbered in alphabetical order. 255, "uncertain" and "ignore" are areas not to be learnt from; 0 and nothing are left
    out: background needs no label, and what is named a fully labelled area `read_labels` knows by itself.

    Args:
        values: Distinct values of the field, as text.

    Returns:
        The classes, and the class value of each field value, None for those left out.

    Raises:
        LabelFileError: no class, or a number that cannot be a class value.
    """
    left_out = {v for v in values if v in {NOTHING, "0"} or is_fully_labelled(v)}
    ignored = {v for v in values if v.casefold() in IGNORE_NAMES or v == str(UNCERTAIN_VALUE)}
    learnt = sorted(set(values) - left_out - ignored, key=lambda v: (len(v), v) if v.isdigit() else (0, v.casefold()))
    if not learnt:
        raise LabelFileError("The class field holds no class.", "Name another field with --class-field.")
    numbers: dict[str, int | None] = dict.fromkeys(left_out) | dict.fromkeys(ignored, UNCERTAIN_VALUE)
    starter = starter_schema()
    known = {v: c.value for v in learnt if (c := starter.by_name(v) or starter.by_name(f"{v} road")) is not None}
    if len(known) == len(learnt):
        return starter, {**numbers, **known}
    numeric = all(v.lstrip("-").isdigit() for v in learnt)
    own = {v: int(v) if numeric else number for number, v in enumerate(learnt, 1)}
    wrong = next((v for v in learnt if not 1 <= own[v] <= 254), None)
    if wrong is not None:
        raise LabelFileError(f"The class field holds {wrong}; class values are 1 to 254.", "Name another field, or give --classes.")
    found = tuple(ClassDef(value=own[v], name=v, colour=COLOURS[i % len(COLOURS)]) for i, v in enumerate(learnt))
    return ClassSchema(classes=(*found, UNCERTAIN)), {**numbers, **own}


def _classes(path: Path | None, labels: Sequence[Path], field: str) -> tuple[ClassSchema, dict[str, int | None]]:
    values = list(dict.fromkeys(v for file in labels for v in _field_values(file, field)))
    if path is None:
        return derived_schema(values)
    try:
        schema = ClassSchema.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LabelFileError(f"{path.name} cannot be read as a class list.", "Take the classes.json of a project as an example.") from error
    left_out = {v: None for v in values if v in {NOTHING, "0"}}
    return schema, left_out | {v: found for v in values if (found := suggested_map([v], schema)[v]) is not None}


def _field_values(path: Path, field: str) -> list[str]:
    fields = inspect_file(path).fields
    name = next((n for n in fields if n.casefold() == field.casefold()), None)
    if name is None:
        there = ", ".join(fields) or "none"
        raise LabelFileError(f"{path.name} has no field '{field}'.", f"Its fields: {there}. Name one with --class-field.")
    return fields[name]


def _read_all(
    paths: Sequence[Path], field: str, value_map: Mapping[str, int | None], schema: ClassSchema, crs: str | None
) -> gpd.GeoDataFrame:
    tables = []
    for path in paths:
        table = read_labels(path, class_field=field, value_map=value_map, schema=schema, crs=crs)
        report = table.attrs.pop("report")
        if report.left_out or report.repaired or report.widths_ignored:
            typer.echo(f"{path.name}: {report.sentence()}", err=True)
        tables.append(table)
    return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs)


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
