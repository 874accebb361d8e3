"""Objects as files that QGIS and ArcGIS open, and features from files."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray

from errors import LabelFileError
from imagery.grid import Grid
from inference.vectors.write import Kind, format_of, write_as, write_shapes
from workspace.classes import ClassDef

Tables = Generator[gpd.GeoDataFrame]


def write_objects(tables: Tables, path: Path, classes: Sequence[ClassDef], kind: Kind = "area") -> None:
    """Write objects table by table; those without a field `id` are numbered from 1. The file is there only once it is complete.

    Args:
        tables: At least one, with the same columns; Classvalue is the field that has a colour.
        path: GeoPackage in the CRS of the tables with the class colours in it, or another format by its ending (`inference.vectors.write`).
        classes: For the colours.
        kind: What the geometries are.

    Raises:
        UnsupportedRasterError: another ending.
        DiskFullError: there is no room; nothing was changed.
    """
    legend = [(c.value, c.name, c.colour) for c in classes]
    with closing(tables), closing(_numbered(tables)) as numbered:
        if format_of(path) == "GPKG":
            write_shapes(numbered, path, kind, legend, parts=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            package = Path(folder) / f"{path.stem}.gpkg"
            write_shapes(numbered, package, kind, legend, parts=True)
            write_as(package, path, kind, legend)


def _numbered(tables: Tables) -> Tables:
    count = 0
    for table in tables:
        if "id" not in table:
            table = table.copy()
            table.insert(0, "id", range(count + 1, count + 1 + len(table)))
        count += len(table)
        yield table


def read_features(path: Path) -> gpd.GeoDataFrame:
    """All layers of a vector file as one table, without empty geometries.

    Raises:
        LabelFileError: it cannot be read, or does not say in which coordinates it is.
    """
    try:
        layers = [pyogrio.read_dataframe(path, layer=name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except (pyogrio.errors.DataSourceError, OSError, ValueError) as error:
        raise LabelFileError(f"{path.name} cannot be read as features.", "Give a GeoPackage, GeoJSON or Shapefile.") from error
    there = [layer for layer in layers if len(layer)] or layers[:1]
    if not there or any(layer.crs is None for layer in there):
        raise LabelFileError(
            f"{path.name} {'holds no features' if not there else 'does not say in which coordinates it is'}.",
            "Save it as a GeoPackage with its coordinate system.",
        )
    together = there[0] if len(there) == 1 else pd.concat([layer.to_crs(there[0].crs) for layer in there], ignore_index=True)
    return together[~(together.geometry.isna() | together.geometry.is_empty)].reset_index(drop=True)


def in_grid(shapes: gpd.GeoSeries, grid: Grid) -> NDArray[np.object_]:
    """Shapes of any CRS in the pixels of a grid."""
    inverse = ~grid.transform
    return np.asarray(shapely.transform(shapes.to_crs(grid.crs).to_numpy(), lambda x, y: inverse @ (x, y), interleaved=False))
