"""Which class each value of a file's class field means, and the new classes that it offers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from errors import LabelFileError, UnknownClassError
from labeling.exchange.layers import CLASS_FIELDS, NOTHING, VectorFile, distinct, recognised, whole_number
from workspace.classes import (
    BACKGROUND_VALUE,
    FULLY_LABELLED_VALUE,
    UNCERTAIN_VALUE,
    ClassDef,
    ClassSchema,
    free_value,
    is_fully_labelled,
    unused_colour,
)

NAME_FIELDS = ("classname", "class_name", "class", "label", "name")
VALUE_FIELDS = ("classvalue", "class_value", "value")
IGNORE_NAMES = {"uncertain", "ignore"}
_MOST_FIELDS_LOOKED_AT = 100
_YES, _NO = {"yes", "true"}, {"no", "false", "0", NOTHING}
KIND_FIELDS = ("surface", "type", "kind", "landuse", "land_use", "landcover", "land_cover", "building", "highway", "natural", "species", "code")
"""Fields that tell kinds of things in the data of others, whatever their case."""
_MOST_KINDS = 20
"""A field with more different values names things."""
_NUMBERING = {"id", "fid", "gid", "objectid", "ogc_fid", "osm_id", "uid"}
"""Fields that number the rows: a small file's 1, 2, 3 are not classes."""


@dataclass(frozen=True)
class ValueFound:
    """One value of the class field, and what it may become."""

    value: str
    """`NOTHING` for rows without one."""
    count: int
    means: int | None
    """Value of the class of the project that it most likely means, by itself or because the field is named like that class; 0 where it is
    said to be a fully labelled area.
    """
    offered: ClassDef | None
    """The new class that it could become; None for nothing and for background, and where it is itself a class of the project."""


def class_field_of(file: VectorFile, class_field: str | None) -> str | None:
    """The attribute that tells the class: the one asked for, whatever its case, else the recognised one; None when there is none.

    Raises:
        LabelFileError: the one asked for is not there.
    """
    if class_field is None:
        return recognised(file.fields, CLASS_FIELDS)
    found = class_field if class_field in file.fields else recognised(file.fields, [class_field.casefold()])
    if found is None:
        there = ", ".join(file.fields) or "none"
        raise LabelFileError(f"{file.name} has no field '{class_field}'.", f"Its fields: {there}. Choose one of them.")
    return found


def likely_field(file: VectorFile, schema: ClassSchema) -> str | None:
    """The field that most likely tells the class; None where none looks like it.

    In this order: a field named like a class field, one with values that name classes of this project, one that is itself named
    like a class ('building'), one with the numbers of classes, one named for kinds of things ('surface') with a few values.
    """
    named = recognised(file.fields, CLASS_FIELDS)
    if named and not (named.casefold() == "name" and _all_differ(file.values(named), schema)):
        return named
    fields = {
        field: {value for value in distinct(file.values(field)) if value != NOTHING}
        for field in [one for one in file.fields if one.casefold() not in _NUMBERING][:_MOST_FIELDS_LOOKED_AT]
    }
    fields = {field: values for field, values in fields.items() if values}
    words = {field: _share(schema, [v for v in values if whole_number(v) is None], len(values)) for field, values in fields.items()}
    best = max(words, key=lambda field: words[field], default=None)
    if best is not None and words[best]:
        return best
    few = [field for field, values in fields.items() if len(values) <= _MOST_KINDS and 2 * len(values) <= max(2, file.features + 1)]
    for field in few:
        if _similar(field, schema):
            return field
    numbers = {field: _share(schema, fields[field], len(fields[field])) for field in few}
    best = max(numbers, key=lambda field: (numbers[field], len(fields[field])), default=None)
    if best is not None and numbers[best] > 0.5:
        return best
    texts = [field for field in few if all(whole_number(value) is None for value in fields[field])]
    return recognised(texts, KIND_FIELDS)


def _share(schema: ClassSchema, values: Iterable[str], of: int) -> float:
    """Share of the values that mean a class."""
    return sum(meaning is not None for meaning in suggested_map(values, schema).values()) / of


