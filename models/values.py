"""The values of a band: what they are like in the training tiles, and whether others lie in the same range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

Range = tuple[float, float]
"""2 % and 98 % percentile of a band's valid pixels, raw units."""

UNLIKE_FACTOR = 4.0
"""The largest values differ by more than this: told."""
OTHER_UNITS_FACTOR = 16.0
"""They differ by more than this, and no band overlaps: other units (8 bit in a 16-bit file, reflectance 0..1 against 0..10,000)."""
ONE_UNIT = {"uint8", "int8"}
"""Types whose pictures may be darker than others, but are never in other units."""
SPREAD = 2.0
"""Deviations to either side of the mean that stand for the percentiles, where only these are known."""


class BandStatistics(BaseModel):
    """One band over the valid pixels of all tiles, in raw units. Pixels that several tiles share count once for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: float
    max: float
    mean: float
    std: float
    p2: float
    """2 % percentile."""
    p98: float
    """98 % percentile."""
    count: int
    """Valid pixels."""

    @property
    def range(self) -> Range:
        return self.p2, self.p98


@dataclass(frozen=True)
class Unlikeness:
    """How the values of imagery differ from those that a model learnt from."""

    band: int
    """The band that shows it most, an index into what was compared."""
    factor: float
    """How many times as large the imagery's values are."""
    hopeless: bool
    """No band overlaps and the factor is one of other units."""


def unlikeness(learnt: Sequence[Range], here: Sequence[Range]) -> Unlikeness | None:
    """Compare bands pairwise; None where one is as likely as the other.

    A picture may well be darker or plainer than the training imagery (a forest, a desert): values are only unlike where no band overlaps, or
    where the largest differ by more than `UNLIKE_FACTOR` in every band.
    """
    factors = [_size(there) / _size(known) for known, there in zip(learnt, here, strict=True)]
    if not factors:
        return None
    apart = all(there[1] < known[0] or there[0] > known[1] for known, there in zip(learnt, here, strict=True))
    by = [max(f, 1 / f) for f in factors]
    if not apart and min(by) <= UNLIKE_FACTOR:
        return None
    band = by.index(max(by))
    return Unlikeness(band, factors[band], hopeless=apart and min(by) > OTHER_UNITS_FACTOR)


def _size(values: Range) -> float:
    return max(abs(values[0]), abs(values[1]), 1e-30)
