"""What was gained, lost and became another class between two sides: which of it is shown, and how much ground it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from imagery.library import Raster
from inference.compare import CHANGE_COLOURS, FLIPPED, GAINED, LOST
from inference.report import Report, Table, area_text
from labeling.journal import open_journal
from server.changes import Pair, changed_ground, pair_of
from ui import maps
from ui.comparison.choices import KEY
from ui.comparison.legend import legend
from ui.comparison.scores import TWICE, area_rows
from ui.comparison.sides import AFTER, BEFORE, LABELS, OPACITY, Side, class_side, overlapping
from ui.frame import tile_token
from ui.problems import explained
from ui.scenes import leaflet_bounds, native_zoom
from workspace.classes import FULLY_LABELLED_VALUE
from workspace.project import Project

CHANGE_TITLES = {GAINED: "Gained", LOST: "Lost", FLIPPED: "Became another"}
MOST_COUNTED = 40_000_000
"""Pixels that are counted at once, in a few seconds; more are counted when asked for."""


@dataclass(frozen=True)
class Changes:
    """The changes that are looked at."""

    sides: tuple[Side, Side]
    names: Mapping[str, tuple[str, str]]
    """For each raster id both sides as the server calls them."""
    pairs: Mapping[str, Pair]
    """For each raster id of which both are there."""
    kinds: Sequence[int]
    values: Sequence[int]
    """Class values from which or to which; none: all."""

    @property
    def classes(self) -> dict[int, str]:
        """Name by value, of all pairs."""
        return {value: name for pair in self.pairs.values() for value, name in pair.classes}


def changes_choice(project: Project, job: Path, visible: Sequence[Raster], chosen: tuple[Side, Side]) -> Changes:
    """Which kinds of change are shown, and of which classes."""
    names = {raster.id: (class_side(chosen[0], job, raster), class_side(chosen[1], job, raster)) for raster in visible}
    pairs = {raster_id: pair for raster_id, two in names.items() if (pair := pair_of(project, *two)) is not None}
    found = Changes(chosen, names, pairs, (), ())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        kinds = st.pills(
            "Changes",
            list(CHANGE_TITLES),
            selection_mode="multi",
            default=list(CHANGE_TITLES),
            format_func=CHANGE_TITLES.__getitem__,
            key=f"{KEY}:kinds",
            label_visibility="collapsed",
        )
        values = st.multiselect(
            "Classes",
            list(found.classes),
            format_func=found.classes.__getitem__,
            placeholder="All classes",
            key=f"{KEY}:classes:{hash(tuple(found.classes.items()))}",
            label_visibility="collapsed",
        )
    return Changes(chosen, names, pairs, kinds, values)


def add_changes(m: Any, project: Project, changes: Changes, visible: Sequence[Raster]) -> None:
    """Their layers, one for each picture."""
    if not changes.kinds:
        return
    kinds, classes = "".join(map(str, sorted(changes.kinds))), "_".join(map(str, sorted(changes.values))) or "all"
    for raster in visible:
        if raster.id in changes.pairs:
            layer = ".".join(("changes", *changes.names[raster.id], kinds, classes))
            url = maps.tile_url(tile_token(project), layer, changes.pairs[raster.id].version)
            maps.add_tiles(
                m, url, f"Changes: {raster.name}", opacity=OPACITY, bounds=leaflet_bounds(raster), max_native_zoom=native_zoom(raster)
            )


def changes_told(project: Project, changes: Changes, visible: Sequence[Raster], report: Report | None) -> None:
    """What the colours mean, and how much ground it is."""
    left, right = (side.short for side in changes.sides)
    if not changes.pairs:
        st.caption("There is nothing to compare: one of the two is not made yet, or shows other ground.")
        return
    table = None
    if changes.sides[0] != changes.sides[1]:
        with explained():
            table = _table(changes, visible, report)
    wanted = [place for place, value in enumerate(changes.classes, 1) if not changes.values or value in changes.values]
    entries = []
    for kind in sorted(changes.kinds):
        area = "" if table is None else f" {area_text(table.changed_m2(kind, wanted))}"
        entries.append((CHANGE_TITLES[kind] + area, "#{:02x}{:02x}{:02x}".format(*CHANGE_COLOURS[kind])))
    legend(entries, f"Gained: background in '{left}', a class in '{right}'. Lost: the reverse.")
    if any(side.key == LABELS for side in changes.sides):
        complete = FULLY_LABELLED_VALUE in open_journal(project.journal_file).counts()
        st.caption(
            "Labels count where something is drawn, and inside fully labelled areas; elsewhere nobody has said what there is."
            if complete
            else "No area is marked as fully labelled: what is not drawn counts as background."
        )
    if table is not None:
        with st.expander("Areas by class"):
            st.dataframe(area_rows(list(changes.classes.values()), table, (left, right) if left != right else ("Left", "Right")), hide_index=True)
            st.caption(f"Ground that both sides tell of, measured on the ellipsoid. {TWICE if overlapping(visible, visible) else ''}")


def _table(changes: Changes, visible: Sequence[Raster], report: Report | None) -> Table | None:
    """Ground by class on both sides, in the order of `Changes.classes`; None where there is too much to count unasked."""
    keys = tuple(side.key for side in changes.sides)
    if report is not None and keys == (BEFORE, AFTER) and list(changes.classes) == [c.value for c in report.classes]:
        tables = [raster.table for raster in report.rasters if raster.id in changes.pairs]
        return _sum(tables) if tables else None
    pixels = sum(raster.info.width * raster.info.height for raster in visible if raster.id in changes.pairs)
    key = f"{KEY}:count:{hash((keys, tuple(changes.pairs)))}"
    if pixels > MOST_COUNTED and not st.session_state.get(key):
        st.button("Count the ground", icon=":material/square_foot:", key=f"{key}:button", on_click=lambda: st.session_state.update({key: True}))
        return None
    return _sum([_ground(pair, tuple(changes.classes)) for pair in changes.pairs.values()])


def _sum(tables: Sequence[Table]) -> Table:
    total = tables[0]
    for table in tables[1:]:
        total = total + table
    return total


@st.cache_data(max_entries=100, show_spinner="Counting the ground ...", hash_funcs={Pair: repr})
def _ground(pair: Pair, values: tuple[int, ...]) -> Table:
    """Ground of one pair, by the classes with these values: remembered as long as both sides stay as they are."""
    return Table.of(changed_ground(pair, values))
