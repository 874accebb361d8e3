"""Words that pages share."""

from __future__ import annotations


def many(count: int, what: str) -> str:
    """`1 label`, `2,000 labels`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
