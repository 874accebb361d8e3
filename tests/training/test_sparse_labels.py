"""Sparse labels from the export to what a model is taught: background comes only from inside fully labelled areas, uncertain from nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box

from inference.classify import make_classifier
from labeling.export import export_tiles
from labeling.export.settings import ExportSettings, ImageSource
from labeling.label_set import label_set
from models.bundle import load_bundle
from tests.training.test_run import a_run
from tests.training.tile_sets import make_base
from tiles.reader import read_tile
from training.dataset import TileData
from training.run import run
from workspace.classes import FULLY_LABELLED_VALUE, UNCERTAIN_VALUE, ClassDef, ClassSchema

ROOF, X0, Y0, SIDE = 1, 500_000.0, 4_000_000.0, 64
SCHEMA = ClassSchema(
    classes=(
        ClassDef(value=ROOF, name="Roof", colour="#ff0000"),
        ClassDef(value=UNCERTAIN_VALUE, name="Uncertain", colour="#9aa0a6", ignore=True),
    )
)
PLACES = (0, 4, 8, 12)
"""Tiles, of a row of sixteen, on which a roof is drawn; on each of them another one, as bright, is not."""


def pixels(left, top, right, bottom):
    """A box by columns and rows of the scene, drawn in its coordinates."""
    return box(X0 + left * 0.5, Y0 - bottom * 0.5, X0 + right * 0.5, Y0 - top * 0.5)


@pytest.fixture
def scene(tmp_path):
    """Dark ground with bright roofs of 16 x 16 pixels: two a tile, one above the other."""
    values = np.random.default_rng(0).normal(60, 8, (3, SIDE, 16 * SIDE))
    for place in PLACES:
        for row in (8, 40):
            values[:, row : row + 16, place * SIDE + 20 : place * SIDE + 36] = 190
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 16 * SIDE, "height": SIDE, "count": 3, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(path, "w", **profile, transform=Affine(0.5, 0, X0, 0, -0.5, Y0)) as file:
        file.write(values.clip(0, 255).astype(np.uint8))
    return ImageSource(name="scene", source=str(path))


def drawn(*, areas):
    """The upper roof of each place; with `areas`, the upper half of each place is fully labelled, with an uncertain corner in it."""
    rows = [(ROOF, pixels(place * SIDE + 20, 8, place * SIDE + 36, 24)) for place in PLACES]
    if areas:
        rows += [(FULLY_LABELLED_VALUE, pixels(place * SIDE, 0, (place + 1) * SIDE, 32)) for place in PLACES]
        rows += [(UNCERTAIN_VALUE, pixels(place * SIDE, 0, place * SIDE + 8, 8)) for place in PLACES]
    about = {"origin": "drawn", "note": "", "created": "", "changed": ""}
    table = label_set({"object_id": str(i), "class_value": value, "geometry": shape, **about} for i, (value, shape) in enumerate(rows))
    return table.set_crs("EPSG:32611", allow_override=True)


def exported(scene, tmp_path, *, areas):
    name = "with" if areas else "without"
    settings = ExportSettings(tile_size=SIDE, stride=SIDE, validation_share=0.25)
    return export_tiles([scene], drawn(areas=areas), SCHEMA, settings, tmp_path / name)


def test_targets_hold_background_only_from_inside_the_areas(scene, tmp_path):
    sparse, whole = (exported(scene, tmp_path, areas=areas) for areas in (True, False))
    card = load_bundle(make_base(tmp_path / "base")).card
    lookup = np.arange(256, dtype=np.uint8)
    for tile_set, background in ((sparse, SIDE * 32 - 256 - 64), (whole, SIDE * SIDE - 256)):
        data = TileData(tile_set, tile_set.train, card.input, lookup)
        assert len(data) >= 2
        assert data.pixels_per_output(2).tolist() == [len(data) * background, len(data) * 256]
    target = TileData(sparse, sparse.train, card.input, lookup).raw(0)[2]
    assert set(target[:8, :8].ravel()) == {255}
    assert set(target[32:].ravel()) == {255}


def test_what_nobody_drew_is_not_taught_as_background(scene, tmp_path):
    """Of roofs like those that are drawn, the model is sure that was not told that they are ground."""
    make_base(tmp_path / "base")
    found = {}
    for areas in (True, False):
        made = exported(scene, tmp_path, areas=areas)
        folder = a_run(tmp_path, f"run-{areas}", tiles=str(made.folder), freeze="all_but_last_layer", keep_old_classes=False, balance=False)
        assert run(folder) == 0
        bundle = load_bundle(folder)
        classifier = make_classifier(bundle.network, bundle.card.input.mean, bundle.card.input.std, "cpu")
        sure = []
        for tile in made.validation:
            pixels = read_tile(made, tile)
            sure.append(classifier.probabilities([pixels.image], [pixels.valid])[0][ROOF, 40:56, 20:36].mean())
        found[areas] = np.mean(sure)
    assert found[True] > 0.85
    assert found[False] < 0.7  # half of what it was shown says that such a thing is ground
