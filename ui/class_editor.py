"""The class list: a button that opens a dialog to change, order, add and remove classes, and to take lists in and out.

Every change is in the project at once. Labels never lose their class by it: a changed value moves them, a removed class asks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from errors import TerratuneError
from labeling.class_changes import as_before, deleted, features_of_class, given_class
from labeling.journal import Operation, open_journal
from labeling.label_set import style_qml
from server.labels import schedule_geopackage
from ui.canvas import author
from ui.problems import explained, plain
from workspace.class_files import CLASS_SUFFIXES, READABLE_CLASSES, ClassFormat, merged, read_class_file, write_class_file
from workspace.classes import (
    MAX_DESCRIPTION,
    UNCERTAIN_VALUE,
    ClassDef,
    ClassSchema,
    free_value,
    moved,
    unused_colour,
    with_class,
    with_new_class,
    without_class,
)
from workspace.project import Project

_NEW = 0
_OPEN, _CHOSEN, _SAID, _REMOVING = "classes_open", "classes_chosen", "classes_said", "classes_removing"
_STYLES = {"area": "QGIS style for areas (.qml)", "line": "QGIS style for lines (.qml)", "point": "QGIS style for points (.qml)"}
_DELETE = -1


def class_editor(project: Project, *, key: str) -> None:
    """The button, and the dialog while it is open.

    Args:
        project: Its classes and labels are changed.
        key: Prefix of the widgets' keys.
    """
    if st.button("Classes", icon=":material/palette:", key=f"{key}:open"):
        st.session_state[_OPEN] = project.id
    if st.session_state.get(_OPEN) == project.id:
        _dialog(project, key)


def close_editor() -> None:
    """The dialog is away. The whole page runs again: a run that was under way as it was closed may have opened it once more."""
    for name in (_OPEN, _CHOSEN, _SAID, _REMOVING):
        st.session_state.pop(name, None)
    st.rerun(scope="app")


@st.dialog("Classes", width="medium", on_dismiss=close_editor)
def _dialog(project: Project, key: str) -> None:
    with explained():
        schema = project.classes()
        counts = open_journal(project.journal_file).counts() if project.journal_file.exists() else {}
        _said(project, key)
        chosen = _chosen(schema)
        listed, form = st.columns([5, 6], gap="medium")
        with listed:
            _list(schema, counts, chosen, key)
        with form:
            if chosen == _NEW:
                _new_class(project, schema, key)
            else:
                _one_class(project, schema, schema.by_value(chosen), counts.get(chosen, 0), key)
        with st.expander("Class list files", icon=":material/swap_vert:"):
            _files(project, schema, counts, key)


def _chosen(schema: ClassSchema) -> int:
    """The value of the class in the form; `_NEW` for one to be made."""
    chosen = st.session_state.get(_CHOSEN)
    known = [c.value for c in schema.classes]
    return chosen if chosen == _NEW or chosen in known else (known[0] if known else _NEW)


def _choose(value: int) -> None:
    st.session_state[_CHOSEN] = value
    for name in (_SAID, _REMOVING):
        st.session_state.pop(name, None)


def _list(schema: ClassSchema, counts: dict[int, int], chosen: int, key: str) -> None:
    with st.container(height=330, border=False):
        for c in schema.classes:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.html(f'<div style="width:14px;height:14px;border-radius:3px;background:{c.colour}"></div>', width=14)
                kind: Any = "secondary" if c.value == chosen else "tertiary"
                st.button(plain(c.name), key=f"{key}:choose:{c.value}", type=kind, on_click=_choose, args=(c.value,), width="content")
                st.caption(f"value {c.value} · {_many(counts.get(c.value, 0))}", width="content")
        st.button("New class", icon=":material/add:", key=f"{key}:new", on_click=_choose, args=(_NEW,), disabled=chosen == _NEW)
    st.caption("Where labels overlap, the class further down wins.")


def _one_class(project: Project, schema: ClassSchema, one: ClassDef, used: int, key: str) -> None:
    with st.form(f"{key}:form:{one.value}", border=False):
        look, name_box, value_box = st.columns([1, 3, 2])
        colour = look.color_picker("Colour", one.colour)
        name = name_box.text_input("Name", one.name, max_chars=60)
        value = value_box.number_input(
            "Value", 1, UNCERTAIN_VALUE, one.value, help="The number in label pixels, 1 to 254. Labels of this class get the new one too."
        )
        description = st.text_area("Description", one.description, max_chars=MAX_DESCRIPTION, height=68, placeholder="What belongs to this class")
        ignore = st.checkbox(
            "Do not learn from these areas", one.ignore, help="Areas of this class are left out of training and of scores."
        )
        if st.form_submit_button("Save", icon=":material/check:", type="primary"):
            _change(project, schema, one, int(value), {"name": name, "colour": colour, "ignore": ignore, "description": description})
    position = schema.classes.index(one)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("", icon=":material/arrow_upward:", key=f"{key}:up", disabled=position == 0, help="Move up"):
            _store(project, schema, moved(schema, position, -1), f"'{one.name}' moved up.")
        last = position == len(schema.classes) - 1
        if st.button("", icon=":material/arrow_downward:", key=f"{key}:down", disabled=last, help="Move down: lies over the others"):
            _store(project, schema, moved(schema, position, 1), f"'{one.name}' moved down.")
        if st.button("Remove", icon=":material/delete:", key=f"{key}:remove"):
            if not used:
                _store(project, schema, without_class(schema, one.value, 0), f"'{one.name}' was removed.")
            st.session_state[_REMOVING] = one.value
    if used and st.session_state.get(_REMOVING) == one.value:
        _ask_before_removing(project, schema, one, used, key)


def _change(project: Project, schema: ClassSchema, one: ClassDef, value: int, changes: dict[str, Any]) -> None:
    """Save what the form says; labels go with a changed value."""
    changed = with_class(schema, one.value, value=value, **changes)
    if changed == schema:
        return
    features = features_of_class(open_journal(project.journal_file), one.value) if value != one.value else []
    said = f"'{changed.by_value(value).name}' was saved."
    if value != one.value:
        said = f"'{changed.by_value(value).name}' has the value {value} now; {_many(len(features))} went with it." if features else said
        st.session_state[_CHOSEN] = value
    _store(project, schema, changed, said, given_class(features, value), features)


def _ask_before_removing(project: Project, schema: ClassSchema, one: ClassDef, used: int, key: str) -> None:
    """What becomes of the labels of a class that is to go."""
    others = {c.value: f"Give them the class '{c.name}'" for c in schema.classes if c.value != one.value} | {_DELETE: "Delete them"}
    verb = "is" if used == 1 else "are"
    st.warning(f"{_many(used)} {verb} of the class '{plain(one.name)}'. What should become of {'it' if used == 1 else 'them'}?")
    target = st.selectbox("Its labels", list(others), format_func=others.__getitem__, key=f"{key}:target", label_visibility="collapsed")
    with st.container(horizontal=True, gap="small"):
        st.button("Keep the class", key=f"{key}:keep", on_click=_choose, args=(one.value,))
        if st.button("Remove the class", type="primary", key=f"{key}:remove_now"):
            features = features_of_class(open_journal(project.journal_file), one.value)
            operations = deleted(features) if target == _DELETE else given_class(features, target)
            became = "deleted" if target == _DELETE else f"given the class '{schema.by_value(target).name}'"
            said = f"'{one.name}' was removed; {_many(len(features))} {'was' if len(features) == 1 else 'were'} {became}."
            _store(project, schema, without_class(schema, one.value, 0), said, operations, features)


def _new_class(project: Project, schema: ClassSchema, key: str) -> None:
    with st.form(f"{key}:add", border=False, clear_on_submit=True):
        look, name_box, value_box = st.columns([1, 3, 2])
        colour = look.color_picker("Colour", unused_colour(schema))
        name = name_box.text_input("Name", placeholder="For example: Trail", max_chars=60)
        value = value_box.number_input("Value", 1, UNCERTAIN_VALUE, free_value(schema) or 1, help="The number in label pixels, 1 to 254.")
        description = st.text_area("Description", max_chars=MAX_DESCRIPTION, height=68, placeholder="What belongs to this class")
        if st.form_submit_button("Add", icon=":material/add:", type="primary"):
            changed = with_new_class(schema, name, colour, value=int(value), description=description)
            st.session_state[_CHOSEN] = int(value)
            _store(project, schema, changed, f"'{changed.by_value(int(value)).name}' was added.")


def _files(project: Project, schema: ClassSchema, counts: dict[int, int], key: str) -> None:
    into, out = st.columns(2, gap="medium")
    with into:
        upload = st.file_uploader(
            "Take in a list",
            type=[suffix[1:] for suffix in READABLE_CLASSES],
            help="A class list of ArcGIS (.ecs, .emd), a QGIS style (.qml), or a CSV with the columns name, value, colour.",
            key=f"{key}:list",
        )
        alone = st.checkbox("Remove unused classes", key=f"{key}:alone", help="Those that no label uses and the list does not have.")
        if upload is not None and st.button("Take in", icon=":material/upload_file:", type="primary", key=f"{key}:take_in"):
            listed = read_class_file(upload.name, upload.getvalue())
            changed, said = merged(schema, listed, [value for value, n in counts.items() if n] if alone else None)
            number = "1 class was" if len(listed) == 1 else f"{len(listed)} classes were"
            _store(project, schema, changed, " ".join([f"{number} taken in from {upload.name}.", *said]))
    with out:
        formats: dict[str, tuple[ClassFormat, str]] = {"CSV table": ("CSV", ""), "ArcGIS class list (.ecs)": ("ArcGIS", "")}
        formats |= {label: ("QGIS style", kind) for kind, label in _STYLES.items()}
        picked = st.selectbox(
            "Save the list as",
            list(formats),
            key=f"{key}:format",
            help="Esri does not publish the layout of .ecs. To be sure, export the labels as a Shapefile and let ArcGIS make a schema from "
            "those training samples.",
        )
        file_format, kind = formats[picked]
        st.download_button(
            "Download",
            data=write_class_file(schema, file_format, style_qml(kind, schema) if kind else ""),
            file_name=f"{project.id}-classes{CLASS_SUFFIXES[file_format]}",
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}:download",
        )


def _store(
    project: Project,
    before: ClassSchema,
    after: ClassSchema,
    said: str,
    operations: Sequence[Operation] = (),
    features: Sequence[Any] = (),
    *,
    undo: bool = True,
) -> None:
    """Save classes and what it does to labels, both or neither; then show the page anew.

    Args:
        project: Where to.
        before: The classes as they were.
        after: As they are to be.
        said: What was done, in a sentence.
        operations: For the journal.
        features: Labels as they were before `operations`.
        undo: Offer to take it back.
    """
    project.save_classes(after)
    try:
        if operations:
            open_journal(project.journal_file).append(replace(one, author=author()) for one in operations)
    except TerratuneError:
        project.save_classes(before)
        raise
    schedule_geopackage(project)
    st.session_state.pop(_REMOVING, None)
    st.session_state[_SAID] = {
        "said": said,
        "before": before if operations and undo else None,
        "features": features,
        "operations": operations,
    }
    st.rerun()


def _said(project: Project, key: str) -> None:
    """What the last change did; what touched labels can be taken back."""
    last = st.session_state.get(_SAID)
    if last is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.success(plain(last["said"]), icon=":material/check:", width="stretch")
        back = last["before"] is not None and st.button("Take back", icon=":material/undo:", key=f"{key}:undo")
    if back:
        _store(project, project.classes(), last["before"], "It is as it was.", as_before(last["features"], last["operations"]), undo=False)


def _many(count: int) -> str:
    return f"{count:,} label{'' if count == 1 else 's'}"
