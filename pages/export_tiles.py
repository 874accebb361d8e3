"""Step 3: cut imagery and labels into tiles, and look at them before training."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from imagery.library import Raster, list_rasters, raster_source
from labeling.export import estimate_tiles
from labeling.export_job import export_jobs, forget_job, read_job, start_export
from labeling.export_settings import ExportSettings, ImageSource
from labeling.label_set import current_labels
from tiles.formats import FORMATS, TileFormat, tile_format
from tiles.preview import draw_objects, overlay, pick_samples, picture, places_geojson
from tiles.reader import read_labelled
from tiles.tile_set import IGNORE_LABEL, METADATA_FORMAT, Split, TileSet, TileSetRecord, list_tile_sets, open_tile_set
from tiles.writer import remove_tile_set
from ui.canvas import view_map
from ui.frame import next_step_link, page_frame, tile_token
from ui.maps import LonLatBounds, add_shapes, new_map
from ui.problems import explained, plain, show_problem
from ui.scenes import add_raster
from ui.steps import step
from workspace.files import unused_folder
from workspace.jobs import cancel_job, job_status
from workspace.project import Project

SAMPLES = 8
SPLITS: tuple[tuple[Split, str, str, str], ...] = (
    ("train", "Training", "#1f7a5c", "the model learns from these"),
    ("validation", "Validation", "#8338ec", "kept aside to test the model on"),
    ("gap", "Gap", "#8d99ae", "too close to both: used by neither"),
)
TILE_SIZES = (64, 128, 256, 512)
EVERYTHING = "Everything"


def main(project: Project) -> None:
    rasters, labels = list_rasters(project), current_labels(project.journal_file)
    sets = list_tile_sets(project.tiles_folder)
    if not ready(rasters, labels) and not sets:
        return
    left, right = st.columns([1, 2], gap="medium")
    with left:
        if ready(rasters, labels, quiet=True):
            with explained():
                export_panel(project, rasters, labels)
    with right:
        if sets:
            with explained():
                result_panel(project, rasters, sets)
        else:
            st.info("Your tiles will be shown here, with their labels, before you train on them.", icon=":material/grid_on:")


def ready(rasters: Sequence[Raster], labels: gpd.GeoDataFrame, *, quiet: bool = False) -> bool:
    """Whether there is something to cut; says what is missing."""
    for there, text, key in (
        (bool(rasters), "There is no imagery in this project yet. Add some first.", "load_imagery"),
        (len(labels) > 0, "Nothing is labelled yet. Draw some roads first, in at least two different parts of the imagery.", "draw_labels"),
    ):
        if not there:
            if not quiet:
                st.info(text, icon=":material/info:")
                st.page_link(step(key).page(), label=f"Go to {step(key).title}", icon=step(key).icon)
            return False
    return True


# --- choose and export --------------------------------------------------------------------------------------------------------------


def export_panel(project: Project, rasters: Sequence[Raster], labels: gpd.GeoDataFrame) -> None:
    """What there is, what to choose, and the one button."""
    schema = project.classes()
    counts = labels["class_value"].value_counts()
    st.markdown(
        f"**{many(len(rasters), 'image')}**, **{many(len(labels), 'label')}**: "
        + ", ".join(f"{counts[c.value]} {plain(c.name)}" for c in schema.classes if c.value in counts)
    )
    jobs = export_jobs(project)
    settings, chosen, name = settings_form(project, rasters, last_settings(jobs))
    running = bool(jobs) and job_status(jobs[0]).state == "running"
    estimate_line(chosen, labels, project, settings)
    if st.button("Export tiles", type="primary", icon=":material/grid_on:", disabled=running or not chosen, key="export"):
        with explained():
            target = unused_folder(project.tiles_folder, name or "tiles")
            sources = [ImageSource(name=n, source=raster_source(project, r)) for n, r in zip(distinct_names(chosen), chosen, strict=True)]
            start_export(project, target.name, sources, labels, schema, settings)
            st.rerun()
    if running:
        watch(jobs[0])
    elif jobs:
        last_word(jobs[0])


def settings_form(project: Project, rasters: Sequence[Raster], last: ExportSettings | None) -> tuple[ExportSettings, list[Raster], str]:
    """Settings as chosen; at first those of the last export."""
    fields, start = ExportSettings.model_fields, last or first_settings()
    names = list(FORMATS)
    metadata_format = st.selectbox(
        fields["metadata_format"].title or "",
        names,
        names.index(start.metadata_format),
        format_func=lambda name: FORMATS[name].title,
        help=fields["metadata_format"].description,
        key="metadata_format",
    )
    form = FORMATS[metadata_format]
    st.caption(form.description if form.has_pixels else f"{form.description} Terratune itself cannot train on it.")
    buffer_m = st.number_input(
        fields["buffer_m"].title or "", 0.0, 100.0, float(start.buffer_m), 0.5, help=fields["buffer_m"].description, key="buffer_m"
    )
    first, second = st.columns(2)
    sizes = sorted({*TILE_SIZES, start.tile_size})
    tile_size = first.selectbox(
        fields["tile_size"].title or "", sizes, sizes.index(start.tile_size), help=fields["tile_size"].description, key="tile_size"
    )
    layout: dict[str, Any] = object_fields(form, start) if form.per_object else {}
    strides = [tile_size // 4, tile_size // 2, tile_size]
    wanted = tile_size * start.stride // start.tile_size
    if form.per_object:
        layout["stride"] = tile_size // 2
    else:
        layout["stride"] = second.selectbox(
            fields["stride"].title or "",
            strides,
            strides.index(wanted) if wanted in strides else 1,
            format_func=lambda s: f"{s} ({'no' if s == tile_size else f'{100 - 100 * s // tile_size} %'} overlap)",
            help=fields["stride"].description,
            key=f"stride:{tile_size}",  # another size has other steps: a box keeps the words it was made with
        )
        layout["tiles"] = st.radio(
            fields["tiles"].title or "",
            ["features_only", "all"],
            ["features_only", "all"].index(start.tiles),
            format_func={"features_only": "Only where something is labelled", "all": "All of the imagery"}.get,
            help=fields["tiles"].description,
            horizontal=True,
            key="tiles",
        )
    with st.expander("More choices", icon=":material/tune:"):
        least = 0.0
        if form.has_objects:
            least = st.slider(
                fields["min_polygon_overlap_ratio"].title or "",
                0.0,
                1.0,
                start.min_polygon_overlap_ratio,
                0.05,
                help=fields["min_polygon_overlap_ratio"].description,
                key="min_polygon_overlap_ratio",
            )
        share = st.slider(
            fields["validation_share"].title or "",
            0.05,
            0.5,
            start.validation_share,
            0.05,
            help=fields["validation_share"].description,
            key="validation_share",
        )
        seed = st.number_input(fields["seed"].title or "", 0, 9999, start.seed, help=fields["seed"].description, key="seed")
        images = dict(zip([r.id for r in rasters], distinct_names(rasters), strict=True))
        ids = st.multiselect("Images", list(images), list(images), format_func=lambda i: images.get(i, ""), key=f"images:{project.id}")
        name = st.text_input("Name of the tile set", placeholder="tiles", max_chars=40, key="tile_set_name")
    settings = ExportSettings(
        metadata_format=metadata_format,
        tile_size=tile_size,
        buffer_m=buffer_m,
        **layout,
        min_polygon_overlap_ratio=least,
        validation_share=share,
        seed=int(seed),
    )
    return settings, [r for r in rasters if r.id in ids], name


def object_fields(form: TileFormat, start: ExportSettings) -> dict[str, Any]:
    """What there is to choose where a tile is cut around each object."""
    fields, modes = (
        ExportSettings.model_fields,
        {"fixed_size": "The tile size, object in the middle", "bounding_box": "As large as its object"},
    )
    chosen: dict[str, Any] = {}
    chosen["crop_mode"] = st.radio(
        fields["crop_mode"].title or "",
        list(modes),
        list(modes).index(start.crop_mode),
        format_func=modes.get,
        help=fields["crop_mode"].description,
        key="crop_mode",
    )
    if form.may_blacken:
        chosen["blacken_around_feature"] = st.checkbox(
            fields["blacken_around_feature"].title or "",
            start.blacken_around_feature,
            help=fields["blacken_around_feature"].description,
            key="blacken_around_feature",
        )
    return chosen


def first_settings() -> ExportSettings:
    """The defaults; lines as wide as the Label page shows them in this tab."""
    shown = st.session_state.get("line_width_m")
    return ExportSettings(buffer_m=shown / 2) if shown else ExportSettings()


def last_settings(jobs: Sequence[Path]) -> ExportSettings | None:
    return read_job(jobs[0]).settings if jobs else None


def estimate_line(chosen: Sequence[Raster], labels: gpd.GeoDataFrame, project: Project, settings: ExportSettings) -> None:
    with explained():
        estimate = estimate_tiles([r.info for r in chosen], labels, project.classes(), settings)
        if estimate.tiles:
            st.caption(f"About **{many(estimate.tiles, 'tile')}**, at most {max(1, round(estimate.bytes / 1e6)):,} MB.")
        if not estimate.learnable:
            ignored = {c.value: c.name for c in project.classes().classes if c.ignore}
            why = (
                f"Every label is of a class that is never learnt ({plain(', '.join(ignored.values()))})"
                if labels["class_value"].isin(list(ignored)).all()
                else "No label to learn from touches the chosen imagery"
            )
            result = "the tiles would show nothing to learn" if estimate.tiles else "there would be no tile"
            st.warning(f"{why}, so {result}. Label something on the Label page first.", icon=":material/warning:")
        elif not estimate.tiles:
            st.warning("The labels on the chosen imagery are too small for a tile.", icon=":material/warning:")


@st.fragment(run_every=0.5)
def watch(folder: Path) -> None:
    """Progress of a running export; the whole page runs again when it ends."""
    status = job_status(folder)
    if status.ended:
        st.rerun()
    stopping = (folder / "cancel").exists()
    left = f", {status.seconds_left:.0f} s left" if status.seconds_left and not stopping else ""
    st.progress(status.fraction, text="Stopping ..." if stopping else f"{plain(status.stage)}{left}")
    st.button("Cancel", icon=":material/close:", key="cancel", on_click=cancel_job, args=(folder,))  # twice: by force


def last_word(folder: Path) -> None:
    """How the last export ended, unless it just worked."""
    status = job_status(folder)
    if status.state == "failed":
        show_problem(status.error, status.remedy)
    elif status.state == "cancelled":
        st.info("The export was stopped; nothing was written.", icon=":material/info:")
    elif status.state == "interrupted":
        st.warning("The last export was cut off; nothing was written. Press Export to start it again.", icon=":material/warning:")
    else:
        return
    if st.button("Dismiss", key="dismiss"):
        forget_job(folder)
        st.rerun()


# --- look at the result -------------------------------------------------------------------------------------------------------------


def result_panel(project: Project, rasters: Sequence[Raster], sets: Sequence[Path]) -> None:
    """One tile set: numbers, samples, places, and the way on."""
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
    tile_set = open_tile_set(folder)
    form = tile_format(tile_set.record.metadata_format)
    if not form.has_pixels:
        st.info(
            f"{form.title}: made for other programs. To train here, export again with '{FORMATS[METADATA_FORMAT].title}' as the kind of labels.",
            icon=":material/info:",
        )
    numbers(tile_set.record)
    view = st.segmented_control("View", ["Samples", "Places"], default="Samples", label_visibility="collapsed", key="view")
    with explained():
        if view == "Places":  # a map in a hidden tab would not know its size
            places_panel(project, rasters, tile_set)
        else:
            samples_panel(tile_set)


def set_title(folder: Path) -> str:
    """Name and date of a tile set."""
    made = dt.datetime.fromtimestamp((folder / "terratune.json").stat().st_mtime, tz=dt.UTC)
    return f"{folder.name} ({made:%d %B %Y, %H:%M} UTC)"


def numbers(record: TileSetRecord) -> None:
    """Tiles per side, pixels per class and side, and what is lacking."""
    for column, (split, title, colour, meaning) in zip(st.columns(3), SPLITS, strict=True):
        tiles = record.in_split(split)
        mark = f'<span style="color:{colour}">&#9632;</span>'
        column.markdown(f"{mark} **{title}: {many(len(tiles), 'tile')}**", unsafe_allow_html=True, help=meaning)
    if not any(tile.pixels.get(c.value, 0) for tile in record.tiles for c in record.classes):
        st.warning(
            "No tile shows a class, so a model cannot be trained on these alone. Label something on the Label page, then export again.",
            icon=":material/warning:",
        )
        return
    st.dataframe(class_table(record), hide_index=True, width="stretch")
    for c in record.classes:
        train, validation = record.class_pixels("train")[c.value], record.class_pixels("validation")[c.value]
        if train and not validation:
            st.warning(
                f"No validation tile holds **{plain(c.name)}**, so how well it is found cannot be told. Label it in another place too.",
                icon=":material/warning:",
            )
        if validation and not train:
            st.warning(
                f"No training tile holds **{plain(c.name)}**, so it cannot be learnt. Label it in another place too.",
                icon=":material/warning:",
            )


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


def samples_panel(tile_set: TileSet) -> None:
    form = tile_format(tile_set.record.metadata_format)
    asked = question(form)
    st.caption(f"{asked} If not, correct the labels or the width and export again.")
    pictures = sample_pictures(str(tile_set.folder), (tile_set.folder / "terratune.json").stat().st_mtime)
    for start in range(0, len(pictures), 4):
        for column, (caption, image) in zip(st.columns(4), pictures[start : start + 4], strict=False):
            column.image(image, caption=caption, width="stretch")


def question(form: TileFormat) -> str:
    """What to look for in the samples of a format."""
    if form.has_objects and not form.per_object:
        return f"Does each object have its own {'outline' if form.has_outlines else 'box'}?"
    if form.has_pixels:
        return "Does the colour lie on what you labelled?"
    return "Does each tile show what is named below it?" if form.has_classes else "Are these the tiles you want?"


@st.cache_data(max_entries=8, show_spinner=False)
def sample_pictures(folder: str, _made: float) -> list[tuple[str, NDArray[np.uint8]]]:
    """(caption, tile above its overlay) of a few tiles; read again when the set was made anew."""
    tile_set = open_tile_set(Path(folder))
    classes = tile_set.record.classes
    found = []
    for tile in pick_samples(tile_set.record, SAMPLES):
        pixels, labels = read_labelled(tile_set, tile)
        rgb = picture(pixels, tile_set.record)
        if tile_format(tile_set.record.metadata_format).has_objects:
            unsure = np.where(pixels.label == IGNORE_LABEL, pixels.label, 0).astype(np.uint8)
            below = draw_objects(overlay(rgb, unsure, classes), labels.objects, classes)
        else:
            below = overlay(rgb, pixels.label, classes)
        line = np.full((4, rgb.shape[1], 3), 255, dtype=np.uint8)
        title = next(t for s, t, _, _ in SPLITS if s == tile.split)
        shown = ", ".join(c.name for c in classes if c.value in labels.classes)
        caption = f"{title}, {tile.place}" + (f": {shown}" if shown else "")
        labelled = labels.pixels is not None or labels.objects
        found.append((caption, np.vstack([rgb, line, below]) if labelled else rgb))
    return found


def places_panel(project: Project, rasters: Sequence[Raster], tile_set: TileSet) -> None:
    """Which ground is for training, validation and neither, over the imagery."""
    geojson = places_geojson(tile_set.record)
    if not geojson["features"]:
        st.caption("These tiles do not say where they lie.")
        return
    order = {split: i for i, (split, *_) in enumerate(SPLITS)}
    features = sorted(geojson["features"], key=lambda f: (f["properties"]["split"] != "validation", order[f["properties"]["split"]]))
    target = st.selectbox(
        "Show",
        [None, *range(len(features))],
        1 if spread_out(features) else 0,
        format_func=lambda i: EVERYTHING if i is None else features[i]["properties"]["text"],
        key=f"place:{tile_set.name}",
    )
    m = new_map(bounds_of(features if target is None else [features[target]]))
    token = tile_token(project)
    used = {tile.raster for tile in tile_set.record.tiles}
    for name, raster in zip(distinct_names(rasters), rasters, strict=True):
        if name in used:
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


# --- words --------------------------------------------------------------------------------------------------------------------------


def distinct_names(rasters: Sequence[Raster]) -> list[str]:
    """Names that tell the rasters apart: with their id where two have the same."""
    names = [r.name for r in rasters]
    return [r.name if names.count(r.name) == 1 else f"{r.name} ({r.id})" for r in rasters]


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


page_project = page_frame("export_tiles")
with explained():
    main(page_project)
