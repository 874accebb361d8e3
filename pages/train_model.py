"""Step 4: choose tiles and a base model, train, watch, see what was learnt and what was forgotten; compare runs, and train again."""

from __future__ import annotations

import streamlit as st

from ui.frame import page_frame
from ui.problems import explained
from ui.training_form import KEY, training_form
from ui.training_runs import training_runs


def main() -> None:
    project = page_frame(KEY)
    left, right = st.columns([0.4, 0.6], gap="medium")
    with left, explained():
        training_form(project)
    with right, explained():
        training_runs(project)


main()
