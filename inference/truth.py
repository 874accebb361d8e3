"""What is really there, read block by block on the grid of a prediction: from a raster on any grid, or from vector labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from errors import LabelFileError, NoOverlapError, UnknownClassError, UnplacedRasterError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.read import open_raster
from workspace.classes import is_fully_labelled

if TYPE_CHECKING:  # a second to import, and only vector labels need it
    import geopandas as gpd
    import pandas as pd

IGNORE = 255
IGNORE_NAMES = {"uncertain", "ignore"}
NAME_FIELDS = {"classname", "class_name", "class", "label", "name"}
"""Fields that may say of a shape that it is a fully labelled area."""
VECTOR_SUFFIXES = {".geojson", ".json", ".gpkg", ".shp", ".kml", ".gml", ".fgb", ".zip", ".sqlite"}


class Truth(Protocol):
    """Reads true class values on the grid it was opened for."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """(rows, columns) class values; 255 = not to be scored."""
        ...


@contextlib.contextmanager
def open_truth(
    path: Path,
    grid: Grid,
    *,
    ignore: int | None = IGNORE,
    mapping: Mapping[str, int] | None = None,
    class_field: str | None = None,
    buffer_m: float = 0.0,
    names: Mapping[int, str] | None = None,
) -> Iterator[Truth]:
    """Open a truth raster or a vector file for reading on `grid`.

    Args:
        path: Raster (first band) or vector file (all its layers).
        grid: The prediction's.
        ignore: Value of the truth that is not scored; None: every value counts.
        mapping: Truth value or name -> class value of the prediction (255: not scored); what it lacks stays as it is.
        class_field: Vector: the field with class values or names; None: everything is the one class that the prediction has.
        buffer_m: Vector: lines and points are widened by this much to each side, metres.
        names: Class value -> name of the prediction, to understand names in `class_field`.

    Raises:
        LabelFileError: the file cannot be read, or lacks the field.
        UnknownClassError: a class of the file is none of the prediction's.
        NoOverlapError: nothing of it lies on the grid.
        ImageryError: a raster that cannot be used.
    """
    if path.suffix.lower() in VECTOR_SUFFIXES:
        yield VectorTruth(*_features(path, grid, class_field, buffer_m, dict(names or {}), dict(mapping or {}), ignore), grid)
        return
    with open_raster(path) as dataset, _on_grid(dataset, path.name, grid) as aligned:
        yield RasterTruth(aligned, path.name, ignore, {int(k): v for k, v in (mapping or {}).items() if k.lstrip("-").isdigit()})


class RasterTruth:
    """A mask raster, aligned by nearest neighbour. Pixels outside it, or masked in it, are not scored.

    A declared nodata value of 0 is background all the same: masks are often written so.
    """

    def __init__(self, dataset: DatasetReader | WarpedVRT, name: str, ignore: int | None, mapping: Mapping[int, int]) -> None:
        self._dataset, self._name, self._ignore, self._mapping = dataset, name, ignore, mapping

    def read(self, window: Window) -> NDArray[np.uint8]:
        raw = self._dataset.read(1, window=window)
        left_out = np.zeros(raw.shape, bool)
        if isinstance(self._dataset, WarpedVRT):
            left_out |= self._dataset.read(self._dataset.count, window=window) == 0  # the alpha that the warp added
        nodata = self._dataset.nodata
        if nodata:
            left_out |= np.isnan(raw) if np.isnan(nodata) else raw == nodata
        if self._ignore is not None:
            left_out |= raw == self._ignore
        whole = np.where(left_out, 0, raw)
        if not np.array_equal(whole, np.rint(whole)):
            raise UnsupportedRasterError(f"{self._name} holds fractions, not class values.", "Give a raster of class values, one number for each class.")
        whole = whole.astype(np.int64)
        values = whole.copy()
        for value, becomes in self._mapping.items():
            values[whole == value] = becomes
        if values.min() < 0 or values.max() > IGNORE:
            odd = int(values[(values < 0) | (values > IGNORE)][0])
            raise UnknownClassError(f"{self._name} holds the value {odd}.", f"Class values are 0 to 254; say what it means, for example --classes {odd}=1.")
        return np.where(left_out, IGNORE, values).astype(np.uint8)


class VectorTruth:
    """Shapes with a class value, burnt where they cover a pixel's centre; the later shape wins. Everything else is background, or, where
    there are fully labelled areas, background inside those and not scored outside.
    """

    def __init__(self, features: gpd.GeoDataFrame, areas: gpd.GeoSeries | None, grid: Grid) -> None:
        self._features, self._areas, self._grid = features, areas, grid

    def read(self, window: Window) -> NDArray[np.uint8]:
        part = self._grid.window(int(window.col_off), int(window.row_off), int(window.width), int(window.height))
        near = np.sort(self._features.sindex.intersection(part.bounds))
        shapes = [(self._features.geometry.iloc[i], int(self._features["value"].iloc[i])) for i in near]
        if self._areas is not None:
            shapes = [(self._areas.iloc[i], 0) for i in self._areas.sindex.intersection(part.bounds)] + shapes
        elsewhere = 0 if self._areas is None else IGNORE
        if not shapes:
            return np.full(part.shape, elsewhere, np.uint8)
        return rasterize(shapes, out_shape=part.shape, transform=part.transform, fill=elsewhere, dtype="uint8")


@contextlib.contextmanager
def _on_grid(dataset: DatasetReader, name: str, grid: Grid) -> Iterator[DatasetReader | WarpedVRT]:
    same_size = (dataset.width, dataset.height) == (grid.width, grid.height)
    if same_size and (not dataset.crs or (dataset.transform.almost_equals(grid.transform) and dataset.crs == grid.crs)):
        yield dataset
        return
    if not dataset.crs:
        raise UnplacedRasterError(
            f"{name} does not say where it lies, and is not as large as the prediction.", "Give a georeferenced mask, or one on the prediction's own pixels."
        )
    options = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    with WarpedVRT(dataset, **options, resampling=Resampling.nearest, src_nodata=None, nodata=None, add_alpha=True) as warped:
        yield warped


def _features(
    path: Path, grid: Grid, field: str | None, buffer_m: float, names: Mapping[int, str], mapping: Mapping[str, int], ignore: int | None
) -> tuple[gpd.GeoDataFrame, gpd.GeoSeries | None]:
    """Polygons in the grid's CRS with a `value` column, in file order, and the fully labelled areas; None where the file has none."""
    import geopandas as gpd
    from pyogrio.errors import DataSourceError

    try:
        features = _all_layers(path)
    except (DataSourceError, OSError, ValueError) as error:
        raise LabelFileError(f"{path.name} cannot be read as labels.", "Give a GeoJSON, GeoPackage or Shapefile.") from error
    features = features[~(features.geometry.isna() | features.geometry.is_empty)]
    if features.crs is None:
        raise LabelFileError(f"{path.name} does not say in which coordinates it is.", "Save it with its coordinate system (GeoJSON: longitude and latitude).")
    marked = _fully_labelled(features, field)
    areas = features.geometry[marked].to_crs(grid.crs) if marked.any() else None
    features = features[~marked]
    values = _class_values(features, path.name, field, names, mapping if ignore is None else {str(ignore): IGNORE, **mapping})
    if ignore is not None:
        values = values.replace(ignore, IGNORE)
    placed = _widened(features.geometry, grid, buffer_m).to_crs(grid.crs)
    found = gpd.GeoDataFrame({"value": values.to_numpy()}, geometry=placed.to_numpy(), crs=grid.crs)
    if not any(len(there.sindex.intersection(grid.bounds)) for there in (found, areas) if there is not None):
        raise NoOverlapError(f"Nothing in {path.name} lies on the prediction.", "Check that both are of the same place, and their coordinate systems.")
    return found, areas


