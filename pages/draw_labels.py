"""Step 2: draw labels on the map. Edits go from the map straight to the journal; this page shows what is there."""

from __future__ import annotations

import contextlib
import math
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import streamlit as st
from shapely.geometry import Polygon
from streamlit.errors import StreamlitAPIException

from errors import LabelError
from imagery.library import Raster, list_rasters
from imagery.raster import RasterInfo
from labeling.draw import MAX_WIDTH_M, geojson_of
from labeling.exchange import (
    NOTHING,
    READABLE,
    SUFFIXES,
    FileFacts,
    Format,
    ImportReport,
    inspect_file,
    read_labels,
    suggested_map,
    write_labels,
)
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import current_labels, kinds, outside, sizes
from server.labels import geopackage_problem, schedule_geopackage
from ui.canvas import LabelMapState, label_map
from ui.class_editor import class_editor
from ui.frame import next_step_link, page_frame, tile_token
from ui.maps import new_map
from ui.problems import explained
from ui.scenes import add_raster, bounds_of, go_to
from ui.steps import step
from workspace.classes import ClassSchema
from workspace.project import Project

MAP_HEIGHT = 585
LIST_HEIGHT = 250
KIND_NAMES = {"line": "Line", "area": "Area", "point": "Point"}
NEW_WIDTH_M = 4.0
LEAVE_OUT = "Leave out"
MIME = {"GeoJSON": "application/geo+json", "GeoPackage": "application/geopackage+sqlite3", "Shapefile": "application/zip"}


def draw_map(project: Project, schema: ClassSchema, rasters: list[Raster], shown: Sequence[Raster]) -> LabelMapState:
    token = tile_token(project)
    m = new_map(bounds_of(shown))
    for raster in rasters:
        add_raster(m, token, raster)
    return label_map(
        m,
        key=f"labels:{project.id}",
        token=token,
        journal_id=open_journal(project.journal_file).id,
        schema=schema,
        height=MAP_HEIGHT,
        line_width_m=st.session_state.setdefault("line_width_m", NEW_WIDTH_M),
        command=st.session_state.get("map_command"),
    )


@lru_cache(maxsize=4096)
def footprint(info: RasterInfo) -> Polygon:
    """Outline of a raster in EPSG:4326."""
    return gpd.GeoSeries([Polygon(info.grid.corners())], crs=info.crs).to_crs("EPSG:4326").iloc[0]


def tell_map(kind: str, object_ids: list[str], class_value: int | None = None, width_m: float | None = None) -> None:
    """Have the map do something once; what it changes can be undone there."""
    about = {"object_ids": object_ids, "class_value": class_value, "width_m": width_m}
    st.session_state["map_command"] = {"id": uuid.uuid4().hex, "kind": kind, **about}


def show_again() -> None:
    """Run this part of the page again; all of it, where all of it is running."""
    try:
        st.rerun(scope="fragment")
    except StreamlitAPIException:
        st.rerun()


def classes_panel(project: Project, schema: ClassSchema, counts: dict[int, int]) -> None:
    with explained():
        changed = class_editor(schema, counts, key=f"classes:{project.id}")
        if changed is not None and changed != schema:
            project.save_classes(changed)
            schedule_geopackage(project)
            st.rerun()


def objects_panel(labels: gpd.GeoDataFrame, schema: ClassSchema, selected: str | None) -> list[str]:
    """The labelled objects, newest first; what is chosen here or on the map can be looked at, changed, deleted. Returns what is chosen."""
    if labels.empty:
        st.caption("Nothing is labelled yet. Choose a class, press **L** and click along a road; a double click ends it.")
        return []
    table = object_table(labels, schema)
    chosen_rows = st.dataframe(
        table,
        height=LIST_HEIGHT,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_order=("Class", "Size"),
        key="objects",
    ).selection.rows
    chosen = [str(table["object_id"].iloc[row]) for row in chosen_rows if row < len(table)]
    if not chosen and selected in set(table["object_id"]):
        chosen = [str(selected)]
    actions(chosen, schema)
    return chosen


def object_table(labels: gpd.GeoDataFrame, schema: ClassSchema) -> pd.DataFrame:
    names = {c.value: c.name for c in schema.classes}
    kind = kinds(labels)
    table = pd.DataFrame(
        {
            "Class": [names.get(value, f"value {value}") for value in labels["class_value"]],
            "Kind": kind.map(KIND_NAMES),
            "Size": [size_text(k, size, width) for k, size, width in zip(kind, sizes(labels), labels["width_m"], strict=True)],
            "object_id": labels["object_id"],
        }
    )
    return table.iloc[::-1].reset_index(drop=True)


def size_text(kind: str, size: float, width_m: float) -> str:
    """Length and width of a line, diameter of a point, extent of an area."""
    wide = "" if math.isnan(width_m) else f"{width_m:,.4g} m"
    if kind == "point":
        return f"⌀ {wide}" if wide else "Point"
    if kind == "line":
        length = f"{size / 1000:,.2f} km" if size >= 10_000 else f"{size:,.0f} m"
        return f"{length} × {wide}" if wide else length
    return f"{size / 10_000:,.2f} ha" if size >= 100_000 else f"{size:,.0f} m²"


