"""Which files are in what a person chose, and of which kind. Told by content: no GDAL driver gets to see what is not its own.

A ZIP (a shapefile, a file geodatabase, a KMZ, a folder of annotations) is unpacked into a folder of its own, within limits.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from errors import DiskFullError, LabelFileError
from workspace.files import FREE_SPACE, is_disk_full

READABLE = (
    *(".geojson", ".json", ".gpkg", ".zip", ".shp", ".fgb", ".kml", ".kmz"),
    *(".csv", ".tsv", ".txt", ".gml", ".topojson", ".xml", ".gdb"),
)
SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".sbn", ".sbx")
MAX_BYTES = 1024**3
MAX_JSON_BYTES = 150 * 1024**2
"""JSON and XML take ten times their size in memory."""
MAX_FILES = 20_000
_MAX_ZIP_RATIO = 200
_SMALL = 16 * 1024**2
"""What any ZIP may unpack to, however well it was packed."""
_GEOJSON_TYPES = {
    "FeatureCollection",
    "Feature",
    "GeometryCollection",
    *("Multi" * m + t for m in (0, 1) for t in ("Point", "LineString", "Polygon")),
}

Kind = Literal["geojson", "esrijson", "topojson", "coco", "gpkg", "shp", "fgb", "kml", "gml", "gdb", "csv", "voc"]


@dataclass(frozen=True)
class Source:
    """One file to read, and what it is."""

    path: Path
    kind: Kind
    states_crs: bool = True
    """False: its format leaves the CRS to a default, and it does not name one."""


def sources(path: Path, folder: Path) -> list[Source]:
    """What is to be read of a file, or of a ZIP after unpacking it into `folder` (empty, removed by the caller).

    Raises:
        LabelFileError: it is missing, too large, damaged, or nothing that can be read.
    """
    suffix = path.suffix.lower()
    if suffix in {".zip", ".kmz"}:
        _check_head(path)
        inside = _unpacked(path, folder)
        found = [source for one in inside for source in _told(one, path.name)]
        found = [source for source in found if source.kind != "csv"] or found  # a table beside the data is about it
        if not found:
            raise LabelFileError(f"{path.name} holds no vector file.", "Zip the .shp together with its .shx, .dbf and .prj, or a .gdb folder.")
        return found
    source = _source(path)
    return [Source(_linked(path, folder), "gml")] if source.kind == "gml" else [source]


def _linked(path: Path, folder: Path) -> Path:
    """The same file in `folder`: GDAL writes a side file beside every GML that it opens."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / path.with_suffix(".gml").name
    link.symlink_to(path.resolve())
    return link


def _told(path: Path, archive: str) -> Iterator[Source]:
    """A file out of a ZIP; what merely lies beside the data is passed over."""
    try:
        yield _source(path)
    except LabelFileError as error:
        if path.suffix.lower() not in {".xml", ".txt", ".json"}:  # metadata, read-me files
            raise LabelFileError(f"In {archive}: {error.fact}", error.remedy) from error


def _source(path: Path) -> Source:
    _check_head(path)
    suffix = path.suffix.lower()
    if suffix in {".json", ".geojson", ".topojson"}:
        return _json_source(path)
    if suffix == ".xml":
        return Source(path, "gml" if _is_gml(_head(path)) else "voc")
    kinds: dict[str, Kind] = {
        **{".gpkg": "gpkg", ".shp": "shp", ".fgb": "fgb", ".kml": "kml", ".gml": "gml", ".gdb": "gdb"},
        **{".csv": "csv", ".tsv": "csv", ".txt": "csv"},
    }
    return Source(path, kinds[suffix])


def _check_head(path: Path) -> None:
    """Refuse a file whose first bytes are not what its name says.

    Raises:
        LabelFileError: it is missing, too large, or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix not in READABLE and suffix != ".kmz":
        if suffix in SHAPEFILE_PARTS:
            raise LabelFileError(f"{path.name} is only a part of a shapefile.", "Choose the .shp, .shx, .dbf and .prj together, or zip them.")
        raise LabelFileError(f"{path.name} is not a vector file that can be imported.", f"Save it as one of: {', '.join(READABLE)}.")
    try:
        if path.is_dir():
            if suffix == ".gdb" and any(path.glob("*.gdbtable")):
                return
            raise LabelFileError(f"{path.name} is a folder, not a file geodatabase.", "Choose a .gdb folder, or a file.")
        size, head = path.stat().st_size, _head(path)
    except OSError as error:
        raise LabelFileError(f"{path.name} cannot be opened.", "Check that the file exists and may be read.") from error
    if size > MAX_BYTES:
        raise LabelFileError(f"{path.name} is larger than 1 GB.", "Cut it to your area first.")
    if suffix in {".json", ".geojson", ".topojson", ".xml", ".gml", ".kml"} and size > MAX_JSON_BYTES:
        raise LabelFileError(
            f"{path.name} is larger than {MAX_JSON_BYTES // 1024**2} MB.", "Cut it to your area, or save it as GeoPackage or FlatGeobuf."
        )
    right = {
        ".gpkg": head.startswith(b"SQLite format 3\0"),
        ".shp": head.startswith(b"\x00\x00\x27\x0a"),
        ".zip": head.startswith(b"PK"),
        ".kmz": head.startswith(b"PK"),
        ".fgb": head.startswith(b"fgb"),
        ".kml": b"<kml" in head,
        ".gml": _is_gml(head),
        ".xml": _is_gml(head) or b"<annotation" in head,
        ".gdb": False,
    }.get(suffix, b"\0" not in head)
    if not right or b"<!ENTITY" in head or b"<OGRVRT" in head:
        raise LabelFileError(f"{path.name} is not what its name says.", f"Save it again as {suffix[1:]} from the program it comes from.")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 16)


def _is_gml(head: bytes) -> bool:
    return b"opengis.net/gml" in head and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


# --- JSON ------------------------------------------------------------------------------------------------------------------------------


def read_json_file(path: Path) -> Any:
    """The parsed content.

    Raises:
        LabelFileError: it is not complete, valid JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise LabelFileError(f"{path.name} is damaged: it is not complete, valid JSON.", "Export or copy it again.") from error


