"""The Import dialog: files in, labels stored, and what became of every row."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
import streamlit as st

from errors import TerratuneError
from imagery.library import Raster
from labeling.draw import geojson_of
from labeling.exchange import READABLE, ImportReport, Placed, VectorFile, labels_of, read_safely
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import outside
from server.labels import schedule_geopackage
from ui.canvas import author
from ui.import_cache import forget, kept
from ui.import_classes import Choice, class_choice
from ui.import_place import asked_place, outlines_within, pictures_for, placed_rows
from ui.problems import explained, plain
from ui.scenes import outline
from ui.wording import many
from workspace.classes import ClassDef, ClassSchema
from workspace.project import Project

TellMap = Callable[[str, list[str]], None]
"""Has the map do something to labels: "zoom" or "delete", and their ids."""
_OPEN, _IMPORTED, _ROUND = "importing", "imported", "import_round"


def close_import() -> None:
    """The dialog is away, its files forgotten. The whole page runs again: a run under way as it was closed may have opened it once more."""
    st.session_state.pop(_OPEN, None)
    forget()
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.rerun(scope="app")


@st.dialog("Import labels", width="medium", on_dismiss=close_import)
def _import_dialog(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """Files into the project; closes itself when that is done."""
    uploads = st.file_uploader(
        "Files with labels",
        type=sorted({suffix[1:] for suffix in READABLE if suffix != ".gdb"} | {"shx", "dbf", "prj", "cpg"}),
        accept_multiple_files=True,
        help="GeoJSON, GeoPackage, Shapefile (zipped, or its parts together), file geodatabase (zipped), FlatGeobuf, KML, GML, TopoJSON, "
        "EsriJSON, CSV (WKT, or x and y), and boxes on pictures: PASCAL VOC, COCO.",
        key=f"import_file:{st.session_state.get(_ROUND, 0)}",
    )
    if not uploads:
        return
    with explained():
        file = _read(uploads)
        scenes = pictures_for(file, project, rasters)
        where = asked_place(file, {raster.name: raster.info.grid for raster in rasters})
        rows, lost = placed_rows(file, where, scenes, rasters)
        choice = class_choice(file, schema)
        within = outlines_within(rows, lost, rasters)
        if st.button("Import", type="primary", icon=":material/upload_file:", key="import", disabled=choice is None) and choice is not None:
            _import(project, rows, choice, within, labels, rasters)


def import_button(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """The button, and the dialog while it is open."""
    if st.button("Import", icon=":material/upload_file:", key="import_open"):
        st.session_state[_OPEN] = project.id
    if st.session_state.get(_OPEN) == project.id:
        _import_dialog(project, schema, labels, rasters)


def _read(uploads: Sequence[Any]) -> VectorFile:
    """What is in the uploads; read once, in a process of its own.

    Raises:
        LabelFileError: it cannot be read.
    """

    def read() -> VectorFile | TerratuneError:
        with tempfile.TemporaryDirectory() as folder, st.spinner("Reading ..."):
            paths = []
            for upload in uploads:
                path = Path(folder) / Path(upload.name).name
                path.write_bytes(upload.getbuffer())
                paths.append(path)
            try:
                return read_safely(paths)
            except TerratuneError as error:
                return error

    return kept("file", tuple(upload.file_id for upload in uploads), read)


def _import(
    project: Project,
    rows: Placed,
    choice: Choice,
    within: Sequence[shapely.Polygon] | None,
    existing: gpd.GeoDataFrame,
    rasters: Sequence[Raster],
) -> None:
    """Make labels of the rows, store them with their new classes, say what became of every row."""
    with st.spinner("Importing ..."):
        labels = labels_of(rows, choice.field, choice.value_map, choice.schema, within=within, existing=existing)
        carried = set(labels["class_value"])
        made = [c for c in choice.made if c.value in carried]
        if made:
            project.save_classes(ClassSchema(classes=(*project.classes().classes, *made)))
        _store(project, labels)
    report: ImportReport = labels.attrs["report"]
    lost = 0 if within is not None else int(_outside_count(labels, rasters))
    st.session_state[_IMPORTED] = {
        "project": project.id,
        "said": _said(report, made, lost),
        "lines": report.lines(),
        "table": report.table().to_csv(index=False) if report.lines() else "",
        "ids": labels["object_id"].tolist(),
    }
    close_import()


def _outside_count(labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> int:
    return int(outside(labels, [outline(raster.info) for raster in rasters]).sum())


def _said(report: ImportReport, made: Sequence[ClassDef], lost: int) -> str:
    """What an import did, short; the details are the report's lines."""
    gone = report.rows - report.kept
    parts = [f"{many(report.imported, 'label')} imported from {many(report.rows, 'shape')}"]
    if gone:
        parts.append(f"{gone:,} left out")
    if report.repaired:
        parts.append(f"{report.repaired:,} mended")
    said = ", ".join(parts) + "."
    if made:
        said += f" New: {', '.join(c.name for c in made)}."
    if lost:
        said += f" {many(lost, 'label')} {'lies' if lost == 1 else 'lie'} outside all imagery."
    return said


def _store(project: Project, labels: gpd.GeoDataFrame) -> None:
    """Append imported labels to the journal, all or none."""
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
            author=author(),
            tool="import",
        )
        for row in labels.to_dict("records")
    )
    schedule_geopackage(project)


def imported_panel(project: Project, tell_map: TellMap) -> None:
    """What the last import did, until it is taken back or put away."""
    imported: dict[str, Any] = st.session_state.get(_IMPORTED, {})
    if imported.get("project") != project.id:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.success(plain(imported["said"]), icon=":material/check:", width="stretch")
        if imported["lines"]:
            with st.popover("Details", key="import_details"):
                st.markdown("\n".join(f"- {plain(line)}" for line in imported["lines"]))
                st.download_button(
                    "Every row as a table",
                    imported["table"],
                    file_name=f"{project.id}-import.csv",
                    mime="text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                )
        st.button(
            "Show", icon=":material/center_focus_strong:", key="import_show", on_click=tell_map, args=("zoom", imported["ids"])
        )
        st.button("Take back", icon=":material/undo:", key="import_undo", on_click=_take_back, args=(tell_map,))
        st.button("", icon=":material/close:", help="Put this message away", key="import_seen", on_click=_forget)


def _forget() -> None:
    st.session_state.pop(_IMPORTED, None)


def _take_back(tell_map: TellMap) -> None:
    """Have the map delete what the last import brought."""
    tell_map("delete", st.session_state.pop(_IMPORTED)["ids"])
