"""The right side of the Train page: which run is shown, what can be done with it, what it does and what came of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from errors import TerratuneError
from models.card import CARD_FILE
from tiles.tile_set import list_tile_sets
from training.run_folder import MODEL, read_notes, write_notes
from training.runs import Run, delete_run, list_runs, run_again
from ui.job_panel import job_panel, seconds_in_words
from ui.problems import explained, plain
from ui.training_comparison import compare_runs
from ui.training_form import KEY, MODULE, fill_in, running, show_started
from ui.training_steps import steps_reached
from ui.training_view import MEASURES, QUICK, THOROUGHNESS, curves, found_rate, training_result
from workspace.project import Project

TABLE_PX = 900
"""Of the list of all runs, where there is room."""
NOTHING = ""
"""Stands for no other run to compare with."""


def training_runs(project: Project) -> None:
    """Draw the chosen run, or two of them side by side."""
    runs = list_runs(project)
    if not runs:
        if list_tile_sets(project.tiles_folder):
            _waiting(quick=st.session_state.get(f"{KEY}:freeze") == QUICK)
        return
    shown, other = _choose(runs)
    if other is not None:
        compare_runs(shown, other)
        return
    _actions(project, shown)
    folder = shown.folder
    status = job_panel(folder, MODULE, key=f"{KEY}:{folder.name}", details=lambda: _course(folder), kept=lambda: _kept(folder, shown))
    found_rate(folder)
    if status.state != "running":
        training_result(folder, done=status.state == "done")


def run_label(run: Run) -> str:
    """'Unpaved road 3 quick', 'Unpaved road 4 (cancelled)'."""
    return run.name if run.status.state == "done" else f"{run.name} ({run.status.state})"


def _choose(runs: Sequence[Run]) -> tuple[Run, Run | None]:
    """The run named in the address, else the newest; and the one to compare it with."""
    by_id = {run.folder.name: run for run in runs}
    shown = by_id.get(st.query_params.get("run", ""), runs[0])
    if len(runs) == 1:
        return shown, None
    labels = {run_id: run_label(run) for run_id, run in by_id.items()}
    left, right, table = st.columns([5, 5, 4], vertical_alignment="bottom")
    with left:
        _box("Run", "run", shown.folder.name, labels)
    others = {NOTHING: "Nothing"} | {run_id: label for run_id, label in labels.items() if run_id != shown.folder.name}
    against = st.query_params.get("against", NOTHING)
    with right:
        _box("Compare with", "against", against if against in others else NOTHING, others)
    with table.popover(f"All {len(runs)} runs", icon=":material/list:", width="stretch"):
        _table(runs)
    return shown, by_id.get(against) if against in others else None


def _box(title: str, name: str, value: str, labels: dict[str, str]) -> None:
    """A choice that is kept in the address."""
    options = list(labels)
    # the labels are part of the key: a box shows the labels it was made with
    picked = st.selectbox(
        title,
        options,
        index=options.index(value),
        format_func=labels.__getitem__,
        key=f"{KEY}:{name}:{value}:{hash(tuple(labels.values()))}",
    )
    if picked == value:
        return
    if picked == NOTHING:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = picked
    st.rerun()


def _table(runs: Sequence[Run]) -> None:
    rows = [
        {
            "Run": run.name,
            "State": run.status.state,
            "When": dt.datetime.fromtimestamp(run.made).astimezone(),
            "How": THOROUGHNESS[run.settings.freeze].split(" (")[0] if run.settings else "",
            "Score": None if run.score is None else 100 * run.score,
            "Measure": run.measure,
            "Took": "" if run.seconds is None else seconds_in_words(round(run.seconds)),
            "Base model": run.base,
            "Tiles": run.tiles,
            "Notes": read_notes(run.folder),
        }
        for run in runs
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width=TABLE_PX,
        column_config={
            "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
            "Score": st.column_config.NumberColumn(format="%.0f %%", help="Mean over the classes, on the held-out tiles."),
            "Measure": st.column_config.TextColumn(help=f"What the score is. {' '.join(MEASURES.values())}"),
        },
    )
    if not all(run.is_honest for run in runs):
        st.caption("Not every score is from tiles that were kept apart from training; look at the run.")


def _actions(project: Project, run: Run) -> None:
    """What can be done with a run, in one line."""
    name, at_work = run.folder.name, run.status.state == "running"
    with st.container(horizontal=True, vertical_alignment="center"):
        again = "The same tiles, settings and seed once more, as a new run: it comes to the same numbers."
        if st.button(
            "Train again",
            key=f"{KEY}:again:{name}",
            icon=":material/replay:",
            help=again,
            disabled=run.settings is None or running(project),
        ):
            with explained():
                show_started(run_again(project, run))
        st.button(
            "Change and train",
            key=f"{KEY}:change:{name}",
            icon=":material/edit:",
            help="Fills the form on the left with the settings of this run.",
            disabled=run.settings is None,
            on_click=fill_in,
            args=(name,),
        )
        notes = read_notes(run.folder)
        with st.popover("Notes", icon=":material/sticky_note_2:" if notes else ":material/note_add:", key=f"{KEY}:noting:{name}"):
            key = f"{KEY}:notes:{name}"
            st.text_area(
                "Notes on this run", value=notes, key=key, max_chars=2000, height=140, on_change=_save_notes, args=(run.folder, key)
            )
        # of this run: one without a name of its own would stay open over the next run, ready to delete that, too
        with st.popover("Delete", icon=":material/delete:", disabled=at_work, key=f"{KEY}:deleting:{name}"):
            st.markdown(f"Delete **{plain(run.name)}** with its curves, log and notes? {_stays(run)}")
            if st.button("Yes, delete it", key=f"{KEY}:delete:{name}"):
                with explained():
                    delete_run(run.folder)
                    st.query_params.pop("run", None)
                    st.query_params.pop("against", None)
                    st.rerun()
    if notes:
        st.caption(plain(notes))


def _course(folder: Path) -> None:
    curves(folder)
    steps_reached(folder)


def _save_notes(folder: Path, key: str) -> None:
    try:
        write_notes(folder, st.session_state[key].strip())
    except TerratuneError as error:
        st.toast(f"The note is not kept. {plain(error.fact)}", icon=":material/error:")


def _stays(run: Run) -> str:
    place = run.settings.publish_to if run.settings else None
    if place and (Path(place) / CARD_FILE).exists():
        return "The model it made stays among the base models, and so do the maps made with it."
    return "Its model goes with it." if (run.folder / MODEL / CARD_FILE).exists() else "It has made no model."


def _kept(folder: Path, run: Run) -> str:
    """What a run leaves when it is stopped now."""
    if (folder / MODEL / CARD_FILE).exists():
        return "The best epoch so far is kept; it can go on from the last."
    if run.settings is not None and run.settings.freeze == QUICK:
        return "A quick training keeps nothing before it ends; it takes seconds to start it anew."
    return "Nothing is kept before the first epoch ends."


def _waiting(*, quick: bool) -> None:
    what = "scores" if quick else "curves"
    with st.container(border=True, height=300, vertical_alignment="center", horizontal_alignment="center"):
        st.markdown(f"##### :material/show_chart: The {what} appear here", width="content")
        should = "" if quick else "Loss should fall; the score on the held-out tiles should rise. "
        st.caption(f"{should}You may close the page: training goes on.", width="content")
