"""Any field of a settings object as a widget: its words, bounds and choices are those of the object."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import streamlit as st
from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

MOST_RADIO_OPTIONS = 3
NOTHING = ""
"""Stands for None among options: a box that holds None says "Choose an option" instead of its words."""
Offers = Mapping[str, Mapping[Any, str]]
"""What a field with `choose` offers: {"raster": {source: name}, "class": {value: name}}."""


def settings_field(model: type[BaseModel], name: str, value: Any, *, offers: Offers | None = None, key: str = "") -> Any:
    """Draw one field of a settings object where the page stands; returns what is chosen.

    Args:
        model: The settings object. What `json_schema_extra` of a field may say: see `labeling.export.settings.ExportSettings`.
        name: Of the field.
        value: To start from.
        offers: Choices that only the project knows, for fields that say `choose`.
        key: The widget's; the field's name where empty.

    Raises:
        TypeError: there is no widget for a field of this type (a programmer's mistake).
    """
    field = model.model_fields[name]
    said: dict[str, Any] = {"label": title_of(model, name), "help": field.description, "key": key or name}
    extra = extra_of(field)
    kind, may_be_empty = _kind(field)
    if extra.get("choose") == "classes":
        known = (offers or {})["class"]
        picked = [v for v in value or () if v in known]
        return tuple(
            st.multiselect(options=list(known), default=picked, format_func=known.__getitem__, placeholder=extra.get("empty"), **said)
        )
    options = (offers or {}).get(extra["choose"]) if "choose" in extra else _options(field, kind)
    if options is not None:
        return _choice(options, value, extra.get("empty", "None") if may_be_empty else None, said)
    if kind is bool:
        return st.checkbox(value=bool(value), **said)
    if extra.get("typed"):  # a number box shows two decimals
        text = st.text_input(value="" if value is None else str(value), placeholder=extra.get("empty"), **said).strip()
        return text or None
    if kind in (int, float):
        return _emptied_number(field, kind, value, extra.get("empty"), said) if may_be_empty else _number(field, kind, value, said)
    if kind is str:
        text = st.text_input(value=value or "", placeholder=extra.get("empty"), **said).strip()
        return None if may_be_empty and not text else text
    raise TypeError(f"There is no widget for {name}: {field.annotation}.")


def title_of(model: type[BaseModel], name: str) -> str:
    """What people call a field."""
    return model.model_fields[name].title or name.replace("_", " ").capitalize()


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """What a field says to the form besides its words and bounds."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def refusals(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Why the settings cannot be used, for people: one sentence for each thing refused."""
    found = []
    for one in error.errors():
        text = one["msg"].removeprefix("Value error, ")
        name = str(one["loc"][0]) if one["loc"] else ""
        found.append(f"{title_of(model, name)}: {text}" if name in model.model_fields else text)
    return found


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """(type without None, whether it may be None)."""
    if get_origin(field.annotation) not in (Union, types.UnionType):
        return field.annotation, False
    kinds = [k for k in get_args(field.annotation) if k is not type(None)]
    return kinds[0] if len(kinds) == 1 else field.annotation, len(kinds) < len(get_args(field.annotation))


def _options(field: FieldInfo, kind: Any) -> Mapping[Any, str] | None:
    if "options" in extra_of(field):
        return dict(extra_of(field)["options"])
    return {v: str(v) for v in get_args(kind)} if get_origin(kind) is Literal else None


def _choice(options: Mapping[Any, str], value: Any, empty: str | None, said: Mapping[str, Any]) -> Any:
    """A few short ones side by side, more as a list."""
    words: dict[Any, str] = ({NOTHING: empty} if empty is not None else {}) | dict(options)
    at = list(words).index(value) if value in words else 0
    if len(words) <= MOST_RADIO_OPTIONS:
        chosen = st.radio(options=list(words), index=at, format_func=words.__getitem__, horizontal=True, **said)
    else:
        chosen = st.selectbox(options=list(words), index=at, format_func=words.__getitem__, **said)
    return None if chosen == NOTHING else chosen


def _number(field: FieldInfo, kind: type, value: Any, said: Mapping[str, Any]) -> Any:
    low, high = _bounds(field, kind)
    if kind is float and low is not None and high is not None and high - low <= 1:
        return st.slider(min_value=low, max_value=high, value=value, step=0.05, **said)
    return st.number_input(min_value=low, max_value=high, value=kind(value), step=_step(field, kind), format=_format(kind), **said)


def _emptied_number(field: FieldInfo, kind: type, value: Any, empty: str | None, said: Mapping[str, Any]) -> Any:
    """A number that may be left empty. A box made with a number cannot be emptied any more, so it is made empty and the number put in."""
    low, high = _bounds(field, kind)
    if value is not None:
        st.session_state.setdefault(said["key"], kind(value))
    return st.number_input(
        min_value=low, max_value=high, value=None, step=_step(field, kind), format=_format(kind), placeholder=empty, **said
    )


def _bounds(field: FieldInfo, kind: type) -> tuple[Any, Any]:
    """The least and the greatest value; None where there is none."""
    low = next((kind(m.ge if isinstance(m, Ge) else m.gt) for m in field.metadata if isinstance(m, Ge | Gt)), None)
    high = next((kind(m.le if isinstance(m, Le) else m.lt) for m in field.metadata if isinstance(m, Le | Lt)), None)
    return low, high


def _step(field: FieldInfo, kind: type) -> Any:
    return next((kind(m.multiple_of) for m in field.metadata if isinstance(m, MultipleOf)), kind(1) if kind is int else 0.5)


def _format(kind: type) -> str:
    """All digits that there are: 0.125, but 2 for 2.00."""
    return "%d" if kind is int else "%g"
