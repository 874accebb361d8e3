"""A key of everything that an export is made from: the same key, the same tiles, so that a killed export can be gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import shapely

from imagery.read import is_url
from imagery.views import Layer
from labeling.burn import Shapes
from labeling.export.plan import PlannedImage
from labeling.export.settings import ExportSettings
from tiles.tile_set import FORMAT_VERSION, TileClass


def export_key(planned: Sequence[PlannedImage], settings: ExportSettings, classes: Sequence[TileClass]) -> str:
    """SHA-256 of settings, classes, shapes, windows, and of the rasters' names, sizes and times of change, as text."""
    key = hashlib.sha256()
    facts = [FORMAT_VERSION, rasterio.__gdal_version__, settings.model_dump(mode="json"), [c.model_dump() for c in classes]]
    key.update(json.dumps(facts, sort_keys=True).encode())
    for image in planned:
        views = [image.view, *([image.second.view] if image.second else [])]
        layers = [_layer(layer) for view in views for layer in view.layers]
        key.update(json.dumps([image.name, image.info.model_dump(mode="json"), layers], sort_keys=True).encode())
        _add_shapes(key, image.shapes)
        windows = [(w.column, w.row, w.columns, w.rows, w.feature, w.angle) for w in image.windows]
        key.update(np.array(windows, dtype=float).tobytes())  # no label: NaN
    return key.hexdigest()


def _layer(layer: Layer) -> list[object]:
    if is_url(layer.source):
        changed: list[int] = []
    else:
        file = Path(layer.source).stat()
        changed = [file.st_size, file.st_mtime_ns]
    grid = layer.grid
    return [layer.source, layer.bands, layer.column, layer.row, grid.shape, tuple(grid.transform), layer.as_it_is, changed]


def _add_shapes(key: hashlib._Hash, shapes: Shapes) -> None:
    complete = None if shapes.fully_labelled is None else shapes.fully_labelled.parts
    for areas in (shapes.areas, complete):
        key.update(b"none" if areas is None else b"%d" % len(areas))
        key.update(b"".join(shapely.to_wkb(areas)) if areas is not None else b"")
    key.update(shapes.values.tobytes() + shapes.features.tobytes())
