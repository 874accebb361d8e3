"""The models of a project: bring one in from a file, take one away, rename, compare, delete."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote
from zlib import crc32

import pandas as pd
import streamlit as st

from imagery.sources import allowed_path
from models.catalogue.choices import CatalogueEntry, list_models
from models.packages.formats import IMPORTED, SERVES, TITLES, Format, cannot_be
from models.packages.job import EXPORTS_FOLDER, MODULE, export_file, is_current, outcome, package_jobs, read_job, start_export, start_import
from models.packages.manage import MOST_TITLE, compare_cards, delete_model, rename_model
from ui.frame import settings, tile_token
from ui.job_panel import job_panel
from ui.problems import explained, plain
from ui.uploader import MODELS, upload_zone
from workspace.files import size_in_words
from workspace.jobs import job_status, remove_job
from workspace.project import Project

KEY = "packages"
MOST_LISTED = 500
MOST_DEPTH = 5


def packages_panel(project: Project) -> None:
    """Everything about models as files; jobs that are on their way, or have something to say, first."""
    st.markdown("##### Models of this project")
    with st.container():  # whatever is in it, the tabs below stay where they are, and as chosen
        for folder in package_jobs(project.models_folder):
            with explained():
                _job(folder)
    entries = [entry for entry in list_models(project.models_folder) if entry.folder is not None and entry.card is not None]
    own = [entry for entry in entries if entry.origin == "trained"]
    with st.container():
        if not own:
            st.caption("None yet: train one, or bring one in. The bundled ones can be taken away, too.")
    come, go, look = st.tabs(["Bring one in", "Take one away", "Compare, rename, delete"])
    with come, explained():
        _bring_in(project)
    with go, explained():
        _take_away(project, [*own, *(entry for entry in entries if entry.origin == "bundled")])
    with look, explained():
        _compare(entries)
        if own:
            _manage(own)


def _bring_in(project: Project) -> None:
    st.caption(
        "A model exported here (.zip), a deep learning package of ArcGIS (.dlpk; of an .emd and its .pth make a ZIP), or ONNX (.onnx). "
        "Programs in such files are never run."
    )
    if upload_zone(tile_token(project), key=f"{KEY}:{project.id}", max_bytes=settings().max_upload_bytes, wanted=MODELS):
        st.rerun()
    if not settings().imagery_roots:
        return
    paths = _found(tuple(map(str, settings().imagery_roots)))
    if not paths:
        st.caption("The server folders hold no model files.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Or from a server folder", paths, format_func=_shown, index=None, placeholder="Choose", key=f"{KEY}:server")
        pressed = st.button("Bring in", icon=":material/add:", disabled=chosen is None, key=f"{KEY}:start")
    if pressed and chosen:
        source = allowed_path(chosen, settings())
        start_import(project.models_folder, source.name, source=source)
        st.rerun()


def _take_away(project: Project, entries: list[CatalogueEntry]) -> None:
    if not entries:
        return
    left, right = st.columns(2)
    with left:
        entry = _choice("Model", entries, f"{KEY}:out")
    with right:
        forms: list[Format] = list(TITLES)
        form = st.selectbox("As", forms, format_func=TITLES.__getitem__, key=f"{KEY}:form")
    assert entry.folder is not None and entry.card is not None
    st.caption(SERVES[form])
    if why_not := cannot_be(entry.card, form):
        st.info(plain(why_not), icon=":material/info:")
        return
    file = export_file(project.models_folder, entry.folder, form)
    with st.container(horizontal=True, vertical_alignment="center"):
        if is_current(file, entry.folder):
            address = f"api/{tile_token(project)}/files/{quote(f'{project.models_folder.name}/{EXPORTS_FOLDER}/{file.name}')}"
            st.markdown(f":material/download: [{plain(file.name)}]({address}) ({size_in_words(file.stat().st_size)})")
        elif st.button("Make the file", type="primary", icon=":material/package_2:", key=f"{KEY}:make"):
            start_export(project.models_folder, entry.folder, entry.card, form)
            st.rerun()


def _compare(entries: list[CatalogueEntry]) -> None:
    if len(entries) < 2:
        st.caption("There is nothing to compare yet.")
        return
    left, right = st.columns(2)
    with left:
        first = _choice("Model", entries, f"{KEY}:first")
    with right:
        second = _choice("Compare with", entries, f"{KEY}:second", start=1)
    assert first.card is not None and second.card is not None
    only = st.toggle("Only what differs", value=True, key=f"{KEY}:differs")
    rows = [row for row in compare_cards([first.card, second.card]) if row.differs or not only]
    if not rows:
        st.caption("Their cards say the same.")
        return
    columns = [first.title, second.title if second.title != first.title else f"{second.title} (2)"]
    table = pd.DataFrame([row.values for row in rows], columns=columns, index=[row.what for row in rows])
    st.table(table)


def _manage(own: list[CatalogueEntry]) -> None:
    names = crc32("|".join(entry.title for entry in own).encode())  # another key when a name changes: the browser would go on showing the old one
    entry = _choice("Model to rename or delete", own, f"{KEY}:manage:{names}")
    assert entry.folder is not None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        title = st.text_input("Name", entry.title, max_chars=MOST_TITLE, key=f"{KEY}:title:{entry.name}")
        if st.button("Rename", icon=":material/edit:", disabled=title == entry.title, key=f"{KEY}:rename:{entry.name}"):
            rename_model(entry.folder, title)
            st.rerun()
        with st.popover("Delete", icon=":material/delete:", key=f"{KEY}:confirm:{entry.name}"):  # of its own: closed for the next model
            st.markdown(f"**{plain(entry.title)}** is deleted for good. Runs and comparisons made with it keep their numbers and maps.")
            if st.button("Yes, delete it", key=f"{KEY}:delete:{entry.name}"):
                delete_model(entry.folder)
                st.rerun()


def _choice(label: str, entries: list[CatalogueEntry], key: str, *, start: int = 0) -> CatalogueEntry:
    """The chosen entry. Where titles are alike the folder is said, too: the browser tells options apart by their words."""
    titles = [entry.title for entry in entries]
    by_name = {e.title if titles.count(e.title) == 1 else f"{e.title} ({e.name})": e for e in entries}
    index = min(start, len(entries) - 1)
    return by_name[st.selectbox(label, list(by_name), index=index, key=key)]


def _job(folder: Path) -> None:
    """One that is at work, that failed, or that has something to say."""
    status, wanted = job_status(folder), read_job(folder)
    doing = "Bringing in" if wanted.kind == "import" else f"Making the {TITLES[wanted.form]} of"
    if status.state != "done":
        with st.container(border=True):
            st.markdown(f"{doing} **{plain(wanted.name)}**")
            job_panel(folder, MODULE, key=f"{KEY}:{folder.name}", kept=lambda: "Nothing was added; it can be started again.")
            if status.ended:
                _dismiss(folder)
        return
    made = outcome(folder)
    if not made["notes"]:
        words = "is among the models of this project now" if wanted.kind == "import" else "can be taken away now"
        st.toast(f"{plain(wanted.name)} {words}.", icon=":material/check_circle:")
        remove_job(folder)
        return
    with st.container(border=True):
        st.success(f"**{plain(wanted.name)}** is among the models of this project now.", icon=":material/check_circle:")
        st.markdown("\n".join(f"- {plain(note)}" for note in made["notes"]))
        _dismiss(folder)


def _dismiss(folder: Path) -> None:
    if st.button("Dismiss", key=f"{KEY}:dismiss:{folder.name}"):
        remove_job(folder)
        st.rerun()


@st.cache_data(ttl=15, show_spinner="Looking through the server folders ...")
def _found(roots: tuple[str, ...]) -> list[str]:
    """Files below the roots that may hold a model, at most 500, at most 5 folders deep."""
    found: list[str] = []
    for root in roots:
        for path, inside, names in os.walk(root):
            if len(Path(path).relative_to(root).parts) >= MOST_DEPTH:
                inside.clear()
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            found += [str(Path(path, name).resolve()) for name in sorted(names) if Path(name).suffix.casefold() in IMPORTED]
            if len(found) >= MOST_LISTED:
                return found[:MOST_LISTED]
    return found


def _shown(path: str) -> str:
    """The file below its root."""
    root = next((root for root in settings().imagery_roots if Path(path).is_relative_to(root)), Path(path).parent)
    return f"{root.name}/{Path(path).relative_to(root).as_posix()}"
