"""Label files of a command: which layer and which field of each, rasters of class values among them, and the classes they make together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import pandas as pd

from errors import LabelFileError
from imagery.grid import Grid
from imagery.raster import inspect_raster
from labeling.class_raster import RASTER_SUFFIXES, ClassRaster, read_class_raster
from labeling.exchange import NOTHING, VectorFile, labels_in, read_file, suggested_map
from labeling.exchange.layers import recognised
from labeling.exchange.mapping import class_field_of
from labeling.export.settings import ImageSource
from workspace.classes import PALETTE, UNCERTAIN_VALUE, ClassDef, ClassSchema, is_fully_labelled, starter_schema

CLASS_FIELDS = ("classvalue", "class_value", "value", "classname", "class_name", "class")
"""Taken as the class field where none is named, the first that a file has; ArcGIS looks for the first and the third."""
IGNORE_NAMES = {"uncertain", "ignore"}
UNCERTAIN = ClassDef(value=UNCERTAIN_VALUE, name="Uncertain", colour="#9aa0a6", ignore=True)
LAYER = "::"
LONGEST_NAME = 60
"""Letters of a class name."""


@dataclass(frozen=True)
class LabelSource:
    """One file of labels."""

    path: Path
    layer: str | None = None
    """None: all layers of the file."""
    class_field: str | None = None
    """None: one of CLASS_FIELDS; where the file has none of them, all that is in it is one class, named as the layer or the file."""

    @property
    def is_raster(self) -> bool:
        return self.path.suffix.lower() in RASTER_SUFFIXES


@dataclass(frozen=True)
class _Opened:
    """A source as it was read."""

    source: LabelSource
    file: VectorFile | None
    raster: ClassRaster | None

    @property
    def class_field(self) -> str | None:
        assert self.file is not None
        if self.source.class_field is not None:
            return class_field_of(self.file, self.source.class_field)
        return recognised(self.file.fields, CLASS_FIELDS)

    @property
    def own_name(self) -> str:
        """The one class of a file without a class field."""
        return self.source.layer or self.source.path.stem

    @property
    def values(self) -> list[str]:
        """Class values and names that a vector file holds."""
        if self.file is None:
            return []
        field = self.class_field
        return list(dict.fromkeys(self.file.values(field))) if field else [self.own_name]


def label_sources(files: Sequence[str], class_fields: Sequence[str]) -> list[LabelSource]:
    """What was asked for.

    Args:
        files: Paths, each perhaps with `::` and the name of a layer behind.
        class_fields: None, one for all files, or one for each in their order.

    Raises:
        LabelFileError: another number of fields.
    """
    sources = []
    for file in files:
        path, mark, layer = file.rpartition(LAYER)
        sources.append(LabelSource(Path(path), layer) if mark and not Path(file).exists() else LabelSource(Path(file)))
    if len(class_fields) not in {0, 1, len(sources)}:
        raise LabelFileError(
            f"There are {len(sources)} label files, but {len(class_fields)} class fields.", "Name one for all of them, or one for each."
        )
    fields: Sequence[str | None] = class_fields or [None]
    fields = fields if len(fields) == len(sources) else list(fields) * len(sources)
    return [source if source.is_raster else replace(source, class_field=field) for source, field in zip(sources, fields, strict=True)]


def read_sources(
    sources: Sequence[LabelSource], classes: Path | None, crs: str | None, images: Sequence[ImageSource] = ()
) -> tuple[gpd.GeoDataFrame, ClassSchema, list[str]]:
    """All labels together, and their classes.

    Args:
        sources: What to read.
        classes: classes.json of a project; None: the classes are worked out from what the files hold (`derived_schema`).
        crs: Of files that do not say theirs.
        images: Pictures that files in pixels (PASCAL VOC, COCO) name.

    Returns:
        The labels in EPSG:4326, the classes, and what a person should know, a line each.

    Raises:
        LabelFileError: a file cannot be read, or holds no class; a layer or field is not there.
        UnknownClassError: a file has a class that the class list lacks.
    """
    opened = [_opened(source, crs) for source in sources]
    values = list(dict.fromkeys(value for one in opened for value in one.values))
    if classes is None:
        schema, meaning = derived_schema(values, [one.raster for one in opened if one.raster is not None])
    else:
        schema = _given_schema(classes)
        left_out: dict[str, int | None] = {v: None for v in values if v in {NOTHING, "0"}}
        meaning = left_out | {v: found for v in values if (found := suggested_map([v], schema)[v]) is not None}
    notes: list[str] = []
    in_pixels = any(one.file is not None and one.file.pixels for one in opened)
    scenes = {image.name: inspect_raster(image.source).grid for image in images} if in_pixels else {}
    tables = [_table(one, schema, meaning, crs, scenes, notes) for one in opened]
    return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs), schema, notes


def labels_of_rasters(paths: Sequence[Path], known: ClassSchema) -> tuple[gpd.GeoDataFrame, ClassSchema]:
    """Labels from rasters of class values, and their classes.

    Args:
        paths: Of the rasters. Some may hold nothing but background.
        known: Names and colours of values, for rasters without names.

    Returns:
        The labels in EPSG:4326, and the classes found.

    Raises:
        LabelFileError: a raster holds something other than class values, or none of them any class.
        ImageryError: a raster cannot be read, or lies nowhere.
    """
    names, colours = {c.value: c.name for c in known.learnt}, {c.value: c.rgb for c in known.learnt}
    read = [read_class_raster(path, may_be_empty=True) for path in paths]
    if not any(raster.values for raster in read):
        raise LabelFileError("Nowhere in these maps is any class: nothing but background, 255 and 'no data'.", "Choose other labels.")
    named = [raster if raster.names else replace(raster, names=names, colours=raster.colours | colours) for raster in read]
    schema, _ = derived_schema([], named)
    labels = pd.concat([raster.labels.to_crs("EPSG:4326") for raster in read], ignore_index=True)
    return gpd.GeoDataFrame(labels, crs="EPSG:4326"), schema


def derived_schema(values: Sequence[str], rasters: Iterable[ClassRaster] = ()) -> tuple[ClassSchema, dict[str, int | None]]:
    """Classes from the values of a field, and from rasters of class values.

    Names that the road story knows ("paved", "Unpaved road") become its classes, with its drawing order. Numbers keep their value, and
    rasters theirs, with the name and colour that they give it. Other names get the lowest numbers that are free, in alphabetical order.
    255, "uncertain" and "ignore" are areas not to be learnt from; 0 and nothing are left out: background needs no label, and a fully labelled
    area is no class.

    Args:
        values: Distinct values of the fields, as text.
        rasters: As they were read.

    Returns:
        The classes, and the class value of each field value, None for those left out.

    Raises:
        LabelFileError: no class, or a number that cannot be a class value.
    """
    left_out = {v for v in values if v in {NOTHING, "0"} or is_fully_labelled(v)}
    ignored = {v for v in values if v.casefold() in IGNORE_NAMES or v == str(UNCERTAIN_VALUE)}
    learnt = sorted(set(values) - left_out - ignored, key=lambda v: (len(v), v, v) if v.isdigit() else (0, v.casefold(), v))
    names, colours = _of_rasters(rasters)
    if not learnt and not names:
        raise LabelFileError("The class field holds no class.", "Name another field with --class-field.")
    meaning: dict[str, int | None] = dict.fromkeys(left_out) | dict.fromkeys(ignored, UNCERTAIN_VALUE)
    starter = starter_schema()
    known = {v: c.value for v in learnt if (c := starter.by_name(v) or starter.by_name(f"{v} road")) is not None}
    if known and len(known) == len(learnt) and not names:
        return starter, {**meaning, **known}
    own = _numbered(learnt, names)
    wrong = next((v for v in learnt if not 1 <= own[v] <= 254), None)
    if wrong is not None:
        raise LabelFileError(f"The class field holds {wrong}; class values are 1 to 254.", "Name another field, or give --classes.")
    titles = {**{own[v]: v for v in reversed(learnt)}, **names}
    order = [*(own[v] for v in learnt), *sorted(names)]
    found = tuple(
        ClassDef(value=value, name=titles[value][:LONGEST_NAME], colour=colours.get(value, PALETTE[i % len(PALETTE)]))
        for i, value in enumerate(dict.fromkeys(order))
    )
    return ClassSchema(classes=(*found, UNCERTAIN)), {**meaning, **own}


def _of_rasters(rasters: Iterable[ClassRaster]) -> tuple[dict[int, str], dict[int, str]]:
    """Name and colour of each value; the first raster that says one is right, and no name is used twice."""
    names: dict[int, str] = {}
    colours: dict[int, str] = {}
    for raster in rasters:
        for value in raster.values:
            name = raster.names.get(value, str(value))[: LONGEST_NAME - 4]
            taken = _folded(name) in IGNORE_NAMES | {_folded(n) for v, n in names.items() if v != value}
            names.setdefault(value, f"{name} {value}" if taken else name)
            if value in raster.colours:
                colours.setdefault(value, "#{:02x}{:02x}{:02x}".format(*raster.colours[value]))
    return names, colours


def _numbered(learnt: Sequence[str], names: Mapping[int, str]) -> dict[str, int]:
    """A class value for each field value: its own number, that of the raster's class of its name, or a free one; one for names that differ
    only by case or blanks.
    """
    numbers = {v: int(v) for v in learnt if v.lstrip("-").isdigit()}
    by_name = {_folded(name): value for value, name in names.items()}
    free = iter(sorted(set(range(1, 1000)) - set(numbers.values()) - set(names)))
    for v in learnt:
        if v not in numbers:
            if _folded(v) not in by_name:
                by_name[_folded(v)] = next(free)
            numbers[v] = by_name[_folded(v)]
    return numbers


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _opened(source: LabelSource, crs: str | None) -> _Opened:
    if source.is_raster:
        if source.layer is not None:
            raise LabelFileError(f"{source.path.name} is a raster, which has no layers.", f"Leave '{LAYER}{source.layer}' out.")
        return _Opened(source, None, read_class_raster(source.path, crs))
    file = read_file(source.path)
    if source.layer is not None:
        chosen = tuple(one for one in file.layers if one.name.casefold() == source.layer.casefold())
        if not chosen:
            there = ", ".join(one.name for one in file.layers)
            raise LabelFileError(f"{file.name} has no layer '{source.layer}'.", f"Its layers: {there}.")
        file = VectorFile(file.name, chosen)
    return _Opened(source, file, None)


def _table(
    one: _Opened,
    schema: ClassSchema,
    meaning: Mapping[str, int | None],
    crs: str | None,
    scenes: Mapping[str, Grid],
    notes: list[str],
) -> gpd.GeoDataFrame:
    if one.raster is not None:
        return one.raster.labels.to_crs("EPSG:4326")
    assert one.file is not None
    field, name = one.class_field, one.source.path.name
    if field is None:
        notes.append(f"{name} has no class field, so all of it is the class '{one.own_name}'. Name a field with --class-field.")
        meaning = {NOTHING: meaning[one.own_name]}
    table = labels_in(one.file, field, meaning, schema, crs, scenes)
    report = table.attrs.pop("report")
    if report.left_out or report.repaired or report.widths_ignored:
        notes.append(f"{name}: {report.sentence()}")
    return table


def _given_schema(path: Path) -> ClassSchema:
    try:
        return ClassSchema.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LabelFileError(f"{path.name} cannot be read as a class list.", "Take the classes.json of a project as an example.") from error
