"""Step 5: predict with the model before and the model after, and compare the maps."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st

from demo.project import SCENE_FILE, TRUTH_FILE
from errors import ModelError, TerratuneError
from imagery.library import Raster, list_rasters, raster_source
from inference.base_input import why_fitted
from inference.compare import CHANGE_COLOURS, CHANGE_NAMES, FLIPPED, GAINED, LOST
from inference.picture import PICTURE_FILE, make_picture
from inference.report import REPORT_FILE, Report, ScoreReport, area_text, old_classes, read_report
from inference.settings import SETTINGS_FILE, PredictionSettings, RasterToPredict, TruthRaster, read_settings
from models.card import CARD_FILE, ModelCard, check_input, read_card
from models.catalogue import find_model, list_models
from ui import maps
from ui.canvas import view_map
from ui.frame import page_frame, settings, tile_token
from ui.problems import explained, show_problem
from ui.scenes import add_raster, bounds_of, leaflet_bounds, native_zoom
from ui.steps import step
from workspace.classes import starter_schema
from workspace.files import read_json, unused_folder, write_text
from workspace.jobs import JobStatus, cancel_job, job_status, remove_job, start_job
from workspace.project import Project

KEY = "preview_results"
MODULE = "inference.run"
MAP_HEIGHT_PX = 560
ALL_AT_ONCE = 6
"""With more rasters than this the map shows one at a time."""
OPACITY = 0.75
NEW = "new"
FIND_MORE = {0.25: "only what is very sure", 0.5: "be surer", 1.0: "as trained", 2.0: "find more", 4.0: "find much more"}
"""Factor on the odds of a class: what the slider says."""
EVERYWHERE = ""
"""Instead of a raster's id: all of them. Not None, which a box shows as nothing chosen."""
SWIPE, CHANGES, CONFIDENCE = "Before | After", "Changes", "Confidence"
SCORE_HELP = {
    "IoU": "Overlap of the predicted and the true area, divided by what both cover together. 1 is perfect, 0 is none.",
    "Recall": "Of what is really there, the share that was found.",
    "Precision": "Of what was marked, the share that is right.",
}


@dataclass(frozen=True)
class Choice:
    """A model that can be chosen."""

    folder: Path
    card: ModelCard
    base: str = ""
    """What it was fine-tuned from: name or folder; empty when unknown."""
    tiles: str = ""
    """The tile set it learnt from; empty when unknown."""

    @property
    def label(self) -> str:
        made = dt.datetime.fromisoformat(self.card.created).strftime("%d %b, %H:%M") if self.tiles else "comes with Terratune"
        return f"{self.card.title} · {made}"


def main(project: Project) -> None:
    rasters = _rasters(project)
    trained, bases = trained_models(project), base_models(project)
    jobs = comparisons(project)
    if not rasters or not (trained or jobs):
        nothing_yet(bool(rasters))
        return
    left, right = st.columns([0.42, 0.58], gap="small")
    with left:
        job = comparison_choice(jobs)
        if job is None:
            new_comparison(project, rasters, trained, bases)
        else:
            progress_and_results(project, job)
    with right:
        results_map(project, rasters, job)


def _rasters(project: Project) -> list[Raster]:
    with explained():
        return list_rasters(project)
    return []


def nothing_yet(imagery: bool) -> None:
    if not imagery:
        st.info("There is no imagery yet: add some first.", icon=":material/info:")
        st.page_link(step("load_imagery").page(), label="Go to 1 Imagery", icon=":material/arrow_back:")
        return
    st.info("There is no trained model to compare yet. Train one first; it takes a few minutes.", icon=":material/info:")
    st.page_link(step("train_model").page(), label="Go to 4 Train", icon=":material/arrow_back:")


# -- what there is ---------------------------------------------------------------------------------------------------------


