"""Scores and areas of both models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from inference.report import Report, ScoreReport, Table, area_text
from inference.verdict import chances, findings
from tiles.apart import is_marked
from tiles.certainty import LEAST_BLOCKS
from ui.comparison.choices import KEY
from ui.problems import plain
from ui.wording import NO_HONEST_TEST

TWICE = "Some of these pictures overlap: of all pictures together, ground that two of them show counts twice."
RANGE = "Likely range"
SCORE_HELP = {
    "IoU": "Overlap of the predicted and the true area, divided by what both cover together. 1 is perfect, 0 is none.",
    "Recall": "Of what is really there, the share that was found.",
    "Precision": "Of what was marked, the share that is right.",
    RANGE: "Where the IoU after would lie in 95 of 100 cases, had other ground of the same kind been kept aside (squares of it drawn anew).",
}


def scores_tab(report: Report) -> None:
    if report.held_out is None and report.truth is None:
        st.info(
            "No held-out places lie on these pictures, so there are no scores. The map and the areas are there all the same.",
            icon=":material/info:",
        )
        return
    if report.truth is not None:
        verdict(report, report.truth)
        st.caption("Measured against the exact truth of the whole demo scene, the places the model learnt from included.")
        score_table(report, report.truth)
        if report.held_out is not None:
            with st.expander("On the places kept aside, against your labels only"):
                held_out_scores(report, report.held_out)
    elif report.held_out is not None:
        held_out_scores(report, report.held_out)


def held_out_scores(report: Report, scores: ScoreReport) -> None:
    """The honest measure for everybody's own imagery."""
    verdict(report, scores)
    count = len(scores.places)
    unseen = "" if is_marked(scores.on) else " the model has not learnt from"
    if unseen == "":
        st.warning(NO_HONEST_TEST, icon=":material/warning:")
    st.caption(
        f"Measured on {plain(scores.on)}: {count} place{'s' if count != 1 else ''}, {scores.after.pixels:,} pixels{unseen}. "
        "What you did not draw there counts as wrong, even if it is right: draw everything in those places, or mark what you leave out as uncertain."
    )
    score_table(report, scores)
    if count > 1:
        with st.expander(f"Place by place ({count})"):
            place_table(report, scores)


def verdict(report: Report, scores: ScoreReport) -> None:
    """What the numbers say, in sentences; forgetting first of all."""
    tones = {"new": "**{}**: {}", "good": ":green[**{}**: {}]", "bad": ":orange[**{}**: {}]"}
    lines = [f"{tones[one.tone].format(plain(one.name), one.said)} {one.detail}" for one in findings(report, scores)]
    st.markdown("  \n".join(lines) or "The held-out places hold none of the classes.")
    sure = chances(report, scores, lambda name: f"**{plain(name)}**")
    if sure:
        st.markdown("More than chance?  \n" + "  \n".join(sure))


def score_table(report: Report, scores: ScoreReport) -> None:
    """Three lines for each class: what was measured, before and after."""
    ranges = any(one.after for one in scores.certainty)
    rows: list[dict[str, Any]] = []
    for c in report.classes:
        old, new = scores.before.of(c.value), scores.after.of(c.value)
        if old is None or new is None or not (new.truth_pixels or new.predicted_pixels or old.predicted_pixels):
            continue
        there, sure = new.truth_pixels > 0, scores.certainty_of(c.value)
        measured = (("IoU", old.iou, new.iou), ("Recall", old.recall, new.recall), ("Precision", old.precision, new.precision))
        for index, (name, *pair) in enumerate(measured):
            before, after = pair if there else (None, None)
            truth = f"{new.truth_pixels:,} true pixels" if there else "not labelled there"
            counted = truth if index == 1 else f"{new.predicted_pixels:,} marked" if index == 2 else c.name
            rows.append({"Class": counted, "Measure": name, "Before": two_digits(before), "After": two_digits(after)})
            if ranges:
                known = sure.after if name == "IoU" and sure is not None else None
                rows[-1][RANGE] = f"{known.low:.2f} – {known.high:.2f}" if known else ""
    st.dataframe(rows, hide_index=True, height=36 + 35 * len(rows) if len(rows) <= 6 else 250)
    explained = SCORE_HELP if ranges else {name: text for name, text in SCORE_HELP.items() if name != RANGE}
    with st.popover("What these numbers mean", type="tertiary", icon=":material/help:"):
        st.markdown("  \n".join(f"**{name}**: {text}" for name, text in explained.items()))


