"""Labels land on the right pixels, in every CRS, and the set is split honestly."""

from __future__ import annotations

import json
import time

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from shapely.geometry import GeometryCollection, LineString, MultiLineString, Point, box, shape

from errors import (
    DiskFullError,
    EmptyTileSetError,
    InputMismatchError,
    JobCancelled,
    LabelError,
    NoLabelsError,
    NoOverlapError,
    SplitError,
    UnknownClassError,
    UnsupportedRasterError,
)
from imagery.raster import inspect_raster
from labeling.export import estimate_tiles, export_tiles
from labeling.export import job as export_job
from labeling.export.job import export_jobs, read_job, start_export
from labeling.export.settings import ExportSettings, ImageSource
from tiles.reader import read_tile
from tiles.tile_set import open_tile_set
from tiles.validate import validate_tile_set
from workspace.classes import starter_schema
from workspace.jobs import job_status
from workspace.project import create_project

X0, Y0 = 500_000.0, 4_000_000.0
SMALL = ExportSettings(tile_size=64, stride=64, buffer_m=2.0)
PAVED, UNPAVED, UNCERTAIN = 1, 2, 255


def write_scene(
    path, *, width=640, height=192, bands=3, dtype="uint8", crs="EPSG:32611", transform=None, nodata=None, empty=None, add=0, **extra
):
    """A raster whose band b holds b * 10 + (column mod 50) + `add`; `empty` (rows, columns) holds nodata."""
    transform = transform or Affine(1.0, 0, X0, 0, -1.0, Y0)
    values = np.stack([np.tile(np.arange(width) % 50 + 10 * (b + 1) + add, (height, 1)) for b in range(bands)]).astype(dtype)
    if empty is not None:
        values[(slice(None), *empty)] = nodata
    profile = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": dtype, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", **profile, nodata=nodata, **extra) as file:
        file.write(values)
    return ImageSource(name=path.stem, source=str(path))


def table(*labels, crs="EPSG:32611", **columns):
    """Labels (class value, geometry)."""
    return gpd.GeoDataFrame({"class_value": [v for v, _ in labels], **columns}, geometry=[g for _, g in labels], crs=crs)


def two_tracks():
    """A track at each end of the scene."""
    return table(
        (UNPAVED, LineString([(X0 + 5, Y0 - 30), (X0 + 60, Y0 - 30)])), (UNPAVED, LineString([(X0 + 580, Y0 - 30), (X0 + 635, Y0 - 30)]))
    )


def mosaic(tile_set, raster="scene", shape=(192, 640)):
    """Labels of all tiles of a raster put together; 99 where there is no tile."""
    full = np.full(shape, 99, dtype=np.uint8)
    for tile in tile_set.record.tiles:
        if tile.raster == raster:
            label = read_tile(tile_set, tile).label
            part = full[tile.row : tile.row + label.shape[0], tile.column : tile.column + label.shape[1]]
            part[:] = label[: part.shape[0], : part.shape[1]]
    return full


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif")


def run(scene, labels, tmp_path, settings=SMALL, schema=None, **kwargs):
    images = scene if isinstance(scene, list) else [scene]
    return export_tiles(images, labels, schema or starter_schema(), settings, tmp_path / "out", **kwargs)


def test_a_line_becomes_a_band_of_the_right_width_in_the_right_place(scene, tmp_path):
    made = run(scene, two_tracks(), tmp_path)
    labels = mosaic(made)
    rows, _columns = np.nonzero(labels == UNPAVED)
    assert (rows.min(), rows.max()) == (28, 31)
    assert set(labels[28:32, 10:55].ravel()) == {UNPAVED}
    assert validate_tile_set(made.folder) == []
    assert open_tile_set(made.folder) == made


def test_the_image_comes_through_unchanged(scene, tmp_path):
    made = run(scene, two_tracks(), tmp_path)
    with rasterio.open(scene.source) as file:
        whole = file.read()
    for tile in made.record.tiles:
        pixels = read_tile(made, tile)
        assert np.array_equal(pixels.image, whole[:, tile.row : tile.row + 64, tile.column : tile.column + 64])
        assert pixels.valid.all()
        assert tile.affine == Affine(1, 0, X0 + tile.column, 0, -1, Y0 - tile.row)


