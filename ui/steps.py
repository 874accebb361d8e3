"""The five steps of the loop: names, pages, one sentence each, and how far a project has come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

PAGES = Path(__file__).resolve().parent.parent / "pages"


@dataclass(frozen=True)
class Step:
    """One step of the loop."""

    number: int
    key: str
    title: str
    icon: str
    sentence: str
    """What one does here, for everybody."""
    demo_sentence: str
    """The same for somebody trying the demo scene."""

    def page(self) -> StreamlitPage:
        return _page(f"{self.key}.py", f"{self.number} {self.title}", self.icon, self.key)


STEPS = (
    Step(
        1,
        "load_imagery",
        "Imagery",
        ":material/satellite_alt:",
        "Add the aerial or satellite pictures you want to work on.",
        "The demo scene is loaded: a desert edge with paved streets and dirt tracks. Look around, then go on.",
    ),
    Step(
        2,
        "draw_labels",
        "Label",
        ":material/draw:",
        "Draw what the model should learn to find.",
        "Press L and click along five to ten dirt tracks, in different parts of the picture; a double click ends a line.",
    ),
    Step(
        3,
        "export_tiles",
        "Tiles",
        ":material/grid_on:",
        "Cut imagery and labels into the small squares a model learns from.",
        "Leave everything as it is and press Export: labelled squares are cut, some kept aside for an honest test.",
    ),
    Step(
        4,
        "train_model",
        "Train",
        ":material/model_training:",
        "Teach a model that knows a bit already; only its last layers learn, so minutes are enough.",
        "Press Train: a model that knows paved roads learns your tracks. It takes about a minute, or seconds if quick.",
    ),
    Step(
        5,
        "preview_results",
        "Compare",
        ":material/compare:",
        "See the map before and after, with scores on places the model has not seen.",
        "Press Predict, then drag the divider: left is the old model, right is yours.",
    ),
)


def step(key: str) -> Step:
    """The step with this key (the name of its page file)."""
    return next(s for s in STEPS if s.key == key)


def start_page() -> StreamlitPage:
    return _page("start.py", "Start", ":material/home:", "start", default=True)


def models_page() -> StreamlitPage:
    """The catalogue of models, outside the loop."""
    return _page("find_model.py", "Models", ":material/shelves:", "models")


def _page(file: str, title: str, icon: str, path: str, default: bool = False) -> StreamlitPage:
    return st.Page(PAGES / file, title=title, icon=icon, url_path=None if default else path, default=default)
