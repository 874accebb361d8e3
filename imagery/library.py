"""The imagery list of a project (`imagery.json`): what was added, and how it is shown."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import rasterio
import rasterio.shutil
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from errors import ImageryError, ProjectDamagedError, UnreadableRasterError
from imagery.inspect import Inspection, inspect_one, inspect_safely
from imagery.raster import RasterInfo, band_names, parse_crs, tidy_name
from imagery.read import display_name, gdal_environment, open_raster
from imagery.sources import allowed_path, allowed_url
from imagery.stretch import Stretch, compute_stretch, default_stretch
from workspace.files import disk_full_explained, replaced_on_success, write_text
from workspace.project import Project
from workspace.settings import Settings

Kind = Literal["copy", "reference", "url"]


class Raster(BaseModel):
    """One raster of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    id: str = Field(pattern=r"^[a-z0-9]{4,32}$", description="Short, never reused; names its tiles and predictions.")
    name: str = Field(description="Shown to people: the file's name.")
    kind: Kind
    source: str = Field(description="imagery/<file> relative to the project, an absolute path below a root, or a URL.")
    info: RasterInfo
    bands: tuple[int, ...] = Field(min_length=1, max_length=3, description="Bands shown, 1-based: one as grey, three as red, green, blue.")
    stretch: Stretch = Field(description="For `bands`, computed once over the whole raster.")
    percentiles: tuple[float, float] | None = Field(
        default=None, description="The stretch was made of these; None: the usual one for this kind."
    )

    @property
    def known_ranges(self) -> tuple[tuple[float, float] | None, ...]:
        """2 and 98 % percentile of each band, where the display stretch is made of them; None for other bands."""
        usual = self.percentiles == USUAL_PERCENTILES or (self.percentiles is None and self.info.dtype != "uint8")
        shown = dict(zip(self.bands, zip(self.stretch.low, self.stretch.high, strict=True), strict=False)) if usual else {}
        return tuple(shown.get(band) for band in range(1, self.info.count + 1))

    @property
    def version(self) -> str:
        """Changes whenever the picture on screen does: put it into tile addresses, so that browsers may keep tiles."""
        return hashlib.sha256(f"{self.source}|{self.bands}|{self.stretch}|{self.info.bytes}".encode()).hexdigest()[:10]


USUAL_PERCENTILES = (2.0, 98.0)
_LIST = TypeAdapter(list[Raster])


def list_rasters(project: Project) -> list[Raster]:
    """The rasters in the order they were added.

    Raises:
        ProjectDamagedError: imagery.json does not parse.
    """
    path = project.imagery_file
    try:
        state = path.stat()
    except FileNotFoundError:
        return []
    return list(_parsed(path, state.st_mtime_ns, state.st_size, state.st_ino))


def get_raster(project: Project, raster_id: str) -> Raster:
    """The raster with this id.

    Raises:
        UnreadableRasterError: the project has none.
    """
    for raster in list_rasters(project):
        if raster.id == raster_id:
            return raster
    raise UnreadableRasterError("This raster is not in the project any more.", "Reload the page, or add it again on the imagery page.")


def raster_source(project: Project, raster: Raster) -> str:
    """What `imagery.read.open_raster` opens: an absolute path or a URL."""
    return str(project.folder / raster.source) if raster.kind == "copy" else raster.source


def add_reference(project: Project, path: str | Path, settings: Settings, crs: str | None = None) -> Raster:
    """Add a raster of a server folder where it lies. See `add_references`.

    Raises:
        ImageryError: it may not be opened, or cannot be used.
    """
    result = next(add_references(project, [path], settings, crs))
    if isinstance(result, ImageryError):
        raise result
    return result


def add_references(
    project: Project, paths: Sequence[str | Path], settings: Settings, crs: str | None = None
) -> Iterator[Raster | ImageryError]:
    """Add rasters of server folders where they lie; yield each as it is in the list, or why it is not.

    A raster that is in the list already is yielded as it is. With `crs` (EPSG code typed by a person), a file without a
    CRS is copied into the project, where the code can be written into it.
    """
    allowed: list[Path | ImageryError] = []
    for path in paths:
        try:
            allowed.append(allowed_path(path, settings))
        except ImageryError as error:
            allowed.append(error)
    known = {raster.source: raster for raster in list_rasters(project)}
    fresh = [str(path) for path in allowed if isinstance(path, Path) and str(path) not in known]
    inspections = inspect_safely(fresh)
    for place in allowed:
        if isinstance(place, ImageryError):
            yield place
        elif str(place) in known:
            yield known[str(place)]
        else:
            try:
                yield _referenced(project, place, next(inspections), crs)
            except ImageryError as error:
                yield error


