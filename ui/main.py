"""The page list. One folder below app.py: beside pages/ Streamlit would also discover the pages by itself."""

from __future__ import annotations

import streamlit as st

from ui.steps import STEPS, models_page, start_page

st.set_page_config(page_title="Terratune", page_icon="🛰️", layout="wide", initial_sidebar_state="collapsed")
st.html(
    """<style>
    [data-testid="stMainBlockContainer"] {padding: 3.6rem 1.25rem 1rem;}
    [data-testid="stVerticalBlock"] {gap: .6rem;}
    h1 {font-size: 1.45rem !important; padding: .1rem 0 .1rem !important;}
    h2 {font-size: 1.15rem !important;} h3 {font-size: 1rem !important;}
    </style>"""
)
page = st.navigation([start_page(), *(step.page() for step in STEPS), models_page()], position="top")
page.run()
