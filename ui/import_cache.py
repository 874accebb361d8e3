"""What the open Import dialog has worked out already, so that a rerun does not do it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from errors import TerratuneError

_CACHE = "import_cache"


def kept(name: str, key: Any, make: Callable[[], Any]) -> Any:
    """What `make` gave for this key, as long as the dialog is open; an error that it returned is raised."""
    cache = st.session_state.setdefault(_CACHE, {})
    if name not in cache or cache[name][0] != key:
        cache[name] = (key, make())
    result = cache[name][1]
    if isinstance(result, TerratuneError):
        raise result
    return result


def forget() -> None:
    """The dialog is away."""
    st.session_state.pop(_CACHE, None)
