"""What the model before is shown of imagery that it cannot read by itself. No torch here: pages ask before anything starts."""

from __future__ import annotations

from errors import InputMismatchError
from imagery.raster import RasterInfo
from models.card import ModelCard, check_input


def why_fitted(base: ModelCard, new: ModelCard, info: RasterInfo) -> str:
    """Why the base model has to be fitted to the new model's input to read a raster; empty when it can read it as it is.

    Training on other bands or another type of numbers begins so too: the first layer is fitted to the bands, and the brightness is scaled
    as the tiles measured it. The map before is then that of the model as training found it.
    """
    try:
        check_input(base, info.band_names, info.dtype, info.resolution_m)
    except InputMismatchError as error:
        return (
            f"The old model cannot read this picture by itself ({error.fact.rstrip('.')}). "
            f"For its map it is fitted to the bands {', '.join(new.input.band_names)} and their brightness, as at the start of training."
        )
    return ""
