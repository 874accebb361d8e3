"""Labels in and out of the Label page: the Import dialog, what the last import did, and the Export popover.

The page calls `exchange_controls` in its row of buttons and `imported_panel` below it.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import streamlit as st

from errors import LabelFileError, TerratuneError
from imagery.grid import Grid
from imagery.library import Raster
from imagery.raster import parse_crs
from labeling.draw import geojson_of
from labeling.exchange import (
    NOTHING,
    READABLE,
    STYLED,
    SUFFIXES,
    Format,
    Guess,
    ImportReport,
    Placed,
    VectorFile,
    chosen_labels,
    guessed_crs,
    labels_of,
    likely_field,
    outside_imagery,
    picture_grids,
    placed,
    read_safely,
    stated_crs,
    values_found,
    write_labels,
)
from labeling.exchange.place import parsed_crs
from labeling.journal import Label, Operation, open_journal
from labeling.label_set import outside
from server.labels import schedule_geopackage
from tiles.tile_set import list_tile_sets, open_tile_set
from ui.problems import explained, plain, show_problem
from ui.scenes import outline
from workspace.classes import ClassDef, ClassSchema, unused_colour, with_new_class
from workspace.project import Project

TellMap = Callable[[str, list[str]], None]
"""Has the map do something to labels: "zoom" or "delete", and their ids."""

LEAVE_OUT, NEW_CLASS = "Leave out", "New class"
ONE_CLASS = "(none: all are one class)"
OTHER_CRS = "Another one ..."
MAX_VALUES = 40
"""Values of the class field that get a box of their own; the others share one."""
MAX_NEW_CLASSES = 12
"""More unknown values than these are not offered as classes to begin with: they are names, not kinds."""
MIME: dict[Format, str] = {
    "GeoJSON": "application/geo+json",
    "GeoPackage": "application/geopackage+sqlite3",
    "Shapefile": "application/zip",
    "FlatGeobuf": "application/octet-stream",
    "KML": "application/vnd.google-earth.kml+xml",
    "CSV": "text/csv",
}
_FORMATS: dict[Format, str] = {
    "GeoJSON": "GeoJSON (longitude, latitude)",
    "GeoPackage": "GeoPackage (with QGIS styles)",
    "Shapefile": "Shapefile (zipped, with QGIS styles)",
    "FlatGeobuf": "FlatGeobuf",
    "KML": "KML (Google Earth)",
    "CSV": "CSV table (shapes as WKT)",
}
_CACHE, _OPEN, _IMPORTED, _ROUND = "import_cache", "importing", "imported", "import_round"


def exchange_controls(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    """The buttons Import and Export, and the Import dialog while it is open."""
    if st.button("Import", icon=":material/upload_file:", key="import_open"):
        st.session_state[_OPEN] = project.id
    if st.session_state.get(_OPEN) == project.id:
        _import_dialog(project, schema, labels, rasters)
    with st.popover("Export", icon=":material/download:", key="export_open"):
        _export_panel(project, schema, labels, rasters)


# --- import ----------------------------------------------------------------------------------------------------------------------------


def close_import() -> None:
    """The dialog is away; the files it held are gone when it opens again."""
    for name in (_OPEN, _CACHE):
        st.session_state.pop(name, None)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


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
        scenes = _scenes_for(file, project, rasters)
        where = _place(file, {raster.name: raster.info.grid for raster in rasters})
        rows, lost = _placed(file, where, scenes, rasters)
        choice = _class_choice(file, schema)
        within = _within(rows, lost, rasters)
        if st.button("Import", type="primary", icon=":material/upload_file:", key="import", disabled=choice is None) and choice is not None:
            _import(project, rows, choice, within, labels, rasters)


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

    return _kept("file", tuple(upload.file_id for upload in uploads), read)


def _kept(name: str, key: Any, make: Callable[[], Any]) -> Any:
    """What `make` gave for this key, as long as the dialog is open; an error that it returned is raised."""
    cache = st.session_state.setdefault(_CACHE, {})
    if name not in cache or cache[name][0] != key:
        cache[name] = (key, make())
    result = cache[name][1]
    if isinstance(result, TerratuneError):
        raise result
    return result


@dataclass(frozen=True)
class _Where:
    """Where a person says a file lies; nothing asked where the file says it itself."""

    crs: str | None = None
    swapped: bool = False
    override: bool = False


def _place(file: VectorFile, scenes: Mapping[str, Grid]) -> _Where:
    """The coordinate system: what the file states, else a question with a guess."""
    if all(layer.pixels for layer in file.layers):
        return _Where()
    stated = stated_crs(file)
    guess = _kept("guess", (id(file), tuple(scenes)), lambda: guessed_crs(file, scenes))
    own = next((layer.crs or layer.assumed for layer in file.layers if not layer.pixels), None)
    fits = guess is None or (guess.crs == own and not guess.swapped) or not _beside(guess)
    usual = own if not stated and own and guess is not None and fits else None
    st.caption(f"{_many(file.features, 'shape')} · {stated or (parsed_crs(usual).name if usual else 'coordinate system not stated')}")
    if usual or (stated and fits):
        return _Where()
    if stated:
        if not st.checkbox(f"Use another coordinate system than the file states. {plain(guess.reason)}", key=f"import_override:{file.name}"):
            return _Where()
        return _Where(guess.crs, guess.swapped, override=True)
    return _asked(file, guess, own, scenes)


def _beside(guess: Guess) -> bool:
    """Is the guess backed by shapes on the imagery?"""
    return "lie on the imagery" in guess.reason


def _asked(file: VectorFile, guess: Guess | None, own: str | None, scenes: Mapping[str, Grid]) -> _Where:
    """The question for a file that states no coordinate system."""
    first = [guess.crs] if guess else [own] if own else []
    known = [f"EPSG:{code}" for grid in scenes.values() if (code := grid.crs.to_epsg())]
    options = list(dict.fromkeys([*first, *known, "EPSG:4326", "EPSG:3857"]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox(
            "Coordinate system",
            [*options, OTHER_CRS],
            index=0 if first else None,
            placeholder="Choose the one the file was made in",
            format_func=lambda crs: crs if crs == OTHER_CRS else f"{parsed_crs(crs).name} ({crs})" if len(crs) < 30 else parsed_crs(crs).name,
            key=f"import_crs:{file.name}",
        )
        typed = st.text_input("EPSG code", placeholder="EPSG:26911", key="import_crs_typed").strip() if picked == OTHER_CRS else ""
    swapped = guess is not None and guess.swapped and picked == guess.crs
    if guess is not None and picked == guess.crs:
        st.caption(plain(guess.reason))
    elif guess is None and not own:
        st.caption("The file does not say it, and no system tried puts its shapes on the imagery. Ask whoever made it.")
    return _Where(typed or (None if picked in {None, OTHER_CRS} else picked), swapped)


def _scenes_for(file: VectorFile, project: Project, rasters: Sequence[Raster]) -> dict[str, Grid]:
    """The pictures that boxes in pixels belong to: the imagery, or the tiles of a tile set.

    Raises:
        LabelFileError: none of them is in this project.
    """
    if not file.pixels:
        return {}
    collections = _kept("scenes", (id(file), tuple(raster.id for raster in rasters)), lambda: _collections(project, rasters))
    matched = {name: len(picture_grids(file.pictures, scenes)) for name, scenes in collections.items()}
    fitting = sorted((name for name, n in matched.items() if n), key=lambda name: -matched[name])
    if not fitting:
        wanted = ", ".join(file.pictures[:3]) + (" ..." if len(file.pictures) > 3 else "")
        raise LabelFileError(
            f"The boxes belong to pictures that are not in this project: {wanted}.", "Add those pictures on the Imagery page first."
        )
    picked = fitting[0]
    if len(fitting) > 1:
        picked = st.selectbox("The boxes belong to", fitting, key="import_collection")
    found = matched[picked]
    st.caption(
        f"{_many(file.features, 'shape')} on {_many(len(file.pictures), 'picture')}; "
        f"{found:,} of the pictures {'is' if found == 1 else 'are'} among {plain(picked)}"
    )
    return dict(collections[picked])


def _collections(project: Project, rasters: Sequence[Raster]) -> dict[str, dict[str, Grid]]:
    found = {"the imagery of this project": {f"{raster.id}/{raster.name}": raster.info.grid for raster in rasters}}
    for folder in list_tile_sets(project.tiles_folder):
        with contextlib.suppress(TerratuneError):
            record = open_tile_set(folder).record
            size = record.tile_size
            found[f"the tiles '{folder.name}'"] = {
                tile.image: Grid(size, size, tile.affine, parse_crs(tile.crs)) for tile in record.tiles if tile.crs
            }
    return found


def _placed(
    file: VectorFile, where: _Where, scenes: Mapping[str, Grid], rasters: Sequence[Raster]
) -> tuple[Placed, np.ndarray]:
    """The rows on the Earth, and which of them lie outside the imagery.

    Raises:
        LabelFileError: the place is unknown or cannot be right.
    """

    def place() -> tuple[Placed, np.ndarray] | TerratuneError:
        try:
            rows = placed(file, where.crs, swapped=where.swapped, override=where.override, scenes=scenes)
        except TerratuneError as error:
            return error
        return rows, outside_imagery(rows, [outline(raster.info) for raster in rasters])

    key = (id(file), where, tuple(scenes), tuple(raster.id for raster in rasters))
    return _kept("placed", key, place)


def _within(rows: Placed, lost: np.ndarray, rasters: Sequence[Raster]) -> list[shapely.Polygon] | None:
    """The imagery's outlines when what lies outside is to be left out; None when it stays."""
    count, whole = int(lost.sum()), len(rows.rows)
    if not count:
        return None
    if count == whole - len(rows.unplaced) - int(shapely.is_missing(rows.shapes).sum()):
        st.warning("All shapes lie outside the imagery: is the coordinate system right?", icon=":material/warning:")
        return None
    leave = st.checkbox(f"Leave out {_many(count, 'shape')} of {whole:,} that lie outside the imagery", True, key="import_within")
    return [outline(raster.info) for raster in rasters] if leave else None


