"""What a training does and what came of it: curves while it runs, scores before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from inference.verdict import doubt
from models.card import Score
from tiles.apart import is_marked
from training.monitor import measured
from training.run_folder import REPORT, read_found, read_settings
from training.settings import TrainingSettings
from ui.frame import next_step_link
from ui.problems import plain
from ui.settings_fields import extra_of
from ui.wording import NO_HONEST_TEST
from workspace.files import read_json
from workspace.jobs import events, job_status

STEP = "train_model"
CHART_HEIGHT_PX = 220
HARDLY_FOUND = 5.0
"""Recall, in percent, below which a new class counts as not learnt."""
FORGOTTEN = 5.0
"""Loss of IoU, in percent points, from which the page speaks of forgetting."""
COLOURS = ["#4361ee", "#ff9f1c", "#2a9d8f", "#8338ec", "#e63946", "#6c757d"]
MEASURES = {
    "IoU": "IoU: overlap of map and truth.",
    "AP50": "AP50: 100 % where all objects are found, the surest first, and nothing else; half an overlap is enough to have found one.",
    "F1": "F1: found and right in one number.",
}
"""What a score says, by its name."""
COLUMNS = {"IoU": "iou", "AP50": "ap50", "AP 50–95": "average_precision", "Found": "recall", "Right": "precision"}
"""Of a table of scores: title, and which number of a `models.card.Score`."""
LINE_COLUMNS = {"Found": "completeness", "Right": "correctness", "Ways": "apls"}
"""The same of what is long and thin, by its length."""
QUICK = "all_but_last_layer"
THOROUGHNESS: dict[str, str] = extra_of(TrainingSettings.model_fields["freeze"])["options"]


def curves(folder: Path) -> None:
    """Loss on the left; on the right how well each class is found on the held-out tiles, epoch by epoch."""
    epochs = [e for e in events(folder) if e["kind"] == "epoch"]
    if not epochs:
        if job_status(folder).state == "running" and read_settings(folder).freeze != QUICK:
            st.caption("The first points appear after the first epoch.")
        return
    loss = [
        {"Epoch": e["epoch"], "Curve": n, "Loss": e[k]} for e in epochs for n, k in (("training", "loss"), ("held out", "validation_loss"))
    ]
    measure = measured(epochs[-1]).name
    found = [{"Epoch": e["epoch"], "Curve": name, measure: value} for e in epochs for name, value in measured(e).by_class.items()]
    found += [
        {"Epoch": e["epoch"], "Curve": "old classes kept", measure: e["old_classes_iou"]}
        for e in epochs
        if e.get("old_classes_iou") is not None
    ]
    left, right = st.columns(2)
    with left:
        st.markdown("**Loss** (should fall)")
        st.altair_chart(line_chart(loss, "Loss", None))
    with right:
        st.markdown(f"**{measure}** on {plain(epochs[-1].get('on', 'held-out tiles'))} (should rise)", help=MEASURES.get(measure))
        st.altair_chart(line_chart(found, measure, (0.0, 1.0)))


def line_chart(rows: list[dict[str, Any]], value: str, domain: tuple[float, float] | None) -> alt.Chart:
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    return (
        alt.Chart(pd.DataFrame(rows, columns=["Epoch", "Curve", value]))
        .mark_line(point=True)
        .encode(
            x=alt.X("Epoch:Q", title=None, axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y(f"{value}:Q", title=None, scale=scale),
            color=alt.Color(
                "Curve:N", title=None, sort=None, scale=alt.Scale(range=COLOURS), legend=alt.Legend(orient="bottom", offset=0, padding=0)
            ),
            tooltip=["Curve", "Epoch", alt.Tooltip(f"{value}:Q", format=".3f")],
        )
        .properties(height=CHART_HEIGHT_PX)
    )


def found_rate(folder: Path) -> None:
    """The curve of the trial that found the learning rate, where there was one."""
    sweep = read_found(folder).get("sweep")
    if not sweep:
        return
    with st.expander(f"Learning rate found: {sweep['chosen']:.2g}", icon=":material/query_stats:"):
        points = pd.DataFrame({"Learning rate": sweep["rates"], "Loss": sweep["losses"]})
        rate = alt.X("Learning rate:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e", tickCount=5))
        line = alt.Chart(points).mark_line().encode(x=rate, y=alt.Y("Loss:Q", title=None, scale=alt.Scale(zero=False)))
        mark = alt.Chart(pd.DataFrame({"Learning rate": [sweep["chosen"]]})).mark_rule(color=COLOURS[1], strokeWidth=2).encode(x=rate)
        st.altair_chart((line + mark).properties(height=CHART_HEIGHT_PX))
        st.caption("Loss of a short trial, the rate rising from step to step. Taken is a tenth of where the loss was lowest (the line).")


def training_result(folder: Path, *, done: bool) -> None:
    """Before and after on tiles the model never learnt from."""
    try:
        found = read_json(folder / "result.json")
    except FileNotFoundError:
        return
    rows = score_rows(found)
    marked = any(is_marked(row["On"]) for row in rows)
    held_out = "1 tile" if found["held_out_tiles"] == 1 else f"{found['held_out_tiles']} tiles"
    if done:
        st.success(
            "**The new model is ready.**"
            + (f" Epoch {found['best_epoch']} was the best and is the one kept." if found["best_epoch"] else ""),
            icon=":material/check_circle:",
        )
    else:
        st.caption(f"The best so far is epoch {found['best_epoch']}; its model is kept and can be compared.")
    if marked:
        st.warning(NO_HONEST_TEST, icon=":material/warning:")
    for row in rows:
        st.markdown(f"- {sentence(row, row['Class'] in found['old_classes'])}")
    missed = [r["Class"] for r in rows if r["Class"] not in found["old_classes"] and (r["Found after"] or 0.0) < HARDLY_FOUND]
    if missed:
        how = "Train for more epochs" if found["best_epoch"] else f"Choose '{THOROUGHNESS['backbone']}' instead of quick"
        st.warning(
            f"**{', '.join(missed)}** is hardly found yet. {how}, or label more of it in different places and export again.",
            icon=":material/warning:",
        )
    if rows:
        for on in dict.fromkeys(row["On"] for row in rows):
            _table(on, [row for row in rows if row["On"] == on])
        where = f"{held_out} that were not kept apart" if marked else f"{held_out} in places of their own"
        st.caption(f"{_words(rows)} Scored on {where}, against your labels: what you did not draw there counts as wrong.")
    scores = [Score.model_validate(s) for s in found["after"]]
    if told := accuracy_told([e for e in events(folder) if e["kind"] == "epoch"], found["best_epoch"]):
        st.markdown(told)
    _lines(found)
    doubts = [doubt(f"**{plain(s.class_name)}**", s.blocks, s.likely_gain_range, s.measured[0]) for s in scores if s.blocks]
    if any(doubts):
        st.caption("  \n".join(filter(None, doubts)))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        next_step_link(STEP)
        report = folder / REPORT
        if report.exists():
            st.download_button(
                "Report",
                report.read_bytes(),
                file_name=f"{folder.name}.html",
                mime="text/html",
                icon=":material/lab_profile:",
                help="All of this as one file that opens in any browser: scores with their likely ranges, curves, what is taken for what, "
                "and pictures of the places where the model is most wrong.",
                on_click="ignore",
                key=f"report:{folder.name}",
            )


def accuracy_told(epochs: list[dict[str, Any]], best: int) -> str:
    """How many tiles the best epoch's model gives their class, with how sure that is; "" where no whole tiles were told apart."""
    facts = next((e for e in epochs if e["epoch"] == best and "accuracy" in e), None)
    if facts is None:
        return ""
    told = f"**{100 * facts['accuracy']:.0f} %** of the tiles are given exactly their classes"
    if "accuracy_range" not in facts:
        return f"{told}; the squares of ground they lie in are too few to tell how much of that is chance."
    low, high = facts["accuracy_range"]
    told += f" (likely {100 * low:.0f} to {100 * high:.0f} %)"
    if "accuracy_gain_range" not in facts:
        return f"{told}."
    less, more = facts["accuracy_gain_range"]
    chance = ": could be chance" if less <= 0 <= more else ""
    return f"{told}; against the base model {100 * less:+.0f} to {100 * more:+.0f} points{chance}."


