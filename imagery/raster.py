"""RasterInfo: what a raster is, and why it may be unusable."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from affine import Affine
from pydantic import BaseModel, ConfigDict, Field
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader

from errors import UnplacedRasterError, UnsupportedRasterError
from imagery.grid import Grid
from imagery.limits import bytes_per_value, file_size
from imagery.read import alpha_band, display_name, open_raster, read_window

MaskKind = Literal["none", "nodata", "alpha", "mask"]

VERIFY_BYTES = 64 * 2**20
"""Rasters up to this size are decoded completely when they are added, larger ones in samples."""
_INTERPRETED = {"red", "green", "blue", "nir", "alpha", "gray", "coastal", "rededge", "swir", "pan", "yellow"}
_CMYK = {ColorInterp.cyan, ColorInterp.magenta, ColorInterp.black}


class RasterInfo(BaseModel):
    """What a raster file says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    driver: str = Field(description="GDAL's name of the format.")
    width: int = Field(description="Columns.")
    height: int = Field(description="Rows.")
    count: int = Field(description="Bands, alpha included.")
    dtype: str = Field(description="Type of the values, as NumPy calls it.")
    crs: str = Field(description="Coordinate reference system: 'EPSG:26911', or WKT where it has no code.")
    transform: tuple[float, float, float, float, float, float] = Field(description="a, b, c, d, e, f: (column, row) to (x, y).")
    nodata: float | None = Field(description="Value that means 'no imagery here'.")
    band_names: tuple[str, ...] = Field(
        description="What a person said, or from the file's descriptions or colours, else band_1, band_2, ..."
    )
    resolution_m: float = Field(description="Ground size of a pixel at the centre, metres.")
    has_overviews: bool = Field(description="Smaller copies for zooming out are in the file.")
    mask_kind: MaskKind = Field(description="How pixels without imagery are marked.")
    palette: bool = Field(description="Values are numbers of colours in a table.")
    rotated: bool = Field(description="Rows do not run west to east.")
    bytes: int = Field(description="Size of the file.")

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return Grid(self.width, self.height, Affine(*self.transform), CRS.from_user_input(self.crs))

    @property
    def colour_bands(self) -> tuple[int, ...]:
        """Bands to show first, 1-based: red, green, blue where they are known, else the first three, else the first."""
        if self.palette:
            return (1,)
        try:
            return tuple(self.band_names.index(colour) + 1 for colour in ("red", "green", "blue"))
        except ValueError:
            usable = [i for i, name in enumerate(self.band_names, 1) if name != "alpha"]
            return tuple(usable[:3]) if len(usable) >= 3 else tuple(usable[:1] or [1])

    @property
    def image_bands(self) -> tuple[int, ...]:
        """All bands but alpha, 1-based."""
        return tuple(i for i, name in enumerate(self.band_names, 1) if name != "alpha") or (1,)

    @property
    def may_have_gaps(self) -> bool:
        """Some pixels may be no imagery: marked as such, or NaN."""
        return self.mask_kind != "none" or self.dtype.startswith("float")

    def named(self, band_names: Sequence[str]) -> RasterInfo:
        """The same, with what a person says the bands are; as it is where nothing is said.

        Raises:
            UnsupportedRasterError: the file has another number of bands now.
        """
        if not band_names:
            return self
        if len(band_names) != self.count:
            raise UnsupportedRasterError(
                f"{len(band_names)} bands were named, and the picture has {self.count}.",
                "The file has changed since: remove it on the Imagery page and add it again.",
            )
        return self.model_copy(update={"band_names": tuple(band_names)})