def trained_models(project: Project) -> list[Choice]:
    """Models of this project's training runs, newest first."""
    found = []
    cards = sorted(project.runs_folder.glob(f"*/model/{CARD_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for run in (path.parent.parent for path in cards):
        try:
            card = read_card(run / "model")
            asked = read_json(run / SETTINGS_FILE)
        except (ModelError, OSError, ValueError):
            continue
        found.append(Choice(run / "model", card, str(asked.get("base", "")), str(asked.get("tiles", ""))))
    return found


def base_models(project: Project) -> list[Choice]:
    """Models that come with Terratune or lie in the project's models folder, and know classes already."""
    entries = list_models(project.models_folder, settings().data_folder / "models")
    return [Choice(e.folder, e.card) for e in entries if e.folder is not None and e.card is not None and e.origin != "encoder"]


def comparisons(project: Project) -> list[Path]:
    """Prediction jobs, newest first."""
    found = [path.parent for path in project.predictions_folder.glob(f"*/{SETTINGS_FILE}")]
    return sorted(found, key=lambda job: (job / SETTINGS_FILE).stat().st_mtime, reverse=True)


def comparison_choice(jobs: Sequence[Path]) -> Path | None:
    """The comparison to look at, named in the address; None: a new one."""
    by_id = {job.name: job for job in jobs}
    wanted = st.query_params.get("comparison", "")
    current = wanted if wanted in by_id or wanted == NEW else next(iter(by_id), NEW)
    if not by_id:
        return None
    options = [*by_id, NEW]
    picked = st.selectbox(
        "Comparison",
        options,
        index=options.index(current),
        format_func=lambda job_id: "+ New comparison" if job_id == NEW else comparison_label(by_id[job_id]),
        key=f"{KEY}:comparison:{len(by_id)}:{current}",
        label_visibility="collapsed",
    )
    if picked != current:
        st.query_params["comparison"] = picked
        st.rerun()
    return by_id.get(current)


def comparison_label(job: Path) -> str:
    made = dt.datetime.fromtimestamp((job / SETTINGS_FILE).stat().st_mtime).strftime("%d %b, %H:%M")
    try:
        return f"{read_settings(job).title or job.name} · {made}"
    except TerratuneError:
        return f"{job.name} (cannot be read) · {made}"


# -- a new comparison ------------------------------------------------------------------------------------------------------


def new_comparison(project: Project, rasters: Sequence[Raster], trained: Sequence[Choice], bases: Sequence[Choice]) -> None:
    """What to predict with what, and the one button."""
    if not trained:
        nothing_yet(True)
        return
    with st.container(border=True):
        new = st.selectbox(
            "New model (after)", trained, format_func=lambda c: c.label, key=f"{KEY}:new", help="Your trained models, newest first."
        )
        others = [*bases, *(c for c in trained if c.folder != new.folder)]
        if not others:
            show_problem("There is no other model to compare with.", "Put a model into the project's models folder, or train a second one.")
            return
        base = st.selectbox(
            "Base model (before)",
            others,
            index=_base_index(project, new, others),
            format_func=lambda c: c.label,
            key=f"{KEY}:base:{new.folder.parent.name}",
            help="Usually what the new model was trained from.",
        )
        names = {raster.id: raster.name for raster in rasters}
        chosen_ids = st.multiselect(
            "Pictures",
            list(names),
            default=[] if len(names) > 1 else list(names),
            format_func=lambda i: names[i],
            placeholder=f"All {len(names)}",
            key=f"{KEY}:rasters",
        )
        chosen = [raster for raster in rasters if raster.id in chosen_ids] or list(rasters)
        tile_set = _tile_set_choice(project, new)
        find_more = _find_more_choice(new.card, base.card)
        thorough = PredictionSettings.model_fields["test_time_augmentation"]
        eight_times = st.checkbox(thorough.title or "", help=thorough.description, key=f"{KEY}:eight_times")
    fitting, problems, notes = _fit(chosen, new.card, base.card)
    for fact, remedy in problems[:3]:
        show_problem(fact, remedy)
    for note in notes[:1]:
        st.caption(f":material/info: {plain(note)}")
    megapixels = sum(r.info.width * r.info.height for r in fitting) / 1e6
    label = f"Predict ({len(fitting)} picture{'s' if len(fitting) != 1 else ''}, {megapixels:,.1f} megapixels)"
    if st.button(label, type="primary", icon=":material/play_arrow:", disabled=not fitting, key=f"{KEY}:predict"):
        with explained():
            job = start_comparison(project, base, new, fitting, tile_set, find_more, eight_times)
            st.query_params["comparison"] = job.name
            st.rerun()


def _find_more_choice(new: ModelCard, base: ModelCard) -> dict[int, float]:
    """How readily the new model should say a class that the base model does not know: class value -> factor on its odds."""
    known = {c.name.casefold() for c in base.classes}
    factors = {}
    for taught in new.classes:
        if taught.name.casefold() not in known:
            factor = st.select_slider(
                f"How readily to say '{plain(taught.name)}'",
                list(FIND_MORE),
                value=1.0,
                format_func=FIND_MORE.__getitem__,
                key=f"{KEY}:find_more:{new.name}:{taught.value}",
                help="Find more: less is missed, more is wrong. Be surer: the reverse.",
            )
            if factor != 1:
                factors[taught.value] = factor
    return factors


def _base_index(project: Project, new: Choice, others: Sequence[Choice]) -> int:
    """The model that `new` was trained from, where it is among the others."""
    try:
        folder = find_model(new.base, project.models_folder, settings().data_folder / "models").resolve()
    except ModelError:
        return 0
    return next((i for i, c in enumerate(others) if c.folder.resolve() == folder), 0)


def _tile_set_choice(project: Project, new: Choice) -> Path | None:
    folders: list[Path | None] = [*project.made("tiles", "terratune.json"), None]
    learnt_from = Path(new.tiles) if new.tiles else None
    # by name: the project may have been moved since
    index = next((i for i, f in enumerate(folders) if f is not None and learnt_from and f.name == learnt_from.name), len(folders) - 1)
    return st.selectbox(
        "Score on the held-out places of",
        folders,
        index=index,
        format_func=lambda f: "nothing (no scores)" if f is None else f.name,
        key=f"{KEY}:tiles:{new.folder.parent.name}",
        help="Places that were put aside when the tiles were made, so that the model has never seen them. Usually the tile set it was trained on.",
    )


def _fit(rasters: Sequence[Raster], new: ModelCard, base: ModelCard) -> tuple[list[Raster], list[tuple[str, str]], list[str]]:
    """The rasters that can be predicted, why the others cannot be, and what to know about those that can."""
    fitting, problems, notes = [], [], []
    for raster in rasters:
        try:
            check_input(new, raster.info.band_names, raster.info.dtype, raster.info.resolution_m)
        except ModelError as error:
            problems.append((f"{raster.name}: {error.fact}", error.remedy))
        else:
            fitting.append(raster)
            notes += [f"{raster.name}: {note}"] if (note := why_fitted(base, new, raster.info)) else []
    return fitting, problems, notes


def start_comparison(
    project: Project,
    base: Choice,
    new: Choice,
    rasters: Sequence[Raster],
    tile_set: Path | None,
    find_more: dict[int, float],
    test_time_augmentation: bool,
) -> Path:
    """Make the job folder and start its process.

    Raises:
        DiskFullError: the settings could not be written.
    """
    title = new.card.title if len(rasters) > 1 else f"{new.card.title} on {rasters[0].name}"
    title += "".join(f", {FIND_MORE[factor]}" for factor in dict.fromkeys(find_more.values()))
    title += ", eight looks" if test_time_augmentation else ""
    job = unused_folder(project.predictions_folder, title)
    asked = PredictionSettings(
        title=title,
        base=_inside(project, base.folder),
        new=_inside(project, new.folder),
        rasters=tuple(
            RasterToPredict(
                id=r.id,
                name=r.name,
                source=r.source if r.kind != "copy" else _inside(project, Path(raster_source(project, r))),
                shown_bands=r.bands,
                stretch=r.stretch,
            )
            for r in rasters
        ),
        tile_set=None if tile_set is None else _inside(project, tile_set),
        truths=_exact_truths(project, rasters),
        find_more=find_more,
        test_time_augmentation=test_time_augmentation,
        device=settings().device if settings().device in {"cpu", "cuda"} else "auto",  # type: ignore[arg-type]
    )
    write_text(job / SETTINGS_FILE, asked.model_dump_json(indent=1) + "\n")
    start_job(job, MODULE)
    return job


def _inside(project: Project, path: Path) -> str:
    """Relative to the project folder where it lies in it, so that a project may be moved."""
    path, folder = path.resolve(), project.folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _exact_truths(project: Project, rasters: Sequence[Raster]) -> tuple[TruthRaster, ...]:
    """The demo scene brings its exact truth."""
    if not (project.folder / TRUTH_FILE).exists():
        return ()
    scenes = [raster for raster in rasters if raster.name == SCENE_FILE]
    return tuple(TruthRaster(raster_id=r.id, path=TRUTH_FILE.as_posix(), classes=starter_schema().learnt) for r in scenes)


# -- one comparison --------------------------------------------------------------------------------------------------------


def progress_and_results(project: Project, job: Path) -> None:
    status = job_status(job)
    if status.state in {"running", "waiting"} and not (job / REPORT_FILE).exists():
        running(job, len(maps_done(job)))
        return
    if status.ended and status.state != "done" and not (job / REPORT_FILE).exists():
        stopped(job, status)
        return
    with explained():
        report = read_report(job)
        numbers(project, job, report)
    st.page_link(step("draw_labels").page(), label="Label where it is still wrong", icon=":material/draw:")


def maps_done(job: Path) -> list[Path]:
    return sorted(job.glob("*/after.tif")) + sorted(job.glob("*/change.tif"))


@st.fragment(run_every=1.0)
def running(job: Path, shown: int) -> None:
    """Progress, refreshed by itself; the whole page follows when a map is ready or the job ends."""
    status = job_status(job)
    if status.ended or (job / REPORT_FILE).exists() or len(maps_done(job)) != shown:
        st.rerun()
    left = "" if status.seconds_left is None else f" · {duration_text(status.seconds_left)} left"
    st.progress(status.fraction, text=f"{status.stage or 'Starting'}{left}")
    stopping = (job / "cancel").exists()
    if st.button(
        "Stopping ..." if stopping else "Stop",
        icon=":material/stop:",
        disabled=stopping and time.time() % 6 < 5,
        key=f"{KEY}:stop:{job.name}",
    ):
        cancel_job(job)
        st.rerun(scope="fragment")
    st.caption("You may leave this page, or close it: the work goes on. Maps appear as they are ready.")


def stopped(job: Path, status: JobStatus) -> None:
    if status.state == "cancelled":
        st.info("You stopped this comparison. What was finished is kept.", icon=":material/info:")
    else:
        show_problem(status.error or "The comparison did not finish.", status.remedy)
    if st.button("Resume", type="primary", icon=":material/play_arrow:", key=f"{KEY}:resume:{job.name}"):
        with explained():
            start_job(job, MODULE)
            st.rerun()
    delete_button(job)
    log = job / "log.txt"
    if log.exists() and log.stat().st_size:
        with st.expander("Log"):
            st.code(log.read_text(encoding="utf-8", errors="replace")[-4000:], language=None)


def numbers(project: Project, job: Path, report: Report) -> None:
    for problem in report.failed:
        show_problem(f"{problem.raster} was left out: {problem.fact}", problem.remedy)
    scores, areas, take = st.tabs([":material/target: Scores", ":material/square_foot: Areas", ":material/download: Take away"])
    with scores:
        scores_tab(report)
    with areas:
        areas_tab(report)
    with take:
        take_away_tab(project, job, report)
        delete_button(job)
    for note in report.notes:
        st.caption(f":material/info: {plain(note.raster + ': ' if note.raster else '')}{plain(note.fact)} {plain(note.remedy)}")


def scores_tab(report: Report) -> None:
    if report.held_out is None and report.truth is None:
        st.info(
            "No held-out places lie on these pictures, so there are no scores. The map and the areas are there all the same.",
            icon=":material/info:",
        )
        return
    if report.truth is not None:
        verdict(report, report.truth)
        st.caption("Measured against the exact truth of the whole demo scene, the places the model learnt from included.")
        score_table(report, report.truth)
        if report.held_out is not None:
            with st.expander("On the places kept aside, against your labels only"):
                held_out_scores(report, report.held_out)
    elif report.held_out is not None:
        held_out_scores(report, report.held_out)


def held_out_scores(report: Report, scores: ScoreReport) -> None:
    """The honest measure for everybody's own imagery."""
    verdict(report, scores)
    count = len(scores.places)
    st.caption(
        f"Measured on {plain(scores.on)}: {count} place{'s' if count != 1 else ''}, {scores.after.pixels:,} pixels the model has not learnt from. "
        "What you did not draw there counts as wrong, even if it is right: draw everything in those places, or mark what you leave out as uncertain."
    )
    score_table(report, scores)
    if count > 1:
        with st.expander(f"Place by place ({count})"):
            place_table(report, scores)


def verdict(report: Report, scores: ScoreReport) -> None:
    """What the numbers say, in sentences; forgetting first of all."""
    known = {name.casefold() for name in report.before.classes}
    lines = []
    for c in report.classes:
        old, new = scores.before.of(c.value), scores.after.of(c.value)
        if c.name.casefold() not in known and old and new and new.recall is not None:
            right = "" if new.precision is None else f" Of what is marked, {percent(new.precision)} is right."
            lines.append(f"**{plain(c.name)}**: {percent(new.recall)} of it is found now, {percent(old.recall)} before.{right}")
    for change in old_classes(report):
        what = f"IoU {change.iou_before:.2f} before, {change.iou_after:.2f} now"
        if change.forgotten:
            how_much = "mostly" if change.iou_after < change.iou_before / 2 else "partly"
            lines.append(f":orange[**{plain(change.name)}**: {how_much} forgotten] ({what}).")
        else:
            lines.append(f":green[**{plain(change.name)}**: not forgotten] ({what}).")
    st.markdown("  \n".join(lines) or "The held-out places hold none of the classes.")


def score_table(report: Report, scores: ScoreReport) -> None:
    """Three lines for each class: what was measured, before and after."""
    rows: list[dict[str, Any]] = []
    for c in report.classes:
        old, new = scores.before.of(c.value), scores.after.of(c.value)
        if old is None or new is None or not (new.truth_pixels or new.predicted_pixels or old.predicted_pixels):
            continue
        there = new.truth_pixels > 0
        measured = (("IoU", old.iou, new.iou), ("Recall", old.recall, new.recall), ("Precision", old.precision, new.precision))
        for index, (name, *pair) in enumerate(measured):
            before, after = pair if there else (None, None)
            truth = f"{new.truth_pixels:,} true pixels" if there else "not labelled there"
            counted = truth if index == 1 else f"{new.predicted_pixels:,} marked" if index == 2 else c.name
            rows.append({"Class": counted, "Measure": name, "Before": two_digits(before), "After": two_digits(after)})
    st.dataframe(rows, hide_index=True, height=36 + 35 * len(rows) if len(rows) <= 6 else 250)
    st.caption("  \n".join(f"**{name}**: {text}" for name, text in SCORE_HELP.items()))


def place_table(report: Report, scores: ScoreReport) -> None:
    rows = []
    for place in scores.places:
        row: dict[str, Any] = {"Picture": place.raster, "Place": place.place}
        for c in report.classes:
            old, new = place.before.of(c.value), place.after.of(c.value)
            if any(p.after.of(c.value) and p.after.of(c.value).truth_pixels for p in scores.places):  # type: ignore[union-attr]
                row[f"{c.name}: IoU before"] = old.iou if old else None
                row[f"{c.name}: IoU after"] = new.iou if new else None
        rows.append(row | {"Pixels": place.after.pixels})
    numbers_format = {name: st.column_config.NumberColumn(format="%.2f") for name in rows[0] if "IoU" in name}
    st.dataframe(rows, hide_index=True, height=min(38 + 35 * len(rows), 250), column_config=numbers_format)
    st.caption("An empty cell: neither the truth nor the model has this class there.")


def areas_tab(report: Report) -> None:
    names = (
        {"All pictures": report.total, **{r.name: r.table for r in report.rasters}}
        if len(report.rasters) > 1
        else {report.rasters[0].name: report.total}
    )
    picked = st.selectbox("Picture", list(names), label_visibility="collapsed", key=f"{KEY}:areas") if len(names) > 1 else next(iter(names))
    table = names[picked]
    before, after = table.before_m2(), table.after_m2()
    gained, lost, flipped = table.gained_m2(), table.lost_m2(), table.flipped_m2()
    rows = [
        {
            "Class": c.name,
            "Before": area_text(before[i]),
            "After": area_text(after[i]),
            "Gained": area_text(gained[i]),
            "Lost": area_text(lost[i]),
            "Became another": area_text(flipped[i]),
        }
        for i, c in enumerate(report.classes, 1)
    ]
    st.dataframe(rows, hide_index=True)
    st.caption(
        "Ground area, measured on the ellipsoid. **Gained**: was background before. **Lost**: is background now. **Became another**: had this class before, has another one now."
    )
    with st.expander("Change table"):
        labels = ["Background", *(c.name for c in report.classes)]
        st.dataframe(
            [
                {"Before ↓ · After →": labels[i], **{name: area_text(v) for name, v in zip(labels, row, strict=True)}}
                for i, row in enumerate(table.area_m2)
            ],
            hide_index=True,
        )


# -- downloads -------------------------------------------------------------------------------------------------------------


def delete_button(job: Path) -> None:
    """Comparisons are the largest things in a project."""
    with st.popover("Delete this comparison", icon=":material/delete:", type="tertiary"):
        st.markdown("Its maps and numbers are deleted; models, labels and imagery stay.")
        if st.button("Yes, delete it", key=f"{KEY}:delete:{job.name}"):
            with explained():
                remove_job(job)
                st.query_params.pop("comparison", None)
                st.rerun()


def take_away_tab(project: Project, job: Path, report: Report) -> None:
    names = {r.id: r.name for r in report.rasters}
    shown = st.session_state.get(f"{KEY}:went_to") or most_changed(job)
    index = list(names).index(shown) if shown in names else 0
    raster_id = (
        st.selectbox(
            "Picture",
            list(names),
            index,
            format_func=lambda i: names[i],
            key=f"{KEY}:take:{job.name}:{index}",
            label_visibility="collapsed",
        )
        if len(names) > 1
        else report.rasters[0].id
    )
    folder = job / raster_id
    picture = folder / PICTURE_FILE
    if picture.exists():
        st.image(picture.read_bytes(), width=300)
    elif st.button("Make the animated before/after picture", icon=":material/animation:", key=f"{KEY}:gif:{raster_id}"):
        with explained():
            with st.spinner("Drawing ..."):
                make_picture(job, read_settings(job), raster_id, report.classes, (report.before.title, report.after.title))
            st.rerun()
    files = (
        (PICTURE_FILE, "Animated picture (GIF)", "for a report or a mail"),
        ("after.tif", "Map after", "GeoTIFF with class colours, for QGIS and ArcGIS"),
        ("before.tif", "Map before", "GeoTIFF"),
        ("change.tif", "Changes", "GeoTIFF: 1 gained, 2 lost, 3 became another"),
        ("after_confidence.tif", "Confidence after", "GeoTIFF, percent"),
        ("before_confidence.tif", "Confidence before", "GeoTIFF, percent"),
    )
    lines = [
        f"- {download_link(project, folder / name, title)}: {what}, {size_text(folder / name)}"
        for name, title, what in files
        if (folder / name).exists()
    ]
    lines.append(
        f"- {download_link(project, job / REPORT_FILE, 'All numbers (JSON)')}: areas, changes, scores, {size_text(job / REPORT_FILE)}"
    )
    lines.append(f"- {download_link(project, job, 'Everything (ZIP)', '.zip')}: all pictures with their legends")
    st.markdown("\n".join(lines))


def download_link(project: Project, path: Path, title: str, suffix: str = "") -> str:
    inside = path.relative_to(project.folder).as_posix()
    return f"[{title}](api/{tile_token(project)}/files/{quote(inside)}{suffix})"


def size_text(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


# -- the map ---------------------------------------------------------------------------------------------------------------


def results_map(project: Project, rasters: Sequence[Raster], job: Path | None) -> None:
    shown = [r for r in rasters if job is not None and (job / r.id / "after.tif").exists()]
    scene, view, kinds = map_controls(shown or rasters, job if shown else None)
    visible = [r for r in shown or rasters if scene in (None, r.id)]
    m = maps.new_map(bounds_of(visible))
    token = tile_token(project)
    for raster in visible:
        add_raster(m, token, raster)
    if job is not None:
        add_results(m, token, job, visible, view, kinds)
    view_map(m, key=f"{KEY}:map:{project.id}", height=MAP_HEIGHT_PX)
    if job is not None:
        legend(job, view, kinds)


def map_controls(shown: Sequence[Raster], job: Path | None) -> tuple[str | None, str, tuple[int, ...]]:
    """Which picture (None: all), which view, and which changes; without results only the picture."""
    if job is None:
        return scene_choice(shown, None), SWIPE, ()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = st.segmented_control(
            "View", [SWIPE, CHANGES, CONFIDENCE], default=SWIPE, required=True, key=f"{KEY}:view", label_visibility="collapsed"
        )
        kinds: tuple[int, ...] = (GAINED, LOST, FLIPPED)
        if view == CHANGES:
            picked = st.pills(
                "Changes",
                kinds,
                selection_mode="multi",
                default=kinds,
                format_func=lambda k: CHANGE_NAMES[k].capitalize(),
                key=f"{KEY}:kinds",
                label_visibility="collapsed",
            )
            kinds = tuple(picked or ())
        scene = scene_choice(shown, most_changed(job))
    return scene, view or SWIPE, kinds


def most_changed(job: Path) -> str | None:
    """The raster with the largest new area: the one that shows most; None before the numbers are there."""
    if not (job / REPORT_FILE).exists():
        return None
    with explained():
        rasters = read_report(job).rasters
        return max(rasters, key=lambda r: sum(r.table.gained_m2())).id if rasters else None
    return None


def scene_choice(shown: Sequence[Raster], best: str | None) -> str | None:
    """Which raster to show; None for all. Many begin with `best`."""
    if len(shown) < 2:
        return None
    names = {r.id: r.name for r in shown}
    options = [EVERYWHERE, *names]
    remembered = st.session_state.get(f"{KEY}:went_to")
    first = EVERYWHERE if len(shown) <= ALL_AT_ONCE else best if best in options else options[1]
    picked = st.selectbox(
        "Go to",
        options,
        index=options.index(remembered if remembered in options else first),
        format_func=lambda i: f"All {len(names)} pictures" if i == EVERYWHERE else names[i],
        key=f"{KEY}:scene:{hash(tuple(names.items()))}",  # more pictures come as they are ready: a box keeps the words it was made with
        label_visibility="collapsed",
        width=175,
    )
    st.session_state[f"{KEY}:went_to"] = picked
    return None if picked == EVERYWHERE else picked


def add_results(m: Any, token: str, job: Path, visible: Sequence[Raster], view: str, kinds: Sequence[int]) -> None:
    """The layers of the chosen view above the imagery."""

    def layer(raster: Raster, what: str, name: str) -> Any:
        path = job / raster.id / f"{'change' if what in CHANGE_NAMES.values() else what}.tif"
        if not path.exists():
            return None
        url = f"{maps.tile_url(token, f'prediction.{job.name}.{raster.id}.{what}')}?v={path.stat().st_mtime_ns}"
        return maps.add_tiles(
            m, url, f"{name}: {raster.name}", opacity=OPACITY, bounds=leaflet_bounds(raster), max_native_zoom=native_zoom(raster)
        )

    if view == CHANGES:
        wanted = ["change"] if len(kinds) == 3 else [CHANGE_NAMES[kind] for kind in kinds]
        for raster in visible:
            for what in wanted:
                layer(raster, what, what.capitalize())
        return
    ending = "_confidence" if view == CONFIDENCE else ""
    left = [found for r in visible if (found := layer(r, f"before{ending}", "Before"))]
    right = [found for r in visible if (found := layer(r, f"after{ending}", "After"))]
    if left and right:
        maps.swipe(m, left, right, ("Before", "After"))


def legend(job: Path, view: str, kinds: Sequence[int]) -> None:
    """What the colours mean."""
    if view == CONFIDENCE:
        st.caption(
            "How sure the model is of what it says, from dark (0 %) to bright (100 %). Dark streaks are where it hesitates: good places to label."
        )
        return
    if view == CHANGES:
        meanings = {
            GAINED: "gained: background before, a class now",
            LOST: "lost: a class before, background now",
            FLIPPED: "flipped: one class became another",
        }
        entries = [(meanings[kind], "#{:02x}{:02x}{:02x}".format(*CHANGE_COLOURS[kind])) for kind in kinds]
    else:
        try:
            entries = [(c.name, c.colour) for c in read_report(job).classes]
        except TerratuneError:
            return  # not finished yet
    st.html(
        "&emsp;".join(
            f'<span style="white-space:nowrap"><span style="color:{colour}">&#9632;</span> {escaped(text)}</span>'
            for text, colour in entries
        )
    )


# -- words -----------------------------------------------------------------------------------------------------------------


def duration_text(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def two_digits(score: float | None) -> str:
    """A dash where there was nothing to measure."""
    return "–" if score is None else f"{score:.2f}"


def percent(share: float | None) -> str:
    return "none" if share is None else f"{share * 100:.0f} %"


def plain(text: str) -> str:
    """Names without Markdown."""
    for mark in "\\`*_[]$<:":
        text = text.replace(mark, "\\" + mark)
    return text


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


page_project = page_frame(KEY)
with explained():
    main(page_project)
