"""A new comparison: which models, which pictures, how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import streamlit as st

from demo.project import SCENE_FILE, TRUTH_FILE
from errors import ModelError
from imagery.library import Raster, raster_source
from inference.base_input import look_at
from inference.cluster.open import installed
from inference.legend import joint_classes
from inference.settings import SETTINGS_FILE, PredictionSettings, RasterToPredict, TruthRaster
from models.card import ModelCard, read_card
from models.catalogue import find_model
from ui.comparison.area import area_choice, inside, write_area
from ui.comparison.choices import KEY, SEEN, Choice
from ui.comparison.progress import MODULE
from ui.frame import settings
from ui.problems import explained, plain, show_problem
from ui.settings_fields import settings_field
from ui.steps import step
from ui.wording import many, told_once
from workspace.classes import ClassDef, starter_schema
from workspace.files import unused_folder, write_text
from workspace.jobs import start_job
from workspace.places import noted_path
from workspace.project import Project

FIND_MORE = {0.25: "only what is very sure", 0.5: "be surer", 1.0: "as trained", 2.0: "find more", 4.0: "find much more"}
"""Factor on the odds of a class: what the slider says."""


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
        options = None
        with st.expander("More options"), explained():
            options = more_options(project, joint_classes(new.card.classes, base.card.classes))
    if options is None:  # why is shown
        return
    area, asked = options
    there = inside(chosen, area)
    if area is not None and area.empty:
        st.caption(":material/info: Choose the file with the areas, under More options.")
    elif len(there) < len(chosen):
        st.caption(f":material/info: {many(len(chosen) - len(there), 'picture')} outside the areas will be left out.")
    fitting, problems, notes = _fit(there, new.card, base.card)
    for fact, remedy in problems[:3]:
        show_problem(fact, remedy)
    if len(problems) > 3:
        st.caption(f":material/info: {many(len(problems) - 3, 'further picture')} cannot be predicted with these models either.")
    for note in notes[:2]:
        st.caption(f":material/info: {plain(note)}")
    if len(notes) > 2:
        st.caption(f"{len(notes) - 2} more such notes will stand below the result.")
    megapixels = sum(r.info.width * r.info.height for r in fitting) / 1e6
    label = f"Predict ({len(fitting)} picture{'s' if len(fitting) != 1 else ''}, {megapixels:,.1f} megapixels)"
    if st.button(label, type="primary", icon=":material/play_arrow:", disabled=not fitting, key=f"{KEY}:predict"):
        with explained():
            seen = st.session_state.get(SEEN)
            job = start_comparison(project, base, new, fitting, tile_set, find_more, area, asked | {"first_look": seen})
            st.query_params["comparison"] = job.name
            st.rerun()


def more_options(project: Project, classes: Sequence[ClassDef]) -> tuple[gpd.GeoDataFrame | None, dict[str, Any]]:
    """What few people need: the areas inside which alone to predict, and further fields of the settings.

    Raises:
        LabelFileError: a file of areas cannot be read or placed, or holds no polygon.
    """

    def field(name: str) -> Any:
        return settings_field(PredictionSettings, name, PredictionSettings.model_fields[name].default, key=f"{KEY}:{name}")

    area = area_choice(project)
    asked = {"test_time_augmentation": field("test_time_augmentation")}
    if asked["test_time_augmentation"]:
        asked["merge_policy"] = field("merge_policy")
    asked["predict_background"] = field("predict_background")
    asked["thresholds"] = _thresholds(classes)
    asked["probabilities"] = field("probabilities")
    asked["precision"] = field("precision")
    if installed() and not settings().scheduler_address:  # else the installation has settled it
        asked["workers"] = field("workers")
    return area, asked


def _thresholds(classes: Sequence[ClassDef]) -> dict[int, float]:
    """Least probability of each class for which one is chosen, by class value."""
    said = PredictionSettings.model_fields["thresholds"]
    names = {c.value: c.name for c in classes}
    values = st.multiselect(
        said.title or "",
        list(names),
        format_func=names.__getitem__,
        placeholder="no limit",
        help=said.description,
        key=f"{KEY}:thresholds:{hash(tuple(names.items()))}",
    )
    return {
        value: st.slider(plain(names[value]), 5, 95, 50, 5, format="%d %%", key=f"{KEY}:threshold:{value}:{names[value]}") / 100
        for value in values
    }


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
        weights = read_card(find_model(new.base, project.models_folder, settings().data_folder / "models")).weights_sha256
    except ModelError:
        return 0
    return next((i for i, c in enumerate(others) if c.card.weights_sha256 == weights), 0)


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
    fitting: list[Raster] = []
    problems: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    for raster in rasters:
        try:
            look = look_at(base, new, raster.info, raster.known_ranges)
        except ModelError as error:
            problems.append((f"{raster.name}: {error.fact}", error.remedy))
        else:
            fitting.append(raster)
            notes += [(raster.name, note) for note in look.notes]
    return fitting, problems, told_once(notes)


def start_comparison(
    project: Project,
    base: Choice,
    new: Choice,
    rasters: Sequence[Raster],
    tile_set: Path | None,
    find_more: dict[int, float],
    area: gpd.GeoDataFrame | None,
    asked: Mapping[str, Any],
) -> Path:
    """Make the job folder and start its process.

    Args:
        project: Whose.
        base: Model before.
        new: Model after.
        rasters: Predicted with both.
        tile_set: Whose held-out places are scored.
        find_more: Factors on the odds of classes of the new model.
        area: Nothing outside is predicted; None: all.
        asked: Further fields of the settings, as `more_options` gives them.

    Raises:
        DiskFullError: the settings could not be written.
    """
    title = f"{new.card.title} against {base.card.title}" if base.tiles else new.card.title
    title += "" if len(rasters) > 1 else f" on {rasters[0].name}"
    title += "".join(f", {FIND_MORE[factor]}" for factor in dict.fromkeys(find_more.values()))
    title += ", eight looks" if asked["test_time_augmentation"] else ""
    title += "" if area is None else ", only in part"
    job = unused_folder(project.predictions_folder, title)
    comparison = PredictionSettings(
        title=title,
        base=noted_path(project.folder, base.folder),
        new=noted_path(project.folder, new.folder),
        rasters=tuple(
            RasterToPredict(
                id=r.id,
                name=r.name,
                source=r.source if r.kind != "copy" else noted_path(project.folder, Path(raster_source(project, r))),
                band_names=r.info.band_names,
                shown_bands=r.bands,
                stretch=r.stretch,
            )
            for r in rasters
        ),
        tile_set=None if tile_set is None else noted_path(project.folder, tile_set),
        truths=_exact_truths(project, rasters),
        find_more=find_more,
        area=None if area is None else noted_path(project.folder, write_area(area, job)),
        device=settings().device if settings().device in {"cpu", "cuda"} else "auto",  # type: ignore[arg-type]
        **asked,
    )
    write_text(job / SETTINGS_FILE, comparison.model_dump_json(indent=1) + "\n")
    start_job(job, MODULE)
    return job


def _exact_truths(project: Project, rasters: Sequence[Raster]) -> tuple[TruthRaster, ...]:
    """The demo scene brings its exact truth."""
    if not (project.folder / TRUTH_FILE).exists():
        return ()
    scenes = [raster for raster in rasters if raster.name == SCENE_FILE]
    return tuple(TruthRaster(raster_id=r.id, path=TRUTH_FILE.as_posix(), classes=starter_schema().learnt) for r in scenes)


def nothing_yet(imagery: bool) -> None:
    if not imagery:
        st.info("There is no imagery yet: add some first.", icon=":material/info:")
        st.page_link(step("load_imagery").page(), label="Go to 1 Imagery", icon=":material/arrow_back:")
        return
    st.info(
        "There is no trained model to compare yet. Train one first: a quick one takes seconds, a thorough one minutes.",
        icon=":material/info:",
    )
    st.page_link(step("train_model").page(), label="Go to 4 Train", icon=":material/arrow_back:")
