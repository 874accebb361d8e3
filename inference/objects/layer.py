"""Objects as a file that QGIS and ArcGIS open: written in batches, with class colours, never half a file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.crs import CRS

from errors import LabelFileError
from workspace.classes import ClassDef
from workspace.files import disk_full_explained, replaced_on_success
from workspace.layer_styles import add_layer_styles, layer_style

LAYER = "objects"
BATCH = 5000
"""Objects that are written at once."""
FORMATS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf"}
_GEOD = Geod(ellps="WGS84")


@dataclass
class ObjectFile:
    """A layer that grows batch by batch."""

    path: Path
    kind: str
    count: int = 0
    """Objects so far."""
    _waiting: list[gpd.GeoDataFrame] = field(default_factory=list, repr=False)
    _written: bool = field(default=False, repr=False)

    def add(self, objects: gpd.GeoDataFrame) -> None:
        """Append objects; those without an `id` get the next number, from 1. All have the same columns and CRS."""
        numbered = objects.copy()
        if "id" not in numbered:
            numbered.insert(0, "id", range(self.count + 1, self.count + 1 + len(objects)))
        self.count += len(objects)
        self._waiting.append(numbered)
        if sum(map(len, self._waiting)) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits; the first batch makes the layer, even when it is empty."""
        there = [one for one in self._waiting if len(one)] or self._waiting[:1]
        if there and (not self._written or len(there[0])):
            table = pd.concat(there, ignore_index=True) if len(there) > 1 else there[0]
            pyogrio.write_dataframe(
                table,
                self.path,
                layer=LAYER,
                driver="GPKG",
                geometry_type=self.kind,
                promote_to_multi=self.kind.startswith("Multi"),
                append=self._written,
            )
            self._written = True
        self._waiting = []


@contextlib.contextmanager
def object_file(path: Path, classes: Sequence[ClassDef], kind: str = "MultiPolygon") -> Iterator[ObjectFile]:
    """A file of objects, there only once it is complete.

    A GeoPackage keeps the CRS and has the class colours in it. Other formats by the ending: .geojson (longitude and latitude), .shp and .fgb, with
    the colours in a .qml beside them.

    Args:
        path: What to write.
        classes: For the colours; objects have them in the field Classvalue.
        kind: Type of the geometries, as OGC calls it.

    Raises:
        LabelFileError: another ending.
        DiskFullError: there is no room; nothing was changed.
    """
    driver = FORMATS.get(path.suffix.lower())
    if driver is None:
        raise LabelFileError(f"Objects cannot be written as '{path.suffix}'.", f"Use one of {', '.join(FORMATS)}.")
    shape = "point" if "Point" in kind else "line" if "Line" in kind else "area"
    style = layer_style(shape, [(c.value, c.name, c.colour) for c in classes])
    with contextlib.ExitStack() as stack:
        first = path if driver == "GPKG" else path.with_suffix(".unfinished.gpkg")
        if driver != "GPKG":
            stack.callback(first.unlink, missing_ok=True)
        package = stack.enter_context(replaced_on_success(first))
        growing = ObjectFile(package, kind)
        yield growing
        growing.flush()
        with disk_full_explained(path), contextlib.closing(sqlite3.connect(package)) as connection, connection:
            add_layer_styles(connection, {LAYER: style})
        if driver != "GPKG":
            _convert(package, path, driver, style)


def _convert(package: Path, path: Path, driver: str, style: str) -> None:
    objects = pyogrio.read_dataframe(package, layer=LAYER)
    if driver == "GeoJSON":
        objects = objects.to_crs("EPSG:4326")
    with replaced_on_success(path) as temporary, disk_full_explained(path):
        pyogrio.write_dataframe(objects, temporary, driver=driver, **({"RFC7946": "YES"} if driver == "GeoJSON" else {}))
        for part in temporary.parent.glob(f"{temporary.stem}.*"):  # a shapefile is several files
            if part != temporary:
                part.replace(path.with_suffix(part.suffix))
    path.with_suffix(".qml").write_text(style, encoding="utf-8")


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


def areas_m2(shapes: gpd.GeoSeries) -> list[float]:
    """Geodesic areas on WGS 84, square metres."""
    return [abs(float(_GEOD.geometry_area_perimeter(shape)[0])) for shape in shapes.to_crs("EPSG:4326")]


def placed(shapes: NDArray[np.object_], transform: Affine, crs: CRS) -> gpd.GeoSeries:
    """Shapes in pixels (x, y) as shapes in a CRS."""
    moved = shapely.transform(shapes, lambda x, y: transform @ (x, y), interleaved=False)
    return gpd.GeoSeries(moved, crs=crs)