def width_field(labels: gpd.GeoDataFrame, chosen: list[str], revision: int) -> None:
    """The width of the lines and points that are chosen; where none is, of those drawn next.

    What was typed stays until the journal is past the `revision` it was typed at; from then on the field follows the labels (undo, another tab).
    """
    kind = kinds(labels)
    of = labels[labels["object_id"].isin(chosen) & (kind != "area")]
    ids = of["object_id"].tolist()
    widths = set(of["width_m"].fillna(0.0))
    shown = (widths.pop() or None) if len(widths) == 1 else None
    if not ids:
        shown = st.session_state["line_width_m"]
    typed_at = st.session_state.get("width_typed_at", -1)
    known = "width_field" in st.session_state and st.session_state.get("width_of") == ids  # not after another page, or choice
    if not known or (revision > typed_at and st.session_state["width_field"] != shown):
        st.session_state["width_of"] = ids
        st.session_state["width_field"] = shown
    which = kind[of.index[0]] if len(ids) == 1 else len(ids)
    st.number_input(
        f"Width of the chosen {which} (m)" if ids else "Line width (m)",
        0.1,
        MAX_WIDTH_M,
        None,
        0.5,
        format="%.1f",
        key="width_field",
        placeholder="as on the Tiles page" if not widths else "differs",
        help="Lines are burnt this wide into tiles, points as discs this wide. With a line chosen, this changes its width; otherwise it is "
        "the width of lines drawn next. Left empty, the width on the Tiles page holds.",
        on_change=width_changed,
        args=(ids, revision),
    )


def width_changed(ids: list[str], revision: int) -> None:
    width = st.session_state["width_field"]
    st.session_state["width_typed_at"] = revision
    if ids:
        tell_map("width", ids, width_m=width)
    else:
        st.session_state["line_width_m"] = width


def actions(chosen: list[str], schema: ClassSchema) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        nothing = not chosen
        st.button(
            "",
            icon=":material/center_focus_strong:",
            help="Show on the map",
            disabled=nothing,
            key="zoom",
            on_click=tell_map,
            args=("zoom", chosen),
        )
        with st.popover("Class", icon=":material/label:", disabled=nothing, key="reclassify"):
            for one in schema.classes:
                st.button(one.name, key=f"reclassify:{one.value}", on_click=tell_map, args=("reclassify", chosen, one.value))
        st.button(
            "",
            icon=":material/delete:",
            help="Delete (undo brings it back)",
            disabled=nothing,
            key="delete",
            on_click=tell_map,
            args=("delete", chosen),
        )
        st.caption(f"{len(chosen)} chosen" if chosen else "Choose rows, or click on the map", width="stretch")


def warnings_panel(project: Project, labels: gpd.GeoDataFrame, schema: ClassSchema, rasters: list[Raster]) -> None:
    lost = int(outside(labels, [footprint(raster.info) for raster in rasters]).sum())
    if lost:
        st.warning(
            f"{many(lost, 'label')} lie{'s' if lost == 1 else ''} outside all imagery and will not be in any tile.",
            icon=":material/warning:",
        )
    known = {c.value for c in schema.classes}
    orphans = int((~labels["class_value"].isin(known)).sum())
    if orphans:
        st.warning(
            f"{many(orphans, 'label')} have a class that was removed. Choose them in the list and give them a class.",
            icon=":material/warning:",
        )
    problem = geopackage_problem(project)
    if problem is not None:
        st.warning(f"labels.gpkg could not be brought up to date ({problem}). The labels themselves are saved.", icon=":material/warning:")


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def import_panel(project: Project, schema: ClassSchema) -> None:
    upload = st.file_uploader(
        "Vector file",
        type=[suffix[1:] for suffix in READABLE if suffix != ".shp"],
        help="GeoJSON, GeoPackage, zipped Shapefile, FlatGeobuf or KML.",
        key="import_file",
    )
    if upload is None:
        return
    imported: dict[str, Any] = st.session_state.get("imported", {})
    again = imported.get("file") == upload.file_id
    if again:
        st.success(imported["said"], icon=":material/check:")
        st.button("Take the import back", icon=":material/undo:", key="import_undo", on_click=take_back_import)
    with explained(), on_disk(upload.name, upload.getvalue()) as path:
        facts = inspect_file(path)
        st.caption(f"{many(facts.features, 'shape')}, {facts.crs or 'coordinate system not stated'}")
        crs = st.text_input(
            "Coordinate system", placeholder="EPSG:26911", help="Only used where the file does not state it.", key="import_crs"
        ).strip()
        field, value_map = class_choice(facts, schema)
        if st.button(
            "Import again" if again else "Import", type="secondary" if again else "primary", icon=":material/upload_file:", key="import"
        ):
            labels = read_labels(path, class_field=field, value_map=value_map, schema=schema, crs=crs or None)
            store(project, labels)
            report: ImportReport = labels.attrs["report"]
            st.session_state["imported"] = {"file": upload.file_id, "said": report.sentence(), "ids": labels["object_id"].tolist()}
            show_again()


