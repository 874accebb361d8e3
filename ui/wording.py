"""Words that pages share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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
    return list(distinct({r.id: r.name for r in rasters}).values())


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The names by key, those that occur twice with their key: a box of choices takes two that read alike for one."""
    counts = Counter(names.values())
    return {key: name if counts[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def told_once(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Notes on pictures, (name, what is to be known), each once: `a.tif and 3 more: ...`; those on no picture without a name."""
    names: dict[str, list[str]] = {}
    for name, said in notes:
        names.setdefault(said, []).append(name)
    return [_named(pictures, said) for said, pictures in names.items()]


def _named(pictures: Sequence[str], said: str) -> str:
    if not pictures[0]:
        return said
    return f"{pictures[0]}{f' and {len(pictures) - 1} more' if len(pictures) > 1 else ''}: {said}"
