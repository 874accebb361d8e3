"""What can be laid left and right on the map: the picture alone, maps of models, labels, an earlier comparison's map, another date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import streamlit as st

from errors import TerratuneError
from imagery.library import Raster
from inference.first_look import latest_map
from inference.report import read_report
from labeling.journal import open_journal
from server.changes import LABELS as SERVER_LABELS
from server.changes import map_side
from ui import maps
from ui.comparison.choices import KEY, comparison_label, comparisons
from ui.frame import tile_token
from ui.scenes import add_raster, leaflet_bounds, native_zoom, outline
from ui.wording import distinct
from workspace.project import Project

OPACITY = 0.75
PICTURE, BEFORE, AFTER, LABELS = "picture", "before", "after", "labels"
LEAST_SHARED = 0.1
"""Of a picture's ground: neighbours that only touch it are no other picture of the place."""
_EARLIER, _DATE, _MAP = "earlier:", "date:", "map:"


@dataclass(frozen=True)
class Side:
    """One thing that can be laid over the pictures."""

    key: str
    title: str
    """In the list of choices."""
    short: str
    """On the map."""


def sides(project: Project, job: Path, visible: Sequence[Raster], rasters: Sequence[Raster]) -> dict[str, Side]:
    """What there is for the pictures shown, by key."""
    found = [
        Side(PICTURE, "Picture alone", "Picture"),
        Side(BEFORE, f"Before: {_model_title(job, BEFORE)}", "Before"),
        Side(AFTER, f"After: {_model_title(job, AFTER)}", "After"),
        Side("before_confidence", "How sure the model before is", "Sure before"),
        Side("after_confidence", "How sure the model after is", "Sure after"),
    ]
    if project.journal_file.exists() and open_journal(project.journal_file).counts():
        found.append(Side(LABELS, "Your labels", "Labels"))
    earlier = {
        other.name: comparison_label(other)
        for other in comparisons(project)
        if other != job and any((other / raster.id / "after.tif").exists() for raster in visible)
    }
    found += [Side(_EARLIER + name, f"Earlier: {label}", "Earlier") for name, label in distinct(earlier).items()]
    others = overlapping(visible, rasters)
    dated = {
        map_side(made.name, other.id, AFTER): f"{other.name}, after: {comparison_label(made)}"
        for made in comparisons(project)
        for other in others
        if (made / other.id / "after.tif").exists()
    }
    names = {other.id: other.name for other in others}
    found += [Side(_MAP + name, f"Map of {label}", f"Map of {names[name.split('~')[1]]}") for name, label in distinct(dated).items()]
    other_dates = {other.id: other.name for other in others}
    found += [Side(_DATE + other, f"Other picture: {name}", name) for other, name in distinct(other_dates).items()]
    return {side.key: side for side in found}


def says_classes(side: Side) -> bool:
    """Whether it tells what the ground is: a class map, or the labels."""
    return side.key in (BEFORE, AFTER, LABELS) or side.key.startswith((_EARLIER, _MAP))


def class_side(side: Side, job: Path, raster: Raster) -> str:
    """What the server calls a side that says classes, over a picture (`server.changes`)."""
    if side.key == LABELS:
        return SERVER_LABELS
    if side.key.startswith(_MAP):
        return side.key.removeprefix(_MAP)
    if side.key.startswith(_EARLIER):
        return map_side(side.key.removeprefix(_EARLIER), raster.id, AFTER)
    return map_side(job.name, raster.id, side.key)


def side_choice(
    project: Project, job: Path, visible: Sequence[Raster], rasters: Sequence[Raster], *, classes_only: bool = False
) -> tuple[Side, Side]:
    """Two boxes: what lies left, and what lies right."""
    options = sides(project, job, visible, rasters)
    if classes_only:
        options = {key: side for key, side in options.items() if says_classes(side)}
    chosen = []
    with st.container(horizontal=True, gap="small"):
        for place, usual in (("Left", BEFORE), ("Right", AFTER)):
            remembered = st.session_state.get(f"{KEY}:side:{place}", usual)
            current = remembered if remembered in options else usual
            picked = st.selectbox(
                place,
                list(options),
                index=list(options).index(current),
                format_func=lambda key: options[key].title,
                key=f"{KEY}:{place}:{hash(tuple(options.values()))}",
                label_visibility="collapsed",
            )
            if picked != current:
                st.session_state[f"{KEY}:side:{place}"] = picked
            chosen.append(options[picked])
    return chosen[0], chosen[1]