def inspect_raster(
    source: str, crs_override: str | None = None, *, allow_private: bool | None = None, try_pixels: bool = True
) -> RasterInfo:
    """Read what a raster says about itself, and try its pixels.

    Untrusted files go through `imagery.inspect.inspect_safely`, which runs this in a process of its own.

    Args:
        source: Absolute path or http(s) URL.
        crs_override: CRS to use instead of the file's own ('EPSG:26911'); the file must still say where its pixels lie in it.
        allow_private: See `open_raster`.
        try_pixels: For who reads them anyway and then hears of any damage: not to.

    Raises:
        UnreadableRasterError: missing, damaged or no picture.
        UnplacedRasterError: no CRS or no geotransform, or they make no place on Earth.
        UnsupportedRasterError: complex numbers, CMYK, only control points or RPCs, bands of different types, absurd size.
        SourceNotAllowedError: an address that may not be opened.
    """
    with open_raster(source, allow_private=allow_private) as dataset:
        info = describe(dataset, display_name(source), file_size(source), crs_override)
        if try_pixels:
            verify_pixels(dataset, display_name(source))
        return info


def describe(dataset: DatasetReader, name: str, file_bytes: int | None, crs_override: str | None = None) -> RasterInfo:
    """The facts of an open raster, without decoding pixels. Errors as `inspect_raster`."""
    _refuse_unsupported(dataset, name)
    crs = _crs(dataset, name, crs_override)
    transform = dataset.transform
    grid = Grid(dataset.width, dataset.height, transform, crs)
    info = RasterInfo(
        driver=dataset.driver,
        width=dataset.width,
        height=dataset.height,
        count=dataset.count,
        dtype=dataset.dtypes[0],
        crs=crs_text(crs),
        transform=tuple(transform)[:6],
        nodata=dataset.nodata,
        band_names=band_names(dataset),
        resolution_m=_resolution_m(grid, name),
        has_overviews=bool(dataset.overviews(1)),
        mask_kind=mask_kind(dataset),
        palette=dataset.colorinterp[0] == ColorInterp.palette,
        rotated=abs(transform.b) > 1e-12 * abs(transform.a) or abs(transform.d) > 1e-12 * abs(transform.e),
        bytes=file_bytes or 0,
    )
    return info


