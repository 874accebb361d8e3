"""Class colours for vector layers as QGIS shows them: a style (QML) by Classvalue, and the table of a GeoPackage in which QGIS looks for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

from workspace.classes import rgb_of

Legend = Sequence[tuple[int, str, str]]
"""Value, name and colour (#rrggbb) of each class, in drawing order."""


def layer_style(kind: str, legend: Legend, *, hollow: int | None = None) -> str:
    """A QGIS layer style (QML): one symbol a class, by the field Classvalue.

    Args:
        kind: "area", "line" or "point".
        legend: The classes.
        hollow: Class value that is drawn as a dashed outline.
    """
    categories = "".join(
        f'<category render="true" type="long" value="{value}" symbol="{i}" label={quoteattr(name)}/>' for i, (value, name, _) in enumerate(legend)
    )
    symbols = "".join(_symbol(kind, i, colour, hollow=value == hollow) for i, (value, _, colour) in enumerate(legend))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'><qgis styleCategories=\"Symbology\" version=\"3.28.0\">"
        '<renderer-v2 type="categorizedSymbol" attr="Classvalue" enableorderby="0" forceraster="0" symbollevels="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2></qgis>"
    )


def add_layer_styles(connection: sqlite3.Connection, styles: Mapping[str, str]) -> None:
    """Write the `layer_styles` table of a GeoPackage: layer name -> style, each the layer's default."""
    connection.execute(
        "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256), f_table_schema TEXT(256),"
        " f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN,"
        " description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
    )
    connection.execute("INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles')")
    for layer, style in styles.items():
        column = connection.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)).fetchone()[0]
        connection.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, useAsDefault,"
            " description) VALUES ('', '', ?, ?, 'classes', ?, 1, 'Class colours')",
            (layer, column, style),
        )


def _symbol(kind: str, index: int, colour: str, *, hollow: bool) -> str:
    red, green, blue = rgb_of(colour)
    solid, pale = f"{red},{green},{blue},255", f"{red},{green},{blue},70"
    symbol_type, layer_class, options = {
        "area": ("fill", "SimpleFill", {"color": pale, "outline_color": solid, "outline_width": "0.5", "style": "solid"}),
        "line": ("line", "SimpleLine", {"line_color": solid, "line_width": "0.7", "capstyle": "round", "joinstyle": "round"}),
        "point": ("marker", "SimpleMarker", {"color": solid, "name": "circle", "size": "2.6", "outline_color": "255,255,255,255"}),
    }[kind]
    if hollow:
        options |= {"style": "no", "outline_style": "dash"}
    listed = "".join(f'<Option type="QString" name="{name}" value="{value}"/>' for name, value in options.items())
    return (
        f'<symbol type="{symbol_type}" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer_class}" enabled="1" locked="0" pass="0"><Option type="Map">{listed}</Option></layer></symbol>'
    )
