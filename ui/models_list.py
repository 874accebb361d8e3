"""The list of cards on the Models page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from models.catalogue.fit import LEVELS, Imagery, overall
from models.catalogue.published import PublishedModel
from models.catalogue.runs_here import held, runs_here
from ui.models_card import LEVEL_WORDS, MARKS
from ui.models_filter import KEY
from ui.models_pictures import picture
from ui.problems import plain

AT_ONCE = 15
HEIGHT_PX = 520


def in_order(models: Sequence[PublishedModel], images: Sequence[Imagery]) -> list[PublishedModel]:
    """What runs here first; with imagery what suits it best before that."""

    def rank(model: PublishedModel) -> tuple[bool, int, float]:
        suits = (
            overall(model, images) if model.loader != "sam" else None
        )  # the magic wand takes any picture: no answer to what to start from
        return not runs_here(model).yes, LEVELS.index(suits.level) if suits else 0, suits.distance if suits else (9.0 if images else 0.0)

    return sorted(models, key=rank)


def model_list(models: Sequence[PublishedModel], images: Sequence[Imagery], chosen: str, store: Path, mirror: str) -> None:
    """Draw the cards in short; a click on one shows it in full."""
    shown = st.session_state.get(f"{KEY}:shown", AT_ONCE)
    with st.container(height=HEIGHT_PX, border=False):
        for model in models[:shown]:
            _row(model, images, chosen, store, mirror)
        if len(models) > shown and st.button(f"Show more ({len(models) - shown})", key=f"{KEY}:more", width="stretch"):
            st.session_state[f"{KEY}:shown"] = shown + AT_ONCE
            st.rerun()


def _row(model: PublishedModel, images: Sequence[Imagery], chosen: str, store: Path, mirror: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.html(picture(model.tasks, 44), width="content")
        with st.container(gap=None):
            title = f"**{plain(model.title)}**" if model.name == chosen else plain(model.title)
            if st.button(title, key=f"{KEY}:open:{model.name}", type="tertiary"):
                st.query_params["model"] = model.name
                st.rerun()
            st.caption(_in_short(model, images, store, mirror))


def _in_short(model: PublishedModel, images: Sequence[Imagery], store: Path, mirror: str) -> str:
    parts = []
    here = runs_here(model)
    if held(model, store, mirror) is not None:
        parts.append(":green[on this machine]")
    elif not here.yes:
        parts.append(":gray[import its .dlpk]" if here.state == "import" else ":gray[does not run here]")
    if model.resolution_m:
        low, high = model.resolution_m
        parts.append(f"{low:g} m" if low == high else f"{low:g}–{high:g} m")
    if model.megabytes and model.loader != "bundle":
        parts.append(f"{model.megabytes:,.0f} MB")
    parts.append(plain(model.licence or "licence not stated"))
    suits = overall(model, images)
    if suits is not None:
        parts.insert(0, f"{MARKS[suits.level]} {LEVEL_WORDS[suits.level]}")
    return " · ".join(parts)
