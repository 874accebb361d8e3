"""Class names and colours beside a class raster, so that QGIS and ArcGIS show them as it lies.

The raster itself has a colour table. Beside it: `<name>.tif.aux.xml` (GDAL's side file: category names and an attribute table) and
`<name>.qml` (QGIS layer style). File formats: GDAL, "PAM" side files; QGIS, paletted raster renderer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from models.card import ModelCard
from workspace.classes import BACKGROUND_VALUE, ClassDef
from workspace.files import write_text

BACKGROUND_NAME = "Background"
Colour = tuple[int, int, int]


def class_colours(classes: Sequence[ClassDef]) -> dict[int, Colour]:
    """Colour of every value of a class raster; background is black (shown transparent by QGIS through the style)."""
    return {BACKGROUND_VALUE: (0, 0, 0)} | {c.value: c.rgb for c in classes}


def class_names(classes: Sequence[ClassDef]) -> dict[int, str]:
    """Name of every value of a class raster."""
    return {BACKGROUND_VALUE: BACKGROUND_NAME} | {c.value: c.name for c in classes}


def joint_classes(new: Sequence[ClassDef], *others: Sequence[ClassDef]) -> tuple[ClassDef, ...]:
    """Classes of all, matched by name: those of `new` keep their values; a further one keeps its own where it is free, else takes the next."""
    found = {c.name.casefold(): c for c in new}
    for c in (c for other in others for c in other if not c.ignore):
        if c.name.casefold() in found:
            continue
        taken = {k.value for k in found.values()}
        value = c.value if c.value not in taken and c.value < 255 else next(v for v in range(1, 255) if v not in taken)
        found[c.name.casefold()] = c.model_copy(update={"value": value})
    return tuple(found.values())


def outputs_as(card: ModelCard, classes: Sequence[ClassDef]) -> tuple[ClassDef, ...]:
    """The model's classes in output order, with the joint values and colours."""
    by_name = {c.name.casefold(): c for c in classes}
    return tuple(by_name[c.name.casefold()] for c in card.classes)


def write_legend(raster: Path, names: Mapping[int, str], colours: Mapping[int, Colour]) -> None:
    """Write both side files of `raster`; values in `names` and `colours` are the same."""
    write_text(raster.with_name(raster.name + ".aux.xml"), _xml(_side_file(names, colours)))
    write_text(raster.with_suffix(".qml"), "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _xml(_style(names, colours)))


def read_class_names(raster: Path) -> dict[int, str]:
    """Names by value from the side file of a class raster; empty when it has none."""
    path = raster.with_name(raster.name + ".aux.xml")
    if not path.exists():
        return {}
    try:
        rows = ET.parse(path).getroot().iterfind(".//GDALRasterAttributeTable/Row")
        return {int(float(fields[0].text or 0)): fields[1].text or "" for row in rows if len(fields := row.findall("F")) > 1}
    except (ET.ParseError, ValueError):
        return {}


def _side_file(names: Mapping[int, str], colours: Mapping[int, Colour]) -> ET.Element:
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(categories, "Category").text = names.get(value, "")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    fields = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for index, (title, kind, usage) in enumerate(fields):  # kind: 0 integer, 2 text; usage: GDALRATFieldUsage (5 MinMax, 2 Name, 6-8 colour)
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", title), ("Type", str(kind)), ("Usage", str(usage))):
            ET.SubElement(field, tag).text = text
    for index, (value, name) in enumerate(sorted(names.items())):
        row = ET.SubElement(table, "Row", index=str(index))
        for text in (str(value), name, *map(str, colours[value])):
            ET.SubElement(row, "F").text = text
    return root


def _style(names: Mapping[int, str], colours: Mapping[int, Colour]) -> ET.Element:
    root = ET.Element("qgis", version="3.28", styleCategories="Symbology")
    ET.SubElement(root, "pipe").append(paletted_renderer(names, colours))
    return root


def paletted_renderer(names: Mapping[int, str], colours: Mapping[int, Colour]) -> ET.Element:
    """How QGIS draws a class raster: a colour and a name for each value, background transparent."""
    renderer = ET.Element("rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor="")
    palette = ET.SubElement(renderer, "colorPalette")
    for value, name in sorted(names.items()):
        alpha = "0" if value == BACKGROUND_VALUE else "255"
        ET.SubElement(palette, "paletteEntry", value=str(value), color="#{:02x}{:02x}{:02x}".format(*colours[value]), alpha=alpha, label=name)
    return renderer


def _xml(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