def _json_source(path: Path) -> Source:
    try:
        content = read_json_file(path)
    except LabelFileError:  # GDAL forgives what the standard does not (a comma too many) in these two, and finds real damage itself
        head = _head(path)
        if b'"Topology"' in head or b'"esriGeometry' in head:
            return Source(path, "topojson" if b'"Topology"' in head else "esrijson", states_crs=b'"spatialReference"' in head)
        raise
    if isinstance(content, dict):
        kind = content.get("type")
        if "annotations" in content and "images" in content:
            return Source(path, "coco")
        if kind == "Topology":
            return Source(path, "topojson", states_crs=False)
        if kind in _GEOJSON_TYPES:
            return Source(path, "geojson", states_crs=_names_crs(content))
        if {"features", "geometryType"} & content.keys() and isinstance(content.get("features"), list):
            return Source(path, "esrijson", states_crs=_names_crs(content))
    raise LabelFileError(
        f"{path.name} is JSON, but neither GeoJSON nor any other kind that is read here.",
        "Export it again as GeoJSON (or as TopoJSON, EsriJSON, COCO).",
    )


def _names_crs(content: dict[str, Any]) -> bool:
    features = content.get("features")
    first = features[:1] if isinstance(features, list) else []
    return bool(
        content.get("crs")
        or content.get("spatialReference")
        or any(isinstance(one, dict) and ("crs" in one or "spatialReference" in (one.get("geometry") or {})) for one in first)
    )


# --- ZIP -------------------------------------------------------------------------------------------------------------------------------


def _unpacked(path: Path, folder: Path) -> list[Path]:
    """The data files of a ZIP, unpacked; file geodatabases as their folders.

    Raises:
        LabelFileError: it is damaged, locked, or unpacks to more than can be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if _wanted(one)]
            _check_size(path, members)
            written = [_extract(archive, one, folder) for one in members]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        if is_disk_full(error):
            raise DiskFullError(f"{path.name} could not be unpacked: the disk is full.", FREE_SPACE) from error
        raise LabelFileError(f"{path.name} is not a complete ZIP file.", "Zip or copy it again.") from error
    except RuntimeError as error:  # encrypted
        raise LabelFileError(f"{path.name} is locked with a password.", "Zip it without one.") from error
    databases = {one.parent for one in written if one.suffix == ".gdbtable"}
    named = [_as_database(one) for one in sorted(databases)]
    plain = [one for one in written if one.parent not in databases and one.suffix.lower() in READABLE]
    return named + plain


def _as_database(folder: Path) -> Path:
    """A folder of geodatabase tables with the ending by which GDAL knows it."""
    if folder.suffix.lower() == ".gdb":
        return folder
    renamed = folder.with_name(f"{folder.name}.gdb")
    if (folder.parent / renamed.name).exists():
        raise ValueError("two geodatabases of one name")
    folder.rename(renamed)
    return renamed


def _wanted(member: zipfile.ZipInfo) -> bool:
    place = PurePosixPath(member.filename.replace("\\", "/"))
    hidden = "__MACOSX" in place.parts or place.name.startswith(".")
    in_database = any(part.lower().endswith(".gdb") for part in place.parts[:-1]) or place.suffix.lower().startswith((".gdbt", ".gdbindexes"))
    known = place.suffix.lower() in READABLE or place.suffix.lower() in SHAPEFILE_PARTS or in_database or place.name == "gdb"
    nested = place.suffix.lower() in {".zip", ".gdb", ".txt"}
    return not member.is_dir() and not hidden and known and not nested and not place.name.lower().endswith(".shp.xml")


def _check_size(path: Path, members: list[zipfile.ZipInfo]) -> None:
    whole = sum(one.file_size for one in members)
    if whole > min(MAX_BYTES, max(_SMALL, _MAX_ZIP_RATIO * path.stat().st_size)) or len(members) > MAX_FILES:
        raise LabelFileError(f"{path.name} unpacks to more than can be read.", "Cut its content to your area first.")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Write one member below `folder`, whatever its name says, and never more than it promised."""
    parts = [re.sub(r'[\0<>:"|?*]', "_", part) for part in PurePosixPath(member.filename.replace("\\", "/")).parts]
    target = folder.joinpath("content", *(part for part in parts if part not in {"..", ".", "/"} and part))
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as packed, target.open("wb") as file:
        while chunk := packed.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                raise ValueError("more than was promised")
            file.write(chunk)
    return target
