"""Find objects: a model for objects or whole scenes over some pictures; its progress, what was found on the map, and the files."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyogrio
import streamlit as st

from errors import ModelError, TerratuneError
from imagery.library import Raster, list_rasters, raster_source
from inference.objects.report import COPY_FILE, OBJECTS_FILE, REPORT_FILE, ObjectReport, read_object_report
from inference.objects.settings import CHANGING, FINDING, NAMING, ObjectSettings, read_object_settings
from inference.settings import SETTINGS_FILE, RasterToPredict
from models.architecture import Task
from models.card import ModelCard, check_input, of_one_image, read_card
from ui import maps
from ui.canvas import view_map
from ui.comparison.choices import NEW, Choice, base_models, trained_models
from ui.comparison.take_away import download_link
from ui.frame import settings, tile_token
from ui.job_panel import job_panel
from ui.problems import explained, plain, show_problem
from ui.scenes import add_raster, bounds_of
from ui.settings_fields import settings_field
from ui.wording import distinct_names, many, told_once
from workspace.classes import ClassDef
from workspace.files import size_in_words, unused_folder, write_text
from workspace.jobs import job_status, remove_job, start_job
from workspace.places import noted_path, place_of
from workspace.project import Project

KEY = "objects"
MODULE = "inference.objects.run"
MAPS_VIEW, OBJECTS_VIEW = "Compare maps", "Find objects"
SEARCH = "search"
"""In the address: the search that is shown."""
MOST_SHOWN = 2000
"""Objects that are drawn on the map, the surest first."""
MOST_LISTED = 5
"""Pictures of which each file has a link of its own; the files of all come together."""
MAP_HEIGHT_PX = 560
COPIES = {"": "none", "pixelate": "in coarse cells", "blur": "blurred"}


def wants_objects(project: Project, *, maps_too: bool) -> bool:
    """Offer the two views of the page where the project has a model for objects; whether that of objects is chosen.

    Args:
        project: Without such models, and without earlier searches, nothing is shown.
        maps_too: There are maps to compare.
    """
    if not (object_models(project) or searches(project)):
        return False
    first = OBJECTS_VIEW if SEARCH in st.query_params or not maps_too else MAPS_VIEW
    view = st.segmented_control(
        "View", [MAPS_VIEW, OBJECTS_VIEW], default=first, required=True, key=f"{KEY}:view:{project.id}", label_visibility="collapsed"
    )
    return view == OBJECTS_VIEW


def object_models(project: Project) -> list[Choice]:
    """Models for objects, whole scenes or change, the newest trained one first."""
    tasks = (*FINDING, *NAMING, *CHANGING)
    trained = trained_models(project, tasks)
    return [*trained, *base_models(project, trained, tasks)]


def searches(project: Project) -> list[Path]:
    """Jobs, newest first."""
    found = [path.parent for path in project.objects_folder.glob(f"[!.]*/{SETTINGS_FILE}")]
    return sorted(found, key=lambda job: (job / SETTINGS_FILE).stat().st_mtime, reverse=True)


def objects_view(project: Project) -> None:
    """The whole view."""
    rasters = list_rasters(project)
    left, right = st.columns([0.42, 0.58], gap="small")
    with left:
        job = _search_choice(searches(project))
        if job is None:
            _new_search(project, rasters)
        else:
            _progress_and_results(project, job)
    with right:
        _map(project, rasters, job)


def _search_choice(jobs: Sequence[Path]) -> Path | None:
    """The search to look at, named in the address; None: a new one."""
    by_id = {job.name: job for job in jobs}
    if not by_id:
        return None
    wanted = st.query_params.get(SEARCH, "")
    current = wanted if wanted in by_id or wanted == NEW else next(iter(by_id))
    options = [*by_id, NEW]
    picked = st.selectbox(
        "Search",
        options,
        index=options.index(current),
        format_func=lambda name: "+ New search" if name == NEW else _label(by_id[name]),
        key=f"{KEY}:search:{len(by_id)}:{current}",
        label_visibility="collapsed",
    )
    if picked != current:
        st.query_params[SEARCH] = picked
        st.rerun()
    return by_id.get(current)


def _label(job: Path) -> str:
    made = dt.datetime.fromtimestamp((job / SETTINGS_FILE).stat().st_mtime).strftime("%d %b, %H:%M")
    try:
        return f"{read_object_settings(job).title or job.name} · {made}"
    except TerratuneError:
        return f"{job.name} (cannot be read) · {made}"


def _new_search(project: Project, rasters: Sequence[Raster]) -> None:
    """What to find with what, and the one button."""
    models = object_models(project)
    if not models or not rasters:
        st.info("Train a model for objects first." if rasters else "There is no imagery yet: add some first.", icon=":material/info:")
        return
    with st.container(border=True):
        model = st.selectbox(
            "Model",
            models,
            format_func=lambda c: c.label,
            key=f"{KEY}:model",
            help="Models for objects, whole scenes, and change between two pictures.",
        )
        st.caption(f"Looks for {plain(', '.join(c.name for c in model.card.classes))}.")
        if model.card.task in CHANGING:
            pair = _two_dates(rasters)
            chosen, asked = pair[:1], {"later": _as_asked(project, pair[1])} if len(pair) == 2 else {}
        else:
            pair = []
            chosen = _pictures(rasters)
            asked = _finding_choices(model.card.task) if model.card.task in FINDING else _naming_choices(project)
    fitting, notes = _fit(pair or chosen, of_one_image(model.card))
    if pair:
        fitting = chosen if len(fitting) == len(pair) == 2 else []
    for note in notes[:2]:
        st.caption(f":material/info: {plain(note)}")
    megapixels = sum(r.info.width * r.info.height for r in fitting) / 1e6
    label = f"{OBJECTS_VIEW} ({many(len(fitting), 'picture')}, {megapixels:,.1f} megapixels)"
    if st.button(label, type="primary", icon=":material/search:", disabled=not fitting, key=f"{KEY}:start"):
        with explained():
            job = _start(project, model, fitting, asked)
            st.query_params[SEARCH] = job.name
            st.rerun()


def _pictures(rasters: Sequence[Raster]) -> list[Raster]:
    names = dict(zip([r.id for r in rasters], distinct_names(rasters), strict=True))
    chosen_ids = st.multiselect(
        "Pictures",
        list(names),
        default=[] if len(names) > 1 else list(names),
        format_func=names.__getitem__,
        placeholder=f"All {len(names)}",
        key=f"{KEY}:rasters",
    )
    return [raster for raster in rasters if raster.id in chosen_ids] or list(rasters)


def _two_dates(rasters: Sequence[Raster]) -> list[Raster]:
    """The picture before and the one after; fewer where there are no two."""
    if len(rasters) < 2:
        st.info("Change shows between two pictures of one place: add the other one on the Imagery page.", icon=":material/info:")
        return []
    names = dict(zip([r.id for r in rasters], distinct_names(rasters), strict=True))
    before, after = st.columns(2)
    first = before.selectbox("Picture before", list(names), format_func=names.__getitem__, key=f"{KEY}:before")
    others = [name for name in names if name != first]
    second = after.selectbox("Picture after", others, format_func=names.__getitem__, key=f"{KEY}:after")
    by_id = {r.id: r for r in rasters}
    return [by_id[first], by_id[second]]


def _as_asked(project: Project, raster: Raster) -> RasterToPredict:
    return RasterToPredict(
        id=raster.id,
        name=raster.name,
        source=raster.source if raster.kind != "copy" else noted_path(project.folder, Path(raster_source(project, raster))),
        band_names=raster.info.band_names,
        shown_bands=raster.bands,
        stretch=raster.stretch,
    )


def _finding_choices(task: Task) -> dict[str, Any]:
    """The settings of a model that finds objects, as chosen."""
    threshold = ObjectSettings.model_fields["threshold"]
    asked: dict[str, Any] = {
        "threshold": st.slider(
            threshold.title or "", 0.05, 0.95, threshold.default, 0.05, help=threshold.description, key=f"{KEY}:threshold"
        )
    }
    with st.expander("More options"):
        names = ("nms_overlap", "exclude_pad_detections")
        for name in ("shape", *names) if task == "instance segmentation" else names:
            asked[name] = settings_field(ObjectSettings, name, ObjectSettings.model_fields[name].default, key=f"{KEY}:{name}")
        redact = ObjectSettings.model_fields["redact"]
        asked["redact"] = st.radio(
            redact.title or "", list(COPIES), format_func=COPIES.__getitem__, help=redact.description, horizontal=True, key=f"{KEY}:redact"
        )
        if asked["redact"]:
            asked["margin_m"] = settings_field(ObjectSettings, "margin_m", 0.0, key=f"{KEY}:margin_m")
    return asked


def _naming_choices(project: Project) -> dict[str, Any]:
    """The settings of a model that says what a whole scene is, as chosen."""
    if not project.labels_file.exists():
        return {}
    cells, mine = "every cell of the pictures", "each of my labels"
    picked = st.radio("Give a class to", [cells, mine], horizontal=True, key=f"{KEY}:what")
    return {"features": noted_path(project.folder, project.labels_file) if picked == mine else None}


def _fit(rasters: Sequence[Raster], card: ModelCard) -> tuple[list[Raster], list[str]]:
    """The rasters that the model can read, and what to know about them; why the others cannot be is shown."""
    fitting: list[Raster] = []
    notes: list[tuple[str, str]] = []
    problems: list[tuple[str, str]] = []
    for raster in rasters:
        try:
            notes += [
                (raster.name, note)
                for note in check_input(card, raster.info.band_names, raster.info.dtype, raster.info.resolution_m, raster.known_ranges)
            ]
        except ModelError as error:
            problems.append((f"{raster.name}: {error.fact}", error.remedy))
        else:
            fitting.append(raster)
    for fact, remedy in problems[:3]:
        show_problem(fact, remedy)
    if len(problems) > 3:
        st.caption(f":material/info: {many(len(problems) - 3, 'further picture')} cannot be searched with this model either.")
    return fitting, told_once(notes)


def _start(project: Project, model: Choice, rasters: Sequence[Raster], asked: dict[str, Any]) -> Path:
    """Make the job folder and start its process.

    Raises:
        DiskFullError: the settings could not be written.
    """
    title = model.card.title + ("" if len(rasters) > 1 else f" on {rasters[0].name}")
    job = unused_folder(project.objects_folder, title)
    search = ObjectSettings(
        title=title,
        model=noted_path(project.folder, model.folder),
        rasters=tuple(_as_asked(project, r) for r in rasters),
        device=settings().device if settings().device in {"cpu", "cuda"} else "auto",  # type: ignore[arg-type]
        **asked,
    )
    write_text(job / SETTINGS_FILE, search.model_dump_json(indent=1) + "\n")
    start_job(job, MODULE)
    return job


def _progress_and_results(project: Project, job: Path) -> None:
    job_panel(job, MODULE, key=f"{KEY}:{job.name}", kept=lambda: "Pictures that are finished are kept.")
    if (job / REPORT_FILE).exists():
        with explained():
            _results(project, job, read_object_report(job))
    if job_status(job).ended:
        with st.popover("Delete this search", icon=":material/delete:", type="tertiary"):
            st.markdown("What it found is deleted; models, labels and imagery stay.")
            if st.button("Yes, delete it", key=f"{KEY}:delete:{job.name}"):
                with explained():
                    remove_job(job)
                    st.query_params.pop(SEARCH, None)
                    st.rerun()


def _results(project: Project, job: Path, report: ObjectReport) -> None:
    total = sum(report.count(c.value) for c in report.classes)
    st.markdown(f"**{many(total, 'object')}** on {many(len(report.rasters), 'picture')}")
    st.dataframe(
        {
            "Class": [c.name for c in report.classes],
            "Objects": [report.count(c.value) for c in report.classes],
            **({r.name: [r.counts.get(c.value, 0) for c in report.classes] for r in report.rasters} if 1 < len(report.rasters) < 5 else {}),
        },
        hide_index=True,
    )
    for said in told_once([(problem.raster, f"{problem.fact}\n{problem.remedy}") for problem in report.failed]):
        fact, _, remedy = said.partition("\n")
        show_problem(fact, remedy)
    for note in told_once([(note.raster, note.fact) for note in report.notes])[:3]:
        st.caption(f":material/info: {plain(note)}")
    lines = [f"- {download_link(project, job, 'Everything (ZIP)', '.zip')}: all pictures"] if len(report.rasters) > 1 else []
    for raster in report.rasters[:MOST_LISTED]:
        for name, title, what in (
            (OBJECTS_FILE, f"Objects on {raster.name}", "GeoPackage with class colours, for QGIS and ArcGIS"),
            (COPY_FILE, f"{raster.name} without them", "GeoTIFF in which they cannot be recognised"),
        ):
            path = job / raster.id / name
            if path.exists():
                lines.append(f"- {download_link(project, path, plain(title))}: {what}, {size_in_words(path.stat().st_size)}")
    st.markdown("\n".join(lines))


def _map(project: Project, rasters: Sequence[Raster], job: Path | None) -> None:
    found = [] if job is None else [r for r in rasters if (job / r.id / OBJECTS_FILE).exists()]
    shown = _picture_choice(found) if found else list(rasters)
    m = maps.new_map(bounds_of(shown))
    token = tile_token(project)
    for raster in shown:
        add_raster(m, token, raster)
    drawn, there = 0, 0
    if job is not None and found:
        colours = {c.value: c.colour for c in _classes(job)}
        for raster in shown:
            file = job / raster.id / OBJECTS_FILE
            some, count = _surest(file, file.stat().st_mtime_ns, MOST_SHOWN, colours)
            drawn, there = drawn + len(some["features"]), there + count
            maps.add_shapes(m, some, f"Objects: {raster.name}", fill_opacity=0.15, tooltip="text")
    view_map(m, key=f"{KEY}:map:{project.id}", height=MAP_HEIGHT_PX)
    if drawn < there:
        st.caption(f"The {drawn:,} surest of {there:,} objects are drawn; all of them are in the file.")


def _picture_choice(found: Sequence[Raster]) -> list[Raster]:
    """The picture whose objects are shown; the first at first."""
    if len(found) == 1:
        return list(found)
    names = dict(zip([r.id for r in found], distinct_names(found), strict=True))
    picked = st.selectbox(
        "Go to", list(names), format_func=names.__getitem__, key=f"{KEY}:go:{hash(tuple(names))}", label_visibility="collapsed"
    )
    return [r for r in found if r.id == picked]


@st.cache_data(max_entries=8, show_spinner=False)
def _surest(objects: Path, changed: int, most: int, colours: dict[int, str]) -> tuple[dict[str, Any], int]:
    """Up to `most` objects of a file as GeoJSON in longitude and latitude, the surest first, with a colour and a text each; and how many there are.

    `changed` is when the file was last written: until then the answer is remembered.
    """
    ordered = f"SELECT * FROM objects WHERE Confidence IS NOT NULL ORDER BY Confidence DESC LIMIT {int(most)}"
    table = pyogrio.read_dataframe(objects, sql=ordered).to_crs("EPSG:4326")
    count = int(pyogrio.read_info(objects, layer="objects", force_feature_count=True)["features"])
    name = "Classname" if "Classname" in table else "ClassLabel"
    features = json.loads(table[["geometry"]].to_json(drop_id=True))["features"]
    for feature, said, value, sure in zip(features, table[name], table["Classvalue"], table["Confidence"], strict=True):
        colour = colours.get(int(value)) if pd.notna(value) else None
        style = {} if colour is None else {"color": colour, "fillColor": colour}
        feature["properties"] = {"text": f"{said or 'no class'}, {sure:.0%} sure", "style": style}
    return {"type": "FeatureCollection", "features": features}, count


def _classes(job: Path) -> Sequence[ClassDef]:
    """Of the report, or, before there is one, of the model; none where neither can be read."""
    try:
        return (
            read_object_report(job).classes
            if (job / REPORT_FILE).exists()
            else read_card(place_of(job, read_object_settings(job).model)).classes
        )
    except TerratuneError:
        return ()
