"""From which class to which: tables and rasters with known answers."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import rasterio
from affine import Affine

from errors import NoOverlapError
from inference.legend import class_colours, class_names, read_class_names, write_legend
from inference.objects.class_change import class_change
from tests.inference.makers import UTM, write_raster
from workspace.classes import ClassDef

ROAD = ClassDef(value=1, name="Road", colour="#ff0000")
HOUSE = ClassDef(value=2, name="House", colour="#00ff00")
TREE = ClassDef(value=3, name="Tree", colour="#0000ff")


def class_map(path, values, classes=(ROAD, HOUSE, TREE), legend=True, **options):
    write_raster(path, np.asarray(values, np.uint8)[None], nodata=255, **options)
    if legend:
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, {v: (*c, 255) for v, c in class_colours(classes).items()})
        write_legend(path, class_names(classes), class_colours(classes))
    return path


def as_pairs(rows) -> dict[tuple[str, str], int]:
    return {(row.before, row.after): row.pixels for row in rows}


BEFORE = [[0, 0, 1, 1], [0, 2, 2, 2], [3, 3, 3, 255]]
AFTER = [[0, 1, 1, 2], [2, 2, 2, 2], [0, 0, 255, 1]]


def test_table_and_raster_tell_from_which_class_to_which(tmp_path):
    first, second = class_map(tmp_path / "a.tif", BEFORE), class_map(tmp_path / "b.tif", AFTER)
    rows = class_change(first, second, tmp_path / "change.tif", tmp_path / "change.csv")
    expected = {
        ("Tree", "Background"): 2, ("Background", "Road"): 1, ("Background", "House"): 1, ("Road", "House"): 1,
        ("House", "House"): 3, ("Background", "Background"): 1, ("Road", "Road"): 1,
    }  # fmt: skip
    assert as_pairs(rows) == expected
    assert [row.value for row in rows] == [1, 2, 3, 4, 0, 0, 0] and (rows[0].before, rows[0].after) == ("Tree", "Background")
    with rasterio.open(tmp_path / "change.tif") as made:
        values = made.read(1)
        names = read_class_names(tmp_path / "change.tif")
        colours = made.colormap(1)
        assert made.nodata == 255 and made.transform == UTM
    said = np.vectorize(lambda v: names.get(int(v), "?"))(values)
    assert said.tolist() == [
        ["No change", "Background to Road", "No change", "Road to House"],
        ["Background to House", "No change", "No change", "No change"],
        ["Tree to Background", "Tree to Background", "?", "?"],
    ]
    assert colours[next(k for k, v in names.items() if v == "Road to House")][:3] == (76, 178, 0)
    with (tmp_path / "change.csv").open() as file:
        table = list(csv.DictReader(file))
    assert table[0]["before"] == "Tree" and sum(int(row["pixels"]) for row in table) == 10
    assert float(table[0]["area_m2"]) == pytest.approx(0.5, rel=2e-3)


def test_classes_are_alike_by_their_names(tmp_path):
    first = class_map(tmp_path / "a.tif", [[1, 2]])
    other = (ROAD.model_copy(update={"value": 2}), HOUSE.model_copy(update={"value": 1}), ClassDef(value=9, name="Water", colour="#123456"))
    second = class_map(tmp_path / "b.tif", [[2, 9]], other)
    assert as_pairs(class_change(first, second, tmp_path / "c.tif")) == {("Road", "Road"): 1, ("House", "Water"): 1}
    plain = class_map(tmp_path / "d.tif", [[5, 6]], legend=False)
    assert as_pairs(class_change(plain, class_map(tmp_path / "e.tif", [[5, 5]], legend=False), tmp_path / "f.tif")) == {
        ("Class 5", "Class 5"): 1,
        ("Class 6", "Class 5"): 1,
    }


def test_a_map_on_another_grid_is_looked_at_by_the_nearest_pixel(tmp_path):
    first = class_map(tmp_path / "a.tif", np.repeat(np.repeat([[1, 2], [3, 0]], 4, axis=0), 4, axis=1))
    coarse = UTM @ Affine.scale(4)
    second = class_map(tmp_path / "b.tif", [[1, 3], [3, 0]], transform=coarse)
    assert as_pairs(class_change(first, second, tmp_path / "c.tif")) == {
        ("House", "Tree"): 16, ("Road", "Road"): 16, ("Tree", "Tree"): 16, ("Background", "Background"): 16,
    }  # fmt: skip
    shifted = class_map(tmp_path / "d.tif", [[1, 2]], transform=coarse @ Affine.translation(1, 0))
    rows = class_change(first, shifted, tmp_path / "e.tif")
    assert as_pairs(rows) == {("House", "Road"): 16}  # only where both show the ground
    far = class_map(tmp_path / "f.tif", [[1, 2]], transform=UTM @ Affine.translation(1000, 0))
    with pytest.raises(NoOverlapError):
        class_change(first, far, tmp_path / "g.tif")
    assert not (tmp_path / "g.tif").exists()


def test_areas_are_of_the_ground_in_degrees_too(tmp_path):
    degrees = Affine(1e-5, 0, 10, 0, -1e-5, 60)
    first = class_map(tmp_path / "a.tif", np.ones((40, 40)), crs="EPSG:4326", transform=degrees)
    second = class_map(tmp_path / "b.tif", np.full((40, 40), 2), crs="EPSG:4326", transform=degrees)
    [row] = class_change(first, second, tmp_path / "c.tif")
    metres = 111_320 * 1e-5
    assert row.area_m2 == pytest.approx(1600 * metres**2 * math.cos(math.radians(60)), rel=0.01)


def test_more_kinds_of_change_than_a_byte_holds_share_the_last_value(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.objects.class_change.MOST_KINDS", 2)
    first, second = class_map(tmp_path / "a.tif", BEFORE), class_map(tmp_path / "b.tif", AFTER)
    rows = class_change(first, second, tmp_path / "c.tif")
    assert [row.value for row in rows][:4] == [1, 2, 3, 3]
    assert read_class_names(tmp_path / "c.tif")[3] == "Other changes"


def test_blocks_do_not_matter_and_large_maps_stream(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    first, second = (class_map(tmp_path / f"{n}.tif", random.integers(0, 4, (150, 170))) for n in "ab")
    whole = class_change(first, second, tmp_path / "c.tif")
    monkeypatch.setattr("inference.objects.class_change.BLOCK_PX", 64)
    shares = []
    blocks = class_change(first, second, tmp_path / "d.tif", progress=shares.append)
    assert as_pairs(whole) == as_pairs(blocks) and shares == sorted(shares) and shares[-1] < 1
    with rasterio.open(tmp_path / "c.tif") as one, rasterio.open(tmp_path / "d.tif") as other:
        assert np.array_equal(one.read(1), other.read(1))
