"""The kinds of picture files that tiles are written as, and what lies beside each to say where it is. Pure: bytes and text, no files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from errors import UnsupportedRasterError
from tiles.geotiff import geotiff
from tiles.layout import world_file

JPEG_QUALITY = 90


@dataclass(frozen=True)
class PictureKind:
    """One kind, as ArcGIS names it."""

    name: str
    suffix: str
    """Of an image."""
    label_suffix: str
    """Of a raster of labels beside it: a kind that loses nothing."""
    dtypes: tuple[str, ...] = ()
    """Types it can hold; empty: all."""
    bands: tuple[int, ...] = ()
    """Numbers of bands it can hold; empty: any."""


PICTURE_KINDS: Mapping[str, PictureKind] = {
    kind.name: kind
    for kind in (
        PictureKind("TIFF", ".tif", ".tif"),
        PictureKind("PNG", ".png", ".png", ("uint8", "uint16"), (1, 3)),
        PictureKind("JPEG", ".jpg", ".png", ("uint8",), (1, 3)),
    )
}
_WORLD_SUFFIXES = {".tif": ".tfw", ".png": ".pgw", ".jpg": ".jgw"}
_BITS = {"uint8": "8", "uint16": "16"}


def require_holds(kind: str, name: str, bands: int, dtype: str) -> None:
    """Refuse imagery that a kind of picture cannot hold as it is.

    Args:
        kind: Name of a kind.
        name: Of the imagery, for the message.
        bands: Number of bands to be written.
        dtype: Their type.

    Raises:
        UnsupportedRasterError: it cannot; says what to choose.
    """
    able = PICTURE_KINDS[kind]
    if (not able.dtypes or dtype in able.dtypes) and (not able.bands or bands in able.bands):
        return
    raise UnsupportedRasterError(
        f"{name} has {bands} band{'s' if bands > 1 else ''} of {dtype}, but a {kind} picture holds "
        f"{' or '.join(map(str, able.bands))} bands of {' or '.join(_BITS[d] for d in able.dtypes)} bits.",
        "Choose TIFF as the image format: it keeps all bands as they are.",
    )


def encoded(
    suffix: str,
    values: NDArray[Any],
    transform: Affine,
    crs: str,
    nodata: float | None = None,
    *,
    image: bool = True,
    quality: int = JPEG_QUALITY,
) -> bytes:
    """A picture file in memory, so that a full disk shows as the operating system's own error.

    Args:
        suffix: '.tif', '.png' or '.jpg'.
        values: (bands, rows, columns).
        transform: Of the picture.
        crs: As text; empty where it lies nowhere.
        nodata: Value without imagery; only a TIFF holds it itself.
        image: Else it is a raster of labels.
        quality: Of a JPEG, 1 to 100.
    """
    if suffix == ".tif":
        return geotiff(values, transform, crs, nodata, compress=not image)
    bands, rows, columns = values.shape
    profile: dict[str, Any] = {"width": columns, "height": rows, "count": bands, "dtype": values.dtype}
    profile |= {"driver": "PNG"} if suffix == ".png" else {"driver": "JPEG", "quality": quality}
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(values)
        return bytes(memory.getbuffer())


def side_files(
    path: str, transform: Affine, crs: str, nodata: float | None = None, bands: int = 1, *, image: bool = True
) -> dict[str, str]:
    """What lies beside a picture that has a place, by path: its world file and, for an image that cannot hold its CRS itself, `.aux.xml`, as
    GDAL, QGIS and ArcGIS read it. There is none beside labels: readers of label folders take any .xml for a label.
    """
    if not crs:
        return {}
    stem, dot, suffix = path.rpartition(".")
    texts = {stem + _WORLD_SUFFIXES[dot + suffix]: world_file(transform)}
    if image and suffix != "tif":
        texts[f"{path}.aux.xml"] = _aux_xml(crs, None if suffix == "jpg" else nodata, bands)
    return texts


def _aux_xml(crs: str, nodata: float | None, bands: int) -> str:
    """GDAL's side file: the CRS, and the value without imagery of each band (none for JPEG, which does not keep values)."""
    told = [] if nodata is None else [f"    <NoDataValue>{nodata:.17g}</NoDataValue>\n"]
    each = "".join(f'  <PAMRasterBand band="{b}">\n{line}  </PAMRasterBand>\n' for b in range(1, bands + 1) for line in told)
    return f"<PAMDataset>\n  <SRS>{_wkt(crs)}</SRS>\n{each}</PAMDataset>\n"


@functools.lru_cache(maxsize=64)
def _wkt(crs: str) -> str:
    return escape(CRS.from_user_input(crs).to_wkt())