def _all_differ(values: Sequence[str], schema: ClassSchema) -> bool:
    """Do the values name things (Church Street, Lake Road) rather than classes?"""
    different = set(values) - {NOTHING}
    understood = any(meaning is not None for meaning in suggested_map(different, schema).values())
    return not understood and len(different) > max(1, len(values) // 2)


def suggested_map(values: Iterable[str], schema: ClassSchema) -> dict[str, int | None]:
    """For each value of the class field the class it most likely means; None where nothing fits."""
    exact = {value: class_of(value, {}, schema) for value in values}
    return {value: _similar(value, schema) if found is None else found for value, found in exact.items()}


def fully_labelled_values(values: Sequence[str], names: Sequence[str] | None) -> dict[str, int | None]:
    """A value map of those values of the class field that say, in each of their rows, that it is a fully labelled area.

    A value says so by itself, or 0 by the name that stands beside it. A 0 without that name is background, as other programs write it.

    Args:
        values: The class field, a value for each row.
        names: Likewise the field of class names; None where there is none.
    """
    beside = {name for value, name in zip(values, names or (), strict=names is not None) if whole_number(value) == BACKGROUND_VALUE}
    zeros = bool(beside) and all(map(is_fully_labelled, beside))
    return {v: FULLY_LABELLED_VALUE for v in set(values) if is_fully_labelled(v) or (zeros and whole_number(v) == BACKGROUND_VALUE)}


def name_field(fields: Iterable[str], class_field: str) -> str | None:
    """The field of class names beside the class field; None where there is none."""
    return recognised([name for name in fields if name != class_field], NAME_FIELDS)


def values_found(file: VectorFile, field: str | None, schema: ClassSchema) -> list[ValueFound]:
    """What the class field holds, the most frequent value first, with what each may become.

    Args:
        file: As it was read.
        field: The class field; None: all rows are of one class.
        schema: Classes of the project.
    """
    counts = Counter(file.values(field) if field else [NOTHING] * file.features)
    said = suggested_map(counts, schema)
    if field:
        names = name_field(file.fields, field)
        said |= fully_labelled_values(file.values(field), file.values(names) if names else None)
    # 'building' = 'school' is a building, too
    by_field = {value: _similar(field, schema) for value in counts if field and said[value] is None and value.casefold() not in _NO}
    meanings = said | by_field
    samples = _samples(file, field) if field else {}
    found, taken = [], schema
    for value, count in counts.most_common():
        offered = _offered(value, field, samples.get(value, {}), taken) if field and said[value] is None else None
        if offered is not None:
            taken = ClassSchema(classes=(*taken.classes, offered))
        found.append(ValueFound(value, count, meanings[value], offered))
    return found


def _samples(file: VectorFile, field: str) -> dict[str, dict[str, str]]:
    """For each value of the class field the other fields of training samples in its first row: name, value, red, green, blue."""
    others = {
        what: column
        for what, wanted in (("name", NAME_FIELDS), ("value", VALUE_FIELDS), ("red", ["red"]), ("green", ["green"]), ("blue", ["blue"]))
        if (column := recognised([name for name in file.fields if name != field], wanted))
    }
    columns = {what: file.values(column) for what, column in others.items()}
    first: dict[str, dict[str, str]] = {}
    for i, value in enumerate(file.values(field)):
        if value not in first:
            first[value] = {what: values[i] for what, values in columns.items()}
    return first


def _offered(value: str, field: str, about: Mapping[str, str], schema: ClassSchema) -> ClassDef | None:
    """The class that a value would make: named and coloured as its training samples say; 'building' = 'yes' makes 'Building'."""
    value = field.capitalize() if value.casefold() in _YES else value
    number = whole_number(value)
    if value.casefold() in _NO or number == BACKGROUND_VALUE:
        return None
    name = " ".join((value if number is None else about.get("name") or f"Class {number}").split())[:60]
    wanted = number if number is not None else whole_number(about.get("value", ""))
    ignore = name.casefold() in IGNORE_NAMES or wanted == UNCERTAIN_VALUE
    class_value = free_value(schema, UNCERTAIN_VALUE if ignore else wanted)
    if class_value is None or not name or schema.by_name(name) is not None:
        return None
    channels = [whole_number(about.get(channel, "")) for channel in ("red", "green", "blue")]
    rgb = [channel for channel in channels if channel is not None and channel <= 255]
    colour = "#" + "".join(f"{channel:02x}" for channel in rgb) if len(rgb) == 3 else unused_colour(schema)
    return ClassDef(value=class_value, name=name, colour=colour, ignore=ignore)


def classes_of(values: Sequence[str], value_map: Mapping[str, int | None], schema: ClassSchema, name: str) -> dict[str, int | None]:
    """Each value's class, None for those left out.

    Raises:
        UnknownClassError: a value means none; all such values are named.
    """
    meaning: dict[str, int | None] = {}
    unknown = []
    for value in dict.fromkeys(values):
        found = class_of(value, value_map, schema)
        if found is None and value not in value_map:
            unknown.append(value or "(empty)")
        meaning[value] = found
    if unknown:
        shown = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        known = ", ".join(f"{c.value} ({c.name})" for c in schema.classes) or "none"
        raise UnknownClassError(
            f"{name} has class values that mean no class here: {shown}.", f"Map each to a class or leave it out. Classes: {known}."
        )
    return meaning


def class_of(value: str, value_map: Mapping[str, int | None], schema: ClassSchema) -> int | None:
    """By the map, else by class value, else by class name; None when left out or unknown."""
    if value in value_map:
        mapped = value_map[value]
        return mapped if mapped in (None, FULLY_LABELLED_VALUE) else schema.by_value(mapped).value
    number = whole_number(value)
    if number is not None and any(c.value == number for c in schema.classes):
        return number
    named = schema.by_name(value) if value else None
    if named is None and is_fully_labelled(value):
        return FULLY_LABELLED_VALUE
    return named.value if named else None


def _similar(value: str, schema: ClassSchema) -> int | None:
    """The one class whose name shares a whole word with the value: 'unpaved' -> 'Unpaved road'."""
    words = set(re.findall(r"\w+", value.casefold()))
    fitting = [c.value for c in schema.classes if words & set(re.findall(r"\w+", c.name.casefold()))]
    return fitting[0] if len(fitting) == 1 else None
