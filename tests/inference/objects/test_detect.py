"""Objects over whole rasters: each once, each whole, whatever the windows."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from errors import InputMismatchError, JobCancelled, UnsupportedRasterError
from inference.objects.detect import detect_raster
from tests.inference.makers import UTM, write_raster
from tests.inference.objects.finders import CAR, ROOF, BrightSquares, many_squares, object_card, squares_scene


def boxes_in_pixels(path, transform=UTM) -> set[tuple[int, ...]]:
    """(column, row, width, height) of each object."""
    found = gpd.read_file(path, layer=path.stem)
    bounds = shapely.bounds(shapely.transform(found.geometry.to_numpy(), lambda x, y: ~transform @ (x, y), interleaved=False)).reshape(-1, 4)
    return {tuple(np.rint([b[0], b[1], b[2] - b[0], b[3] - b[1]]).astype(int).tolist()) for b in bounds}


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("window, overlap", [(64, 16), (64, 32), (50, 12), (96, 17), (512, 96)])
def test_every_object_is_found_once_and_whole_whatever_the_windows(tmp_path, masks, window, overlap):
    squares = many_squares((200, 300))
    scene = squares_scene(tmp_path / "scene.tif", squares)
    counts = detect_raster(
        BrightSquares(masks), object_card(), str(scene), tmp_path / "out.gpkg", window_px=window, overlap_px=overlap
    )
    assert counts == {CAR.value: len(squares), ROOF.value: 0}
    assert boxes_in_pixels(tmp_path / "out.gpkg") == set(squares)


@pytest.mark.parametrize("square", [(60, 20, 8, 8), (44, 44, 10, 10), (40, 100, 30, 10), (10, 60, 200, 9), (30, 30, 150, 120), (0, 0, 300, 200)])
@pytest.mark.parametrize("masks", [False, True])
def test_an_object_over_window_borders_is_one_even_where_it_is_larger_than_they_share(tmp_path, square, masks):
    scene = squares_scene(tmp_path / "scene.tif", [square])
    detect_raster(BrightSquares(masks), object_card(), str(scene), tmp_path / "out.gpkg", overlap_px=16)
    assert boxes_in_pixels(tmp_path / "out.gpkg") == {square}


def test_neighbours_on_a_border_are_not_joined(tmp_path):
    squares = [(40, 10, 15, 40), (56, 10, 15, 40), (10, 55, 90, 4), (10, 61, 90, 4)]
    scene = squares_scene(tmp_path / "scene.tif", squares)
    detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg", overlap_px=16)
    assert boxes_in_pixels(tmp_path / "out.gpkg") == set(squares)


def test_shifting_the_windows_changes_the_count_by_less_than_a_percent(tmp_path):
    """Boxes and scores that are a little off in every window, as those of real models are."""
    squares = many_squares((900, 900), seed=1)
    counts = []
    for shift in (0, 7, 13, 24):
        moved = [(c + shift, r + shift, w, h) for c, r, w, h in squares]
        scene = squares_scene(tmp_path / f"{shift}.tif", moved, (900 + shift, 900 + shift))
        found = detect_raster(BrightSquares(jitter=1.5), object_card(128), str(scene), tmp_path / "out.gpkg", overlap_px=32)
        counts.append(found[CAR.value])
    assert max(abs(count - len(squares)) for count in counts) < 0.01 * len(squares), (counts, len(squares))


def test_fields_confidence_area_and_style(tmp_path):
    values = np.full((3, 80, 80), 20, np.uint8)
    values[0, 10:20, 10:30] = 204
    values[2, 50:60, 50:60] = 255
    scene = write_raster(tmp_path / "scene.tif", values)
    detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg")
    found = gpd.read_file(tmp_path / "out.gpkg", layer="out")
    assert found["Classname"].tolist() == ["Car", "Roof"] and found["Classvalue"].tolist() == [3, 7] and sorted(found["id"]) == [1, 2]
    assert found["Confidence"].tolist() == [0.8, 1.0]
    assert found["area_m2"].tolist() == pytest.approx([50, 25], rel=2e-3)  # UTM's scale on its middle line
    assert found.crs.to_epsg() == 32611 and found.geometry.is_valid.all()
    with closing(sqlite3.connect(tmp_path / "out.gpkg")) as connection:
        [(layer, style)] = connection.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall()
    assert layer == "out" and 'label="Roof"' in style and 'attr="Classvalue"' in style


def test_weak_candidates_are_left_out_and_of_two_that_overlap_the_surer_stays(tmp_path):
    values = np.full((3, 64, 64), 20, np.uint8)
    values[0, 10:20, 10:20] = 120  # 0.47
    values[0, 30:40, 30:40], values[2, 30:40, 30:40] = 200, 250  # another class: both stay
    scene = write_raster(tmp_path / "scene.tif", values)
    assert detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg") == {3: 1, 7: 1}
    assert detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg", threshold=0.4) == {3: 2, 7: 1}


def test_finer_imagery_is_shown_at_the_models_resolution(tmp_path):
    fine = Affine(0.125, 0, 500_000, 0, -0.125, 3_700_000)
    squares = [(80, 80, 40, 40), (160, 240, 80, 40)]
    scene = squares_scene(tmp_path / "scene.tif", squares, (512, 512), transform=fine)
    detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg")
    assert boxes_in_pixels(tmp_path / "out.gpkg", fine) == set(squares)


def test_ground_without_imagery_has_no_objects(tmp_path):
    with_gap = np.full((3, 200, 300), 20, np.uint8)
    with_gap[0, 10:20, 10:20] = 200
    with_gap[:, 100:110, 100:110] = 255  # bright, and no imagery
    scene = write_raster(tmp_path / "gap.tif", with_gap, nodata=255)
    assert detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg") == {3: 1, 7: 0}


def test_a_picture_smaller_than_a_window_and_one_without_objects(tmp_path):
    scene = squares_scene(tmp_path / "small.tif", [(2, 2, 20, 10)], (30, 40))
    detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg")
    assert boxes_in_pixels(tmp_path / "out.gpkg") == {(2, 2, 20, 10)}
    empty = squares_scene(tmp_path / "empty.tif", [])
    assert detect_raster(BrightSquares(), object_card(), str(empty), tmp_path / "none.gpkg") == {3: 0, 7: 0}
    nothing = gpd.read_file(tmp_path / "none.gpkg", layer="none")
    assert len(nothing) == 0 and {"id", "Classname", "Confidence"} <= set(nothing.columns)


@pytest.mark.parametrize("ending", ["geojson", "zip", "fgb"])
def test_other_formats_by_the_ending(tmp_path, ending):
    scene = squares_scene(tmp_path / "scene.tif", [(10, 10, 10, 10), (50, 50, 12, 12)])
    out = tmp_path / "result" / f"out.{ending}"
    detect_raster(BrightSquares(), object_card(), str(scene), out)
    found = pyogrio.read_dataframe(out)
    assert found["Classname"].tolist() == ["Car", "Car"] and sorted(found["id"]) == [1, 2]
    assert found.crs.to_epsg() == (4326 if ending == "geojson" else 32611)
    assert {p.name for p in out.parent.iterdir()} == ({"out.zip"} if ending == "zip" else {f"out.{ending}", "out.qml"})


def test_what_cannot_be_is_refused_and_stopping_leaves_nothing(tmp_path):
    scene = squares_scene(tmp_path / "scene.tif", [(10, 10, 10, 10)])
    with pytest.raises(UnsupportedRasterError, match="gpkg"):
        detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.txt")
    with pytest.raises(InputMismatchError):
        detect_raster(BrightSquares(), object_card(resolution_m=0.01), str(scene), tmp_path / "out.gpkg")

    def stop(stage: str, share: float) -> None:
        if share > 0.4:
            raise JobCancelled("Stopped.")

    with pytest.raises(JobCancelled):
        detect_raster(BrightSquares(), object_card(), str(scene), tmp_path / "out.gpkg", progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.tif"]
