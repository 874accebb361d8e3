"""The class list beside the map: choose order, name and colour; add and remove. Every change is in the project at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError

from errors import LabelError
from workspace.classes import UNCERTAIN_VALUE, ClassDef, ClassSchema

_NEW = 0
PALETTE = ("#ff9f1c", "#4361ee", "#2ec4b6", "#e71d36", "#8338ec", "#6a994e", "#ffd60a", "#bc4749", "#118ab2", "#ef476f")


def class_editor(schema: ClassSchema, counts: Mapping[int, int], *, key: str) -> ClassSchema | None:
    """A popover to change the classes.

    Args:
        schema: As it is in the project.
        counts: Labels per class value.
        key: Prefix of the widgets' keys.

    Returns:
        The changed schema, to be saved; None when nothing was changed.

    Raises:
        LabelError: what was asked for cannot be done; nothing has changed.
    """
    with st.popover("Edit classes", icon=":material/edit:", key=f"{key}:open"):
        names = {c.value: c.name for c in schema.classes}
        options = [*names, _NEW]
        value = st.selectbox("Class", options, format_func=lambda v: names.get(v, "New class ..."), key=f"{key}:which")
        if value == _NEW or value not in names:
            return _new_class(schema, key)
        return _one_class(schema, schema.by_value(value), counts.get(value, 0), key)


def _one_class(schema: ClassSchema, one: ClassDef, used: int, key: str) -> ClassSchema | None:
    with st.form(f"{key}:form:{one.value}", border=False):
        name = st.text_input("Name", one.name, max_chars=60)
        colour = st.color_picker("Colour", one.colour)
        ignore = st.checkbox(
            "Do not learn from these areas", one.ignore, help="Areas of this class are left out of training and of scores."
        )
        if st.form_submit_button("Save", icon=":material/check:", type="primary"):
            return with_class(schema, one.value, name=name, colour=colour, ignore=ignore)
    position = schema.classes.index(one)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("", icon=":material/arrow_upward:", key=f"{key}:up", disabled=position == 0, help="Move up"):
            return moved(schema, position, -1)
        last = position == len(schema.classes) - 1
        if st.button("", icon=":material/arrow_downward:", key=f"{key}:down", disabled=last, help="Move down: lies over the others"):
            return moved(schema, position, 1)
        if st.button("Remove", icon=":material/delete:", key=f"{key}:remove"):
            return without_class(schema, one.value, used)
    st.caption(f"Class value {one.value}. Where labels overlap, the class further down wins.")
    return None


def _new_class(schema: ClassSchema, key: str) -> ClassSchema | None:
    with st.form(f"{key}:add", border=False, clear_on_submit=True):
        name = st.text_input("Name", placeholder="For example: Trail", max_chars=60)
        colour = st.color_picker("Colour", unused_colour(schema))
        if st.form_submit_button("Add", icon=":material/add:", type="primary"):
            return with_new_class(schema, name, colour)
    return None


def with_new_class(schema: ClassSchema, name: str, colour: str) -> ClassSchema:
    """The schema with one more class at the end, with the smallest free value.

    Raises:
        LabelError: the name is empty or taken, or there is no value left.
    """
    taken = {c.value for c in schema.classes}
    value = next((v for v in range(1, UNCERTAIN_VALUE) if v not in taken), None)
    if value is None:
        raise LabelError("There are 254 classes already.", "Remove one that is not used.")
    return _checked([*schema.classes, {"value": value, "name": name, "colour": colour}])


def with_class(schema: ClassSchema, value: int, **changes: object) -> ClassSchema:
    """The schema with some fields of one class changed.

    Raises:
        LabelError: the name is empty or taken.
    """
    return _checked([c.model_dump() | changes if c.value == value else c for c in schema.classes])


def without_class(schema: ClassSchema, value: int, used: int) -> ClassSchema:
    """The schema without one class.

    Raises:
        LabelError: labels use it, or it is the last.
    """
    one = schema.by_value(value)
    if used:
        raise LabelError(
            f"'{one.name}' cannot be removed: {'1 label uses' if used == 1 else f'{used:,} labels use'} it.",
            "Give them another class or delete them first.",
        )
    if len(schema.classes) == 1:
        raise LabelError(f"'{one.name}' is the only class.", "Add another one first, or rename this one.")
    return ClassSchema(classes=tuple(c for c in schema.classes if c.value != value))


def moved(schema: ClassSchema, position: int, by: int) -> ClassSchema:
    """The schema with the class at `position` moved by `by` places."""
    classes = list(schema.classes)
    classes.insert(position + by, classes.pop(position))
    return ClassSchema(classes=tuple(classes))


def unused_colour(schema: ClassSchema) -> str:
    """A colour no class has yet, as long as there is one."""
    taken = {c.colour for c in schema.classes}
    return next((colour for colour in PALETTE if colour not in taken), PALETTE[len(schema.classes) % len(PALETTE)])


def _checked(classes: list[ClassDef | dict[str, Any]]) -> ClassSchema:
    rows = [c.model_dump() if isinstance(c, ClassDef) else c for c in classes]
    try:
        if not all(str(row["name"]).strip() for row in rows):
            raise LabelError("A class needs a name.", "Type one of at most 60 characters.")
        return ClassSchema.model_validate({"classes": rows})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise LabelError("Two classes cannot have the same name.", "Choose another name.") from error
        raise LabelError("A class needs a name and a colour.", "Type a name of at most 60 characters.") from error