@dataclass(frozen=True)
class _Choice:
    """Which class each value becomes."""

    field: str | None
    value_map: dict[str, int | None]
    schema: ClassSchema
    """With the new classes."""
    made: tuple[ClassDef, ...]


def _class_choice(file: VectorFile, schema: ClassSchema) -> _Choice | None:
    """The class field and what its values become; None while something is to be chosen."""
    fields = [ONE_CLASS, *file.fields]
    likely = _kept("field", (id(file), schema), lambda: likely_field(file, schema))
    field = st.selectbox(
        "Field that tells the class", fields, index=fields.index(likely) if likely else 0, key=f"import_field:{file.name}:{file.features}"
    )
    if field == ONE_CLASS:
        return _one_class(schema)
    found = _kept("values", (id(file), field, schema), lambda: values_found(file, field, schema))
    unknown = sum(one.means is None and one.value != NOTHING for one in found)
    names = {c.value: c.name for c in schema.classes}
    chosen: dict[str, int | str | None] = {}
    with st.container(height=min(260, 40 + 50 * len(found)), border=True, gap="small"):
        for i, one in enumerate(found[:MAX_VALUES]):
            chosen[one.value] = _value_row(one, names, unknown <= MAX_NEW_CLASSES, f"import_value:{field}:{i}")
        rest = found[MAX_VALUES:]
        if rest:
            same = st.selectbox(
                f"{len(rest):,} other values ({_many(sum(one.count for one in rest), 'shape')}) become",
                [None, *names],
                format_func=lambda v: LEAVE_OUT if v is None else names[v],
                key=f"import_rest:{field}",
            )
            chosen |= {one.value: same for one in rest}
    made = tuple(one.offered for one in found if chosen[one.value] == NEW_CLASS and one.offered is not None)
    new_values = {one.value: one.offered.value for one in found if one.offered is not None}
    value_map = {value: new_values[value] if isinstance(become, str) else become for value, become in chosen.items()}
    return _Choice(field, value_map, ClassSchema(classes=(*schema.classes, *made)), made)


