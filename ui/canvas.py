"""The map on the page: a Streamlit component (no iframe) that draws a leafmap map and keeps still on reruns.

View, tool and selection belong to the browser; a rerun only redraws layers that changed. Labels never pass through
Streamlit: the canvas exchanges them with the routes of server/labels.py and tells Python afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import leafmap.foliumap as leafmap
import streamlit as st

from ui.maps import LonLatBounds, map_document
from workspace.classes import FULLY_LABELLED_COLOUR, FULLY_LABELLED_NAME, FULLY_LABELLED_VALUE, ClassSchema

_AUTHOR = "author"
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


def view_map(m: leafmap.Map, *, key: str, height: int = 560, link: tuple[str, str] | None = None, go: Mapping[str, Any] | None = None, tell_view: bool = False) -> LonLatBounds | None:
    """Show `m`; nothing on it can be edited. Its view survives reruns and leaving the page.

    Args:
        m: From `ui.maps.new_map`.
        key: Names the map within the app; the same key keeps the view.
        height: In CSS pixels.
        link: A name, and what this map is called: maps of the same name show the same place together.
        go: One place to go to now, once: `{"id": unique, "bounds": (west, south, east, north)}`.
        tell_view: Rerun the page (only its fragment, when called in one) a moment after the map was moved.

    Returns:
        West, south, east and north of what is seen, with `tell_view`; None until the map has said so.
    """
    document = map_document(m) | {"link": {"name": link[0], "label": link[1]} if link else None}
    data = {"mode": "view", "key": key, "version": assets_version(), "height": height, "map": document, "go": dict(go) if go else None}
    if not tell_view:
        _component(key=key, data=data)
        return None
    seen = _component(key=key, data=data | {"tellView": True}, default={"view": None}, on_view_change=_nothing).view
    return tuple(seen) if seen else None


def label_map(
    m: leafmap.Map,
    *,
    key: str,
    token: str,
    journal_id: str,
    schema: ClassSchema,
    scenes: Sequence[Mapping[str, Any]] = (),
    height: int = 560,
    line_width_m: float | None = 4.0,
    command: Mapping[str, Any] | None = None,
) -> int:
    """Show `m` with the project's labels on it, their list, and tools to draw and change them.

    Args:
        m: From `ui.maps.new_map`.
        key: Names the map within the app; the same key keeps view and tool.
        token: Names the project to the label routes.
        journal_id: `LabelJournal.id`; edits not yet saved and the steps that can be undone are kept in the browser under it.
        schema: Classes to draw with.
        scenes: Outlines of the pictures, bottom first, each `{"id", "name", "geometry"}` with a GeoJSON Polygon in EPSG:4326.
        height: Of the map, in CSS pixels.
        line_width_m: Width that lines (diameter that points) get, in metres, until another is typed on the map; None: none of their own.
        command: One thing to do now, once: `{"id": unique, "kind": "zoom" | "delete", "object_ids": [...]}`.

    Returns:
        Journal revision the map has seen; the page reruns (only its fragment, when called in one) a moment after edits are saved.
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
            "fullyLabelled": {"value": FULLY_LABELLED_VALUE, "name": FULLY_LABELLED_NAME, "colour": FULLY_LABELLED_COLOUR},
            "scenes": [dict(scene) for scene in scenes],
            "lineWidth": line_width_m,
            "command": dict(command) if command else None,
        },
        default={"revision": 0, "author": ""},
        on_revision_change=_nothing,
        on_author_change=_nothing,
    )
    st.session_state[_AUTHOR] = str(result.author or "")
    return int(result.revision or 0)


def author() -> str:
    """The name that edits on the label map are made under in this browser; empty when none was typed in."""
    return str(st.session_state.get(_AUTHOR, ""))


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
