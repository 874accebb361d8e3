"""The command `python -m labeling.export`: imagery and label files in, a tile set out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from errors import TerratuneError
from imagery.raster import inspect_raster, tidy_name
from imagery.read import display_name, is_url
from labeling.export import export_tiles
from labeling.export.area import read_mask
from labeling.export.options import with_settings
from labeling.export.plan import no_labels
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_sources import label_sources, read_sources
from tiles.formats import FORMATS, tile_format
from tiles.tile_set import TileSet
from workspace.classes import ClassSchema

app: typer.Typer = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
@with_settings
def export(
    settings: ExportSettings,
    image: Annotated[list[str], typer.Option(help="Raster to cut: a GeoTIFF or an http(s) address. May be given several times.")],
    out: Annotated[Path, typer.Option(help="Folder to make. An older tile set of this name is replaced.")],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="File with labels: shapes (GeoJSON, GeoPackage, Shapefile, PASCAL VOC, ...; FILE::LAYER for one layer) or a raster of class "
            "values (GeoTIFF: 0 background, 255 and 'no data' not known). May be given several times. Images alone (--format Export_Tiles, CycleGAN) need none."
        ),
    ] = None,
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
    labels_crs: Annotated[
        str | None, typer.Option(help="CRS of label and mask files that do not say theirs, for example EPSG:26911.")
    ] = None,
    band_names: Annotated[
        list[str] | None,
        typer.Option(
            help="What the bands of an image are, in the order of the file, divided by commas (red,green,blue,nir): once for all images, or "
            "once for each in their order. Else as the files say."
        ),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="File with polygons: only tiles that lie completely inside are written.")] = None,
) -> None:
    """Cut imagery and labels into a folder of training tiles, split into training and validation by place."""
    if not labels and FORMATS[settings.metadata_format].has_classes:
        raise typer.BadParameter("--labels: give a file with labels. Only tiles that are images alone (--format Export_Tiles) need none.")
    try:
        images = _sources(image, band_names or [])
        inside = None if mask is None else read_mask(mask, labels_crs)
        table, schema = no_labels(), ClassSchema(classes=())
        if labels:
            table, schema, notes = read_sources(label_sources(labels, class_field or []), classes, labels_crs, images)
            for note in notes:
                typer.echo(note, err=True)
        made = export_tiles(images, table, schema, settings, out, mask=inside)
    except TerratuneError as error:
        typer.echo(f"{error.fact}\n{error.remedy}".strip(), err=True)
        raise typer.Exit(1) from error
    typer.echo(summary(made))


def summary(tile_set: TileSet) -> str:
    """What was made, in a few lines."""
    record = tile_set.record
    columns, rows = record.tile_sides
    size = columns if columns == rows else f"{columns} x {rows}"
    counts = {split: len(record.in_split(split)) for split in ("train", "validation", "gap")}
    lines = [
        f"{len(record.tiles)} tiles of {size} pixels in {tile_set.folder}",
        f"{counts['train']} for training, {counts['validation']} for validation, {counts['gap']} between them used by neither",
    ]
    for c in record.classes:
        what = "objects" if tile_format(record.metadata_format).has_objects else "pixels"
        counted = record.class_objects if what == "objects" else record.class_pixels
        lines.append(
            f"{c.value} {c.name}: {counted('train')[c.value]} {what} for training, {counted('validation')[c.value]} for validation"
        )
    return "\n".join(lines)


def _sources(images: Sequence[str], band_names: Sequence[str]) -> list[ImageSource]:
    """Names tell the images apart: the file's, with a number where two files have the same."""
    if len(band_names) not in {0, 1, len(images)}:
        raise typer.BadParameter(f"--band-names: given {len(band_names)} times for {len(images)} images. Give it once, or once for each.")
    named = list(band_names or [""]) * (1 if len(band_names) == len(images) else len(images))
    found: list[ImageSource] = []
    for image, bands in zip(images, named, strict=True):
        source = image if is_url(image) else str(Path(image).absolute())
        stem = Path(display_name(source)).stem
        twins = sum(s.name == stem or s.name.startswith(f"{stem} (") for s in found)
        found.append(ImageSource(name=f"{stem} ({twins + 1})" if twins else stem, source=source, band_names=_bands(bands, source)))
    return found


def _bands(text: str, source: str) -> tuple[str, ...]:
    """Names from 'red,green,blue'; none from ''."""
    names = tuple(tidy_name(name) for name in text.split(",")) if text else ()
    if names and (
        len(names) != (count := inspect_raster(source, try_pixels=False).count) or not all(names) or len(set(names)) < len(names)
    ):
        raise typer.BadParameter(f"--band-names: '{text}' are no distinct names for the {count} bands of {display_name(source)}.")
    return names
