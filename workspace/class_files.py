"""Class lists in and out: ArcGIS (.ecs, and the .emd and .ecd files that hold one), QGIS styles (.qml), CSV.

Esri does not publish the layout of .ecs. Read is every JSON with a list of classes that have a name and a value, under any of the keys
that Esri's other files use; written are Name, Value, Color and Description.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from errors import LabelError
from workspace.classes import BACKGROUND_VALUE, MAX_DESCRIPTION, UNCERTAIN_VALUE, ClassDef, ClassSchema, free_value, unused_colour

ClassFormat = Literal["CSV", "ArcGIS", "QGIS style"]
CLASS_SUFFIXES: dict[ClassFormat, str] = {"CSV": ".csv", "ArcGIS": ".ecs", "QGIS style": ".qml"}
READABLE_CLASSES = (".csv", ".ecs", ".emd", ".ecd", ".json", ".qml")
MAX_BYTES = 16 * 1024**2
IGNORE_NAMES = {"uncertain", "ignore"}

_NAMES = ("classname", "class_name", "name", "label", "class")
_VALUES = ("classvalue", "class_value", "value", "code")
_COLOURS = ("color", "colour", "rgb")
_CHANNELS = ("red", "green", "blue")
_DESCRIPTIONS = ("description", "abstract", "note")
_COLUMNS = ("name", "value", "colour", "description", "ignore")


@dataclass(frozen=True)
class ListedClass:
    """One class as a file lists it."""

    name: str
    value: int | None
    """None where the file gives none that is a whole number."""
    colour: str | None
    """#rrggbb."""
    description: str = ""
    ignore: bool = False


