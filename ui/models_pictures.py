"""Drawn pictures for cards: one for each task, by our own hand."""

from __future__ import annotations

from collections.abc import Sequence

_GROUND = '<rect width="64" height="64" rx="8" fill="#d8d2bd"/>'
_DRAWN = {
    "roads": '<path d="M-2 50 C18 46 22 22 40 18 S60 8 66 6" stroke="#4361ee" stroke-width="9" fill="none"/>'
    '<path d="M8 66 C14 50 30 44 34 30" stroke="#8d7b4a" stroke-width="4" fill="none"/>',
    "semantic segmentation": '<path d="M0 8 a8 8 0 0 1 8-8 h24 l-6 30 -26 8z" fill="#588157"/><path d="M32 0 h24 a8 8 0 0 1 8 8 v20 l-38 2z" fill="#e9c46a"/>'
    '<path d="M0 38 l26 -8 38 -2 v28 a8 8 0 0 1 -8 8 h-30z" fill="#4d908e"/><path d="M0 38 l26 26 h-18 a8 8 0 0 1 -8 -8z" fill="#bc6c25"/>',
    "object detection": '<rect x="8" y="10" width="22" height="16" fill="none" stroke="#e63946" stroke-width="3"/><rect x="13" y="14" width="12" height="8" fill="#6c757d"/>'
    '<rect x="34" y="32" width="22" height="22" fill="none" stroke="#e63946" stroke-width="3"/><circle cx="45" cy="43" r="7" fill="#588157"/>',
    "instance segmentation": '<path d="M8 12 h18 v8 h8 v12 h-26z" fill="#f4a26188" stroke="#e76f51" stroke-width="3"/>'
    '<path d="M36 38 l14 -6 8 16 -14 8z" fill="#a8dadc99" stroke="#1d7a8c" stroke-width="3"/>',
    "scene classification": '<rect x="6" y="6" width="52" height="40" fill="#7fb069"/><path d="M6 34 l14 -14 12 12 8 -8 18 16 v6 h-52z" fill="#4a7c3a"/>'
    '<rect x="14" y="50" width="36" height="9" rx="4.5" fill="#343a40"/>',
    "change detection": '<rect x="4" y="12" width="26" height="40" fill="#7fb069"/><rect x="34" y="12" width="26" height="40" fill="#7fb069"/>'
    '<rect x="40" y="24" width="14" height="14" fill="#e63946"/>',
    "promptable": '<path d="M12 14 C24 4 50 8 52 26 S34 54 20 46 4 24 12 14z" fill="#f2c14e88" stroke="#d99100" stroke-width="3" stroke-dasharray="5 3"/>'
    '<path d="M28 24 l20 18 -9 1 6 11 -5 3 -6 -11 -6 6z" fill="#343a40" stroke="#fff"/>',
    "embedding": '<rect x="8" y="10" width="34" height="34" fill="#a8dadc" stroke="#457b9d" stroke-width="2"/>'
    '<rect x="18" y="18" width="28" height="28" fill="#7fb3d5" stroke="#457b9d" stroke-width="2"/><rect x="30" y="28" width="24" height="24" fill="#457b9d"/>',
}


def picture(tasks: Sequence[str]) -> str:
    """An SVG drawing of what a model does: the first of its tasks."""
    task = next((task for task in tasks if task in _DRAWN), "embedding")
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">{_GROUND}{_DRAWN[task]}</svg>'