def verify_pixels(dataset: DatasetReader, name: str) -> None:
    """Decode all of a small raster, and three places of a large one.

    Raises:
        UnreadableRasterError: something there cannot be decoded.
        UnsupportedRasterError: a small raster has no imagery at all.
    """
    bands = list(range(1, dataset.count + 1))
    side = 512
    whole = dataset.width * dataset.height * sum(bytes_per_value(d) for d in dataset.dtypes) <= VERIFY_BYTES
    if whole:
        rows = max(1, 2**22 // max(1, dataset.width * dataset.count))
        windows = [(0, row, dataset.width, min(rows, dataset.height - row)) for row in range(0, dataset.height, rows)]
    else:
        width, height = min(side, dataset.width), min(side, dataset.height)
        windows = [((dataset.width - width) * i // 2, (dataset.height - height) * i // 2, width, height) for i in range(3)]
    seen = False
    for column, row, width, height in windows:
        seen |= bool(read_window(dataset, column, row, width, height, bands).valid.any())
    if whole and not seen:
        marked = f"is marked as 'no data' ({dataset.nodata:g})" if dataset.nodata is not None else "is masked out"
        raise UnsupportedRasterError(f"{name} holds no imagery: every pixel {marked}.", "Check how it was exported, and its nodata value.")


def crs_text(crs: CRS) -> str:
    """'EPSG:26911' where the CRS is exactly that, else WKT."""
    code = crs.to_epsg(confidence_threshold=100)
    if code is None:
        code = crs.to_epsg()
        if code is None or CRS.from_epsg(code) != crs:
            return crs.to_wkt()
    return f"EPSG:{code}"


def parse_crs(text: str) -> CRS:
    """A CRS that a person typed: '26911', 'EPSG:26911' or WKT.

    Raises:
        UnplacedRasterError: it is none.
    """
    text = text.strip()
    try:
        return CRS.from_user_input(int(text) if text.isdigit() else text)
    except (CRSError, ValueError) as error:
        raise UnplacedRasterError(
            f"'{text[:40]}' is not a known coordinate system.",
            "Give its EPSG code, for example EPSG:26911 (look it up at epsg.io, or in QGIS).",
        ) from error


def band_names(dataset: DatasetReader) -> tuple[str, ...]:
    """A distinct, tidy name for every band."""
    names: list[str] = []
    for i, (description, colour) in enumerate(zip(dataset.descriptions, dataset.colorinterp, strict=True), 1):
        tidy = tidy_name(description or "")
        if colour == ColorInterp.alpha:
            tidy = "alpha"
        elif not tidy and colour.name in _INTERPRETED and not (colour == ColorInterp.gray and dataset.count > 2):
            tidy = colour.name
        names.append(tidy if tidy and tidy not in names else f"band_{i}")
    return tuple(names)


def tidy_name(name: str) -> str:
    """A band's name in small letters and digits, '_' between its words."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def mask_kind(dataset: DatasetReader) -> MaskKind:
    if alpha_band(dataset) is not None:
        return "alpha"
    if dataset.nodata is not None:
        return "nodata"
    return "mask" if MaskFlags.per_dataset in dataset.mask_flag_enums[0] else "none"


def _refuse_unsupported(dataset: DatasetReader, name: str) -> None:
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise UnsupportedRasterError(f"{name} holds complex numbers (radar).", "Compute its intensity first (QGIS or SNAP), and add that.")
    image = {d for d, c in zip(dataset.dtypes, dataset.colorinterp, strict=True) if c != ColorInterp.alpha}
    if len(image) > 1:
        raise UnsupportedRasterError(
            f"The bands of {name} have different types ({', '.join(sorted(image))}).", "Save it with one type for all bands."
        )
    if _CMYK & set(dataset.colorinterp):
        raise UnsupportedRasterError(f"{name} has printing colours (CMYK).", "Save it with red, green and blue, and add that.")
    if dataset.tags(ns="OVERVIEWS"):
        raise UnsupportedRasterError(
            f"{name} points at another file for its overviews.", "Save it again as a GeoTIFF with overviews inside."
        )


def _crs(dataset: DatasetReader, name: str, override: str | None) -> CRS:
    """The CRS to use; refuses what is not placed."""
    if dataset.transform == Affine.identity():
        if dataset.gcps[0]:
            raise UnsupportedRasterError(
                f"{name} is only placed by {len(dataset.gcps[0])} control points.",
                "Warp it first (QGIS: Raster > Projections > Warp, or gdalwarp), and add the result.",
            )
        if dataset.rpcs is not None:
            raise UnsupportedRasterError(
                f"{name} is only placed by a camera model (RPC).",
                "Warp it first with a terrain model (gdalwarp -rpc, or your photogrammetry program), and add the result.",
            )
        raise UnplacedRasterError(
            f"{name} does not say where on Earth it lies.",
            "Put its world file (.tfw, .jgw or .pgw) and .prj beside it in a server folder, or place it with QGIS (Layer > Georeferencer), and add the result.",
        )
    if override is not None and override.strip():
        return parse_crs(override)
    if not dataset.crs:
        raise UnplacedRasterError(
            f"{name} has coordinates, but does not say in which coordinate system.",
            "Type its EPSG code (for example EPSG:26911) and add it again.",
        )
    return dataset.crs


def _resolution_m(grid: Grid, name: str) -> float:
    """Ground size of a pixel; refuses a place that is not on Earth."""
    problem = UnplacedRasterError(
        f"The coordinates of {name} are not a place on Earth.",
        "Its coordinate system is probably wrong: type the right EPSG code and add it again.",
    )
    determinant = grid.transform.determinant
    if not all(math.isfinite(v) for v in tuple(grid.transform)[:6]) or determinant == 0 or not math.isfinite(determinant):
        raise problem
    try:
        _centre_on_earth(grid)
        resolution = grid.resolution_m
        bounds = grid.lonlat_bounds
    except (ProjError, CRSError, RasterioError, ValueError) as error:
        raise problem from error
    if not math.isfinite(resolution) or resolution <= 0 or not all(math.isfinite(v) for v in bounds):
        raise problem
    return resolution


def _centre_on_earth(grid: Grid) -> None:
    lon, lat = grid.centre_lonlat
    if not (-540 <= lon <= 540 and -90.0001 <= lat <= 90.0001):
        raise ValueError("outside the globe")
