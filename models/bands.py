"""What band names mean: imagery and models are matched by name, and the same band goes by several."""

from __future__ import annotations

import re
from collections.abc import Sequence

SYNONYMS = {
    "red": ("r", "b04"),
    "green": ("g", "b03"),
    "blue": ("b", "b02"),
    "nir": ("nir1", "nearinfrared", "nearinfrared1", "nearir", "infrared", "ir", "b08"),
    "rededge": ("rededge1",),
    "coastal": ("coastalblue", "coastalaerosol", "aerosol", "b01"),
    "pan": ("panchromatic",),
    "swir": ("shortwaveinfrared",),
}
"""Other names of a band, without case, blanks and marks. B01 to B08 with a zero are Sentinel-2's; plain B4 is red, near infrared or a mere
number, as the satellite has it, so it means nothing by itself (`_SENTINEL`)."""
COLOURS = frozenset({"red", "green", "blue"})
_SENTINEL = {"b2": "blue", "b3": "green", "b4": "red", "b8": "nir"}
"""Understood where all four are there as Sentinel-2 has them: Landsat 8, which has these names too, also has a B5 and no B8A."""
_SENTINEL_TOO = {"b1": "coastal", "b5": "b05", "b6": "b06", "b7": "b07", "b9": "b09"}
"""Its other bands, which some programs write without the zero."""
_MEANING = {name: meaning for meaning, names in SYNONYMS.items() for name in (meaning, *names)}


def meanings(band_names: Sequence[str]) -> tuple[str, ...]:
    """For each band one name that all its synonyms share; of two bands that would get the same, the one that is called just that keeps it."""
    plain = [re.sub(r"[^a-z0-9]", "", name.casefold()) for name in band_names]
    known = _MEANING | (_SENTINEL | _SENTINEL_TOO if _SENTINEL.keys() <= set(plain) and ("b8a" in plain or "b5" not in plain) else {})
    found: list[str] = []
    for name in plain:
        meaning = known.get(name, name)
        taken = meaning != name and (meaning in plain or meaning in found)
        found.append(name if taken else meaning)
    return tuple(found)


LATER = "_later"
"""What the names of the second image's bands end with, where a model reads two images of one place."""


def pair_names(band_names: Sequence[str], later: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the bands of both images; `later`: those of the second, where they are others."""
    return (*band_names, *(name + LATER for name in (band_names if later is None else later)))


def unnamed(band_names: Sequence[str]) -> bool:
    """Are these only numbers, as a raster without band descriptions gets them?"""
    return all(re.fullmatch(rf"(band[_ ]?)?\d+({LATER})?", name.strip(), re.IGNORECASE) for name in band_names)
