"""Raw values to what a network sees: the one place where numbers change their type, for tiles and rasters alike. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def normalised(values: NDArray[Any], valid: NDArray[np.bool_], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(x - mean) / std for each band, 0 where there is no imagery.

    Whole numbers of up to 16 bits and float32 are exact in float32 before they are scaled; wider types are scaled in float64, so that no
    digit is lost before the mean is taken off.

    Args:
        values: (bands, rows, columns), raw units, any real dtype.
        valid: (rows, columns).
        mean: One number per band, raw units.
        std: Likewise.
    """
    kind = np.result_type(values.dtype, np.float32)
    shift, scale = (np.asarray(each, kind)[:, None, None] for each in (mean, std))
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values.astype(kind) - shift) / scale
    return np.where(valid, scaled, 0).astype(np.float32)