def _all_layers(path: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import pandas as pd
    import pyogrio

    layers = [gpd.read_file(path, layer=name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    there = [layer for layer in layers if len(layer)] or layers[:1]
    if not there:
        raise ValueError("no layer has shapes")
    crs = there[0].crs
    return there[0] if len(there) == 1 else pd.concat([layer if crs is None else layer.to_crs(crs) for layer in there], ignore_index=True)


def _fully_labelled(features: gpd.GeoDataFrame, field: str | None) -> NDArray[np.bool_]:
    """(n,) which shapes say that everything in them is labelled."""
    said = [c for c in features.columns if c != "geometry" and (c == field or str(c).casefold() in NAME_FIELDS)]
    rows = [features[c].map(lambda text: isinstance(text, str) and is_fully_labelled(text)).to_numpy(dtype=bool) for c in said]
    return np.logical_or.reduce(rows) if rows else np.zeros(len(features), dtype=bool)


def _class_values(features: gpd.GeoDataFrame, file: str, field: str | None, names: Mapping[int, str], mapping: Mapping[str, int]) -> pd.Series:
    import pandas as pd

    known = {name.casefold(): value for value, name in names.items()} | {str(value): value for value in names}
    known |= dict.fromkeys(IGNORE_NAMES, IGNORE)
    known |= {key.casefold(): value for key, value in mapping.items()}
    if field is None:
        classes = [value for value in names if value != 0]
        if len(classes) != 1:
            raise LabelFileError(f"The prediction has {len(classes)} classes: it is unclear which one {file} shows.", "Name its class field with --class-field.")
        return pd.Series(classes[0], index=features.index)
    if field not in features:
        fields = ", ".join(str(c) for c in features.columns if c != "geometry") or "none"
        raise LabelFileError(f"{file} has no field '{field}'.", f"It has: {fields}.")
    texts = features[field].map(_as_text)
    unknown = sorted(set(texts) - set(known))
    if unknown and names:
        choices = ", ".join(f"{value} ({name})" for value, name in names.items() if value)
        raise UnknownClassError(
            f"'{unknown[0]}' in the field {field} of {file} is no class of the prediction.",
            f"It has {choices}. Say what it is, for example --classes '{unknown[0]}=1', or '{unknown[0]}=255' to leave it out.",
        )
    try:
        return texts.map(lambda text: known.get(text, None) if text in known else int(text)).astype(int)
    except ValueError as error:
        raise UnknownClassError(f"'{unknown[0]}' in {file} is not a class value.", f"Say what it is, for example --classes '{unknown[0]}=1'.") from error


def _as_text(value: object) -> str:
    """'2' for 2 and 2.0; names in lower case, so that case does not matter."""
    if isinstance(value, (int, float, np.number)) and float(value) == int(value):
        return str(int(value))
    return " ".join(str(value).split()).casefold()


def _widened(shapes: gpd.GeoSeries, grid: Grid, buffer_m: float) -> gpd.GeoSeries:
    """Lines and points as areas: buffered in the UTM zone (or polar projection) of the grid's centre, so that metres are metres."""
    thin = ~shapes.geom_type.isin({"Polygon", "MultiPolygon"})
    if not thin.any():
        return shapes
    if buffer_m <= 0:
        kinds = ", ".join(sorted(set(shapes.geom_type[thin])))
        raise LabelFileError(f"The labels are {kinds} and have no width.", "Say how far they reach to each side with --buffer-m.")
    import geopandas as gpd

    longitude, latitude = grid.centre_lonlat
    metric = gpd.GeoSeries.from_xy([longitude], [latitude], crs="EPSG:4326").estimate_utm_crs()
    widened = shapes.to_crs(metric)
    widened[thin] = widened[thin].buffer(buffer_m)
    return widened
