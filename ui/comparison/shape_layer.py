"""Shapes made of a comparison's maps, on its map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyogrio
import streamlit as st

from errors import TerratuneError
from inference.report import read_report
from inference.vectors.asked import FOLDER, read_asked, read_made, shapes_file
from ui import maps
from ui.comparison.choices import KEY
from workspace.classes import rgb_of

MOST_SHOWN = 3000
"""Shapes that are drawn, the largest first; all of them are in the files."""
TITLES = {"polygons": "Areas", "buildings": "Buildings", "roads": "Roads"}


def shown_shapes(comparison: Path) -> Path | None:
    """The job whose shapes are to be shown on the map."""
    name = st.session_state.get(f"{KEY}:shapes:{comparison.name}", "")
    job = comparison / FOLDER / str(name)
    return job if name and read_made(job) is not None else None


def show_shapes(comparison: Path, job: Path | None) -> None:
    """Note which shapes are to be shown; None: none."""
    st.session_state[f"{KEY}:shapes:{comparison.name}"] = "" if job is None else job.name


def add_shown_shapes(m: Any, comparison: Path) -> None:
    """Lay the chosen shapes over a map of the comparison, where some were chosen."""
    job = shown_shapes(comparison)
    if job is None:
        return
    try:
        asked, colours = read_asked(job), {c.value: c.colour for c in read_report(comparison).classes}
    except TerratuneError:
        return
    file = shapes_file(job, asked, ".fgb")
    features = largest(file, file.stat().st_mtime_ns, "length_m" if asked.shapes.kind == "roads" else "area_m2", colours)
    maps.add_shapes(m, {"type": "FeatureCollection", "features": features}, TITLES[asked.shapes.kind], fill_opacity=0.25, tooltip="text")


@st.cache_data(max_entries=4, show_spinner=False)
def largest(file: Path, changed: int, size: str, colours: dict[int, str]) -> list[dict[str, Any]]:
    """Up to `MOST_SHOWN` shapes of a file as GeoJSON features in longitude and latitude, with a style and a text each.

    Args:
        file: A FlatGeobuf of shapes.
        changed: When it was written; a newer one is read again.
        size: The field by which they are ordered.
        colours: By class value.
    """
    table = pyogrio.read_dataframe(file, sql=f'SELECT * FROM "{file.stem}" ORDER BY {size} DESC LIMIT {MOST_SHOWN}').to_crs("EPSG:4326")
    features = json.loads(table[["geometry"]].to_json(drop_id=True))["features"]
    for feature, row in zip(features, table.to_dict("records"), strict=True):
        colour = colours.get(row["Classvalue"], "#888888")
        style = {"color": _darker(colour), "fillColor": colour}
        feature["properties"] = {"text": _text(row), "style": style}
    return features


def _darker(colour: str) -> str:
    """A line of this colour would not be seen on its own map."""
    return "#{:02x}{:02x}{:02x}".format(*(part * 6 // 10 for part in rgb_of(colour)))


def _text(row: dict[str, Any]) -> str:
    """What stands under the pointer."""
    said = [str(row["Classname"])]
    if "length_m" in row:
        said.append(f"{row['length_m']:,.0f} m long, {row['width_m']:.1f} m wide")
    else:
        said.append(f"{row['area_m2']:,.0f} m²")
    if row["confidence"] == row["confidence"]:  # NaN without a confidence map
        said.append(f"{row['confidence']:.0%} sure")
    if row.get("regular") == 0:
        said.append("no right angles found")
    return ", ".join(said)