def test_own_width_wins_over_the_buffer(scene, tmp_path):
    labels = two_tracks().assign(width_m=[10.0, None])
    burnt = mosaic(run(scene, labels, tmp_path))
    assert (burnt[:64, 30] == UNPAVED).sum() == 10
    assert (burnt[:64, 600] == UNPAVED).sum() == 4


def test_points_become_discs(scene, tmp_path):
    labels = table((PAVED, Point(X0 + 32, Y0 - 32)), (PAVED, Point(X0 + 600, Y0 - 32)))
    burnt = mosaic(run(scene, labels, tmp_path, SMALL.model_copy(update={"buffer_m": 5.0})))
    assert (burnt[:64, :64] == PAVED).sum() == pytest.approx(np.pi * 25, rel=0.1)


def test_a_line_without_width_still_leaves_pixels(scene, tmp_path):
    burnt = mosaic(run(scene, two_tracks(), tmp_path, SMALL.model_copy(update={"buffer_m": 0.0})))
    assert (burnt[:, 30] == UNPAVED).sum() == 1


def test_drawing_order_and_uncertain(scene, tmp_path):
    """Paved wins over unpaved, and both over uncertain, whatever the order of the rows."""
    here, there = box(X0, Y0 - 40, X0 + 40, Y0), box(X0 + 580, Y0 - 40, X0 + 600, Y0)
    labels = table(
        (PAVED, box(X0, Y0 - 10, X0 + 40, Y0)),
        (UNPAVED, box(X0, Y0 - 20, X0 + 40, Y0)),
        (UNCERTAIN, here),
        (PAVED, there),
        (UNPAVED, box(X0 + 600, Y0 - 20, X0 + 640, Y0)),
    )
    made = run(scene, labels, tmp_path)
    burnt = mosaic(made)
    assert set(burnt[:10, :40].ravel()) == {PAVED}
    assert set(burnt[10:20, :40].ravel()) == {UNPAVED}
    assert set(burnt[20:40, :40].ravel()) == {UNCERTAIN}
    assert set(burnt[40:64, :40].ravel()) == {0}
    first = made.record.tiles[0]
    assert first.pixels == {0: 64 * 64 - 1600, 1: 400, 2: 400}
    assert first.ignored_pixels == 800
    assert [c.value for c in made.record.classes] == [UNPAVED, PAVED]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:26911"])
def test_labels_in_another_crs_land_on_the_same_pixels(scene, tmp_path, crs):
    expected = mosaic(run(scene, two_tracks(), tmp_path))
    again = mosaic(export_tiles([scene], two_tracks().to_crs(crs), starter_schema(), SMALL, tmp_path / "again"))
    assert (expected != again).mean() < 0.001


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2229"])
def test_the_buffer_is_metres_on_the_ground_in_every_image_crs(tmp_path, crs):
    """A track 10 m wide is as many pixels wide as 10 m are, in degrees, in stretched Web Mercator metres and in feet."""
    to = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    (left, top), (right, bottom) = to.transform(-118.30, 34.05), to.transform(-118.29, 34.045)
    width, height = 960, 576
    scene = write_scene(
        tmp_path / "scene.tif",
        width=width,
        height=height,
        crs=crs,
        transform=Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top),
    )
    _, pixel_m = inspect_raster(scene.source).grid.pixel_size_m
    tracks = table(
        (UNPAVED, LineString([(-118.2995, 34.048), (-118.2985, 34.048)])),
        (UNPAVED, LineString([(-118.2915, 34.048), (-118.2905, 34.048)])),
        crs="EPSG:4326",
    )
    made = run(scene, tracks, tmp_path, SMALL.model_copy(update={"buffer_m": 5.0}))
    across = (mosaic(made, shape=(height, width)) == UNPAVED).sum(axis=0)[96]
    assert across * pixel_m == pytest.approx(10.0, abs=1.1 * pixel_m)
    assert made.record.resolution_m == pytest.approx(inspect_raster(scene.source).resolution_m)


