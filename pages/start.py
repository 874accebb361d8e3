"""Start: try the demo, or choose, make, rename and archive projects."""

from __future__ import annotations

import streamlit as st

from demo.project import demo_project
from ui.frame import choose_project, current_project, forget_project, project_problem, settings
from ui.problems import explained, plain, show_problem
from ui.progress import finished_steps
from ui.steps import STEPS
from workspace.project import Project, create_project, damaged_projects, list_projects, rename_project


def open_at(project: Project, key: str) -> None:
    """Go to a step with this project."""
    choose_project(project)
    st.switch_page(next(s for s in STEPS if s.key == key).page(), query_params={"project": project.id})


def demo_panel() -> None:
    with st.container(border=True):
        st.subheader(":material/rocket_launch: Try it in three minutes", anchor=False)
        st.markdown(
            "A made-up desert town, a model that knows **paved** roads, and dirt tracks it misses. "
            "You draw a few tracks; a minute later the model finds the others. Nothing to download."
        )
        if st.button("Start with the demo scene", type="primary", icon=":material/play_arrow:"):
            with explained():
                with st.spinner("Painting the demo scene (about ten seconds) ..."):
                    project = demo_project(settings().projects_folder)
                open_at(project, "load_imagery")


def new_panel() -> None:
    with st.container(border=True):
        st.subheader(":material/create_new_folder: Use your own imagery", anchor=False)
        with st.form("new", border=False):
            name = st.text_input("Name of the new project", placeholder="For example: Fire roads, north district", max_chars=80)
            if st.form_submit_button("Create project", icon=":material/add:"):
                with explained():
                    open_at(create_project(settings().projects_folder, name), "load_imagery")


def loop_panel(project: Project | None) -> None:
    """The five steps; those that the current project has behind it are ticked."""
    done: set[str] = set()  # none where the project cannot be read, which is said
    if project:
        with explained():
            done = finished_steps(project)
    for column, step in zip(st.columns(5), STEPS, strict=True):
        with column, st.container(border=True, height="stretch"):
            mark = " :green[:material/check_circle:]" if step.key in done else ""
            if project:
                st.page_link(
                    step.page(), label=f"**{step.number} {step.title}**{mark}", icon=step.icon, query_params={"project": project.id}
                )
            else:
                st.markdown(f"{step.icon} **{step.number} {step.title}**")
            st.caption(step.sentence)


def project_row(project: Project, current: Project | None, *, archived: bool = False) -> None:
    file = project.file
    with st.container(horizontal=True, vertical_alignment="center", border=project == current):
        st.markdown(f"**{plain(file.name)}**" + (" :green-badge[in use]" if project == current else ""), width="stretch")
        st.caption(f"made {file.created[:10]}", width="content")
        if archived:
            if st.button("Restore", key=f"restore:{project.id}", icon=":material/unarchive:"):
                project.save(archived=False)
                st.rerun()
            return
        if st.button("Open", key=f"open:{project.id}", icon=":material/folder_open:"):
            open_at(project, "load_imagery")
        with st.popover("", icon=":material/more_horiz:", key=f"more:{project.id}"):
            name = st.text_input("Name", value=file.name, key=f"name:{project.id}", max_chars=80)
            if st.button("Rename", key=f"rename:{project.id}") and name != file.name:
                with explained():
                    rename_project(project, name)
                    st.rerun()
            st.caption("Archiving hides a project; its files stay where they are.")
            if st.button("Archive", key=f"archive:{project.id}", icon=":material/archive:"):
                project.save(archived=True)
                if project == current:
                    forget_project()
                st.rerun()


def projects_panel(current: Project | None) -> None:
    folder = settings().projects_folder
    active, archived = list_projects(folder), list_projects(folder, archived=True)
    if active:
        st.subheader("Projects", anchor=False)
        for project in active:
            project_row(project, current)
    if archived:
        with st.expander(f"Archived ({len(archived)})"):
            for project in archived:
                project_row(project, current, archived=True)
    for project_id in damaged_projects(folder):
        show_problem(
            f"The project folder '{project_id}' cannot be read.", "Its files are untouched. Restore its project.json from a backup."
        )


st.title("Terratune", anchor=False)
st.markdown("Teach a pretrained model what it misses in **your** imagery: label a little, fine-tune for minutes, compare before and after.")
project = current_project()
problem = project_problem()
if problem is not None:
    show_problem(*problem)
left, right = st.columns(2)
with left:
    demo_panel()
with right:
    new_panel()
loop_panel(project)
projects_panel(project)
