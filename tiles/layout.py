"""The side files of an ArcGIS Classified Tiles folder: names, text and JSON. Pure; `writer` and `foreign` do the reading and writing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from tiles.tile_set import METADATA_FORMAT, BandStatistics, TileClass, TileRecord, TileSetRecord

IMAGES = "images"
LABELS = "labels"
IGNORE = "ignore"
MAP_FILE = "map.txt"
STATS_FILE = "stats.txt"
ACCUMULATED_FILE = "esri_accumulated_stats.json"
DEFINITION_FILE = "esri_model_definition.emd"
SIDE_FILES = (MAP_FILE, STATS_FILE, ACCUMULATED_FILE, DEFINITION_FILE)
NEEDED_FILES = (MAP_FILE, ACCUMULATED_FILE, DEFINITION_FILE)
"""Without these no reader can tell the format; stats.txt is for people."""

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
_MAP_LINE = re.compile(r"^\s*(\S+)\s+(\S+)\s*$")


def tile_name(number: int) -> str:
    """Nine digits."""
    return f"{number:09d}"


def map_text(tiles: Sequence[TileRecord]) -> str:
    r"""map.txt: `images\000000000.tif  labels\000000000.tif ` a line: backslashes, two spaces between, one at the end."""
    return "".join(f"{t.image}  {t.label} \n".replace("/", "\\") for t in tiles)


def parse_map(text: str) -> list[tuple[str, str]]:
    """(image, label) paths with forward slashes, of the lines that hold two."""
    found = (_MAP_LINE.match(line) for line in text.splitlines())
    return [(m[1].replace("\\", "/"), m[2].replace("\\", "/")) for m in found if m]


def world_file(transform: Affine) -> str:
    """The six lines of a world file; the place is that of the centre of the first pixel."""
    x, y = transform @ (0.5, 0.5)
    return "".join(
        f"{v:.15f}\n" if 0 < abs(v) < 0.001 else f"{v:.10f}\n" for v in (transform.a, transform.d, transform.b, transform.e, x, y)
    )


def stats_text(record: TileSetRecord) -> str:
    """stats.txt, in the fixed columns that ArcGIS writes."""
    per_image = _classes_per_image(record)
    lines = [
        f"images = {len(record.tiles)} *{len(record.band_names)}*{record.tile_size}*{record.tile_size}",
        f"classes = {len(record.classes)}",
        f"classes per image = [min = {per_image['Min']}, mean = {per_image['Mean']:.2f}, max = {per_image['Max']}]",
        "cls name              cls value     images   pixels      min size   mean size    max size",
    ]
    for c in record.classes:
        counts = _counts(record, c)
        lines.append(
            f"{c.name:<22}{c.value:>9}{int((counts > 0).sum()):>11}{int(counts.sum()):>11}"
            f"{counts.min():>12.2f}{counts.mean():>12.2f}{counts.max():>12.2f}"
        )
    return "\n".join(lines) + "\n"


def accumulated_stats(record: TileSetRecord) -> dict[str, Any]:
    """esri_accumulated_stats.json; arrays follow the order of Classes."""
    counts = [_counts(record, c) for c in record.classes]
    return {
        "Version": 1,
        "NumBands": len(record.band_names),
        "TileSizeX": record.tile_size,
        "TileSizeY": record.tile_size,
        "NumClasses": len(record.classes),
        "NumTiles": len(record.tiles),
        "NumTilesAsDouble": len(record.tiles),
        "OutputFeatures": False,
        "MetaDataMode": METADATA_FORMAT,
        "Classes": [{"ClassValue": c.value, "ClassName": c.name} for c in record.classes],
        **_cell_sizes(record),
        "ClassPixelStats": {
            "NumClasses": len(record.classes),
            "NumImagesTotal": len(record.tiles),
            "NumImagesPerClass": [int((n > 0).sum()) for n in counts],
            "NumPixelsPerClass": [int(n.sum()) for n in counts],
            "NumClassesPerImage": _classes_per_image(record),
            "PixelsPerClass": [_spread(n) for n in counts],
        },
        "InputRastersProps": _raster_properties(record),
        "BandStatsState": [_band_state(b) for b in record.band_statistics],
    }


def model_definition(record: TileSetRecord) -> dict[str, Any]:
    """esri_model_definition.emd: the template of an export with the facts of the data."""
    return {
        "Framework": "",
        "ModelConfiguration": "",
        "ModelType": "ImageClassification",
        "ModelFile": "",
        "Description": "",
        "ImageHeight": record.tile_size,
        "ImageWidth": record.tile_size,
        "ExtractBands": list(range(len(record.band_names))),
        "MetaDataMode": METADATA_FORMAT,
        "IsMultidimensional": False,
        "CropTileMode": "Fixed_Size",
        "ImageSpaceUsed": "MAP_SPACE",
        **_cell_sizes(record),
        "Classes": [{"Value": c.value, "Name": c.name, "Color": list(c.rgb)} for c in record.classes],
        "InputRastersProps": _raster_properties(record),
        "AllTilesStats": [
            {"BandName": name, "Min": _plain(b.min), "Max": _plain(_above(b)), "Mean": b.mean, "StdDev": b.std}
            for name, b in zip(arcgis_band_names(record.band_names), record.band_statistics, strict=True)
        ],
        "WellKnownBandNames (FYI, these band names can be used in ExtractBands)": list(WELL_KNOWN_BANDS),
    }


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


def _counts(record: TileSetRecord, cls: TileClass) -> np.ndarray:
    """(tiles,) pixels of a class."""
    return np.array([t.pixels.get(cls.value, 0) for t in record.tiles], dtype=np.int64)


def _classes_per_image(record: TileSetRecord) -> dict[str, Any]:
    values = [c.value for c in record.classes]
    return _spread(np.array([sum(t.pixels.get(v, 0) > 0 for v in values) for t in record.tiles], dtype=np.int64))


def _spread(numbers: np.ndarray) -> dict[str, Any]:
    return {
        "Min": int(numbers.min()),
        "Max": int(numbers.max()),
        "Mean": float(numbers.mean()),
        "Sum": int(numbers.sum()),
        "Count": len(numbers),
    }


def _raster_properties(record: TileSetRecord) -> dict[str, Any]:
    return {"RasterCount": 1, "SensorName": "", "BandNames": arcgis_band_names(record.band_names)}


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
