"""Finished rows of a prediction, kept on disk until all are there: what was cancelled or killed goes on after the last of them.

Beside the result to be made lies the folder `<name>.unfinished`: `key` says what it is made from, and each piece is a small GeoTIFF of some rows
of one strip and one layer, renamed when complete. The pieces are the journal. At the end a virtual raster over them is copied into the result.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from errors import WorkspaceError
from imagery.grid import Grid
from imagery.write import open_tiled_gtiff
from inference.mosaic import NODATA
from workspace.files import replaced_on_success, write_text

KEY_FILE = "key"
ARITHMETIC_FILE = "arithmetic"


@contextlib.contextmanager
def unfinished(result: Path, key: str | None, arithmetic: str) -> Iterator[Path]:
    """The folder of the pieces of `result`; gone when the block succeeds, and kept for the next time when it does not.

    Args:
        result: File to be made.
        key: Names all that decides its pixels: pieces of another key are thrown away. None: nothing is kept.
        arithmetic: What the network calculates with; noted, as what is gone on with has to do the same (`begun_with`).
    """
    folder = _folder_of(result)
    if key is None or _text_of(folder / KEY_FILE) != key:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        folder.mkdir(parents=True)
        write_text(folder / ARITHMETIC_FILE, arithmetic)
        write_text(folder / KEY_FILE, key or "")
    try:
        yield folder
    except BaseException:
        if key is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Pieces:
    """The pieces in a folder.

    Args:
        folder: From `unfinished`.
        grid: Of the result.
        bands: Of each layer.
    """

    def __init__(self, folder: Path, grid: Grid, bands: Sequence[int]) -> None:
        self.folder, self.grid, self.bands = folder, grid, tuple(bands)

    def missing(self, left: int) -> list[tuple[int, int]]:
        """Rows (first, first after) that are not finished of the strip that starts at column `left`, from top to bottom."""
        last = len(self.bands) - 1
        found, row = [], 0
        for top, bottom in sorted(place[2:] for place in map(_place, self.folder.glob(f"{last}-{left}-*.tif"))):
            if top > row:
                found.append((row, top))
            row = max(row, bottom)
        return [*found, (row, self.grid.height)] if row < self.grid.height else found

    def write(self, left: int, top: int, layers: Sequence[NDArray[np.uint8]]) -> None:
        """Keep some rows of a strip: of each layer (bands, rows, columns). The last layer's piece says that they are finished.

        Raises:
            DiskFullError: there was no room.
            WorkspaceError: the folder cannot be written to.
        """
        for layer, values in enumerate(layers):
            count, rows, columns = values.shape
            place = self.grid.window(left, top, columns, rows)
            with replaced_on_success(self.folder / f"{layer}-{left}-{left + columns}-{top}-{top + rows}.tif") as path:
                try:
                    with open_tiled_gtiff(path, place, count, "uint8", NODATA) as file:
                        file.write(values)
                except RasterioError as error:
                    raise WorkspaceError(
                        f"The map could not be written ({error}).",
                        "Check that the project folder can be written to and that the disk has room.",
                    ) from error
                with path.open("rb") as written:
                    os.fsync(written.fileno())

    def take(self, files: Mapping[str, bytes]) -> None:
        """Keep pieces that were made elsewhere, by `write` in another folder.

        Args:
            files: Their bytes, by name.

        Raises:
            DiskFullError: there was no room.
        """
        for name in sorted(files, key=lambda name: int(name.split("-")[0])):  # the last layer's last
            with replaced_on_success(self.folder / name) as path, path.open("wb") as file:
                file.write(files[name])
                file.flush()
                os.fsync(file.fileno())

    def together(self, layer: int) -> Path:
        """A virtual raster over all pieces of a layer."""
        root = ET.Element("VRTDataset", rasterXSize=str(self.grid.width), rasterYSize=str(self.grid.height))
        for band in range(1, self.bands[layer] + 1):
            element = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(band))
            ET.SubElement(element, "NoDataValue").text = str(NODATA)
            for path in sorted(self.folder.glob(f"{layer}-*.tif")):
                left, right, top, bottom = _place(path)
                _add_source(element, path.name, band, (left, top, right - left, bottom - top))
        path = self.folder / f"{layer}.vrt"
        path.write_text(ET.tostring(root, encoding="unicode"), encoding="utf-8")
        with rasterio.open(path, "r+") as file:
            file.crs, file.transform = self.grid.crs, self.grid.transform
        return path


def _place(path: Path) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) from the name of a piece."""
    _, left, right, top, bottom = map(int, path.stem.split("-"))
    return left, right, top, bottom


def _add_source(band: ET.Element, name: str, number: int, place: tuple[int, int, int, int]) -> None:
    left, top, columns, rows = map(str, place)
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = name
    ET.SubElement(source, "SourceBand").text = str(number)
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=columns, ySize=rows)
    ET.SubElement(source, "DstRect", xOff=left, yOff=top, xSize=columns, ySize=rows)


def begun_with(result: Path) -> str | None:
    """What the network calculated with in the pieces of `result` that are there; None where there are none."""
    return _text_of(_folder_of(result) / ARITHMETIC_FILE)


def _folder_of(result: Path) -> Path:
    return result.with_name(f"{result.stem}.unfinished")


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
