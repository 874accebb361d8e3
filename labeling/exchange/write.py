"""Labels out: names, values and colours with every format, QGIS styles where they can lie beside it."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

from labeling.exchange.tables import guarded
from labeling.exchange.vectors import quiet
from labeling.label_set import LAYERS, kinds, legend, outside, style_qml, with_arcgis_fields, write_geopackage
from workspace.classes import FULLY_LABELLED_VALUE, ClassSchema
from workspace.files import disk_full_explained, replaced_on_success

Format = Literal["GeoJSON", "GeoPackage", "Shapefile", "FlatGeobuf", "KML", "CSV"]
SUFFIXES: dict[Format, str] = {
    "GeoJSON": ".geojson",
    "GeoPackage": ".gpkg",
    "Shapefile": ".zip",
    "FlatGeobuf": ".fgb",
    "KML": ".kml",
    "CSV": ".csv",
}
STYLED: tuple[Format, ...] = ("GeoJSON", "FlatGeobuf", "CSV")
"""Formats that know no style themselves and may be written as a .zip with one file and one QGIS style for each kind of shape."""
_KML = "http://www.opengis.net/kml/2.2"


def chosen_labels(
    labels: gpd.GeoDataFrame, class_values: Collection[int] | None = None, footprints: Sequence[shapely.Geometry] | None = None
) -> gpd.GeoDataFrame:
    """The labels of some classes that touch some scenes.

    Args:
        labels: A label set.
        class_values: Classes wanted (0: fully labelled areas); None: all.
        footprints: Outlines of the scenes wanted, EPSG:4326; None: all, and also what lies outside every scene.
    """
    wanted = np.ones(len(labels), dtype=bool) if class_values is None else labels["class_value"].isin(class_values).to_numpy()
    if footprints is not None:
        wanted = wanted & ~outside(labels, footprints)
    return labels[wanted].reset_index(drop=True)


def write_labels(labels: gpd.GeoDataFrame, schema: ClassSchema, path: Path, file_format: Format, *, styles: bool = False) -> None:
    """Write labels with the ArcGIS training-sample fields and their width (WIDTH_M), in EPSG:4326.

    Args:
        labels: A label set.
        schema: Gives names and colours.
        path: Replaced when everything is written.
        file_format: "Shapefile" is a .zip with one shapefile and one QGIS style for each kind of shape; GeoPackage has the styles in it;
            KML has the class colours.
        styles: For formats in `STYLED`: write a .zip with one file and one QGIS style for each kind of shape.

    Raises:
        DiskFullError: nothing was changed.
    """
    if file_format == "GeoPackage":
        write_geopackage(labels, schema, path)
        return
    table = with_arcgis_fields(labels, schema)
    if file_format == "Shapefile" or (styles and file_format in STYLED):
        _write_zip(table, kinds(labels), schema, path, file_format)
        return
    with replaced_on_success(path) as temporary, quiet(), disk_full_explained(path):
        if file_format == "KML":
            temporary.write_bytes(_kml(table, schema))
        else:
            _WRITERS[file_format](table, temporary)


def _write_geojson(table: gpd.GeoDataFrame, path: Path) -> None:
    pyogrio.write_dataframe(table, path, driver="GeoJSON", layer="labels", RFC7946="YES", COORDINATE_PRECISION=9)


def _write_flatgeobuf(table: gpd.GeoDataFrame, path: Path) -> None:
    one_type = table.geom_type.nunique() == 1
    pyogrio.write_dataframe(table, path, driver="FlatGeobuf", layer="labels", geometry_type=None if one_type else "Unknown", SPATIAL_INDEX="YES")


def _write_shapefile(table: gpd.GeoDataFrame, path: Path) -> None:
    pyogrio.write_dataframe(table, path, driver="ESRI Shapefile", encoding="UTF-8")


def _write_csv(table: gpd.GeoDataFrame, path: Path) -> None:
    """WKT first, then the attributes; no cell that a spreadsheet would take for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    attributes = table.drop(columns=[table.geometry.name])
    writer.writerow(["WKT", *attributes.columns])
    wkt = shapely.to_wkt(table.geometry.to_numpy(), rounding_precision=9)
    for shape, row in zip(wkt, attributes.itertuples(index=False), strict=True):
        writer.writerow([shape, *("" if pd.isna(cell) else guarded(cell) for cell in row)])
    path.write_text("\ufeff" + text.getvalue(), encoding="utf-8", newline="")


