"""What is chosen for an export: a short form for everybody, the rest under "More choices"."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import geopandas as gpd
import streamlit as st
from pydantic import ValidationError

from imagery.library import Raster, raster_source
from labeling.export.settings import ExportSettings, fields_for
from tiles.formats import FORMATS
from ui.export_labels import LabelRasters, label_rasters, labels_from
from ui.export_mask import mask_upload
from ui.problems import explained, plain
from ui.settings_fields import Offers, extra_of, refusals, settings_field, title_of
from ui.wording import distinct_names
from workspace.project import Project

TILE_SIZES = (64, 128, 256, 512)
TILES, LABELS, IMAGERY = "Tiles", "Labels", "Imagery"
GROUPS = (TILES, LABELS, IMAGERY, "Validation")
"""Tabs under "More choices", in order."""
NARROW_PX = 173
"""Of a number: two side by side."""
_FIELDS = ExportSettings.model_fields


@dataclass(frozen=True)
class ExportChoice:
    """What the form says now."""

    settings: ExportSettings | None
    """None while it asks for something that cannot be made; the form says why."""
    rasters: tuple[Raster, ...]
    name: str
    """Of the tile set; empty for the usual one."""
    mask: gpd.GeoDataFrame | None = None
    """Polygons in which alone tiles are cut."""
    label_rasters: LabelRasters | None = None
    """Where the labels come from instead of the project."""


def export_form(project: Project, rasters: Sequence[Raster], last: ExportSettings | None) -> ExportChoice:
    """Draw the form.

    Args:
        project: Its rasters and classes are what can be chosen from.
        rasters: Of the project.
        last: Settings of the last export, to start from; None at first.
    """
    start = (last or first_settings()).model_dump()
    offers: Offers = {
        "raster": {raster_source(project, r): name for r, name in zip(rasters, distinct_names(rasters), strict=True)},
        "class": {c.value: c.name for c in project.classes().learnt},
    }
    form = FORMATS[settings_field(ExportSettings, "metadata_format", start["metadata_format"])]
    st.caption(form.description if form.has_classes else f"{form.description} Terratune itself cannot train on it.")
    asked = [name for name in fields_for(form.name) if name != "metadata_format"]
    simple = [name for name in asked if extra_of(_FIELDS[name]).get("section") == "simple" or (name == "second_raster" and form.parts)]
    chosen: dict[str, Any] = {"metadata_format": form.name} | _simple_fields(simple, start, offers)
    with st.expander("More choices", icon=":material/tune:"):
        further = [name for name in asked if name not in simple]
        more = _MoreChoices(project, rasters, start, offers)
        more.draw(further, chosen)
        title = st.text_input("Name of the tile set", placeholder="tiles", max_chars=40, key="tile_set_name")
    changed = [title_of(ExportSettings, name) for name in further if name in chosen and chosen[name] != _FIELDS[name].default]
    if changed:
        st.caption(f"Not as usual: {', '.join(changed)}.")
    return ExportChoice(_checked(chosen) if more.usable else None, more.images, title, more.mask, more.label_rasters)


class _MoreChoices:
    """What few people need, in a tab for each group."""

    def __init__(self, project: Project, rasters: Sequence[Raster], start: Mapping[str, Any], offers: Offers) -> None:
        self.images: tuple[Raster, ...] = tuple(rasters)
        self.mask: gpd.GeoDataFrame | None = None
        self.usable = False
        """The mask, if there is one, could be read."""
        self.label_rasters: LabelRasters | None = None
        self._project = project
        self._rasters = rasters
        self._start = start
        self._offers = offers
        self._label_rasters = label_rasters(project, rasters)

    def draw(self, names: Sequence[str], chosen: dict[str, Any]) -> None:
        """Draw these fields and put what they say into `chosen`."""
        groups = {group: [name for name in names if extra_of(_FIELDS[name]).get("group") == group] for group in GROUPS}
        other_labels = self._label_rasters if FORMATS[chosen["metadata_format"]].has_classes else []
        shown = [group for group in GROUPS if groups[group] or group == IMAGERY or (group == LABELS and other_labels)]
        for group, tab in zip(shown, st.tabs(shown), strict=True):
            with tab:
                if group == LABELS and other_labels:
                    self.label_rasters = labels_from(other_labels, f"labels_from:{self._project.id}")
                if group == IMAGERY:
                    self.images = _which_images(self._project, self._rasters)
                self._fields(groups[group], chosen)
                if group == TILES:
                    with explained():
                        self.mask, self.usable = mask_upload(f"mask:{self._project.id}"), True
        if self.label_rasters is not None:  # what the labels are made of is not cut
            self.images = tuple(r for r in self.images if Path(raster_source(self._project, r)) not in self.label_rasters.paths)

    def _fields(self, names: Sequence[str], chosen: dict[str, Any]) -> None:
        """Numbers two by two, the others each in a line of its own."""
        for numbers, group in itertools.groupby(names, key=_is_number):
            together = list(group)
            by_two = numbers and len(together) > 1
            with st.container(horizontal=by_two):
                for name in together:
                    if _applies(name, chosen):
                        with st.container(width=NARROW_PX if by_two else "stretch"):
                            chosen[name] = settings_field(ExportSettings, name, self._start[name], offers=self._offers)


def _is_number(name: str) -> bool:
    kind = _FIELDS[name].annotation
    return kind in (int, float) or (get_origin(kind) is UnionType and any(one in (int, float) for one in get_args(kind)))


def first_settings() -> ExportSettings:
    """The defaults; lines as wide as the Label page shows them in this tab."""
    shown = st.session_state.get("line_width_m")
    return ExportSettings(buffer_m=shown / 2) if shown else ExportSettings()


def _simple_fields(names: Sequence[str], start: Mapping[str, Any], offers: Offers) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name in names:
        if name == "tile_size":
            chosen |= _size_and_step(start, with_step="stride" in names)
        elif name != "stride":
            chosen[name] = settings_field(ExportSettings, name, start[name], offers=offers)
    return chosen


def _size_and_step(start: Mapping[str, Any], *, with_step: bool) -> dict[str, Any]:
    """Tile size as a choice among the usual ones; the step as an overlap."""
    first, second = st.columns(2)
    sizes = sorted({*TILE_SIZES, start["tile_size"]})
    size = first.selectbox(
        title_of(ExportSettings, "tile_size"),
        sizes,
        sizes.index(start["tile_size"]),
        help=_FIELDS["tile_size"].description,
        key="tile_size",
    )
    if not with_step:
        return {"tile_size": size}
    wanted = size * start["stride"] // start["tile_size"]  # the same overlap
    steps = sorted({size // 4, size // 2, size, *([wanted] if size == start["tile_size"] and wanted <= size else [])})
    stride = second.selectbox(
        title_of(ExportSettings, "stride"),
        steps,
        steps.index(wanted) if wanted in steps else steps.index(size // 2),
        format_func=lambda step: f"{step} ({'no' if step >= size else f'{100 - round(100 * step / size)} %'} overlap)",
        help=_FIELDS["stride"].description,
        key=f"stride:{size}",  # another size has other steps: a box keeps the words it was made with
    )
    return {"tile_size": size, "stride": stride}


def _applies(name: str, chosen: Mapping[str, Any]) -> bool:
    """Does a field mean anything with what is chosen before it?"""
    asked = extra_of(_FIELDS[name]).get("only_with", {})
    return all(chosen.get(other) if wanted is True else chosen.get(other) in wanted for other, wanted in asked.items())


def _which_images(project: Project, rasters: Sequence[Raster]) -> tuple[Raster, ...]:
    """All, unless some are named."""
    names = dict(zip([r.id for r in rasters], distinct_names(rasters), strict=True))
    all_of_them = f"All {len(rasters)}" if len(rasters) > 1 else next(iter(names.values()))
    ids = st.multiselect("Images", list(names), format_func=names.__getitem__, placeholder=all_of_them, key=f"images:{project.id}")
    return tuple(r for r in rasters if not ids or r.id in ids)


def _checked(chosen: Mapping[str, Any]) -> ExportSettings | None:
    """The settings; where they cannot be, says why."""
    try:
        return ExportSettings.model_validate(chosen)
    except ValidationError as error:
        for reason in refusals(ExportSettings, error):
            st.warning(plain(reason), icon=":material/warning:")
        return None
