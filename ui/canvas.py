"""The map on the page: a Streamlit component (no iframe) that draws a leafmap map and keeps still on reruns.

View, tool and selection belong to the browser; a rerun only redraws layers that changed. Labels never pass through
Streamlit: the canvas exchanges them with the routes of server/labels.py and tells Python afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import leafmap.foliumap as leafmap
import streamlit as st

from ui.maps import map_document
from workspace.classes import ClassSchema

ASSETS = Path(__file__).resolve().parent / "assets"

# The component's own script only finds the app's base address and hands over to assets/canvas.js.
_LOADER = """
const base = () => {
  const script = document.querySelector('script[src*="static/js/"]');
  return script ? script.src.split('static/js/')[0] : new URL('.', location.href).href;
};
window.__terratuneBase = window.__terratuneBase || base();
export default function (component) {
  const address = window.__terratuneBase + 'assets/canvas.js?v=' + component.data.version;
  const box = component.parentElement.querySelector('.tt-canvas');
  let canvas = null;
  import(address).then((module) => { canvas = module; module.render(component, box); }).catch((error) => {
    console.error(error);
    box.textContent = 'The map could not be loaded from the server. Reload the page to try again.';
  });
  return () => { if (canvas) canvas.leave(box); };
}
"""
_component = st.components.v2.component(
    "terratune_canvas",
    html='<div class="tt-canvas" style="min-height:120px"></div>',
    js=_LOADER,
    isolate_styles=False,
)


@dataclass(frozen=True)
class LabelMapState:
    """What the label map last told Python."""

    revision: int
    """Journal revision the map has seen; changes after each saved edit."""
    selected: str | None
    """Object id of the label selected on the map."""
    class_value: int | None
    """Class that new labels get."""


def view_map(m: leafmap.Map, *, key: str, height: int = 560) -> None:
    """Show `m`; nothing on it can be edited. Its view survives reruns and leaving the page.

    Args:
        m: From `ui.maps.new_map`.
        key: Names the map within the app; the same key keeps the view.
        height: In CSS pixels.
    """
    _component(key=key, data={"mode": "view", "key": key, "version": assets_version(), "height": height, "map": map_document(m)})


def label_map(
    m: leafmap.Map,
    *,
    key: str,
    token: str,
    journal_id: str,
    schema: ClassSchema,
    height: int = 560,
    line_width_m: float | None = None,
    command: Mapping[str, Any] | None = None,
) -> LabelMapState:
    """Show `m` with the project's labels on it, and tools to draw and change them.

    Args:
        m: From `ui.maps.new_map`.
        key: Names the map within the app; the same key keeps view and tool.
        token: Names the project to the label routes.
        journal_id: `LabelJournal.id`; edits not yet saved are kept in the browser under it.
        schema: Classes to draw with.
        height: In CSS pixels.
        line_width_m: Width that lines (diameter that points) drawn from now on get, in metres; None: none of their own.
        command: One thing to do now, once: `{"id": unique, "kind": "zoom" | "select" | "delete" | "reclassify" | "width",
            "object_ids": [...], "class_value": ..., "width_m": ...}`.

    Returns:
        What the map last said; the page reruns (only its fragment, when called in one) after each saved edit.
    """
    result = _component(
        key=key,
        data={
            "mode": "label",
            "key": key,
            "version": assets_version(),
            "height": height,
            "map": map_document(m),
            "token": token,
            "journal": journal_id,
            "classes": [c.model_dump(include={"value", "name", "colour", "ignore"}) for c in schema.classes],
            "lineWidth": line_width_m,
            "command": dict(command) if command else None,
        },
        default={"labels": {}},
        on_labels_change=_nothing,
    )
    said = dict(result.labels or {})
    return LabelMapState(int(said.get("revision") or 0), said.get("selected"), said.get("class_value"))


def _nothing() -> None:
    """Streamlit only keeps a component's state when a callback is named."""


@cache
def assets_version() -> str:
    """Changes with any of the app's own scripts, so that a browser never mixes two releases."""
    digest = hashlib.sha256()
    for path in sorted(ASSETS.rglob("*")):
        if path.suffix in {".js", ".css"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
