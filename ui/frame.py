"""What every page begins with: installation settings, the project in use, and the one-line header of its step."""

from __future__ import annotations

import logging
from functools import cache

import streamlit as st

from errors import WorkspaceError
from server.tokens import issue_token
from ui.problems import plain, show_problem
from ui.steps import STEPS, Step, start_page, step
from workspace.files import write_text
from workspace.project import Project, list_projects, open_project
from workspace.settings import Settings, settings_from_environment

_log = logging.getLogger("terratune.pages")
TOKEN_VALID_S = 7 * 24 * 3600


@cache
def settings() -> Settings:
    """This installation's settings, read once."""
    return settings_from_environment()


def current_project() -> Project | None:
    """The project of this tab: the one named in the address, else the last one opened here; None when there is none.

    The address always names it, so a reload, a bookmark or another machine shows the same project.
    """
    named = st.query_params.get("project")
    if named:  # never another one instead: its labels would be taken for those of the project asked for
        project = _open(named)
    else:
        project = _open(st.session_state.get("project") or _last_opened()) or next(iter(list_projects(settings().projects_folder)), None)
    if project is not None:
        choose_project(project)
    return project


def project_problem() -> tuple[str, str] | None:
    """Why the project named in the address cannot be shown (fact, remedy); None when nothing is wrong."""
    named = st.query_params.get("project")
    try:
        file = open_project(settings().projects_folder, named).file if named else None
    except WorkspaceError as error:
        return error.fact, error.remedy
    if file is not None and file.archived:
        return f"The project '{file.name}' is archived.", "Restore it on the start page (below the list, under Archived), or open another one."
    return None


def choose_project(project: Project) -> None:
    """Make this the project of the tab."""
    st.session_state["project"] = project.id
    if st.query_params.get("project") != project.id:
        st.query_params["project"] = project.id
    if _last_opened() != project.id:
        try:
            write_text(settings().data_folder / "last_project", project.id)
        except (WorkspaceError, OSError) as error:  # only a convenience: a full disk must not keep anybody from looking
            _log.warning("The last opened project could not be noted: %s", error)


def forget_project() -> None:
    """The tab has no project any more (it was archived)."""
    st.session_state.pop("project", None)
    st.query_params.pop("project", None)


def page_frame(key: str) -> Project:
    """Header of a step's page. Stops the page, with a way out, when there is no project yet.

    Args:
        key: The step's key, for example "draw_labels".
    """
    here = step(key)
    project = current_project()
    if project is None:
        st.title(f"{here.number} · {here.title}")
        problem = project_problem()
        if problem is not None:
            show_problem(*problem)
        else:
            st.info("There is no project yet. Make one on the start page, or try the demo scene there.", icon=":material/info:")
        st.page_link(start_page(), label="Go to the start page", icon=":material/home:")
        st.stop()
    _header(here, project)
    return project


def tile_token(project: Project) -> str:
    """A token for this project's tiles, labels and files, kept for the tab so that addresses (and the browser's cache) stay."""
    key = f"token:{project.id}"
    if key not in st.session_state:
        st.session_state[key] = issue_token(settings().data_folder, project.id, TOKEN_VALID_S)
    return str(st.session_state[key])


def next_step_link(key: str) -> None:
    """A link to the step after this one."""
    here = step(key)
    if here.number < len(STEPS):
        following = STEPS[here.number]
        st.page_link(following.page(), label=f"Next: {following.number} {following.title}", icon=":material/arrow_forward:")


def _header(here: Step, project: Project) -> None:
    file = project.file
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"#### {here.number} · {here.title}", width="content")
        st.markdown(here.demo_sentence if file.demo else here.sentence, width="stretch")
        st.badge(plain(file.name), icon=":material/folder:", color="green")


def _open(project_id: str | None) -> Project | None:
    if not project_id:
        return None
    try:
        project = open_project(settings().projects_folder, project_id)
        return None if project.file.archived else project
    except WorkspaceError:
        return None


def _last_opened() -> str | None:
    path = settings().data_folder / "last_project"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
