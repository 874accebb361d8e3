"""`python -m models.packages import FILE --out BUNDLE`, `python -m models.packages export BUNDLE --format bundle|dlpk|onnx --out FILE`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from errors import TerratuneError
from models.arcgis.card import describe_definition
from models.packages.dlpk import read_definition
from models.packages.formats import Format
from models.packages.transfer import export_model, import_model

app = typer.Typer(add_completion=False, help="Models as files: in and out.")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .zip (bundle), .dlpk, .emd (its weights beside it) or .onnx file.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; must not exist yet.")],
) -> None:
    """Make a model bundle of a file; nothing in the file is executed."""
    with _told():
        found = import_model(file, out)
    for note in found.notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(str(found.folder))


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a model, or of a training run.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    form: Annotated[Format, typer.Option("--format", help="bundle: one ZIP; dlpk: for ArcGIS; onnx: for QGIS Deepness and others.")] = "bundle",
) -> None:
    """Write a model bundle as one file."""
    with _told():
        export_model(bundle, form, out)
    typer.echo(str(out))


@app.command()
def describe(file: Annotated[Path, typer.Argument(help="A .dlpk or .emd file.")]) -> None:
    """Say what an ArcGIS package holds, and whether it can run here; no weights are opened."""
    with _told():
        found = describe_definition(read_definition(file))
    for what, value in found.facts:
        typer.echo(f"{what}: {value}")
    typer.echo(f"Runs here: no, {found.why_not}" if found.why_not else "Runs here: yes")


@contextmanager
def _told() -> Iterator[None]:
    """An expected error as text, with exit status 1."""
    try:
        yield
    except TerratuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
