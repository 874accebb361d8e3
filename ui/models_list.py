"""The list of cards on the Models page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from models.catalogue.choices import USUAL
from models.catalogue.fit import LEVELS, Imagery, overall
from models.catalogue.published import PROMPTABLE, Loader, PublishedModel
from models.catalogue.runs_here import held, runs_here
from ui.models_card import LEVEL_WORDS, MARKS
from ui.models_filter import KEY
from ui.models_pictures import picture
from ui.problems import plain

AT_ONCE = 15
HEIGHT_PX = 520
ROW = f"{KEY}_row"
_STYLE = f"""<style>
    [class*="st-key-{ROW}_"] {{padding: .3rem .6rem !important;}}
    [class*="st-key-{ROW}_"] [data-testid="stVerticalBlock"] {{gap: 0 !important;}}
    [class*="st-key-{ROW}_"] button {{min-height: 1.5rem; padding: 0;}}
    [class*="st-key-{ROW}_"] [data-testid="stCaptionContainer"] p {{margin: 0;}}
    [class*="st-key-{ROW}_"] [data-testid="stCaptionContainer"] {{margin-bottom: 0;}}
    </style>"""
_LOADERS: tuple[Loader, ...] = ("bundle", "timm", "torchgeo", "sam", "sam2", "torchvision-backbone", "arcgis", "")


def in_order(models: Sequence[PublishedModel], images: Sequence[Imagery]) -> list[PublishedModel]:
    """What runs here first; with imagery what suits it best before that."""

    def rank(model: PublishedModel) -> tuple[bool, int, float, int, int]:
        suits = overall(model, images)
        level, distance = (LEVELS.index(suits.level), suits.distance) if suits else (0, 0.0)
        if images and model.loader in PROMPTABLE:  # the magic wand takes any picture: no answer to what to start from
            level = len(LEVELS)
        usual = USUAL.index(model.name) if model.name in USUAL else len(USUAL)
        return not runs_here(model).yes, level, distance, _LOADERS.index(model.loader), usual

    return sorted(models, key=rank)


def model_list(models: Sequence[PublishedModel], images: Sequence[Imagery], chosen: str, store: Path, mirror: str) -> None:
    """Draw the cards in short; a click on one shows it in full."""
    shown = st.session_state.get(f"{KEY}:shown", AT_ONCE)
    st.html(_STYLE)
    with st.container(height=HEIGHT_PX, border=False):
        for model in models[:shown]:
            _row(model, images, chosen, store, mirror)
        if len(models) > shown and st.button(f"Show more ({len(models) - shown})", key=f"{KEY}:more", width="stretch"):
            st.session_state[f"{KEY}:shown"] = shown + AT_ONCE
            st.rerun()


def _row(model: PublishedModel, images: Sequence[Imagery], chosen: str, store: Path, mirror: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key=f"{ROW}_{model.name}"):
        st.image(picture(model.tasks), width=40)
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
        parts.append(":gray[bring in its .dlpk]" if here.state == "import" else ":gray[does not run here]")
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