def _value_row(one: Any, names: Mapping[int, str], offer: bool, key: str) -> int | str | None:
    """One value of the class field, how often it occurs, and the class that it becomes."""
    options: list[int | str | None] = [*names, *([NEW_CLASS] if one.offered else []), None]
    guess = one.means if one.means is not None else NEW_CLASS if one.offered and offer else None
    value, become = st.columns([1, 1], vertical_alignment="center")
    shown = plain(one.value[:60]) if one.value else "*(no value)*"
    value.markdown(f"{shown} :gray[· {_many(one.count, 'shape')}]")
    picked: int | str | None = become.selectbox(
        f"{one.value or 'Without a value'} becomes",
        options,
        index=options.index(guess),
        format_func=lambda v: LEAVE_OUT if v is None else f"New class: {one.offered.name}" if v == NEW_CLASS else names[v],
        label_visibility="collapsed",
        key=key,
    )
    return picked


def _one_class(schema: ClassSchema) -> _Choice | None:
    """The class that all shapes become."""
    names = {c.value: c.name for c in schema.classes}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox(
            "All shapes become",
            [*names, NEW_CLASS],
            index=None,
            placeholder="Choose a class",
            format_func=lambda v: f"{NEW_CLASS} ..." if v == NEW_CLASS else names[v],
            key="import_one_class",
        )
        if picked == NEW_CLASS:
            name = st.text_input("Its name", placeholder="For example: Building", max_chars=60, key="import_one_name")
            if not name.strip():
                return None
            longer = with_new_class(schema, name, unused_colour(schema))
            return _Choice(None, {NOTHING: longer.classes[-1].value}, longer, longer.classes[-1:])
    return _Choice(None, {NOTHING: picked}, schema, ()) if isinstance(picked, int) else None


