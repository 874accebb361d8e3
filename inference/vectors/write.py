"""Tables of shapes as files: GeoPackage first, part by part; the other formats are made from it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import geopandas as gpd
import pyogrio
from pyogrio.raw import open_arrow, write_arrow
from pyproj import CRS

from errors import UnsupportedRasterError, WorkspaceError
from workspace.files import disk_full_explained, replaced_on_success
from workspace.layer_styles import Legend, add_layer_styles, layer_style

Kind = Literal["area", "line", "point"]
SUFFIXES = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".zip": "ESRI Shapefile", ".fgb": "FlatGeobuf"}
"""What a file can be called, and GDAL's name of its format; a Shapefile comes as a ZIP."""
_GEOMETRY = {"area": "Polygon", "line": "LineString", "point": "Point"}
_OPTIONS: dict[str, dict[str, str]] = {
    "GeoJSON": {"RFC7946": "YES", "COORDINATE_PRECISION": "9"},
    "ESRI Shapefile": {"ENCODING": "UTF-8"},
    "FlatGeobuf": {"SPATIAL_INDEX": "YES"},
}


def write_shapes(
    tables: Iterable[gpd.GeoDataFrame], path: Path, kind: Kind, legend: Legend, *, crs: CRS | None = None, parts: bool = False
) -> int:
    """Write tables as one GeoPackage with the class colours for QGIS; it appears when it is complete.

    Args:
        tables: With the same columns, at least one, one after the other; only one is in memory.
        path: `.gpkg`.
        kind: What the geometries are: polygons, lines or points.
        legend: Value, name and colour of the classes.
        crs: To write in; None: that of the tables.
        parts: A shape may have several parts.

    Returns:
        How many shapes were written.

    Raises:
        DiskFullError: nothing was changed.
        WorkspaceError: the file cannot be written.
    """
    count, geometry = 0, f"Multi{_GEOMETRY[kind]}" if parts else _GEOMETRY[kind]
    with replaced_on_success(path) as temporary, _explained(path):
        for table in tables:
            if len(table) or not count:
                moved = table if crs is None else table.to_crs(crs)
                append = temporary.exists()
                pyogrio.write_dataframe(
                    moved, temporary, layer=path.stem, driver="GPKG", geometry_type=geometry, promote_to_multi=parts, append=append
                )
                count += len(table)
        with contextlib.closing(sqlite3.connect(temporary)) as connection, connection:
            add_layer_styles(connection, {path.stem: layer_style(kind, legend)})
    return count


def write_as(geopackage: Path, path: Path, kind: Kind, legend: Legend) -> None:
    """Write what is in a GeoPackage of `write_shapes` in another format.

    Args:
        geopackage: To read.
        path: Its suffix says the format (`SUFFIXES`). GeoJSON is in longitude and latitude (RFC 7946), the others in the CRS of the GeoPackage; a
            `.zip` holds a Shapefile with a QGIS style, beside a `.fgb` or `.geojson` lies one.
        kind: What the geometries are.
        legend: Value, name and colour of the classes.

    Raises:
        UnsupportedRasterError: no such format.
        DiskFullError: nothing was changed.
        WorkspaceError: the file cannot be written.
    """
    driver = format_of(path)
    with replaced_on_success(path) as temporary, _explained(path):
        if driver == "ESRI Shapefile":
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
                _copy(geopackage, Path(folder) / f"{path.stem}.shp", driver, path.stem)
                (Path(folder) / f"{path.stem}.qml").write_text(layer_style(kind, legend), encoding="utf-8")
                with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                    for file in sorted(Path(folder).iterdir()):
                        archive.write(file, file.name)
        elif driver == "GPKG":
            shutil.copyfile(geopackage, temporary)
        else:
            _copy(geopackage, temporary, driver, path.stem)
            with replaced_on_success(path.with_suffix(".qml")) as style:
                style.write_text(layer_style(kind, legend), encoding="utf-8")


def format_of(path: Path) -> str:
    """GDAL's name of the format that a file name asks for.

    Raises:
        UnsupportedRasterError: none.
    """
    driver = SUFFIXES.get(path.suffix.lower())
    if driver is None:
        raise UnsupportedRasterError(
            f"'{path.suffix}' is not a kind of file that shapes are written as.",
            "Use .gpkg (GeoPackage), .geojson, .fgb (FlatGeobuf) or .zip (Shapefile).",
        )
    return driver


def _copy(geopackage: Path, path: Path, driver: str, layer: str) -> None:
    """Stream a layer from file to file, where it gets the name `layer`."""
    with open_arrow(geopackage, layer=pyogrio.list_layers(geopackage)[0][0], use_pyarrow=False) as (meta, stream):
        write_arrow(
            stream,
            path,
            layer=layer,
            driver=driver,
            geometry_name=meta["geometry_name"] or "wkb_geometry",
            geometry_type=meta["geometry_type"],
            crs=meta["crs"],
            **_OPTIONS[driver],
        )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """GDAL's and SQLite's complaints as ours; warnings of GDAL (a field shortened, an area too large for its column) are no news."""
    try:
        with disk_full_explained(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError, sqlite3.Error) as error:
        raise WorkspaceError(
            f"{path.name} could not be written ({error}).", "Check that the folder can be written to and that the disk has room."
        ) from error
