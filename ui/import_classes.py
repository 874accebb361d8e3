"""Which class each imported shape gets: the class field, its values with their counts, and what each becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from labeling.exchange import NOTHING, VectorFile, likely_field, values_found
from ui.import_cache import kept
from ui.problems import plain
from ui.wording import many
from workspace.classes import FULLY_LABELLED_NAME, FULLY_LABELLED_VALUE, ClassDef, ClassSchema, unused_colour, with_new_class

LEAVE_OUT, NEW_CLASS = "Leave out", "New class"
ONE_CLASS = "(none: all are one class)"
MAX_VALUES = 40
"""Values of the class field that get a box of their own; the others share one."""
MAX_FIELDS, SHOWN = 30, 4
"""Fields, and values of each, that are told where none is the class field."""
MAX_NEW_CLASSES = 12
"""More unknown values than these are not offered as classes to begin with: they are names, not kinds."""


@dataclass(frozen=True)
class Choice:
    """Which class each value becomes."""

    field: str | None
    value_map: dict[str, int | None]
    schema: ClassSchema
    """With the new classes."""
    made: tuple[ClassDef, ...]


def class_choice(file: VectorFile, schema: ClassSchema) -> Choice | None:
    """The class field and what its values become; None while something is to be chosen."""
    fields = [ONE_CLASS, *file.fields]
    likely = kept("field", (id(file), schema), lambda: likely_field(file, schema))
    field = st.selectbox(
        "Field that tells the class", fields, index=fields.index(likely) if likely else 0, key=f"import_field:{file.name}:{file.features}"
    )
    if field == ONE_CLASS:
        return _one_class(file, schema)
    found = kept("values", (id(file), field, schema), lambda: values_found(file, field, schema))
    unknown = sum(one.means is None and one.value != NOTHING for one in found)
    names = _names(schema)
    chosen: dict[str, int | str | None] = {}
    with st.container(height=min(260, 40 + 50 * len(found)), border=True, gap="small"):
        for i, one in enumerate(found[:MAX_VALUES]):
            chosen[one.value] = _value_row(one, names, unknown <= MAX_NEW_CLASSES, f"import_value:{field}:{i}")
        rest = found[MAX_VALUES:]
        if rest:
            same = st.selectbox(
                f"{len(rest):,} other values ({many(sum(one.count for one in rest), 'shape')}) become",
                [None, *names],
                format_func=lambda v: LEAVE_OUT if v is None else names[v],
                key=f"import_rest:{field}",
            )
            chosen |= {one.value: same for one in rest}
    made = tuple(one.offered for one in found if chosen[one.value] == NEW_CLASS and one.offered is not None)
    new_values = {one.value: one.offered.value for one in found if one.offered is not None}
    value_map = {value: new_values[value] if isinstance(become, str) else become for value, become in chosen.items()}
    return Choice(field, value_map, ClassSchema(classes=(*schema.classes, *made)), made)


def _names(schema: ClassSchema) -> dict[int, str]:
    """What shapes may become, by value."""
    return {c.value: c.name for c in schema.classes} | {FULLY_LABELLED_VALUE: FULLY_LABELLED_NAME}


def _value_row(one: Any, names: Mapping[int, str], offer: bool, key: str) -> int | str | None:
    """One value of the class field, how often it occurs, and the class that it becomes."""
    options: list[int | str | None] = [*names, *([NEW_CLASS] if one.offered else []), None]
    guess = one.means if one.means is not None else NEW_CLASS if one.offered and offer else None
    value, become = st.columns([1, 1], vertical_alignment="center")
    shown = plain(one.value[:60]) if one.value else "*(no value)*"
    value.markdown(f"{shown} :gray[· {many(one.count, 'shape')}]")
    picked: int | str | None = become.selectbox(
        f"{one.value or 'Without a value'} becomes",
        options,
        index=options.index(guess),
        format_func=lambda v: LEAVE_OUT if v is None else f"New class: {one.offered.name}" if v == NEW_CLASS else names[v],
        label_visibility="collapsed",
        key=key,
    )
    return picked


def _one_class(file: VectorFile, schema: ClassSchema) -> Choice | None:
    """The class that all shapes become; the only one there is to begin with."""
    names = _names(schema)
    learnt = [c.value for c in schema.classes if not c.ignore]
    _fields_told(file)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox(
            f"{many(file.features, 'shape')} become{'s' if file.features == 1 else ''}",
            [*names, NEW_CLASS],
            index=list(names).index(learnt[0]) if len(learnt) == 1 else None,
            placeholder="Choose a class",
            format_func=lambda v: f"{NEW_CLASS} ..." if v == NEW_CLASS else names[v],
            key="import_one_class",
        )
        if picked == NEW_CLASS:
            name = st.text_input("Its name", placeholder="For example: Building", max_chars=60, key="import_one_name")
            if not name.strip():
                return None
            longer = with_new_class(schema, name, unused_colour(schema))
            return Choice(None, {NOTHING: longer.classes[-1].value}, longer, longer.classes[-1:])
    return Choice(None, {NOTHING: picked}, schema, ()) if isinstance(picked, int) else None


def _fields_told(file: VectorFile) -> None:
    """What each field holds, for those who wonder whether one of them tells the class after all."""
    told = kept("fields", id(file), lambda: {field: Counter(file.values(field)) for field in file.fields[:MAX_FIELDS]})
    if not told:
        st.caption("The file has no fields: all its shapes become one class.")
        return
    with st.container(height=min(200, 40 + 26 * len(told)), border=True):
        st.markdown("\n".join(f"- **{plain(field)}**: {_most_frequent(counts)}" for field, counts in told.items()))


def _most_frequent(counts: Counter[str]) -> str:
    shown = [f"{plain(value[:30]) or '*(no value)*'} :gray[· {count:,}]" for value, count in counts.most_common(SHOWN)]
    return ", ".join([*shown, f"{len(counts) - SHOWN:,} other values"] if len(counts) > SHOWN else shown)
