"""The commands `python -m inference.vectors polygons|buildings|roads`: a class map in, a file of shapes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from errors import TerratuneError, UnknownClassError
from inference.vectors.class_map import ClassMap, read_class_map
from inference.vectors.make import GEOMETRY, AnyShapes, make_shapes
from inference.vectors.settings import BuildingSettings, PolygonSettings, RoadSettings
from inference.vectors.write import format_of, write_as

app: typer.Typer = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)
MapOption = Annotated[Path, typer.Option("--map", help="Class map: a GeoTIFF of one band, 0 background, 1 to 254 classes, 255 no imagery.")]
ConfidenceOption = Annotated[Path | None, typer.Option(help="Confidence of the map, percent: each shape gets its mean, 0 to 1.")]
ClassOption = Annotated[
    list[str] | None, typer.Option("--class", help="Class name or value. May be given several times; left out: all classes of the map.")
]
OutOption = Annotated[Path, typer.Option(help="File to write: .gpkg (GeoPackage), .geojson, .fgb (FlatGeobuf) or .zip (Shapefile).")]


def _help(settings: type[BaseModel], field: str, unit: str = "") -> str:
    return f"{settings.model_fields[field].description or ''}{f' In {unit}.' if unit else ''}"


@app.command()
def polygons(
    map_file: MapOption,
    out: OutOption,
    class_names: ClassOption = None,
    confidence: ConfidenceOption = None,
    smallest_m2: Annotated[
        float, typer.Option(min=0, help=_help(PolygonSettings, "smallest_m2", "square metres"))
    ] = PolygonSettings().smallest_m2,
    holes_m2: Annotated[float, typer.Option(min=0, help=_help(PolygonSettings, "holes_m2", "square metres"))] = PolygonSettings().holes_m2,
    slivers: Annotated[bool, typer.Option("--drop-slivers/--keep-slivers", help=_help(PolygonSettings, "slivers"))] = True,
    smooth_px: Annotated[float, typer.Option(min=0, max=20, help=_help(PolygonSettings, "smooth_px"))] = PolygonSettings().smooth_px,
) -> None:
    """Areas of classes as polygons; neighbours share their borders."""
    settings = PolygonSettings(smallest_m2=smallest_m2, holes_m2=holes_m2, slivers=slivers, smooth_px=smooth_px)
    _run(map_file, confidence, class_names, settings, out)


@app.command()
def buildings(
    map_file: MapOption,
    out: OutOption,
    class_names: ClassOption = None,
    confidence: ConfidenceOption = None,
    smallest_m2: Annotated[
        float, typer.Option(min=0, help=_help(BuildingSettings, "smallest_m2", "square metres"))
    ] = BuildingSettings().smallest_m2,
    holes_m2: Annotated[
        float, typer.Option(min=0, help=_help(BuildingSettings, "holes_m2", "square metres"))
    ] = BuildingSettings().holes_m2,
    agreement: Annotated[float, typer.Option(min=0.5, max=1, help=_help(BuildingSettings, "agreement"))] = BuildingSettings().agreement,
) -> None:
    """Areas of a class as buildings with right angles."""
    _run(map_file, confidence, class_names, BuildingSettings(smallest_m2=smallest_m2, holes_m2=holes_m2, agreement=agreement), out)


@app.command()
def roads(
    map_file: MapOption,
    out: OutOption,
    class_names: ClassOption = None,
    confidence: ConfidenceOption = None,
    spur_m: Annotated[float, typer.Option(min=0, help=_help(RoadSettings, "spur_m", "metres"))] = RoadSettings().spur_m,
    gap_m: Annotated[float, typer.Option(min=0, help=_help(RoadSettings, "gap_m", "metres"))] = RoadSettings().gap_m,
    shortest_m: Annotated[float, typer.Option(min=0, help=_help(RoadSettings, "shortest_m", "metres"))] = RoadSettings().shortest_m,
    smooth_m: Annotated[float, typer.Option(min=0, help=_help(RoadSettings, "smooth_m", "metres"))] = RoadSettings().smooth_m,
) -> None:
    """Road classes as a network of centre lines; several classes make one network."""
    settings = RoadSettings(spur_m=spur_m, gap_m=gap_m, shortest_m=shortest_m, smooth_m=smooth_m)
    _run(map_file, confidence, class_names, settings, out)


def _run(map_file: Path, confidence: Path | None, class_names: list[str] | None, settings: AnyShapes, out: Path) -> None:
    try:
        format_of(out)
        class_map = read_class_map(map_file, confidence)
        wanted = [class_map.value_of(asked) for asked in class_names] if class_names else _only(class_map, settings)
        out.parent.mkdir(parents=True, exist_ok=True)
        kind = GEOMETRY[settings.kind]
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as folder:
            made = Path(folder) / f"{out.stem}.gpkg"
            count = make_shapes({map_file.name: class_map}, wanted, settings, made)
            write_as(made, out, kind, class_map.legend(wanted))
    except TerratuneError as error:
        typer.echo(f"{error.fact}\n{error.remedy}".strip(), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {count:,} {'lines' if kind == 'line' else 'polygons'}")


def _only(class_map: ClassMap, settings: AnyShapes) -> list[int]:
    """All classes; buildings and roads are asked for by name where there is more than one."""
    values = class_map.values()
    if not values:
        raise UnknownClassError(f"{class_map.path.name} shows no class: nothing but background.", "Choose another map.")
    if settings.kind != "polygons" and len(values) > 1:
        listed = ", ".join(f"{value} ({name})" for value, name, _ in class_map.legend(values))
        raise UnknownClassError(f"{class_map.path.name} has several classes: {listed}.", f"Say with --class which are {settings.kind}.")
    return values