def place_table(report: Report, scores: ScoreReport) -> None:
    rows = []
    for place in scores.places:
        row: dict[str, Any] = {"Picture": place.raster, "Place": place.place}
        for c in report.classes:
            old, new = place.before.of(c.value), place.after.of(c.value)
            if any(p.after.of(c.value) and p.after.of(c.value).truth_pixels for p in scores.places):  # type: ignore[union-attr]
                row[f"{c.name}: IoU before"] = old.iou if old else None
                row[f"{c.name}: IoU after"] = new.iou if new else None
        rows.append(row | {"Pixels": place.after.pixels})
    numbers_format = {name: st.column_config.NumberColumn(format="%.2f") for name in rows[0] if "IoU" in name}
    st.dataframe(rows, hide_index=True, height=min(38 + 35 * len(rows), 250), column_config=numbers_format)
    st.caption("An empty cell: neither the truth nor the model has this class there.")


def areas_tab(report: Report, twice: bool) -> None:
    """Ground of each class on one picture or on all; `twice`: some of the pictures lie over one another."""
    names = (
        {"All pictures": report.total, **{r.name: r.table for r in report.rasters}}
        if len(report.rasters) > 1
        else {report.rasters[0].name: report.total}
    )
    picked = st.selectbox("Picture", list(names), label_visibility="collapsed", key=f"{KEY}:areas") if len(names) > 1 else next(iter(names))
    table = names[picked]
    if twice:
        st.caption(f":material/info: {TWICE}")
    st.dataframe(area_rows([c.name for c in report.classes], table), hide_index=True)
    st.caption(
        "Ground area, measured on the ellipsoid. **Gained**: was background before. **Lost**: is background now. **Became another**: had this class before, has another one now."
    )
    if report.held_out is not None:
        true_area(report, report.held_out)
    with st.expander("Change table"):
        labels = ["Background", *(c.name for c in report.classes)]
        st.dataframe(
            [
                {"Before ↓ · After →": labels[i], **{name: area_text(v) for name, v in zip(labels, row, strict=True)}}
                for i, row in enumerate(table.area_m2)
            ],
            hide_index=True,
        )


def area_rows(names: Sequence[str], table: Table, sides: tuple[str, str] = ("Before", "After")) -> list[dict[str, str]]:
    """One line for each class of a change table: how much there is on both sides, and what became of it."""
    left, right = table.before_m2(), table.after_m2()
    gained, lost, flipped = table.gained_m2(), table.lost_m2(), table.flipped_m2()
    return [
        {
            "Class": name,
            sides[0]: area_text(left[i]),
            sides[1]: area_text(right[i]),
            "Gained": area_text(gained[i]),
            "Lost": area_text(lost[i]),
            "Became another": area_text(flipped[i]),
        }
        for i, name in enumerate(names, 1)
    ]


def true_area(report: Report, scores: ScoreReport) -> None:
    """What the map's areas become when its mistakes on the held-out places are taken into account."""
    mapped = dict(zip((c.value for c in report.classes), report.total.after_m2()[1:], strict=True))
    names = {c.value: plain(c.name) for c in report.classes}
    lines = [
        f"**{names[one.value]}**: {area_text(one.area.m2)}, likely between {area_text(one.area.low, one.area.m2)} and {area_text(one.area.high, one.area.m2)} "
        f"(the map says {area_text(mapped[one.value])}{exact(report, one.value)})."
        for one in scores.areas
        if one.area is not None
    ]
    if not lines:
        if scores.areas:
            st.caption(
                f"How much there truly is cannot be told from the held-out places: a class must lie in at least {LEAST_BLOCKS} squares of them, "
                "and they must show every class of the map."
            )
        else:
            st.caption(
                "How much there truly is can be estimated from the places kept aside only where everything is drawn there: mark **fully labelled areas** "
                "on the Label page (key I), export and train anew."
            )
        return
    untold = [names[one.value] for one in scores.areas if one.area is None]
    where = " on all pictures" if len(report.rasters) > 1 else ""
    st.markdown(f"**How much there truly is{where}**, corrected by the map's mistakes on the held-out places:  \n" + "  \n".join(lines))
    if untold:
        st.caption(f"Not told of {', '.join(untold)}: a class must lie in at least {LEAST_BLOCKS} squares of the held-out places.")
    with st.popover("What this assumes", type="tertiary", icon=":material/help:"):
        st.markdown(
            "A map marks too much here and misses something there. On the places kept aside your labels say how much, and the map's areas are corrected by that. "
            "This is right as far as **those places are like the rest of the pictures**, and **everything is drawn in your fully labelled areas**: what you did not "
            "draw there counts as background. *Likely*: in 95 of 100 cases, had other ground of the same kind been kept aside.  \n"
            "The method: stratified estimator of Olofsson and others (2014), squares of ground about a tile wide as the sample."
        )


def exact(report: Report, value: int) -> str:
    """The true area of a class where it is known (the demo scene), in words."""
    known = report.truth.after.of(value) if report.truth else None
    if known is None or report.truth is None or not report.truth.after.pixels:
        return ""
    return f", the exact truth of the demo scene {area_text(sum(report.total.after_m2()) * known.truth_pixels / report.truth.after.pixels)}"


def two_digits(score: float | None) -> str:
    """A dash where there was nothing to measure."""
    return "–" if score is None else f"{score:.2f}"
