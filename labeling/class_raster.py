"""A raster of class values (a classification, a prediction) as labels: its areas of one class become polygons along the edges of its pixels.

So it goes the way of all labels: burnt on an image of any grid, a pixel gets the class of the raster's pixel over its centre, which is what
resampling by the nearest neighbour gives; and each connected area of a class is one object in formats of objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.io import DatasetReader

from errors import LabelFileError
from imagery.raster import describe
from imagery.read import open_raster, read_window
from workspace.classes import BACKGROUND_VALUE, FULLY_LABELLED_VALUE, UNCERTAIN_VALUE

MOST_PIXELS = 2**30
"""Of a raster that is read whole: a byte each, four in between."""
MOST_AREAS = 500_000
"""Connected areas of one class: beyond that it is noise, not objects."""
RASTER_SUFFIXES = (".tif", ".tiff", ".png", ".img", ".jp2")
LONGEST_EDGE = 64
"""Pixels: longer straight edges get points in between, so that they stay where they are in another CRS."""
RGB = tuple[int, int, int]


@dataclass(frozen=True)
class ClassRaster:
    """Labels from a raster of class values."""

    labels: gpd.GeoDataFrame
    """`class_value` and polygons, in the raster's CRS. Value 0: where the raster says what is there (see `labeling.fully_labelled`)."""
    values: tuple[int, ...]
    """Class values found, ascending."""
    names: dict[int, str]
    """Of these, where the raster has some: its attribute table, or category names."""
    colours: dict[int, RGB]
    """Likewise, from its attribute table or colour table."""


def read_class_raster(path: Path, crs: str | None = None, *, may_be_empty: bool = False) -> ClassRaster:
    """Labels from a raster of class values: one band of whole numbers, 0 background, 1 to 254 classes, 255 and nodata not known.

    Args:
        path: Any raster that can be imagery.
        crs: Of a raster that does not say its own.
        may_be_empty: A raster without any class is not refused.

    Raises:
        LabelFileError: it holds something other than class values, none at all, or too many areas.
        ImageryError: it cannot be read, or lies nowhere.
    """
    with open_raster(path) as dataset:
        info = describe(dataset, path.name, None, crs)
        _refuse_other_rasters(dataset, path.name)
        pixels = read_window(dataset, 0, 0, dataset.width, dataset.height, [1])
        values = _class_values(pixels.values[0], pixels.valid, path.name)
        colours = _colour_table(dataset)
    classes = (values != BACKGROUND_VALUE) & (values != UNCERTAIN_VALUE)
    found = [int(v) for v in np.unique(values[classes])]
    if not found and not may_be_empty:
        raise LabelFileError(f"{path.name} holds no class: nothing but background, 255 and 'no data'.", "Choose another raster.")
    names, table_colours = _attributes(path)
    areas = _polygons(values, classes, path.name)
    known = _polygons(np.full(values.shape, FULLY_LABELLED_VALUE, dtype=np.uint8), values != UNCERTAIN_VALUE, path.name)
    grid = info.grid
    in_pixels = shapely.segmentize(np.array([shape for shape, _ in areas + known], dtype=object), LONGEST_EDGE)
    geometry = shapely.transform(in_pixels, lambda x, y: grid.transform @ (x, y), interleaved=False)
    labels = gpd.GeoDataFrame({"class_value": [value for _, value in areas + known]}, geometry=geometry, crs=grid.crs)
    colours |= table_colours
    return ClassRaster(labels, tuple(found), {v: names[v] for v in found if v in names}, {v: colours[v] for v in found if v in colours})


def _refuse_other_rasters(dataset: DatasetReader, name: str) -> None:
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in "iu":
        raise LabelFileError(
            f"{name} has {dataset.count} band{'s' if dataset.count > 1 else ''} of {dataset.dtypes[0]}; class values are one band of whole numbers.",
            "Choose a classified raster. A picture of labels in colours has to be turned into class values first.",
        )
    if dataset.width * dataset.height > MOST_PIXELS:
        raise LabelFileError(
            f"{name} has {dataset.width} x {dataset.height} pixels, more than fit into memory as labels.",
            "Cut it to the imagery (QGIS: Raster > Extraction > Clip), or make its pixels larger.",
        )


