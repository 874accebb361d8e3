"""Tiles made elsewhere into the project: dropped as a ZIP, or from a server folder."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from imagery.sources import allowed_path
from tiles.bring_in import MODULE, bring_in_jobs, brought_in, read_bring_in, start_bring_in, tile_sets_below
from ui.frame import settings, tile_token
from ui.job_panel import job_panel
from ui.problems import explained, plain
from ui.uploader import TILE_SETS, upload_zone
from ui.wording import many
from workspace.jobs import job_status, remove_job
from workspace.project import Project

SHOWN_FINDINGS = 20


def bring_in_panel(project: Project) -> None:
    """Where to add them from, what is on its way, and what was found in them."""
    with st.expander("Bring in tiles made elsewhere", icon=":material/drive_folder_upload:", key="bring_in"):
        st.caption(
            "A folder that ArcGIS's 'Export Training Data For Deep Learning' wrote, an export of another project, or a folder of pictures for each class; packed as a ZIP."
        )
        key = f"bring_in:{project.id}"
        if upload_zone(tile_token(project), key=key, max_bytes=settings().max_upload_bytes, wanted=TILE_SETS):
            st.rerun()
        if settings().imagery_roots:
            _from_server(project)
    for folder in bring_in_jobs(project.tiles_folder):
        with explained():
            _job(folder)


def _from_server(project: Project) -> None:
    paths = _found(tuple(map(str, settings().imagery_roots)))
    if not paths:
        st.caption("The server folders hold no training tiles.")
        return
    chosen = st.selectbox("Or from a server folder", paths, format_func=_shown, index=None, placeholder="Choose", key="bring_in_folder")
    if st.button("Bring in", icon=":material/add:", disabled=chosen is None, key="bring_in_start") and chosen:
        with explained():
            source = allowed_path(chosen, settings())
            start_bring_in(project.tiles_folder, source.name, source=source)
            st.rerun()


@st.cache_data(ttl=15, show_spinner="Looking through the server folders ...")
def _found(roots: tuple[str, ...]) -> list[str]:
    return [str(path.resolve()) for path in tile_sets_below([Path(root) for root in roots])]


def _shown(path: str) -> str:
    """The folder below its root."""
    root = next((root for root in settings().imagery_roots if Path(path).is_relative_to(root)), Path(path).parent)
    return f"{root.name}/{Path(path).relative_to(root).as_posix()}"


def _job(folder: Path) -> None:
    """One that is at work, that failed, or that has something to say."""
    status = job_status(folder)
    if status.state != "done":
        with st.container(border=True):
            st.markdown(f"Bringing in **{plain(read_bring_in(folder).name)}**")
            job_panel(folder, MODULE, key=f"bring_in:{folder.name}", kept=lambda: "Nothing of it was added; it can be started again.")
            if status.ended:
                _dismiss(folder)
        return
    name, findings = brought_in(folder)
    if not findings:
        st.toast(f"{plain(name)} is among the tile sets now.", icon=":material/check_circle:")
        remove_job(folder)
        return
    with st.container(border=True):
        st.warning(
            f"**{plain(name)}** is among the tile sets now, but {many(len(findings), 'thing')} in it {'is' if len(findings) == 1 else 'are'} "
            "not as the format asks.",
            icon=":material/warning:",
        )
        with st.expander("What was found"):
            more = [f"and {len(findings) - SHOWN_FINDINGS:,} more"] if len(findings) > SHOWN_FINDINGS else []
            st.markdown("\n".join(f"- {plain(line)}" for line in findings[:SHOWN_FINDINGS] + more))
        _dismiss(folder)


def _dismiss(folder: Path) -> None:
    if st.button("Dismiss", key=f"bring_in_dismiss:{folder.name}"):
        with explained():
            remove_job(folder)
            st.rerun()
