"""What both models are shown of a picture, and what to tell about it. No torch here: pages ask before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from errors import InputMismatchError
from imagery.raster import RasterInfo
from models.card import ModelCard, check_input
from models.values import Range


class Look(NamedTuple):
    """How a picture fits the two models of a comparison."""

    fitted: bool
    """The model before can only read it when fitted to the new model's input."""
    notes: list[str]
    """In plain words."""


def look_at(base: ModelCard, new: ModelCard, info: RasterInfo, ranges: Sequence[Range | None] = ()) -> Look:
    """How a picture fits the models before and after.

    Where the base model cannot read it (other bands, another type of values, other units, another scale), it is fitted to the new model's
    input, as training on it begins: the first layer is fitted to the bands, and the brightness is scaled as the tiles measured it. The map
    before is then that of the model as training found it.

    Args:
        base: The card of the model before.
        new: That of the model after.
        info: The picture.
        ranges: 2 to 98 % of the values of its bands, as far as they are known.

    Raises:
        InputMismatchError: the new model cannot read it.
    """
    picture = (info.band_names, info.dtype, info.resolution_m, ranges)
    notes = check_input(new, *picture)
    try:
        return Look(False, notes + [f"For the old model: {note}" for note in check_input(base, *picture) if note not in notes])
    except InputMismatchError as error:
        why = (
            f"The old model cannot read this picture by itself ({error.fact.rstrip('.')}). "
            f"For its map it is fitted to the bands {', '.join(new.input.band_names)} and their brightness, as at the start of training."
        )
        return Look(True, [*notes, why])
