"""A QGIS project of a comparison: imagery, both maps, changes and labels in their colours, by paths relative to the project file.

`comparison.qgs` lies in the comparison's folder, and all that it names lies in there, too: the comparison's rasters, and hard links (copies where the disk
knows none) of the pictures and of labels.gpkg. So the folder opens in QGIS as it lies, and as the ZIP of it anywhere else. Pictures that are not the project's own
stay where they are: server folders by their absolute path, addresses through GDAL's /vsicurl/.

The elements are those of project files that QGIS 3.28 writes; what it fills in by itself when it opens a file is left out.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pyogrio
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from errors import ImageryError
from imagery.grid import Grid
from imagery.read import is_url, open_raster
from imagery.stretch import identity_stretch
from inference.compare import CHANGE_COLOURS, CHANGE_NAMES
from inference.legend import class_colours, class_names, paletted_renderer
from inference.report import Report
from inference.reuse import link_or_copy
from inference.settings import PredictionSettings, RasterToPredict, source_of
from workspace.files import replaced_on_success, write_text

PROJECT_FILE = "comparison.qgs"
VERSION = "3.28.0-Firenze"
LABELS = "labels.gpkg"
OPACITY = "0.75"
_GEOMETRY = {"label_polygons": "Polygon", "label_lines": "Line", "label_points": "Point"}
_LONLAT = CRS.from_epsg(4326)


@dataclass(frozen=True)
class _Layer:
    """One layer: its entry in the list and its description."""

    id: str
    name: str
    source: str
    provider: str
    shown: bool
    element: ET.Element


def make_qgis_project(job: Path, settings: PredictionSettings, report: Report) -> Path:
    """Write comparison.qgs and what it needs beside the maps.

    Args:
        job: Folder of a finished comparison.
        settings: Its settings.
        report: Its numbers.

    Raises:
        DiskFullError: no room.
    """
    crs, bounds = _extent(job, report)
    groups: list[tuple[str, list[_Layer]]] = [("Labels", list(_label_layers(job)))]
    for what, title, shown in (("change", "Changes", False), ("after", f"After: {report.after.title}", True), ("before", f"Before: {report.before.title}", False)):
        groups.append((title, [_map_layer(job, report, raster.id, raster.name, what, shown) for raster in report.rasters]))
    asked = {raster.id: raster for raster in settings.rasters}
    pictures = [layer for raster in report.rasters if (layer := _picture_layer(job, asked[raster.id])) is not None]
    groups.append(("Imagery", pictures))
    write_text(job / PROJECT_FILE, _document(report.title, crs, bounds, [group for group in groups if group[1]]))
    return job / PROJECT_FILE


def _document(title: str, crs: CRS, bounds: tuple[float, float, float, float], groups: Sequence[tuple[str, Sequence[_Layer]]]) -> str:
    root = ET.Element("qgis", version=VERSION, projectname=title)
    ET.SubElement(root, "homePath", path="")
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "projectCrs").append(_spatial_reference(crs))
    tree = ET.SubElement(root, "layer-tree-group")
    for name, layers in groups:
        group = ET.SubElement(tree, "layer-tree-group", name=name, checked="Qt::Checked", expanded="1")
        for layer in layers:
            ET.SubElement(
                group,
                "layer-tree-layer",
                id=layer.id,
                name=layer.name,
                source=layer.source,
                providerKey=layer.provider,
                checked="Qt::Checked" if layer.shown else "Qt::Unchecked",
                expanded="0",
            )
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "degrees" if crs.is_geographic else "meters"
    extent = ET.SubElement(canvas, "extent")
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True):
        ET.SubElement(extent, tag).text = repr(value)
    ET.SubElement(canvas, "rotation").text = "0"
    ET.SubElement(canvas, "destinationsrs").append(_spatial_reference(crs))
    layers_element = ET.SubElement(root, "projectlayers")
    order = ET.SubElement(root, "layerorder")
    for layer in (layer for _, layers in groups for layer in layers):
        layers_element.append(layer.element)
        ET.SubElement(order, "layer", id=layer.id)
    properties = ET.SubElement(root, "properties")
    ET.SubElement(ET.SubElement(properties, "Paths"), "Absolute", type="bool").text = "false"
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode") + "\n"


def _extent(job: Path, report: Report) -> tuple[CRS, tuple[float, float, float, float]]:
    """The CRS of the first map, and what shows all of them in it."""
    with rasterio.open(job / report.rasters[0].id / "after.tif") as first:
        crs = first.crs
    boxes = []
    for raster in report.rasters:
        with rasterio.open(job / raster.id / "after.tif") as file:
            own = Grid(file.width, file.height, file.transform, file.crs).bounds
            boxes.append(own if file.crs == crs else transform_bounds(file.crs, crs, *own))
    boxes = [box for box in boxes if all(map(math.isfinite, box))]
    west, south, east, north = zip(*boxes, strict=True)
    return crs, (min(west), min(south), max(east), max(north))


def _map_layer(job: Path, report: Report, raster_id: str, name: str, what: str, shown: bool) -> _Layer:
    if what == "change":
        names, colours = dict(CHANGE_NAMES), dict(CHANGE_COLOURS)
    else:
        names, colours = class_names(report.classes), class_colours(report.classes)
    renderer = paletted_renderer(names, colours)
    renderer.set("opacity", OPACITY)
    with rasterio.open(job / raster_id / f"{what}.tif") as file:
        crs = file.crs
    return _raster_layer(f"{what}_{raster_id}", name, f"./{raster_id}/{what}.tif", crs, renderer, shown)


def _picture_layer(job: Path, raster: RasterToPredict) -> _Layer | None:
    """The imagery as it is shown on the page; None where it is gone."""
    source = source_of(job, raster)
    try:
        with open_raster(source) as dataset:
            crs = dataset.crs
    except ImageryError:
        return None
    if is_url(source):
        place = f"/vsicurl/{source}"
    elif Path(source).is_relative_to(job.resolve().parent.parent):
        place = f"./imagery/{Path(source).name}"
        for beside in ("", ".aux.xml", ".ovr", ".msk"):
            link_or_copy(Path(source + beside), job / (place + beside))
    else:
        place = source
    bands, stretch = raster.shown_bands, raster.stretch or identity_stretch(len(raster.shown_bands))
    if len(bands) == 1:
        renderer = ET.Element("rasterrenderer", type="singlebandgray", grayBand=str(bands[0]), gradient="BlackToWhite", opacity="1", alphaBand="-1", nodataColor="")
        renderer.append(_contrast("contrastEnhancement", stretch.low[0], stretch.high[0]))
    else:
        numbers = {f"{colour}Band": str(band) for colour, band in zip(("red", "green", "blue"), bands, strict=True)}
        renderer = ET.Element("rasterrenderer", {"type": "multibandcolor", "opacity": "1", "alphaBand": "-1", "nodataColor": "", **numbers})
        for colour, low, high in zip(("red", "green", "blue"), stretch.low, stretch.high, strict=True):
            renderer.append(_contrast(f"{colour}ContrastEnhancement", low, high))
    return _raster_layer(f"imagery_{raster.id}", raster.name, place, crs, renderer, True)


def _contrast(tag: str, low: float, high: float) -> ET.Element:
    element = ET.Element(tag)
    for name, text in (("minValue", repr(low)), ("maxValue", repr(high)), ("algorithm", "StretchToMinimumMaximum")):
        ET.SubElement(element, name).text = text
    return element


def _raster_layer(layer_id: str, name: str, source: str, crs: CRS, renderer: ET.Element, shown: bool) -> _Layer:
    element = _layer_element("raster", layer_id, name, source, "gdal", crs)
    pipe = ET.SubElement(element, "pipe")
    pipe.append(renderer)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(element, "blendMode").text = "0"
    return _Layer(layer_id, name, source, "gdal", shown, element)


def _label_layers(job: Path) -> Iterator[_Layer]:
    """The layers of labels.gpkg that hold something, with the style that it brings for each."""
    file = job.resolve().parent.parent / LABELS
    if not file.exists():
        return
    with replaced_on_success(job / LABELS) as temporary:  # as they are now: later edits are not of this comparison
        shutil.copyfile(file, temporary)
    with contextlib.closing(sqlite3.connect(f"{(job / LABELS).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        styles = dict(connection.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall())
    for layer, kind in _GEOMETRY.items():
        if not pyogrio.read_info(job / LABELS, layer=layer)["features"]:
            continue
        source = f"./{LABELS}|layername={layer}"
        element = _layer_element("vector", layer, layer, source, "ogr", _LONLAT)
        element.set("geometry", kind)
        renderer = ET.fromstring(styles[layer]).find("renderer-v2")
        if renderer is not None:
            element.append(renderer)
        ET.SubElement(element, "layerOpacity").text = "1"
        yield _Layer(layer, layer, source, "ogr", False, element)


def _layer_element(kind: str, layer_id: str, name: str, source: str, provider: str, crs: CRS) -> ET.Element:
    element = ET.Element("maplayer", type=kind, hasScaleBasedVisibilityFlag="0", styleCategories="AllStyleCategories")
    for tag, text in (("id", layer_id), ("datasource", source), ("layername", name)):
        ET.SubElement(element, tag).text = text
    ET.SubElement(element, "srs").append(_spatial_reference(crs))
    ET.SubElement(element, "provider").text = provider
    return element


def _spatial_reference(crs: CRS) -> ET.Element:
    code = crs.to_epsg()
    element = ET.Element("spatialrefsys", nativeFormat="Wkt")
    facts = {"wkt": crs.to_wkt(), "srid": str(code or 0), "authid": f"EPSG:{code}" if code else "", "geographicflag": str(crs.is_geographic).lower()}
    for tag, text in facts.items():
        ET.SubElement(element, tag).text = text
    return element
