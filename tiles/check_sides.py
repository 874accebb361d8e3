"""What can be said of a folder of training tiles without opening a picture: its place, side files and names."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from errors import TileSetFormatError
from tiles import layout
from tiles.foreign import read_side_json, right_folder
from tiles.formats import FORMATS, TileFormat
from tiles.formats.base import Finding, Harm, LabelFiles, images_in

COMPANIONS = (".tfw", ".tifw", ".jgw", ".pgw", ".wld", ".mrf", ".ovr", ".prj")
"""Endings of what other programs leave beside a picture; harmless."""
SLOTS = {"NumImagesPerClass", "NumPixelsPerClass", "NumFeaturesPerClass", "PixelsPerClass", "FeatureAreaPerClass"}
"""Lists with one number for each class."""

Side = Mapping[str, Any]


def missing_parts(folder: Path) -> list[Finding]:
    """A folder that is not the one meant, side files that are missing."""
    if not folder.is_dir():
        return [Finding(str(folder), "a folder", "nothing", "Check the path.")]
    meant = right_folder(folder)
    if meant is not None:
        where = "above" if meant == folder.parent else "inside"
        name = meant.name if where == "above" else meant.relative_to(folder).as_posix()
        return [
            Finding(str(folder.name), f"the folder that holds {layout.MAP_FILE}", f"it is the one {where}: '{name}'", f"Give '{name}'.")
        ]
    findings = [_no_file(name) for name in layout.NEEDED_FILES if not (folder / name).is_file()]
    if not (folder / layout.STATS_FILE).is_file():
        findings.append(Finding(layout.STATS_FILE, "this side file", "no such file", "It is for people; no program reads it.", "none"))
    return findings + [_no_folder(layout.IMAGES)] * (not (folder / layout.IMAGES).is_dir())


def read_sides(folder: Path) -> tuple[Side, Side, TileFormat | None, list[Finding]]:
    """(esri_accumulated_stats.json, esri_model_definition.emd, the format they name or None, what is wrong with them)."""
    found: list[Finding] = []
    read: list[Side] = []
    for name in (layout.ACCUMULATED_FILE, layout.DEFINITION_FILE):
        try:
            read.append(read_side_json(folder / name) if (folder / name).exists() else {})
        except TileSetFormatError as error:
            read.append({})
            found.append(Finding(name, "a JSON object", error.fact))
    accumulated, definition = read
    mode = accumulated.get("MetaDataMode")
    form = FORMATS.get(str(mode))
    if accumulated and form is None:
        remedy = f"Export the tiles again as one of {', '.join(FORMATS)}."
        found.append(Finding(layout.ACCUMULATED_FILE, "a MetaDataMode that is known here", repr(mode), remedy))
    if form is not None and definition.get("MetaDataMode", form.name) != form.name:
        expected = f"MetaDataMode {form.name}, as in {layout.ACCUMULATED_FILE}"
        found.append(Finding(layout.DEFINITION_FILE, expected, repr(definition["MetaDataMode"]), "Write the same in both.", "elsewhere"))
    return accumulated, definition, form, found


def check_classes(accumulated: Side, definition: Side, form: TileFormat) -> tuple[dict[int, str], list[Finding]]:
    """Class names by value as the .emd lists them, and what is wrong with the list."""
    file, listed = layout.DEFINITION_FILE, definition.get("Classes")
    if not listed and not form.has_classes:
        return {}, []
    if not isinstance(listed, list) or not listed:
        return {}, [Finding(file, "a list of Classes", repr(listed), "Export the tiles again with a class field.")]
    values: dict[int, str] = {}
    wrong = []
    for entry in listed:
        entry = entry if isinstance(entry, dict) else {}
        value, name, colour = entry.get("Value", entry.get("ClassValue")), entry.get("Name", entry.get("ClassName")), entry.get("Color")
        if not isinstance(value, int) or not 0 <= value <= 254 or value in values:
            remedy = "Give the class another Value there and in the labels."
            wrong.append(Finding(file, "a class Value of its own between 0 and 254", repr(value), remedy))
            continue
        if not isinstance(name, str) or not name or name in values.values():
            wrong.append(Finding(file, f"a Name of its own for class {value}", repr(name), "Give the class a name in that file."))
        values[value] = str(name)
        if not isinstance(colour, list) or len(colour) != 3:
            remedy = 'Add "Color": [255, 0, 0] there. ArcGIS stops without; Terratune chooses one.'
            wrong.append(Finding(file, f"a Color [red, green, blue] for class {value}", repr(colour), remedy, "elsewhere"))
    for key in form.definition(listed):
        if key not in definition:
            wrong.append(Finding(file, f"the key {key}", "none", "ArcGIS learns from it which classes have single objects.", "elsewhere"))
    told = accumulated.get("Classes")
    found = [c.get("ClassValue") for c in told if isinstance(c, dict)] if isinstance(told, list) else None
    if found is not None and {v for v in found if v} != {v for v in values if v}:
        expected = f"the classes {list(values)} as in {layout.DEFINITION_FILE}"
        wrong.append(Finding(layout.ACCUMULATED_FILE, expected, str(found), "List the same classes in both.", "elsewhere"))
    return values, wrong


def check_statistics(accumulated: Side, definition: Side, images: int) -> Iterator[Finding]:
    """Numbers that other readers weigh classes and scale bands with."""
    bands = accumulated.get("NumBands")
    for file, content in ((layout.DEFINITION_FILE, definition), (layout.ACCUMULATED_FILE, accumulated)):
        properties = content.get("InputRastersProps")
        lists = {key: content.get(key) for key in ("AllTilesStats", "BandStatsState")}
        lists["BandNames"] = properties.get("BandNames") if isinstance(properties, dict) else None
        for key, listed in lists.items():
            if isinstance(listed, list) and bands not in {None, len(listed)}:
                yield _told(file, f"{key} of {bands} bands (NumBands in {layout.ACCUMULATED_FILE})", str(len(listed)))
            for number, band in enumerate(listed if isinstance(listed, list) else [], 1):
                low, high = (band.get(k) for k in ("Min", "Max")) if isinstance(band, dict) else (None, None)
                if isinstance(low, int | float) and isinstance(high, int | float) and high <= low:
                    remedy = "ArcGIS leaves such a band out. Write a Max above Min."
                    yield Finding(file, f"a Max above Min in {key}, band {number}", f"{high:g}, not above {low:g}", remedy, "elsewhere")
    classes = accumulated.get("NumClasses")
    if accumulated and classes and not {"ClassPixelStats", "FeatureStats"} & set(accumulated):
        remedy = "ArcGIS cannot weigh rare classes without them; Terratune counts itself."
        yield Finding(layout.ACCUMULATED_FILE, "ClassPixelStats or FeatureStats", "neither", remedy, "none")
    for part in ("ClassPixelStats", "FeatureStats"):
        numbers = accumulated.get(part)
        for key, listed in numbers.items() if isinstance(numbers, dict) else ():
            if key in SLOTS and isinstance(listed, list) and classes not in {None, len(listed)}:
                yield _told(layout.ACCUMULATED_FILE, f"{classes} numbers in {part}, {key} (one for each class)", str(len(listed)))
    told = accumulated.get("NumTiles", accumulated.get("NumTilesAsDouble"))
    if told is not None and told != images:
        yield _told(layout.ACCUMULATED_FILE, f"NumTiles {images}, the images there are", str(told))


def check_map(folder: Path) -> Iterator[Finding]:
    """Lines of map.txt. Other readers learn the endings and the size of tiles from the first and list the folder for the rest."""
    path = folder / layout.MAP_FILE
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = layout.parse_map(text)
    if not lines:
        yield Finding(layout.MAP_FILE, r"lines as images\000000000.tif  labels\000000000.tif", "none")
    missing = [path for path in lines[0] if not (folder / path).is_file()] if lines else []
    if missing:
        remedy = "ArcGIS learns from it what tiles look like, and stops. Delete the line, or bring the file back."
        yield Finding(
            layout.MAP_FILE, f"files that exist in its first line, but that lists {missing[0]}", "no such file", remedy, "elsewhere"
        )
    gone = [path for paths in lines[1:] for path in paths if not (folder / path).is_file()]
    if gone:
        expected = f"only files that exist, but it lists {gone[0]}"
        yield Finding(
            layout.MAP_FILE, expected, f"no such file{_more(len(gone))}", "It is left out. Delete the line, or bring the file back.", "none"
        )
    twice = [path for path, times in collections.Counter(paths[0] for paths in lines).items() if times > 1]
    if twice:
        yield Finding(layout.MAP_FILE, f"one line for {twice[0]}", f"several{_more(len(twice))}", "Delete all but one.", "none")


def check_names(folder: Path, form: TileFormat, images: Sequence[str], labels: Mapping[str, LabelFiles]) -> Iterator[Finding]:
    """Images and labels that lack one another, names that occur twice or have blanks, and what else lies there."""
    if not images:
        yield _no_images(folder)
    twins = collections.Counter(str(PurePosixPath(image).with_suffix("")) for image in images)
    stems = collections.Counter(PurePosixPath(image).stem for image in images)
    for image in images:
        pure = PurePosixPath(image)
        if twins[str(pure.with_suffix(""))] > 1:
            yield Finding(
                image, "one image of this name", f"{twins[str(pure.with_suffix(''))]}, with different endings", "Delete all but one."
            )
        elif stems[pure.stem] > 1 and form.label_folder:
            yield Finding(image, "one image of this name", f"{stems[pure.stem]}, in different folders", "Number the tiles through.")
        if pure.stem not in labels and form.label_needed:
            yield Finding(image, "a label of the same name", "none", "It is left out. Delete the image, or bring its label back.", "none")
    known = set(stems)
    for stem in sorted(set(labels) - known):
        for path in (labels[stem].label, *labels[stem].masks.values()):
            if path:
                remedy = "It is left out. Delete it, or bring the image back."
                yield Finding(path, "an image of the same name", f"none named {stem}", remedy, "none")
    paths = [*images, *(p for one in labels.values() for p in (one.label, *one.masks.values()) if p)]
    yield from together(
        [path for path in paths if any(letter.isspace() for letter in path)],
        "a name without blanks",
        "one with",
        f"ArcGIS stumbles over it in {layout.MAP_FILE}. Rename image and label (and write the new names there).",
        "elsewhere",
    )
    if form.label_folder is not None:
        yield from _strays(folder, form, set(paths))


def together(paths: Sequence[str], expected: str, found: str, remedy: str, harm: Harm) -> Iterator[Finding]:
    """One finding for what several files share; none for none."""
    if paths:
        yield Finding(paths[0], expected, f"{found}{_more(len(paths))}", remedy, harm)


def _more(count: int) -> str:
    return "" if count == 1 else f"; {count - 1} more like it"


def _strays(folder: Path, form: TileFormat, labels: Collection[str]) -> Iterator[Finding]:
    """What lies among the labels and is none."""
    parent = folder / str(form.label_folder)
    others = [p.relative_to(folder).as_posix() for p in sorted(parent.rglob("*")) if p.is_file()]
    others = [p for p in others if p not in labels and PurePosixPath(p).suffix.lower() not in COMPANIONS]
    aux = [p for p in others if p.lower().endswith(".aux.xml")]
    harm: Harm = "elsewhere" if any(p.endswith(".xml") for p in labels) else "none"
    remedy = "ArcGIS takes it for a label and stops: delete it." if harm == "elsewhere" else "It does no harm."
    yield from together(aux, "only labels", "a file with facts on a picture", remedy, harm)
    rest = [p for p in others if p not in aux]
    xml = [p for p in rest if p.lower().endswith(".xml")]
    yield from together(xml, "only labels", "an XML file that is none", "ArcGIS may take it for a label and stop: delete it.", "elsewhere")
    yield from together([p for p in rest if p not in xml], "only labels", "a file that is none", "It is left out.", "none")


def _no_images(folder: Path) -> Finding:
    """Nothing in images/, or what is there lies one folder deeper."""
    inside = [p for p in sorted((folder / layout.IMAGES).iterdir()) if p.is_dir() and images_in(p)]
    if inside:
        deeper = f"{layout.IMAGES}/{inside[0].name}"
        return Finding(layout.IMAGES, "the images in it", f"them one folder deeper, in {deeper}", "Move them up.")
    return Finding(layout.IMAGES, "at least one image", "none")


def _no_file(name: str) -> Finding:
    return Finding(name, "this side file in the folder", "no such file", "Export the tiles again, or copy the whole folder.")


def _no_folder(name: str) -> Finding:
    return Finding(name, "this folder", "no such folder", "Export the tiles again, or copy the whole folder.")


def check_label_folder(folder: Path, form: TileFormat) -> list[Finding]:
    """The folder of labels, where the format has one."""
    return [_no_folder(form.label_folder)] if form.label_folder and not (folder / form.label_folder).is_dir() else []


def _told(file: str, expected: str, found: str) -> Finding:
    return Finding(file, expected, found, "Terratune counts anew; ArcGIS goes by it. Export the tiles again.", "elsewhere")