SIDE_FILES = (".aux.xml", ".ovr", ".msk")
"""What GDAL keeps beside a raster: where it lies, overviews, mask. Moved along with it."""


def add_copy(project: Project, path_of_upload: Path, name: str, crs: str | None = None) -> Raster:
    """Inspect a file and move it into the project's imagery folder. The file is left where it is when it cannot be used.

    Args:
        project: Where to add it.
        path_of_upload: A file on the project's disk; it is moved, not copied, with what GDAL keeps beside it.
        name: The name it had at its owner's.
        crs: EPSG code to write into it, for a file that does not say its own.

    Raises:
        ImageryError: it cannot be used.
        DiskFullError: no room.
    """
    found = inspect_one(str(path_of_upload), crs)
    folder = project.folder / "imagery"
    folder.mkdir(parents=True, exist_ok=True)
    if crs and crs.strip():
        name = _write_crs(path_of_upload, name, found.info.driver, crs)
        found = inspect_one(str(path_of_upload))
    with _locked(project):
        target = _unused_file(folder, name)
        with disk_full_explained(target):
            for side in SIDE_FILES:
                if (beside := path_of_upload.with_name(path_of_upload.name + side)).exists():
                    beside.replace(target.with_name(target.name + side))
            path_of_upload.replace(target)
        return _append(project, name, "copy", f"imagery/{target.name}", found)


def add_url(project: Project, url: str, settings: Settings) -> Raster:
    """Add a (cloud-optimised) GeoTIFF that stays on its server and is read in parts.

    Raises:
        ImageryError: the address may not be opened, does not answer, or is no usable raster.
    """
    url = allowed_url(url, settings)
    for raster in list_rasters(project):
        if raster.source == url:
            return raster
    found = inspect_one(url, allow_private=settings.allow_private_addresses)
    with _locked(project):
        return _append(project, display_name(url), "url", url, found)


def remove_raster(project: Project, raster_id: str) -> None:
    """Take a raster off the list; a copy's file is deleted, a server's file or address is left alone."""
    with _locked(project):
        rasters = list_rasters(project)
        _save(project, [raster for raster in rasters if raster.id != raster_id])
        for raster in rasters:
            if raster.id == raster_id and raster.kind == "copy":
                file = Path(raster_source(project, raster))
                for side in ("", *SIDE_FILES):
                    file.with_name(file.name + side).unlink(missing_ok=True)


def set_display(project: Project, raster_id: str, bands: Sequence[int], percentiles: tuple[float, float] | None) -> Raster:
    """Choose the bands shown and how they are stretched; the stretch is computed over the whole raster now.

    Args:
        project: Whose list.
        raster_id: Which raster.
        bands: One or three 1-based band numbers.
        percentiles: For example (2, 98); None for the usual: 8-bit colour as it is, else 2 and 98 %.

    Raises:
        ImageryError: the raster is gone or damaged.
        ValueError: no such bands.
    """
    raster = get_raster(project, raster_id)
    bands = tuple(bands)
    if len(bands) not in {1, 3} or not all(1 <= band <= raster.info.count for band in bands):
        raise ValueError(f"Bands {bands} do not fit a raster with {raster.info.count}: choose one, or three.")
    with open_raster(raster_source(project, raster)) as dataset:
        stretch = default_stretch(dataset, bands) if percentiles is None else compute_stretch(dataset, bands, percentiles)
    return _replace(project, raster.model_copy(update={"bands": bands, "stretch": stretch, "percentiles": percentiles}))