def _class_values(values: NDArray[np.integer], valid: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
    """(rows, columns) 0 to 255; 255 also where there is no data."""
    wrong = valid & ((values < BACKGROUND_VALUE) | (values > UNCERTAIN_VALUE))
    if wrong.any():
        raise LabelFileError(
            f"{name} holds the value {int(values[wrong][0])}; class values are 1 to 254, 0 is background.",
            "Give its classes smaller numbers (QGIS: Reclassify by table).",
        )
    return np.where(valid, values, UNCERTAIN_VALUE).astype(np.uint8)


def _polygons(values: NDArray[np.uint8], where: NDArray[np.bool_], name: str) -> list[tuple[shapely.Geometry, int]]:
    """(polygon in pixels, value) of each connected area; pixels that only touch at a corner are not connected."""
    found: list[tuple[shapely.Geometry, int]] = []
    for shape, value in shapes(values, mask=where):
        if len(found) == MOST_AREAS:
            raise LabelFileError(
                f"{name} has more than {MOST_AREAS:,} separate areas of one class.",
                "Remove single pixels first (QGIS: Raster > Analysis > Sieve), or cut it to the imagery.",
            )
        rings = shape["coordinates"]
        found.append((shapely.Polygon(rings[0], rings[1:]), int(value)))
    return found


def _colour_table(dataset: DatasetReader) -> dict[int, RGB]:
    try:
        return {value: (red, green, blue) for value, (red, green, blue, _) in dataset.colormap(1).items()}
    except ValueError:
        return {}


def _attributes(path: Path) -> tuple[dict[int, str], dict[int, RGB]]:
    """Names and colours from the attribute table beside a raster: ArcGIS's .vat.dbf, or GDAL's in .aux.xml (or its category names)."""
    for read in (_from_vat, _from_aux):
        rows = read(path)
        if rows:
            named = {value: name for value, (name, _) in rows.items() if name}
            return named, {value: rgb for value, (_, rgb) in rows.items() if rgb}
    return {}, {}


Rows = dict[int, tuple[str, RGB | None]]


def _from_vat(path: Path) -> Rows:
    table = path.with_name(f"{path.name}.vat.dbf")
    if not table.is_file():
        return {}
    try:
        frame = pyogrio.read_dataframe(table, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return {}
    return _rows([str(c) for c in frame.columns], frame.astype(str).to_numpy().tolist())


def _from_aux(path: Path) -> Rows:
    side = path.with_name(f"{path.name}.aux.xml")
    try:
        root = ElementTree.parse(side).getroot()
    except (OSError, ElementTree.ParseError, LookupError):
        return {}
    table = root.find(".//GDALRasterAttributeTable")
    if table is not None:
        fields = [f.findtext("Name") or "" for f in table.iterfind("FieldDefn")]
        return _rows(fields, [[f.text or "" for f in row.iterfind("F")] for row in table.iterfind("Row")])
    names = [c.text or "" for c in root.iterfind(".//CategoryNames/Category")]
    return {value: (name, None) for value, name in enumerate(names)}


def _rows(fields: list[str], rows: list[list[str]]) -> Rows:
    """Each value with its name and colour, whatever the case of the field names."""
    place = {name.casefold(): i for i, name in enumerate(fields)}
    value, name = place.get("value"), next((place[n] for n in ("class", "classname", "class_name", "name") if n in place), None)
    colours = [place[c] for c in ("red", "green", "blue") if c in place]
    if value is None:
        return {}
    found: Rows = {}
    for row in rows:
        try:
            rgb = [int(float(row[i])) for i in colours]
            about = " ".join(row[name].split()) if name is not None else ""
            found[int(float(row[value]))] = (about, (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None)
        except (ValueError, IndexError):
            continue
    return found
