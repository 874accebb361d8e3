"""One model of the catalogue in full: what it is, whether it runs and suits, how to get it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from models.catalogue.fetch import MODULE, accept_licence, fetch_job, licence_accepted, start_fetch, store_of
from models.catalogue.fit import Imagery, Level, fit
from models.catalogue.published import PROMPTABLE, PublishedModel
from models.catalogue.runs_here import RunsHere, held, runs_here
from ui.frame import settings
from ui.job_panel import job_panel
from ui.models_filter import KEY, TASK_WORDS
from ui.models_pictures import picture
from ui.problems import explained, plain
from ui.steps import step
from workspace.jobs import job_status
from workspace.project import Project

MARKS: dict[Level, str] = {
    "suits": ":green[:material/check_circle:]",
    "care": ":orange[:material/warning:]",
    "everything": ":orange[:material/model_training:]",
    "no": ":red[:material/block:]",
}
LEVEL_WORDS: dict[Level, str] = {
    "suits": "Suits",
    "care": "With care",
    "everything": "Only by training everything",
    "no": "Does not suit",
}
RUNS_MARKS = {"yes": ":green[:material/check_circle:]", "import": ":orange[:material/upload_file:]", "no": ":gray[:material/block:]"}


def model_card(model: PublishedModel, images: Sequence[Imagery], project: Project | None) -> None:
    """Draw the card."""
    here = runs_here(model)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(picture(model.tasks), width=72)
        with st.container(gap="xsmall"):
            st.markdown(f"### {plain(model.title)}")
            st.caption(" · ".join(TASK_WORDS.get(task, task) for task in model.tasks))
    st.markdown(plain(model.summary))
    with st.container(border=True):
        st.markdown(f"{RUNS_MARKS[here.state]} **Here:** {plain(here.why)}")
        _suits(model, images)
        _actions(model, here, project)
    _facts(model)


def _suits(model: PublishedModel, images: Sequence[Imagery]) -> None:
    """For each raster whether it suits, and what to do."""
    if not images:
        st.caption("Whether it suits your imagery is told here once a project with imagery is open.")
    for image in images:
        found = fit(model, image)
        notes = " ".join(plain(note) for note in found.notes)
        st.markdown(f"{MARKS[found.level]} **{plain(image.name)}:** {LEVEL_WORDS[found.level].lower()}. {notes}")


def _actions(model: PublishedModel, here: RunsHere, project: Project | None) -> None:
    store = store_of(settings())
    if here.state == "import":
        st.link_button("Its page", model.page or model.url, icon=":material/open_in_new:")
        return
    if not here.yes:
        if model.page:
            st.link_button("Its page", model.page, icon=":material/open_in_new:")
        return
    if held(model, store, settings().weights_mirror) is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(":green[:material/download_done:] It is on this machine.", width="content")
            _use(model, project)
        return
    folder = fetch_job(model, store)
    if job_status(folder).state not in {"waiting", "done"}:
        job_panel(folder, MODULE, key=f"{KEY}:fetch:{model.name}", kept=lambda: "What arrived is kept; the download goes on from there.")
        return
    _download(model)


def _download(model: PublishedModel) -> None:
    """The licence first, then the button."""
    store = store_of(settings())
    size = f" ({model.megabytes:,.0f} MB)" if model.megabytes else ""
    words = f"the licence {plain(model.licence)}" if model.licence else "that its publisher states no licence"
    terms = f"[{words}]({model.licence_url})" if model.licence_url else words
    with st.container(horizontal=True, vertical_alignment="center"):
        known = licence_accepted(model, store)
        accepted = known or st.checkbox(f"I have read and accept {terms}", key=f"{KEY}:accept:{model.name}")
        if st.button(
            f"Download{size}", key=f"{KEY}:download:{model.name}", type="primary", icon=":material/download:", disabled=not accepted
        ):
            with explained():
                if not known:
                    accept_licence(model, store)
                start_fetch(model, store)
                st.rerun()


def _use(model: PublishedModel, project: Project | None) -> None:
    where = {"project": project.id} if project else {}
    if model.loader in PROMPTABLE:
        st.page_link(step("draw_labels").page(), label="Use it on the Label page", icon=":material/draw:", query_params=where)
    else:
        st.page_link(
            step("train_model").page(),
            label="Use it as base model",
            icon=":material/model_training:",
            query_params=where | {"base": model.name},
        )


def _facts(model: PublishedModel) -> None:
    lines = [
        ("What it finds", ", ".join(model.classes)),
        ("Reads", ", ".join(model.bands) + (f" ({model.dtype})" if model.dtype else "") if model.bands or model.dtype else ""),
        ("Pixels on the ground", _ground(model)),
        ("Scaling", _scaling(model)),
        ("Sensor", ", ".join(model.sensors)),
        ("Network", model.architecture + (f", {model.parameters / 1e6:.1f} million numbers" if model.parameters else "")),
        ("Learnt from", model.training_data),
        ("Licence", f"[{plain(model.licence)}]({model.licence_url})" if model.licence_url else plain(model.licence)),
        ("Cite", model.citation),
        ("Source", f"[{plain(model.page)}]({model.page})" if model.page else ""),
        ("File", _file(model)),
        ("Catalogue", model.catalogue),
    ]
    marked = {"Licence", "Source"}  # hold links
    doubtful = {"Network": "architecture", "Pixels on the ground": "resolution"}
    text = []
    for name, value in lines:
        hearsay = " (not confirmed by its publisher)" if doubtful.get(name) in model.unconfirmed and value else ""
        said = (value if name in marked else plain(value)) or ":gray[not stated]"
        if value or name not in {"What it finds", "Catalogue", "File", "Source"}:
            text.append(f"- **{name}:** {said}{hearsay}")
    if model.known_failures:
        text.append("- **Known to fail:** " + " ".join(plain(failure) for failure in model.known_failures))
    st.markdown("\n".join(text))
    if model.scores:
        st.dataframe(
            pd.DataFrame(
                [
                    {"Score": s.metric, "Value": f"{s.value:g}{f' {s.unit}' if s.unit else ''}", "On": s.on, "Reported by": s.source}
                    for s in model.scores
                ]
            ),
            hide_index=True,
        )
    elif not model.is_encoder:
        st.caption("Its publisher's scores are not known here.")


def _ground(model: PublishedModel) -> str:
    if model.resolution_m is None:
        return ""
    low, high = model.resolution_m
    return f"{low:g} m" if low == high else f"{low:g} to {high:g} m"


def _scaling(model: PublishedModel) -> str:
    """(value - mean) / deviation, for each band."""
    if not model.mean:
        return ""
    if len(set(model.mean)) == len(set(model.std)) == 1:
        shift = f"(value − {model.mean[0]:g})" if model.mean[0] else "value"
        return f"{shift} / {model.std[0]:g}"
    means, stds = ", ".join(f"{m:g}" for m in model.mean), ", ".join(f"{s:g}" for s in model.std)
    return f"(value − mean) / deviation; means {means}; deviations {stds}"


def _file(model: PublishedModel) -> str:
    if not model.file or model.loader in {"bundle", "arcgis"}:
        return ""
    size = f", {model.megabytes:,.0f} MB" if model.megabytes else ""
    check = f", SHA-256 {model.sha256[:12]}{'…' if len(model.sha256) > 12 else ''}" if model.sha256 else ""
    return f"{model.file}{size}{check}"
