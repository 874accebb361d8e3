"""What the colours of a map mean, in a line below it."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st


def legend(entries: Sequence[tuple[str, str]], hint: str = "") -> None:
    """What the colours mean."""
    shown = [
        f'<span style="white-space:nowrap"><span style="color:{colour}">&#9632;</span> {html.escape(text)}</span>' for text, colour in entries
    ]
    st.html("&emsp;".join([*shown, *([f'<span style="opacity:.65;font-size:.85em">{html.escape(hint)}</span>'] if hint else [])]))
