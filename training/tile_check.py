"""Refuse tiles that would teach what is wrong, or score what was learnt. No torch here: pages show the same words before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from errors import SplitError, TileSetFormatError
from tiles.formats.base import Finding
from tiles.tile_set import TileSet
from tiles.validate import validate_tile_set

INSIST = "To train nevertheless, tick 'Train all the same' (--train-despite-leak)."


def require_sound(tile_set: TileSet, *, despite_leak: bool, tell: Callable[[float], None]) -> bool:
    """Look a tile set through, every pixel of it, before training on it.

    Args:
        tile_set: Already open.
        despite_leak: The person insists on validation tiles that are not apart.
        tell: Hears the share done, may raise to stop.

    Returns:
        Whether validation is kept apart from what is learnt; if not, every score has to say so (`tiles.apart.scored_on`).

    Raises:
        TileSetFormatError: training on it would fail or learn what is wrong.
        SplitError: validation is not apart, and nobody insists.
    """
    findings = validate_tile_set(tile_set.folder, tell, opened=tile_set.record)
    grave, leaking = ([f for f in findings if f.harm == harm] for harm in ("grave", "leak"))
    if grave:
        raise TileSetFormatError(f"{grave[0].fact}{_more(grave)}", grave[0].remedy)
    if leaking and not despite_leak:
        raise SplitError(f"{leaking[0].fact}{_more(leaking)}", f"{leaking[0].remedy} {INSIST}")
    return not leaking


def _more(findings: Sequence[Finding]) -> str:
    return "" if len(findings) == 1 else f" ({len(findings) - 1} more like it.)"
