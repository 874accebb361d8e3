"""Step 2: draw labels on the map. Edits go from the map straight to the journal; this page shows what is there."""

from __future__ import annotations

import contextlib
import math
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st

from errors import LabelError
from imagery.library import Raster, list_rasters
from labeling.draw import geojson_of
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
from labeling.label_set import current_labels, outside
from server.labels import geopackage_problem, schedule_geopackage
from ui.canvas import label_map
from ui.class_editor import class_editor
from ui.frame import next_step_link, page_frame, tile_token
from ui.maps import new_map
from ui.problems import explained
from ui.scenes import add_raster, bounds_of, go_to, outline
from ui.steps import step
from workspace.classes import ClassSchema
from workspace.project import Project

MAP_HEIGHT = 545
LEAVE_OUT = "Leave out"
MIME = {"GeoJSON": "application/geo+json", "GeoPackage": "application/geopackage+sqlite3", "Shapefile": "application/zip"}


def draw_map(project: Project, schema: ClassSchema, rasters: list[Raster], shown: Sequence[Raster]) -> None:
    token = tile_token(project)
    m = new_map(bounds_of(shown))
    for raster in rasters:
        add_raster(m, token, raster)
    label_map(
        m,
        key=f"labels:{project.id}",
        token=token,
        journal_id=open_journal(project.journal_file).id,
        schema=schema,
        scenes=[{"name": raster.name, "geometry": geojson_of(outline(raster.info))} for raster in rasters],
        height=MAP_HEIGHT,
        command=st.session_state.get("map_command"),
    )


def tell_map(kind: str, object_ids: list[str]) -> None:
    """Have the map do something once; what it changes can be undone there."""
    st.session_state["map_command"] = {"id": uuid.uuid4().hex, "kind": kind, "object_ids": object_ids}


def classes_panel(project: Project, schema: ClassSchema, counts: dict[int, int]) -> None:
    with explained():
        changed = class_editor(schema, counts, key=f"classes:{project.id}")
        if changed is not None and changed != schema:
            project.save_classes(changed)
            schedule_geopackage(project)
            st.rerun()


def warnings_panel(project: Project, labels: gpd.GeoDataFrame, schema: ClassSchema, rasters: list[Raster]) -> None:
    lost = int(outside(labels, [outline(raster.info) for raster in rasters]).sum())
    if lost:
        st.warning(
            f"{many(lost, 'label')} lie{'s' if lost == 1 else ''} outside all imagery and will not be in any tile.",
            icon=":material/warning:",
        )
    known = {c.value for c in schema.classes}
    orphans = int((~labels["class_value"].isin(known)).sum())
    if orphans:
        st.warning(
            f"{many(orphans, 'label')} have a class that was removed. Choose them in the list beside the map and give them a class.",
            icon=":material/warning:",
        )
    problem = geopackage_problem(project)
    if problem is not None:
        st.warning(f"labels.gpkg could not be brought up to date ({problem}). The labels themselves are saved.", icon=":material/warning:")


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def close_import() -> None:
    st.session_state.pop("importing", None)


@st.dialog("Import labels", width="medium", on_dismiss=close_import)
def import_dialog(project: Project, schema: ClassSchema, rasters: list[Raster]) -> None:
    """A vector file into the project; closes itself when that is done."""
    upload = st.file_uploader(
        "Vector file",
        type=[suffix[1:] for suffix in READABLE if suffix != ".shp"],
        help="GeoJSON, GeoPackage, zipped Shapefile, FlatGeobuf or KML.",
        key="import_file",
    )
    if upload is None:
        return
    with explained(), on_disk(upload.name, upload.getvalue()) as path:
        facts = inspect_file(path)
        st.caption(f"{many(facts.features, 'shape')}, {facts.crs or 'coordinate system not stated'}")
        crs = st.text_input(
            "Coordinate system", placeholder="EPSG:26911", help="Only used where the file does not state it.", key="import_crs"
        ).strip()
        field, value_map = class_choice(facts, schema)
        if st.button("Import", type="primary", icon=":material/upload_file:", key="import"):
            labels = read_labels(path, class_field=field, value_map=value_map, schema=schema, crs=crs or None)
            store(project, labels)
            report: ImportReport = labels.attrs["report"]
            lost = outside(labels, [outline(raster.info) for raster in rasters])
            ids = labels["object_id"]
            said = f"{report.sentence()}{outside_sentence(int(lost.sum()), len(labels))}"
            st.session_state["imported"] = {"project": project.id, "said": said, "ids": ids.tolist(), "inside": ids[~lost].tolist()}
            close_import()
            st.rerun()


def outside_sentence(lost: int, count: int) -> str:
    """What the import report adds about labels that no tile can show."""
    if not lost:
        return ""
    if lost == count:
        return " All of them lie outside the imagery: is the coordinate system right?"
    return f" {lost:,} of them {'lies' if lost == 1 else 'lie'} outside all imagery."


def imported_panel(project: Project) -> None:
    """What the last import did, until it is taken back or put away."""
    imported: dict[str, Any] = st.session_state.get("imported", {})
    if imported.get("project") != project.id:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.success(imported["said"], icon=":material/check:", width="stretch")
        st.button(
            "Show on the map",
            icon=":material/center_focus_strong:",
            key="import_show",
            on_click=tell_map,
            args=("zoom", imported["inside"] or imported["ids"]),
        )
        st.button("Take the import back", icon=":material/undo:", key="import_undo", on_click=take_back_import)
        st.button("", icon=":material/close:", help="Put this message away", key="import_seen", on_click=forget_import)


def forget_import() -> None:
    st.session_state.pop("imported", None)


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
    """Map and what belongs to it. Runs again by itself a moment after edits; the map stays as it is."""
    schema = project.classes()
    labels: Any = current_labels(project.journal_file)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = go_to(rasters, key=f"go_to:{project.id}")
        classes_panel(project, schema, {int(value): int(n) for value, n in labels["class_value"].value_counts().items()})
        if st.button("Import", icon=":material/upload_file:", key="import_open"):
            st.session_state["importing"] = project.id
        if st.session_state.get("importing") == project.id:
            import_dialog(project, schema, rasters)
        with st.popover("Export", icon=":material/download:", key="export_open"):
            export_panel(labels, schema, project)
        if not labels.empty:
            next_step_link("draw_labels")
    imported_panel(project)
    draw_map(project, schema, rasters, shown)
    warnings_panel(project, labels, schema, rasters)


project = page_frame("draw_labels")
with explained():
    rasters = list_rasters(project)
    if rasters:
        workplace(project, rasters)
    else:
        st.info("There is no imagery in this project yet. Add some first; labels are drawn on top of it.", icon=":material/satellite_alt:")
        st.page_link(step("load_imagery").page(), label="Go to Imagery", icon=":material/satellite_alt:")
