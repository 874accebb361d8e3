"""What is chosen under "More options": every further setting of a training, under a heading, where it has a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from training.settings import GROUPS, NETWORKS, NetworkName, TrainingSettings
from training.tasks import Kind, heeds
from ui.settings_fields import Offers, extra_of, settings_field, title_of

WIDTH_PX = 214
"""Of a field: two side by side in the form."""
_FIELDS = TrainingSettings.model_fields


def more_options(
    usual: TrainingSettings,
    networks: Mapping[NetworkName, str],
    kind: Kind,
    learnt: Sequence[str],
    kept: Sequence[str],
    *,
    quick: bool,
    key: str,
) -> dict[str, Any]:
    """Draw the settings that have a part in this training; the others stay as in `usual`.

    Args:
        usual: To start from.
        networks: That can learn from the tile set, with titles.
        kind: What is learnt.
        learnt: Names of the tile set's classes.
        kept: Names of classes that the base model knows and keeps.
        quick: Only the last layer is fitted.
        key: Beginning of the widgets' keys.
    """
    chosen = {name: getattr(usual, name) for name in _FIELDS if "group" in extra_of(_FIELDS[name])}
    with st.expander("More options", icon=":material/tune:", key=f"{key}:advanced"):
        for group in GROUPS:
            names = [name for name in chosen if extra_of(_FIELDS[name])["group"] == group]
            if not any(_has_part(name, chosen, kind, quick=quick) for name in names):
                continue
            st.markdown(f"**{group}**")
            with st.container(horizontal=True, vertical_alignment="bottom"):
                for name in names:
                    if _has_part(name, chosen, kind, quick=quick):
                        classes = learnt if name == "ignore_classes" else list(dict.fromkeys([*learnt, *kept]))
                        offers: Offers = {"class": {c: c for c in classes}, "network": {"auto": NETWORKS["auto"]} | dict(networks)}
                        with st.container(width=2 * WIDTH_PX if name == "network" else WIDTH_PX):  # its words are long
                            chosen[name] = settings_field(TrainingSettings, name, chosen[name], offers=offers, key=f"{key}:{name}")
    changed = [
        title_of(TrainingSettings, name)
        for name in chosen
        if _has_part(name, chosen, kind, quick=quick) and _is_changed(name, chosen[name])
    ]
    if changed:
        st.caption(f"Not as usual: {', '.join(changed)}.")
    return chosen


def _is_changed(name: str, value: Any) -> bool:
    """Numbers that may be left empty come as text."""
    return str(value) != str(_FIELDS[name].default)


def _has_part(name: str, chosen: dict[str, Any], kind: Kind, *, quick: bool) -> bool:
    extra = extra_of(_FIELDS[name])
    needs = extra.get("only_with")
    heeded = heeds(kind, name) and (not quick or bool(extra.get("quick")))
    return heeded and (needs is None or chosen[needs[0]] == needs[1])