def _lines(found: dict[str, Any]) -> None:
    """What is long and thin, by its length; nothing where nothing is."""
    rows = line_rows(found)
    if not rows:
        return
    st.markdown("**As lines**")
    percent = st.column_config.NumberColumn(format="%.0f %%")
    shown = pd.DataFrame(rows).dropna(axis="columns", how="all")
    st.dataframe(shown, hide_index=True, column_config={name: percent for name in shown.columns if name != "Class"})
    st.caption(
        "What is long and thin as drawn, like roads, measured along its middle. Found: share of the true length that has something of the class within "
        "3 m. Right: share of the length in the map that has something true so near. Ways: how alike the ways along both are in length; a way that is cut "
        "counts nothing (APLS)."
    )


def line_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each class that is long and thin, in percent: before, where the base model could be scored, and after."""
    before = {(s["class"], s["on"]): s for s in found["before"]}
    rows = []
    for s in found["after"]:
        if s.get("length_m"):
            old = before.get((s["class"], s["on"]), {})
            row: dict[str, Any] = {"Class": s["class"]}
            for title, k in LINE_COLUMNS.items():
                for when, value in (("before", old.get(k)), ("after", s.get(k))):
                    row[f"{title} {when}"] = None if value is None else 100 * value
            rows.append(row)
    return rows


def _words(rows: list[dict[str, Any]]) -> str:
    """What the columns say."""
    if any(row["AP50 after"] is not None for row in rows):
        more = "AP 50–95: the mean over stricter overlaps, up to 95 %. Found: share of the real objects that are found with a score of 50 % or more."
        return f"{MEASURES['AP50']} {more} Right: share of those that are real."
    if all(row["IoU after"] is None for row in rows):
        return "Found: share of the tiles of a class that are given it. Right: share of the tiles given a class that have it."
    return f"{MEASURES['IoU']} Found: share of the real thing that is in the map. Right: share of the map that is real."


def _table(on: str, rows: list[dict[str, Any]]) -> None:
    """The scores on one set of tiles, which the heading names."""
    st.markdown(f"**{plain(on[:1].upper() + on[1:])}**")
    shown = pd.DataFrame(rows).drop(columns="On").dropna(axis="columns", how="all")
    percent = st.column_config.NumberColumn(format="%.0f %%")
    st.dataframe(shown, hide_index=True, column_config={name: percent for name in shown.columns if name != "Class"})


def score_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each class and set of tiles: after, and before where the base model could be scored."""
    before = {(s["class"], s["on"]): s for s in found["before"]}
    rows = []
    for s in found["after"]:
        old = before.get((s["class"], s["on"]), {})
        row: dict[str, Any] = {"Class": s["class"], "On": s["on"]}
        for title, k in COLUMNS.items():
            for when, value in (("before", old.get(k)), ("after", s.get(k))):
                row[f"{title} {when}"] = None if value is None else 100 * value
        rows.append(row)
    return rows


def sentence(row: dict[str, Any], old: bool) -> str:
    """One row in words."""
    name, on = f"**{row['Class']}**", row["On"]
    before, after = row["IoU before"], row["IoU after"]
    if old and before is not None:
        change = f"{name} (known before), {on}: IoU {before:.0f} % → {after:.0f} %"
        if before - after > FORGOTTEN:
            return f"{change}: some of it was forgotten. Reminder tiles of this class hold it better."
        return f"{change}: {'it is remembered' if after - before <= FORGOTTEN else 'it got better'}."
    if row["AP50 after"] is not None:
        right = "" if row["Right after"] is None else f"; {row['Right after']:.0f} % of what is found is right"
        return f"{name}, {on}: {row['Found after']:.0f} % of the objects are found{right}."
    was = "" if row["Found before"] is None else f" (before: {row['Found before']:.0f} %)"
    return f"{name}, {on}: {row['Found after']:.0f} % of it is found{was}."
