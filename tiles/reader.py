"""One tile from disk into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from errors import TileSetFormatError
from tiles.tile_set import IGNORE_LABEL, TileRecord, TileSet

UNCERTAIN_PIXEL = 1
EMPTY_PIXEL = 2
"""Values in an ignore mask: an uncertain area; a pixel without imagery."""


@dataclass(frozen=True)
class TilePixels:
    """The arrays of one tile."""

    image: NDArray[Any]
    """(bands, rows, columns), raw values in the raster's dtype."""
    valid: NDArray[np.bool_]
    """(rows, columns): there is imagery."""
    label: NDArray[np.uint8]
    """(rows, columns): class value, 0 background, 255 never to be learnt from (no imagery included)."""


def read_tile(tile_set: TileSet, tile: TileRecord) -> TilePixels:
    """Read image, label and ignore mask of a tile.

    Raises:
        TileSetFormatError: a file is missing, damaged, or of another shape than its partner.
    """
    image, image_valid = _read_image(tile_set, tile.image)
    label = _read_band(tile_set, tile.label)
    _same_shape(tile.label, label.shape, image.shape[1:])
    if tile.ignore is None:
        valid = image_valid
        ignored = ~valid
    else:
        ignore = _read_band(tile_set, tile.ignore)
        _same_shape(tile.ignore, ignore.shape, image.shape[1:])
        valid, ignored = ignore != EMPTY_PIXEL, ignore != 0
    return TilePixels(image, valid, np.where(ignored, np.uint8(IGNORE_LABEL), label).astype(np.uint8))


def _read_image(tile_set: TileSet, path: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels, and which of them are imagery. Our own sets say so in ignore masks; others in the file's nodata, alpha or mask."""
    try:
        with rasterio.open(tile_set.folder / path) as file:
            image = file.read()
            valid = file.dataset_mask() > 0 if tile_set.record.made_elsewhere else np.ones(image.shape[1:], dtype=bool)
    except RasterioIOError as error:
        raise _unreadable(tile_set, path) from error
    return image, valid


def _read_band(tile_set: TileSet, path: str) -> NDArray[Any]:
    try:
        with rasterio.open(tile_set.folder / path) as file:
            return file.read(1)
    except RasterioIOError as error:
        raise _unreadable(tile_set, path) from error


def _same_shape(path: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise TileSetFormatError(
            f"{path} is {found[1]} x {found[0]} pixels, but its image is {expected[1]} x {expected[0]}.", "Export the tiles again."
        )


def _unreadable(tile_set: TileSet, path: str) -> TileSetFormatError:
    what = "is damaged" if (tile_set.folder / path).exists() else "is missing"
    return TileSetFormatError(f"The file {path} of the tile set '{tile_set.name}' {what}.", "Export the tiles again.")