def name_bands(project: Project, raster_id: str, names: Sequence[str] | None) -> Raster:
    """Say what the bands of a raster are, where its file does not, or is wrong.

    The names are used wherever bands are found by name: tiles, training, prediction. A raster that is shown in its first colours so far is
    shown in those that the names make out.

    Args:
        project: Whose list.
        raster_id: Which raster.
        names: One for each band, alpha included, in the order of the file; None: as the file says.

    Raises:
        ImageryError: the raster is gone or damaged.
        ValueError: too many or too few names, an empty one, or one twice.
    """
    raster = get_raster(project, raster_id)
    with open_raster(raster_source(project, raster)) as dataset:
        tidy = band_names(dataset) if names is None else tuple(tidy_name(name) for name in names)
        if len(tidy) != raster.info.count or not all(tidy) or len(set(tidy)) < len(tidy):
            raise ValueError(f"{names} are no distinct names for {raster.info.count} bands.")
        info = raster.info.named(tidy)
        update: dict[str, object] = {"info": info}
        if raster.bands == raster.info.colour_bands != info.colour_bands:
            bands, percentiles = info.colour_bands, raster.percentiles
            stretch = default_stretch(dataset, bands) if percentiles is None else compute_stretch(dataset, bands, percentiles)
            update |= {"bands": bands, "stretch": stretch}
    return _replace(project, raster.model_copy(update=update))


def _replace(project: Project, changed: Raster) -> Raster:
    """Put a changed raster in the place of the one with its id."""
    with _locked(project):
        get_raster(project, changed.id)
        _save(project, [changed if other.id == changed.id else other for other in list_rasters(project)])
    return changed


def _referenced(project: Project, path: Path, found: Inspection | ImageryError, crs: str | None) -> Raster:
    if crs and crs.strip() and not isinstance(found, Inspection):
        folder = project.folder / "imagery"
        folder.mkdir(parents=True, exist_ok=True)
        inspect_one(str(path), crs)
        draft = folder / f".{secrets.token_hex(4)}{path.suffix}"
        try:
            with disk_full_explained(draft):
                shutil.copyfile(path, draft)
            return add_copy(project, draft, path.name, crs)
        finally:
            draft.unlink(missing_ok=True)
    if isinstance(found, ImageryError):
        raise found
    with _locked(project):
        return _append(project, path.name, "reference", str(path), found)


def _write_crs(path: Path, name: str, driver: str, crs: str) -> str:
    """Give a project's own copy its CRS; other formats become GeoTIFFs, which can hold it. Returns the name to keep."""
    if driver != "GTiff":
        with gdal_environment(), replaced_on_success(path) as draft:
            rasterio.shutil.copy(path, draft, driver="GTiff", TILED="YES", COMPRESS="DEFLATE", BIGTIFF="IF_SAFER")
        name = Path(name).stem + ".tif"
    with rasterio.open(path, "r+", driver="GTiff") as dataset:
        dataset.crs = parse_crs(crs)
    return name


def _append(project: Project, name: str, kind: Kind, source: str, found: Inspection) -> Raster:
    rasters = list_rasters(project)
    for raster in rasters:
        if raster.source == source:
            return raster
    raster = Raster(
        id=secrets.token_hex(4), name=name, kind=kind, source=source, info=found.info, bands=found.info.colour_bands, stretch=found.stretch
    )
    _save(project, [*rasters, raster])
    return raster


@functools.lru_cache(maxsize=64)
def _parsed(path: Path, _modified: int, _size: int, _inode: int) -> tuple[Raster, ...]:
    """Parse imagery.json once for each version of it: every tile asks."""
    try:
        return tuple(_LIST.validate_json(path.read_bytes()))
    except (OSError, ValidationError) as error:
        raise ProjectDamagedError(
            "The imagery list of this project cannot be read.",
            "Restore imagery.json from a backup, or delete it and add the imagery again.",
        ) from error


def _save(project: Project, rasters: Sequence[Raster]) -> None:
    write_text(project.imagery_file, _LIST.dump_json(list(rasters), indent=2).decode() + "\n")


@contextlib.contextmanager
def _locked(project: Project) -> Iterator[None]:
    """Only one tab or process changes the list at a time."""
    with (project.folder / ".imagery.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unused_file(folder: Path, name: str) -> Path:
    """A file in `folder`, named after what the owner called it, safe on any disk."""
    stem, suffix = os.path.splitext(display_name(name))  # noqa: PTH122
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")[:80] or "raster"
    suffix = re.sub(r"[^a-z0-9.]", "", suffix.lower())[:8]
    candidate, n = folder / f"{plain}{suffix}", 2
    while candidate.exists():
        candidate, n = folder / f"{plain}-{n}{suffix}", n + 1
    return candidate
