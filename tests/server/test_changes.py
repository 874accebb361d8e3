"""Changes between any two sides: maps on one grid or on several, and labels."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from imagery.grid import Grid
from imagery.write import open_tiled_gtiff
from inference.compare import CHANGE_COLOURS, FLIPPED, GAINED, LOST
from inference.legend import write_legend
from labeling.journal import Label, Operation, open_journal
from server.changes import LABELS, changed_ground, map_side, pair_of
from server.raster_tiles import find_layer, render_tile
from tests.server.test_raster_tiles import AT, add, pixels, rgb, tile_at, write_raster
from workspace.classes import FULLY_LABELLED_VALUE, ClassDef, ClassSchema
from workspace.project import create_project

UTM = CRS.from_epsg(26911)
GRID = Grid(100, 100, AT, UTM)
M2 = 1 / 0.9996**2
"""Nearly: of a square metre of the grid."""


@pytest.fixture
def project(tmp_path):
    found = create_project(tmp_path / "projects", "One")
    found.save_classes(ClassSchema(classes=(ClassDef(value=1, name="paved", colour="#4361ee"), ClassDef(value=2, name="Track", colour="#ff9f1c"))))
    return found


def class_map(project, job: str, raster_id: str, columns: np.ndarray, names: dict[int, str], grid: Grid = GRID, which: str = "after") -> str:
    """A map that is the same in each row; its name as a side."""
    path = project.predictions_folder / job / raster_id / f"{which}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_tiled_gtiff(path, grid, 1, "uint8", 255) as dataset:
        dataset.write(np.broadcast_to(columns.astype(np.uint8), grid.shape), 1)
    write_legend(path, {0: "Background"} | names, {0: (0, 0, 0)} | dict.fromkeys(names, (9, 9, 9)))
    return map_side(job, raster_id, which)


def kinds_on_tiles(project, left: str, right: str, raster, kinds: str = "123", classes: str = "all") -> set[tuple[int, int, int]]:
    layer = find_layer(project, f"changes.{left}.{right}.{kinds}.{classes}")
    picture = pixels(render_tile(layer, 17, *tile_at(raster, 17)))
    return {tuple(p[:3]) for p in picture[picture[..., 3] > 0].tolist()}


def label(project, box: tuple[float, float, float, float], value: int, name: str) -> None:
    """A rectangle in metres from the upper left corner of the grid: left, top, right, bottom."""
    left, top, right, bottom = box
    corners = [AT @ corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]
    area = gpd.GeoSeries([shapely.Polygon(corners)], crs=UTM).to_crs(4326).iloc[0]
    open_journal(project.journal_file).append(
        [Operation(operation_id=name, kind="upsert", object_id=name, label=Label(shapely.geometry.mapping(area), value))]
    )


def test_classes_are_the_same_by_name_and_places_nobody_knows_are_left_out(project, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    left = class_map(project, "one", raster.id, np.repeat([0, 1, 1, 2, 255], 20), {1: "Paved", 2: "Track"})
    right = class_map(project, "two", raster.id, np.repeat([2, 2, 0, 2, 2], 20), {2: "PAVED", 1: "Water"})  # other values
    pair = pair_of(project, left, right)
    assert dict(pair.classes) == {1: "Paved", 2: "Track", 254: "Water"}  # 1 is taken in the first map
    table = changed_ground(pair, [1, 2])
    assert table.pixels.tolist() == [[0, 2000, 0], [2000, 2000, 0], [0, 2000, 0]]
    assert kinds_on_tiles(project, left, right, raster) == {CHANGE_COLOURS[kind] for kind in (GAINED, LOST, FLIPPED)}
    assert kinds_on_tiles(project, left, right, raster, "12", "2") == set()
    assert kinds_on_tiles(project, right, left, raster, "1") == {CHANGE_COLOURS[GAINED]}


def test_a_map_on_another_grid_is_looked_at_by_the_nearest_pixel(project, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    left = class_map(project, "one", raster.id, np.repeat([1, 0], 50), {1: "Paved"})
    coarse = Grid(5, 10, AT @ Affine.scale(10), UTM)  # the western half alone
    right = class_map(project, "two", "otherdate", np.array([1, 1, 0, 0, 0]), {1: "Paved"}, coarse)
    table = changed_ground(pair_of(project, left, right), [1])
    assert table.pixels.tolist() == [[0, 0], [3000, 2000]]
    assert table.area_m2[1, 0] == pytest.approx(3000 * M2 * abs(AT.determinant), rel=2e-3)
    assert kinds_on_tiles(project, left, right, raster) == {CHANGE_COLOURS[LOST]}


@pytest.mark.parametrize("complete", [False, True])
def test_labels_are_a_side_and_say_nothing_outside_fully_labelled_areas(project, tmp_path, complete):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    made = class_map(project, "one", raster.id, np.repeat([1, 0], 50), {1: "Paved"})
    label(project, (25, 0, 75, 100), 1, "road")
    if complete:
        label(project, (0, 0, 75, 100), FULLY_LABELLED_VALUE, "all")
    table = changed_ground(pair_of(project, LABELS, made), [1])
    assert table.pixels.tolist() == [[0 if complete else 2500, 2500], [2500, 2500]]
    assert changed_ground(pair_of(project, made, LABELS), [1]).pixels.tolist() == table.pixels.T.tolist()
    assert kinds_on_tiles(project, LABELS, made, raster) == {CHANGE_COLOURS[kind] for kind in (GAINED, LOST)}


def test_what_is_not_there_or_outside_the_project_is_no_side(project, tmp_path):
    raster = add(project, write_raster(tmp_path / "a.tif", rgb(100, 100)))
    there = class_map(project, "one", raster.id, np.repeat([0, 1], 50), {1: "Paved"})
    assert pair_of(project, there, LABELS) is None, "nothing is labelled yet"
    label(project, (0, 0, 1, 1), 1, "road")
    assert pair_of(project, there, LABELS) is not None and pair_of(project, LABELS, LABELS) is None
    assert find_layer(project, f"changes.{there}.{map_side('gone', raster.id, 'after')}.123.all") is None
    assert find_layer(project, f"changes.{there}.{raster.id}.123.all") is None
