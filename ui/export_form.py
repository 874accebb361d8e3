"""What is chosen for an export: a short form for everybody, the rest under "More choices"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import streamlit as st
from pydantic import ValidationError

from imagery.library import Raster, raster_source
from labeling.export.settings import ExportSettings, fields_for
from tiles.formats import FORMATS
from ui.export_mask import mask_upload
from ui.problems import explained, plain
from ui.settings_fields import Offers, extra_of, refusals, settings_field, title_of
from ui.wording import distinct_names
from workspace.project import Project

TILE_SIZES = (64, 128, 256, 512)
TILES, IMAGERY = "Tiles", "Imagery"
GROUPS = (TILES, "Labels", IMAGERY, "Training and validation")
"""Headings under "More choices", in order."""
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
    st.caption(form.description if form.has_pixels else f"{form.description} Terratune itself cannot train on it.")
    asked = [name for name in fields_for(form.name) if name != "metadata_format"]
    simple = [name for name in asked if extra_of(_FIELDS[name]).get("section") == "simple" or (name == "second_raster" and form.parts)]
    chosen: dict[str, Any] = {"metadata_format": form.name} | _simple_fields(simple, start, offers)
    mask: gpd.GeoDataFrame | None = None
    usable = False
    with st.expander("More choices", icon=":material/tune:"):
        further = [name for name in asked if name not in simple]
        for group in GROUPS:
            own = [name for name in further if extra_of(_FIELDS[name]).get("group", GROUPS[0]) == group]
            if own or group == IMAGERY:
                st.markdown(f"**{group}**")
            if group == IMAGERY:
                images = _which_images(project, rasters)
            for name in own:
                if _applies(name, chosen):
                    chosen[name] = settings_field(ExportSettings, name, start[name], offers=offers)
            if group == TILES:
                with explained():
                    mask, usable = mask_upload(f"mask:{project.id}"), True
        title = st.text_input("Name of the tile set", placeholder="tiles", max_chars=40, key="tile_set_name")
    return ExportChoice(_checked(chosen) if usable else None, images, title, mask)


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
