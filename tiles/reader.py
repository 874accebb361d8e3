"""One tile from disk into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from errors import TileSetFormatError
from imagery.read import validity
from tiles.formats import tile_format
from tiles.formats.base import LabelFiles, TileLabels, read_band, same_shape, unreadable
from tiles.tile_set import IGNORE_LABEL, TileRecord, TileSet

UNCERTAIN_PIXEL = 1
EMPTY_PIXEL = 2
UNLABELLED_PIXEL = 3
"""Values in an ignore mask: an uncertain area; a pixel without imagery; one outside all fully labelled areas on which nothing is drawn."""


@dataclass(frozen=True)
class TilePixels:
    """The arrays of one tile."""

    image: NDArray[Any]
    """(bands, rows, columns), raw values in the raster's dtype."""
    valid: NDArray[np.bool_]
    """(rows, columns): there is imagery."""
    label: NDArray[np.uint8]
    """(rows, columns): class value, 0 background, 255 never to be learnt from (no imagery included)."""
    image2: NDArray[Any] | None = None
    """(bands, rows, columns) of the second image of the same place, in its raster's dtype; None where there is none."""


def read_tile(tile_set: TileSet, tile: TileRecord) -> TilePixels:
    """Read image, label and ignore mask of a tile.

    Raises:
        TileSetFormatError: a file is missing, damaged, or of another shape than its partner; or the format does not say a class for each pixel.
    """
    pixels, labels = read_labelled(tile_set, tile)
    if labels.pixels is None:
        raise no_pixels(tile_set)
    return pixels


def read_labelled(tile_set: TileSet, tile: TileRecord) -> tuple[TilePixels, TileLabels]:
    """Read a tile of any format: its arrays, and its labels as the format has them. Errors as `read_tile`.

    The label among the arrays is 0, or 255 for what must not be learnt, where the format does not say a class for each pixel.
    """
    image, image_valid = _read_image(tile_set, tile.image)
    shape = (image.shape[1], image.shape[2])
    image2 = None
    if tile.image2:
        image2, valid2 = _read_image(tile_set, tile.image2)
        same_shape(tile.image2, image2.shape[1:], shape)
        image_valid &= valid2
    record = tile_set.record
    files = LabelFiles(tile.label, tile.masks)
    labels = tile_format(record.metadata_format).read(tile_set.folder, tile.image, files, shape, record.classes)
    if tile.ignore is None:
        valid = image_valid
        ignored = ~valid
    else:
        ignore = read_band(tile_set.folder, tile.ignore)
        same_shape(tile.ignore, ignore.shape, shape)
        valid, ignored = ignore != EMPTY_PIXEL, ignore != 0
    label = np.zeros(shape, dtype=np.uint8) if labels.pixels is None else labels.pixels
    return TilePixels(image, valid, np.where(ignored, np.uint8(IGNORE_LABEL), label).astype(np.uint8), image2), labels


def require_pixels(tile_set: TileSet) -> None:
    """Refuse what a model that tells a class for each pixel cannot learn from.

    Raises:
        TileSetFormatError: the format has boxes, or a class for each tile, or pairs of images of different types; says what to export instead.
    """
    record = tile_set.record
    if not tile_format(record.metadata_format).has_pixels:
        raise no_pixels(tile_set)
    if record.second is not None and record.second.dtype != record.dtype:
        raise TileSetFormatError(
            f"The second images of the tiles '{tile_set.name}' are {record.second.dtype}, the first ones {record.dtype}: a change between them "
            "cannot be learnt.",
            "Save one picture with the other's type of values, and export again.",
        )


def tells_unlabelled(tile_set: TileSet) -> bool:
    """Do the tiles tell what nobody has labelled, so that what is not drawn truly is background?

    They do where fully labelled areas were marked for the export. Sets of older releases do not say so, but show it where some of their pixels
    are not learnt from because nobody labelled them, or where the tiles were cut only inside. A set made elsewhere is taken at its word.
    """
    record = tile_set.record
    if record.fully_labelled or record.made_elsewhere or record.settings.get("inside_fully_labelled"):
        return True
    masks = (tile.ignore for tile in record.tiles if tile.ignore)
    return any((read_band(tile_set.folder, mask) == UNLABELLED_PIXEL).any() for mask in masks)


def no_pixels(tile_set: TileSet) -> TileSetFormatError:
    """The error for a set of a format for other programs."""
    return TileSetFormatError(
        f"The tiles '{tile_set.name}' are {tile_set.record.metadata_format}, made for other programs: they do not say for each pixel what it is, "
        "so Terratune cannot train on them.",
        "On the Tiles page choose 'A class for each pixel' as the kind of labels, export again, and train on that.",
    )


def _read_image(tile_set: TileSet, path: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels, and which of them are imagery. Our own sets say so in ignore masks; others in the file's nodata, alpha or mask."""
    try:
        with rasterio.open(tile_set.folder / path) as file:
            image = file.read()
            valid = np.ones(image.shape[1:], dtype=bool)
            if tile_set.record.made_elsewhere:
                valid = (file.dataset_mask() > 0) & validity(image, file, file.indexes)
    except RasterioIOError as error:
        raise unreadable(tile_set.folder, path) from error
    return image, valid
