"""Errors as screen text: what happened and what to do next, never a stack trace."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException

from errors import TerratuneError
from workspace.files import FREE_SPACE, is_disk_full

_log = logging.getLogger("terratune.pages")


def show_problem(fact: str, remedy: str = "") -> None:
    """One red box: the fact in bold, the remedy below."""
    st.error(f"**{plain(fact)}**" + (f"  \n{plain(remedy)}" if remedy else ""), icon=":material/error:")


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Run a block; show what goes wrong as text and let the rest of the page go on."""
    try:
        yield
    except (RerunException, StopException):
        raise
    except TerratuneError as error:
        show_problem(error.fact, error.remedy)
    except Exception as error:
        if is_disk_full(error):
            show_problem("The server's disk is full.", FREE_SPACE)
            return
        _log.exception("A page failed")
        show_problem(
            "Something unexpected went wrong.", "Nothing you made is lost. The server's log says more; reloading the page may help."
        )


def plain(text: str) -> str:
    """Keep names with markup characters from being read as Markdown."""
    for mark in "\\`*_[]$<:~":
        text = text.replace(mark, "\\" + mark)
    return text
