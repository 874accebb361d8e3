"""Who comes from a comparison is led to the place chosen there, then from square to square of ground where the new model is least sure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import streamlit as st

from inference.differences import read_differences
from inference.suggest import UNSURE, Square, read_suggestions
from ui.comparison.choices import PLACE
from ui.maps import LonLatBounds, add_shapes
from ui.problems import plain
from workspace.classes import FULLY_LABELLED_VALUE

OFFERED = 10
AROUND = 0.25
"""Ground shown around a square, of its side."""
COLOUR = "#e63946"


def label_next(job: Path, labels: gpd.GeoDataFrame, names: dict[str, str]) -> Square | None:
    """The bar that leads from square to square.

    Args:
        job: The comparison come from.
        labels: As they are; a square that they touch is passed over, and one labelled since is ticked.
        names: Of the pictures, by raster id.

    Returns:
        The square to show; None where there is none (any more), or the bar was put away.
    """
    wanted = st.query_params.get(PLACE, "")
    key = f"label_next:{job.name}:{wanted}"
    if st.session_state.get(f"{key}:away"):
        return None
    squares: list[Square] = st.session_state.get(key) or [
        *chosen_place(job, wanted, set(names)),
        *open_squares(read_suggestions(job), labels, set(names))[:OFFERED],
    ]
    if not squares:  # perhaps not yet: they are written a moment after the report
        return None
    st.session_state[key] = squares  # the same for the whole visit, so that none goes while it is being labelled
    at = min(st.session_state.get(f"{key}:at", 0), len(squares) - 1)
    done = touched(squares, labels)

    def go(step: int) -> None:
        st.session_state[f"{key}:at"] = (at + step) % len(squares)

    def away() -> None:
        st.session_state[f"{key}:away"] = True

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("", icon=":material/arrow_back:", help="The square before", key=f"{key}:back", on_click=go, args=(-1,))
        st.button("Next square", icon=":material/arrow_forward:", key=f"{key}:next", on_click=go, args=(1,))
        square = squares[at]
        tick = ":green[:material/check_circle: labelled.] " if done[at] else ""
        st.markdown(
            f"**Label here next, {at + 1} of {len(squares)}** ({plain(names[square.raster])}): {tick}{why(square)}",
            width="stretch",
            help=f"Not sure: less than {UNSURE} % sure, pixel by pixel. Draw what is there, or mark the square as fully labelled where there is nothing. "
            "These squares lie apart from each other, and nothing was labelled in them yet.",
        )
        st.button("", icon=":material/close:", help="Put this away", key=f"{key}:close", on_click=away)
    return square


def why(square: Square) -> str:
    """What makes it worth labelling."""
    if square.differ:
        return f"The two models differ on {max(square.differ * 100, 1):.0f} % of the red square."
    return f"The new model is not sure of {square.unsure * 100:.0f} % of the red square."


def chosen_place(job: Path, name: str, rasters: set[str]) -> list[Square]:
    """The place of the Compare page's list with this name, where it lies on one of these pictures; none without a name."""
    found = read_differences(job) if name else None
    place = found.place(name) if found else None
    return [place.square()] if place and place.raster in rasters else []


def open_squares(squares: Sequence[Square], labels: gpd.GeoDataFrame, rasters: set[str]) -> list[Square]:
    """Those on these pictures that no label touches."""
    here = [square for square in squares if square.raster in rasters]
    return [square for square, there in zip(here, touched(here, labels), strict=True) if not there]


def touched(squares: Sequence[Square], labels: gpd.GeoDataFrame) -> list[bool]:
    """For each square whether an object (longitude, latitude) lies in it, or at least half of it is fully labelled."""
    shapes = np.array([shapely.Polygon(square.corners) for square in squares], dtype=object)
    areas = (labels["class_value"] == FULLY_LABELLED_VALUE).to_numpy()
    geometry = labels.geometry.to_numpy()
    found = np.zeros(len(squares), dtype=bool)
    found[np.unique(shapely.STRtree(geometry[~areas]).query(shapes, predicate="intersects")[0])] = True
    known = shapely.area(shapely.intersection(shapes, shapely.union_all(geometry[areas])))
    return [bool(v) for v in found | (known >= shapely.area(shapes) / 2)]


def square_bounds(square: Square) -> LonLatBounds:
    """What a map shows of it: a little more than itself."""
    west, south, east, north = shapely.Polygon(square.corners).bounds
    dx, dy = AROUND * (east - west), AROUND * (north - south)
    return west - dx, south - dy, east + dx, north + dy


def add_square(m: Any, square: Square, name: str = "Label here next") -> None:
    """Outline it on a map."""
    ring = [list(corner) for corner in square.corners]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": ring}}
    add_shapes(m, {"type": "FeatureCollection", "features": [feature]}, name, colour=COLOUR, weight=3)