def take_back_import() -> None:
    """Have the map delete what the last import brought."""
    tell_map("delete", st.session_state.pop("imported")["ids"])


def likely_field(facts: FileFacts, schema: ClassSchema) -> str | None:
    """The field that is named like a class, else the one most of whose values look like classes of this project."""
    if facts.class_field:
        return facts.class_field
    understood = {
        field: sum(v is not None for v in suggested_map(values, schema).values()) / len(values) for field, values in facts.fields.items()
    }
    best = max(understood, key=lambda field: understood[field], default=None)
    return best if best is not None and understood[best] > 0.5 else None


def class_choice(facts: FileFacts, schema: ClassSchema) -> tuple[str | None, dict[str, int | None]]:
    """Which attribute tells the class, and which class each of its values means."""
    none = "(none: all are one class)"
    fields = [*facts.fields, none]
    likely = likely_field(facts, schema)
    suggested = fields.index(likely) if likely else len(fields) - 1
    field = st.selectbox("Class field", fields, index=suggested, key="import_field")
    values = [NOTHING] if field == none else facts.fields[field]
    options = [*(c.value for c in schema.classes), None]
    names = {c.value: c.name for c in schema.classes}
    guesses = suggested_map(values, schema)
    chosen: dict[str, int | None] = {}
    for i, value in enumerate(values):
        guess = guesses[value] if field != none else options[0]
        chosen[value] = st.selectbox(
            f"'{value}' is" if value else ("All shapes are" if field == none else "Without a value:"),
            options,
            index=options.index(guess),
            format_func=lambda v: LEAVE_OUT if v is None else names[v],
            key=f"import_value:{field}:{i}",
        )
    return (None if field == none else field), chosen


def store(project: Project, labels: gpd.GeoDataFrame) -> None:
    """Append imported labels to the journal, all or none."""
    if labels.empty:
        raise LabelError("Nothing was imported.", "Map at least one value to a class.")
    open_journal(project.journal_file).append(
        Operation(
            uuid.uuid4().hex,
            "upsert",
            row["object_id"],
            Label(
                geojson_of(row["geometry"]),
                int(row["class_value"]),
                row["origin"],
                row["note"],
                None if math.isnan(row["width_m"]) else row["width_m"],
            ),
        )
        for row in labels.to_dict("records")
    )
    schedule_geopackage(project)


@contextlib.contextmanager
def on_disk(name: str, content: bytes) -> Iterator[Path]:
    """An upload as a file for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        yield path


def export_panel(labels: gpd.GeoDataFrame, schema: ClassSchema, project: Project) -> None:
    if labels.empty:
        st.caption("There is nothing to export yet.")
        return
    chosen: Format = st.selectbox("Format", list(SUFFIXES), key="export_format")
    with explained():
        st.download_button(
            f"Download {many(len(labels), 'label')}",
            data=lambda: exported(labels, schema, chosen),
            file_name=f"{project.id}-labels{SUFFIXES[chosen]}",
            mime=MIME[chosen],
            icon=":material/download:",
            on_click="ignore",
        )


def exported(labels: gpd.GeoDataFrame, schema: ClassSchema, file_format: Format) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{SUFFIXES[file_format]}"
        write_labels(labels, schema, path, file_format)
        return path.read_bytes()


@st.fragment
def workplace(project: Project, rasters: list[Raster]) -> None:
    """Map and lists. Runs again by itself after each saved edit; the map stays as it is."""
    schema = project.classes()
    left, right = st.columns([4, 1], gap="small")
    with right:
        shown = go_to(rasters, key=f"go_to:{project.id}")
    with left:
        state = draw_map(project, schema, rasters, shown)
    revision = open_journal(project.journal_file).revision()
    labels: Any = current_labels(project.journal_file)
    with right:
        warnings_panel(project, labels, schema, rasters)
        classes_panel(project, schema, {int(value): int(n) for value, n in labels["class_value"].value_counts().items()})
        st.markdown(f"**{many(len(labels), 'label')}**")
        chosen = objects_panel(labels, schema, state.selected)
        width_field(labels, chosen, revision)
        with st.container(horizontal=True, gap="small"):
            with st.popover("Import", icon=":material/upload_file:", key="import_open"):
                import_panel(project, schema)
            with st.popover("Export", icon=":material/download:", key="export_open"):
                export_panel(labels, schema, project)
        if not labels.empty:
            next_step_link("draw_labels")


project = page_frame("draw_labels")
with explained():
    rasters = list_rasters(project)
    if rasters:
        workplace(project, rasters)
    else:
        st.info("There is no imagery in this project yet. Add some first; labels are drawn on top of it.", icon=":material/satellite_alt:")
        st.page_link(step("load_imagery").page(), label="Go to Imagery", icon=":material/satellite_alt:")
