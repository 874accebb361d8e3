"""A drop zone that sends files to an upload route, so that they go to disk and not through Streamlit's memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st

from imagery.sources import SUFFIXES
from ui.canvas import assets_version

_CSS = """
.zone{display:flex;flex-direction:column;align-items:center;gap:2px;padding:14px;cursor:pointer;text-align:center;
  border:1.5px dashed var(--st-border-color);border-radius:var(--st-base-radius);background:var(--st-secondary-background-color);
  color:var(--st-text-color);font:14px var(--st-font)}
.zone span{opacity:.7;font-size:13px}
.zone:hover,.zone:focus-visible,.zone.over{border-color:var(--st-primary-color);outline:none}
.files{list-style:none;margin:6px 0 0;padding:0;max-height:150px;overflow:auto;font:13px var(--st-font);color:var(--st-text-color)}
.files li{display:grid;grid-template-columns:1fr auto auto;gap:2px 8px;align-items:center;padding:3px 0}
.name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.how{opacity:.7}
.close{border:1px solid var(--st-border-color);border-radius:6px;background:none;color:inherit;font:inherit;padding:1px 8px;cursor:pointer}
progress{grid-column:1/-1;width:100%;height:6px;accent-color:var(--st-primary-color)}
.failed{border-left:3px solid var(--st-red-color);padding-left:8px !important}
.failed .close{grid-column:3}
.problem{grid-column:1/-1;margin:0;white-space:normal}
"""
_LOADER = """
const base = () => {
  const script = document.querySelector('script[src*="static/js/"]');
  return script ? script.src.split('static/js/')[0] : new URL('.', location.href).href;
};
window.__terratuneBase = window.__terratuneBase || base();
export default function (component) {
  const box = component.parentElement.querySelector('.box');
  let uploader = null;
  import(window.__terratuneBase + 'assets/uploader/uploader.js?v=' + component.data.version)
    .then((module) => { uploader = module; module.render(component, box); })
    .catch((error) => { console.error(error); box.textContent = 'The drop zone could not be loaded. Reload the page to try again.'; });
  return () => { if (uploader) uploader.leave(box); };
}
"""
_component = st.components.v2.component("terratune_uploader", html='<div class="box" style="min-height:72px"></div>', css=_CSS, js=_LOADER)


@dataclass(frozen=True)
class Wanted:
    """What a drop zone takes, and where it goes."""

    words: str
    route: str
    suffixes: Collection[str]


PICTURES = Wanted("Drop GeoTIFFs here", "uploads", SUFFIXES)
TILE_SETS = Wanted("Drop a ZIP of training tiles here", "tile-sets", {".zip"})
MODELS = Wanted("Drop a model here (.zip, .dlpk, .onnx)", "models", {".zip", ".dlpk", ".onnx"})


def upload_zone(token: str, *, key: str, max_bytes: int, crs: str = "", wanted: Wanted = PICTURES) -> str | None:
    """Show the drop zone; uploads go on while the page reruns.

    Args:
        token: Names the project to the upload route.
        key: Names the zone; its queue of files outlives reruns and page changes.
        max_bytes: Larger files are refused before anything is sent.
        crs: EPSG code for files that do not say their own.
        wanted: What is taken.

    Returns:
        The id of what was just added, in the one run that follows it; else None.
    """
    result = _component(
        key=key,
        data={
            "key": key,
            "version": assets_version(),
            "token": token,
            "maxBytes": max_bytes,
            "crs": crs,
            "accept": ",".join(sorted(wanted.suffixes)),
            "words": wanted.words,
            "route": wanted.route,
        },
        on_added_change=_nothing,
    )
    return str(result.added["id"]) if result.added else None


def _nothing() -> None:
    """Streamlit only keeps a component's trigger when a callback is named."""
