"""How many tiles an export would make, counted beside the page: a choice changed again meanwhile is not waited for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import partial

import geopandas as gpd
import streamlit as st

from imagery.library import list_rasters, raster_source
from imagery.raster import RasterInfo
from labeling.export import TileEstimate, estimate_tiles
from labeling.export.plan import no_labels
from labeling.export.settings import ExportSettings
from labeling.journal import open_journal
from tiles.formats import FORMATS
from ui.export_form import ExportChoice
from ui.problems import plain
from ui.wording import many
from workspace.classes import ClassSchema
from workspace.files import size_in_words
from workspace.project import Project

PATIENCE_S = 0.7
"""Most counts are there in this time: then nothing jumps on the page."""
KEPT = 256
"""Counts that are remembered, over all projects."""

Key = tuple[str, ...]
"""The project first, then everything that the count depends on."""

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="estimate")
_lock = threading.Lock()
_counts: OrderedDict[Key, Future[TileEstimate]] = OrderedDict()


def estimate_line(project: Project, labels: gpd.GeoDataFrame, choice: ExportChoice) -> None:
    """How many tiles and bytes, or why there would be none. Errors as those of the export."""
    if choice.settings is None or not choice.rasters:
        return
    if choice.label_rasters is not None:
        _tell_most(project, choice)
        return
    schema, journal = project.classes(), open_journal(project.journal_file)
    infos, second = _infos(project, choice, choice.settings)
    areas = "" if choice.mask is None else "".join(choice.mask.geometry.to_wkb(hex=True))
    key = (
        str(project.folder),
        journal.id,
        str(journal.revision()),
        schema.model_dump_json(),
        choice.settings.model_dump_json(),
        areas,
        *(info.model_dump_json() for info in infos),
    )
    count = partial(estimate_tiles, infos, labels, schema, choice.settings, mask=choice.mask, second=second)
    estimate = counted(key, count)
    if estimate is None:
        st.fragment(_wait, run_every=1.0)(key)
    else:
        _tell(estimate, labels, schema, choice)


def _infos(project: Project, choice: ExportChoice, settings: ExportSettings) -> tuple[list[RasterInfo], RasterInfo | None]:
    """Of the rasters to cut, and of the second one."""
    sources = {r.id: raster_source(project, r) for r in list_rasters(project)}
    second = next((r.info for r in list_rasters(project) if sources[r.id] == settings.second_raster), None)
    return [r.info for r in choice.rasters if sources[r.id] != settings.second_raster], second


def _tell_most(project: Project, choice: ExportChoice) -> None:
    """Where labels come from rasters, which are not read for this: no more tiles than all of the imagery gives."""
    if choice.settings is None or FORMATS[choice.settings.metadata_format].per_object:
        return
    everywhere = choice.settings.model_copy(update={"tiles": "all", "inside_fully_labelled": False})
    infos, second = _infos(project, choice, everywhere)
    most = estimate_tiles(infos, no_labels(), ClassSchema(), everywhere, mask=choice.mask, second=second)
    st.caption(f"At most **{many(most.tiles, 'tile')}**, {size_in_words(max(most.bytes, 10**6))}.")


def counted(key: Key, count: Callable[[], TileEstimate]) -> TileEstimate | None:
    """What `count` gives, at once where it was counted before; None while it is not there yet."""
    with _lock:
        if key not in _counts:
            for other in [k for k in _counts if k[0] == key[0] and _counts[k].cancel()]:  # chosen otherwise since
                del _counts[other]
            _counts[key] = _worker.submit(count)
        _counts.move_to_end(key)
        while len(_counts) > KEPT:
            _counts.popitem(last=False)
        future = _counts[key]
    try:
        return future.result(PATIENCE_S)
    except (NotYet, CancelledError):
        return None


def _wait(key: Key) -> None:
    st.caption("Counting the tiles ...")
    future = _counts.get(key)
    if future is None or future.done():
        st.rerun(scope="app")


def _tell(estimate: TileEstimate, labels: gpd.GeoDataFrame, schema: ClassSchema, choice: ExportChoice) -> None:
    if estimate.tiles:
        st.caption(f"About **{many(estimate.tiles, 'tile')}**, at most {size_in_words(max(estimate.bytes, 10**6))}.")
    if not estimate.learnable:
        ignored = {c.value: c.name for c in schema.classes if c.ignore}
        why = (
            f"Every label is of a class that is never learnt ({plain(', '.join(ignored.values()))})"
            if labels["class_value"].isin(list(ignored)).all()
            else "No label to learn from touches the chosen imagery"
        )
        result = "the tiles would show nothing to learn" if estimate.tiles else "there would be no tile"
        st.warning(f"{why}, so {result}. Label something on the Label page first.", icon=":material/warning:")
    elif not estimate.tiles and (choice.mask is not None or (choice.settings is not None and choice.settings.inside_fully_labelled)):
        st.warning("No tile with something to learn lies completely inside the areas chosen.", icon=":material/warning:")
    elif not estimate.tiles:
        st.warning("The labels on the chosen imagery are too small for a tile.", icon=":material/warning:")
