"""The left top of the Models page: for which imagery, and which cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from imagery.library import Raster
from models.catalogue.fit import Imagery
from models.catalogue.published import TASKS, PublishedModel
from models.catalogue.search import GROUND_SIZES, LICENCE_KINDS, Filter, sensors_of
from ui.wording import distinct_names

KEY = "models"
ANY = ""
TASK_WORDS = {
    "semantic segmentation": "A class for each pixel",
    "roads": "Roads",
    "object detection": "Boxes around objects",
    "instance segmentation": "Outlines of objects",
    "scene classification": "A class for a whole picture",
    "change detection": "Change between two dates",
    "promptable": "Outlines where you click",
    "embedding": "A start for training (no class yet)",
}
BAND_WORDS = {"colours": "Red, green, blue only", "more": "Other bands too"}
LICENCE_WORDS = {
    "open": "Open, also for business",
    "non-commercial": "Not for business",
    "own terms": "Terms of its own",
    "not stated": "Not stated",
}
SIZES_MB = (25, 50, 100, 250, 1000)


def facts_of(rasters: Sequence[Raster]) -> list[Imagery]:
    """What decides of each raster."""
    return [Imagery.of(name, raster.info) for name, raster in zip(distinct_names(rasters), rasters, strict=True)]


def choose_cards(models: Sequence[PublishedModel]) -> Filter:
    """Draw the filters."""
    words = st.text_input("Search", placeholder="Search: roads, sentinel, resnet ...", key=f"{KEY}:words", label_visibility="collapsed")
    with st.container(horizontal=True, vertical_alignment="center"):
        runs = st.toggle("Runs here", key=f"{KEY}:runs", help="On this machine, with what is installed.")
        downloaded = st.toggle("Downloaded", key=f"{KEY}:downloaded")
        with st.popover("More filters", icon=":material/filter_list:", width="content"):
            more = _more(models)
    task = _choice("What it does", list(TASKS), TASK_WORDS, "task", hidden=True, anything="Anything it does")
    return replace(more, words=words, task=task, runs=runs, downloaded=downloaded)


def _more(models: Sequence[PublishedModel]) -> Filter:
    left, right = st.columns(2)
    with left:
        sensor = _choice("Sensor", sensors_of(models), {}, "sensor")
        bands = _choice("Bands", list(BAND_WORDS), BAND_WORDS, "bands")
        ground = _choice("Made for pixels of", list(GROUND_SIZES), {}, "ground")
    with right:
        licence = _choice("Licence", list(LICENCE_KINDS), LICENCE_WORDS, "licence")
        size = _choice("Download", [str(mb) for mb in SIZES_MB], {str(mb): f"at most {mb} MB" for mb in SIZES_MB}, "size")
    return Filter(sensor=sensor, bands=bands, ground_size=ground, licence=licence, megabytes=float(size) if size else None)


def _choice(label: str, options: list[str], words: dict[str, str], key: str, *, hidden: bool = False, anything: str = "Any") -> str:
    return st.selectbox(
        label,
        [ANY, *options],
        format_func=lambda option: words.get(option, option) if option else anything,
        key=f"{KEY}:{key}",
        label_visibility="collapsed" if hidden else "visible",
    )
