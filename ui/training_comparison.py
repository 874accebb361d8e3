"""Two training runs side by side: settings that differ, curves in one chart, scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from models.card import Score
from training.monitor import measured
from training.runs import Run, differences
from ui.job_panel import seconds_in_words
from ui.problems import plain
from ui.training_view import LINE_COLUMNS, line_chart
from ui.wording import NO_HONEST_TEST


def compare_runs(one: Run, other: Run) -> None:
    """Draw the comparison."""
    names = _titles(one, other)
    _settings(one, other, names)
    if one.tiles != other.tiles:
        st.warning(
            "**Scored on different tiles.** The two learnt from different tile sets, so each was scored in places of its own: "
            "a higher score need not be a better model. The Compare page shows both on the same places.",
            icon=":material/warning:",
        )
    if not (one.is_honest and other.is_honest):
        st.warning(NO_HONEST_TEST, icon=":material/warning:")
    if one.measure and other.measure and one.measure != other.measure:
        st.warning(
            "**The two learn different things.** Their scores measure something else each and cannot be compared.",
            icon=":material/warning:",
        )
    _curves(one, other, names)
    _scores(one, other, names)


def score_rows(one: Run, other: Run, names: tuple[str, str]) -> list[dict[str, Any]]:
    """Score in percent of each class and set of tiles that one of the runs was scored on, and the difference in points."""
    scored = [{(s["on"], s["class"]): Score.model_validate(s).measured[1] for s in run.result.get("after", ())} for run in (one, other)]
    rows = []
    for on, name in dict.fromkeys([*scored[0], *scored[1]]):
        first, second = (None if (score := found.get((on, name))) is None else 100 * score for found in scored)
        change = None if first is None or second is None else second - first
        rows.append({"Class": name, "On": on, names[0]: first, names[1]: second, "Difference": change})
    return rows


def line_rows(one: Run, other: Run, names: tuple[str, str]) -> list[dict[str, Any]]:
    """The same of classes that are long and thin, by length: found, right, ways."""
    scored = [{(s.class_name, s.on): s for s in run.held_out if s.length_m} for run in (one, other)]
    rows = []
    for key in dict.fromkeys([*scored[0], *scored[1]]):
        for title, number in LINE_COLUMNS.items():
            first, second = (getattr(found.get(key), number, None) for found in scored)
            if first is not None or second is not None:
                row = {names[i]: None if value is None else 100 * value for i, value in enumerate((first, second))}
                change = None if first is None or second is None else 100 * (second - first)
                rows.append({"Class": f"{key[0]}: {title.lower()}"} | row | {"Difference": change})
    return rows


def _titles(one: Run, other: Run) -> tuple[str, str]:
    return (one.name, other.name) if one.name != other.name else (f"{one.name} ({one.folder.name})", f"{other.name} ({other.folder.name})")


def _settings(one: Run, other: Run, names: tuple[str, str]) -> None:
    if one.settings is None or other.settings is None:
        unread = names[0] if one.settings is None else names[1]
        st.warning(f"The settings of **{plain(unread)}** cannot be read.", icon=":material/warning:")
        return
    differing = differences(one.settings, other.settings)
    if not differing:
        st.markdown("**Settings**: all the same.")
        return
    st.markdown("**Settings that differ**")
    st.dataframe(pd.DataFrame(differing, columns=["Setting", *names]), hide_index=True, width="stretch")


def _curves(one: Run, other: Run, names: tuple[str, str]) -> None:
    pairs = list(zip(names, (one, other), strict=True))
    loss = [{"Epoch": e["epoch"], "Curve": name, "Loss": e["validation_loss"]} for name, run in pairs for e in run.epochs]
    found = [{"Epoch": e["epoch"], "Curve": name, "Score": measured(e).mean} for name, run in pairs for e in run.epochs]
    if not loss:
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Loss** on held-out tiles")
        st.altair_chart(line_chart(loss, "Loss", None))
    with right:
        st.markdown(f"**Mean {_measure(one, other)}** on held-out tiles")
        st.altair_chart(line_chart(found, "Score", (0.0, 1.0)))
    quick = [name for name, run in pairs if not run.epochs]
    if quick:
        st.caption(f"{plain(quick[0])} has no curve: it has no epochs.")
    if one.settings and other.settings and one.settings.loss != other.settings.loss:
        st.caption("The losses are counted differently: look at the scores.")


def _scores(one: Run, other: Run, names: tuple[str, str]) -> None:
    rows = score_rows(one, other, names)
    if rows:
        st.markdown(f"**Scores** ({_measure(one, other)})")
        percent = st.column_config.NumberColumn(format="%.0f %%")
        points = st.column_config.NumberColumn(format="%+.0f", help="In percent points.")
        by_tiles = list(dict.fromkeys(row["On"] for row in rows))
        for on in by_tiles:
            shown = [{k: v for k, v in row.items() if k != "On"} for row in rows if row["On"] == on]
            st.caption(plain(on[:1].upper() + on[1:]))
            st.dataframe(
                pd.DataFrame(shown), hide_index=True, width="stretch", column_config=dict.fromkeys(names, percent) | {"Difference": points}
            )
    lines = line_rows(one, other, names)
    if lines:
        st.markdown("**As lines**", help="What is long and thin, by its length; see the result of each run.")
        shown_as = dict.fromkeys(names, st.column_config.NumberColumn(format="%.0f %%"))
        st.dataframe(pd.DataFrame(lines), hide_index=True, width="stretch", column_config=shown_as | {"Difference": st.column_config.NumberColumn(format="%+.0f")})
    st.caption("  \n".join(_facts(name, run) for name, run in zip(names, (one, other), strict=True)))


def _measure(one: Run, other: Run) -> str:
    """What is measured of the two: 'IoU', or 'IoU, AP50' where they learn different things."""
    return ", ".join(dict.fromkeys(run.measure for run in (one, other) if run.measure)) or "score"


def _facts(name: str, run: Run) -> str:
    best = run.result.get("best_epoch")
    parts: Sequence[str] = [
        run.status.state,
        f"best epoch {best} of {len(run.epochs)}" if best else "",
        f"took {seconds_in_words(round(run.seconds))}" if run.seconds is not None else "",
    ]
    return f"**{plain(name)}**: {', '.join(part for part in parts if part)}."
