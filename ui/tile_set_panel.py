"""A tile set to look at: numbers, sample tiles with their labels, places on the map, and the way on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import streamlit as st

from imagery.library import Raster
from tiles.formats import FORMATS, tile_format
from tiles.preview import places_geojson
from tiles.tile_set import METADATA_FORMAT, RECORD_FILE, TileSet, TileSetRecord
from tiles.writer import remove_tile_set
from ui.canvas import view_map
from ui.frame import next_step_link, tile_token
from ui.maps import LonLatBounds, add_shapes, new_map
from ui.problems import explained, plain
from ui.scenes import add_raster
from ui.tile_samples import SPLITS, opened, samples_panel
from ui.wording import distinct_names, many
from workspace.project import Project

EVERYTHING = "Everything"
WHOLE = -1


def tile_set_panel(project: Project, rasters: Sequence[Raster], sets: Sequence[Path]) -> None:
    """One of the project's tile sets, chosen in a list."""
    line = st.columns([3, 1, 1], vertical_alignment="bottom")
    folder = line[0].selectbox("Tile set", sets, format_func=set_title, key=f"tile_set:{project.id}:{len(sets)}")
    with line[1].popover("Delete", icon=":material/delete:", width="stretch"):
        st.markdown(f"Delete **{plain(folder.name)}**? Models trained on it stay.")
        if st.button("Yes, delete it", key="delete"):
            with explained():
                remove_tile_set(folder)
                st.rerun()
    with line[2]:
        next_step_link("export_tiles")
    tile_set = opened(folder)
    _facts(tile_set.record)
    _numbers(tile_set.record)
    head = st.container(horizontal=True, vertical_alignment="center")
    view = head.segmented_control("View", ["Samples", "Places"], default="Samples", label_visibility="collapsed", required=True, key="view")
    with explained():
        if view == "Places":  # a map in a hidden tab would not know its size
            _places(project, rasters, tile_set)
        else:
            samples_panel(tile_set, head)


def set_title(folder: Path) -> str:
    """Name and date of a tile set."""
    made = dt.datetime.fromtimestamp((folder / RECORD_FILE).stat().st_mtime, tz=dt.UTC)
    return f"{folder.name} ({made:%d %B %Y, %H:%M} UTC)"


def _facts(record: TileSetRecord) -> None:
    """What kind of tiles these are, in one line, and whether Terratune can learn from them."""
    form = tile_format(record.metadata_format)
    sizes = {record.size_of(tile) for tile in record.tiles}
    size = " x ".join(map(str, sizes.pop())) + " pixels" if len(sizes) == 1 else "of different sizes"
    said = [form.title, many(len(record.tiles), "tile"), size, f"{len(record.band_names)} x {record.dtype}"]
    if record.resolution_m:
        said.append(f"{record.resolution_m:.3g} m per pixel")
    if record.made_elsewhere:
        said.append("made by another program")
    st.caption(" · ".join(said))
    if not form.has_classes:
        wanted = f"with '{FORMATS[METADATA_FORMAT].title}' as the kind of labels"
        st.info(f"Made for other programs. To train here, export again {wanted}.", icon=":material/info:")
    elif record.second is not None:
        st.caption("Pairs of images: a model can learn from them what has changed.")


def _numbers(record: TileSetRecord) -> None:
    """Tiles per side, pixels per class and side, and what is lacking."""
    for column, (split, title, colour, meaning) in zip(st.columns(3), SPLITS, strict=True):
        mark = f'<span style="color:{colour}">&#9632;</span>'
        column.markdown(f"{mark} **{title}: {many(len(record.in_split(split)), 'tile')}**", unsafe_allow_html=True, help=meaning)
    if not record.classes:
        return
    if not any(tile.pixels.get(c.value, 0) for tile in record.tiles for c in record.classes):
        st.warning(
            "No tile shows a class, so a model cannot be trained on these alone. Label something on the Label page, then export again.",
            icon=":material/warning:",
        )
        return
    st.dataframe(class_table(record), hide_index=True, width="stretch")
    train, validation = record.class_pixels("train"), record.class_pixels("validation")
    untold = [c for c in record.classes if train[c.value] and not validation[c.value]]
    unlearnt = [c for c in record.classes if validation[c.value] and not train[c.value]]
    for lacking, side, so in ((untold, "validation", "how well that is found cannot be told"), (unlearnt, "training", "that cannot be learnt")):
        if lacking:
            names = ", ".join(f"**{plain(c.name)}**" for c in lacking)
            st.warning(f"No {side} tile holds {names}, so {so}. Label it in another place too.", icon=":material/warning:")


def class_table(record: TileSetRecord) -> pd.DataFrame:
    """For each class its tiles and its objects, or pixels, on both sides."""
    rows = []
    for c in record.classes:
        row: dict[str, Any] = {"Class": c.name, "Value": c.value}
        for split, title, _, _ in SPLITS[:2]:
            tiles = record.in_split(split)
            row[f"{title} tiles"] = sum(t.pixels.get(c.value, 0) > 0 for t in tiles)
            if tile_format(record.metadata_format).has_objects:
                row[f"{title} objects"] = record.class_objects(split)[c.value]
            else:
                row[f"{title} pixels"] = sum(t.pixels.get(c.value, 0) for t in tiles)
        rows.append(row)
    return pd.DataFrame(rows)


def _places(project: Project, rasters: Sequence[Raster], tile_set: TileSet) -> None:
    """Which ground is for training, validation and neither, over the imagery."""
    geojson = places_geojson(tile_set.record)
    if not geojson["features"]:
        st.caption("These tiles do not say where they lie.")
        return
    order = {split: i for i, (split, *_) in enumerate(SPLITS)}
    features = sorted(geojson["features"], key=lambda f: (f["properties"]["split"] != "validation", order[f["properties"]["split"]]))
    target = st.selectbox(
        "Show",
        [WHOLE, *range(len(features))],
        1 if spread_out(features) else 0,
        format_func=lambda i: EVERYTHING if i == WHOLE else features[i]["properties"]["text"],
        key=f"place:{tile_set.name}",
    )
    m = new_map(bounds_of(features if target == WHOLE else [features[target]]))
    token = tile_token(project)
    used, as_one = {tile.raster for tile in tile_set.record.tiles}, tile_set.record.settings.get("processing_mode") == "mosaic"
    for name, raster in zip(distinct_names(rasters), rasters, strict=True):
        if name in used or as_one:
            add_raster(m, token, raster)
    for split, title, colour, _ in SPLITS:
        mine = {"type": "FeatureCollection", "features": [f for f in features if f["properties"]["split"] == split]}
        if mine["features"]:
            add_shapes(m, mine, title, colour=colour, weight=2.0, fill_opacity=0.25, tooltip="text")
    view_map(m, key=f"places:{project.id}:{tile_set.name}", height=420)


def spread_out(features: Sequence[dict[str, Any]]) -> bool:
    """Would the places be specks on a map that shows them all?"""
    west, south, east, north = bounds_of(features)
    sides = [max(b[2] - b[0], b[3] - b[1]) for b in (bounds_of([f]) for f in features)]
    return len(features) > 1 and max(east - west, north - south) > 12 * max(sides)


def bounds_of(features: Sequence[dict[str, Any]]) -> LonLatBounds:
    west, south, east, north = gpd.GeoDataFrame.from_features(features).total_bounds
    return float(west), float(south), float(east), float(north)