def read_class_file(name: str, content: bytes) -> list[ListedClass]:
    """The classes that a file lists, in its order; background (0) is not among them.

    Raises:
        LabelError: it is none of the kinds above, is damaged, or lists no class.
    """
    suffix = name[name.rfind(".") :].lower()
    if len(content) > MAX_BYTES:
        raise LabelError(f"{name} is too large for a class list.", "Choose the file that only lists the classes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if suffix == ".qml":
        found = list(_from_qml(name, text))
    elif suffix == ".csv":
        found = list(_from_csv(text))
    elif suffix in READABLE_CLASSES:
        found = list(_from_json(name, text))
    else:
        raise LabelError(f"{name} is not a class list.", f"Choose one of: {', '.join(READABLE_CLASSES)}.")
    listed = {one.name.casefold(): one for one in reversed(found) if one.name and one.value != BACKGROUND_VALUE}
    if not listed:
        raise LabelError(f"{name} lists no class.", "It needs classes with a name and, if they have one, a value and a colour.")
    return list(reversed(listed.values()))


def write_class_file(schema: ClassSchema, file_format: ClassFormat, qml: str = "") -> bytes:
    """The class list as a file; a QGIS style is made elsewhere (`labeling.label_set.style_qml`) and passed in."""
    if file_format == "QGIS style":
        return qml.encode()
    if file_format == "ArcGIS":
        classes = [{"Name": c.name, "Value": c.value, "Color": list(c.rgb), "Description": c.description} for c in schema.classes]
        return json.dumps({"Name": "Terratune classes", "Description": "", "Classes": classes}, indent=2, ensure_ascii=False).encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for c in schema.classes:
        writer.writerow([_guarded(c.name), c.value, c.colour, _guarded(c.description), "yes" if c.ignore else ""])
    return ("\ufeff" + text.getvalue()).encode()


def merged(schema: ClassSchema, listed: Sequence[ListedClass], keep: Sequence[int] | None = None) -> tuple[ClassSchema, list[str]]:
    """The project's classes with those of a file taken in.

    A class of the same name takes the file's colour and description and keeps its value, because labels carry it. Others come after
    them, with the file's value where it is free.

    Args:
        schema: The project's classes.
        listed: From `read_class_file`.
        keep: Values of classes that must stay; the others go when the file does not have them. None: all stay.

    Returns:
        The new classes, and what a person should know about them, in sentences.
    """
    names = {one.name.casefold() for one in listed}
    classes = [c for c in schema.classes if keep is None or c.value in keep or c.name.casefold() in names]
    said = [f"'{c.name}' was removed: no label uses it and the file does not have it." for c in schema.classes if c not in classes]
    for one in listed:
        there = next((i for i, c in enumerate(classes) if c.name.casefold() == one.name.casefold()), None)
        if there is not None:
            classes[there], told = _updated(classes[there], one)
        else:
            told = _added(classes, one)
        said += told
    return ClassSchema(classes=tuple(classes)), said


def _updated(old: ClassDef, one: ListedClass) -> tuple[ClassDef, list[str]]:
    new = old.model_copy(update={"colour": one.colour or old.colour, "description": one.description or old.description})
    differs = one.value is not None and one.value != old.value
    return new, [f"'{old.name}' keeps its value {old.value} (the file says {one.value})."] if differs else []


def _added(classes: list[ClassDef], one: ListedClass) -> list[str]:
    so_far = ClassSchema(classes=tuple(classes))
    value = free_value(so_far, UNCERTAIN_VALUE if one.ignore else one.value)
    if value is None:
        return [f"'{one.name}' was left out: there are 254 classes."]
    ignore = value == UNCERTAIN_VALUE
    classes.append(
        ClassDef(value=value, name=one.name, colour=one.colour or unused_colour(so_far), description=one.description, ignore=ignore)
    )
    moved = one.value is not None and value != one.value
    return [f"'{one.name}' got the value {value}: {one.value} is taken or not possible."] if moved else []


# --- one kind each ---------------------------------------------------------------------------------------------------------------------


def _from_json(name: str, text: str) -> Iterator[ListedClass]:
    try:
        content = json.loads(text)
        yield from _listed(content)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{name} is damaged: it is not complete, valid JSON.", "Save or copy it again.") from error


def _listed(content: Any) -> Iterator[ListedClass]:
    """Every object with a name and a value, whatever it lies in: parents before their children."""
    if isinstance(content, list):
        for one in content:
            yield from _listed(one)
    elif isinstance(content, Mapping):
        folded = {str(key).casefold(): value for key, value in content.items()}
        name, value = _first(folded, _NAMES), _first(folded, _VALUES)
        if isinstance(name, str) and isinstance(value, int | float | str) and not isinstance(value, bool):
            yield _tidy(name, value, _colour_in(folded), _first(folded, _DESCRIPTIONS))
        for inner in content.values():
            if isinstance(inner, list | Mapping):
                yield from _listed(inner)


def _from_csv(text: str) -> Iterator[ListedClass]:
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    for row in rows:
        folded = {str(key).strip().casefold(): _unguarded(value.strip()) for key, value in row.items() if isinstance(value, str)}
        name = _first(folded, _NAMES)
        if name:
            ignore = str(folded.get("ignore", "")).casefold() in {"yes", "true", "1"}
            yield _tidy(str(name), _first(folded, _VALUES), _colour_in(folded), _first(folded, _DESCRIPTIONS), ignore)


def _from_qml(name: str, text: str) -> Iterator[ListedClass]:
    """The categories of a categorised symbol (vector) or of a palette (raster)."""
    if "<!ENTITY" in text:
        raise LabelError(f"{name} is not a QGIS style.", "Save the layer's style again in QGIS, as a .qml file.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise LabelError(f"{name} is damaged: it is not complete XML.", "Save the layer's style again in QGIS, as a .qml file.") from error
    colours = {symbol.get("name"): _symbol_colour(symbol) for symbol in root.iter("symbol")}
    for category in root.iter("category"):
        value, label = category.get("value", ""), category.get("label", "")
        if value or label:
            yield _tidy(label or value, value, colours.get(category.get("symbol")), "")
    for entry in root.iter("paletteEntry"):
        yield _tidy(entry.get("label") or f"Class {entry.get('value')}", entry.get("value"), _colour(entry.get("color")), "")


def _symbol_colour(symbol: ElementTree.Element) -> str | None:
    """The fill, line or marker colour: as `<Option name value>` (QGIS 3.26 on) or `<prop k v>`."""
    found = {one.get("name") or one.get("k"): one.get("value") or one.get("v") for one in symbol.iter() if one.tag in {"Option", "prop"}}
    return next((colour for key in ("color", "line_color", "outline_color") if (colour := _colour(found.get(key)))), None)


# --- values and colours ----------------------------------------------------------------------------------------------------------------


def _first(folded: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((folded[key] for key in keys if key in folded and folded[key] not in (None, "")), None)


def _tidy(name: str, value: Any, colour: str | None, description: Any, ignore: bool = False) -> ListedClass:
    tidy = " ".join(name.split())[:60]
    number = int(float(value)) if re.fullmatch(r"\d{1,9}(\.0+)?", str(value).strip()) else None
    text = description.strip()[:MAX_DESCRIPTION] if isinstance(description, str) else ""
    return ListedClass(tidy, number, colour, text, ignore or number == UNCERTAIN_VALUE or tidy.casefold() in IGNORE_NAMES)


def _colour_in(folded: Mapping[str, Any]) -> str | None:
    channels = [folded.get(channel) for channel in _CHANNELS]
    return _colour(channels if None not in channels else _first(folded, _COLOURS))


def _colour(given: Any) -> str | None:
    """'#rrggbb', '#rgb', 'r,g,b[,a]', [r, g, b[, a]] or {"red": ...} as #rrggbb; None for anything else (Esri writes -1 for none)."""
    if isinstance(given, Mapping):
        folded = {str(key).casefold(): value for key, value in given.items()}
        return _colour(folded.get("values") or [folded.get(channel) for channel in _CHANNELS])
    if isinstance(given, str):
        hexadecimal = re.fullmatch(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?", given.strip())
        if hexadecimal:
            return f"#{hexadecimal[1].lower()}"
        short = re.fullmatch(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])", given.strip())
        if short:
            return "#" + "".join(2 * digit for digit in short.groups()).lower()
        given = re.split(r"[,;\s]+", given.strip())
    if not isinstance(given, list | tuple) or len(given) < 3:
        return None
    try:
        channels = [int(float(channel)) for channel in given[:3]]
    except (TypeError, ValueError, OverflowError):
        return None
    return "#" + "".join(f"{channel:02x}" for channel in channels) if all(0 <= channel <= 255 for channel in channels) else None


def _guarded(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if re.match(r"'[=+\-@\t\r]", cell) else cell
