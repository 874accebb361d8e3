"""What is wrong with a tile set, said before anybody trains on it: at once what names and side files tell, a moment later what pixels tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path

import streamlit as st

from tiles import layout
from tiles.formats.base import Finding
from tiles.tile_set import RECORD_FILE, TileSet
from tiles.validate import quick_findings, validate_tile_set
from training.settings import TrainingSettings
from ui.problems import plain, show_problem
from ui.wording import many

SHOWN = 3
"""Kinds of findings told in full; the rest is in a table."""
PATIENCE_S = 0.3
"""A small set is looked through in this time: then nothing jumps on the page."""
KEPT = 32
"""Sets whose findings are remembered."""
_FIELD = TrainingSettings.model_fields["train_despite_leak"]

Identity = tuple[str, ...]

_lock, _one_at_a_time = threading.Lock(), threading.Lock()
_looks: dict[Identity, _Look] = {}


class _Look:
    """Findings that come in two parts, from a thread."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.quick: Future[list[Finding]] = Future()
        self.whole: Future[list[Finding]] = Future()

    def run(self, folder: Path) -> None:
        """Look; what goes wrong is raised to who asks."""
        for answer, look in ((self.quick, quick_findings), (self.whole, validate_tile_set)):
            with _one_at_a_time:
                try:
                    answer.set_result(look(folder))
                except BaseException as error:
                    answer.set_exception(error)

    def so_far(self) -> tuple[list[Finding], bool]:
        """What is found by now, and whether that is all."""
        try:
            return self.whole.result(max(0.0, self.begun + PATIENCE_S - time.monotonic())), True
        except NotYet:
            return (self.quick.result() if self.quick.done() else []), False


def tile_check(tiles: TileSet, usual: TrainingSettings, *, key: str) -> tuple[bool, bool]:
    """Show the findings. The run looks again before it starts, and refuses in the same words.

    Args:
        tiles: The chosen set.
        usual: What was chosen last.
        key: Of the page.

    Returns:
        Whether nothing keeps training from starting, and whether the person insists on tiles whose validation is not kept apart.
    """
    look = _look_at(tiles.folder)
    found, whole = look.so_far()
    if not whole:
        st.fragment(_wait, run_every=1.0)(look, look.quick.done())
    grave, leaks, light = ([f for f in found if f.harm in harms] for harms in (("grave",), ("leak",), ("elsewhere", "none")))
    insists = False
    if grave:
        show_problem(
            "These tiles cannot be trained on.", f"{many(len(grave), 'thing')} in them would make it fail, or teach what is wrong."
        )
        _list(grave)
    if leaks:
        st.warning(
            f"**{many(len(leaks), 'reason')} why the test would not be honest.** The tiles kept for the test are not apart from those to learn from.",
            icon=":material/warning:",
        )
        _list(leaks)
        before = usual.train_despite_leak and usual.tiles == str(tiles.folder)
        insists = st.checkbox(_FIELD.title or "", before, help=_FIELD.description, key=f"{key}:insist:{tiles.name}")
    if light:
        with st.expander(f"{many(len(light), 'thing')} worth knowing about these tiles", icon=":material/info:"):
            _table(light)
    return not grave and (insists or not leaks), insists


def _list(findings: Sequence[Finding]) -> None:
    """One of each kind in full; all of them in a table where there are more."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        kinds.setdefault((one.expected, one.remedy), []).append(one)
    for first, *others in list(kinds.values())[:SHOWN]:
        more = f" {len(others)} more like it." if others else ""
        st.markdown(f"- {plain(first.fact)}{more}  \n  {plain(first.remedy)}")
    if len(findings) > min(len(kinds), SHOWN):
        with st.expander(f"All {len(findings)}"):
            _table(findings)


def _table(findings: Sequence[Finding]) -> None:
    rows = [{"File": f.file, "Expected": f.expected, "Found": f.found, "What to do": f.remedy} for f in findings]
    st.dataframe(rows, hide_index=True, height=min(36 + 35 * len(rows), 250))


def _wait(look: _Look, told: bool) -> None:
    """While the tiles are looked through; runs the page again as soon as there is more to tell than it told."""
    if look.whole.done() or (look.quick.done() and not told):
        st.rerun(scope="app")
    st.caption(":material/hourglass_empty: Looking through the tiles ...")


def _look_at(folder: Path) -> _Look:
    """The look at a set as it is now, begun on the first call."""
    identity = _identity(folder)
    with _lock:
        if identity not in _looks:
            while len(_looks) >= KEPT:
                del _looks[next(iter(_looks))]
            _looks[identity] = _Look()
            threading.Thread(target=_looks[identity].run, args=(folder,), name="tile-check", daemon=True).start()
        return _looks[identity]


def _identity(folder: Path) -> Identity:
    """Changes whenever files come, go, or side files are written; pictures overwritten in their place are found by the run itself."""
    parts = (".", layout.IMAGES, layout.LABELS, RECORD_FILE, *layout.SIDE_FILES)
    return str(folder), *(str((folder / part).stat().st_mtime_ns) for part in parts if (folder / part).exists())
