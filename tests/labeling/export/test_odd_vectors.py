"""Whatever odd file labels were imported from, they can be cut into tiles."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from shapely.affinity import translate

from errors import LabelFileError
from labeling.exchange import NOTHING, labels_of, placed, read_file
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from tiles.validate import validate_tile_set
from workspace.classes import starter_schema

UNPAVED = 2


def imported(path: Path) -> gpd.GeoDataFrame | None:
    """Its labels; None where it has none. What does not say its CRS may be in degrees, or in metres."""
    for crs in ("EPSG:4326", "EPSG:26911", "EPSG:3857"):
        try:
            return labels_of(placed(read_file(path), crs), None, {NOTHING: UNPAVED}, starter_schema())
        except LabelFileError:
            continue
    return None


@pytest.mark.shared_data
def test_labels_from_odd_files_become_tiles(shared_data: Path, tmp_path: Path):
    folder = shared_data / "odd_vectors"
    with (folder / "index.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    seen = 0
    for number, name in enumerate(names):
        labels = imported(folder / name)
        if labels is None:
            continue
        west, south, east, north = labels.total_bounds
        pixel = max(east - west, north - south, 1e-6) / 100
        if pixel > 0.25:  # no room on Earth for a second copy beside them
            continue
        aside = labels.assign(geometry=[translate(g, 400 * pixel) for g in labels.geometry])  # so that one can be kept for validation
        image = tmp_path / f"{number}.tif"
        profile = {"driver": "GTiff", "width": 640, "height": 140, "count": 1, "dtype": "uint8", "crs": "EPSG:4326"}
        with rasterio.open(image, "w", **profile, transform=Affine(pixel, 0, west - 20 * pixel, 0, -pixel, north + 20 * pixel)) as out:
            out.write(np.random.default_rng(number).integers(0, 255, (1, 140, 640), dtype=np.uint8))
        both = gpd.GeoDataFrame(pd.concat([labels, aside], ignore_index=True), crs=labels.crs).assign(width_m=4 * 111_320 * pixel)
        settings = ExportSettings(metadata_format="RCNN_Masks", tile_size=32, stride=32)
        made = export_tiles([ImageSource(name="image", source=str(image))], both, starter_schema(), settings, tmp_path / f"{number}")
        assert sum(t.pixels.get(UNPAVED, 0) for t in made.record.tiles) > 0, name
        assert [str(f) for f in validate_tile_set(made.folder) if f.harm in {"grave", "leak"}] == [], name
        seen += 1
    assert seen > 55