def _import(
    project: Project,
    rows: Placed,
    choice: _Choice,
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
    st.rerun()


def _outside_count(labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> int:
    return int(outside(labels, [outline(raster.info) for raster in rasters]).sum())


def _said(report: ImportReport, made: Sequence[ClassDef], lost: int) -> str:
    """What an import did, short; the details are the report's lines."""
    gone = report.rows - report.kept
    parts = [f"{_many(report.imported, 'label')} imported from {_many(report.rows, 'shape')}"]
    if gone:
        parts.append(f"{gone:,} left out")
    if report.repaired:
        parts.append(f"{report.repaired:,} mended")
    said = ", ".join(parts) + "."
    if made:
        said += f" New: {', '.join(c.name for c in made)}."
    if lost:
        said += f" {_many(lost, 'label')} {'lies' if lost == 1 else 'lie'} outside all imagery."
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


# --- export ----------------------------------------------------------------------------------------------------------------------------


def _export_panel(project: Project, schema: ClassSchema, labels: gpd.GeoDataFrame, rasters: Sequence[Raster]) -> None:
    if labels.empty:
        st.caption("There is nothing to export yet.")
        return
    file_format: Format = st.selectbox("Format", list(SUFFIXES), format_func=_FORMATS.__getitem__, key="export_format")
    names = {c.value: c.name for c in schema.classes}
    used = [value for value in names if value in set(labels["class_value"])]
    classes = st.multiselect("Classes", used, format_func=names.__getitem__, placeholder="All classes", key="export_classes")
    scenes = []
    if len(rasters) > 1:
        by_id = {raster.id: raster for raster in rasters}
        scenes = st.multiselect("Pictures", list(by_id), format_func=lambda i: by_id[i].name, placeholder="All pictures", key="export_scenes")
    footprints = [outline(by_id[i].info) for i in scenes] if scenes else None
    styles = file_format in STYLED and st.checkbox("With QGIS styles (.qml), zipped", key="export_styles")
    wanted = chosen_labels(labels, set(classes) or None, footprints)
    if wanted.empty:
        show_problem("No label is of these classes on these pictures.", "Choose others.")
        return
    suffix = ".zip" if styles else SUFFIXES[file_format]
    with explained():
        st.download_button(
            f"Download {_many(len(wanted), 'label')}",
            data=lambda: exported(wanted, schema, file_format, styles=styles),
            file_name=f"{project.id}-labels{suffix}",
            mime="application/zip" if styles else MIME[file_format],
            icon=":material/download:",
            on_click="ignore",
        )


def exported(labels: gpd.GeoDataFrame, schema: ClassSchema, file_format: Format, *, styles: bool = False) -> bytes:
    """The labels as a file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{'.zip' if styles else SUFFIXES[file_format]}"
        write_labels(labels, schema, path, file_format, styles=styles)
        return path.read_bytes()


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
