"""Words that pages share."""

from __future__ import annotations

from collections.abc import Sequence

from imagery.library import Raster

NO_HONEST_TEST = (
    "**No honest test.** The tiles scored on were not kept apart from those learnt from: they overlap or repeat them, or do not say where they lie. "
    "Expect less in places the model has not seen."
)


def many(count: int, what: str) -> str:
    """`1 label`, `2,000 labels`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def distinct_names(rasters: Sequence[Raster]) -> list[str]:
    """Names that tell the rasters apart: with their id where two have the same."""
    names = [r.name for r in rasters]
    return [r.name if names.count(r.name) == 1 else f"{r.name} ({r.id})" for r in rasters]