def add_side(m: Any, project: Project, job: Path, side: Side, visible: Sequence[Raster], rasters: Sequence[Raster]) -> list[Any]:
    """The layers of a side, above what is on the map already."""
    token = tile_token(project)
    if side.key == PICTURE:
        return []
    if side.key == LABELS:
        revision = open_journal(project.journal_file).revision()
        return [maps.add_tiles(m, maps.tile_url(token, "labels", str(revision)), "Your labels", opacity=OPACITY)]
    if side.key.startswith(_DATE):
        return [add_raster(m, token, raster) for raster in rasters if raster.id == side.key.removeprefix(_DATE)]
    if side.key.startswith(_MAP):
        made, raster_id, what = side.key.removeprefix(_MAP).split("~")
        source, visible = job.with_name(made), [raster for raster in rasters if raster.id == raster_id]
        return [add_result(m, token, source, raster, what, f"{side.short}: {raster.name}", OPACITY) for raster in visible]
    source, what = (job.with_name(side.key.removeprefix(_EARLIER)), AFTER) if side.key.startswith(_EARLIER) else (job, side.key)
    layers = [add_result(m, token, source, raster, what, f"{side.short}: {raster.name}", OPACITY) for raster in visible]
    return [layer for layer in layers if layer is not None]


def add_result(m: Any, token: str, job: Path, raster: Raster, what: str, name: str, opacity: float) -> Any:
    """One result for one raster above the imagery; None where the job has not made it.

    Args:
        m: The map.
        token: Of the project.
        job: The comparison.
        raster: Which raster.
        what: As in the tile route: `before`, `after_confidence` ...
        name: In the list of layers.
        opacity: 0..1.
    """
    path = latest_map(job / raster.id, what)
    if not path.exists():
        return None
    url = maps.tile_url(token, f"prediction.{job.name}.{raster.id}.{path.stem}", str(path.stat().st_mtime_ns))
    return maps.add_tiles(m, url, name, opacity=opacity, bounds=leaflet_bounds(raster), max_native_zoom=native_zoom(raster))


def shown_classes(job: Path, chosen: Sequence[Side], project: Project) -> list[tuple[str, str]]:
    """(name, colour) of the classes on these sides, each once."""
    found: dict[tuple[str, str], None] = {}
    for side in chosen:
        if side.key == LABELS:
            there = open_journal(project.journal_file).counts()
            found |= dict.fromkeys((c.name, c.colour) for c in project.classes().classes if c.value in there)
        elif says_classes(side):
            name = side.key.removeprefix(_EARLIER).removeprefix(_MAP).split("~")[0]
            source = job if side.key in (BEFORE, AFTER) else job.with_name(name)
            try:
                found |= dict.fromkeys((c.name, c.colour) for c in read_report(source).classes)
            except TerratuneError:
                continue  # not finished yet
    return list(found)


def _model_title(job: Path, which: str) -> str:
    try:
        report = read_report(job)
    except TerratuneError:  # still at work
        return "base model" if which == BEFORE else "new model"
    return report.before.title if which == BEFORE else report.after.title


def overlapping(visible: Sequence[Raster], rasters: Sequence[Raster]) -> list[Raster]:
    """Rasters that cover the ground of another one that is shown: the same place at another date."""
    if not visible or not rasters:
        return []
    grounds, others = np.array([outline(r.info) for r in visible]), np.array([outline(r.info) for r in rasters])
    pairs = shapely.STRtree(grounds).query(others, predicate="intersects").T
    found = {
        int(other)
        for other, shown in pairs
        if rasters[other].id != visible[shown].id
        and shapely.area(shapely.intersection(others[other], grounds[shown])) >= LEAST_SHARED * shapely.area(grounds[shown])
    }
    return [rasters[index] for index in sorted(found)]