def test_a_rotated_raster(tmp_path):
    transform = Affine.translation(X0, Y0) * Affine.rotation(25) * Affine.scale(1, -1)
    scene = write_scene(tmp_path / "scene.tif", transform=transform)
    squares = [box(10, 12, 30, 52), box(590, 12, 610, 52)]
    placed = [shape({"type": "Polygon", "coordinates": [[transform @ p for p in s.exterior.coords]]}) for s in squares]
    burnt = mosaic(run(scene, table(*((PAVED, s) for s in placed)), tmp_path))
    assert set(burnt[13:51, 11:29].ravel()) == {PAVED}
    assert (burnt[:64, :64] == PAVED).sum() == pytest.approx(800, abs=40)


def test_pixels_without_imagery_are_not_learnt_from(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", nodata=0, empty=(slice(None), slice(40, 64)))
    made = run(scene, two_tracks(), tmp_path)
    tile = made.record.tiles[0]
    pixels = read_tile(made, tile)
    assert not pixels.valid[:, 40:].any()
    assert set(pixels.label[:, 40:].ravel()) == {255}
    assert tile.ignored_pixels == 64 * 24
    assert made.record.band_statistics[0].min == 10, "nodata does not count"


def test_float_imagery_with_holes_keeps_clean_numbers(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", dtype="float32", nodata=np.nan, empty=(slice(None), slice(40, 64)))
    made = run(scene, two_tracks(), tmp_path)
    pixels = read_tile(made, made.record.tiles[0])
    assert np.isfinite(pixels.image).all()
    assert not pixels.valid[:, 40:].any()
    assert np.isfinite([b.mean for b in made.record.band_statistics]).all()


def test_sixteen_bit_five_bands(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", bands=5, dtype="uint16")
    made = run(scene, two_tracks(), tmp_path)
    assert made.record.dtype == "uint16"
    assert len(made.record.band_names) == len(made.record.band_statistics) == 5
    assert read_tile(made, made.record.tiles[0]).image.dtype == np.uint16


def test_an_image_smaller_than_a_tile_is_padded(tmp_path):
    scenes = [
        write_scene(tmp_path / f"{name}.tif", width=40, height=40, transform=Affine(1, 0, X0 + shift, 0, -1, Y0))
        for name, shift in (("a", 0), ("b", 5000))
    ]
    labels = table((PAVED, box(X0, Y0 - 10, X0 + 10, Y0)), (PAVED, box(X0 + 5000, Y0 - 10, X0 + 5010, Y0)))
    made = run(scenes, labels, tmp_path)
    pixels = read_tile(made, made.record.tiles[0])
    assert pixels.image.shape == (3, 64, 64)
    assert pixels.valid.sum() == 1600
    assert made.record.tiles[0].ignored_pixels == 64 * 64 - 1600
    assert {t.raster: t.split for t in made.record.tiles}.keys() == {"a", "b"}


def test_only_tiles_with_features_or_all(scene, tmp_path):
    some = run(scene, two_tracks(), tmp_path)
    assert {(t.column, t.row) for t in some.record.tiles} == {(0, 0), (576, 0)}
    every = run(scene, two_tracks(), tmp_path, SMALL.model_copy(update={"tiles": "all"}))
    assert len(every.record.tiles) == 30
    info = inspect_raster(scene.source)
    assert estimate_tiles([info], two_tracks(), starter_schema(), SMALL).tiles == 2
    assert estimate_tiles([info], two_tracks(), starter_schema(), SMALL.model_copy(update={"tiles": "all"})).tiles == 30


def test_an_uncertain_area_alone_makes_no_tile(scene, tmp_path):
    labels = two_tracks()
    labels.loc[2] = [UNCERTAIN, box(X0 + 200, Y0 - 20, X0 + 220, Y0)]
    made = run(scene, labels, tmp_path)
    assert {t.column for t in made.record.tiles} == {0, 576}


def test_sides_lie_a_tile_apart(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", width=1280, height=640)
    rows = [(UNPAVED, LineString([(X0 + 5, Y0 - y), (X0 + 1275, Y0 - y)])) for y in range(20, 640, 60)]
    made = run(scene, table(*rows), tmp_path, SMALL.model_copy(update={"stride": 32}))
    sides = {split: [(t.column, t.row) for t in made.record.in_split(split)] for split in ("train", "validation", "gap")}
    assert sides["validation"]
    for column, row in sides["validation"]:
        for other, below in sides["train"]:
            apart = np.hypot(max(abs(column - other) - 64, 0), max(abs(row - below) - 64, 0))
            assert apart > 64


def test_odd_geometry_is_taken_as_far_as_it_goes(scene, tmp_path):
    bow_tie = shape({"type": "Polygon", "coordinates": [[(X0, Y0), (X0 + 20, Y0 - 20), (X0 + 20, Y0), (X0, Y0 - 20), (X0, Y0)]]})
    labels = table(
        (PAVED, bow_tie),
        (PAVED, None),
        (PAVED, LineString()),
        (UNPAVED, MultiLineString([[(X0, Y0 - 40), (X0 + 60, Y0 - 40)], [(X0 + 580, Y0 - 40), (X0 + 620, Y0 - 40)]])),
        (PAVED, GeometryCollection([Point(X0 + 600, Y0 - 10), box(X0 + 610, Y0 - 20, X0 + 620, Y0 - 10)])),
    )
    labels.index = [0, 0, 1, 1, 1]
    burnt = mosaic(run(scene, labels, tmp_path))
    assert (burnt[:20, :20] == PAVED).sum() == pytest.approx(200, abs=25)
    assert (burnt[40, 10:50] == UNPAVED).all()
    assert burnt[10, 600] == PAVED
    assert (burnt[11:19, 611:619] == PAVED).all()


def test_nir_that_one_file_calls_alpha_is_kept_for_all(tmp_path):
    """Some programs tag the fourth band of a colour-infrared picture as alpha."""
    a = write_scene(tmp_path / "a.tif", bands=4, photometric="RGB", alpha="unspecified")
    b = write_scene(tmp_path / "b.tif", bands=4, photometric="RGB", alpha="unassociated", transform=Affine(1, 0, X0 + 9000, 0, -1, Y0))
    labels = table((PAVED, box(X0, Y0 - 10, X0 + 10, Y0)), (PAVED, box(X0 + 9000, Y0 - 10, X0 + 9010, Y0)))
    made = run([a, b], labels, tmp_path)
    assert len(made.record.band_names) == 4
    assert {read_tile(made, t).image.shape for t in made.record.tiles} == {(4, 64, 64)}


def test_images_of_two_kinds_are_refused(tmp_path):
    scenes = [write_scene(tmp_path / "a.tif"), write_scene(tmp_path / "b.tif", dtype="uint16")]
    with pytest.raises(InputMismatchError, match="b has 3 bands of uint16, but a has 3 of uint8"):
        run(scenes, two_tracks(), tmp_path)


def test_a_palette_is_refused(tmp_path):
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8", crs="EPSG:32611", transform=Affine(1, 0, X0, 0, -1, Y0)
    ) as file:
        file.write(np.ones((1, 64, 64), dtype=np.uint8))
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(UnsupportedRasterError, match="colour numbers"):
        run(ImageSource(name="scene", source=str(path)), two_tracks(), tmp_path)


def test_no_labels(scene, tmp_path):
    with pytest.raises(NoLabelsError):
        run(scene, two_tracks().iloc[:0], tmp_path)


def test_labels_elsewhere_tell_where_both_lie(scene, tmp_path):
    labels = table((PAVED, box(10.0, 50.0, 10.1, 50.1)), crs="EPSG:4326")
    with pytest.raises(NoOverlapError) as caught:
        run(scene, labels, tmp_path)
    assert "longitude 10.0000 to 10.1000" in caught.value.fact
    assert "the imagery at longitude -117.0000" in caught.value.fact
    assert not (tmp_path / "out").exists()


def test_labels_without_crs(scene, tmp_path):
    with pytest.raises(LabelError, match="coordinate system"):
        run(scene, two_tracks().set_crs(None, allow_override=True), tmp_path)


def test_an_unknown_class(scene, tmp_path):
    with pytest.raises(UnknownClassError, match="77"):
        run(scene, table((77, box(X0, Y0 - 10, X0 + 10, Y0))), tmp_path)


def test_labels_where_there_is_no_imagery(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", nodata=0, empty=(slice(0, 80), slice(None)))
    with pytest.raises(EmptyTileSetError):
        run(scene, two_tracks(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene.tif"]


def test_one_place_only_is_refused_before_anything_is_written(scene, tmp_path):
    stages = []
    with pytest.raises(SplitError, match="one place"):
        run(scene, two_tracks().iloc[:1], tmp_path, progress=lambda stage, share: stages.append(stage))
    assert not any("Cutting" in stage for stage in stages)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene.tif"]


def test_one_class_only_is_fine(scene, tmp_path):
    made = run(scene, two_tracks(), tmp_path)
    assert made.record.class_pixels()[PAVED] == 0
    assert json.loads((made.folder / "esri_model_definition.emd").read_text())["Classes"][1]["Name"] == "Paved road"


def test_cancelling_leaves_nothing(scene, tmp_path):
    def stop(stage, share):
        if "Cutting tile 2" in stage:
            raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        run(scene, two_tracks(), tmp_path, progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene.tif"]


def test_progress_runs_from_nothing_to_all(scene, tmp_path):
    shares = []
    run(scene, two_tracks(), tmp_path, progress=lambda stage, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] > 0.95


@pytest.mark.parametrize("wrong", [{"tile_size": 100}, {"stride": 512}, {"validation_share": 0.9}, {"buffer_m": -1}, {"colour": 1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) + "|step"):
        ExportSettings.model_validate(wrong)


def test_every_setting_is_explained():
    for name, field in ExportSettings.model_fields.items():
        assert field.title, name
        assert field.description, name


def wait_for_end(folder, seconds=60):
    end = time.monotonic() + seconds
    while not job_status(folder).ended and time.monotonic() < end:
        time.sleep(0.1)
    return job_status(folder)


def test_the_job_makes_the_same_tiles(scene, tmp_path):
    project = create_project(tmp_path / "projects", "One")
    expected = run(scene, two_tracks(), tmp_path)
    folder = start_export(project, "first", [scene], two_tracks(), starter_schema(), SMALL)
    status = wait_for_end(folder)
    assert (status.state, status.error) == ("done", "")
    made = open_tile_set(project.tiles_folder / "first")
    assert made.record.tiles == expected.record.tiles
    assert export_jobs(project) == [folder]
    assert read_job(folder).settings == SMALL
    assert project.made("tiles", "terratune.json") == [made.folder]


def test_a_job_keeps_its_mask_and_needs_no_labels_for_images_alone(scene, tmp_path):
    project = create_project(tmp_path / "projects", "One")
    mask = gpd.GeoDataFrame(geometry=[box(X0, Y0 - 64, X0 + 128, Y0), box(X0 + 512, Y0 - 64, X0 + 640, Y0)], crs="EPSG:32611")
    images = SMALL.model_copy(update={"metadata_format": "Export_Tiles"})
    folder = start_export(project, "first", [scene], table(), starter_schema(), images, mask=mask)
    assert wait_for_end(folder).error == ""
    assert [t.column for t in open_tile_set(project.tiles_folder / "first").record.tiles] == [0, 64, 512, 576]


def test_a_job_that_cannot_work_says_why(scene, tmp_path):
    project = create_project(tmp_path / "projects", "One")
    folder = start_export(project, "first", [scene], table((PAVED, box(10.0, 50.0, 10.1, 50.1)), crs="EPSG:4326"), starter_schema(), SMALL)
    status = wait_for_end(folder)
    assert status.state == "failed"
    assert "No label touches the imagery" in status.error
    assert status.remedy
    assert not (project.tiles_folder / "first").exists()


@pytest.mark.shared_data
def test_all_naip_chips_give_the_masks_made_from_the_same_lines(shared_data, tmp_path):
    """The masks were made with square line ends and coordinates rounded to decimetres: 99.7 % of pixels agree, IoU over 0.96."""
    data = shared_data / "naip_roads"
    roads = gpd.GeoDataFrame.from_features(json.loads((data / "roads_wgs84.geojson").read_text()), crs="EPSG:4326")
    roads["class_value"] = roads["surface"].map({"paved": PAVED, "unpaved": UNPAVED, "uncertain": UNCERTAIN})
    images = [ImageSource(name=p.stem, source=str(p)) for p in sorted((data / "images").glob("*.tif"))]
    made = export_tiles(images, roads, starter_schema(), ExportSettings(tiles="all"), tmp_path / "out")
    assert len(made.record.tiles) == 28
    assert len(made.record.band_names) == 4
    ours = np.stack([read_tile(made, t).label for t in made.record.tiles])
    masks = np.stack([rasterio.open(data / "masks" / f"{t.raster}.tif").read(1) for t in made.record.tiles])
    assert (ours == masks).mean() > 0.997
    for value in (PAVED, UNPAVED, UNCERTAIN):
        assert ((ours == value) & (masks == value)).sum() / ((ours == value) | (masks == value)).sum() > 0.96
    overlapping = {t.raster: t.split for t in made.record.tiles if t.raster.removeprefix("palm_springs_2020_") in {"64", "65", "66"}}
    assert len(set(overlapping.values())) == 1
    assert validate_tile_set(made.folder) == []


def test_labels_that_are_all_uncertain_are_named_as_such(scene, tmp_path):
    labels = two_tracks().assign(class_value=UNCERTAIN)
    with pytest.raises(NoLabelsError, match="All 2 labels are 'Uncertain'"):
        run(scene, labels, tmp_path)
    everything = SMALL.model_copy(update={"tiles": "all"})
    assert run(scene, labels, tmp_path, everything).record.tiles, "background alone can serve as reminder tiles"


def test_the_estimate_says_whether_anything_can_be_learnt(scene):
    everything, infos = SMALL.model_copy(update={"tiles": "all"}), [inspect_raster(scene.source)]
    assert estimate_tiles(infos, two_tracks(), starter_schema(), everything).learnable
    assert not estimate_tiles(infos, two_tracks().assign(class_value=UNCERTAIN), starter_schema(), everything).learnable
    assert not estimate_tiles(
        infos, two_tracks().translate(yoff=9000).to_frame("geometry").assign(class_value=UNPAVED), starter_schema(), everything
    ).learnable


def test_a_full_disk_leaves_no_half_a_job(scene, tmp_path, monkeypatch):
    def full(path, value):
        raise DiskFullError("The disk is full.", "Free some space.")

    monkeypatch.setattr(export_job, "write_json", full)
    project = create_project(tmp_path / "projects", "One")
    with pytest.raises(DiskFullError):
        start_export(project, "tiles", [scene], two_tracks(), starter_schema(), SMALL)
    assert list((project.tiles_folder / ".exports").iterdir()) == []


def test_an_image_of_another_kind_without_labels_does_not_matter(scene, tmp_path):
    other = write_scene(tmp_path / "other.tif", bands=1, dtype="uint16", transform=Affine(1.0, 0, X0 + 90_000, 0, -1.0, Y0))
    made = run([other, scene], two_tracks(), tmp_path)
    assert {tile.raster for tile in made.record.tiles} == {"scene"}
    assert (made.record.dtype, len(made.record.band_names)) == ("uint8", 3)
    with pytest.raises(InputMismatchError, match="scene has 3 bands of uint8, but other has 1 of uint16"):
        run([other, scene], two_tracks(), tmp_path, SMALL.model_copy(update={"tiles": "all"}))
