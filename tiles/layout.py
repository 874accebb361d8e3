"""The side files of an ArcGIS training-data folder: names, text and JSON. Pure; `writer` and `foreign` do the reading and writing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from models.values import BandStatistics
from tiles.objects import TileObject
from tiles.tile_set import TileClass, TileRecord, TileSetRecord

IMAGES = "images"
IMAGES2 = "images2"
"""Second images of the same places."""
LABELS = "labels"
IGNORE = "ignore"
MAP_FILE = "map.txt"
STATS_FILE = "stats.txt"
ACCUMULATED_FILE = "esri_accumulated_stats.json"
DEFINITION_FILE = "esri_model_definition.emd"
SIDE_FILES = (MAP_FILE, STATS_FILE, ACCUMULATED_FILE, DEFINITION_FILE)
NEEDED_FILES = (MAP_FILE, ACCUMULATED_FILE, DEFINITION_FILE)
"""Without these no reader can tell the format; stats.txt is for people."""

PIXEL_SPACE = "PIXEL_SPACE"
"""ImageSpaceUsed of a set whose tiles lie in the raw picture, not on the map."""
VARIABLE_SIZE = "Variable_Size"
"""CropTileMode of a set whose tiles end at their objects."""

WELL_KNOWN_BANDS = [
    "Red",
    "Green",
    "Blue",
    "Infrared",
    "CoastalBlue",
    "Yellow",
    "RedEdge",
    "ShortWaveInfrared",
    "NearInfrared",
    "NearInfrared_1",
    "NearInfrared_2",
    "MidInfrared",
    "MidInfrared_1",
    "MidInfrared_2",
    "Thermal",
    "Thermal_1",
    "Thermal_2",
    "Panchromatic",
    "PseudoRed",
    "PseudoGreen",
    "PseudoBlue",
    "QA",
]
_ARCGIS_BANDS = {
    "red": "Red",
    "green": "Green",
    "blue": "Blue",
    "nir": "NearInfrared",
    "coastal": "CoastalBlue",
    "yellow": "Yellow",
    "rededge": "RedEdge",
    "swir": "ShortWaveInfrared",
    "pan": "Panchromatic",
}
"""Our names of bands, and ArcGIS's."""
_NOT_IN_FOLDERS = re.compile(r"[^\w.-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class SideFacts:
    """What one metadata format says in the side files, besides the facts of the data."""

    model_type: str
    counts_pixels: bool = False
    """ClassPixelStats, and pixels in stats.txt."""
    counts_features: bool = False
    """FeatureStats and OutputFeatures, and features in stats.txt."""


@dataclass(frozen=True)
class SideContent:
    """What the side files are made of."""

    record: TileSetRecord
    facts: SideFacts
    classes: Sequence[TileClass]
    """As listed there."""
    names: Mapping[int, str]
    """Class names as they stand there."""
    objects: Sequence[Sequence[TileObject]] = ()
    """Of each tile, in the record's order; empty where the format knows only pixels."""
    definition: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the .emd."""


def in_pixel_space(record: TileSetRecord) -> bool:
    """Whether the files of a set do not say where they lie, though the record does: its tiles are in the pixels of the raw picture."""
    return record.settings.get("reference_system") == "pixel_space"


def tile_name(number: int) -> str:
    """Nine digits."""
    return f"{number:09d}"


def folder_names(classes: Sequence[TileClass]) -> dict[int, str]:
    """Class names as folders, by value: letters, digits, `_`, `-` and `.`; no blanks, at which readers of map.txt stumble; none that
    Windows keeps for itself; distinct, whatever their case.
    """
    names = {}
    for c in classes:
        name = _NOT_IN_FOLDERS.sub("_", unicodedata.normalize("NFC", c.name)).strip("._")
        names[c.value] = f"class_{c.value}" if not name or _RESERVED.match(name) else name
    return distinct_names(names, "_")


def distinct_names(names: Mapping[int, str], joint: str = " ") -> dict[int, str]:
    """Names by class value, with the value behind those that come a second time, whatever their case."""
    found: dict[int, str] = {}
    for value, name in names.items():
        while name.casefold() in {n.casefold() for n in found.values()}:
            name = f"{name}{joint}{value}"
        found[value] = name
    return found


def map_text(tiles: Sequence[TileRecord]) -> str:
    r"""map.txt: `images\000000000.tif  labels\000000000.tif ` a line: backslashes, two spaces between, one at the end.

    Second images stand there only where there are no labels, after one space: that is how ArcGIS writes Export_Tiles, and where there are
    labels, readers take what follows the image for its label.
    """
    return "".join(("  " if t.label or t.masks else " ").join(map_columns(t)).replace("/", "\\") + " \n" for t in tiles)


def map_columns(tile: TileRecord) -> list[str]:
    """The image and everything that labels it; the second image where nothing does."""
    labels = [*([tile.label] if tile.label else []), *tile.masks.values()]
    return [tile.image, *(labels or ([tile.image2] if tile.image2 else []))]


def parse_map(text: str) -> list[tuple[str, ...]]:
    """Paths with forward slashes, the image first, of the lines that hold any."""
    return [tuple(part.replace("\\", "/") for part in line.split()) for line in text.splitlines() if line.strip()]


def world_file(transform: Affine) -> str:
    """The six lines of a world file; the place is that of the centre of the first pixel."""
    t = transform
    numbers = t.a, t.d, t.b, t.e, t.a * 0.5 + t.b * 0.5 + t.c, t.d * 0.5 + t.e * 0.5 + t.f
    return "".join(f"{v:.15f}\n" if 0 < abs(v) < 0.001 else f"{v:.10f}\n" for v in numbers)


def stats_text(content: SideContent) -> str:
    """stats.txt, in the fixed columns that ArcGIS writes."""
    record = content.record
    columns, rows = record.tile_sides
    lines = [f"images = {len(record.tiles)} *{len(record.band_names)}*{columns}*{rows}"]
    several = content.facts.counts_features and (content.facts.counts_pixels or not content.classes)
    head = "cls name              cls value     images   {:<8}    min size   mean size    max size"
    if content.facts.counts_features:
        per_image = _spread(np.array([len(one) for one in content.objects]))
        lines += ["", "Class feature statistics:"] if several else []
        lines += [
            f"features = {per_image['Sum']}",
            f"features per image = [{_min_mean_max(per_image)}]",
            f"classes = {len(content.classes)}",
            *([head.format("features")] if content.classes else []),
        ]
        areas = {c.value: _areas(content, c) for c in content.classes}
        lines += [_stats_line(content, c, _images_with(content, c), len(areas[c.value]), areas[c.value]) for c in content.classes]
    if content.facts.counts_pixels:
        lines += ["", "Class pixel statistics:"] if several else []
        lines += [
            f"classes = {len(content.classes)}",
            f"classes per image = [{_min_mean_max(_classes_per_image(record))}]",
            head.format("pixels"),
        ]
        counts = {c.value: _counts(record, c) for c in content.classes}
        lines += [
            _stats_line(content, c, int((counts[c.value] > 0).sum()), int(counts[c.value].sum()), counts[c.value]) for c in content.classes
        ]
    return "\n".join(lines) + "\n"


def accumulated_stats(content: SideContent) -> dict[str, Any]:
    """esri_accumulated_stats.json; arrays follow the order of Classes."""
    record = content.record
    return {
        "Version": 1,
        "NumBands": len(record.band_names),
        "TileSizeX": record.tile_sides[0],
        "TileSizeY": record.tile_sides[1],
        "NumClasses": len(content.classes),
        "NumTiles": len(record.tiles),
        "NumTilesAsDouble": len(record.tiles),
        "OutputFeatures": content.facts.counts_features,
        "MetaDataMode": record.metadata_format,
        **({"Classes": [{"ClassValue": c.value, "ClassName": content.names[c.value]} for c in content.classes]} if content.classes else {}),
        **_cell_sizes(record),
        **({"FeatureStats": _feature_stats(content)} if content.facts.counts_features else {}),
        **({"ClassPixelStats": _pixel_stats(record)} if content.facts.counts_pixels else {}),
        "InputRastersProps": _raster_properties(record.band_names),
        **({"InputRastersProps2": _raster_properties(second.band_names)} if (second := record.second) else {}),
        "BandStatsState": [_band_state(b) for b in record.band_statistics],
        **({"BandStatsState2": [_band_state(b) for b in second.band_statistics]} if second else {}),
    }


def model_definition(content: SideContent) -> dict[str, Any]:
    """esri_model_definition.emd: the template of an export with the facts of the data."""
    record = content.record
    return {
        "Framework": "",
        "ModelConfiguration": "",
        "ModelType": content.facts.model_type,
        "ModelFile": "",
        "Description": "",
        "ImageHeight": record.tile_sides[1],
        "ImageWidth": record.tile_sides[0],
        "ExtractBands": list(range(len(record.band_names))),
        "MetaDataMode": record.metadata_format,
        "BlackenAroundFeature": bool(record.settings.get("blacken_around_feature", False)),
        "IsMultidimensional": False,
        "CropTileMode": VARIABLE_SIZE if record.settings.get("crop_mode") == "bounding_box" else "Fixed_Size",
        "ImageSpaceUsed": PIXEL_SPACE if in_pixel_space(record) else "MAP_SPACE",
        **content.definition,
        **_cell_sizes(record),
        "Classes": definition_classes(content.classes, content.names),
        "InputRastersProps": _raster_properties(record.band_names),
        **({"InputRastersProps2": _raster_properties(second.band_names)} if (second := record.second) else {}),
        "AllTilesStats": _tiles_statistics(record.band_names, record.band_statistics),
        **({"AllTilesStats2": _tiles_statistics(second.band_names, second.band_statistics)} if second else {}),
        "WellKnownBandNames (FYI, these band names can be used in ExtractBands)": list(WELL_KNOWN_BANDS),
    }


def part_of(record: TileSetRecord, part: str, second: bool) -> TileSetRecord:
    """What the side files in one part of a set are about: its tiles, as seen from its folder; `second`: it is of the second raster."""
    inside = f"{part}/"
    tiles = tuple(t.model_copy(update={"image": t.image.removeprefix(inside)}) for t in record.tiles if t.image.startswith(inside))
    about = dict(record.second) if second and record.second is not None else {}
    return record.model_copy(update={**about, "second": None, "tiles": tiles})


def definition_classes(classes: Sequence[TileClass], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Classes as the .emd lists them."""
    return [{"Value": c.value, "Name": names[c.value], "Color": list(c.rgb)} for c in classes]


def our_band_names(arcgis: Sequence[str]) -> tuple[str, ...]:
    """Band names as `imagery.raster` gives them: lower case, and distinct."""
    ours = {theirs.casefold(): name for name, theirs in _ARCGIS_BANDS.items()}
    names: list[str] = []
    for number, name in enumerate(arcgis, 1):
        tidy = ours.get(name.strip().casefold(), re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_"))
        names.append(tidy if tidy and tidy not in names else f"band_{number}")
    return tuple(names)


def arcgis_band_names(ours: Sequence[str]) -> list[str]:
    """Band names as ArcGIS knows them, where it does."""
    return [_ARCGIS_BANDS.get(name, name) for name in ours]


def json_text(value: dict[str, Any]) -> str:
    """JSON spaced as ArcGIS spaces it."""
    return json.dumps(value, indent=2, separators=(",", " : "), ensure_ascii=False) + "\n"


def _feature_stats(content: SideContent) -> dict[str, Any]:
    """Areas are those of the parts in the tiles, in square map units, as in ArcGIS's own files."""
    areas = [_areas(content, c) for c in content.classes]
    return {
        "NumClasses": len(areas),
        "NumImagesTotal": len(content.record.tiles),
        "NumFeaturesTotal": sum(len(one) for one in areas),
        "NumImagesPerClass": [_images_with(content, c) for c in content.classes],
        "NumFeaturesPerClass": [len(one) for one in areas],
        "NumFeaturesPerImage": _spread(np.array([len(one) for one in content.objects])),
        "FeatureAreaPerClass": [_spread(one) for one in areas],
    }


def _pixel_stats(record: TileSetRecord) -> dict[str, Any]:
    counts = [_counts(record, c) for c in record.classes]
    return {
        "NumClasses": len(record.classes),
        "NumImagesTotal": len(record.tiles),
        "NumImagesPerClass": [int((n > 0).sum()) for n in counts],
        "NumPixelsPerClass": [int(n.sum()) for n in counts],
        "NumClassesPerImage": _classes_per_image(record),
        "PixelsPerClass": [_spread(n) for n in counts],
    }


def _stats_line(content: SideContent, cls: TileClass, images: int, total: int, sizes: np.ndarray) -> str:
    least, mean, most = (sizes.min(), sizes.mean(), sizes.max()) if len(sizes) else (0, 0, 0)
    return f"{content.names[cls.value]:<22}{cls.value:>9}{images:>11}{total:>11}{least:>12.2f}{mean:>12.2f}{most:>12.2f}"


def _min_mean_max(spread: Mapping[str, Any]) -> str:
    return f"min = {spread['Min']}, mean = {spread['Mean']:.2f}, max = {spread['Max']}"


def _areas(content: SideContent, cls: TileClass) -> np.ndarray:
    """(objects,) areas of a class, all tiles."""
    return np.array([one.area for tile in content.objects for one in tile if one.value == cls.value], dtype=np.float64)


def _images_with(content: SideContent, cls: TileClass) -> int:
    return sum(any(one.value == cls.value for one in tile) for tile in content.objects)


def _counts(record: TileSetRecord, cls: TileClass) -> np.ndarray:
    """(tiles,) pixels of a class."""
    return np.array([t.pixels.get(cls.value, 0) for t in record.tiles], dtype=np.int64)


def _classes_per_image(record: TileSetRecord) -> dict[str, Any]:
    values = [c.value for c in record.classes]
    return _spread(np.array([sum(t.pixels.get(v, 0) > 0 for v in values) for t in record.tiles], dtype=np.int64))


def _spread(numbers: np.ndarray) -> dict[str, Any]:
    """Whole numbers stay whole; zeros for none."""
    if not len(numbers):
        return {"Min": 0, "Max": 0, "Mean": 0, "Sum": 0, "Count": 0}
    kind = int if numbers.dtype.kind in "iu" else float
    return {
        "Min": kind(numbers.min()),
        "Max": kind(numbers.max()),
        "Mean": float(numbers.mean()),
        "Sum": kind(numbers.sum()),
        "Count": len(numbers),
    }


def _raster_properties(bands: Sequence[str]) -> dict[str, Any]:
    return {"RasterCount": 1, "SensorName": "", "BandNames": arcgis_band_names(bands)}


def _tiles_statistics(bands: Sequence[str], statistics: Sequence[BandStatistics]) -> list[dict[str, Any]]:
    return [
        {"BandName": name, "Min": _plain(b.min), "Max": _plain(_above(b)), "Mean": b.mean, "StdDev": b.std}
        for name, b in zip(arcgis_band_names(bands), statistics, strict=True)
    ]


def _band_state(band: BandStatistics) -> dict[str, Any]:
    return {
        "Min": _plain(band.min),
        "Max": _plain(_above(band)),
        "Mean": band.mean,
        "StdDev": band.std,
        "M1": band.mean,
        "M2": band.std**2 * band.count,
        "Num": band.count,
    }


def _above(band: BandStatistics) -> float:
    """The maximum; for a constant band one more than it, because readers drop a band whose maximum is its minimum."""
    return band.max if band.max > band.min else band.min + 1


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _cell_sizes(record: TileSetRecord) -> dict[str, Any]:
    """MinCellSize and MaxCellSize, each in the units of its own spatial reference; nothing for tiles that lie nowhere."""
    if in_pixel_space(record):
        return {}
    placed = {
        (t.crs, round(t.affine.a, 12), round(t.affine.b, 12), round(t.affine.d, 12), round(t.affine.e, 12)): t
        for t in record.tiles
        if t.crs
    }
    if not placed:
        return {}
    sized = sorted(placed.values(), key=lambda t: _metres_per_unit(t) * float(np.hypot(t.affine.a, t.affine.d)))
    return {"MinCellSize": _cell_size(sized[0]), "MaxCellSize": _cell_size(sized[-1])}


def _metres_per_unit(tile: TileRecord) -> float:
    crs = CRS.from_user_input(tile.crs)
    return float(crs.linear_units_factor[1]) if crs.is_projected else 111_320.0


def _cell_size(tile: TileRecord) -> dict[str, Any]:
    crs = CRS.from_user_input(tile.crs)
    code = crs.to_epsg()
    reference: dict[str, Any] = {"wkid": code, "latestWkid": code} if code else {"wkt": crs.to_wkt()}
    if code == 3857:
        reference = {"wkid": 102100, "latestWkid": 3857}
    t = tile.affine
    return {"x": float(np.hypot(t.a, t.d)), "y": float(np.hypot(t.b, t.e)), "spatialReference": reference}