_WRITERS: dict[str, Callable[[gpd.GeoDataFrame, Path], None]] = {
    "GeoJSON": _write_geojson,
    "FlatGeobuf": _write_flatgeobuf,
    "Shapefile": _write_shapefile,
    "CSV": _write_csv,
}


def _write_zip(table: gpd.GeoDataFrame, kind: pd.Series, schema: ClassSchema, path: Path, file_format: Format) -> None:
    suffix = ".shp" if file_format == "Shapefile" else SUFFIXES[file_format]
    with replaced_on_success(path) as temporary, tempfile.TemporaryDirectory(dir=path.parent) as folder, disk_full_explained(path), quiet():
        for name, layer in LAYERS.items():
            part = table[kind.to_numpy() == name]
            if len(part):
                _WRITERS[file_format](part, Path(folder) / f"{layer}{suffix}")
                (Path(folder) / f"{layer}.qml").write_text(style_qml(name, schema), encoding="utf-8")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)


# --- KML: GDAL writes it without colours -----------------------------------------------------------------------------------------------


def _kml(table: gpd.GeoDataFrame, schema: ClassSchema) -> bytes:
    """One folder a class, its placemarks in the class colour."""
    ElementTree.register_namespace("", _KML)
    root = ElementTree.Element(f"{{{_KML}}}kml")
    document = _child(root, "Document")
    _child(document, "name", "Labels")
    for value, _, colour in legend("area", schema):
        _add_style(document, value, colour)
    for class_value, rows in table.groupby("Classvalue", sort=False):
        folder = _child(document, "Folder")
        _child(folder, "name", str(rows["Classname"].iloc[0]))
        for row in rows.to_dict("records"):
            _add_placemark(folder, int(class_value), row)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _child(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_KML}}}{tag}", attributes)
    element.text = text
    return element


def _add_style(document: ElementTree.Element, class_value: int, colour: str) -> None:
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    opacity = "00" if class_value == FULLY_LABELLED_VALUE else "60"
    solid, pale = f"ff{blue}{green}{red}", f"{opacity}{blue}{green}{red}"  # KML: opacity, blue, green, red
    style = _child(document, "Style", id=f"class{class_value}")
    _child(_child(style, "IconStyle"), "color", solid)
    line = _child(style, "LineStyle")
    _child(line, "color", solid)
    _child(line, "width", "2")
    _child(_child(style, "PolyStyle"), "color", pale)


def _add_placemark(folder: ElementTree.Element, class_value: int, row: dict[str, Any]) -> None:
    placemark = _child(folder, "Placemark")
    _child(placemark, "name", str(row["Classname"]))
    _child(placemark, "styleUrl", f"#class{class_value}")
    data = _child(placemark, "ExtendedData")
    for name, value in row.items():
        if name != "geometry" and not pd.isna(value) and value != "":
            _child(_child(data, "Data", name=str(name)), "value", _printable(str(value)))
    _add_shape(placemark, row["geometry"])


def _printable(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or c >= " ")


def _add_shape(parent: ElementTree.Element, shape: Any) -> None:
    if hasattr(shape, "geoms"):
        several = _child(parent, "MultiGeometry")
        for part in shape.geoms:
            _add_shape(several, part)
    elif shape.geom_type == "Polygon":
        polygon = _child(parent, "Polygon")
        for tag, ring in [("outerBoundaryIs", shape.exterior), *(("innerBoundaryIs", hole) for hole in shape.interiors)]:
            _child(_child(_child(polygon, tag), "LinearRing"), "coordinates", _coordinates(ring))
    else:
        _child(_child(parent, shape.geom_type), "coordinates", _coordinates(shape))


def _coordinates(shape: Any) -> str:
    return " ".join(f"{x:.9f},{y:.9f}" for x, y in shapely.get_coordinates(shape))
