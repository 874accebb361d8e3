"""What each step of a training that goes step by step has brought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from training.monitor import measured
from training.run_folder import read_result
from workspace.jobs import events


def steps_reached(folder: Path) -> None:
    """A row for each step so far: its best score on the held-out tiles and how long it took; nothing for a run without steps."""
    epochs = [e for e in events(folder) if e["kind"] == "epoch" and "rung" in e]
    rows = step_rows(epochs, read_result(folder).get("best_epoch", 0))
    if not rows:
        return
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            "Step": st.column_config.TextColumn(help="What learns in this step. Each starts from the best so far; where it gets no further, that stays."),
            "Seconds": st.column_config.NumberColumn(format="%.0f"),
            "Best": st.column_config.NumberColumn(format="%.0f %%", help="Mean over the classes on the held-out tiles, in the best epoch of this step."),
            "Kept": st.column_config.CheckboxColumn(help="The model that is kept is from this step."),
        },
    )


def step_rows(epochs: list[dict[str, Any]], best_epoch: int) -> list[dict[str, Any]]:
    """One for each step, in order; `Kept` where the best epoch of all lies."""
    rows: dict[str, dict[str, Any]] = {}
    for epoch in epochs:
        row = rows.setdefault(epoch["rung"], {"Step": epoch["rung"], "Epochs": 0, "Seconds": 0.0, "Best": None, "Kept": False})
        row["Epochs"] += 1
        row["Seconds"] += epoch["seconds"]
        score = measured(epoch).mean
        if score is not None and (row["Best"] is None or 100 * score > row["Best"]):
            row["Best"] = 100 * score
        row["Kept"] |= epoch["epoch"] == best_epoch
    return list(rows.values())
